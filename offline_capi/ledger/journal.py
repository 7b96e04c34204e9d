"""The journal of requests: the intent is written before each POST and the outcome after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from offline_capi.ledger.database import Database, Transaction
from offline_capi.ledger.erasing import clear_digests, keep_rejected, scrub
from offline_capi.ledger.event_states import (
    EventState,
    LookupResult,
    RequestJudge,
    find_unconfirmed_since,
    get_deduplication_window,
    group_by_fate,
    read_event_states,
)
from offline_capi.ledger.index import NEWEST_REQUEST, EventIndex
from offline_capi.ledger.index.segments import Entries
from offline_capi.ledger.leases import Leases
from offline_capi.ledger.prepared import Prepared
from offline_capi.ledger.queries import (
    UnconfirmedRequest,
    may_leave_unconfirmed,
    select_reports,
    select_unconfirmed_requests,
)
from offline_capi.ledger.schema.tables import RequestState, request, sender
from offline_capi.ledger.values import pack_marks
from offline_capi.model import EventBatch, Fate, Outcome, Request

__all__ = ["Claim", "Journal", "LedgerJournal"]

#: An outcome may wait so long for the next claim, to be written in one transaction with it.
MAX_OUTCOME_DELAY_S = 1.0
#: The ``action_source`` for which Meta's longer deduplication window holds (D:offline-events).
OFFLINE_SOURCE = "physical_store"

_STATES = {
    Fate.SENT: RequestState.ACCEPTED,
    Fate.REJECTED_BY_META: RequestState.REJECTED,
    Fate.UNCONFIRMED: RequestState.UNCONFIRMED,
    Fate.DEFERRED: RequestState.RELEASED,
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed request, without the events that another run took in the meantime (``lost``)."""

    request: Request
    lost: EventBatch


