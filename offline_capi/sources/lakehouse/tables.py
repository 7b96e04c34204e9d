"""One state of a table: its columns, and the Parquet files that hold the rows of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from offline_capi.errors import SourceError
from offline_capi.model import SourceRows, Window
from offline_capi.runtime.border import shown
from offline_capi.sources.columns import plain
from offline_capi.sources.files.parquet import find_members, open_parquet, read_batches, take_column
from offline_capi.sources.files.read_batches import ReadBatch
from offline_capi.sources.files.streams import EXPECTED
from offline_capi.sources.pruning import Bounds
from offline_capi.storage.filesystem import HOW_TO_REACH, UNUSABLE, is_fault_of_store

__all__ = ["SAFE", "Table", "TableFile", "list_column_names", "list_columns", "parse_as_of", "read_table_rows"]

SAFE = "Nothing was sent from it after that point; repeating is safe."
#: Of a row group, unpacked, in one batch: a footer that says how large its rows are is the table's own.
BATCH_BYTES = 64 << 20
BATCH_ROWS = 32_768

MatchField = Callable[[pa.Field, Sequence[pa.Field]], "pa.Field | None"]


@dataclass(frozen=True, slots=True)
class TableFile:
    """A Parquet file of a table.

    ``constants`` are values for columns that the file lacks: those of its partition, and defaults. ``kept`` gives the
    rows that are still there by a mask (which may end before the file does), ``None`` where nothing was deleted.
    ``bounds`` is what is read of it, and ``window`` which of its rows are meant, where that is not the run's own.
    """

    path: str
    rows: int | None
    open: Callable[[], Any]
    bounds: Bounds | None = None
    window: Window | None = None
    constants: Mapping[str, pa.Scalar] = field(default_factory=dict)
    kept: Callable[[], np.ndarray[Any, np.dtype[np.bool_]] | None] = lambda: None

    @property
    def name(self) -> str:
        """For people, without its folders: they are called like values of columns."""
        return shown(self.path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Table:
    """``described`` names the table for people, and ``origin`` its rows.

    ``match`` finds a column of the table among those of a file.
    """

    described: str
    origin: str
    schema: pa.Schema
    files: Sequence[TableFile]
    match: MatchField


def parse_as_of(text: str, zone: str) -> Any:
    """A moment as the configuration writes it, aware."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def list_column_names(schema: pa.Schema) -> list[str]:
    return [*schema.names, *find_members(schema)]


def list_columns(schema: pa.Schema) -> list[tuple[str, str]]:
    """Names and types, as rows come."""
    empty = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema.names)
    members = find_members(schema)
    return [(name, str(plain(take_column(empty, name, members)).type)) for name in [*schema.names, *members]]


def read_table_rows(table: Table, columns: Sequence[str] | None, batch_rows: int) -> Iterator[SourceRows]:
    """Rows of all files, numbered through; those of row groups that surely lie outside of the bounds are not read."""
    first, wanted = 1, list(table.schema.names if columns is None else columns)
    for window, files in groupby(table.files, key=lambda file: file.window):
        pieces = (piece for file in files for piece in _read_file(table, file, wanted))
        for part in ReadBatch.gathered(pieces, batch_rows):
            yield SourceRows(part.batch, table.origin, first, (), part.width, window)
            first += part.batch.num_rows


def _read_file(table: Table, source: TableFile, wanted: Sequence[str]) -> Iterator[ReadBatch]:
    members = find_members(table.schema)
    tops = list(dict.fromkeys(members.get(name, (name,))[0] for name in wanted))
    with _explained(table, source), closing(source.open()) as content:
        file, kept = open_parquet(content), source.kept()
        theirs = {name: table.match(table.schema.field(name), list(file.schema_arrow)) for name in tops}
        reads = [own.name for own in theirs.values() if own is not None]
        groups, starts = _choose_groups(table, source.bounds, file)
        for batch, start in read_batches(file, groups, starts, _count_rows_per_batch(file), reads):
            if kept is not None and start < len(kept):
                mask = np.ones(len(batch), dtype=bool)
                known = kept[start : start + len(batch)]
                mask[: len(known)] = known
                batch = batch.filter(pa.array(mask))
            if len(batch):
                arrays = [_conform_column(table, source, name, theirs[name], batch) for name in tops]
                whole = pa.RecordBatch.from_arrays(arrays, tops)
                values = [plain(take_column(whole, name, members)) for name in wanted]
                yield ReadBatch(pa.RecordBatch.from_arrays(values, list(wanted)), (), len(table.schema))


