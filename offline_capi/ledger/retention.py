"""Old rows of the ledger's smaller tables; the events themselves go with ``LedgerJournal.purge``."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import audit, read_back, request, run, run_part, source_mark, source_shape

__all__ = ["purge_audit", "purge_read_back", "purge_runs"]

_WITH_REQUESTS = sa.select(request.c.run_id)


def purge_runs(database: Database, before: datetime, *, dry_run: bool = False) -> int:
    """Delete runs that began before ``before``, with reports and tasks' books; returns how many lost something.

    What is known of the source of an upload goes with the last of its runs.

    A run whose requests the ledger still knows keeps its row, for ``status --unconfirmed`` and ``trace``, and loses its
    report alone.
    """
    old = run.c.started_at < before.astimezone(UTC).isoformat()  # as runs write it, and as it sorts
    needed = run.c.id.in_(_WITH_REQUESTS)
    had_report = old & needed & (run.c.report.is_not(None) | run.c.id.in_(sa.select(run_part.c.run_id)))
    if dry_run:
        chosen = sa.select(sa.func.count()).select_from(run).where(had_report | (old & ~needed))
        return int(database.read(chosen)[0][0])
    with database.begin_write() as connection:
        stripped = connection.scalar(sa.select(sa.func.count()).select_from(run).where(had_report))
        connection.execute(sa.delete(run_part).where(run_part.c.run_id.in_(sa.select(run.c.id).where(old))))
        connection.execute(sa.update(run).where(old & needed).values(report=None))
        deleted = connection.execute(sa.delete(run).where(old & ~needed)).rowcount
        for known in (source_shape, source_mark):
            connection.execute(sa.delete(known).where(known.c.upload.not_in(sa.select(run.c.upload))))
        return int(stripped or 0) + deleted


def purge_read_back(database: Database, before: datetime, *, dry_run: bool = False) -> int:
    """Delete Meta's figures of days before that of ``before``, in UTC."""
    return _purge(database, read_back, read_back.c.day < before.astimezone(UTC).date().isoformat(), dry_run=dry_run)


def purge_audit(database: Database, before: datetime, *, dry_run: bool = False) -> int:
    """Delete entries of the audit log that are older than ``before``."""
    return _purge(database, audit, audit.c.at < before.timestamp(), dry_run=dry_run)


def _purge(database: Database, table: sa.Table, old: sa.ColumnElement[bool], *, dry_run: bool) -> int:
    if dry_run:
        return int(database.read(sa.select(sa.func.count()).select_from(table).where(old))[0][0])
    with database.begin_write() as connection:
        return connection.execute(sa.delete(table).where(old)).rowcount
