"""What the ledger tells of the past, and for how long it has to remember it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from offline_capi.config.settings import Client
from offline_capi.ledger.tables import run

__all__ = ["MARGIN", "WINDOW", "forget_before", "reported_runs", "unfinished_runs"]

#: The oldest events that Meta takes, of physical stores (D:offline-events; meta-capi.md section 4).
WINDOW = timedelta(days=62)
#: Kept beyond that: a clock may be wrong, a window may be widened, somebody may ask what was sent.
MARGIN = timedelta(days=8)


def forget_before(now: datetime, clients: Iterable[Client] = ()) -> datetime:
    """Requests posted before this hold no event that could still be sent: none is posted before it has happened."""
    return now - max([WINDOW, *(client.physical_store_max_age for client in clients)]) - MARGIN


def reported_runs(upload: str, limit: int) -> sa.Select[Any]:
    """The last runs of one upload that have a report, newest first."""
    ended = sa.select(run).where(run.c.upload == upload, run.c.report.is_not(None))
    return ended.order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit)


def unfinished_runs() -> sa.Select[Any]:
    """Runs that are under way, and those that were killed."""
    return sa.select(run).where(run.c.ended_at.is_(None))
