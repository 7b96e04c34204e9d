"""Waits and rates that all senders share: one small row a scope, changed where something is throttled or limited."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from offline_capi.ledger.schema.tables import pace

__all__ = ["current_waits", "keep_waits", "take_slot"]


def current_waits(now: float) -> sa.Select[tuple[str, float]]:
    """Scope and until when it has to wait, of those that still do."""
    return sa.select(pace.c.scope, pace.c.not_before).where(pace.c.not_before > now)


def keep_waits(connection: sa.Connection, waits: Mapping[str, float]) -> None:
    """A wait is never shortened: another sender may have been told a longer one."""
    known = _known(connection, waits)
    for scope, until in waits.items():
        if until > known.get(scope, {}).get("not_before", 0.0):
            _write(connection, scope, known, not_before=until)


def take_slot(connection: sa.Connection, intervals: Mapping[str, float], now: float) -> float:
    """The first moment from ``now`` on that is free in every scope; it is taken in each."""
    known = _known(connection, intervals)
    start = max([now, *(row["next_slot"] for row in known.values())])
    for scope, seconds in intervals.items():
        _write(connection, scope, known, next_slot=start + seconds)
    return start


def _known(connection: sa.Connection, scopes: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    rows = connection.execute(sa.select(pace).where(pace.c.scope.in_(list(scopes)))).mappings()
    return {row["scope"]: dict(row) for row in rows}


def _write(connection: sa.Connection, scope: str, known: Mapping[str, object], **values: float) -> None:
    """Writers take turns, so that a row that was not there is not there now."""
    if scope in known:
        connection.execute(sa.update(pace).where(pace.c.scope == scope).values(**values))
    else:
        connection.execute(sa.insert(pace).values(**{"scope": scope, "not_before": 0.0, "next_slot": 0.0, **values}))
