"""Parquet: typed columns, row group by row group; types are brought to the seven kinds of this room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from offline_capi.config.settings import FileSource
from offline_capi.sources.columns import check_names, plain
from offline_capi.sources.pieces import Piece
from offline_capi.sources.places import Place
from offline_capi.sources.streams import seekable

__all__ = ["parquet_columns", "parquet_rows", "read_parquet"]

BATCH_ROWS = 32_768
# Of each column, read as it is needed: without, a row group is in memory whole, a million rows of it by default.
BUFFER_BYTES = 1 << 18


def read_parquet(place: Place, _: FileSource, columns: Sequence[str] | None) -> Iterator[Piece]:
    file = parquet.ParquetFile(seekable(place), pre_buffer=False, buffer_size=BUFFER_BYTES)
    paths = _paths(file.schema_arrow)
    check_names([*file.schema_arrow.names, *paths], columns, f"file {place.origin}")
    wanted = None if columns is None else list(columns)
    for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=True):
        names = batch.schema.names if columns is None else columns
        columns_of_batch = [plain(_column(batch, name, paths)) for name in names]
        yield Piece(pa.RecordBatch.from_arrays(columns_of_batch, list(names)), (), len(file.schema_arrow))


def _paths(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The members of structs by their dotted names (``customer.email``), but for those that a column is called."""

    def members(path: tuple[str, ...], kind: pa.DataType) -> Iterator[tuple[str, ...]]:
        for field in kind if pa.types.is_struct(kind) else ():
            yield (*path, field.name)
            yield from members((*path, field.name), field.type)

    paths = (path for field in schema for path in members((field.name,), field.type))
    return {name: path for path in paths if (name := ".".join(path)) not in schema.names}


def _column(batch: pa.RecordBatch, name: str, paths: dict[str, tuple[str, ...]]) -> pa.Array:
    first, *members = paths.get(name, (name,))
    return pc.struct_field(batch.column(first), members) if members else batch.column(first)


def parquet_rows(place: Place) -> int:
    return int(parquet.ParquetFile(seekable(place)).metadata.num_rows)


def parquet_columns(place: Place, _: FileSource, __: Sequence[str] | None) -> list[tuple[str, str]]:
    schema = parquet.ParquetFile(seekable(place)).schema_arrow
    own = [(field.name, str(plain(pa.nulls(0, field.type)).type)) for field in schema]
    empty = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema.names)
    paths = _paths(schema)
    return [*own, *((name, str(plain(_column(empty, name, paths)).type)) for name in paths)]
