"""Parquet: typed columns, row group by row group; types are brought to the seven kinds of this room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from offline_capi.config.source import FileSource
from offline_capi.sources.columns import check_names, plain
from offline_capi.sources.files.locate import FileLocation
from offline_capi.sources.files.parquet_pages import Page, read_pages
from offline_capi.sources.files.read_batches import FileCut, ReadBatch
from offline_capi.sources.files.streams import check_unpacked, explaining, seekable
from offline_capi.sources.subprocess_reader import read_in_subprocess

__all__ = [
    "cut_parquet",
    "find_members",
    "open_parquet",
    "parquet_columns",
    "parquet_rows",
    "read_batches",
    "read_parquet",
    "take_column",
]

BATCH_ROWS = 32_768
# Of each column, read as it is needed: without, a row group is in memory whole, a million rows of it by default.
BUFFER_BYTES = 1 << 18


# From here on: a file whose rows may be larger than they look.
LONG_VALUE_BYTES = 8_192
LARGE_CHUNK_BYTES = 64 << 20
USUAL_RATIO = 20
USUAL_VALUES_PER_ROW, FEW_VALUES = 32, 1_000_000
SMALL_BATCH_ROWS = 512
PROBED_ROWS = 1_024
MAX_MEMORY_MIB = 400
#: Its number in ``parquet.thrift``: each value is written as what differs from the one before.
DELTA_BYTE_ARRAY = 7


def read_parquet(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    file = _opened(location)
    check_names(
        [*file.schema_arrow.names, *find_members(file.schema_arrow)], columns, f"file {location.origin}", is_schema=True
    )
    with _contradictions():
        may_be_large = _may_be_large(file, location, columns)
    if not may_be_large:
        yield from _pieces(file, columns, BATCH_ROWS, location.groups)
        return
    too_large = (
        f"file {location.origin}: its values need more than {MAX_MEMORY_MIB} MiB of memory for {SMALL_BATCH_ROWS}"
        " rows.\nLeave the long values out of the export, or export CSV. Nothing was sent from it after that point;"
        " repeating is safe."
    )
    yield from read_in_subprocess(
        explaining, _large_pieces, location, source, columns, memory_mib=MAX_MEMORY_MIB, too_large=too_large
    )


def _opened(location: FileLocation, as_dictionaries: Sequence[str] = ()) -> parquet.ParquetFile:
    return open_parquet(seekable(location), as_dictionaries)


def open_parquet(content: Any, as_dictionaries: Sequence[str] = ()) -> parquet.ParquetFile:
    """A file that is read column by column as it is needed: a row group is never in memory whole."""
    return parquet.ParquetFile(
        content, pre_buffer=False, buffer_size=BUFFER_BYTES, read_dictionary=list(as_dictionaries)
    )


def read_batches(
    file: parquet.ParquetFile, groups: Sequence[int], starts: Sequence[int], rows: int, columns: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of some row groups, each with the number of rows before it; ``starts`` has that of each group."""
    for group, first in zip(groups, starts, strict=True):
        end = first + file.metadata.row_group(group).num_rows
        for batch in _batches(file, rows, row_groups=[group], columns=list(columns)):
            yield batch, first
            first += len(batch)
        if first != end:  # Arrow ends without an error where a column of a row group has fewer values than rows
            raise pa.ArrowInvalid("Parquet footer")


def _pieces(
    file: parquet.ParquetFile,
    columns: Sequence[str] | None,
    rows: int,
    chosen: Sequence[int] | None,
    *,
    use_threads: bool = True,
) -> Iterator[ReadBatch]:
    paths = find_members(file.schema_arrow)
    wanted, left = None if columns is None else list(columns), file.metadata.num_rows
    if chosen is not None:
        with _contradictions():
            left = sum(file.metadata.row_group(group).num_rows for group in chosen)
    part = {} if chosen is None else {"row_groups": list(chosen)}
    for batch in _batches(file, rows, columns=wanted, use_threads=use_threads, **part):
        left -= len(batch)
        names = batch.schema.names if columns is None else columns
        columns_of_batch = [plain(take_column(batch, name, paths)) for name in names]
        yield ReadBatch(pa.RecordBatch.from_arrays(columns_of_batch, list(names)), (), len(file.schema_arrow))
    if left:  # Arrow ends without an error where a column of a row group has fewer values than rows
        raise pa.ArrowInvalid("Parquet footer")


