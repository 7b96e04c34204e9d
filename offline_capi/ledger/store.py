"""What was sent: intent before each POST, outcome after it."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from offline_capi.errors import LedgerError
from offline_capi.ledger.bulk import bulk_for
from offline_capi.ledger.connection import explained, make_engine
from offline_capi.ledger.liveness import LEASE, Process
from offline_capi.ledger.schema import upgrade
from offline_capi.ledger.tables import RequestState, event, request, run, run_part, sender
from offline_capi.model import EventBatch, Fate, Outcome, Reason, Request, Tally, Window

__all__ = ["Claim", "Known", "Ledger", "RunRecord"]

#: Meta drops a repeated event for so long after it first came
#: (D:deduplicate-pixel-and-server-events; D:offline-events).
ONLINE_WINDOW = timedelta(hours=48)
OFFLINE_WINDOW = timedelta(days=7)
OFFLINE_SOURCE = "physical_store"

_STATES = {
    Fate.SENT: RequestState.ACCEPTED,
    Fate.REFUSED: RequestState.REFUSED,
    Fate.IN_DOUBT: RequestState.UNCONFIRMED,
    Fate.HELD: RequestState.RELEASED,
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
    """Events told apart by what the ledger knows of them: those to send, and those whose fate is settled."""

    fresh: EventBatch
    settled: tuple[tuple[Fate, str | None, EventBatch], ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim got: the request, without the events that another run took in the meantime (``lost``)."""

    request: Request
    lost: EventBatch