def _count_rows_per_batch(file: parquet.ParquetFile) -> int:
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    rooms: list[int] = [BATCH_BYTES * one.num_rows // max(1, one.total_byte_size) for one in groups if one.num_rows]
    return max(1, min([BATCH_ROWS, *rooms]))


# ---------------------------------------------------------------------------------------------- row groups


def _choose_groups(table: Table, bounds: Bounds | None, file: parquet.ParquetFile) -> tuple[list[int], list[int]]:
    """The row groups to read, and the number of rows before each."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    starts = [0, *np.cumsum(sizes).tolist()]
    own = table.match(table.schema.field(bounds.column), list(file.schema_arrow)) if bounds else None
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    at = paths.index(own.name) if own is not None and own.name in paths else None
    chosen = [number for number in range(len(sizes)) if at is None or _may_hold(file, number, at, bounds)]
    return chosen, [starts[number] for number in chosen]


def _may_hold(file: parquet.ParquetFile, group: int, column: int, bounds: Bounds | None) -> bool:
    statistics = file.metadata.row_group(group).column(column).statistics
    if bounds is None or statistics is None or not statistics.has_min_max or not statistics.has_null_count:
        return True
    return bool(statistics.null_count) or bounds.may_hold(statistics.min, statistics.max)


# ---------------------------------------------------------------------------------------------- columns


def _conform_column(
    table: Table, source: TableFile, name: str, own: pa.Field | None, batch: pa.RecordBatch
) -> pa.Array:
    """The column in the type that the table declares: a file may be older than the table's schema."""
    wanted = table.schema.field(name)
    if own is None:
        constant = source.constants.get(name, pa.scalar(None, wanted.type))
        return pa.repeat(constant, len(batch)).cast(wanted.type)
    try:
        return _conform(batch.column(own.name), own, wanted, table.match)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise SourceError(
            f'{table.described}: the column "{shown(name)}" is {shown(str(own.type))} in its file {source.name},'
            f" which cannot be read as {shown(str(wanted.type))}, the type that the table declares.\nRewrite the file, "
            f"or leave the column out of the upload. {SAFE}"
        ) from None


def _conform(values: pa.Array, own: pa.Field, wanted: pa.Field, match: MatchField) -> pa.Array:
    kind = wanted.type
    if pa.types.is_struct(kind) and pa.types.is_struct(own.type):
        parts = {}
        for child in kind:
            theirs = match(child, list(own.type))
            parts[child.name] = (
                pa.nulls(len(values), child.type)
                if theirs is None
                else _conform(pc.struct_field(values, theirs.name), theirs, child, match)
            )
        return pa.StructArray.from_arrays(list(parts.values()), list(parts), mask=values.is_null())
    if _is_list(kind) and _is_list(own.type):
        items = _conform(values.flatten(), own.type.value_field, kind.value_field, match)
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(ends, items, mask=values.is_null())
    if isinstance(kind, pa.BaseExtensionType):
        return (
            values if values.type == kind else pa.ExtensionArray.from_storage(kind, pc.cast(values, kind.storage_type))
        )
    if values.type == kind or _are_texts(values.type, kind) or pa.types.is_nested(kind):
        return values
    return pc.cast(values, kind, safe=not pa.types.is_timestamp(kind))  # of nanoseconds, those are cut


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _are_texts(one: pa.DataType, other: pa.DataType) -> bool:
    return all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in (one, other))


# ---------------------------------------------------------------------------------------------- faults


@contextmanager
def _explained(table: Table, source: TableFile) -> Iterator[None]:
    """What libraries raise over a file of the table, as what its owner can act on; their words are not passed on."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, EXPECTED) and not is_fault_of_store(error):
            raise
        if is_fault_of_store(error):
            what, fix = UNUSABLE, HOW_TO_REACH
        elif isinstance(error, FileNotFoundError):
            what = f"its file {source.name} is gone, although this state of the table has it"
            fix = (
                "It was vacuumed, expired or deleted by hand: read a newer state (no version, snapshot or as_of), or"
                " restore it."
            )
        elif isinstance(error, PermissionError):
            what, fix = f"its file {source.name} may not be read", "Grant read access to whoever runs the job."
        else:
            what = f"its file {source.name} is not a whole Parquet file"
            fix = "Restore the file, or read an older state of the table."
        raise SourceError(f"{table.described}: {what}.\n{fix} {SAFE}") from None
