"""Excel workbooks: one sheet, its cells in the six kinds of this room.

A number of more than 15 digits has lost the others when it was typed (Excel keeps 15): it comes as text with an
exponent, which no id and no number of ours accepts. Dates are naive; a cell that looks empty is null.
"""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import time, timedelta
from io import SEEK_END
from itertools import chain, islice
from typing import Any, TypeVar

import pyarrow as pa

from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.runtime.border import names_among
from offline_capi.sources.columns import check_names, column_of
from offline_capi.sources.files.csv import HEAD_LINES, clean_name
from offline_capi.sources.files.locate import FileLocation
from offline_capi.sources.files.read_batches import ReadBatch
from offline_capi.sources.files.streams import explaining, seekable_file
from offline_capi.sources.subprocess_reader import read_in_subprocess

__all__ = ["excel_columns", "read_excel"]

T = TypeVar("T")

BLOCK_ROWS = 8_192
#: A workbook is in memory whole while it is read; a sheet has at most 1,048,576 rows.
MAX_UNPACKED_BYTES = 1 << 30
#: A sheet is XML, of which a tenth is left when it is packed; a hundredth is no sheet.
MAX_RATIO, FREE_BYTES = 100, 64 << 20
#: 10^15: from here on a whole number has more digits than Excel keeps.
FIRST_INEXACT = 1e15


def read_excel(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    return _apart(_pieces, location, source, columns)


def excel_columns(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> list[tuple[str, str]]:
    return list(_apart(_columns, location, source, columns))


def _apart(read: Callable[..., Iterator[T]], location: FileLocation, source: FileSource, columns: Any) -> Iterator[T]:
    """In a process with bounded memory: a few kilobytes of a workbook can stand for gigabytes of cells.

    Two cells in opposite corners make a sheet of 17 billion, and each of a million cells may repeat one long text.
    """
    too_large = _unreadable(
        location,
        f"needs more than {source.max_workbook_mib:,} MiB of memory",
        "Save it as CSV (UTF-8), or raise source.max_workbook_mib",
    )
    return read_in_subprocess(
        explaining, read, location, source, columns, memory_mib=source.max_workbook_mib, too_large=str(too_large)
    )


def _pieces(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    names, rows = _table(location, source, columns)
    check_names(names, columns, f"file {location.origin}")
    wanted = (
        [names.index(name) for name in columns] if columns is not None else [n for n, name in enumerate(names) if name]
    )
    kinds: dict[int, pa.DataType] = {}
    empty = set(source.null_values)
    while block := list(islice(rows, BLOCK_ROWS)):
        arrays = []
        for number in wanted:
            values = _values([row[number] if number < len(row) else None for row in block], empty)
            arrays.append(column_of(values, kinds.get(number)))
            if arrays[-1].null_count < len(values):
                kinds.setdefault(number, arrays[-1].type)
        yield ReadBatch(pa.RecordBatch.from_arrays(arrays, [names[number] for number in wanted]), (), len(names))


def _columns(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    names, rows = _table(location, source, columns)
    seen = list(islice(rows, 100))
    empty = set(source.null_values)
    for number, name in enumerate(names):
        if name:
            yield name, _kind(_values([row[number] if number < len(row) else None for row in seen], empty))


def _kind(values: list[Any]) -> str:
    return str(column_of(values).type) if any(value is not None for value in values) else "unknown"


def _table(
    location: FileLocation, source: FileSource, columns: Sequence[str] | None
) -> tuple[list[str], Iterator[list[Any]]]:
    """The names of the columns, and the rows after them that are not blank."""
    rows = (row for row in _sheet(location, source) if source.header_row or any(cell != "" for cell in row))
    first = list(islice(rows, source.header_row or HEAD_LINES))
    at = source.header_row - 1 if source.header_row else _header_row(first, columns)
    if at >= len(first):
        raise SourceError(
            f"file {location.origin}: the sheet is empty, without even a header. Nothing was sent from it; repeating is"
            " safe."
        )
    names = [clean_name(_text(cell)) for cell in first[at]]
    rest = _without_last(chain(first[at + 1 :], rows), source.footer_rows)
    return names, (row for row in rest if any(cell != "" for cell in row))


def _without_last(rows: Iterator[list[Any]], count: int) -> Iterator[list[Any]]:
    held = deque(islice(rows, count))
    for row in rows:
        held.append(row)
        yield held.popleft()


def _header_row(rows: list[list[Any]], columns: Sequence[str] | None) -> int:
    for number, row in enumerate(rows[:HEAD_LINES] if columns else ()):
        if set(columns or ()) <= {clean_name(_text(cell)) for cell in row}:
            return number
    return 0


def _sheet(location: FileLocation, source: FileSource) -> Iterator[list[Any]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook, PasswordError  # the extra `excel`
    except ImportError:
        raise SourceError(
            f"file {location.origin}: it is an Excel workbook, for which a reader has to be installed.\nInstall"
            " offline-capi[excel], or save it as CSV (UTF-8). Nothing was sent; repeating is safe."
        ) from None
    with seekable_file(location) as stream:
        _check_size(stream, location)
        try:
            book = CalamineWorkbook.from_filelike(stream)
            if source.sheet is not None and source.sheet not in book.sheet_names:
                such_as = ", ".join(["", *names_among(book.sheet_names)[:20]]).replace(", ", ", such as ", 1)
                raise SourceError(
                    f"file {location.origin}: source.sheet names no sheet of it; it has {len(book.sheet_names)}"
                    f"{such_as}. Nothing was sent; repeating is safe."
                )
            sheet = book.get_sheet_by_name(source.sheet or book.sheet_names[0])
            yield from sheet.iter_rows()
        except PasswordError:
            raise _unreadable(location, "has a password") from None
        except (CalamineError, IndexError):
            raise _unreadable(location, "cannot be read: it is damaged, or no workbook") from None


def _check_size(stream: Any, location: FileLocation) -> None:
    if not zipfile.is_zipfile(stream):  # the format before 2007, which is not packed
        stream.seek(0)
        return
    unpacked = sum(member.file_size for member in zipfile.ZipFile(stream).infolist())
    packed = stream.seek(0, SEEK_END)
    stream.seek(0)
    if unpacked > min(MAX_UNPACKED_BYTES, max(FREE_BYTES, MAX_RATIO * packed)):
        raise _unreadable(location, f"has {unpacked >> 20:,} MiB in {packed >> 10:,} KiB, which is more than is read")


def _unreadable(location: FileLocation, what: str, fix: str = "Save it again, or as CSV (UTF-8)") -> SourceError:
    return SourceError(
        f"file {location.origin}: the workbook {what}.\n{fix}. Nothing was sent from it after that point;"
        " repeating is safe."
    )


def _values(cells: list[Any], empty: set[str]) -> list[Any]:
    """Cells as they go into a column: of one kind where they can be, else as text."""
    values = [None if cell == "" or (isinstance(cell, str) and cell in empty) else cell for cell in cells]
    kinds = {type(value) for value in values if value is not None}
    has_inexact = any(isinstance(value, float) and abs(value) >= FIRST_INEXACT for value in values)
    if has_inexact or len(kinds) > 1 or kinds & {time, timedelta}:
        return [None if value is None else _text(value) for value in values]
    return values


def _text(cell: Any) -> str:
    if isinstance(cell, float) and not isinstance(cell, bool):
        if abs(cell) >= FIRST_INEXACT:
            return f"{cell:.14E}"
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell.isoformat(" ") if hasattr(cell, "hour") and hasattr(cell, "year") else str(cell)
