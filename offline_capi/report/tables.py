"""Tables in a terminal: columns without lines, numbers to the right."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.model import Fate
from offline_capi.runtime.border import visible

if TYPE_CHECKING:
    from offline_capi.report.run_report import ReasonLine

__all__ = ["advise", "make_reason_table", "plain_table", "shown_tables"]

_OF_META = ("received", "processed", "deduplicated", "valid", "matched", "duplicates", "of 10")
_NUMBERS = frozenset({"rows", "values", "events", *_OF_META, *(fate.words for fate in Fate)})


def plain_table(
    headers: Iterable[str],
    rows: Iterable[Iterable[str | Text]],
    numbers: Collection[str] = (),
    unbroken: Collection[str] = (),
) -> Table:
    """Cells are shown whole, line ends made visible, and are no markup; ``numbers`` are headers above numbers,
    ``unbroken`` ones above short words of ours, in which no line ends.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in headers:
        is_number = header in _NUMBERS or header in numbers
        justify: JustifyMethod = "right" if is_number else "left"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=header in unbroken)
    for row in rows:
        table.add_row(*(Text(visible(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def make_reason_table(lines: Iterable[ReasonLine]) -> Table:
    """Why rows were not sent, each with what to do below it."""
    rows = (
        (
            f"{line.rows:,}",
            line.fate.words,
            advise(f"{line.field}: {line.what}" if line.field else line.what, line.fix),
        )
        for line in lines
    )
    return plain_table(("rows", "not sent", "because, and what to do"), rows)


def advise(what: str, fix: str) -> Text:
    return Text.assemble(what, (f"\n→ {fix}" if fix else "", "dim"))


def shown_tables(*tables: Table) -> Iterator[Padding]:
    """Those that have rows, set off by a line and a little to the right."""
    yield from (Padding(table, (1, 0, 0, 2)) for table in tables if table.row_count)
