"""The report for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.model import FATE_TEXTS, Fate
from offline_capi.report.quality import Quality
from offline_capi.report.quality_text import print_quality
from offline_capi.report.run_report import RunReport, Status
from offline_capi.report.tables import advise, make_reason_table, plain_table, shown_tables
from offline_capi.runtime.nouns import count_noun

__all__ = ["print_days", "print_report"]

Key = TypeVar("Key")

_MARK = {Status.COMPLETE: ("✓", "green"), Status.PARTIAL: ("!", "yellow"), Status.FAILED: ("✗", "red")}


def print_report(report: RunReport, console: Console, quality: Quality | None = None) -> None:
    """Print the balance first, then what needs somebody's attention, then details; last what Meta counts of it."""
    console.print(Group(*_build_sections(report)))
    if quality:
        console.print()
        print_quality(quality, console)


def print_days(report: RunReport, console: Console) -> None:
    """Print what became of each day of the events, where there are several."""
    for table in shown_tables(_tabulate_by_fate("day", report.by_day(), report)):
        console.print(table)


def _build_sections(report: RunReport) -> list[RenderableType]:
    sections: list[RenderableType] = [_build_headline(report), Padding.indent(Text(report.balance, style="bold"), 2)]
    gates = report.gate_lines()
    lines = (
        *(gates if report.stopped_by_gate else ()),
        *report.notices(),
        *report.problems,
        *(() if report.stopped_by_gate else gates),  # what only warns stands below what happened
        *report.known_lines(),
        *report.identity_lines(),
    )
    sections += [_Hanging(line, "yellow") for line in lines]
    profiles = [f"identity profile {report.profiles}"] if report.profiles else []
    ledger = [f"{'new ledger' if report.new_ledger else 'ledger'} {report.ledger}"] if report.ledger else []
    left_out = (f"{Fate.SUPPRESSED.words}: {FATE_TEXTS[Fate.SUPPRESSED]}",) * bool(report.tally.count(Fate.SUPPRESSED))
    figures = (report.value_line(), report.freshness_line(), *left_out, report.filtered_line(), report.table_line())
    sections += [_Hanging(line, "dim") for line in figures if line]
    sections += [Padding.indent(line, 2) for line in _list_keys(report)]
    sections += [_Hanging(line, "dim") for line in (*profiles, *_describe_changed(report), *ledger)]
    clients = _tabulate_by_fate("client", report.by_client(), report)
    return [
        *sections,
        *shown_tables(
            make_reason_table(report.reasons()), _tabulate_dropped(report), _tabulate_warnings(report), clients
        ),
    ]


def _build_headline(report: RunReport) -> Text:
    mark, colour = _MARK[report.status]
    where = f"  environment {report.environment}" if report.environment else ""
    if report.planned:
        return Text.assemble((f"{report.upload}  plan", "bold"), f"  {report.window}{where}\n  nothing is sent")
    took = (report.ended_at - report.started_at).total_seconds()
    requests = count_noun(report.tally.requests, "request")
    return Text.assemble(
        (f"{mark} {report.upload}  {report.status.value}", f"bold {colour}"),
        f"  {report.window}{where}\n  run {report.run_id}, {requests}, {took:.1f} s",
    )


def _sort_by_count(counter: Counter[Key]) -> list[tuple[Key, int]]:
    """Like ``most_common``, with equal counts in one order on every run."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def _list_keys(report: RunReport) -> list[_List]:
    """One line for all keys: ``keys of 240 sendable events: em 96.2%, ph 80.0%``."""
    shares = [f"{line.key} {line.share:.1%}" for line in report.key_lines()]
    return [_List(f"keys of {count_noun(report.tally.sendable, 'sendable event')}:", shares)] if shares else []


@dataclass(frozen=True, slots=True)
class _Hanging:
    """A line two to the right, whose further lines stand two more to the right."""

    line: str
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wrapped = Text(self.line, style=self.style).wrap(console, max(options.max_width - 4, 20))
        for at, part in enumerate(wrapped):
            part.rstrip()
            yield Padding.indent(part, 4 if at else 2)


@dataclass(frozen=True, slots=True)
class _List:
    """A heading and items with commas between them; a line ends between items, and further lines are indented."""

    heading: str
    items: Sequence[str]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        lines = [self.heading]
        for at, item in enumerate(self.items, start=1):
            word = f"{item}," if at < len(self.items) else item
            if len(lines[-1]) + 1 + len(word) > options.max_width:
                lines.append(f"  {word}")
            else:
                lines[-1] += f" {word}"
        yield Text("\n".join(lines), style="dim")


def _describe_changed(report: RunReport) -> list[str]:
    """Rows that say something else now than when their events were sent: nothing goes out for them by itself."""
    changed = report.tally.changed
    return [f"{changed:,} changed since they were sent (value or currency); Meta keeps what it got"] if changed else []


def _tabulate_dropped(report: RunReport) -> Table:
    rows = (
        (f"{values:,}", key, cause.replace("_", " "), column)
        for (key, column, cause), values in _sort_by_count(report.tally.dropped)
    )
    return plain_table(("values", "left out of", "because", "column"), rows)


def _tabulate_warnings(report: RunReport) -> Table:
    rows = ((f"{events:,}", advise(what, fix)) for events, (what, fix) in report.warnings())
    return plain_table(("events", "sent with a warning, and what to do"), rows)


def _tabulate_by_fate(header: str, groups: Mapping[str, Mapping[Fate, int]], report: RunReport) -> Table:
    """Rows of each group by fate; none where there is one group only, which the balance has told of."""
    fates = [fate for fate in Fate if report.tally.count(fate)]
    shown = groups.items() if len(groups) > 1 else ()
    rows = ((name, *(f"{counts.get(fate, 0):,}" for fate in fates)) for name, counts in shown)
    return plain_table((header, *(fate.words for fate in fates)), rows)
