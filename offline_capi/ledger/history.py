"""What the ledger tells of the past, and for how long it has to remember it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from offline_capi.config.settings import LEDGER_MARGIN, Client
from offline_capi.ledger.tables import RequestState, request, run, sender
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.model import Fate, in_utc

if TYPE_CHECKING:
    from offline_capi.ledger.store import Ledger

__all__ = [
    "MARGIN",
    "WINDOW",
    "FailedRequest",
    "UnconfirmedRequest",
    "clients_sent_for",
    "failed_requests",
    "forget_before",
    "last_accepted",
    "reported_runs",
    "reports_of",
    "select_unconfirmed_requests",
    "traffic_of",
    "unfinished_runs",
    "uploads_run",
]

WINDOW = MAX_PHYSICAL_STORE_AGE
MARGIN = LEDGER_MARGIN


@dataclass(frozen=True, slots=True)
class UnconfirmedRequest:
    """A request of whose ``events`` nobody knows whether Meta has them.

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
        """What becomes of the events, as a sentence."""
        until = in_utc(self.repeatable_until)
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


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that Meta did not accept, as far as is known: refused, unanswered, or sent again in parts."""

    request_id: int
    pixel: str
    state: str
    events: int
    tries: int
    code: int | None
    subcode: int | None
    trace_id: str | None


def forget_before(now: datetime, clients: Iterable[Client] = ()) -> datetime:
    """Requests posted before this hold no event that could still be sent: none is posted before it has happened."""
    return now - max([WINDOW, *(client.physical_store_max_age for client in clients)]) - MARGIN


def reported_runs(upload: str, limit: int) -> sa.Select[Any]:
    """The last runs of one upload that have a report, newest first."""
    ended = sa.select(run).where(run.c.upload == upload, run.c.report.is_not(None))
    return ended.order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit)


def failed_requests(run_id: str, client: str, limit: int) -> sa.Select[Any]:
    """The first requests of a run that went out for a client and were not accepted, in the columns of theirs."""
    columns = (request.c.id, *(request.c[name] for name in FailedRequest.__slots__ if name != "request_id"))
    failed = request.c.state != RequestState.ACCEPTED
    own = sa.and_(request.c.run_id == run_id, request.c.client == client, request.c.tries > 0)
    return sa.select(*columns).where(own, failed).order_by(request.c.id).limit(limit)


def unfinished_runs() -> sa.Select[Any]:
    """Runs that are under way, and those that were killed."""
    return sa.select(run).where(run.c.ended_at.is_(None))


def uploads_run() -> sa.Select[Any]:
    """The names of the uploads that ever ran, in order."""
    return sa.select(run.c.upload).distinct().order_by(run.c.upload)


def clients_sent_for(uploads: Collection[str]) -> sa.Select[Any]:
    """The clients for which these uploads sent anything."""
    mine = request.join(run, run.c.id == request.c.run_id)
    return sa.select(request.c.client).distinct().select_from(mine).where(run.c.upload.in_(uploads))


def last_accepted(ledger: Ledger) -> dict[str, datetime]:
    """When Meta last accepted a request, by recipient; one query for all of them."""
    accepted = sa.select(request.c.client, sa.func.max(request.c.answered_at))
    rows = ledger.read(accepted.where(request.c.state == RequestState.ACCEPTED).group_by(request.c.client))
    return {recipient: datetime.fromtimestamp(at, UTC) for recipient, at in rows}


def traffic_of(run_id: str, ledger: Ledger) -> dict[str, tuple[int, int]]:
    """How many requests a run sent to each recipient, in how many tries."""
    counted = sa.select(request.c.client, sa.func.count(), sa.func.sum(request.c.tries))
    rows = ledger.read(counted.where(request.c.run_id == run_id, request.c.tries > 0).group_by(request.c.client))
    return {recipient: (int(requests), int(tries)) for recipient, requests, tries in rows}


# ---------------------------------------------------------------------------------------------- unconfirmed


def select_unconfirmed_requests() -> sa.Select[Any]:
    """Requests without a settling answer, newest first, each with its upload and its sender.

    Many a one is settled all the same: a request that Meta refused went again in parts, a later run took events over.
    """
    joined = request.join(run, run.c.id == request.c.run_id)
    joined = joined.join(sender, sender.c.id == request.c.sender_id, isouter=True)
    columns = (request, run.c.upload, sender.c.host, sender.c.pid, sender.c.pid_started, sender.c.lease_until)
    unanswered = request.c.state.in_([RequestState.POSTING, RequestState.UNCONFIRMED])
    repeated = (request.c.state == RequestState.RELEASED) & request.c.unconfirmed_since.is_not(None)
    return sa.select(*columns).select_from(joined).where(unanswered | repeated).order_by(request.c.id.desc())


def reports_of(run_ids: Collection[str]) -> sa.Select[Any]:
    """The reports of these runs; null where a run has not closed its books."""
    return sa.select(run.c.id, run.c.report).where(run.c.id.in_(run_ids))


def left_unconfirmed(report: Mapping[str, Any] | None, client: str) -> bool:
    """Whether a run may have left events of this client unconfirmed: by its books, where it closed them."""
    return report is None or bool(report["clients"].get(client, {}).get(Fate.UNCONFIRMED))
