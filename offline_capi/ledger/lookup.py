"""Single events: the last request that had each, and all keys that the ledger holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.ledger.index.filter import split_halves
from offline_capi.ledger.schema.tables import RequestState, request, run
from offline_capi.model import read_sent_events
from offline_capi.model.recipients import get_client_name

if TYPE_CHECKING:
    from offline_capi.ledger.ledger import Ledger

__all__ = [
    "EventDelivery",
    "ForgottenDeliveries",
    "count_forgotten_deliveries",
    "count_unexplained_events",
    "find_deliveries",
    "find_oldest_request",
    "list_runs_with_requests",
]

#: Ids a statement; SQLite takes 32,766 parameters.
_IDS_PER_STATEMENT = 10_000


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """The last request that had an event. ``state`` is a ``RequestState``; ``upload`` is None where the run is gone.

    ``request_id`` is the ledger's, ``trace_id`` Meta's ``fbtrace_id``, which its support asks for.
    """

    key: bytes
    request_id: int
    run_id: str
    upload: str | None
    client: str
    pixel: str
    state: str
    events: int
    posted_at: datetime
    answered_at: datetime | None
    tries: int
    code: int | None
    subcode: int | None
    trace_id: str | None

    @property
    def accepted(self) -> bool:
        return self.state == RequestState.ACCEPTED

    @property
    def may_be_stored(self) -> bool:
        """Whether Meta has the event, or may have it."""
        return self.state in (RequestState.ACCEPTED, RequestState.UNCONFIRMED, RequestState.POSTING)

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key.hex(),
            "request": self.request_id,
            "run": self.run_id,
            "upload": self.upload,
            "client": self.client,
            "pixel": self.pixel,
            "state": self.state,
            "events_of_request": self.events,
            "posted_at": self.posted_at.isoformat(),
            "answered_at": self.answered_at.isoformat() if self.answered_at else None,
            "tries": self.tries,
            "code": self.code,
            "subcode": self.subcode,
            "trace_id": self.trace_id,
        }


def find_deliveries(ledger: Ledger, keys: Sequence[bytes]) -> list[EventDelivery]:
    """Those of the events that the ledger knows, in the order of ``keys``."""
    owners = ledger.journal.find_requests(keys)
    rows = {row.id: row for row in _load_requests(ledger, set(owners.values()))}
    return [_make_delivery(keys[place], rows[owner]) for place, owner in sorted(owners.items()) if owner in rows]


def find_oldest_request(ledger: Ledger) -> datetime | None:
    """Since when the ledger remembers what was sent."""
    ((posted_at,),) = ledger.read(sa.select(sa.func.min(request.c.posted_at)))
    return None if posted_at is None else datetime.fromtimestamp(posted_at, UTC)


def list_runs_with_requests(ledger: Ledger) -> set[str]:
    """The ids of the runs of which the ledger still knows requests."""
    return {run_id for (run_id,) in ledger.read(sa.select(request.c.run_id).distinct())}


@dataclass(frozen=True, slots=True)
class ForgottenDeliveries:
    """How many events were delivered whose keys retention has deleted, by the reports that are left."""

    events: int
    first_at: datetime
    last_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {"events": self.events, "first_at": self.first_at.isoformat(), "last_at": self.last_at.isoformat()}


def count_forgotten_deliveries(ledger: Ledger) -> ForgottenDeliveries | None:
    """What runs sent of which the ledger knows no request any more; ``None`` where it knows them all."""
    rows = ledger.read(sa.select(run.c.report, run.c.ended_at).where(_FORGOTTEN))
    sent = [(read_sent_events(json.loads(row.report)["tally"]).total(), row.ended_at) for row in rows]
    ends = [datetime.fromisoformat(ended_at) for events, ended_at in sent if events]
    return ForgottenDeliveries(sum(events for events, _ in sent), min(ends), max(ends)) if ends else None


_FORGOTTEN = (
    run.c.report.is_not(None) & run.c.trigger.not_in(("test", "plan")) & run.c.id.not_in(sa.select(request.c.run_id))
)


def count_unexplained_events(
    ledger: Ledger, explained: NDArray[np.uint64], clients: Collection[str] = ()
) -> Counter[str]:
    """Events of the ledger, by upload, whose keys do not begin with one of ``explained``; of all clients or some.

    ``explained`` are the first halves of keys (``filter.split_halves``), in order: 8 bytes distinguish 100 million.
    """
    owners: Counter[int] = Counter()
    for entries in ledger.journal.read_entries():
        first = split_halves(entries.keys)[0]
        at = np.minimum(np.searchsorted(explained, first), max(len(explained) - 1, 0))
        unknown = explained[at] != first if len(explained) else np.ones(len(first), bool)
        ids, counts = np.unique(entries.owners[unknown], return_counts=True)
        owners.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    found: Counter[str] = Counter()
    for row in _load_requests(ledger, owners):
        if not clients or get_client_name(row.client) in clients:
            found[row.upload or row.run_id] += owners[row.id]
    return found


def _load_requests(ledger: Ledger, request_ids: Collection[int]) -> list[Any]:
    names = ("id", "run_id", "client", "pixel", "state", "events", "posted_at", "answered_at", "tries", "code")
    columns = [request.c[name] for name in (*names, "subcode", "trace_id")]
    joined = request.join(run, run.c.id == request.c.run_id, isouter=True)
    ids = sorted(request_ids)
    rows: list[Any] = []
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        some = request.c.id.in_(ids[start : start + _IDS_PER_STATEMENT])
        rows += ledger.read(sa.select(*columns, run.c.upload).select_from(joined).where(some))
    return rows


def _make_delivery(key: bytes, row: Any) -> EventDelivery:
    return EventDelivery(
        key,
        row.id,
        row.run_id,
        row.upload,
        row.client,
        row.pixel,
        row.state,
        row.events,
        datetime.fromtimestamp(row.posted_at, UTC),
        datetime.fromtimestamp(row.answered_at, UTC) if row.answered_at else None,
        row.tries,
        row.code,
        row.subcode,
        row.trace_id,
    )
