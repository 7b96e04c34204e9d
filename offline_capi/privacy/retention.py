"""Retention: what is older than ``platform.retention`` says is deleted, wherever it is kept.

Staged events, rejects, runs with their reports, the ledger's keys, what Meta counted, the audit log, and what a killed
process left behind. It is due once a day, and the first command after that does it; the audit log remembers when.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from offline_capi.ledger import AuditAction, find_purge_date, list_audit_entries, record_audit
from offline_capi.ledger.retention import purge_audit, purge_read_back, purge_runs
from offline_capi.pipeline import Services

__all__ = [
    "MAX_RUN_DURATION",
    "Purged",
    "compute_ledger_cutoff",
    "list_leftover_files",
    "purge_expired",
    "purge_if_due",
]

#: A run that began earlier and has not ended was killed; what it was writing is nobody's.
MAX_RUN_DURATION = timedelta(days=1)
#: Less than a day: a run that starts a minute earlier than the day before must not wait a day.
_PURGE_INTERVAL = timedelta(hours=20)
#: As ``Spool`` names its files where the system cannot make one without a name: removed at once, unless the process is
#: killed at that very moment.
_TEMPORARY_NAME = re.compile(r"offline_capi-[a-z0-9_]{8}")


@dataclass(slots=True)
class Purged:
    """What was deleted, or with ``dry_run`` would be: files, runs, events of the ledger, rows of its other tables.

    ``before`` is the time before which the ledger's events were forgotten.
    """

    before: datetime
    dry_run: bool = False
    staged_files: int = 0
    reject_files: int = 0
    leftover_files: int = 0
    reports: int = 0
    events: int = 0
    read_back: int = 0
    audit_log: int = 0

    def to_json(self) -> dict[str, Any]:
        """``forgotten`` is the older name of ``events``."""
        return asdict(self) | {"before": self.before.isoformat(), "forgotten": self.events}


def compute_ledger_cutoff(services: Services) -> datetime:
    """The latest time before which the ledger's events may be forgotten: none of them could be sent again."""
    clients = services.deployment.clients.values()
    now = services.clock()
    return min(find_purge_date(now, clients), now - services.deployment.platform.retention.ledger)


def purge_if_due(services: Services, *, who: str | None = None) -> Purged | None:
    """``purge_expired`` unless it was done today; ``None`` then. Looking costs one query."""
    last = list_audit_entries(services.ledger, action=AuditAction.PURGE, limit=1)
    if last and services.clock() - last[0].at < _PURGE_INTERVAL:
        return None
    return purge_expired(services, who=who)


def purge_expired(
    services: Services, *, before: datetime | None = None, dry_run: bool = False, who: str | None = None
) -> Purged:
    """Delete everything that is older than its period; repeating is safe, and finishes what was interrupted.

    The ledger's events go that were sent before ``before``: by default the latest time that is safe.
    """
    ledger, now, periods = services.ledger, services.clock(), services.deployment.platform.retention
    purged = Purged(before or compute_ledger_cutoff(services), dry_run)
    _purge_stage(services, purged)
    purged.leftover_files += _purge_files(list_leftover_files(now - MAX_RUN_DURATION), dry_run=dry_run)
    purged.events = ledger.journal.count_before(purged.before) if dry_run else ledger.journal.purge(purged.before)
    purged.reports = purge_runs(ledger, now - periods.reports, dry_run=dry_run)
    purged.read_back = purge_read_back(ledger, now - periods.read_back, dry_run=dry_run)
    purged.audit_log = purge_audit(ledger, now - periods.audit_log, dry_run=dry_run)
    if not dry_run:
        counted = {name: number for name, number in asdict(purged).items() if type(number) is int and number}
        record_audit(ledger, AuditAction.PURGE, "retention", now=now, who=who, detail=counted)
    return purged


def _purge_stage(services: Services, purged: Purged) -> None:
    """Files of the stage, by the age of their runs."""
    stage, now, periods = services.stage, services.clock(), services.deployment.platform.retention
    for run_id, path in stage.list_run_files():
        name, age = path.rsplit("/", 1)[1], now - stage.find_run_start(run_id, path)
        if name.endswith(".part"):
            kind, period = "leftover_files", MAX_RUN_DURATION
        elif name.startswith("events-"):
            kind, period = "staged_files", periods.staged_events
        else:
            kind, period = "reject_files", periods.rejects
        if age > period:
            setattr(purged, kind, getattr(purged, kind) + 1)
            if not purged.dry_run:
                stage.remove(path)


def list_leftover_files(before: datetime | None = None) -> Iterator[Path]:
    """Files of events left behind by a killed process of this machine; those last written before ``before``."""
    for path in Path(tempfile.gettempdir()).glob("offline_capi-*"):
        with suppress(OSError):  # another's, or gone meanwhile
            written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            old = before is None or written_at < before
            if old and path.is_file() and _TEMPORARY_NAME.fullmatch(path.name):
                yield path


def _purge_files(paths: Iterator[Path], *, dry_run: bool) -> int:
    gone = 0
    for path in paths:
        with suppress(OSError):
            if not dry_run:
                path.unlink()
            gone += 1
    return gone