class Ledger:
    """The ledger at a database URL, opened for one process and one thread; migrated to today's tables on opening."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = make_engine(url)
        self._clock = clock
        self._bulk = bulk_for(self._engine.dialect.name)
        self._senders: dict[str, tuple[str, float]] = {}
        with explained(self._engine):
            upgrade(self._engine)
            self._connection = self._engine.connect()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    # ------------------------------------------------------------------------------------------ runs

    def begin_run(self, upload: str, window: Window, *, trigger: str, now: datetime) -> str:
        """Open a run; its id sorts by time and is short enough to be typed."""
        run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self._write(
            sa.insert(run).values(
                id=run_id,
                upload=upload,
                **window.to_json(),
                trigger=trigger,
                started_at=now.isoformat(),
                status="running",
            )
        )
        return run_id

    @contextmanager
    def running(self, upload: str, window: Window, *, trigger: str, now: Callable[[], datetime]) -> Iterator[RunRecord]:
        """A run from its first line on; one that ends in an error is marked as failed."""
        run_id = self.begin_run(upload, window, trigger=trigger, now=now())
        try:
            yield self.run(run_id)
        except BaseException:
            self.finish_run(run_id, status="failed", report=None, now=now())
            raise

    def finish_run(self, run_id: str, *, status: str, report: Mapping[str, Any] | None, now: datetime) -> None:
        text = json.dumps(report, ensure_ascii=False) if report is not None else None
        self._write(
            sa.update(run).where(run.c.id == run_id).values(status=status, report=text, ended_at=now.isoformat())
        )

    def run(self, run_id: str) -> RunRecord:
        found = self._records(sa.select(run).where(run.c.id == run_id))
        if not found:
            raise LedgerError(f'the ledger has no run "{run_id}"; `offline-capi status` lists the last ones')
        return found[0]

    def runs(self, limit: int) -> list[RunRecord]:
        """The last runs, newest first."""
        return self._records(sa.select(run).order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit))

    def save_part(self, run_id: str, part: str, tally: Tally) -> None:
        """Keep what one task of a run counted; a repeated task replaces what it said before."""
        with explained(self._engine), self._connection.begin():
            self._connection.execute(sa.delete(run_part).where(run_part.c.run_id == run_id, run_part.c.part == part))
            self._connection.execute(
                sa.insert(run_part).values(run_id=run_id, part=part, tally=json.dumps(tally.to_json()))
            )

    def parts(self, run_id: str) -> dict[str, Tally]:
        rows = self._read(sa.select(run_part.c.part, run_part.c.tally).where(run_part.c.run_id == run_id))
        return {part: Tally.from_json(json.loads(tally)) for part, tally in rows}

    def requests_of(self, run_id: str) -> tuple[int, int]:
        """How many requests a run sent, in how many tries."""
        counted = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(request.c.tries), 0))
        ((requests, tries),) = self._read(counted.where(request.c.run_id == run_id, request.c.tries > 0))
        return int(requests), int(tries)

    # ------------------------------------------------------------------------------------------ events

    def known(self, events: EventBatch, *, run_id: str | None, now: datetime, resend: bool = True) -> Known:
        """Tell events apart by what the ledger knows of them.

        Fresh are events never sent, those certainly not stored, and, with ``resend``, those in doubt inside Meta's
        window: they go again under the same ids. Without ``resend`` the doubtful ones are settled as in doubt.
        """
        if not len(events):
            return Known(events)
        with explained(self._engine), self._connection.begin():
            found = self._bulk.find(self._connection, events.table.column("key").to_pylist())
            verdicts = self._verdicts({request_id for _, request_id in found}, run_id, now, resend)
        groups: dict[tuple[Fate, str | None], list[int]] = {}
        for position, request_id in found:
            verdict = verdicts.get(request_id)
            if verdict is not None:
                groups.setdefault(verdict, []).append(position)
        return _split(events, groups)

    def claim(self, run_id: str, wanted: Request, *, replaces: str | None = None) -> Claim:
        """Write down that ``wanted`` is about to be posted, with all its events, in one transaction.

        Events that another run claimed in the meantime are left out. ``replaces`` is an earlier request of this run
        whose events go again in smaller ones.
        """
        now = self._clock()
        new_id = _new_id(now)
        keys = wanted.events.table.column("key").to_pylist()
        with explained(self._engine), self._connection.begin():
            sender_id = self._sender(run_id, now)
            granted, lost = wanted.events, wanted.events.slice(0, 0)
            if self._bulk.insert(self._connection, keys, new_id) < len(keys):
                granted, lost = self._take_over(wanted.events, keys, new_id, run_id, now, replaces)
            self._connection.execute(
                sa.insert(request).values(
                    id=new_id,
                    run_id=run_id,
                    sender_id=sender_id,
                    client=wanted.client,
                    pixel=wanted.pixel,
                    state=RequestState.POSTING,
                    offline=_is_offline(wanted.events),
                    events=len(granted),
                    digest=_digest(granted),
                    posted_at=now,
                )
            )
        return Claim(Request(str(new_id), wanted.client, wanted.pixel, granted), lost)

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of requests, in one transaction."""
        claimed = [outcome for outcome in outcomes if outcome.request.id]
        if not claimed:
            return
        statement = (
            sa.update(request)
            .where(request.c.id == sa.bindparam("b_id"))
            .values({name: sa.bindparam(f"b_{name}") for name in ("state", "answered_at", "tries", *_ANSWER)})
        )
        with explained(self._engine), self._connection.begin():
            self._connection.execute(statement, [_answer(outcome) for outcome in claimed])
            self._extend_leases(self._clock())

    def purge(self, before: datetime) -> int:
        """Forget events whose request was posted before ``before``; returns how many."""
        old = sa.select(request.c.id).where(request.c.posted_at < before.timestamp())
        with explained(self._engine), self._connection.begin():
            forgotten = self._connection.execute(sa.delete(event).where(event.c.request_id.in_(old))).rowcount
            self._connection.execute(sa.delete(request).where(request.c.posted_at < before.timestamp()))
        return int(forgotten)

    # ------------------------------------------------------------------------------------------ inside

    def _take_over(
        self, events: EventBatch, keys: list[bytes], new_id: int, run_id: str, now: float, replaces: str | None
    ) -> tuple[EventBatch, EventBatch]:
        """Some keys are in the ledger already: take those that are free, leave the others."""
        found = [(i, owner) for i, owner in self._bulk.find(self._connection, keys) if owner != new_id]
        moment = datetime.fromtimestamp(now, tz=UTC)
        verdicts = self._verdicts({owner for _, owner in found}, run_id, moment, resend=True)
        if replaces is not None:
            verdicts[int(replaces)] = None
        free = [owner for owner, verdict in verdicts.items() if verdict is None]
        if free:
            self._bulk.move(self._connection, [keys[i] for i, _ in found], new_id, free)
        lost = np.zeros(len(keys), dtype=bool)
        lost[[i for i, owner in self._bulk.find(self._connection, keys) if owner != new_id]] = True
        return events.filter(pa.array(~lost)), events.filter(pa.array(lost))

    def _verdicts(
        self, request_ids: set[int], run_id: str | None, now: datetime, resend: bool
    ) -> dict[int, tuple[Fate, str | None] | None]:
        """The fate of the events of each request; ``None`` where they may be sent."""
        columns = (request, sender.c.host, sender.c.pid, sender.c.pid_started, sender.c.lease_until)
        joined = request.join(sender, sender.c.id == request.c.sender_id, isouter=True)
        verdicts: dict[int, tuple[Fate, str | None] | None] = {}
        ids = sorted(request_ids)
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            for row in self._connection.execute(sa.select(*columns).select_from(joined).where(request.c.id.in_(some))):
                verdicts[row.id] = self._verdict(row, run_id, now, resend)
        return verdicts

    def _verdict(self, row: Any, run_id: str | None, now: datetime, resend: bool) -> tuple[Fate, str | None] | None:
        if row.state == RequestState.RELEASED:
            return None
        if row.state == RequestState.ACCEPTED:
            return (Fate.SENT if row.run_id == run_id else Fate.ALREADY_SENT), None
        if row.state == RequestState.REFUSED:
            return Fate.REFUSED, f"{row.code}/{row.subcode}" if row.subcode else str(row.code or "")
        if row.state == RequestState.POSTING and self._is_posting(row, now):
            return Fate.HELD, Reason.OTHER_RUN
        window = OFFLINE_WINDOW if row.offline else ONLINE_WINDOW
        if resend and now.timestamp() - row.posted_at < window.total_seconds():
            return None
        return Fate.IN_DOUBT, Reason.LOST_ANSWER

    def _is_posting(self, row: Any, now: datetime) -> bool:
        """Whether another living process has the request on the wire."""
        if row.host is None or (self._senders.get(row.run_id, ("",))[0] == row.sender_id):
            return False
        return Process(row.host, row.pid, row.pid_started).is_alive(row.lease_until, now.timestamp())

    def _sender(self, run_id: str, now: float) -> str:
        known = self._senders.get(run_id)
        if known is not None:
            return known[0]
        process, sender_id = Process.current(), uuid.uuid4().hex
        self._connection.execute(
            sa.insert(sender).values(
                id=sender_id,
                run_id=run_id,
                host=process.host,
                pid=process.pid,
                pid_started=process.started,
                lease_until=now + LEASE,
            )
        )
        self._senders[run_id] = (sender_id, now + LEASE)
        return sender_id

    def _extend_leases(self, now: float) -> None:
        for run_id, (sender_id, lease_until) in self._senders.items():
            if lease_until - now < LEASE * 2 / 3:
                self._connection.execute(
                    sa.update(sender).where(sender.c.id == sender_id).values(lease_until=now + LEASE)
                )
                self._senders[run_id] = (sender_id, now + LEASE)

    def _write(self, statement: Any) -> None:
        with explained(self._engine), self._connection.begin():
            self._connection.execute(statement)

    def _read(self, statement: Any) -> Sequence[Any]:
        with explained(self._engine), self._connection.begin():
            return self._connection.execute(statement).fetchall()

    def _records(self, statement: Any) -> list[RunRecord]:
        return [_run_record(row) for row in self._read(statement)]


