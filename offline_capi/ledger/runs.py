"""Runs: when each began and ended, its report, the parts of its tasks, and the requests of it that failed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from offline_capi.errors import UsageError
from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import RequestState, request, run, run_part
from offline_capi.model import Debt, TableRead, Tally, Window

__all__ = ["FailedRequest", "RunRecord", "RunStore"]


#: Of an error, what a list of runs shows.
MAX_PROBLEM_CHARS = 300


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger has it; ``report`` is the JSON of its report once it has ended.

    A ``failed`` run may have a report too: it says with which error it failed. ``trigger`` is ``plan`` for a dry run
    and ``test`` for a run with a test event code; neither settles a day or counts for a gate. ``covered`` is the range
    of source time that it read for all clients, its look-back included; None for a replay or a run of some clients.
    ``table_read`` says what else it read, of a table in a data lake.
    """

    id: str
    upload: str
    window: Window
    trigger: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    report: dict[str, Any] | None
    covered: Window | None = None
    table_read: TableRead | None = None

    @property
    def balance(self) -> str:
        return str(self.report["balance"]) if self.report else ""

    @property
    def problem(self) -> str:
        """What was wrong with it first, on one line of at most ``MAX_PROBLEM_CHARS``."""
        problems = self.report["problems"] if self.report else ()
        text = " ".join(str(problems[0]).split()) if problems else ""
        return text if len(text) <= MAX_PROBLEM_CHARS else f"{text[: MAX_PROBLEM_CHARS - 1]}…"

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
            **({"table_read": self.table_read.to_json()} if self.table_read else {}),
        }


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that Meta did not accept, as far as is known: rejected, unanswered, or sent again in parts."""

    request_id: int
    pixel: str
    state: str
    events: int
    tries: int
    code: int | None
    subcode: int | None
    trace_id: str | None


class RunStore:
    """The runs of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------------------------------------ one run

    def begin(
        self, upload: str, window: Window, *, trigger: str, now: datetime, covered_since: datetime | None = None
    ) -> str:
        """Open a run; its id sorts by time and is short enough to be typed.

        ``covered_since`` is the start of what it reads for all clients; None for a run that settles no day.
        """
        run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._database.write(
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
    def track(
        self,
        upload: str,
        window: Window,
        *,
        trigger: str,
        now: Callable[[], datetime],
        covered_since: datetime | None = None,
        report_failure: Callable[[RunRecord, Exception], Mapping[str, Any] | None] = lambda _record, _error: None,
    ) -> Iterator[RunRecord]:
        """Begin a run; one that ends in an error is marked as failed, with the report that ``report_failure`` makes.

        Whoever succeeds calls ``finish``.
        """
        run_id = self.begin(upload, window, trigger=trigger, now=now(), covered_since=covered_since)
        try:
            yield (record := self.get(run_id))
        except BaseException as error:
            report = report_failure(record, error) if isinstance(error, Exception) else None
            self.finish(run_id, status="failed", report=report, now=now())
            raise

    def finish(
        self,
        run_id: str,
        *,
        status: str,
        report: Mapping[str, Any] | None,
        now: datetime,
        debts: Sequence[Debt] | None = None,
    ) -> None:
        """Close a run. ``debts`` are what it leaves to later runs; None where its tally is not known."""
        text = json.dumps(report, ensure_ascii=False) if report is not None else None
        owed = json.dumps([debt.to_json() for debt in debts]) if debts is not None else None
        ended = {"status": status, "report": text, "ended_at": now.isoformat(), "debts": owed}
        self._database.write(sa.update(run).where(run.c.id == run_id).values(**ended))

    def get(self, run_id: str) -> RunRecord:
        """``last`` is the newest. Raises ``UsageError`` where there is no such run."""
        if run_id == "last":
            return self.get_newest()
        found = self._select(sa.select(run).where(run.c.id == run_id))
        if not found:
            raise UsageError(f'the ledger has no run "{run_id}"; `offline-capi status` lists the last ones')
        return found[0]

    def get_newest(self) -> RunRecord:
        """Raises ``UsageError`` where there is none."""
        found = self.list_newest(1)
        if not found:
            raise UsageError("the ledger has no run yet")
        return found[0]

    def save_table_read(self, run_id: str, read: TableRead) -> None:
        """Note from which state of its table to which a run reads; a repeated task replaces it."""
        self._database.write(sa.update(run).where(run.c.id == run_id).values(table_read=json.dumps(read.to_json())))

    def save_part(self, run_id: str, part: str, tally: Tally) -> None:
        """Keep what one task of a run counted; a repeated task replaces what it counted before."""
        with self._database.begin_write() as connection:
            connection.execute(sa.delete(run_part).where(run_part.c.run_id == run_id, run_part.c.part == part))
            connection.execute(sa.insert(run_part).values(run_id=run_id, part=part, tally=json.dumps(tally.to_json())))

    def load_parts(self, run_id: str) -> dict[str, Tally]:
        """What each task of a run counted."""
        rows = self._database.read(sa.select(run_part.c.part, run_part.c.tally).where(run_part.c.run_id == run_id))
        return {part: Tally.from_json(json.loads(tally)) for part, tally in rows}

    def list_failed_requests(self, run_id: str, client: str, limit: int) -> list[FailedRequest]:
        """The first requests of a run that went out for a client and were not accepted, oldest first."""
        columns = (request.c.id, *(request.c[name] for name in FailedRequest.__slots__ if name != "request_id"))
        failed = request.c.state != RequestState.ACCEPTED
        own = sa.and_(request.c.run_id == run_id, request.c.client == client, request.c.tries > 0)
        chosen = sa.select(*columns).where(own, failed).order_by(request.c.id).limit(limit)
        return [FailedRequest(*row) for row in self._database.read(chosen)]

    # ------------------------------------------------------------------------------------------ many runs

    def list_newest(
        self,
        limit: int,
        *,
        uploads: Collection[str] | None = None,
        status: str = "",
        plans: Literal["without", "with", "only"] = "without",
    ) -> list[RunRecord]:
        """The last runs, newest first; only of these ``uploads`` and this ``status`` where given.

        Recorded dry runs are left out, are among them, or are all that is listed. A dry run has the status that its
        run would have.
        """
        of_kind = {"without": run.c.trigger != "plan", "with": sa.true(), "only": run.c.trigger == "plan"}
        chosen = sa.select(run).where(of_kind[plans])
        chosen = chosen if uploads is None else chosen.where(run.c.upload.in_(uploads))
        chosen = chosen.where(run.c.status == status) if status else chosen
        return self._select(chosen.order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit))

    def list_past(self) -> list[RunRecord]:
        """Every run that is still known, but tests and plans, oldest first; without reports, which may be large."""
        columns = [column for column in run.c if column.name != "report"]
        chosen = sa.select(*columns, sa.null().label("report")).where(run.c.trigger.not_in(("test", "plan")))
        return self._select(chosen.order_by(run.c.started_at, run.c.id))

    def list_reported(self, upload: str, limit: int) -> list[RunRecord]:
        """The last runs of one upload whose books were closed, newest first."""
        closed = sa.and_(run.c.report.is_not(None), run.c.status != "failed", run.c.trigger != "plan")
        ended = sa.select(run).where(run.c.upload == upload, closed)
        return self._select(ended.order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit))

    def iterate_closed(self, since: datetime, uploads: Collection[str] | None = None) -> Iterator[RunRecord]:
        """The runs that began at ``since`` or later and closed their books, oldest first; no tests and no plans.

        One at a time: the reports of a month may be large.
        """
        closed = sa.and_(run.c.report.is_not(None), run.c.status != "failed", run.c.trigger.not_in(("test", "plan")))
        chosen = sa.select(run.c.id).where(closed, run.c.started_at >= since.astimezone(UTC).isoformat())
        chosen = chosen if uploads is None else chosen.where(run.c.upload.in_(uploads))
        for (run_id,) in self._database.read(chosen.order_by(run.c.started_at, run.c.id)):
            yield self.get(run_id)

    def find_first_start(self, uploads: Collection[str] | None = None) -> datetime | None:
        """When the oldest run began that is still known."""
        chosen = sa.select(sa.func.min(run.c.started_at)).where(run.c.trigger.not_in(("test", "plan")))
        chosen = chosen if uploads is None else chosen.where(run.c.upload.in_(uploads))
        ((oldest,),) = self._database.read(chosen)
        return datetime.fromisoformat(oldest) if oldest else None

    def list_unfinished(self) -> list[RunRecord]:
        """Runs that are under way, and those that were killed."""
        return self._select(sa.select(run).where(run.c.ended_at.is_(None)))

    def list_uploads(self) -> list[str]:
        """The names of the uploads that ever ran, in order."""
        return [name for (name,) in self._database.read(sa.select(run.c.upload).distinct().order_by(run.c.upload))]

    def list_clients(self, uploads: Collection[str]) -> set[str]:
        """The recipients to which these uploads sent anything."""
        own = request.join(run, run.c.id == request.c.run_id)
        chosen = sa.select(request.c.client).distinct().select_from(own).where(run.c.upload.in_(uploads))
        return {name for (name,) in self._database.read(chosen)}

    def _select(self, statement: Any) -> list[RunRecord]:
        return [_read_record(row) for row in self._database.read(statement)]


def _read_record(row: Any) -> RunRecord:
    window = Window.from_json({"since": row.since, "until": row.until, "zone": row.zone})
    covered_since = datetime.fromisoformat(row.covered_since) if row.covered_since else None
    return RunRecord(
        id=row.id,
        upload=row.upload,
        window=window,
        trigger=row.trigger,
        started_at=datetime.fromisoformat(row.started_at),
        ended_at=datetime.fromisoformat(row.ended_at) if row.ended_at else None,
        status=row.status,
        report=json.loads(row.report) if row.report else None,
        covered=Window(covered_since, window.until) if covered_since else None,
        table_read=TableRead.from_json(json.loads(row.table_read)) if row.table_read else None,
    )
