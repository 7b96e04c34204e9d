"""What a task says: a report in its log, a few numbers to the next task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars, unbind_contextvars

if TYPE_CHECKING:
    from offline_capi.ledger import FailedRequest
    from offline_capi.model import Fate, Tally
    from offline_capi.report import Quality, RunReport

__all__ = ["count_fates", "log_plan", "log_quality", "log_report", "log_sending"]

_log = structlog.get_logger(__name__)


def count_fates(tally: Tally) -> dict[str, int]:
    """Rows read, and rows by fate: small enough for an XCom."""
    return {"read": tally.read, **{fate.value: rows for fate, rows in tally.count_by_fate().items() if rows}}


def log_sending(tally: Tally, failed: Sequence[FailedRequest]) -> None:
    """What one client's sending came to, what was said of it, and the first requests that were not accepted."""
    events = {fate.value: rows for fate, rows in tally.count_by_fate().items() if rows}
    _log.info("sending ended", requests=tally.requests, tries=tally.tries, **events)
    for notice in tally.notices:
        _log.warning(notice)
    for request in failed:
        known = {name: value for name, value in asdict(request).items() if value is not None}
        _log.warning("request not accepted", **known)


def log_report(report: RunReport) -> None:
    """The report, one record for each thing that it says; those that need attention as WARNING or ERROR.

    Through the log and not on standard output, whose lines Airflow shows among those that come later. Upload and run
    stand beside the first record only.
    """
    headline = "dry run" if report.planned else report.status.value
    level = _LEVELS["complete" if report.planned else report.status.value]
    figures = {"value": report.value_line(), "newest": report.freshness_line(), "filtered": report.filtered_line()}
    figures |= {"table": report.table_line()}
    named = {name: text for name, text in figures.items() if text}
    _log.log(level, report.balance, status=headline, window=str(report.window), **named)
    with _hide_context():
        for line_level, line in _list_lines(report, level):
            _log.log(line_level, line.replace("\n", " "))


def _list_lines(report: RunReport, level: int) -> Iterator[tuple[int, str]]:
    """What the report says after its headline: causes, what they caused, reasons, then figures."""
    for line in (*report.gate_lines(), *report.notices()):
        yield max(level, logging.WARNING) if report.gates or report.problems else level, line
    for line in report.problems:
        yield level, line
    for line in (*report.known_lines(), *report.identity_lines()):
        yield logging.INFO, line
    for reason in report.reasons():
        what = f"{reason.field}: {reason.what}" if reason.field else reason.what
        yield level, f"{reason.rows:,} {reason.fate.words}: {what}. What to do: {reason.fix}"
    for (key, column, cause), values in report.tally.dropped.most_common():
        yield logging.INFO, f"{values:,} values of {key} left out ({cause.replace('_', ' ')}), column {column}"
    for events, (what, fix) in report.warnings():
        yield logging.WARNING, f"{events:,} events with a warning: {what}. What to do: {fix}"
    if keys := ", ".join(f"{line.key} {line.share:.1%}" for line in report.key_lines()):
        yield logging.INFO, f"keys of {report.tally.sendable:,} sendable events: {keys}"
    yield from _list_groups(report.by_client())


def _list_groups(groups: Mapping[str, Mapping[Fate, int]]) -> Iterator[tuple[int, str]]:
    """Rows of each group by fate, where there are several groups."""
    for name, counts in groups.items() if len(groups) > 1 else ():
        yield logging.INFO, f"{name}: {', '.join(f'{rows:,} {fate.words}' for fate, rows in counts.items() if rows)}"


def log_plan(report: RunReport) -> None:
    """The same of a plan; of a range of days, also what would become of each."""
    log_report(report)
    with _hide_context():
        for level, line in _list_groups(report.by_day()):
            _log.log(level, line)


def log_quality(quality: Quality) -> None:
    """What Meta counted beside what was sent."""
    from offline_capi.report import print_quality
    from offline_capi.runtime.console import Console

    text = StringIO()
    print_quality(quality, Console(file=text, width=200, no_color=True, highlight=False))
    with _hide_context():
        for line in filter(str.strip, text.getvalue().splitlines()):
            _log.info(line.rstrip())


@contextmanager
def _hide_context() -> Iterator[None]:
    """Without the fields of ``bind_log_context``, which the record before carries already."""
    bound = {name: value for name, value in get_contextvars().items() if name in ("upload", "upload_run_id", "client")}
    unbind_contextvars(*bound)
    try:
        yield
    finally:
        bind_contextvars(**bound)


#: The level of a report's records by the status of the run.
_LEVELS = {"complete": logging.INFO, "partial": logging.WARNING, "failed": logging.ERROR}