_ANSWER = ("code", "subcode", "trace_id")


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "b_id": int(outcome.request.id),
        "b_state": _STATES[outcome.fate],
        "b_answered_at": outcome.answered_at.timestamp(),
        "b_tries": outcome.tries,
        **{f"b_{name}": getattr(outcome, name) for name in _ANSWER},
    }


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


def _split(events: EventBatch, groups: Mapping[tuple[Fate, str | None], list[int]]) -> Known:
    fresh = np.ones(len(events), dtype=bool)
    settled = []
    for (fate, reason), positions in groups.items():
        fresh[positions] = False
        settled.append((fate, reason, events.take(pa.array(sorted(positions), pa.int64()))))
    return Known(events if not groups else events.filter(pa.array(fresh)), tuple(settled))


def _is_offline(events: EventBatch) -> bool:
    return bool(pc.all(pc.equal(events.table.column("action_source"), OFFLINE_SOURCE)).as_py())


def _digest(events: EventBatch) -> bytes:
    """SHA-256 over the bodies, in order: what was sent can be told later without keeping it."""
    digest = hashlib.sha256()
    for body in events.table.column("body"):
        digest.update(body.as_buffer())
    return digest.digest()


def _new_id(now: float) -> int:
    """63 bits that sort by time: milliseconds, then chance. Two processes need no counter between them."""
    return (int(now * 1000) << 21) | secrets.randbits(21)
