"""Take events out of the ledger so that no byte of their keys is left in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from offline_capi.ledger.prepared import split_ids
from offline_capi.ledger.schema.tables import RequestState, request

__all__ = ["clear_digests", "keep_rejected", "scrub"]

_NO_DIGEST = bytes(32)


def clear_digests(connection: sa.Connection, request_ids: Collection[int]) -> None:
    """Remove the digests of those requests that held one event alone: such a one is a fingerprint of its body.

    And of all of them the marks, which could confirm what an event was worth (``values.py``). What a request counted
    stays: numbers, codes, times.
    """
    for some in split_ids(request_ids):
        connection.execute(sa.update(request).where(request.c.id.in_(some)).values(value_marks=None))
        alone = request.c.id.in_(some), request.c.events == 1
        connection.execute(sa.update(request).where(*alone).values(digest=_NO_DIGEST))


def keep_rejected(connection: sa.Connection, owners: Mapping[int, int]) -> dict[int, int]:
    """Those of ``owners``, ids of requests, that Meta rejected: its answer is expected to be another now."""
    rejected = set[int]()
    for some in split_ids(set(owners.values())):
        chosen = request.c.id.in_(some), request.c.state == RequestState.REJECTED
        rejected |= set(connection.scalars(sa.select(request.c.id).where(*chosen)))
    return {place: owner for place, owner in owners.items() if owner in rejected}


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
