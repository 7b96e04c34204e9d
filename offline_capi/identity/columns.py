"""The one path that every value takes: text, rule of the profile, digest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.keys import USER_DATA_KEYS
from offline_capi.config.settings import ExternalIdPolicy
from offline_capi.errors import UsageError
from offline_capi.identity.declared import declared_digest
from offline_capi.identity.digests import digests
from offline_capi.identity.distinct import distinct, repeats
from offline_capi.identity.meta import META
from offline_capi.identity.param_builder import PARAM_BUILDER
from offline_capi.identity.remembered import Answer, Remembered, Table
from offline_capi.identity.sdk import SDK
from offline_capi.identity.text import as_text, blank_where, is_one_of, lowered
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable
from offline_capi.model import DroppedValues, IdentityColumn

__all__ = [
    "PROFILES",
    "HashedColumn",
    "RowsAlike",
    "Surroundings",
    "country_beside",
    "hash_columns",
    "hash_each",
    "normal_forms",
    "rule_of",
]

PROFILES: Mapping[str, Profile] = {"meta": META, "sdk": SDK, "param_builder": PARAM_BUILDER}

_READ_WITH_COUNTRY = frozenset({"ph", "st", "zp"})


class RowsAlike(NamedTuple):
    """Rows of clients that chose the same profile and the same policy for ``external_id``; ``None``: all rows."""

    where: pa.BooleanArray | None
    profile: str
    policy: ExternalIdPolicy


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands beside the values: default countries (alpha-2, lower case), the clients' choices, the day, junk; and
    what earlier batches of the run were told."""

    country: pa.Array
    alike: Sequence[RowsAlike]
    today: date
    junk: Mapping[str, Collection[str]] = field(default_factory=dict)
    remembered: Remembered | None = None


class HashedColumn(NamedTuple):
    """What became of one source column of a key: ``values`` as they are sent, and why those that are gone are gone."""

    key: str
    label: str
    filled: pa.BooleanArray
    values: pa.Array
    cause: pa.Array | None


def rule_of(key: str, profile: str) -> Rule:
    """The rule of a key; a ``UsageError`` names what is allowed."""
    table = PROFILES.get(profile)
    if table is None:
        raise UsageError(f'there is no profile "{profile}"; one of: {", ".join(PROFILES)}')
    if key not in table:
        raise UsageError(f'"{key}" is not a key of user_data; one of: {", ".join(table)}')
    return table[key]


def hash_columns(
    identity: Mapping[str, Sequence[IdentityColumn]], around: Surroundings
) -> tuple[dict[str, tuple[pa.Array, ...]], tuple[DroppedValues, ...]]:
    """Every key's columns as Meta takes them, and what was dropped on the way."""
    hashed: dict[str, list[pa.Array]] = {}
    dropped: list[DroppedValues] = []
    for column in hash_each(identity, around):
        hashed.setdefault(column.key, []).append(column.values)
        dropped += _dropped(column)
    together = {key: _lists(own) if USER_DATA_KEYS[key].several else _first(own) for key, own in hashed.items()}
    return together, tuple(dropped)


def hash_each(identity: Mapping[str, Sequence[IdentityColumn]], around: Surroundings) -> Iterator[HashedColumn]:
    """Every column on its own, in the order of the YAML."""
    around = replace(around, country=_country_of_rows(identity.get("country", ()), around.country))
    for key, columns in identity.items():
        for column in columns:
            answer = _hashed(key, column, around)
            yield HashedColumn(key, column.label, pc.is_valid(column.values), answer.values, answer.cause)


def normal_forms(key: str, readable: Readable, profile: str) -> pa.Array:
    """What would be hashed, or sent as it is; null where unusable."""
    rule = rule_of(key, profile)
    if not repeats(readable.text):
        return rule(readable).text
    few = distinct(readable, by_country=key in _READ_WITH_COUNTRY)
    return rule(few.values).text.take(few.rows)


def country_beside(written: Any, default: pa.Array) -> pa.Array:
    """Countries as a source writes them → alpha-2, with the default where nothing is written.

    An unknown word is no country: filling in the default would read the values of one country by another's rules.
    """
    text = lowered(as_text(written))
    if pc.all(pc.is_null(text)).as_py():
        return default
    words = text.dictionary_encode()
    codes = META["country"](Readable(words.dictionary, pa.nulls(len(words.dictionary), pa.string()))).text
    beside = codes.take(words.indices)
    return pc.if_else(pc.is_null(text), default, beside) if text.null_count else beside


