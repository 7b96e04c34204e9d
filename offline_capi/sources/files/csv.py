"""CSV: every column is text, so that leading zeros, long ids and odd numbers arrive as they were written.

An unquoted value that is declared in ``null_values`` is null; a quoted one is the text itself, so ``,"",`` is an empty
string and ``,,`` is null. Values may hold line breaks between quotes.

A line with too few or too many values becomes a row of nulls with a fault, at its position: one bad line costs one row.
What quotes may cost is said in ``quotes.py``: never fewer rows than lines without a fault.

Lines before the header, ``sep=;``, a header that is repeated between rows, blank lines and what follows the last row
after a blank line without a single delimiter are no rows.
"""

from __future__ import annotations

import csv as lines_of_values
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.sources.base import RowSpan
from offline_capi.sources.columns import check_names
from offline_capi.sources.files.locate import FileLocation
from offline_capi.sources.files.quotes import MAX_ROW_BYTES, QUOTE, Dialect, RowBlocks, UnclosedQuoteError
from offline_capi.sources.files.read_batches import FileCut, ReadBatch
from offline_capi.sources.files.streams import SCAN_BYTES, check_utf8, find_encoding, find_measure, open_span, open_text

__all__ = ["clean_name", "csv_columns", "cut_csv", "header_line", "read_csv"]

#: Read and parsed at once. Arrow's streaming reader keeps some thirty blocks in memory, and loses a line feed inside
#: quotes where a block ends between it and its carriage return (apache/arrow#51368): we hand it whole rows. A block and
#: what is left of the one before fit into memory that the process keeps (``runtime/process.py``).
BLOCK_BYTES = 1 << 20
#: As much of a file as its header may be looked for in, in bytes and in lines.
HEAD_BYTES, NAMES_BYTES, HEAD_LINES = 1 << 20, 1 << 16, 50
#: Lines after the last row; what a report adds is shorter.
MAX_FOOTER_LINES, MAX_FOOTER_BYTES = 20, 4096
#: Of the lines that ``footer_rows`` leaves out, which are in memory together.
MAX_FOOTER_ROWS_BYTES = 16 << 20
MAX_NAME_LENGTH = 300
#: A smaller file is not cut: it would be read once more for the sake of two or three seconds of work.
MIN_CUT_BYTES = 32 << 20

_BLANK_LINES = re.compile(rb"\n(?:\r?\n)+(?=[^\r\n])")
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n?", re.IGNORECASE)


