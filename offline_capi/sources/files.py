"""Rows from files, file by file in order, each streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from offline_capi.config.source import FileSource
from offline_capi.model import Reason, RowFault, SourceRows, Window
from offline_capi.sources.columns import check_names, select
from offline_capi.sources.csv_files import csv_columns, read_csv
from offline_capi.sources.excel_files import excel_columns, read_excel
from offline_capi.sources.json_lines import jsonl_columns, read_jsonl
from offline_capi.sources.locate import Place, files_of
from offline_capi.sources.parquet_files import parquet_columns, parquet_rows, read_parquet
from offline_capi.sources.pieces import Piece
from offline_capi.sources.streams import explained, lines_about, recognised

__all__ = ["file_columns", "file_rows", "read_files"]


class Format(NamedTuple):
    """How a file of one format is read, and how its columns and its rows are told without reading it."""

    read: Callable[[Place, FileSource, Sequence[str] | None], Iterator[Piece]]
    columns: Callable[[Place, FileSource, Sequence[str] | None], list[tuple[str, str]]]
    rows: Callable[[Place], int | None]


FORMATS: dict[str, Format] = {
    "csv": Format(read_csv, csv_columns, lines_about),
    "jsonl": Format(read_jsonl, jsonl_columns, lines_about),
    "parquet": Format(read_parquet, parquet_columns, parquet_rows),
    "excel": Format(read_excel, excel_columns, lambda _: None),
}


def read_files(
    source: FileSource,
    window: Window,
    zone: str,
    *,
    columns: Sequence[str] | None,
    batch_rows: int,
    environ: Mapping[str, str],
    folder: Path,
) -> Iterator[SourceRows]:
    """Every row of every file of the window; files may differ in the order of columns, and have more than needed."""
    for place in files_of(source, window, zone, environ, folder):
        yield from _read_file(place, source, columns, batch_rows)


def file_columns(
    source: FileSource,
    window: Window,
    zone: str,
    *,
    columns: Sequence[str] | None,
    environ: Mapping[str, str],
    folder: Path,
) -> list[tuple[str, str]]:
    """Columns of the window's first file; empty where there is none."""
    for place in files_of(source, window, zone, environ, folder):
        with explained(place, source.encoding):
            known = recognised(place, source.format)
            return FORMATS[known.format].columns(known, source, columns)
    return []


def file_rows(source: FileSource, window: Window, zone: str, *, environ: Mapping[str, str], folder: Path) -> int | None:
    """About how many rows the window's files have; ``None`` where one of them is compressed text."""
    counts = [_rows_of(place, source) for place in files_of(source, window, zone, environ, folder)]
    return None if None in counts else sum(filter(None, counts))


def _rows_of(place: Place, source: FileSource) -> int | None:
    with explained(place, source.encoding):
        known = recognised(place, source.format)
        return FORMATS[known.format].rows(known)


def _read_file(
    place: Place, source: FileSource, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[SourceRows]:
    first = 1
    with explained(place, source.encoding):
        place = recognised(place, source.format)
        pieces = FORMATS[place.format].read(place, source, columns)
        for part in Piece.gathered(pieces, batch_rows):
            check_names(part.batch.schema.names, columns, f"file {place.origin}")
            yield SourceRows(select(part.batch, columns), place.origin, first, _faults(part, place.format), part.width)
            first += part.batch.num_rows


def _faults(piece: Piece, file_format: str) -> tuple[RowFault, ...]:
    if not len(piece.malformed):
        return ()
    where = np.zeros(piece.batch.num_rows, dtype=bool)
    where[list(piece.malformed)] = True
    reason = Reason.MALFORMED_JSON if file_format == "jsonl" else Reason.MALFORMED_ROW
    return (RowFault(reason, "", pa.array(where)),)
