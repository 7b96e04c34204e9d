"""Values that stand in too many people's rows to be one person's: the shop's own phone, ``noemail@ourshop.com``.

What is sent for a row must not depend on its neighbours (promise P11): a rule that depended on a batch, or on a window,
would hash a value in one run and drop it in the next, when a re-run reads the same row with others. So the
decision and its use are apart. Here a whole window is counted and candidates are named by their SHA-256; once somebody
has written them into the upload (``junk: {ph: [...]}``), they are dropped from every row, in every batch and every
run, under their own cause (``listed_as_junk``), at the cost of one look-up a value, and of nothing where none is
listed. An upload with ``drop_frequent: true`` does not wait for somebody: each run counts its whole window first.

A value is a candidate where it stands in more than ``share`` of the rows of a client that have a usable value of the
key, in at least ``MIN_ROWS`` of them, and with more than ``MIN_PEOPLE`` different people, distinguished by their
other identifiers: one good customer with a hundred receipts is one person, however large her share. Names, cities,
dates and the like are left out: many people share them rightly.

Each client's rows are counted, and judged, alone: what one client writes into a shared table, by mistake or on purpose,
never takes a value from the events of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from offline_capi.guards.counting import Counted, compute_marks
from offline_capi.identity import HashedColumn, digest
from offline_capi.meta.catalogue import USER_DATA_KEYS

__all__ = ["JUNK_KEYS", "MIN_PEOPLE", "MIN_ROWS", "FrequentValue", "FrequentValues", "as_junk", "group_junk_by_client"]

MIN_ROWS = 100
MIN_PEOPLE = 20

#: Keys whose value means one person → the keys that distinguish people with it, in this order.
JUNK_KEYS: Mapping[str, tuple[str, ...]] = {
    "em": ("external_id", "ph", "ln", "fn"),
    "ph": ("external_id", "em", "ln", "fn"),
    "external_id": ("em", "ph", "ln", "fn"),
}


@dataclass(frozen=True, slots=True)
class FrequentValue:
    """A value by the SHA-256 of its normal form, the rows that hold it, and the number of people it occurs with."""

    key: str
    sha256: str
    rows: int
    share: float
    people: int
    client: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class FrequentValues:
    """Counts values and the people they occur with, batch by batch; batches and their order make no difference."""

    share: float
    _pairs: dict[str, Counted] = field(default_factory=dict)
    _digests: dict[int, str] = field(default_factory=dict)

    def add(self, columns: Sequence[HashedColumn], clients: pa.Array | None = None) -> None:
        """``clients`` are aligned with the values; without them all rows are counted as one client's."""
        whose = None if clients is None else pl.Series(clients.cast(pa.string()))
        for key, others in JUNK_KEYS.items():
            own = [column for column in columns if column.key == key]
            other_people = _identify_person([column for other in others for column in columns if column.key == other])
            for column in own:
                value = compute_marks(column.values)
                person = (
                    pl.repeat(None, len(value), dtype=pl.UInt64, eager=True) if other_people is None else other_people
                )
                client = pl.repeat(None, len(value), dtype=pl.String, eager=True) if whose is None else whose
                seen = pl.DataFrame({"client": client, "value": value, "person": person})
                self._pairs.setdefault(key, Counted()).add(seen.drop_nulls("value"))
                self._remember(key, column.values, seen)

    def list_candidates(self) -> Iterator[FrequentValue]:
        """By key, the most frequent first."""
        for key, pairs in self._pairs.items():
            values = (
                pairs.counts().group_by("client", "value").agg(pl.col("rows").sum(), people=pl.col("person").count())
            )
            values = values.with_columns(total=pl.col("rows").sum().over("client"))
            rows, people = pl.col("rows"), pl.col("people")
            frequent = (rows >= MIN_ROWS) & (rows > self.share * pl.col("total")) & (people > MIN_PEOPLE)
            found = values.filter(frequent).sort("rows", "client", descending=[True, False])
            for client, value, number, other_people, total in found.iter_rows():
                yield FrequentValue(key, self._digests[value], number, number / total, other_people, client)

    def _remember(self, key: str, values: pa.Array, seen: pl.DataFrame) -> None:
        """The digests of what is frequent here: what is frequent in all batches together is so in one at least."""
        value = seen["value"]
        counts = seen.select("client", "value").drop_nulls("value").group_by("client", "value").len("rows")
        often = counts.filter(pl.col("rows") > self.share * pl.col("rows").sum().over("client"))["value"]
        first = pl.DataFrame({"value": value}).with_row_index().filter(pl.col("value").is_in(often.implode()))
        first = first.unique("value", keep="first")
        texts = values.take(pa.array(first["index"].to_numpy()))
        self._digests |= dict(zip(first["value"].to_list(), _list_digests(key, texts), strict=True))


def group_junk_by_client(found: Iterable[FrequentValue]) -> dict[str, dict[str, list[str]]]:
    """The values of each client as ``junk`` of an upload names them."""
    by_client: dict[str, list[FrequentValue]] = {}
    for one in found:
        if one.client is not None:
            by_client.setdefault(one.client, []).append(one)
    return {client: as_junk(own) for client, own in by_client.items()}


def as_junk(found: Iterable[FrequentValue]) -> dict[str, list[str]]:
    """The values as ``junk`` of an upload names them."""
    junk: dict[str, list[str]] = {}
    for one in found:
        junk.setdefault(one.key, []).append(one.sha256)
    return junk


def _list_digests(key: str, sent: pa.Array) -> list[str]:
    """``sent`` as ``junk`` names it: what goes out hashed is its own name."""
    if USER_DATA_KEYS[key].hashing == "always":
        return list(sent.to_pylist())
    pairs = zip(sent.to_pylist(), digest(sent).to_pylist(), strict=True)
    return [text if re.fullmatch("[0-9a-f]{64}", text) else hashed for text, hashed in pairs]


def _identify_person(columns: Sequence[HashedColumn]) -> pl.Series | None:
    """A hash of the person of a row, from these columns; null where they are empty."""
    if not columns:
        return None
    return pl.select(pl.coalesce(*[pl.lit(compute_marks(column.values)) for column in columns])).to_series()
