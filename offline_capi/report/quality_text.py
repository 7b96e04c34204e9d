"""What Meta counts beside what we sent, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.model import format_utc
from offline_capi.report.quality import Quality, ScoreLine
from offline_capi.report.tables import plain_table, shown_tables

__all__ = ["print_quality"]


def print_quality(quality: Quality, console: Console) -> None:
    """Print the sentences first, then the counts, then scores and checks."""
    for section in _build_sections(quality):
        console.print(section)


def _build_sections(quality: Quality) -> Iterator[RenderableType]:
    read_at = f", read {format_utc(quality.read_at)}" if quality.read_at else ""
    yield Text(f"  what Meta counts{read_at}", style="bold")
    yield from (Padding(Text(remark, style="yellow"), (0, 0, 0, 2)) for remark in quality.remarks)
    yield from shown_tables(
        _tabulate_counts(quality), _tabulate_uploads(quality), _tabulate_scores(quality), _tabulate_checks(quality)
    )


def _tabulate_counts(quality: Quality) -> Table:
    rows = (
        (
            one.client,
            one.event_name,
            str(one.day),
            *_format_numbers(one.sent, one.received, one.processed, one.deduplicated),
        )
        for one in quality.lines
    )
    return plain_table(("client", "event", "day (UTC)", "sent", "received", "processed", "deduplicated"), rows)


def _tabulate_uploads(quality: Quality) -> Table:
    rows = (
        (one.client, one.upload_tag, str(one.day), *_format_numbers(one.valid, one.matched, one.duplicate))
        for one in quality.uploads
    )
    return plain_table(("client", "upload tag", "day (UTC)", "valid", "matched", "duplicates"), rows)


def _tabulate_scores(quality: Quality) -> Table:
    rows = (
        (one.client, one.event_name, one.kind, "-" if one.score is None else f"{one.score:.1f}", _format_shares(one))
        for one in quality.scores
    )
    return plain_table(("client", "event", "quality", "of 10", "carried by"), rows)


def _format_shares(line: ScoreLine) -> str:
    return ", ".join(f"{key} {share:.0f}%" for key, share in line.shares())


def _tabulate_checks(quality: Quality) -> Table:
    rows = ((one.client, one.title or one.key, one.result, one.action_uri) for one in quality.checks)
    return plain_table(("client", "check", "result", "where to act"), rows)


def _format_numbers(*counts: int | None) -> tuple[str, ...]:
    """A dash where Meta did not tell."""
    return tuple("-" if count is None else f"{count:,}" for count in counts)