def _country_of_rows(columns: Sequence[IdentityColumn], default: pa.Array) -> pa.Array:
    """The row's own country, as mapped to ``country``, before the client's default."""
    for column in reversed([one for one in columns if not one.hashed]):
        default = country_beside(column.values, default)
    return default


def _hashed(key: str, column: IdentityColumn, around: Surroundings) -> Answer:
    declared = column.hashed and USER_DATA_KEYS[key].hashable
    country = around.country if column.country is None else country_beside(column.country, around.country)
    readable = Readable(as_text(column.values), country, column.formats, around.today)
    values, causes = pa.nulls(len(readable), pa.string()), pa.nulls(len(readable), pa.string())
    for where, profile, policy in _told_apart(key, around.alike):
        rule = declared_digest if declared else rule_of(key, profile)
        asked = replace(readable if where is None else readable.at(where), policy=policy)
        answer = _sent(key, rule, asked, around)
        if where is None:
            return answer
        values = pc.replace_with_mask(values, where, answer.values)
        if answer.cause is not None:
            causes = pc.replace_with_mask(causes, where, answer.cause)
    return Answer(values, causes)


def _told_apart(key: str, alike: Sequence[RowsAlike]) -> Sequence[RowsAlike]:
    """Only ``external_id`` has a policy: for every other key, rows of one profile stay together."""
    if key == "external_id" or len(alike) == 1:
        return alike
    if len({rows.profile for rows in alike}) == 1:
        return [alike[0]._replace(where=None)]
    return alike


def _sent(key: str, rule: Rule, readable: Readable, around: Surroundings) -> Answer:
    """Rule and digest, once a distinct value where values repeat: in the batch, or in the run."""

    def ask(values: Readable) -> Answer:
        return _judged(key, rule(values), around.junk.get(key))

    if not repeats(readable.text, over_batches=around.remembered is not None):
        return ask(readable)
    table, by_country = _table(key, rule, readable, around), key in _READ_WITH_COUNTRY
    if table is not None:
        return table.answers(readable, by_country=by_country, ask=ask)
    few = distinct(readable, by_country=by_country)
    return ask(few.values).at(few.rows)


def _table(key: str, rule: Rule, readable: Readable, around: Surroundings) -> Table | None:
    """What is remembered of values read in just this way."""
    if around.remembered is None:
        return None
    policy = readable.policy if key == "external_id" else None
    junk = frozenset(around.junk.get(key, ()))
    return around.remembered.table((key, rule, readable.formats, readable.today, policy, junk))


def _judged(key: str, usable: Usable, junk: Collection[str] | None) -> Answer:
    """What goes out, without what the upload lists as nobody's."""
    sent = _outgoing(key, usable)
    if not junk:
        return Answer(sent, usable.cause)
    hashes = digests(usable.text) if USER_DATA_KEYS[key].hashing == "never" or usable.final is not None else sent
    listed = pc.or_(is_one_of(hashes, frozenset(junk)), is_one_of(sent, frozenset(junk)))
    kept = Usable(sent, usable.cause).refuse(Cause.LISTED_AS_JUNK, listed)
    return Answer(kept.text, kept.cause)


def _outgoing(key: str, usable: Usable) -> pa.Array:
    """Digests, except what goes out as it is."""
    if USER_DATA_KEYS[key].hashing == "never":
        return usable.text
    final = usable.final
    if final is None:
        return digests(usable.text)
    final = pc.fill_null(final, False)
    return pc.if_else(final, usable.text, digests(blank_where(usable.text, final)))


def _lists(columns: Sequence[pa.Array]) -> tuple[pa.Array, ...]:
    """One array a column; a value that stands in an earlier column of the row already is null."""
    kept: list[pa.Array] = []
    for values in columns:
        for earlier in kept:
            values = blank_where(values, pc.fill_null(pc.equal(values, earlier), False))
        kept.append(values)
    return tuple(kept)


def _first(columns: Sequence[pa.Array]) -> tuple[pa.Array, ...]:
    """A single-valued key keeps the first usable value of the row."""
    return (pc.coalesce(*columns),)


def _dropped(column: HashedColumn) -> Iterator[DroppedValues]:
    if column.cause is None:
        return
    for entry in pc.value_counts(column.cause.drop_null()).to_pylist():
        yield DroppedValues(column.key, column.label, str(entry["values"]), int(entry["counts"]))
