"""What was sent: intent before each POST, outcome after it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from offline_capi.errors import LedgerError, UsageError
from offline_capi.ledger.connection import explained, make_engine, transaction
from offline_capi.ledger.erasing import owned_by_refused, scrub, without_digest
from offline_capi.ledger.history import (
    FailedRequest,
    UnconfirmedRequest,
    clients_sent_for,
    failed_requests,
    left_unconfirmed,
    reported_runs,
    reports_of,
    select_unconfirmed_requests,
    unfinished_runs,
    uploads_run,
)
from offline_capi.ledger.index import NEWEST, EventIndex
from offline_capi.ledger.liveness import GONE, LEASE, Process
from offline_capi.ledger.pace import current_waits, keep_waits, take_slot
from offline_capi.ledger.prepared import Prepared, in_parts
from offline_capi.ledger.schema import upgrade
from offline_capi.ledger.segments import Entries
from offline_capi.ledger.tables import RequestState, request, run, run_part, sender
from offline_capi.ledger.values import have_changed, packed_marks, value_marks
from offline_capi.meta.limits import OFFLINE_DEDUPLICATION_WINDOW, ONLINE_DEDUPLICATION_WINDOW
from offline_capi.model import Debt, EventBatch, Fate, Outcome, Reason, Request, Tally, Window
from offline_capi.storage.private_files import PRIVATE, FileAccess

__all__ = ["Claim", "Known", "Ledger", "RunRecord"]

#: Seconds that an outcome may wait for the next claim, to be written in one transaction with it.
WRITE_EVERY = 1.0

OFFLINE_SOURCE = "physical_store"

_STATES = {
    Fate.SENT: RequestState.ACCEPTED,
    Fate.REJECTED_BY_META: RequestState.REJECTED,
    Fate.UNCONFIRMED: RequestState.UNCONFIRMED,
    Fate.DEFERRED: RequestState.RELEASED,
}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger remembers it; ``report`` is the JSON of its report once it has ended."""

    id: str
    upload: str
    window: Window
    trigger: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    report: dict[str, Any] | None

    @property
    def balance(self) -> str:
        return str(self.report["balance"]) if self.report else ""

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.id,
            "upload": self.upload,
            "window": self.window.to_json(),
            "trigger": self.trigger,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "status": self.status,
            "report": self.report,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """Events told apart by what the ledger knows of them: those to send, and those whose fate is settled.

    ``changed`` counts those among the settled that were sent with another value or currency than they have now.
    """

    fresh: EventBatch
    settled: tuple[tuple[Fate, str | None, EventBatch], ...] = ()
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim got: the request, without the events that another run took in the meantime (``lost``)."""

    request: Request
    lost: EventBatch


class _Standing(NamedTuple):
    """What a request says of its events: their fate (``None``: may be sent), and since when they are unconfirmed."""

    fate: tuple[Fate, str | None] | None
    unconfirmed_since: float | None = None
    digest: bytes = b""
    marks: bytes | None = None


class Ledger:
    """The ledger at a database URL, opened for one process and one thread; migrated to today's tables on opening."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        busy_seconds: float | None = None,
        access: FileAccess = PRIVATE,
    ) -> None:
        self._engine = make_engine(url, busy_seconds=busy_seconds, access=access)
        self._clock = clock
        self._senders: dict[str, tuple[int, float]] = {}
        self._index = EventIndex()
        self._doubts: dict[bytes, float] = {}
        self._unwritten: list[dict[str, Any]] = []
        self._intents: list[dict[str, Any]] = []
        self._written_at = time.monotonic()
        with explained(self._engine):
            self._connection = self._engine.connect()
        try:
            upgrade(self._connection)
            with self._transaction(writes=False):
                self._newest, self._met_others = NEWEST.number(self._connection), False
        except LedgerError:
            self._connection.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write what was noted, and let go of the database: what is still unanswered is unconfirmed from now on."""
        try:
            if self._senders or self._unwritten:
                with self.writing():
                    mine = [sender_id for sender_id, _ in self._senders.values()]
                    self._connection.execute(sa.update(sender).where(sender.c.id.in_(mine)).values(lease_until=GONE))
        finally:
            self._connection.close()
            self._engine.dispose()

    @property
    def place(self) -> str:
        """Its URL, without what may be secret."""
        return self._engine.url.set(query={}).render_as_string(hide_password=True)

    # ------------------------------------------------------------------------------------------ runs

    def begin_run(
        self, upload: str, window: Window, *, trigger: str, now: datetime, covered_since: datetime | None = None
    ) -> str:
        """Open a run; its id sorts by time and is short enough to be typed.

        ``covered_since`` is the start of what it reads for all clients; None for a run that settles no day.
        """
        run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._write(
            sa.insert(run).values(
                id=run_id,
                upload=upload,
                **window.to_json(),
                trigger=trigger,
                started_at=now.isoformat(),
                status="running",
                covered_since=covered_since.isoformat() if covered_since else None,
            )
        )
        return run_id

    @contextmanager
    def running(
        self,
        upload: str,
        window: Window,
        *,
        trigger: str,
        now: Callable[[], datetime],
        covered_since: datetime | None = None,
    ) -> Iterator[RunRecord]:
        """A run from its first line on; one that ends in an error is marked as failed."""
        run_id = self.begin_run(upload, window, trigger=trigger, now=now(), covered_since=covered_since)
        try:
            yield self.run(run_id)
        except BaseException:
            self.finish_run(run_id, status="failed", report=None, now=now())
            raise

    def finish_run(
        self,
        run_id: str,
        *,
        status: str,
        report: Mapping[str, Any] | None,
        now: datetime,
        debts: Sequence[Debt] | None = None,
    ) -> None:
        """Close a run. ``debts`` are what it leaves to later runs; None where it has no books to tell."""
        text = json.dumps(report, ensure_ascii=False) if report is not None else None
        owed = json.dumps([debt.to_json() for debt in debts]) if debts is not None else None
        ended = {"status": status, "report": text, "ended_at": now.isoformat(), "debts": owed}
        self._write(sa.update(run).where(run.c.id == run_id).values(**ended))

    def run(self, run_id: str) -> RunRecord:
        found = self._records(sa.select(run).where(run.c.id == run_id))
        if not found:
            raise UsageError(f'the ledger has no run "{run_id}"; `offline-capi status` lists the last ones')
        return found[0]

    def newest_run(self) -> RunRecord:
        found = self.runs(1)
        if not found:
            raise UsageError("the ledger has no run yet")
        return found[0]

    def runs(self, limit: int) -> list[RunRecord]:
        """The last runs, newest first."""
        return self._records(sa.select(run).order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit))

    def past_runs(self) -> list[RunRecord]:
        """Every run that is still known, but tests, oldest first; without their reports, which may be large."""
        columns = [column for column in run.c if column.name != "report"]
        chosen = sa.select(*columns, sa.null().label("report")).where(run.c.trigger != "test")
        return self._records(chosen.order_by(run.c.started_at, run.c.id))

    def runs_of(self, upload: str, limit: int) -> list[RunRecord]:
        """The last runs of one upload that have a report, newest first."""
        return self._records(reported_runs(upload, limit))

    def unfinished_runs(self) -> list[RunRecord]:
        return self._records(unfinished_runs())

    def uploads(self) -> list[str]:
        """The names of the uploads that ever ran, in order."""
        return [name for (name,) in self.read(uploads_run())]

    def clients_of(self, uploads: Collection[str]) -> set[str]:
        """The clients for which these uploads sent anything."""
        return {name for (name,) in self.read(clients_sent_for(uploads))}

    def unconfirmed(self, now: datetime) -> list[UnconfirmedRequest]:
        """The requests with unconfirmed events, the newest first; what a run settles just now counts until it ends.

        Where no run left any, this is quick; else it reads the segments of the index that are as old as they are.
        """
        with self._transaction(writes=False) as connection:
            found = connection.execute(select_unconfirmed_requests()).fetchall()
            rows = [row for row in found if self._verdict(row, None, now, resend=False) in (_LOST, _UNSETTLED)]
            told = connection.execute(reports_of({row.run_id for row in rows})).fetchall()
            reports = {run_id: json.loads(report) if report else None for run_id, report in told}
            doubtful = [row for row in rows if left_unconfirmed(reports[row.run_id], row.client)]
            if not doubtful:
                return []
            self._index.refresh(connection)
            left = self._index.events_of(connection, {row.id for row in doubtful})
        return [_doubtful(row, left[row.id]) for row in doubtful if left[row.id]]

    def save_part(self, run_id: str, part: str, tally: Tally) -> None:
        """Keep what one task of a run counted; a repeated task replaces what it said before."""
        with self.writing():
            self._connection.execute(sa.delete(run_part).where(run_part.c.run_id == run_id, run_part.c.part == part))
            self._connection.execute(
                sa.insert(run_part).values(run_id=run_id, part=part, tally=json.dumps(tally.to_json()))
            )

    def parts(self, run_id: str) -> dict[str, Tally]:
        rows = self.read(sa.select(run_part.c.part, run_part.c.tally).where(run_part.c.run_id == run_id))
        return {part: Tally.from_json(json.loads(tally)) for part, tally in rows}

    def failed_requests(self, run_id: str, client: str, limit: int) -> list[FailedRequest]:
        """The first requests of a run that went out for a client and were not accepted, oldest first."""
        return [FailedRequest(*row) for row in self.read(failed_requests(run_id, client, limit))]

    # ------------------------------------------------------------------------------------------ events

    def known(self, events: EventBatch, *, run_id: str | None, now: datetime, resend: bool = True) -> Known:
        """Tell events apart by what the ledger knows of them.

        Fresh are events never sent, those certainly not stored, and, with ``resend``, those unconfirmed inside Meta's
        window: they go again under the same ids. Without ``resend`` the doubtful ones are settled as unconfirmed.
        """
        with self._transaction(writes=False):
            self._index.refresh(self._connection)
            found = self._index.find(self._connection, events.key_bytes)
        if not found:
            return Known(events)
        self.flush()  # for what became of requests of this run
        with self._transaction(writes=False):
            standings = self._standings(events, found, run_id, now, resend)
        self._remember_doubts(events, standings)
        groups: dict[tuple[Fate, str | None], list[int]] = {}
        for position, standing in standings.items():
            if standing.fate is not None:
                groups.setdefault(standing.fate, []).append(position)
        return replace(_split(events, groups), changed=_changed(events, found, standings))

    def digested(self, requests: Iterable[Request]) -> Iterator[Request]:
        """The requests, each with its digest under way: it is there when a request that waits a while is claimed."""
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as pool:
            for one in requests:
                yield replace(one, digest=pool.submit(one.events.digest))

    def claim(self, run_id: str, wanted: Request, *, replaces: str | None = None) -> Claim:
        """Write down that ``wanted`` is about to be posted, with all its events, in one transaction.

        Events that another run claimed in the meantime are left out. ``replaces`` is an earlier request of this run
        whose events go again in smaller ones.
        """
        now = self._clock()
        with self.writing():
            granted, lost = self._granted(wanted.events, run_id, now)
            before, self._newest = self._newest, _next_id(now, self._newest)
            keys = granted.key_bytes
            intent = {
                "id": self._newest,
                "run_id": run_id,
                "sender_id": self._sender(run_id, now),
                "client": wanted.client,
                "pixel": wanted.pixel,
                "state": RequestState.POSTING,
                "offline": _is_offline(granted),
                "events": len(granted),
                "digest": _digest(granted, wanted),
                "posted_at": now,
                "waiting_keys": keys,
                "unconfirmed_since": self._read_unconfirmed_since(granted, replaces),
                "value_marks": packed_marks(granted),
            }
            self._intents.append(intent)
            self._index.add(self._newest, keys, after=before)
        return Claim(Request(str(intent["id"]), wanted.client, wanted.pixel, granted), lost)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Claims made inside are one transaction: the disk is waited for once."""
        with self.writing():
            yield

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of requests; written together with the next claim, or at once when a second has passed.

        A request whose outcome is lost in between is unconfirmed. Its place in flight is still taken, so that there
        are never more unconfirmed than could be in flight.
        """
        self._unwritten += [_answer(outcome) for outcome in outcomes if outcome.request.id]
        if time.monotonic() - self._written_at > WRITE_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write the outcomes that were noted."""
        if self._unwritten:
            with self.writing():
                pass

    def stay_alive(self) -> None:
        """Say that this process still lives, while a request takes minutes; outcomes do not wait for it either."""
        if self._unwritten or self._leases_due(self._clock()):
            with self.writing():
                pass

    def purge(self, before: datetime) -> int:
        """Forget events whose request was posted before ``before``; returns how many."""
        old, left = request.c.posted_at < before.timestamp(), sa.select(request.c.sender_id)
        with self.writing() as connection:
            forgotten = self._index.purge(connection, connection.scalars(sa.select(request.c.id).where(old)).all())
            connection.execute(sa.delete(request).where(old))
            gone = sender.c.lease_until < before.timestamp()
            connection.execute(sa.delete(sender).where(gone, sender.c.id.not_in(left)))
        return forgotten

    def count_before(self, before: datetime) -> int:
        """How many events ``purge`` would forget."""
        old = sa.select(request.c.id).where(request.c.posted_at < before.timestamp())
        with self._transaction(writes=False) as connection:
            self._index.refresh(connection)
            return self._index.events_of(connection, connection.scalars(old).all()).total()

    def owners_of(self, keys: Sequence[bytes]) -> dict[int, int]:
        """Position in ``keys`` → the id of the newest request that has the key; unknown ones are left out."""
        self.flush()
        with self._transaction(writes=False) as connection:
            self._index.refresh(connection)
            return self._index.find(connection, b"".join(keys))

    def entries(self) -> Iterator[Entries]:
        """Every event's key and request, a part at a time; no other call of this ledger may come in between."""
        self.flush()
        with self._transaction(writes=False) as connection:
            self._index.refresh(connection)
            yield from self._index.entries(connection)

    def forget(self, keys: Sequence[bytes], *, refused: bool = False) -> int:
        """Forget these events, or with ``refused`` those of them that Meta refused; returns how many were known.

        A forgotten event is one that was never sent: a source that still holds it will send it again.
        """
        with self.writing() as connection:
            self._index.refresh(connection)
            owners = self._index.find(connection, b"".join(keys))
            if refused:
                owners = owned_by_refused(connection, owners)
            else:
                without_digest(connection, self._index.every_owner(connection, b"".join(keys)))
            self._index.forget(connection, [keys[place] for place in owners])
        return len({keys[place] for place in owners})

    def scrub(self) -> bool:
        """Leave no byte of forgotten events in SQLite's file; ``False`` where another process was in the way."""
        return scrub(self._connection)

    # ------------------------------------------------------------------------------------------ pace

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Tell until when each scope has to wait, and hear the same of every sender; see ``delivery.pace``.

        Where nobody waits this reads one small table.
        """
        if own:
            with self.writing() as connection:
                keep_waits(connection, own)
        return {row.scope: row.not_before for row in self.read(current_waits(now))}

    def reserve_slot(self, intervals: Mapping[str, float], now: float) -> float:
        """When the next request of these scopes may leave; inside ``together`` it is a part of that transaction."""
        with self.writing() as connection:
            return take_slot(connection, intervals, now)

    # ------------------------------------------------------------------------------------------ transactions

    def read(self, statement: Any) -> Sequence[Any]:
        """All rows of a query, in a transaction of its own."""
        with self._transaction(writes=False):
            return self._connection.execute(statement).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: first of all what was noted, which is forgotten here once it is committed.

        Inside another one it is a part of that.
        """
        if self._connection.in_transaction():
            yield self._connection
            return
        self._intents = []
        senders, newest = self._senders.copy(), self._newest
        try:
            with self._transaction(writes=True):
                self._write_outcomes()
                self._extend_leases(self._clock())
                self._meet_others()
                if self._index.full:
                    self._index.merge(self._connection)
                yield self._connection
                self._write_intents()
        except BaseException:  # what was not committed is not known here either: a sender's row above all
            self._senders, self._newest, self._index = senders, newest, EventIndex()
            raise
        self._unwritten = []
        self._written_at = time.monotonic()

    # ------------------------------------------------------------------------------------------ inside

    def _write_outcomes(self) -> None:
        if self._unwritten:
            _ANSWERED.many(self._connection, self._unwritten)

    def _write_intents(self) -> None:
        if self._intents:
            _INTENT.many(self._connection, self._intents)
            self._intents = []

    def _granted(self, events: EventBatch, run_id: str, now: float) -> tuple[EventBatch, EventBatch]:
        """The events that are free, and those that another run took after we looked."""
        if not self._met_others:
            return events, events.slice(0, 0)
        self._write_intents()
        self._index.refresh(self._connection)
        moment = datetime.fromtimestamp(now, tz=UTC)
        found = self._index.find(self._connection, events.key_bytes)
        standings = self._standings(events, found, run_id, moment, resend=True)
        self._remember_doubts(events, standings)
        taken = np.zeros(len(events), dtype=bool)
        taken[[place for place, standing in standings.items() if standing.fate is not None]] = True
        return events.filter(pa.array(~taken)), events.filter(pa.array(taken))

    def _meet_others(self) -> None:
        """See whether anybody else has claimed anything since this ledger was opened: else its look-ups still hold."""
        newest = NEWEST.number(self._connection)
        self._met_others = self._met_others or newest != self._newest
        self._newest = newest

    def _remember_doubts(self, events: EventBatch, standings: Mapping[int, _Standing]) -> None:
        """Since when the events may be stored that are free to go all the same."""
        doubtful = {place: standing.unconfirmed_since for place, standing in standings.items() if standing.fate is None}
        keys = events.keys if any(doubtful.values()) else []
        self._doubts |= {keys[place]: since for place, since in doubtful.items() if since is not None}

    def _read_unconfirmed_since(self, events: EventBatch, replaces: str | None) -> float | None:
        """When the first request was posted that may have stored one of these events already.

        Meta drops repeats from the first receipt on, so that a repeat must not begin the window anew.
        """
        since = [self._doubts[key] for key in events.keys if key in self._doubts] if self._doubts else []
        if replaces is not None:
            first = sa.select(sa.func.coalesce(request.c.unconfirmed_since, request.c.posted_at))
            since += self._connection.scalars(first.where(request.c.id == int(replaces)))
        return min(since, default=None)

    def _standings(
        self, events: EventBatch, found: Mapping[int, int], run_id: str | None, now: datetime, resend: bool
    ) -> dict[int, _Standing]:
        """Place of an event → what the newest request that has it says; events that no request has are left out."""
        by_request = self._verdicts(set(found.values()), run_id, now, resend)
        standings = {place: by_request[owner] for place, owner in found.items() if owner in by_request}
        mended = [place for place, standing in standings.items() if _is_mended(standing, events, place)]
        return standings | dict.fromkeys(mended, _Standing(None))

    def _verdicts(self, request_ids: set[int], run_id: str | None, now: datetime, resend: bool) -> dict[int, _Standing]:
        """What each request says of its events."""
        columns = (request, sender.c.host, sender.c.pid, sender.c.pid_started, sender.c.lease_until)
        joined = request.join(sender, sender.c.id == request.c.sender_id, isouter=True)
        verdicts: dict[int, _Standing] = {}
        for some in in_parts(request_ids):
            for row in self._connection.execute(sa.select(*columns).select_from(joined).where(request.c.id.in_(some))):
                fate = self._verdict(row, run_id, now, resend)
                verdicts[row.id] = _Standing(fate, _find_unconfirmed_since(row), row.digest, row.value_marks)
        return verdicts

    def _verdict(self, row: Any, run_id: str | None, now: datetime, resend: bool) -> tuple[Fate, str | None] | None:
        since = _find_unconfirmed_since(row)
        if row.state == RequestState.RELEASED and since is None:
            return None
        if row.state == RequestState.ACCEPTED:
            return (Fate.SENT if row.run_id == run_id else Fate.ALREADY_SENT), None
        if row.state == RequestState.REJECTED:
            return Fate.REJECTED_BY_META, _code(row) or Reason.NOT_COUNTED
        if row.state == RequestState.POSTING and self._is_posting(row, now):
            return Fate.DEFERRED, Reason.OTHER_RUN
        if now.timestamp() - (since or row.posted_at) >= _window_of(row).total_seconds():
            return _UNSETTLED
        return None if resend else _LOST

    def _is_posting(self, row: Any, now: datetime) -> bool:
        """Whether another living process has the request on the wire."""
        if row.host is None or self._senders.get(row.run_id, (0,))[0] == row.sender_id:
            return False
        return Process(row.host, row.pid, row.pid_started).is_alive(row.lease_until, now.timestamp())

    def _sender(self, run_id: str, now: float) -> int:
        known = self._senders.get(run_id)
        if known is not None:
            return known[0]
        process = Process.current()
        made = self._connection.execute(
            sa.insert(sender).values(
                run_id=run_id,
                host=process.host,
                pid=process.pid,
                pid_started=process.started,
                lease_until=now + LEASE,
            )
        )
        (sender_id,) = made.inserted_primary_key or (0,)
        self._senders[run_id] = (sender_id, now + LEASE)
        return sender_id

    def _extend_leases(self, now: float) -> None:
        for run_id in self._leases_due(now):
            sender_id, _ = self._senders[run_id]
            self._connection.execute(sa.update(sender).where(sender.c.id == sender_id).values(lease_until=now + LEASE))
            self._senders[run_id] = (sender_id, now + LEASE)

    def _leases_due(self, now: float) -> list[str]:
        return [run_id for run_id, (_, until) in self._senders.items() if until - now < LEASE * 2 / 3]

    def _write(self, statement: Any) -> None:
        with self.writing():
            self._connection.execute(statement)

    def _transaction(self, *, writes: bool) -> AbstractContextManager[sa.Connection]:
        return transaction(self._connection, writes=writes)

    def _records(self, statement: Any) -> list[RunRecord]:
        return [_run_record(row) for row in self.read(statement)]


