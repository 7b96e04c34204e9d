"""Claims that are not in the index yet.

Keys are random, so that putting 1,000 of them into an index of millions writes 1,000 pages: 4 MB for 16 KB of keys. A
claim therefore appends its keys as one blob to its request, and now and then all of them go into the index together,
sorted. Until then this is where they are looked up, those of other processes included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from offline_capi.ledger.tables import KEY_BYTES, request

__all__ = ["RecentClaims"]

#: Keys that may wait outside the index, over all processes and runs: about 12 MiB of memory here. Each merge writes
#: nearly all pages of the index, so that twice as many halve the work.
MERGE_AT = 131_072
#: Requests whose keys may wait: each look asks the database for their ids.
MERGE_REQUESTS = 1_024


class RecentClaims:
    """The keys of requests that still carry them, by the newest request that has each."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._by_request: dict[int, Sequence[bytes]] = {}
        self._owners: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        """Whether it is time to put them into the index."""
        return len(self._keys) >= MERGE_AT or len(self._by_request) >= MERGE_REQUESTS

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, or put into the index, since the last look."""
        waiting = set(connection.scalars(sa.select(request.c.id).where(request.c.waiting_keys.is_not(None))))
        if not self._by_request.keys() <= waiting:
            self.clear()
        fresh = sorted(waiting - self._by_request.keys())
        for start in range(0, len(fresh), 500):
            chosen = sa.select(request.c.id, request.c.waiting_keys).where(request.c.id.in_(fresh[start : start + 500]))
            for request_id, keys in connection.execute(chosen.order_by(request.c.id)):
                self.add(request_id, [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)])

    def add(self, request_id: int, keys: Sequence[bytes]) -> None:
        self._by_request[request_id] = keys
        self._keys.update(keys)
        self._owners = {}

    def find(self, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        """(position in ``keys``, request id) of the keys that wait here."""
        if self._keys.isdisjoint(keys):  # nearly always: whose a key is need not be known then
            return []
        owner = self._owned().get
        return [(i, found) for i, key in enumerate(keys) if (found := owner(key)) is not None]

    def events_of(self) -> Counter[int]:
        """How many events each request is the last to have."""
        return Counter(self._owned().values())

    def clear(self) -> None:
        self._keys, self._by_request, self._owners = set(), {}, {}

    def _owned(self) -> dict[bytes, int]:
        """Whose each key is: a request with a later id takes an event over from an earlier one."""
        if not self._owners:
            ids = sorted(self._by_request)
            self._owners = {key: request_id for request_id in ids for key in self._by_request[request_id]}
        return self._owners