def read_csv(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    with _open_rows(location, source, columns) as rows:
        yield from rows.read(columns)


def cut_csv(location: FileLocation, source: FileSource, columns: Sequence[str] | None, rows: int) -> Iterator[FileCut]:
    """Spans of at least ``rows`` rows but for the last, found by reading the file once, of its columns the first.

    None of a file that is too small to be worth it, or in an encoding in which what is before says what a byte means.
    Raises what ``read_csv`` raises, wherever in the file it is.
    """
    if location.fs.size(location.path) < MIN_CUT_BYTES:
        return
    with _open_rows(location, source, columns) as whole:
        if find_measure(whole.encoding) is None:
            return
        first, held = 1, 0
        start = behind = whole.block
        for batch in whole.read(whole.head.names[:1]):
            if held >= rows:
                yield FileCut(first, held, span=whole.make_span(start, behind.start))
                first, held, start = first + held, 0, behind
            held += batch.batch.num_rows
            behind = whole.block
        yield FileCut(first, held, span=whole.make_span(start, None))


class _Place(NamedTuple):
    """Where a block begins: in the bytes of its file, and how much UTF-8 was read from there on when it was found."""

    start: int
    ahead: int


@contextmanager
def _open_rows(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[_Rows]:
    span = location.span
    # Found once: the file may be opened again to count in it.
    encoding, mark = (span.encoding, b"") if span else find_encoding(location, source.encoding)
    source = source.model_copy(update={"encoding": (encoding,)})
    with open_text(location, source.encoding) as stream:
        first = stream.read(HEAD_BYTES)
        head = _Head.of(first, location, source, columns)
        check_names(head.names, columns, f"file {location.origin}")
        before = len(first) - len(head.rest)
        if span is None:
            measure = find_measure(encoding) or len
            place = _Place(len(mark) + measure(first[:before]), len(head.rest))
            yield _Rows(location, source, head, before, place, _chunks(head.rest, stream))
            return
    with open_span(location, encoding, span.start, span.end) as stream:
        place = _Place(span.start, span.ahead)
        yield _Rows(location, source, head, before, place, _chunks(stream.read(span.ahead), stream))


class _Rows:
    """The rows of a file, or of a span of it, and how far they were read.

    A span is read in the blocks in which the whole file is: what a row is to the reader, however damaged it is, does
    not depend on the cut. ``block`` is where the newest block begins, which ``read`` has not yielded yet.
    """

    def __init__(
        self,
        location: FileLocation,
        source: FileSource,
        head: _Head,
        before: int,
        start: _Place,
        chunks: Iterator[bytes],
    ) -> None:
        span = location.span
        self._location, self._source, self._chunks, self.head = location, source, chunks, head
        self.block, self.encoding = start, source.encoding[0]
        self._measure = find_measure(self.encoding) or len
        self._is_start, self._is_end = span is None, span is None or span.end is None
        self._waiting, self._taken = 0, start.start
        self._rows = RowBlocks(
            head.dialect,
            len(head.names),
            count_quotes=lambda: _count_quotes(location, source),
            quotes_values=lambda: _quotes_values(location, source, head.dialect.delimiter),
            count_lines=lambda size: _count_lines(location, source, before, size),
            max_row_bytes=None if span else MAX_ROW_BYTES,
            is_balanced=span.is_balanced if span else None,
            has_quoted_values=span.has_quoted_values if span else None,
        )

    def read(self, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
        parse = _Parser(self.head, self._source, columns)
        try:
            for number, block in enumerate(_rows_alone(self._cut(), self.head, is_end=self._is_end)):
                check_utf8(block)
                batch = parse(block)
                if number == 0 and self._is_start:
                    _check_trailing_delimiter(batch, block, self.head, self._location)
                yield batch
        except UnclosedQuoteError as unclosed:
            raise _unclosed_quote(self._location, unclosed) from None

    def make_span(self, start: _Place, end: int | None) -> RowSpan:
        return RowSpan(
            start.start, end, self.encoding, start.ahead, self._rows.is_balanced, self._rows.has_quoted_values
        )

    def _cut(self) -> Iterator[bytes]:
        start = self.block
        for block in self._rows.cut(self._take_chunks()):
            self.block = start
            yield block
            rest = self._rows.rest
            start = _Place(self._taken - self._measure(rest), len(rest) + self._waiting)

    def _take_chunks(self) -> Iterator[bytes]:
        """The chunks, without the lines at the end of the file; those that may be it wait."""
        count = self._source.footer_rows if self._is_end else 0
        chunks = self._count_waiting()
        for chunk in _without_last_lines(chunks, count) if count else chunks:
            self._waiting -= len(chunk)
            self._taken += self._measure(chunk)
            yield chunk

    def _count_waiting(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._waiting += len(chunk)
            yield chunk


def csv_columns(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> list[tuple[str, str]]:
    with open_text(location, source.encoding) as stream:
        head = _Head.of(stream.read(HEAD_BYTES), location, source, columns)
    return [(name, "string") for name in head.names if name or not source.trailing_delimiter]


def _chunks(first: bytes, stream: Any) -> Iterator[bytes]:
    yield first
    yield from takewhile(len, iter(lambda: bytes(stream.read(BLOCK_BYTES)), None))


def _scan(location: FileLocation, source: FileSource) -> Iterator[bytes]:
    """The whole file again, in pieces."""
    with open_text(location, source.encoding) as stream:
        yield from takewhile(len, iter(lambda: bytes(stream.read(SCAN_BYTES)), None))


def _count_quotes(location: FileLocation, source: FileSource) -> int:
    """The quotes in the whole file: where every other byte is one, in a tenth of the time of ``bytes.count``."""
    pieces = (np.frombuffer(piece, np.uint8) for piece in _scan(location, source))
    return sum(int(np.count_nonzero(piece == QUOTE)) for piece in pieces)


def _quotes_values(location: FileLocation, source: FileSource, delimiter: bytes) -> bool:
    """Whether any value of the file begins with a quote."""
    last = b"\n"
    for piece in _scan(location, source):
        if delimiter + b'"' in (together := last + piece) or b'\n"' in together:
            return True
        last = piece[-1:]
    return False


def _count_lines(location: FileLocation, source: FileSource, start: int, size: int) -> int:
    """The line feeds in ``size`` bytes from ``start``."""
    with open_text(location, source.encoding) as stream:
        stream.read(start)
        chunks = iter(lambda: bytes(stream.read(min(SCAN_BYTES, size))), b"")
        found = 0
        for chunk in chunks:
            found += chunk[:size].count(b"\n")
            size -= len(chunk)
            if size <= 0:
                break
    return found


# ---------------------------------------------------------------------------------------------- before the rows


class _Head(NamedTuple):
    """The names of the columns, how values are separated, and the bytes after the header."""

    names: list[str]
    dialect: Dialect
    line: bytes
    rest: bytes

    @classmethod
    def of(cls, head: bytes, location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> _Head:
        check_utf8(head[: head.rfind(b"\n") + 1] or head)
        separator = _SEPARATOR_LINE.match(head[:16].decode("utf-8", "ignore"))
        delimiter = separator[1] if separator else source.delimiter
        if len(delimiter.encode()) != 1:
            raise SourceError(
                f"file {location.origin}: a delimiter has to be one byte; {delimiter!r} is more. Set source.delimiter."
                " Nothing was sent; repeating is safe."
            )
        text = head[:NAMES_BYTES].decode("utf-8", "ignore")
        skipped = source.header_row - 1 if source.header_row else header_line(text, delimiter, columns)
        lines = text.splitlines(keepends=True) if "\r" in text else text.split("\n")
        if not text.strip() or skipped >= len(lines):
            raise SourceError(
                f"file {location.origin}: it is empty, without even a header"
                f"{f' in line {source.header_row}' if source.header_row else ''}.\nAn export without rows has one."
                " Nothing was sent from it; repeating is safe."
            )
        before = _offset(head, skipped)
        names, length = _names(head[before:], delimiter, source)
        if any(len(name) > MAX_NAME_LENGTH for name in names):
            raise _unclosed_quote(location, UnclosedQuoteError(0, "a quote is opened and not closed"))
        extra = [""] if source.trailing_delimiter and names[-1:] != [""] else []
        dialect = Dialect(delimiter.encode(), source.quoting, source.escape is not None)
        return cls([*names, *extra], dialect, head[before : before + length], head[before + length :])


def _offset(head: bytes, lines: int) -> int:
    """Where the line after ``lines`` lines begins."""
    at = 0
    for _ in range(lines):
        match = re.compile(rb"\r\n|\n|\r").search(head, at)
        at = match.end() if match else len(head)
    return at


def _names(head: bytes, delimiter: str, source: FileSource) -> tuple[list[str], int]:
    """The names in the first line that is not blank, and how many bytes it takes with what is before it."""
    blank = re.match(rb"[\r\n]*", head)
    start = blank.end() if blank else 0
    lines = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)").findall(head, start, start + NAMES_BYTES)
    reader = lines_of_values.reader(
        (line.decode("utf-8", "ignore") for line in lines),
        delimiter=delimiter,
        quoting=lines_of_values.QUOTE_NONE if source.quoting == "none" else lines_of_values.QUOTE_MINIMAL,
        escapechar="\\" if source.escape else None,
    )
    try:
        written = next(reader, [])
    except lines_of_values.Error:  # a value longer than the reader takes: a quote that is not closed
        written = [delimiter + "\n"]
    if any("\n" in name and delimiter in name for name in written):  # rows, behind a quote that is not closed
        written = ["x" * (MAX_NAME_LENGTH + 1)]
    names = [clean_name(name) for name in written]
    return names, start + sum(map(len, lines[: reader.line_num]))


def clean_name(name: str) -> str:
    """A column's name without blanks around it and without characters that nobody sees (U+200B, byte-order marks)."""
    return "".join(char for char in name if unicodedata.category(char) != "Cf").strip()


def header_line(text: str, delimiter: str, columns: Sequence[str] | None) -> int:
    """How many lines stand before the header.

    Certain are ``sep=;``, and a line that holds every name of ``columns`` where the first one does not.
    """
    first = 1 if _SEPARATOR_LINE.match(text) else 0
    for number, line in enumerate(text.splitlines()[:HEAD_LINES] if columns else ()):
        if number >= first and set(columns or ()) <= {clean_name(cell) for cell in _cells(line, delimiter)}:
            return number
    return first


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(lines_of_values.reader(StringIO(line), delimiter=delimiter), [])
    except lines_of_values.Error:
        return []


# ---------------------------------------------------------------------------------------------- after the rows


def _without_last_lines(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks without the last ``count`` lines of the file."""
    kept = b""
    for chunk in chunks:
        kept += chunk
        at = len(kept.rstrip(b"\r\n"))
        for _ in range(count):
            at = max(kept.rfind(b"\n", 0, at), 0)
        yield kept[:at]
        kept = kept[at:]
        if len(kept) > MAX_FOOTER_ROWS_BYTES:
            raise pa.ArrowInvalid("a line straddling blocks")


def _rows_alone(blocks: Iterator[bytes], head: _Head, *, is_end: bool) -> Iterator[bytes]:
    """The blocks without repeated headers and, where they are the end of a file, the lines after its last row."""
    held = b""
    for block in blocks:
        rows = _without_header(block, head)
        if held and len(rows) > MAX_FOOTER_BYTES:
            yield held
            held = b""
        held += rows
    if is_end:
        held = held[: _footer_start(held, head)]
    if held:
        yield held


def _without_header(block: bytes, head: _Head) -> bytes:
    """A file that was joined of several has the header between rows; in a single column it may be a value."""
    if len(head.names) == 1 or not head.line.endswith(b"\n"):
        return block
    while block.startswith(head.line):
        block = block[len(head.line) :]
    while (again := b"\n" + head.line) in block:
        block = block.replace(again, b"\n")
    return block


def _footer_start(block: bytes, head: _Head) -> int:
    """Where lines of one cell each follow a blank one, up to the end, in a file of three columns and more.

    No row can look like this. A blank line inside quotes has an odd number of quotes before it, or after it.
    """
    tail = block[-MAX_FOOTER_BYTES:]
    blank = _BLANK_LINES.search(tail)
    if blank is None or len(head.names) < 3:
        return len(block)
    start = len(block) - len(tail) + blank.start() + 1
    lines = [line for line in block[start:].decode("utf-8", "ignore").splitlines() if line.strip()]
    is_footer = (
        len(lines) <= MAX_FOOTER_LINES
        and all(len(_cells(line, head.dialect.delimiter.decode())) == 1 for line in lines)
        and not (block.count(b'"', 0, start) % 2 or block.count(b'"', start) % 2)
    )
    return start if is_footer else len(block)


def _check_trailing_delimiter(piece: ReadBatch, block: bytes, head: _Head, location: FileLocation) -> None:
    """Refuse a file of which no line fits, for this one reason."""
    lines = block.split(b"\n", 1)
    delimiter = head.dialect.delimiter
    if len(piece.malformed) < piece.batch.num_rows or not lines[0].rstrip(b"\r").endswith(delimiter):
        return
    width = len(_cells(lines[0].decode("utf-8", "ignore"), delimiter.decode()))
    if width == len(head.names) + 1:
        raise SourceError(
            f"file {location.origin}: its lines have {width} values for {len(head.names)} columns: they end in a"
            " delimiter, and the header does not.\nSet source.trailing_delimiter to true, or export it again. Nothing"
            " was sent from it; repeating is safe."
        )


# ---------------------------------------------------------------------------------------------- rows


class _Parser:
    """Whole rows → columns of text."""

    def __init__(self, head: _Head, source: FileSource, columns: Sequence[str] | None) -> None:
        # Arrow takes names that are there once; only the columns that are asked for are made.
        names = [str(number) for number in range(len(head.names))]
        wanted = range(len(names)) if columns is None else [head.names.index(name) for name in columns]
        if source.trailing_delimiter and columns is None:
            wanted = [number for number in wanted if head.names[number]]
        self._names = [head.names[number] for number in wanted]
        self._source, self._dialect, self._read_names = source, head.dialect, names
        self._width = len(head.names)
        self._convert = csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            include_columns=[names[number] for number in wanted] or names[:1],
            null_values=list(source.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # the block was checked whole
        )

    def __call__(self, block: bytes) -> ReadBatch:
        malformed: list[int] = []

        def note(line: Any) -> str:
            malformed.append(line.number - 1)
            return "skip"

        quoted = self._dialect.quoting != "none"
        escapes = self._dialect.has_escapes
        block = _with_nulls(block, self._dialect.delimiter) if escapes and b"\\N" in block else block
        if not block:
            return ReadBatch(pa.RecordBatch.from_pylist([], self._schema()), (), self._width)
        table = csv.read_csv(
            pa.py_buffer(block),
            # Without threads: the reader then numbers malformed lines, and is twice as fast on text columns.
            csv.ReadOptions(block_size=len(block) + 1, use_threads=False, column_names=self._read_names),
            csv.ParseOptions(
                delimiter=self._dialect.delimiter.decode(),
                quote_char='"' if quoted else False,
                escape_char="\\" if escapes else False,
                newlines_in_values=quoted,
                invalid_row_handler=note,
            ),
            self._convert,
        )
        columns = [column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for column in table.columns]
        columns = columns[: len(self._names)]
        return ReadBatch.with_gaps(pa.RecordBatch.from_arrays(columns, schema=self._schema()), malformed, self._width)

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self._names])


def _with_nulls(block: bytes, delimiter: bytes) -> bytes:
    r"""``\N`` is null and no escaped N, as MySQL and Snowflake write it beside escapes."""
    edge = re.escape(delimiter)
    return re.sub(rb"(?:(?<=[%b\r\n])|^)\\N(?=[%b\r\n]|$)" % (edge, edge), rb"\\\\N", block)


def _unclosed_quote(location: FileLocation, unclosed: UnclosedQuoteError) -> SourceError:
    where = f"in or after line {unclosed.line} below the header" if unclosed.line else "in the header"
    return SourceError(
        f"file {location.origin}: {where} {unclosed.what}, so that rows cannot be told apart.\nMend or export the file"
        " again; where quotes are ordinary characters in it, set source.quoting to loose or none. Nothing was sent from"
        " it after that point; repeating is safe."
    )
