"""The run report: numbers that balance, as JSON, text and HTML.

Its names are imported when they are asked for: who keeps books loads no templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.report.books import Books
    from offline_capi.report.calendar import print_calendar
    from offline_capi.report.html import render_html
    from offline_capi.report.progress import show_progress
    from offline_capi.report.quality import Quality, compare
    from offline_capi.report.quality_text import print_quality
    from offline_capi.report.rejects import print_rejects, reject_reasons, reject_rows
    from offline_capi.report.run_report import (
        KeyLine,
        ReasonLine,
        RunReport,
        Status,
        days_to_judge,
        judge,
        make_failure_report,
        make_report,
    )
    from offline_capi.report.tables import plain_table, shown_tables
    from offline_capi.report.text import print_days, print_report

__all__ = [
    "Books",
    "KeyLine",
    "Quality",
    "ReasonLine",
    "RunReport",
    "Status",
    "compare",
    "days_to_judge",
    "judge",
    "make_failure_report",
    "make_report",
    "plain_table",
    "print_calendar",
    "print_days",
    "print_quality",
    "print_rejects",
    "print_report",
    "reject_reasons",
    "reject_rows",
    "render_html",
    "show_progress",
    "shown_tables",
]

_NAMES = {
    "books": ("Books",),
    "calendar": ("print_calendar",),
    "html": ("render_html",),
    "progress": ("show_progress",),
    "quality": (
        "Quality",
        "compare",
    ),
    "quality_text": ("print_quality",),
    "rejects": (
        "print_rejects",
        "reject_reasons",
        "reject_rows",
    ),
    "run_report": (
        "KeyLine",
        "ReasonLine",
        "RunReport",
        "Status",
        "days_to_judge",
        "judge",
        "make_failure_report",
        "make_report",
    ),
    "tables": (
        "plain_table",
        "shown_tables",
    ),
    "text": (
        "print_days",
        "print_report",
    ),
}

__getattr__ = import_on_demand(__name__, {name: module for module, names in _NAMES.items() for name in names})
