"""Claims that are not in the index yet.

Keys are random, so that putting 1,000 of them into an index of millions writes 1,000 pages: 4 MB for 16 KB of keys. A
claim therefore appends its keys as one blob to its request, and now and then all of them go into the index together,
sorted. Until then this is where they are looked up, those of other processes included.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from offline_capi.ledger.tables import KEY_BYTES, request

__all__ = ["MERGE_AT", "RecentClaims"]

#: Keys that may wait outside the index, over all processes: about 10 MiB of memory here.
MERGE_AT = 65_536


class RecentClaims:
    """The keys of requests that still carry them, by the newest request that has each."""

    def __init__(self) -> None:
        self.owners: dict[bytes, int] = {}
        self._requests: set[int] = set()

    def __len__(self) -> int:
        return len(self.owners)

    @property
    def requests(self) -> list[int]:
        return sorted(self._requests)

    def refresh(self, connection: sa.Connection) -> None:
        """See what other processes claimed, or put into the index, since the last look."""
        waiting = set(connection.scalars(sa.select(request.c.id).where(request.c.waiting_keys.is_not(None))))
        if not self._requests <= waiting:
            self.clear()
        fresh = sorted(waiting - self._requests)
        for start in range(0, len(fresh), 500):
            chosen = sa.select(request.c.id, request.c.waiting_keys).where(request.c.id.in_(fresh[start : start + 500]))
            for request_id, keys in connection.execute(chosen.order_by(request.c.id)):
                self.add(request_id, [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)])

    def add(self, request_id: int, keys: Sequence[bytes]) -> None:
        """Requests come in the order of their ids: a later one takes an event over from an earlier one."""
        self._requests.add(request_id)
        self.owners.update(dict.fromkeys(keys, request_id))

    def find(self, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        """(position in ``keys``, request id) of the keys that wait here."""
        if self.owners.keys().isdisjoint(keys):  # nearly always, and five times as fast
            return []
        owner = self.owners.get
        return [(i, found) for i, key in enumerate(keys) if (found := owner(key)) is not None]

    def clear(self) -> None:
        self.owners.clear()
        self._requests.clear()