class Journal(Protocol):
    """What sending needs to have written down. ``LedgerJournal`` keeps it, ``Rehearsal`` does not."""

    def start_digests(self) -> AbstractContextManager[Callable[[Request], Request]]:
        """What gives a request with the digest of its events under way, where claims need one."""

    def claim(self, run_id: str, wanted: Request, *, replaces: str | None = None) -> Claim:
        """Write the intent to post ``wanted``. ``replaces``: the request of this run that it is a part of."""

    def claim_together(self) -> AbstractContextManager[None]:
        """Claims made inside are written at once."""

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Note the outcomes of requests that were claimed here."""

    def keep_alive(self) -> None:
        """To be called each second in which nothing else is: other processes see that this one lives."""


class LedgerJournal:
    """The journal that a ledger keeps, for one process."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._leases = Leases()
        self._index = EventIndex()
        self._unconfirmed_since: dict[bytes, float] = {}
        self._outcomes: list[dict[str, Any]] = []
        self._intents: list[dict[str, Any]] = []
        self._written_at = time.monotonic()
        with database.begin_read() as connection:
            self._newest, self._met_others = NEWEST_REQUEST.fetch_number(connection), False
        database.wrap_writes(self._write_along)

    def close(self) -> None:
        """Write the outcomes that are left and end the leases: requests without an answer are unconfirmed now."""
        if self._leases or self._outcomes:
            with self._database.begin_write() as connection:
                self._leases.close(connection)

    # ------------------------------------------------------------------------------------------ sending

    def look_up(self, events: EventBatch, *, run_id: str | None, now: datetime, resend: bool = True) -> LookupResult:
        """What the ledger knows of events.

        Fresh are events never sent, those certainly not stored, and, with ``resend``, those unconfirmed inside Meta's
        window: they go again under the same ids. Without ``resend`` they stay unconfirmed.
        """
        with self._database.begin_read() as connection:
            self._index.refresh(connection)
            owners = self._index.find(connection, events.key_bytes)
        if not owners:
            return LookupResult(events)
        self.flush()  # for the outcomes of requests of this run
        judge = RequestJudge(self._leases, run_id, now, resend)
        with self._database.begin_read() as connection:
            states = read_event_states(connection, events, owners, judge)
        self._remember_unconfirmed(events, states)
        return group_by_fate(events, owners, states)

    @contextmanager
    def start_digests(self) -> Iterator[Callable[[Request], Request]]:
        """What gives a request with its digest under way: one that waits for its turn need not wait for that too.

        The marks of its values are there as well then.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as pool:

            def start(request: Request) -> Request:
                pack_marks(request.events)
                return replace(request, digest=pool.submit(request.events.digest))

            yield start

    def claim(self, run_id: str, wanted: Request, *, replaces: str | None = None) -> Claim:
        """Write down that ``wanted`` is about to be posted, with all its events, in one transaction.

        Events that another run claimed in the meantime are left out. ``replaces`` is an earlier request of this run
        whose events go again in smaller ones.
        """
        now = self._clock()
        with self._database.begin_write() as connection:
            granted, lost = self._split_granted(connection, wanted.events, run_id, now)
            # 63 bits that sort by time, and newer than every other: a later claim takes an event over from an earlier.
            before, self._newest = self._newest, max(int(now * 1000) << 21, self._newest + 1)
            keys = granted.key_bytes
            begun = wanted.digest if granted is wanted.events else None
            intent = {
                "id": self._newest,
                "run_id": run_id,
                "sender_id": self._leases.obtain(connection, run_id, now),
                "client": wanted.client,
                "pixel": wanted.pixel,
                "state": RequestState.POSTING,
                # Of a mixed request the shorter window, which is safe for both.
                "offline": granted.find_common("action_source") == OFFLINE_SOURCE,
                "events": len(granted),
                "digest": begun.result() if begun else granted.digest(),
                "posted_at": now,
                "waiting_keys": keys,
                "unconfirmed_since": self._find_first_posted(connection, granted, replaces),
                "value_marks": pack_marks(granted),
            }
            self._intents.append(intent)
            self._index.add(self._newest, keys, after=before)
        return Claim(Request(str(intent["id"]), wanted.client, wanted.pixel, granted), lost)

    @contextmanager
    def claim_together(self) -> Iterator[None]:
        """Claims made inside are one transaction: they wait for the disk once."""
        with self._database.begin_write():
            yield

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Note the outcomes of requests; written together with the next claim, or at once when a second has passed.

        A request whose outcome is lost in between is unconfirmed. It still counts as in flight until then, so that
        there are never more unconfirmed than could be in flight.
        """
        self._outcomes += [_as_parameters(outcome) for outcome in outcomes if outcome.request.id]
        if time.monotonic() - self._written_at > MAX_OUTCOME_DELAY_S:
            self.flush()

    def flush(self) -> None:
        """Write the outcomes that were noted."""
        if self._outcomes:
            with self._database.begin_write():
                pass

    def keep_alive(self) -> None:
        """Renew leases that are due, while a request takes minutes; outcomes do not wait for it either."""
        if self._outcomes or self._leases.find_due(self._clock()):
            with self._database.begin_write():
                pass

    # ------------------------------------------------------------------------------------------ what was sent

    def find_unconfirmed(self, now: datetime) -> list[UnconfirmedRequest]:
        """The requests with unconfirmed events, newest first; what a run is sending again counts until it ends.

        Where no run left any, this is quick; else it reads the segments of the index that are as old as they are.
        """
        judge = RequestJudge(self._leases, None, now, resend=False)
        with self._database.begin_read() as connection:
            found = connection.execute(select_unconfirmed_requests()).fetchall()
            rows = [row for row in found if judge.is_unconfirmed(row)]
            texts = connection.execute(select_reports({row.run_id for row in rows})).fetchall()
            reports = {run_id: json.loads(report) if report else None for run_id, report in texts}
            rows = [row for row in rows if may_leave_unconfirmed(reports[row.run_id], row.client)]
            if not rows:
                return []
            self._index.refresh(connection)
            left = self._index.count_events(connection, {row.id for row in rows})
        return [_describe_unconfirmed(row, left[row.id]) for row in rows if left[row.id]]

    def find_requests(self, keys: Sequence[bytes]) -> dict[int, int]:
        """Position in ``keys`` → the id of the newest request that has the key; unknown ones are left out."""
        self.flush()
        with self._database.begin_read() as connection:
            self._index.refresh(connection)
            return self._index.find(connection, b"".join(keys))

    def read_entries(self) -> Iterator[Entries]:
        """Every event's key and request, a part at a time; no other call of this ledger may come in between."""
        self.flush()
        with self._database.begin_read() as connection:
            self._index.refresh(connection)
            yield from self._index.read_entries(connection)

    # ------------------------------------------------------------------------------------------ forgetting

    def forget(self, keys: Sequence[bytes], *, rejected: bool = False) -> int:
        """Forget these events, or with ``rejected`` those of them that Meta rejected; returns how many were known.

        A forgotten event is one that was never sent: a source that still holds it will send it again.
        """
        with self._database.begin_write() as connection:
            self._index.refresh(connection)
            owners = self._index.find(connection, b"".join(keys))
            if rejected:
                owners = keep_rejected(connection, owners)
            else:
                clear_digests(connection, self._index.find_all_owners(connection, b"".join(keys)))
            self._index.forget(connection, [keys[place] for place in owners])
        return len({keys[place] for place in owners})

    def scrub(self) -> bool:
        """Leave no byte of forgotten events in SQLite's file; ``False`` where another process was in the way."""
        return scrub(self._database.connection)

    def purge(self, before: datetime) -> int:
        """Forget events whose request was posted before ``before``; returns how many."""
        old, left = request.c.posted_at < before.timestamp(), sa.select(request.c.sender_id)
        with self._database.begin_write() as connection:
            forgotten = self._index.purge(connection, connection.scalars(sa.select(request.c.id).where(old)).all())
            connection.execute(sa.delete(request).where(old))
            ended = sender.c.lease_until < before.timestamp()
            connection.execute(sa.delete(sender).where(ended, sender.c.id.not_in(left)))
        return forgotten

    def count_before(self, before: datetime) -> int:
        """How many events ``purge`` would forget."""
        old = sa.select(request.c.id).where(request.c.posted_at < before.timestamp())
        with self._database.begin_read() as connection:
            self._index.refresh(connection)
            return self._index.count_events(connection, connection.scalars(old).all()).total()

    # ------------------------------------------------------------------------------------------ transactions

    @contextmanager
    def _write_along(self, transaction: Transaction) -> Iterator[sa.Connection]:
        """Each write of the ledger: first the outcomes that were noted, last the intents of claims made inside.

        What was noted is forgotten here once it is committed.
        """
        self._intents = []
        leases, newest = self._leases.copy(), self._newest
        try:
            with transaction as connection:
                if self._outcomes:
                    _UPDATE_OUTCOME.execute_many(connection, self._outcomes)
                self._leases.renew(connection, self._clock())
                self._note_other_claims(connection)
                if self._index.full:
                    self._index.merge(connection)
                yield connection
                self._write_intents(connection)
        except BaseException:  # what was not committed is not known here either: the row of a lease above all
            self._leases, self._newest, self._index = leases, newest, EventIndex()
            raise
        self._outcomes = []
        self._written_at = time.monotonic()

    def _write_intents(self, connection: sa.Connection) -> None:
        if self._intents:
            _INSERT_INTENT.execute_many(connection, self._intents)
            self._intents = []

    def _note_other_claims(self, connection: sa.Connection) -> None:
        """See whether another process claimed anything since this ledger was opened: else look-ups still hold."""
        newest = NEWEST_REQUEST.fetch_number(connection)
        self._met_others = self._met_others or newest != self._newest
        self._newest = newest

    def _split_granted(
        self, connection: sa.Connection, events: EventBatch, run_id: str, now: float
    ) -> tuple[EventBatch, EventBatch]:
        """The events that are free, and those that another run took since they were looked up."""
        if not self._met_others:
            return events, events.slice(0, 0)
        self._write_intents(connection)
        self._index.refresh(connection)
        owners = self._index.find(connection, events.key_bytes)
        judge = RequestJudge(self._leases, run_id, datetime.fromtimestamp(now, tz=UTC), resend=True)
        states = read_event_states(connection, events, owners, judge)
        self._remember_unconfirmed(events, states)
        taken = np.zeros(len(events), dtype=bool)
        taken[[place for place, state in states.items() if state.fate is not None]] = True
        return events.filter(pa.array(~taken)), events.filter(pa.array(taken))

    def _remember_unconfirmed(self, events: EventBatch, states: Mapping[int, EventState]) -> None:
        """Since when events may be stored that are free to go all the same."""
        since = {place: state.unconfirmed_since for place, state in states.items() if state.fate is None}
        keys = events.keys if any(since.values()) else []
        self._unconfirmed_since |= {keys[place]: moment for place, moment in since.items() if moment is not None}

    def _find_first_posted(self, connection: sa.Connection, events: EventBatch, replaces: str | None) -> float | None:
        """When the first request was posted that may have stored one of these events already.

        Meta drops repeats from the first receipt on, so that a repeat must not begin the window anew.
        """
        known = self._unconfirmed_since
        since = [known[key] for key in events.keys if key in known] if known else []
        if replaces is not None:
            first = sa.select(sa.func.coalesce(request.c.unconfirmed_since, request.c.posted_at))
            since += connection.scalars(first.where(request.c.id == int(replaces)))
        return min(since, default=None)


_ANSWER = ("code", "subcode", "trace_id")
_CLAIMED = ("waiting_keys", "unconfirmed_since", "value_marks")

_INSERT_INTENT = Prepared(
    sa.insert(request),
    ("id", "run_id", "sender_id", "client", "pixel", "state", "offline", "events", "digest", "posted_at", *_CLAIMED),
)
_UPDATE_OUTCOME = Prepared(
    sa.update(request)
    .where(request.c.id == sa.bindparam("b_id"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("state", "answered_at", "tries", *_ANSWER)})
)


def _as_parameters(outcome: Outcome) -> dict[str, Any]:
    return {
        "b_id": int(outcome.request.id),
        "b_state": _STATES[outcome.fate],
        "b_answered_at": outcome.answered_at.timestamp(),
        "b_tries": outcome.tries,
        **{f"b_{name}": getattr(outcome, name) for name in _ANSWER},
    }


def _describe_unconfirmed(row: Any, events: int) -> UnconfirmedRequest:
    since = datetime.fromtimestamp(find_unconfirmed_since(row) or row.posted_at, tz=UTC)
    until = since + get_deduplication_window(row)
    return UnconfirmedRequest(row.run_id, row.upload, row.client, row.pixel, events, since, until)