_LOST = (Fate.UNCONFIRMED, Reason.LOST_ANSWER)
_UNSETTLED = (Fate.UNCONFIRMED, Reason.UNSETTLED)
_ANSWER = ("code", "subcode", "trace_id")
_CLAIMED = ("waiting_keys", "unconfirmed_since", "value_marks")

_INTENT = Prepared(
    sa.insert(request),
    ("id", "run_id", "sender_id", "client", "pixel", "state", "offline", "events", "digest", "posted_at", *_CLAIMED),
)
_ANSWERED = Prepared(
    sa.update(request)
    .where(request.c.id == sa.bindparam("b_id"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("state", "answered_at", "tries", *_ANSWER)})
)


def _next_id(now: float, newest: int) -> int:
    """63 bits that sort by time, above all there are: a later claim takes an event over from an earlier one."""
    return max(int(now * 1000) << 21, newest + 1)


def _code(row: Any) -> str:
    return f"{row.code}/{row.subcode}" if row.subcode else str(row.code or "")


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "b_id": int(outcome.request.id),
        "b_state": _STATES[outcome.fate],
        "b_answered_at": outcome.answered_at.timestamp(),
        "b_tries": outcome.tries,
        **{f"b_{name}": getattr(outcome, name) for name in _ANSWER},
    }


