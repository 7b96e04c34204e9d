"""Which request had each event last: keys that wait in their requests, and the segments that they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.ledger.index.filter import Keys, Probe, split_keys
from offline_capi.ledger.index.recent import RecentClaims
from offline_capi.ledger.index.segments import (
    Entries,
    Keep,
    Segment,
    count_due,
    load_segments,
    merge_entries,
    read_merged,
    write_segment,
)
from offline_capi.ledger.prepared import Prepared
from offline_capi.ledger.schema.tables import request, segment

__all__ = ["NEWEST_REQUEST", "EventIndex"]


class EventIndex:
    """What one process knows of the index. Each method that reads or writes stands in a transaction of its caller's."""

    def __init__(self) -> None:
        self._recent = RecentClaims()
        self._segments: list[Segment] = []  # from the oldest on
        self._newest = 0

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, purged or made segments of since the last refresh."""
        newest = NEWEST_REQUEST.fetch_number(connection)
        there, known = {number for (number,) in _SEGMENTS.fetch(connection)}, {one.id for one in self._segments}
        if there != known:
            self._hold([*(one for one in self._segments if one.id in there), *load_segments(connection, there - known)])
        if there != known or newest != self._newest:
            self._recent.refresh(connection)
            self._newest = newest

    def find(self, connection: sa.Connection, keys: bytes) -> dict[int, int]:
        """Position in ``keys``, 16 bytes each → the newest request that has the key; others are left out."""
        places, owners = self._find_owners(connection, split_keys(keys))
        return dict(zip(places.tolist(), owners.tolist(), strict=True))

    def count_events(self, connection: sa.Connection, request_ids: Collection[int]) -> Counter[int]:
        """How many events each of these requests is the last to have; reads the segments of their time."""
        wanted = np.array(sorted(request_ids), np.int64)
        waiting = split_keys(self._recent.read_keys(request_ids))
        parts = [Entries(waiting, np.zeros(len(waiting), np.int64))]
        for one in self._segments:
            if one.may_have(wanted):
                parts += read_merged(connection, [one], lambda entries: np.isin(entries.owners, wanted))
        _, owners = self._find_owners(connection, merge_entries(parts).keys)
        return Counter(owners[np.isin(owners, wanted)].tolist())

    def find_all_owners(self, connection: sa.Connection, keys: bytes) -> set[int]:
        """All requests that are known to have had one of these keys, not only the newest."""
        wanted = split_keys(keys)
        probe = Probe.of(wanted)
        parts = [one.find(connection, wanted, probe)[1] for one in self._segments]
        return {int(owner) for part in (*parts, self._recent.find(wanted, probe)[1]) for owner in part}

    def read_entries(self, connection: sa.Connection) -> Iterator[Entries]:
        """Every key once, with the newest request that has it, some at a time: those that wait, then all others."""
        waiting = self._recent.read_entries()
        yield waiting
        if self._segments:
            yield from read_merged(connection, self._segments, lambda part: ~np.isin(part.keys, waiting.keys))

    @property
    def full(self) -> bool:
        """Whether so many keys wait that it is time to merge them."""
        return self._recent.full

    def add(self, request_id: int, keys: bytes, *, after: int) -> None:
        """``keys`` wait in this request, the newest there is; ``after`` was the newest before it."""
        self._recent.add(request_id, keys)
        if self._newest == after:  # else there are some that were not read yet
            self._newest = request_id

    def merge(self, connection: sa.Connection) -> None:
        """Make a segment of all keys that wait, those of other processes too."""
        self.refresh(connection)
        waiting = self._recent.read_entries()
        if len(waiting.keys):
            self._hold([*self._segments, write_segment(connection, [waiting], len(waiting.keys))])
            connection.execute(sa.update(request).where(request.c.waiting_keys.is_not(None)).values(waiting_keys=None))
        self._recent.clear()
        while number := count_due([one.keys for one in self._segments]):
            self._rewrite(connection, self._segments[-number:])

    def forget(self, connection: sa.Connection, keys: Sequence[bytes]) -> None:
        """Leave no byte of these keys: neither among the entries nor in what is kept with them."""
        self.merge(connection)
        gone = split_keys(b"".join(keys))
        probe = Probe.of(gone)
        for one in list(self._segments):
            if len(one.find(connection, gone, probe)[0]):
                self._rewrite(connection, [one], lambda entries: ~np.isin(entries.keys, gone))

    def purge(self, connection: sa.Connection, request_ids: Sequence[int]) -> int:
        """Forget the events of these requests; returns how many entries that were."""
        self.merge(connection)
        gone, before = np.array(sorted(request_ids), np.int64), self._entries
        for one in list(self._segments):
            if one.may_have(gone):
                self._rewrite(connection, [one], lambda entries: ~np.isin(entries.owners, gone))
        return before - self._entries

    @property
    def _entries(self) -> int:
        return sum(one.keys for one in self._segments)

    def _find_owners(self, connection: sa.Connection, keys: Keys) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Places in ``keys`` of those that some request has, and the newest request of each."""
        owners, probe = np.zeros(len(keys), np.int64), Probe.of(keys)
        for one in self._segments:
            places, ids = one.find(connection, keys, probe)
            owners[places] = ids
        places, ids = self._recent.find(keys, probe)
        owners[places] = ids
        known = np.flatnonzero(owners)
        return known, owners[known]

    def _rewrite(self, connection: sa.Connection, old: Sequence[Segment], keep: Keep | None = None) -> None:
        """Make one segment of some; of their entries those are left out for which ``keep`` says ``False``."""
        made = write_segment(connection, read_merged(connection, old, keep), sum(one.keys for one in old))
        for one in old:
            one.remove(connection)
        gone = {one.id for one in old}
        self._hold([*(one for one in self._segments if one.id not in gone), made])

    def _hold(self, segments: Iterable[Segment | None]) -> None:
        self._segments = sorted(filter(None, segments), key=lambda one: one.newest)


#: The newest request: ids only grow, claims come one after the other, whichever process makes them.
NEWEST_REQUEST = Prepared(sa.select(sa.func.max(request.c.id)))
_SEGMENTS = Prepared(sa.select(segment.c.id))
