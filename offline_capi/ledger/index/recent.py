"""Claims that are not in the index yet.

A claim appends its keys as one blob to its request, and now and then all of them become a segment of the index
together. Until then this is where they are looked up, those of other processes included.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.ledger.index.filter import KeyFilter, Keys, Probe, halves, keys_of
from offline_capi.ledger.index.segments import Entries, in_order
from offline_capi.ledger.prepared import Prepared, in_parts
from offline_capi.ledger.schema.tables import request

__all__ = ["RecentClaims"]

#: Keys that may wait outside the index, over all processes and runs: 4 MiB, and 2 of a filter.
MERGE_AT = 262_144
#: Requests whose keys may wait: each look asks the database for their ids.
MERGE_REQUESTS = 1_024
#: Bits of the filter for each key: of a hundred thousand keys that do not wait, a few look as if they did.
_BITS = 64
#: So many keys are looked for one by one, which takes 0.1 milliseconds each. All keys are put in order for more.
_FEW = 32


class RecentClaims:
    """The keys of requests that still carry them, by the newest request that has each."""

    def __init__(self) -> None:
        self._by_request: dict[int, bytes] = {}
        self._count = 0
        self._filter = KeyFilter.for_keys(MERGE_AT, bits=_BITS)
        self._sorted: Entries | None = None
        self._unmarked: list[bytes] = []

    @property
    def full(self) -> bool:
        """Whether it is time to put them into the index."""
        return self._count >= MERGE_AT or len(self._by_request) >= MERGE_REQUESTS

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, or put into the index, since the last look."""
        waiting = {number for (number,) in _WAITING.rows(connection)}
        if not self._by_request.keys() <= waiting:
            self.clear()
        for some in in_parts(waiting - self._by_request.keys()):
            chosen = sa.select(request.c.id, request.c.waiting_keys).where(request.c.id.in_(some))
            for request_id, keys in connection.execute(chosen):
                self.add(request_id, keys)

    def add(self, request_id: int, keys: bytes) -> None:
        """``keys``: one after the other, as a request carries them."""
        self._by_request[request_id] = keys
        self._count += len(keys_of(keys))
        self._unmarked.append(keys)
        self._sorted = None

    def find(self, keys: Keys, probe: Probe) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Places in ``keys`` of those that wait here, and the request of each.

        Nearly always there is none, and the filter knows.
        """
        self._mark()
        places = self._filter.may_hold(probe)
        if not len(places):
            return places, np.empty(0, np.int64)
        wanted = keys[places]
        here = self.entries() if len(places) > _FEW else self._those(wanted)
        waits, owners = here.find(wanted)
        return places[waits], owners

    def entries(self) -> Entries:
        """All of them, in order."""
        if self._sorted is None:
            self._sorted = in_order([self._in_time()])
        return self._sorted

    def keys_of(self, request_ids: Collection[int]) -> bytes:
        """The keys that these requests carry."""
        return b"".join(keys for request_id, keys in self._by_request.items() if request_id in request_ids)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # as new

    def _mark(self) -> None:
        """Let the filter know what was added since it was last asked."""
        if self._unmarked:
            self._filter.add(keys_of(b"".join(self._unmarked)))
            self._unmarked = []

    def _those(self, wanted: Keys) -> Entries:
        """The entries that begin as one of a few keys does."""
        every, begin = self._in_time(), halves(wanted)[0]
        high = halves(every.keys)[0]
        return in_order([every.chosen(np.logical_or.reduce([high == one for one in begin]))])

    def _in_time(self) -> Entries:
        """All of them, from the oldest request on."""
        ids = sorted(self._by_request)
        blobs = [self._by_request[request_id] for request_id in ids]
        return Entries(
            keys_of(b"".join(blobs)), np.repeat(np.array(ids, np.int64), [len(keys_of(blob)) for blob in blobs])
        )


_WAITING = Prepared(sa.select(request.c.id).where(request.c.waiting_keys.is_not(None)))