def _find_unconfirmed_since(row: Any) -> float | None:
    """Since when events of this request may be stored; a request that never left says nothing of earlier ones."""
    if row.state == RequestState.RELEASED or row.unconfirmed_since is not None:
        return row.unconfirmed_since  # type: ignore[no-any-return]  # a row's columns are Any
    return float(row.posted_at)


def _window_of(row: Any) -> timedelta:
    """For how long Meta drops repeats of the events of a request."""
    return OFFLINE_DEDUPLICATION_WINDOW if row.offline else ONLINE_DEDUPLICATION_WINDOW


def _doubtful(row: Any, events: int) -> UnconfirmedRequest:
    since = datetime.fromtimestamp(_find_unconfirmed_since(row) or row.posted_at, tz=UTC)
    until = since + _window_of(row)
    return UnconfirmedRequest(row.run_id, row.upload, row.client, row.pixel, events, since, until)


def _is_mended(standing: _Standing, events: EventBatch, place: int) -> bool:
    """Whether an event that Meta refused looks different now, so that it may be tried again."""
    refused = standing.fate is not None and standing.fate[0] is Fate.REJECTED_BY_META
    return refused and events.slice(place, 1).digest() != standing.digest


def _run_record(row: Any) -> RunRecord:
    return RunRecord(
        id=row.id,
        upload=row.upload,
        window=Window.from_json({"since": row.since, "until": row.until, "zone": row.zone}),
        trigger=row.trigger,
        started_at=datetime.fromisoformat(row.started_at),
        ended_at=datetime.fromisoformat(row.ended_at) if row.ended_at else None,
        status=row.status,
        report=json.loads(row.report) if row.report else None,
    )


