"""Waits and rates that all senders share: one small row a scope, changed where something is throttled or limited."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import pace

__all__ = ["LedgerPace"]


class LedgerPace:
    """The ``SharedPace`` of all processes that send with one ledger; times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Store until when each scope has to wait, and return the waits of all senders that are not over.

        A wait is never shortened: another sender may have stored a longer one. Where nobody waits this reads one small
        table.
        """
        if own:
            with self._database.begin_write() as connection:
                known = _read_scopes(connection, own)
                for scope, until in own.items():
                    if until > known.get(scope, {}).get("not_before", 0.0):
                        _write_scope(connection, scope, known, not_before=until)
        waits = self._database.read(sa.select(pace.c.scope, pace.c.not_before).where(pace.c.not_before > now))
        return {row.scope: row.not_before for row in waits}

    def reserve_slot(self, intervals: Mapping[str, float], now: float) -> float:
        """Take the first moment from ``now`` on that is free in every scope; inside ``claim_together`` with it."""
        with self._database.begin_write() as connection:
            known = _read_scopes(connection, intervals)
            start = max([now, *(row["next_slot"] for row in known.values())])
            for scope, seconds in intervals.items():
                _write_scope(connection, scope, known, next_slot=start + seconds)
        return start


def _read_scopes(connection: sa.Connection, scopes: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    rows = connection.execute(sa.select(pace).where(pace.c.scope.in_(list(scopes)))).mappings()
    return {row["scope"]: dict(row) for row in rows}


def _write_scope(connection: sa.Connection, scope: str, known: Mapping[str, object], **values: float) -> None:
    """Writers take turns, so that a row that was not there is not there now."""
    if scope in known:
        connection.execute(sa.update(pace).where(pace.c.scope == scope).values(**values))
    else:
        connection.execute(sa.insert(pace).values(**{"scope": scope, "not_before": 0.0, "next_slot": 0.0, **values}))
