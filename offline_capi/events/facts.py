"""What the rules ask about a batch of rows: each answer is worked out once, for all rows, when it is first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.config.client import Client
from offline_capi.events.age import compute_max_ages
from offline_capi.events.payload import as_text
from offline_capi.model import HashedRows
from offline_capi.runtime.border import near_misses
from offline_capi.runtime.column_bytes import encode_distinct

__all__ = ["AgeLimits", "Facts", "Mask", "compute_local_days", "flag_values", "mask_of"]

Mask = NDArray[np.bool_]


def mask_of(booleans: Any) -> Mask:
    """Arrow booleans as a numpy mask; null is false."""
    if not booleans.true_count:
        return np.zeros(len(booleans), bool)
    known = pc.fill_null(booleans, False) if booleans.null_count else booleans
    mask: Mask = known.to_numpy(zero_copy_only=False)
    return mask


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """How old and how far ahead an event may be, in seconds of the clock that ``now`` was read from.

    ``max_age`` narrows Meta's limit and never widens it; ``margin`` is taken off Meta's limit, because an event must
    still be fresh when it arrives.
    """

    now: datetime
    max_age: timedelta | None
    margin: timedelta
    skew: timedelta

    def narrow_ages(self, allowed: NDArray[np.float64]) -> NDArray[np.float64]:
        narrowed = allowed - self.margin.total_seconds()
        return narrowed if self.max_age is None else np.minimum(narrowed, self.max_age.total_seconds())


@dataclass(frozen=True)
class Facts:
    """What the rules need to know of one batch of rows."""

    rows: HashedRows
    clients: Mapping[str, Client]
    limits: AgeLimits
    #: Names are meant as they are written, also where they are nearly a standard event's.
    exact_names: bool = False
    strict_website: bool = False
    #: Where a name in another case has become the standard event.
    respelled: Mask | None = None

    def get_event(self, name: str) -> Any:
        """An event-level field as strings; all null where the upload does not map it."""
        column = self.rows.event.get(name)
        return self._make_nulls(pa.string()) if column is None else as_text(column)

    def get_custom(self, name: str) -> Any:
        column = self.rows.custom.get(name)
        return self._make_nulls(pa.string()) if column is None else column

    def has(self, name: str) -> Mask:
        """Whether the row has the parameter, of the event itself or of custom_data."""
        column = self.rows.event.get(name, self.rows.custom.get(name))
        return self.mask_none() if column is None else mask_of(column.is_valid())

    def match_names(self, holds: Callable[[str], bool]) -> Mask:
        """Whether the event has a name for which ``holds``."""
        return flag_values(self._names, holds)

    def is_from(self, action_source: str) -> Mask:
        return flag_values(self._sources, action_source.__eq__)

    @cached_property
    def _names(self) -> Any:
        return encode_distinct(self.get_event("event_name"))

    @property
    def different_names(self) -> int:
        return len(self._names.dictionary)

    @cached_property
    def _sources(self) -> Any:
        return encode_distinct(self.get_event("action_source"))

    def _make_nulls(self, kind: Any) -> Any:
        return pa.nulls(len(self.rows), kind)

    def mask_none(self) -> Mask:
        return np.zeros(len(self.rows), bool)

    @cached_property
    def suppressed(self) -> Mask:
        """Rows without consent; an unknown consent is none."""
        missing: Mask = pc.fill_null(self.rows.suppressed, True).to_numpy(zero_copy_only=False)
        return missing

    # ------------------------------------------------------------------------------------------ time

    @cached_property
    def event_time(self) -> Any:
        column = self.rows.event.get("event_time")
        return self._make_nulls(pa.int64()) if column is None else column

    @cached_property
    def age(self) -> NDArray[np.float64]:
        """Seconds between the event and now, NaN where the row has no time."""
        times: NDArray[np.float64] = self.event_time.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return self.limits.now.timestamp() - times

    @cached_property
    def oldest_age(self) -> NDArray[np.float64]:
        """The age at which each row becomes too old: Meta's seven days, or the client's limit for physical_store."""
        return self.limits.narrow_ages(
            compute_max_ages(self.get_event("action_source"), as_text(self.rows.client), self.clients)
        )

    # ------------------------------------------------------------------------------------------ clients

    @cached_property
    def _client_codes(self) -> tuple[list[Client | None], Any]:
        """The clients that occur, ``None`` last for unknown ones, and each row's index among them."""
        encoded = encode_distinct(as_text(self.rows.client))
        known = [self.clients.get(name) for name in encoded.dictionary.to_pylist()]
        return [*known, None], pc.fill_null(encoded.indices, len(known))

    def _expand_per_client(self, of: Callable[[Client], float]) -> NDArray[np.float64]:
        """What each row's client says, NaN where it is unknown."""
        clients, codes = self._client_codes
        answers = np.array([np.nan if client is None else of(client) for client in clients])
        expanded: NDArray[np.float64] = answers[codes.to_numpy()]
        return expanded

    @cached_property
    def client_named(self) -> Any:
        """Each row's client as it may be kept and shown: null where it is neither configured nor such a name misspelt.

        A wrong column may hold names or numbers of people (``border.NearMisses``).
        """
        clients = as_text(self.rows.client)
        encoded = encode_distinct(clients)
        names = encoded.dictionary.to_pylist()
        if all(name in self.clients for name in names):
            return clients
        near = near_misses(frozenset(self.clients))
        return pa.array(map(near.kept, names), pa.string()).take(encoded.indices)

    @cached_property
    def pixel(self) -> Any:
        """Each row's pixel, null where its client is unknown."""
        clients, codes = self._client_codes
        return pa.array([client and client.pixel_id for client in clients], pa.string()).take(codes)

    @cached_property
    def rows_of(self) -> dict[str, int]:
        """Rows by client, of those that are known."""
        return {name: rows for name, rows in counts_of(as_text(self.rows.client)).items() if name in self.clients}

    @cached_property
    def paused(self) -> Mask:
        paused: Mask = self._expand_per_client(lambda client: float(client.active)) == 0
        return paused

    # ------------------------------------------------------------------------------------------ user_data

    def has_any(self, keys: set[str]) -> Mask:
        """Whether the row has a usable value for at least one of ``keys``."""
        found = self.mask_none()
        for column in (column for key in keys for column in self.rows.identity[key]):
            if column.null_count == 0:
                return np.ones(len(self.rows), bool)
            found |= mask_of(column.is_valid())
        return found

    # ------------------------------------------------------------------------------------------ custom_data

    @cached_property
    def value(self) -> Any:
        """The value as a number for the books, null where it is not one."""
        column = self.get_custom("value")
        return column.cast(pa.float64(), safe=False) if column.type != pa.string() else _parse_numbers(column)


