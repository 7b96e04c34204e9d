"""What a task says: a report in its log, a few numbers to the next task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.model import Fate

if TYPE_CHECKING:
    from rich.console import Console

    from offline_capi.model import Tally
    from offline_capi.report import RunReport

__all__ = ["numbers", "print_plan", "print_report"]


def numbers(tally: Tally) -> dict[str, int]:
    """Rows read, and rows by fate: small enough for an XCom."""
    return {"read": tally.read, **{fate.value: rows for fate, rows in tally.by_fate().items() if rows}}


def print_report(report: RunReport) -> None:
    """The report as the command line prints it."""
    from offline_capi.report import print_report as print_to

    print_to(report, _paper())


def print_plan(report: RunReport) -> None:
    """The same of a plan; of a range of days, also what would become of each."""
    print_report(report)
    _print_days(report)


def _print_days(report: RunReport) -> None:
    from rich.table import Table

    days = report.by_day()
    fates = [fate for fate in Fate if report.tally.of(fate)]
    table = Table("day", *(fate.value.replace("_", " ") for fate in fates), box=None, padding=(0, 2, 0, 2))
    for day, counts in days.items():
        table.add_row(day, *(f"{counts.get(fate, 0):,}" for fate in fates))
    if len(days) > 1:
        _paper().print(table)


def _paper() -> Console:
    """Where a task's report goes: its log."""
    from rich.console import Console

    return Console(width=120, no_color=True, highlight=False)
