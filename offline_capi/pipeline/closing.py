"""The end of a run: its books are closed, its report is kept, and what it owes is noted for later runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from offline_capi.errors import UsageError
from offline_capi.ledger import RunRecord, advance_mark, record_announced_losses
from offline_capi.meta.versions import version_warnings
from offline_capi.model import Fate, Window, list_debts
from offline_capi.pipeline.open_days import find_max_age, find_newly_closed_days, is_nightly
from offline_capi.pipeline.services import Services
from offline_capi.report import RunReport, Status, days_to_judge, make_failure_report, make_report
from offline_capi.runtime.bugs import as_internal
from offline_capi.runtime.telemetry import count_run

if TYPE_CHECKING:
    from offline_capi.pipeline.context import RunContext

__all__ = [
    "close_run",
    "describe_failure",
    "find_report",
    "record_failed_start",
    "record_failure",
    "record_plan",
    "warn_of_versions",
]


def close_run(run: RunContext) -> RunReport:
    """Close the books of a run that the gates have judged. Raises ``BalanceError`` if rows and fates do not add up."""
    upload, services, tally = run.upload, run.services, run.tally
    record, ended = services.ledger.runs.get(run.run_id), services.clock()
    tally.notices += warn_of_versions(services)
    nightly = is_nightly(record) and not tally.narrowed
    closed = find_newly_closed_days(upload, services.deployment, services.ledger, ended) if nightly else []
    tally.closed = {day.day.isoformat(): day.why for day in closed}
    report = make_report(
        run_id=record.id,
        upload=upload.name,
        window=record.window,
        trigger=record.trigger,
        started_at=record.started_at,
        ended_at=ended,
        tally=tally,
        limits=upload.limits,
        days=days_to_judge(upload, record.window, oldest=record.started_at - find_max_age(upload, services.deployment)),
        environment=services.deployment.environment,
        ledger=services.ledger.place,
        new_ledger=len(services.ledger.runs.list_newest(2)) == 1,
        table_read=record.table_read,
    )
    debts = list_debts(tally, by_event_day=upload.keeps_events_in_their_day)
    services.ledger.runs.finish(record.id, status=report.status.value, report=report.to_json(), now=ended, debts=debts)
    record_announced_losses(services.ledger, upload.name, closed, run_id=record.id, now=ended)
    if record.table_read is not None and nightly:
        complete = report.status is Status.COMPLETE and not debts
        advance_mark(services.ledger, upload.name, record.table_read, complete=complete, run_id=record.id, now=ended)
    if record.report is None:  # books that a scheduler closes again were counted when they were closed first
        events: Counter[tuple[str, str]] = Counter()
        for count, rows in tally.fates.items():
            client = count.client if count.client in services.deployment.recipients else None
            events[client or "unknown", count.fate.value] += rows
        # Zeros as well: what begins with its first loss is no increase for Prometheus.
        events.update({(client, fate.value): 0 for client, _ in [*events] for fate in Fate})
        duration_s = (ended - record.started_at).total_seconds()
        count_run(upload.name, events, requests=tally.requests, tries=tally.tries, duration_s=duration_s)
    return report


def describe_failure(record: RunRecord, error: Exception, services: Services) -> dict[str, Any]:
    """The JSON report of a run that ends with ``error``."""
    return make_failure_report(
        as_internal(error),
        run_id=record.id,
        upload=record.upload,
        window=record.window,
        trigger=record.trigger,
        started_at=record.started_at,
        ended_at=services.clock(),
        ledger=services.ledger.place,
        environment=services.deployment.environment,
    ).to_json()


def record_failure(run_id: str, error: Exception, services: Services) -> None:
    """Mark a run as failed, with the message of ``error`` in its report."""
    report = describe_failure(services.ledger.runs.get(run_id), error, services)
    services.ledger.runs.finish(run_id, status="failed", report=report, now=services.clock())


def record_failed_start(upload: str, window: Window, error: Exception, services: Services, *, trigger: str) -> str:
    """Record a run that failed before it was opened; returns its id. It settles no day."""
    run_id = services.ledger.runs.begin(upload, window, trigger=trigger, now=services.clock())
    record_failure(run_id, error, services)
    return run_id


def record_plan(report: RunReport, services: Services) -> RunReport:
    """Keep the report of a dry run among the runs, as ``trigger`` ``plan``: it is listed, and nothing goes by it."""
    runs = services.ledger.runs
    run_id = runs.begin(report.upload, report.window, trigger="plan", now=report.started_at)
    kept = replace(report, run_id=run_id)
    runs.finish(run_id, status=kept.status.value, report=kept.to_json(), now=kept.ended_at)
    return kept


def warn_of_versions(services: Services) -> list[str]:
    """Whether the version of the Graph API that events are sent in ends soon, or has ended."""
    return version_warnings(services.deployment.platform.versions, services.clock().date(), families=["events"])


def find_report(run_id: str, services: Services) -> RunReport:
    """The report of a run that has ended; ``last`` is the newest. Raises ``UsageError`` if there is none."""
    runs = services.ledger.runs
    if run_id == "last":
        record = next((one for one in runs.list_newest(100) if one.report), None) or runs.get_newest()
    else:
        record = runs.get(run_id)
    if record.report is None:
        raise UsageError(
            f"run {record.id} has no report yet: it is {record.status}; `offline-capi status` lists the runs"
        )
    return RunReport.from_json(record.report)
