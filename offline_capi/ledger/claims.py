"""Claims that are not in the index yet.

Keys are random, so that putting 1,000 of them into an index of millions writes 1,000 pages: 4 MB for 16 KB of keys. A
claim therefore appends its keys as one blob to its request, and now and then all of them go into the index together,
sorted. Until then this is where they are looked up, those of other processes included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.ledger.tables import request
from offline_capi.model import KEY_BYTES, keys_in

__all__ = ["RecentClaims"]

#: Keys that may wait outside the index, over all processes and runs: 2 MiB, and 16 of marks. Each merge writes
#: nearly all pages of the index, so that twice as many halve the work.
MERGE_AT = 131_072
#: Requests whose keys may wait: each look asks the database for their ids.
MERGE_REQUESTS = 1_024
#: Places for marks: three a key, so that of a hundred thousand keys that do not wait, one looks as if it did.
_PLACES = 2**24


class RecentClaims:
    """The keys of requests that still carry them, by the newest request that has each.

    Nearly always none of the keys asked for waits: each key that does marks three of many places, and who has it is
    looked up only where all three are marked. A set of as many keys takes ten times as long and holds the interpreter.
    """

    def __init__(self) -> None:
        self._by_request: dict[int, bytes] = {}
        self._count = 0
        self._marks = np.zeros(_PLACES, dtype=bool)

    @property
    def full(self) -> bool:
        """Whether it is time to put them into the index."""
        return self._count >= MERGE_AT or len(self._by_request) >= MERGE_REQUESTS

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, or put into the index, since the last look."""
        waiting = set(connection.scalars(sa.select(request.c.id).where(request.c.waiting_keys.is_not(None))))
        if not self._by_request.keys() <= waiting:
            self.clear()
        fresh = sorted(waiting - self._by_request.keys())
        for start in range(0, len(fresh), 500):
            chosen = sa.select(request.c.id, request.c.waiting_keys).where(request.c.id.in_(fresh[start : start + 500]))
            for request_id, keys in connection.execute(chosen):
                self.add(request_id, keys)

    def add(self, request_id: int, keys: bytes) -> None:
        """``keys``: one after the other, as a request carries them."""
        self._by_request[request_id] = keys
        self._count += len(keys) // KEY_BYTES
        for places in _places(keys):
            self._marks[places] = True

    def find(self, keys: bytes) -> dict[int, int]:
        """Position in ``keys`` → request id, of the keys that wait here."""
        first, second, third = (self._marks[places] for places in _places(keys))
        candidates = np.flatnonzero(first & second & third).tolist()
        if not candidates:
            return {}
        every = keys_in(keys)
        owners = self._owners({every[place] for place in candidates})
        return {place: owners[every[place]] for place in candidates if every[place] in owners}

    def events_of(self) -> Counter[int]:
        """How many events each request is the last to have."""
        return Counter(self._owners(None).values())

    def clear(self) -> None:
        self._by_request, self._count = {}, 0
        self._marks[:] = False

    def _owners(self, wanted: AbstractSet[bytes] | None) -> dict[bytes, int]:
        """Whose each key is, or each of ``wanted``: a request with a later id takes an event over from an earlier."""
        owners: dict[bytes, int] = {}
        for request_id in sorted(self._by_request):
            keys = keys_in(self._by_request[request_id])
            owners |= dict.fromkeys(keys if wanted is None else wanted & set(keys), request_id)
        return owners


def _places(keys: bytes) -> list[NDArray[np.uint32]]:
    """Where each key makes its marks: keys are digests, so their parts are as good as random."""
    words = np.frombuffer(keys, np.uint32).reshape(-1, KEY_BYTES // 4)
    return [words[:, part] % np.uint32(_PLACES) for part in range(3)]
