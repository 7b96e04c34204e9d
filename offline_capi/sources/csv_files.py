"""CSV: every column is text, so that leading zeros, long ids and odd numbers arrive as they were written.

An unquoted value that is declared in ``null_values`` is null; a quoted one is the text itself, so ``,"",`` is an empty
string and ``,,`` is null. Values may hold line breaks between quotes.

A line with too few or too many values becomes a row of nulls with a fault, in its place: one bad line costs one row.
Where a quote is never closed the lines after it cannot be told apart, and the file is refused: guessing would lose
rows silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from offline_capi.config.settings import FileSource
from offline_capi.errors import SourceError
from offline_capi.sources.columns import check_names
from offline_capi.sources.pieces import Piece
from offline_capi.sources.places import Place
from offline_capi.sources.streams import CHUNK_BYTES, open_text

__all__ = ["csv_columns", "read_csv"]

#: Arrow reads some thirty blocks ahead, so that a block of 4 MiB would hold 120 MiB of a file in memory. A row must fit
#: into one block.
BLOCK_BYTES = 1 << 20
QUOTE, LINE_BREAK = b'"', ord("\n")

#: As much of a file as its header may be looked for in.
HEAD_BYTES = 1 << 20


def read_csv(place: Place, source: FileSource, columns: Sequence[str] | None) -> Iterator[Piece]:
    malformed, quotes = _Malformed(place), _Quotes(place, source)
    reader = csv.open_csv(open_text(place, source.encoding), *_options(source, malformed))
    names = [name.strip() for name in reader.schema.names]
    check_names(names, columns, f"file {place.origin}")
    for batch in reader:
        quotes.check_closed(batch)
        yield malformed.put_back(batch.rename_columns(names))
    yield malformed.rest(pa.schema([(name, pa.string()) for name in names]))


def csv_columns(place: Place, source: FileSource) -> list[tuple[str, str]]:
    # From memory: a reader that is left before the file's end still calls back into Python while that shuts down.
    head = pa.BufferReader(open_text(place, source.encoding).read(HEAD_BYTES))
    reader = csv.open_csv(head, *_options(source, _Malformed(place), block=1 << 16))
    return [(name.strip(), "string") for name in reader.schema.names]


def _options(source: FileSource, malformed: _Malformed, block: int = BLOCK_BYTES) -> tuple[Any, Any, Any]:
    # Without threads: the reader then numbers malformed lines, and turns out to be twice as fast on text columns.
    read = csv.ReadOptions(block_size=block, use_threads=False)
    parse = csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=malformed.add)
    convert = csv.ConvertOptions(
        default_column_type=pa.string(),
        null_values=list(source.null_values),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return read, parse, convert


class _Malformed:
    """Lines that the parser passed over, to be put back where they were.

    The parser reads ahead, so that lines of later batches may be known early; never late.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rows: list[int] = []
        self._next = 1
        self._torn: int | None = None

    def add(self, line: Any) -> str:
        row = line.number - 1  # the header is the parser's first
        self._rows.append(row)
        if self._torn is None and "\n" in line.text.strip():
            self._torn = row
        return "skip"

    def put_back(self, batch: pa.RecordBatch) -> Piece:
        """``batch`` with a row of nulls for each malformed line before or among its rows."""
        if self._torn is not None:
            raise _unclosed_quote(self._place, f"row {self._torn}")
        gaps: list[int] = []
        for row in self._rows:
            if row - self._next >= batch.num_rows + len(gaps):
                break
            gaps.append(row - self._next)
        return self._counted(Piece.with_gaps(batch, gaps))

    def rest(self, schema: pa.Schema) -> Piece:
        """Rows of nulls for the malformed lines after the last good row."""
        empty = pa.RecordBatch.from_pylist([], schema)
        if self._torn is not None:
            raise _unclosed_quote(self._place, f"row {self._torn}")
        return self._counted(Piece.with_gaps(empty, list(range(len(self._rows)))))

    def _counted(self, piece: Piece) -> Piece:
        del self._rows[: len(piece.malformed)]
        self._next += piece.batch.num_rows
        return piece


# ---------------------------------------------------------------------------------------------- quotes


class _Quotes:
    """Refuses rows behind an open quote that swallowed others: all values are there, but rows are lost in one of them.

    Only a row that looks like it makes us count the file's quotes, once: a last row with line breaks, or a value with
    line breaks and an odd number of quotes.
    """

    def __init__(self, place: Place, source: FileSource) -> None:
        self._place, self._source = place, source
        self._balanced = False

    def check_closed(self, batch: pa.RecordBatch) -> None:
        if self._balanced or not any(map(_looks_torn, batch.columns)):
            return
        if self._count() % 2:
            raise _unclosed_quote(self._place, "a value with line breaks")
        self._balanced = True

    def _count(self) -> int:
        with open_text(self._place, self._source.encoding) as stream:
            chunks = takewhile(len, iter(lambda: stream.read(CHUNK_BYTES), None))
            return sum(chunk.count(QUOTE) for chunk in chunks)


def _looks_torn(column: pa.Array) -> bool:
    if not _has_line_breaks(column):
        return False
    breaks = pc.fill_null(pc.match_substring(column, "\n"), False)
    odd = pc.bit_wise_and(pc.count_substring(column.filter(breaks), '"'), 1)
    return bool(breaks[-1].as_py() or pc.any(pc.equal(odd, 1)).as_py())


def _has_line_breaks(column: pa.Array) -> bool:
    """Over the bytes of the whole column at once: a tenth of the time that asking value by value takes."""
    values = column.buffers()[2]
    return values is not None and bool((np.frombuffer(values, np.uint8) == LINE_BREAK).any())


def _unclosed_quote(place: Place, where: str) -> SourceError:
    return SourceError(
        f"file {place.origin}: in {where} a quote is opened and not closed where the row ends, so that the rows after"
        " it cannot be told apart.\nMend or export the file again. Nothing was sent from it after that point;"
        " repeating is safe."
    )
