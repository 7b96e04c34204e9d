"""What requests say of their events: to be sent, or their fate, which is decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from offline_capi.ledger.leases import Leases, Process
from offline_capi.ledger.prepared import split_ids
from offline_capi.ledger.schema.tables import RequestState, request, sender
from offline_capi.ledger.values import compute_value_marks, have_changed
from offline_capi.meta.limits import OFFLINE_DEDUPLICATION_WINDOW, ONLINE_DEDUPLICATION_WINDOW
from offline_capi.model import EventBatch, Fate, Reason

__all__ = [
    "EventState",
    "LookupResult",
    "RequestJudge",
    "find_unconfirmed_since",
    "get_deduplication_window",
    "group_by_fate",
    "read_event_states",
]


KnownFate = tuple[Fate, str | None]
_LOST_ANSWER: KnownFate = (Fate.UNCONFIRMED, Reason.LOST_ANSWER)
_TOO_OLD: KnownFate = (Fate.UNCONFIRMED, Reason.UNSETTLED)


@dataclass(frozen=True, slots=True)
class LookupResult:
    """Events by what the ledger knows of them: those to send, and those whose fate is decided.

    ``changed`` counts those among the decided that were sent with another value or currency than they have now.
    """

    fresh: EventBatch
    decided: tuple[tuple[Fate, str | None, EventBatch], ...] = ()
    changed: int = 0


class EventState(NamedTuple):
    """What a request says of its events: their fate (``None``: may be sent), and since when they are unconfirmed."""

    fate: KnownFate | None
    unconfirmed_since: float | None = None
    digest: bytes = b""
    marks: bytes | None = None


@dataclass(frozen=True, slots=True)
class RequestJudge:
    """Judges requests as one run sees them at one moment: ``run_id`` is None outside runs.

    Without ``resend``, events that are unconfirmed inside Meta's window keep that fate, instead of going again.
    """

    leases: Leases
    run_id: str | None
    now: datetime
    resend: bool

    def judge(self, row: Any) -> KnownFate | None:
        """The fate of a request's events; None where they may be sent. ``row``: its columns and its sender's."""
        since = find_unconfirmed_since(row)
        if row.state == RequestState.RELEASED and since is None:
            return None
        if row.state == RequestState.ACCEPTED:
            return (Fate.SENT if row.run_id == self.run_id else Fate.ALREADY_SENT), None
        if row.state == RequestState.REJECTED:
            code = f"{row.code}/{row.subcode}" if row.subcode else str(row.code or "")
            return Fate.REJECTED_BY_META, code or Reason.NOT_COUNTED
        if row.state == RequestState.POSTING and self._is_posted_elsewhere(row):
            return Fate.DEFERRED, Reason.OTHER_RUN
        if self.now.timestamp() - (since or row.posted_at) >= get_deduplication_window(row).total_seconds():
            return _TOO_OLD
        return None if self.resend else _LOST_ANSWER

    def is_unconfirmed(self, row: Any) -> bool:
        return self.judge(row) in (_LOST_ANSWER, _TOO_OLD)

    def read_states(self, connection: sa.Connection, request_ids: Iterable[int]) -> dict[int, EventState]:
        """What each request says of its events; requests that are gone are left out."""
        columns = (request, sender.c.host, sender.c.pid, sender.c.pid_started, sender.c.lease_until)
        joined = request.join(sender, sender.c.id == request.c.sender_id, isouter=True)
        states: dict[int, EventState] = {}
        for some in split_ids(request_ids):
            for row in connection.execute(sa.select(*columns).select_from(joined).where(request.c.id.in_(some))):
                states[row.id] = EventState(self.judge(row), find_unconfirmed_since(row), row.digest, row.value_marks)
        return states

    def _is_posted_elsewhere(self, row: Any) -> bool:
        """Whether another living process has the request on the wire."""
        if row.host is None or self.leases.is_own(row.run_id, row.sender_id):
            return False
        return Process(row.host, row.pid, row.pid_started).is_alive(row.lease_until, self.now.timestamp())


def find_unconfirmed_since(row: Any) -> float | None:
    """Since when events of this request may be stored; a request that never left says nothing of earlier ones."""
    if row.state == RequestState.RELEASED or row.unconfirmed_since is not None:
        return row.unconfirmed_since  # type: ignore[no-any-return]  # a row's columns are Any
    return float(row.posted_at)


def get_deduplication_window(row: Any) -> timedelta:
    """For how long Meta drops repeats of the events of a request."""
    return OFFLINE_DEDUPLICATION_WINDOW if row.offline else ONLINE_DEDUPLICATION_WINDOW


def read_event_states(
    connection: sa.Connection, events: EventBatch, owners: Mapping[int, int], judge: RequestJudge
) -> dict[int, EventState]:
    """Position of an event → what the newest request that has it (``owners``) says; others are left out.

    An event that Meta rejected and that is different now may be tried again.
    """
    by_request = judge.read_states(connection, set(owners.values()))
    states = {place: by_request[owner] for place, owner in owners.items() if owner in by_request}
    corrected = [
        place
        for place, state in states.items()
        if state.fate is not None
        and state.fate[0] is Fate.REJECTED_BY_META
        and events.slice(place, 1).digest() != state.digest
    ]
    return states | dict.fromkeys(corrected, EventState(None))


def group_by_fate(events: EventBatch, owners: Mapping[int, int], states: Mapping[int, EventState]) -> LookupResult:
    """The events by their states; those without one are fresh."""
    groups: dict[KnownFate, list[int]] = {}
    for position, state in states.items():
        if state.fate is not None:
            groups.setdefault(state.fate, []).append(position)
    fresh = np.ones(len(events), dtype=bool)
    decided = []
    for (fate, reason), positions in groups.items():
        fresh[positions] = False
        decided.append((fate, reason, events.take(np.array(sorted(positions), np.int64))))
    left = events if not groups else events.filter(pa.array(fresh))
    return LookupResult(left, tuple(decided), _count_changed(events, owners, states))


def _count_changed(events: EventBatch, owners: Mapping[int, int], states: Mapping[int, EventState]) -> int:
    """How many events that an earlier run sent have another value or currency now; older ledgers do not know it."""
    by_owner: dict[int, list[int]] = {}
    for place, state in states.items():
        if state.marks is not None and state.fate is not None and state.fate[0] is Fate.ALREADY_SENT:
            by_owner.setdefault(owners[place], []).append(place)
    if not by_owner:
        return 0
    marks = compute_value_marks(events)
    kept = {owners[place]: state.marks for place, state in states.items()}
    return sum(int(have_changed(marks[places], kept[owner] or b"").sum()) for owner, places in by_owner.items())
