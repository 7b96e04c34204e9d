"""Claims that are not in the index yet.

A claim appends its keys as one blob to its request, and now and then all of them become a segment of the index
together. Until then this is where they are looked up, those of other processes included.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.ledger.index.filter import KeyFilter, Keys, Probe, split_halves, split_keys
from offline_capi.ledger.index.segments import Entries, merge_entries
from offline_capi.ledger.prepared import Prepared, split_ids
from offline_capi.ledger.schema.tables import request

__all__ = ["RecentClaims"]

#: Keys that may wait outside the index, over all processes and runs: 4 MiB, and 2 of a filter.
MERGE_AT_KEYS = 262_144
#: Requests whose keys may wait: each refresh reads their ids.
MERGE_AT_REQUESTS = 1_024
#: Bits of the filter for each key: of a hundred thousand keys that do not wait, a few pass it.
_BITS_PER_KEY = 64
#: So many keys are looked for one by one, which takes 0.1 milliseconds each. All keys are put in order for more.
_FEW_KEYS = 32


class RecentClaims:
    """The keys of requests that still carry them, by the newest request that has each."""

    def __init__(self) -> None:
        self._by_request: dict[int, bytes] = {}
        self._count = 0
        self._filter = KeyFilter.for_keys(MERGE_AT_KEYS, bits=_BITS_PER_KEY)
        self._sorted: Entries | None = None
        self._unmarked: list[bytes] = []

    @property
    def full(self) -> bool:
        """Whether it is time to put them into the index."""
        return self._count >= MERGE_AT_KEYS or len(self._by_request) >= MERGE_AT_REQUESTS

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, or put into the index, since the last refresh."""
        waiting = {number for (number,) in _WAITING.fetch(connection)}
        if not self._by_request.keys() <= waiting:
            self.clear()
        for some in split_ids(waiting - self._by_request.keys()):
            chosen = sa.select(request.c.id, request.c.waiting_keys).where(request.c.id.in_(some))
            for request_id, keys in connection.execute(chosen):
                self.add(request_id, keys)

    def add(self, request_id: int, keys: bytes) -> None:
        """``keys``: one after the other, as a request carries them."""
        self._by_request[request_id] = keys
        self._count += len(split_keys(keys))
        self._unmarked.append(keys)
        self._sorted = None

    def find(self, keys: Keys, probe: Probe) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Places in ``keys`` of those that wait here, and the request of each.

        Nearly always there is none, and the filter says so.
        """
        self._mark()
        places = self._filter.may_hold(probe)
        if not len(places):
            return places, np.empty(0, np.int64)
        wanted = keys[places]
        here = self.read_entries() if len(places) > _FEW_KEYS else self._select_candidates(wanted)
        waits, owners = here.find(wanted)
        return places[waits], owners

    def read_entries(self) -> Entries:
        """All of them, in order."""
        if self._sorted is None:
            self._sorted = merge_entries([self._concatenate_by_age()])
        return self._sorted

    def read_keys(self, request_ids: Collection[int]) -> bytes:
        """The keys that these requests carry."""
        return b"".join(keys for request_id, keys in self._by_request.items() if request_id in request_ids)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # as new

    def _mark(self) -> None:
        """Let the filter know what was added since it was last asked."""
        if self._unmarked:
            self._filter.add(split_keys(b"".join(self._unmarked)))
            self._unmarked = []

    def _select_candidates(self, wanted: Keys) -> Entries:
        """The entries that begin as one of a few keys does."""
        every, begin = self._concatenate_by_age(), split_halves(wanted)[0]
        high = split_halves(every.keys)[0]
        return merge_entries([every.select(np.logical_or.reduce([high == one for one in begin]))])

    def _concatenate_by_age(self) -> Entries:
        """All of them, from the oldest request on."""
        ids = sorted(self._by_request)
        blobs = [self._by_request[request_id] for request_id in ids]
        return Entries(
            split_keys(b"".join(blobs)), np.repeat(np.array(ids, np.int64), [len(split_keys(blob)) for blob in blobs])
        )


_WAITING = Prepared(sa.select(request.c.id).where(request.c.waiting_keys.is_not(None)))
