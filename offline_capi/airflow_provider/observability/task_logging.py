"""What a task says: a report in its log, a few numbers to the next task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from offline_capi.ledger import FailedRequest
    from offline_capi.model import Tally
    from offline_capi.report import Quality, RunReport
    from offline_capi.runtime.console import Console

__all__ = ["log_plan", "log_quality", "log_report", "log_sending", "numbers"]

_log = structlog.get_logger(__name__)


def numbers(tally: Tally) -> dict[str, int]:
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
    """The report as the command line prints it, line by line.

    Through the log and not on standard output, whose lines Airflow shows among those that come later.
    """
    from offline_capi.report import print_report

    with _paper() as console:
        print_report(report, console)


def log_plan(report: RunReport) -> None:
    """The same of a plan; of a range of days, also what would become of each."""
    from offline_capi.report import print_days

    log_report(report)
    with _paper() as console:
        print_days(report, console)


def log_quality(quality: Quality) -> None:
    """What Meta counted beside what was sent."""
    from offline_capi.report import print_quality

    with _paper() as console:
        print_quality(quality, console)


@contextmanager
def _paper() -> Iterator[Console]:
    """A console whose lines go into the task's log."""
    from offline_capi.runtime.console import Console

    text = StringIO()
    yield Console(file=text, width=120, no_color=True, highlight=False)
    for line in text.getvalue().splitlines():
        _log.info(line.rstrip())
