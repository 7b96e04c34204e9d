"""The calendar of an upload: which days are complete, open or closed, from the runs that the ledger remembers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.leases import LEASE_CLOSED, Process
from offline_capi.ledger.schema.tables import closed_day, run, sender
from offline_capi.model import DayState, Debt, PastRun, UploadDay, Window, judge_day

__all__ = ["build_calendar", "find_first_night", "list_past_runs", "record_announced_losses"]

#: A run that began so recently and has no process in the ledger yet may still be reading its source.
STARTING_GRACE = timedelta(hours=1)
#: Runs of a test event code leave nothing in the ledger; a plan is no run.
_NO_RUNS = ("test", "plan")


def build_calendar(
    database: Database,
    upload: str,
    days: Iterable[date],
    *,
    runs: Sequence[PastRun],
    zone: str,
    max_age: timedelta,
    now: datetime,
    expects_every_day: bool,
) -> list[UploadDay]:
    """The state of each of ``days`` (in ``zone``), in their order, from ``runs`` (see ``list_past_runs``).

    ``max_age`` is how old an event may be when Meta still takes it. With ``expects_every_day``, a day since the first
    night of the upload that no run covered is open: it never ran. Days that are not over yet are left out.
    """
    wanted = [Window.of_day(day, zone) for day in days]
    wanted = [window for window in wanted if window.until <= now]
    if not wanted:
        return []
    announced = _load_announced_days(database, upload)
    first = find_first_night(runs, zone)
    found = []
    for window in wanted:
        day = window.since.date()
        found.append(
            judge_day(
                window,
                [one for one in runs if one.concerns(window)],
                now=now,
                closes_at=window.until + max_age,
                told=day in announced,
                expected=expects_every_day and first is not None and day >= first,
            )
        )
    return found


def find_first_night(runs: Iterable[PastRun], zone: str) -> date | None:
    """The first day that begins inside a nightly run; a backfill of older days starts no nights."""
    days = []
    for since in (one.window.since.astimezone(ZoneInfo(zone)) for one in runs if one.is_nightly):
        whole = since == Window.of_day_at(since).since
        days.append(since.date() if whole else since.date() + timedelta(days=1))
    return min(days, default=None)


def list_past_runs(database: Database, upload: str, now: datetime) -> list[PastRun]:
    """The runs of an upload, oldest first."""
    chosen = (run.c.upload == upload) & run.c.trigger.not_in(_NO_RUNS)
    columns = (run.c.id, run.c.since, run.c.until, run.c.zone, run.c.started_at, run.c.ended_at, run.c.status)
    rows = database.read(
        sa.select(*columns, run.c.covered_since, run.c.debts, run.c.table_read)
        .where(chosen)
        .order_by(run.c.started_at, run.c.id)
    )
    running = {row.id for row in rows if row.ended_at is None}
    senders = _load_senders(database, running) if running else {}
    return [_make_past_run(row, senders.get(row.id, ()), now) for row in rows]


def record_announced_losses(
    database: Database, upload: str, days: Collection[UploadDay], *, run_id: str | None, now: datetime
) -> None:
    """Remember that the final loss of these days was reported, so that no later run reports it again."""
    with database.begin_write() as connection:
        known = set(connection.scalars(sa.select(closed_day.c.day).where(closed_day.c.upload == upload)))
        fresh = [day for day in days if day.state is DayState.CLOSED and day.day.isoformat() not in known]
        if fresh:
            rows = [
                {
                    "upload": upload,
                    "day": day.day.isoformat(),
                    "told_at": now.isoformat(),
                    "run_id": run_id,
                    "debts": json.dumps([debt.to_json() for debt in day.debts]),
                }
                for day in fresh
            ]
            connection.execute(sa.insert(closed_day), rows)


def _load_announced_days(database: Database, upload: str) -> set[date]:
    rows = database.read(sa.select(closed_day.c.day).where(closed_day.c.upload == upload))
    return {date.fromisoformat(day) for (day,) in rows}


def _load_senders(database: Database, run_ids: Collection[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in database.read(sa.select(sender).where(sender.c.run_id.in_(run_ids))):
        found.setdefault(row.run_id, []).append(row)
    return found


def _make_past_run(row: Any, senders: Collection[Any], now: datetime) -> PastRun:
    window = Window.from_json({"since": row.since, "until": row.until, "zone": row.zone})
    started_at = datetime.fromisoformat(row.started_at)
    covered = None
    if row.covered_since:
        covered = Window(datetime.fromisoformat(row.covered_since).astimezone(window.since.tzinfo), window.until)
    return PastRun(
        id=row.id,
        window=window,
        covered=covered,
        started_at=started_at,
        debts=tuple(map(Debt.from_json, json.loads(row.debts))) if row.debts is not None else None,
        status=row.status,
        alive=row.ended_at is None and _is_alive(started_at, senders, now),
        reads_late=covered is not None and row.table_read is not None,
    )


def _is_alive(started_at: datetime, senders: Collection[Any], now: datetime) -> bool:
    """Whether a run without an end may still be under way: see ``STARTING_GRACE``."""
    moment = now.astimezone(UTC).timestamp()
    alive = [Process(one.host, one.pid, one.pid_started).is_alive(one.lease_until, moment) for one in senders]
    died = any(one.lease_until != LEASE_CLOSED and not lives for one, lives in zip(senders, alive, strict=True))
    return any(alive) or (not died and now - started_at < STARTING_GRACE)
