"""Meta's own figures of the events that it received, to be compared with what was sent; without a value of a row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import read_back, run
from offline_capi.model import ReadBack, SentEvents, read_sent_events

__all__ = ["RETENTION", "SentByRun", "list_sent_by_runs", "load_read_back", "save_read_back"]

#: For how long Meta's figures are kept: a quarter, to see the trend of a score.
RETENTION = timedelta(days=93)
_KEY = ("client", "pixel", "kind", "day")
_SAME = sa.and_(*(read_back.c[name] == sa.bindparam(f"b_{name}") for name in _KEY))


@dataclass(frozen=True, slots=True)
class SentByRun:
    """What a run sent that has ended, as Meta counts it."""

    ended_at: datetime
    events: Counter[SentEvents]


def save_read_back(
    database: Database, figures: Sequence[ReadBack], *, now: datetime, keep_for: timedelta = RETENTION
) -> None:
    """Save Meta's figures in place of earlier ones of the same kind and day; delete those older than ``keep_for``."""
    rows = [_as_row(one) for one in figures]
    too_old = read_back.c.day < (now - keep_for).date().isoformat()
    with database.begin_write() as connection:
        connection.execute(sa.delete(read_back).where(too_old))
        if rows:
            keys = [{f"b_{name}": row[name] for name in _KEY} for row in rows]
            connection.execute(sa.delete(read_back).where(_SAME), keys)
            connection.execute(sa.insert(read_back), rows)


def load_read_back(database: Database, *, since: date, until: date, clients: Collection[str] = ()) -> list[ReadBack]:
    """Meta's figures of the days from ``since`` to ``until``, both included; of all clients where none is named."""
    days = read_back.c.day.between(since.isoformat(), until.isoformat())
    rows = database.read(sa.select(read_back).where(days).order_by(*read_back.primary_key))
    return [_read_row(row) for row in rows if not clients or row.client in clients]


def list_sent_by_runs(database: Database, since: datetime) -> list[SentByRun]:
    """What each run sent that began after ``since`` and has ended; not tests, which the real run sends once more."""
    ended = sa.select(run.c.report, run.c.ended_at).where(
        run.c.report.is_not(None), run.c.trigger.not_in(("test", "plan"))
    )
    rows = database.read(ended.where(run.c.started_at >= _as_utc_text(since)))
    return [SentByRun(datetime.fromisoformat(row.ended_at), _count_sent(row.report)) for row in rows]


def _as_row(one: ReadBack) -> dict[str, Any]:
    return {
        "client": one.client,
        "pixel": one.pixel,
        "kind": one.kind,
        "day": one.day.isoformat(),
        "read_at": one.read_at.isoformat(),
        "figures": json.dumps(one.figures, ensure_ascii=False),
    }


def _read_row(row: Any) -> ReadBack:
    day, read_at = date.fromisoformat(row.day), datetime.fromisoformat(row.read_at)
    return ReadBack(row.client, row.pixel, row.kind, day, json.loads(row.figures), read_at)


def _count_sent(report: str) -> Counter[SentEvents]:
    return read_sent_events(json.loads(report)["tally"])


def _as_utc_text(moment: datetime) -> str:
    """As runs write their beginning, which is compared as text."""
    return moment.astimezone(UTC).isoformat()
