"""Why rows of a run were not sent: counts with fixes, and the rows by business key. No personal data is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offline_capi.model import Fate
from offline_capi.report.run_report import ReasonLine, explain_reason
from offline_capi.report.tables import make_reason_table, plain_table, shown_tables
from offline_capi.runtime.border import shown

__all__ = ["print_rejects", "reject_reasons", "reject_rows"]

#: Characters of an id or a file's name in a line of text: ids are longer than names are (Meta publishes no limit).
LONGEST = 200
_SHOWN = ("client", "event_id", "origin", "row", "fate", "reason", "field")


def reject_reasons(table: pa.Table) -> list[ReasonLine]:
    """Rows per fate, reason and field, most rows first, each with what is wrong and what to do."""
    keys = ["fate", "reason", "field"]
    columns = table.group_by(keys).aggregate([([], "count_all")]).select([*keys, "count_all"]).to_pydict().values()
    lines = [
        ReasonLine(Fate(fate), reason or "", field or "", rows, *explain_reason(reason or "", field or ""))
        for fate, reason, field, rows in zip(*columns, strict=True)
    ]
    return sorted(lines, key=lambda line: (-line.rows, line.fate, line.reason, line.field))


def reject_rows(table: pa.Table, limit: int) -> list[dict[str, Any]]:
    """The first rows, by business key and place."""
    rows: list[dict[str, Any]] = table.slice(0, limit).select(list(_SHOWN)).to_pylist()
    return rows


def print_rejects(table: pa.Table, limit: int, console: Console) -> None:
    """Each reason with its count and fix, then the first ``limit`` rows: as tables, into a pipe one line each."""
    if console.is_terminal:
        for shown_table in shown_tables(make_reason_table(reject_reasons(table)), _make_row_table(table, limit)):
            console.print(shown_table)
    else:
        for text in (*_list_reasons(table), *_list_rows(table, limit)):
            console.print(text, soft_wrap=True)


def _make_row_table(table: pa.Table, limit: int) -> Table:
    """The client has a column where there are several."""
    several = len(table["client"].unique()) > 1
    rows = [
        [row["event_id"] or "(none)", *[row["client"] or "(none)"] * several, f"{row['origin']}:{row['row']}",
         row["reason"] or row["fate"]] for row in reject_rows(table, limit)
    ]  # fmt: skip
    shown_rows = [[shown(cell, LONGEST) for cell in row] for row in rows]
    if table.num_rows > limit:
        shown_rows.append([f"… and {table.num_rows - limit:,} more"])
    return plain_table(("event id", *["client"] * several, "row", "reason"), shown_rows)


def _list_reasons(table: pa.Table) -> Iterator[Text]:
    for line in reject_reasons(table):
        because = f"{line.field}: {line.what}" if line.field else line.what
        yield Text(f"{line.rows:>9,}  {line.fate.words}  {because}")
        yield Text(f"           → {line.fix}", style="dim")


def _list_rows(table: pa.Table, limit: int) -> Iterator[Text]:
    for row in reject_rows(table, limit):
        event_id, client, origin = (shown(row[name] or "", LONGEST) for name in ("event_id", "client", "origin"))
        whose = f"{event_id or '(no event id)'}  {client or '(no client)'}"
        yield Text(f"  {whose}  {origin}:{row['row']}  {row['reason'] or row['fate']}")
    if table.num_rows > limit:
        yield Text(f"  … and {table.num_rows - limit:,} more", style="dim")
