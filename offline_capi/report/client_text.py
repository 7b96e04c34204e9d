"""The client's report for a terminal: what is on its page, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from offline_capi.report.client_page import (
    describe_balance,
    describe_in_short,
    format_money,
    format_name,
    format_period,
    format_share,
)
from offline_capi.report.client_report import ClientReport
from offline_capi.report.tables import plain_table, shown_tables

__all__ = ["print_client_report"]


def print_client_report(report: ClientReport, console: Console) -> None:
    """Print the balance and what to know first, then events, what was not delivered, match keys and Meta's counts."""
    for section in _sections(report):
        console.print(section)


def _sections(report: ClientReport) -> Iterator[RenderableType]:
    yield Text.assemble((format_name(report.client), "bold"), f"  {format_period(report.period)}  pixel {report.pixel}")
    yield Padding.indent(Text(describe_balance(report), style="bold"), 2)
    yield from (Padding.indent(Text(f"- {line}"), 2) for line in describe_in_short(report))
    events = ((line.event_name, f"{line.sent:,}", format_money(line.value)) for line in report.events)
    issues = ((f"{line.rows:,}", f"{line.what} {line.remedy}", line.who) for line in report.issues)
    keys = ((line.name, format_share(line.share), line.how) for line in report.keys)
    counts = ((line.event_name, f"{line.sent:,}", f"{line.received:,}", line.words) for line in report.meta.counts)
    yield from shown_tables(
        plain_table(("event", "delivered", "value"), events),
        plain_table(("records", "not delivered, and what to do", "who"), issues),
        plain_table(("detail", "events with it", "how to have more"), keys),
        plain_table(("event", "sent", "Meta counts", "what it means"), counts),
    )
    if report.meta.why_not:
        yield Padding.indent(Text(report.meta.why_not, style="dim"), 2)
