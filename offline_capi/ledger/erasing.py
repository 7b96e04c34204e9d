"""Take events out of the ledger so that no byte of their keys is left in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from offline_capi.ledger.tables import RequestState, event, request

__all__ = ["forget_events", "forget_refused", "scrub"]

#: Keys a statement; SQLite takes 32,766 parameters.
_SOME = 10_000
_NO_DIGEST = bytes(32)


def forget_events(connection: sa.Connection, keys: Sequence[bytes]) -> int:
    """Remove events from the index, and the digest of a request that held one of them alone; returns how many.

    Such a digest is a fingerprint of that event's body. What a request counted stays: numbers, codes, times.
    """
    forgotten = 0
    for some in _parts(keys):
        here = event.c.key.in_(some)
        alone = request.c.id.in_(sa.select(event.c.request_id).where(here)), request.c.events == 1
        connection.execute(sa.update(request).where(*alone).values(digest=_NO_DIGEST))
        forgotten += connection.execute(sa.delete(event).where(here)).rowcount
    return forgotten


def forget_refused(connection: sa.Connection, keys: Sequence[bytes]) -> int:
    """Make events free again that Meta refused: somebody says that its answer will be another one now."""
    refused = sa.select(request.c.id).where(request.c.state == RequestState.REFUSED)
    return sum(
        connection.execute(sa.delete(event).where(event.c.key.in_(some), event.c.request_id.in_(refused))).rowcount
        for some in _parts(keys)
    )


def scrub(connection: sa.Connection) -> bool:
    """Overwrite what SQLite keeps of deleted rows: free pages, and the log; whether it could be done to the end.

    SQLite marks pages as free and keeps their bytes, and its log keeps earlier pages. VACUUM writes a new database of
    live rows, the checkpoint cuts the log. Another process that reads or writes at the time stops both. PostgreSQL's
    own vacuum, log and backups are its administrator's.
    """
    if connection.dialect.name != "sqlite":
        return True
    database = connection.connection.driver_connection
    try:
        database.execute("VACUUM")  # type: ignore[union-attr]  # sqlite3's own connection: no transaction is begun
        ((busy, _, _),) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # type: ignore[union-attr]
    except sqlite3.OperationalError:  # held by another process for longer than we wait: the caller says so
        return False
    return not busy


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _SOME] for start in range(0, len(keys), _SOME))