def flag_values(encoded: Any, holds: Callable[[str], bool]) -> Mask:
    """``holds`` asked once for each distinct value; false where there is none."""
    answers = [holds(value) for value in encoded.dictionary.to_pylist()]
    if not any(answers):
        return np.zeros(len(encoded), bool)
    codes = pc.fill_null(encoded.indices, len(answers)) if encoded.null_count else encoded.indices
    flags: Mask = np.array([*answers, False])[codes.to_numpy()]
    return flags


_NUMBER_PATTERN = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"


def _parse_numbers(strings: Any) -> Any:
    numeric = pc.match_substring_regex(strings, _NUMBER_PATTERN)
    return pc.if_else(numeric, strings, None).cast(pa.float64())


# ---------------------------------------------------------------------------------------------- days

_QUARTER_S = 900  # Offsets from UTC have been multiples of a quarter of an hour since 1972.
# No zone is a day away from UTC, so that all of these have a local date that datetime holds.
_FIRST_QUARTER = int(datetime(1, 1, 2, tzinfo=UTC).timestamp()) // _QUARTER_S
_LAST_QUARTER = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) // _QUARTER_S


def compute_local_days(seconds: Any, zone: str) -> Any:
    """UTC seconds → the local date in ``zone`` (date32), null where there is none in the calendar."""
    quarters = pc.if_else(seconds.is_valid(), pa.array(_count_quarters(seconds), pa.int64()), None).dictionary_encode()
    days = [_find_local_day(quarter, zone) for quarter in quarters.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(quarters.indices)


def _count_quarters(seconds: Any) -> NDArray[np.int64]:
    whole: NDArray[np.int64] = pc.fill_null(seconds, 0).to_numpy()
    return whole // _QUARTER_S


@lru_cache(maxsize=16_384)
def _find_local_day(quarter: int, zone: str) -> date | None:
    if not _FIRST_QUARTER <= quarter <= _LAST_QUARTER:
        return None
    return datetime.fromtimestamp(quarter * _QUARTER_S, ZoneInfo(zone)).date()


def counts_of(values: Any) -> dict[str, int]:
    """How many rows have each value."""
    counts = pc.value_counts(values)
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