def _list_groups(file: parquet.ParquetFile, chosen: Sequence[int] | None) -> list[int]:
    return list(range(file.metadata.num_row_groups) if chosen is None else chosen)


def _batches(file: parquet.ParquetFile, rows: int, **how: Any) -> Iterator[pa.RecordBatch]:
    with _contradictions():
        yield from file.iter_batches(rows, **how)


@contextmanager
def _contradictions() -> Iterator[None]:
    """What Python raises over a footer whose parts contradict each other is Arrow's error about a damaged file."""
    try:
        yield
    except (LookupError, OverflowError, ValueError) as error:
        if isinstance(error, pa.ArrowException):
            raise
        raise pa.ArrowInvalid("Parquet footer") from None


def _large_pieces(location: FileLocation, _: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    """In a process of its own: few rows at a time, up to what the source allows a compressed file."""
    file = _opened(location)
    packed, unpacked, rows = location.fs.size(location.path), 0, SMALL_BATCH_ROWS
    if not location.local:  # nobody has looked at its pages: as many rows as the footer says that there is room for
        groups = map(file.metadata.row_group, _list_groups(file, location.groups))
        rooms = [LARGE_CHUNK_BYTES * group.num_rows // max(1, group.total_byte_size) for group in groups]
        rows = max(SMALL_BATCH_ROWS, min([BATCH_ROWS, *rooms]))
    for piece in _pieces(file, columns, rows, location.groups, use_threads=False):
        unpacked += piece.batch.nbytes
        check_unpacked(unpacked, packed if location.local else unpacked, location)  # by size alone: nothing was found
        yield piece


def _may_be_large(file: parquet.ParquetFile, location: FileLocation, columns: Sequence[str] | None) -> bool:
    """Whether a batch may take far more memory than the file's size lets expect.

    One long value in a dictionary stands for as many rows as its writer likes, a prefix for as many values, and a page
    unpacks to thousands of times its size. The footer is asked first; of a local file its pages are asked too, for a
    footer can be forged. Files of object stores, where each page header would be a request, count as large.
    """
    metadata, schema = file.metadata, file.schema
    wanted = [
        number
        for number in range(len(schema))
        if columns is None or any(f"{schema.column(number).path}.".startswith(f"{name}.") for name in columns)
    ]
    if any(schema.column(number).length > LONG_VALUE_BYTES for number in wanted) or not location.local:
        return True
    texts: set[str] = set()
    with seekable(location) as content:
        size = content.size()
        for group in map(metadata.row_group, _list_groups(file, location.groups)):
            for chunk in map(group.column, wanted):
                try:
                    pages = [*_pages_of(chunk, content, size)]
                except ValueError:  # no page where the footer says that one is
                    return True
                if chunk.num_values != sum(page.values for page in pages if not page.is_dictionary):
                    raise pa.ArrowInvalid("Parquet footer")
                if _is_large(chunk, pages, group.num_rows):
                    return True
                is_text = chunk.physical_type == "BYTE_ARRAY"
                if is_text and any(page.is_dictionary and page.unpacked > LONG_VALUE_BYTES for page in pages):
                    texts.add(chunk.path_in_schema)
    return bool(texts) and _has_long_value(_opened(location, sorted(texts)), sorted(texts), location.groups)


def _pages_of(chunk: parquet.ColumnChunkMetaData, content: Any, size: int) -> Iterator[Page]:
    """The pages from where Arrow begins to read: a dictionary, if there is one, comes before the values."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    if not 0 < start <= end <= size:
        raise ValueError("a column that lies outside of its file")
    yield from read_pages(content, start, end)


def _is_large(chunk: parquet.ColumnChunkMetaData, pages: Sequence[Page], rows: int) -> bool:
    """Whether the values of one column of a row group may take far more memory than its pages in the file."""
    packed, unpacked = sum(page.packed for page in pages), sum(page.unpacked for page in pages)
    return (
        unpacked > max(LARGE_CHUNK_BYTES, USUAL_RATIO * packed)
        or unpacked > LONG_VALUE_BYTES * min(rows, chunk.num_values)
        or chunk.num_values > FEW_VALUES + USUAL_VALUES_PER_ROW * rows
        or any(page.encoding == DELTA_BYTE_ARRAY or page.unpacked > LARGE_CHUNK_BYTES for page in pages)
        # Every value of a dictionary takes a byte at least, and of texts four (their length).
        or any(page.is_dictionary and page.values > page.unpacked for page in pages)
    )


def _has_long_value(file: parquet.ParquetFile, texts: list[str], chosen: Sequence[int] | None) -> bool:
    """Whether a dictionary of the texts has one; each is decoded once, whatever the number of rows."""
    for group in _list_groups(file, chosen):
        for batch in _batches(file, PROBED_ROWS, row_groups=[group], columns=texts, use_threads=False):
            words = [words for column in batch.columns for words in _dictionaries(column)]
            if any((pc.max(pc.binary_length(one)).as_py() or 0) > LONG_VALUE_BYTES for one in words):
                return True
            if all(map(len, words)):  # until a list has an item, its dictionary is not read
                break
    return False


def _dictionaries(column: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_dictionary(column.type):
        yield column.dictionary
    elif pa.types.is_struct(column.type):
        for number in range(column.type.num_fields):
            yield from _dictionaries(column.field(number))
    elif pa.types.is_nested(column.type) and not pa.types.is_union(column.type):
        yield from _dictionaries(column.values if not pa.types.is_map(column.type) else column.items)


def find_members(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The members of structs by their dotted names (``customer.email``), but for those that a column is called."""

    def members(path: tuple[str, ...], kind: pa.DataType) -> Iterator[tuple[str, ...]]:
        for field in kind if pa.types.is_struct(kind) else ():
            yield (*path, field.name)
            yield from members((*path, field.name), field.type)

    paths = (path for field in schema for path in members((field.name,), field.type))
    return {name: path for path in paths if (name := ".".join(path)) not in schema.names}


def take_column(batch: pa.RecordBatch, name: str, paths: dict[str, tuple[str, ...]]) -> pa.Array:
    first, *members = paths.get(name, (name,))
    return pc.struct_field(batch.column(first), members) if members else batch.column(first)


def parquet_rows(location: FileLocation) -> int:
    return int(parquet.ParquetFile(seekable(location)).metadata.num_rows)


def cut_parquet(location: FileLocation, _: FileSource, __: Sequence[str] | None, rows: int) -> Iterator[FileCut]:
    """Row groups next to each other, put together to at most ``rows`` where one has not more."""
    with _contradictions():
        metadata = _opened(location).metadata
        rows_of = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    first, groups, held = 1, list[int](), 0
    for group, group_rows in enumerate(rows_of):
        if groups and held + group_rows > rows:
            yield FileCut(first, held, tuple(groups))
            first, groups, held = first + held, [], 0
        groups.append(group)
        held += group_rows
    yield FileCut(first, held, tuple(groups))


def parquet_columns(location: FileLocation, _: FileSource, __: Sequence[str] | None) -> list[tuple[str, str]]:
    schema = parquet.ParquetFile(seekable(location)).schema_arrow
    own = [(field.name, str(plain(pa.nulls(0, field.type)).type)) for field in schema]
    empty = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema.names)
    paths = find_members(schema)
    return [*own, *((name, str(plain(take_column(empty, name, paths)).type)) for name in paths)]