def _changed(events: EventBatch, found: Mapping[int, int], standings: Mapping[int, _Standing]) -> int:
    """How many events that an earlier run sent are worth something else now; older ledgers do not know it."""
    by_owner: dict[int, list[int]] = {}
    for place, standing in standings.items():
        if standing.marks is not None and standing.fate is not None and standing.fate[0] is Fate.ALREADY_SENT:
            by_owner.setdefault(found[place], []).append(place)
    if not by_owner:
        return 0
    marks = value_marks(events)
    kept = {found[place]: standing.marks for place, standing in standings.items()}
    return sum(int(have_changed(marks[places], kept[owner] or b"").sum()) for owner, places in by_owner.items())


def _split(events: EventBatch, groups: Mapping[tuple[Fate, str | None], list[int]]) -> Known:
    fresh = np.ones(len(events), dtype=bool)
    settled = []
    for (fate, reason), positions in groups.items():
        fresh[positions] = False
        settled.append((fate, reason, events.take(pa.array(sorted(positions), pa.int64()))))
    return Known(events if not groups else events.filter(pa.array(fresh)), tuple(settled))


def _is_offline(events: EventBatch) -> bool:
    """Whether the longer window holds for the whole request; a mixed one has the shorter, which is safe for both."""
    return events.all_have("action_source", OFFLINE_SOURCE)


def _digest(granted: EventBatch, wanted: Request) -> bytes:
    begun = wanted.digest if granted is wanted.events else None
    return begun.result() if begun else granted.digest()
