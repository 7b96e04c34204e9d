"""Up to where the runs of an upload have read its table in a data lake: see ``model.SourceMark``.

A mark is moved from the one that a run found when it began, and by nobody who found another: of two runs at once the
second moves nothing, and what it read is read again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import source_mark
from offline_capi.model import SourceMark, TableRead

__all__ = ["advance_mark", "begin_mark", "load_mark"]


def load_mark(database: Database, upload: str) -> SourceMark | None:
    """``None`` where no run of the upload has read its table yet."""
    rows = database.read(sa.select(source_mark.c.mark).where(source_mark.c.upload == upload))
    return SourceMark.from_json(json.loads(rows[0].mark)) if rows else None


def begin_mark(database: Database, upload: str, read: TableRead, *, run_id: str, now: datetime) -> None:
    """Set the first mark of an upload where its first run begins: what is added after it is late, and read later."""
    with database.begin_write() as connection:
        if not connection.scalar(sa.select(sa.func.count()).where(source_mark.c.upload == upload)):
            mark = _format(SourceMark(read.until, read.until))
            values = {"upload": upload, "mark": mark, "run_id": run_id, "written_at": _format_time(now)}
            connection.execute(sa.insert(source_mark).values(**values))


def advance_mark(
    database: Database, upload: str, read: TableRead, *, complete: bool, run_id: str, now: datetime
) -> None:
    """Move the mark to where a run has read, if it owes nothing (``complete``); else note what it has seen."""
    if read.mark is None:  # its beginning is the mark
        return
    after = _format(SourceMark(read.until if complete else read.mark.complete, read.until))
    own = (source_mark.c.upload == upload) & (source_mark.c.mark == _format(read.mark))
    values = {"mark": after, "run_id": run_id, "written_at": _format_time(now)}
    database.write(sa.update(source_mark).where(own).values(**values))


def _format(mark: SourceMark) -> str:
    return json.dumps(mark.to_json())


def _format_time(now: datetime) -> str:
    return now.astimezone(UTC).isoformat()
