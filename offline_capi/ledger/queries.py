"""Queries about past requests, and for how long the ledger has to keep them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from offline_capi.config.client import Client
from offline_capi.config.platform import LEDGER_MARGIN
from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import RequestState, request, run, sender
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.model import Fate, format_utc

__all__ = [
    "LONGEST_EVENT_AGE",
    "PURGE_MARGIN",
    "UnconfirmedRequest",
    "count_traffic",
    "find_last_accepted",
    "find_purge_date",
    "may_leave_unconfirmed",
    "select_reports",
    "select_unconfirmed_requests",
]

LONGEST_EVENT_AGE = MAX_PHYSICAL_STORE_AGE
PURGE_MARGIN = LEDGER_MARGIN


@dataclass(frozen=True, slots=True)
class UnconfirmedRequest:
    """A request whose ``events`` Meta may or may not have.

    Until ``repeatable_until``, Meta counts a repeat once: the next run that reads their rows sends them again. After
    that they are deferred.
    """

    run_id: str
    upload: str
    client: str
    pixel: str
    events: int
    since: datetime
    repeatable_until: datetime

    def next_step(self, now: datetime) -> str:
        """What happens to the events next, as a sentence."""
        until = format_utc(self.repeatable_until)
        if self.repeatable_until > now:
            return f"the next run that reads these rows sends them again and settles them, until {until}"
        return (
            f"not sent again: since {until} Meta would count a repeat as a second event; look for them in Meta's "
            "Events Manager"
        )

    def to_json(self, now: datetime) -> dict[str, Any]:
        return {
            "run": self.run_id,
            "upload": self.upload,
            "client": self.client,
            "pixel": self.pixel,
            "events": self.events,
            "since": self.since.isoformat(),
            "repeatable_until": self.repeatable_until.isoformat(),
            "next": self.next_step(now),
        }


def find_purge_date(now: datetime, clients: Iterable[Client] = ()) -> datetime:
    """Requests posted before this hold no event that could still be sent: none is posted before it has happened."""
    return now - max([LONGEST_EVENT_AGE, *(client.physical_store_max_age for client in clients)]) - PURGE_MARGIN


def find_last_accepted(database: Database) -> dict[str, datetime]:
    """When Meta last accepted a request, by recipient; one query for all of them."""
    accepted = sa.select(request.c.client, sa.func.max(request.c.answered_at))
    rows = database.read(accepted.where(request.c.state == RequestState.ACCEPTED).group_by(request.c.client))
    return {recipient: datetime.fromtimestamp(at, UTC) for recipient, at in rows}


def count_traffic(run_id: str, database: Database) -> dict[str, tuple[int, int]]:
    """How many requests a run sent to each recipient, in how many tries."""
    counted = sa.select(request.c.client, sa.func.count(), sa.func.sum(request.c.tries))
    rows = database.read(counted.where(request.c.run_id == run_id, request.c.tries > 0).group_by(request.c.client))
    return {recipient: (int(requests), int(tries)) for recipient, requests, tries in rows}


# ---------------------------------------------------------------------------------------------- unconfirmed


def select_unconfirmed_requests() -> sa.Select[Any]:
    """Requests without a final answer, newest first, each with its upload and its sender.

    Many a one is decided all the same: a request that Meta refused went again in parts, a later run took events over.
    """
    joined = request.join(run, run.c.id == request.c.run_id)
    joined = joined.join(sender, sender.c.id == request.c.sender_id, isouter=True)
    columns = (request, run.c.upload, sender.c.host, sender.c.pid, sender.c.pid_started, sender.c.lease_until)
    unanswered = request.c.state.in_([RequestState.POSTING, RequestState.UNCONFIRMED])
    repeated = (request.c.state == RequestState.RELEASED) & request.c.unconfirmed_since.is_not(None)
    return sa.select(*columns).select_from(joined).where(unanswered | repeated).order_by(request.c.id.desc())


def select_reports(run_ids: Collection[str]) -> sa.Select[Any]:
    """The reports of these runs; null where a run has not closed its books."""
    return sa.select(run.c.id, run.c.report).where(run.c.id.in_(run_ids))


def may_leave_unconfirmed(report: Mapping[str, Any] | None, client: str) -> bool:
    """Whether a run may have left events of this client unconfirmed: by its books, where it closed them."""
    return report is None or bool(report["clients"].get(client, {}).get(Fate.UNCONFIRMED))
