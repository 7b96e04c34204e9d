"""What Meta counts beside what we sent, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.report.quality import Quality, ScoreLine

__all__ = ["print_quality"]

_NUMBERS = frozenset({"sent", "received", "processed", "deduplicated", "valid", "matched", "duplicates", "of 10"})


def print_quality(quality: Quality, console: Console) -> None:
    """Print the sentences first, then the counts, then scores and checks."""
    for section in _sections(quality):
        console.print(section)


def _sections(quality: Quality) -> Iterator[RenderableType]:
    read_at = f", read {quality.read_at:%Y-%m-%d %H:%M} UTC" if quality.read_at else ""
    yield Text(f"  what Meta counts{read_at}", style="bold")
    yield from (Text(f"  {remark}", style="yellow") for remark in quality.remarks)
    tables = (_counts(quality), _uploads(quality), _scores(quality), _checks(quality))
    yield from (Padding(table, (1, 0, 0, 2)) for table in tables if table.row_count)


def _counts(quality: Quality) -> Table:
    rows = (
        (one.client, one.event_name, str(one.day), *_numbers(one.sent, one.received, one.processed, one.deduplicated))
        for one in quality.lines
    )
    return _table(("client", "event", "day (UTC)", "sent", "received", "processed", "deduplicated"), rows)


def _uploads(quality: Quality) -> Table:
    rows = (
        (one.client, one.upload_tag, str(one.day), *_numbers(one.valid, one.matched, one.duplicate))
        for one in quality.uploads
    )
    return _table(("client", "upload tag", "day (UTC)", "valid", "matched", "duplicates"), rows)


def _scores(quality: Quality) -> Table:
    rows = (
        (one.client, one.event_name, one.kind, "-" if one.score is None else f"{one.score:.1f}", _shares(one))
        for one in quality.scores
    )
    return _table(("client", "event", "quality", "of 10", "carried by"), rows)


def _shares(line: ScoreLine) -> str:
    return ", ".join(f"{key} {share:.0f}%" for key, share in line.shares())


def _checks(quality: Quality) -> Table:
    rows = ((one.client, one.title or one.key, one.result, one.action_uri) for one in quality.checks)
    return _table(("client", "check", "result", "where to act"), rows)


def _table(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in _NUMBERS else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _numbers(*counts: int | None) -> tuple[str, ...]:
    """A dash where Meta did not tell."""
    return tuple("-" if count is None else f"{count:,}" for count in counts)
