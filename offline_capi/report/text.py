"""The report for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.model import Fate
from offline_capi.report.quality import Quality
from offline_capi.report.quality_text import print_quality
from offline_capi.report.run_report import RunReport, Status

__all__ = ["print_report"]

Key = TypeVar("Key")

_MARK = {Status.COMPLETE: ("✓", "green"), Status.PARTIAL: ("!", "yellow"), Status.FAILED: ("✗", "red")}


def print_report(report: RunReport, console: Console, quality: Quality | None = None) -> None:
    """Print the balance first, then what needs somebody's attention, then details; last what Meta counts of it."""
    console.print(Group(*_sections(report)))
    if quality:
        console.print()
        print_quality(quality, console)


def _sections(report: RunReport) -> list[RenderableType]:
    sections: list[RenderableType] = [_headline(report), Text(f"  {report.balance}", style="bold")]
    lines = (*report.problems, *report.gate_lines(), *report.tally.notices)
    sections += [Text(f"  {line}", style="yellow") for line in lines]
    sections += [Text(f"  {line}", style="dim") for line in _keys(report)]
    tables = [_reasons(report), _dropped(report), _warnings(report), _clients(report)]
    sections += [Padding(table, (1, 0, 0, 2)) for table in tables if table.row_count]
    return sections


def _headline(report: RunReport) -> Text:
    mark, colour = _MARK[report.status]
    if report.planned:
        return Text.assemble((f"{report.upload}  plan", "bold"), f"  {report.window}\n  nothing is sent")
    took = (report.ended_at - report.started_at).total_seconds()
    return Text.assemble(
        (f"{mark} {report.upload}  {report.status.value}", f"bold {colour}"),
        f"  {report.window}\n  run {report.run_id}, {_counted(report.tally.requests, 'request')}, {took:.1f} s",
    )


def _most_first(counter: Counter[Key]) -> list[tuple[Key, int]]:
    """Like ``most_common``, with equal counts in one order on every run."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_NUMBERS = {"rows", "values", "events", *(fate.value.replace("_", " ") for fate in Fate)}


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in _NUMBERS else "left")
    return table


def _reasons(report: RunReport) -> Table:
    table = _table("rows", "not sent", "because, and what to do")
    for line in report.reasons():
        because = Text.assemble(f"{line.field}: " if line.field else "", line.what, (f"\n→ {line.fix}", "dim"))
        table.add_row(f"{line.rows:,}", line.fate.value.replace("_", " "), because)
    return table


def _keys(report: RunReport) -> list[str]:
    """One line for all keys: ``keys of 240 events: em 96.2%, ph 80.0%``."""
    shares = ", ".join(f"{line.key} {line.share:.1%}" for line in report.key_lines())
    return [f"keys of {_counted(report.tally.sendable, 'sendable event')}: {shares}"] if shares else []


def _dropped(report: RunReport) -> Table:
    table = _table("values", "left out of", "because", "column")
    for (key, column, cause), values in _most_first(report.tally.dropped):
        table.add_row(f"{values:,}", key, cause.replace("_", " "), column)
    return table


def _warnings(report: RunReport) -> Table:
    table = _table("events", "sent with a warning, and what to do")
    for events, (what, fix) in report.warnings():
        table.add_row(f"{events:,}", Text.assemble(what, (f"\n→ {fix}" if fix else "", "dim")))
    return table


def _clients(report: RunReport) -> Table:
    clients = report.by_client()
    fates = [fate for fate in Fate if report.tally.of(fate)]
    table = _table("client", *(fate.value.replace("_", " ") for fate in fates))
    if len(clients) > 1:
        for client, counts in clients.items():
            table.add_row(client, *(f"{counts.get(fate, 0):,}" for fate in fates))
    return table
