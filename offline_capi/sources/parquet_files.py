"""Parquet: typed columns, row group by row group; types are brought to the six kinds of this room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
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
    check_names(file.schema_arrow.names, columns, f"file {place.origin}")
    wanted = None if columns is None else list(columns)
    for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=True):
        yield Piece(pa.RecordBatch.from_arrays([plain(column) for column in batch.columns], batch.schema.names))


def parquet_rows(place: Place) -> int:
    return int(parquet.ParquetFile(seekable(place)).metadata.num_rows)


def parquet_columns(place: Place, _: FileSource) -> list[tuple[str, str]]:
    schema = parquet.ParquetFile(seekable(place)).schema_arrow
    return [(field.name, str(plain(pa.nulls(0, field.type)).type)) for field in schema]
