"""Events by all that books count them by: found once for a batch, and then counted for each request cut from it.

There are few groups, so numpy and no hash table: a kernel of Arrow's lets go of the interpreter, and a busy process
makes it wait a millisecond to get it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offline_capi.model import EventBatch
from offline_capi.model.batch import get_numbers
from offline_capi.model.recipients import get_client_name

__all__ = ["EventGroup", "count_groups", "find_newest", "tell_clients_apart"]

EPOCH = date(1970, 1, 1)
SECONDS_PER_DAY = 86_400
#: So many combinations are looked up in a table; where there could be more, those that occur are sorted.
MAX_WIDTH = 65_536


class EventGroup(NamedTuple):
    """What the events of a group have in common. ``client`` is the recipient; ``day`` is in the upload's zone.

    ``currency`` is empty where an event has a value and no currency, or the other way round: it is one without a value.
    """

    client: str
    pixel: str
    event_name: str
    currency: str
    day: date
    utc_day: date


@dataclass(frozen=True, slots=True)
class _Grouped:
    """The groups in the order in which they first appear, which of them each event is in, and what it is worth."""

    groups: tuple[EventGroup, ...]
    codes: NDArray[np.int64]
    amounts: NDArray[np.float64]

    def __getitem__(self, rows: slice) -> _Grouped:
        return _Grouped(self.groups, self.codes[rows], self.amounts[rows])


def count_groups(events: EventBatch) -> Sequence[tuple[EventGroup, int, float]]:
    """How many of the events are in each group that they are in, and what these are worth together."""
    return events.work_out(_count_groups)


def _count_groups(events: EventBatch) -> list[tuple[EventGroup, int, float]]:
    found = events.derive(_group_events)
    counts = np.bincount(found.codes, minlength=len(found.groups))
    sums = np.bincount(found.codes, found.amounts, minlength=len(found.groups))
    return [(found.groups[at], int(counts[at]), float(sums[at])) for at in np.flatnonzero(counts).tolist()]


def find_newest(events: EventBatch) -> Mapping[str, int]:
    """The time of the newest event of each client, in UTC seconds."""
    return events.work_out(_find_newest)


def _find_newest(events: EventBatch) -> dict[str, int]:
    clients, codes = tell_clients_apart(events)
    times = get_numbers(events.table.column("event_time"), np.int64)
    present = np.flatnonzero(np.bincount(codes, minlength=len(clients))).tolist()
    return {clients[at]: int((times if len(present) == 1 else times[codes == at]).max()) for at in present}


def tell_clients_apart(events: EventBatch) -> tuple[list[str], NDArray[np.int64]]:
    """The clients of the batch that the events were cut from, each once, and which of them each event has."""
    found = events.derive(_group_events)
    names = [get_client_name(group.client) for group in found.groups]
    places = {client: at for at, client in enumerate(dict.fromkeys(names))}
    if len(places) <= 1:
        return list(places), np.zeros(len(events), np.int64)
    return list(places), np.array([places[name] for name in names], np.int64)[found.codes]


def _group_events(events: EventBatch) -> _Grouped:
    value, days = events.table.column("value"), get_numbers(events.table.column("day"), np.int32)
    worth = value.is_valid().to_numpy(zero_copy_only=False) if value.null_count else np.ones(len(events), bool)
    texts = [_tell_apart(events, name) for name in ("client", "pixel", "event_name")]
    texts.append(_tell_currencies_apart(events, worth))
    times = get_numbers(events.table.column("event_time"), np.int64)
    numbers = [days.astype(np.int64), times // SECONDS_PER_DAY]
    packed, width = np.zeros(len(events), np.int64), 1
    for values, places in texts:
        packed, width = (packed, width) if len(values) <= 1 else (packed * len(values) + places, width * len(values))
    for own in numbers:
        first, last = (int(own.min()), int(own.max())) if len(own) else (0, 0)
        packed, width = packed * (last - first + 1) + (own - first), width * (last - first + 1)
    codes, rows = _number_distinct(packed, width)
    words = (
        [values[place] for place in places[rows].tolist()] if len(values) > 1 else values * len(rows)
        for values, places in texts
    )
    groups = list(map(EventGroup, *words, *([_find_date(day) for day in own[rows].tolist()] for own in numbers)))
    has_value = worth & np.array([bool(group.currency) for group in groups], bool)[codes]
    return _Grouped(tuple(groups), codes, np.where(has_value, get_numbers(value, np.float64), 0.0))


@lru_cache(maxsize=1024)
def _find_date(day: int) -> date:
    return EPOCH + timedelta(days=day)


def _number_distinct(numbers: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], list[int]]:
    """The numbers (below ``width``) as codes in the order in which they first appear, and where each does."""
    if width > MAX_WIDTH:
        numbers = np.unique(numbers, return_inverse=True)[1].reshape(-1)
        width = len(numbers)
    firsts = np.full(width, len(numbers), np.int64)
    firsts[numbers[::-1]] = np.arange(len(numbers))[::-1]
    order = np.argsort(firsts, kind="stable")[: np.count_nonzero(firsts < len(numbers))]
    codes = np.empty(width, np.int64)
    codes[order] = np.arange(len(order))
    return codes[numbers], firsts[order].tolist()


def _tell_apart(events: EventBatch, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """The values of a column without nulls, and which of them each event has; mostly it is one."""
    common = events.find_common(name)
    if common is not None:
        return [common], np.zeros(0, np.int64)
    encoded = events.table.column(name).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _tell_currencies_apart(events: EventBatch, worth: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.int64]]:
    """As ``_tell_apart``; "" where an event has no currency, or no value."""
    if worth.all() and events.find_common("currency") is not None:
        return _tell_apart(events, "currency")
    encoded = events.table.column("currency").dictionary_encode()
    names: list[Any] = encoded.dictionary.to_pylist()
    places = encoded.indices.fill_null(len(names)).to_numpy().astype(np.int64)
    return [*names, ""], np.where(worth, places, len(names))
