"""Rows from files, file by file in order, each streamed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from offline_capi.config.paths import anchor_path
from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.model import AbsentFile, Reason, RowFault, SourceRows, Window
from offline_capi.sources.base import BATCH_ROWS, FilePart, Source, SourceAccess
from offline_capi.sources.columns import check_names, select
from offline_capi.sources.files.csv import csv_columns, cut_csv, read_csv
from offline_capi.sources.files.excel import excel_columns, read_excel
from offline_capi.sources.files.hive import (
    PartitionFile,
    add_partition_columns,
    find_absent_days,
    find_partition_files,
)
from offline_capi.sources.files.jsonl import jsonl_columns, read_jsonl
from offline_capi.sources.files.locate import SETTING, FileLocation, absent_files, list_files, with_variables
from offline_capi.sources.files.parquet import cut_parquet, parquet_columns, parquet_rows, read_parquet
from offline_capi.sources.files.read_batches import FileCut, ReadBatch
from offline_capi.sources.files.streams import estimate_lines, explain_file_errors, recognise_format
from offline_capi.storage.filesystem import hide_credentials, open_filesystem

__all__ = ["FileReader", "join_parts", "read_part"]


class Format(NamedTuple):
    """How a file of one format is read, and how its columns and its rows are told without reading it.

    ``cut`` says where a file that is not compressed can be cut into parts of about so many rows; without it, none can.
    """

    read: Callable[[FileLocation, FileSource, Sequence[str] | None], Iterator[ReadBatch]]
    columns: Callable[[FileLocation, FileSource, Sequence[str] | None], list[tuple[str, str]]]
    rows: Callable[[FileLocation], int | None]
    cut: Callable[[FileLocation, FileSource, Sequence[str] | None, int], Iterator[FileCut]] | None = None


FORMATS: dict[str, Format] = {
    "csv": Format(read_csv, csv_columns, estimate_lines, cut_csv),
    "jsonl": Format(read_jsonl, jsonl_columns, estimate_lines),
    "parquet": Format(read_parquet, parquet_columns, parquet_rows, cut_parquet),
    "excel": Format(read_excel, excel_columns, lambda _: None),
}


class FileReader(Source):
    """The files of a window, day by day, each streamed; they may differ in order of columns, and have more of them."""

    def __init__(self, settings: FileSource, access: SourceAccess) -> None:
        self._settings, self._access = settings, access

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,  # noqa: ARG002  Arrow releases the GIL: another process would gain nothing
    ) -> Iterator[SourceRows]:
        for location, constants in self._find_files(window):
            own = _leave_out(columns, constants)
            for rows in _read_file(location, self._settings, own, batch_rows):
                yield add_partition_columns(rows, constants, columns) if constants else rows

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """Columns of the window's first file."""
        for location, constants in self._find_files(window):
            with explain_file_errors(location, self._settings.encoding):
                known = recognise_format(location, self._settings.format)
                own = FORMATS[known.format].columns(known, self._settings, _leave_out(columns, constants))
                return [*(one for one in own if one[0] not in constants), *((name, "string") for name in constants)]
        return []

    def estimate_rows(self, window: Window) -> int | None:
        """``None`` where one of the files is compressed text."""
        counts = [_rows_of(file.location, self._settings) for file in self._find_files(window)]
        return None if None in counts else sum(filter(None, counts))

    def find_absent_files(self, window: Window) -> list[AbsentFile]:
        access = self._access
        if self._settings.partitioning == "hive":
            return find_absent_days(self._settings, access, window)
        return absent_files(self._settings, window, access.zone, access.environ, access.folder)

    def cut(self, window: Window, rows: int, *, columns: Sequence[str] | None = None) -> list[FilePart] | None:
        if self._settings.partitioning == "hive":  # parts do not carry the columns of their folders
            return None
        path = with_variables(self._settings.path, self._access.environ)
        if hide_credentials(path) != path:
            raise SourceError(
                f"{SETTING}: {hide_credentials(path)} holds a user or a password, which must not leave this machine.\n"
                "Give each machine its own credentials for the store, by its environment or a role, or run with"
                " engine: local. Nothing was sent; repeating is safe."
            )
        return [
            part
            for location, _ in self._find_files(window)
            for part in _cut_file(location, self._settings, columns, rows)
        ]

    def list_datasets(self) -> list[str]:
        """The path up to its first part that stands for several; without what may be a secret."""
        path = anchor_path(with_variables(self._settings.path, self._access.environ), self._access.folder)
        path = path.partition("?")[0] if "://" in path else path
        plain = re.split(r"[*?{\[]", path)[0]
        folder = plain if plain == path else plain.rpartition("/")[0]
        if "://" not in folder:
            return [Path(folder).resolve().as_uri()]
        scheme, _, rest = folder.partition("://")
        return [f"{scheme}://{re.sub(r'^[^/]*@', '', rest)}"]

    def _find_files(self, window: Window) -> list[PartitionFile]:
        access = self._access
        if self._settings.partitioning == "hive":
            return find_partition_files(self._settings, access, window)
        found = list_files(self._settings, window, access.zone, access.environ, access.folder)
        return [PartitionFile(location, {}) for location in found]


def _leave_out(columns: Sequence[str] | None, constants: Collection[str]) -> list[str] | None:
    """The columns that the files themselves have to hold; all where that would be none."""
    return [name for name in columns if name not in constants] or None if columns is not None else None


def _rows_of(location: FileLocation, source: FileSource) -> int | None:
    with explain_file_errors(location, source.encoding):
        known = recognise_format(location, source.format)
        return FORMATS[known.format].rows(known)


def _cut_file(
    location: FileLocation, source: FileSource, columns: Sequence[str] | None, rows: int
) -> Iterator[FilePart]:
    url = location.path if location.local else str(location.fs.unstrip_protocol(location.path))
    with explain_file_errors(location, source.encoding):
        known = recognise_format(location, source.format)
        size, state = known.fs.size(known.path), _find_state(known)
        whole = FilePart(url, known.origin, known.format, known.compression, file_bytes=size, state=state)
        cut = FORMATS[known.format].cut
        cuts = [] if cut is None or known.compression else list(cut(known, source, columns, rows))
        yield from (replace(whole, **one._asdict()) for one in cuts)
        if not cuts:
            yield whole


def read_part(
    part: FilePart, source: FileSource, columns: Sequence[str] | None, batch_rows: int = BATCH_ROWS
) -> Iterator[SourceRows]:
    """The rows of a part, numbered as in the whole file; it needs nothing of the process that cut the window."""
    fs, path = open_filesystem(part.url, SETTING, SourceError)
    location = FileLocation(
        fs,
        path,
        part.origin,
        part.format,
        part.compression,
        source.max_ratio,
        source.max_unpacked_gib,
        part.groups,
        part.span,
    )
    _check_state(part, location, source)
    yield from _read_file(location, source, columns, batch_rows, part.first_row)
    _check_state(part, location, source)


def join_parts(parts: Iterable[FilePart], rows: int) -> Iterator[FilePart]:
    """The same rows; parts of one file that follow each other are one where they have at most ``rows`` together."""
    joined: FilePart | None = None
    for part in parts:
        wider = joined and _extend_part(joined, part)
        if joined and (wider is None or (wider.rows or 0) > rows):
            yield joined
            wider = None
        joined = wider or part
    if joined:
        yield joined


def _extend_part(part: FilePart, other: FilePart) -> FilePart | None:
    """The rows of both; ``None`` where the other's are not the next ones of the file."""
    if (
        part.url != other.url
        or part.rows is None
        or other.rows is None
        or part.first_row + part.rows != other.first_row
    ):
        return None
    groups = part.groups + other.groups if part.groups is not None and other.groups is not None else None
    span = replace(other.span, start=part.span.start, ahead=part.span.ahead) if part.span and other.span else None
    return replace(part, groups=groups, span=span, rows=part.rows + other.rows)


#: What file systems say of a file's content: local ones, S3, Google's, Azure's and HTTP.
_STATE_FACTS = ("size", "mtime", "ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified")


def _find_state(location: FileLocation) -> str:
    info = location.fs.info(location.path)
    return " ".join(f"{name}={info[name]}" for name in _STATE_FACTS if info.get(name) is not None)


def _check_state(part: FilePart, location: FileLocation, source: FileSource) -> None:
    """Raise ``SourceError`` where the file is not what it was when the window was cut: its parts would not fit."""
    location.fs.invalidate_cache()
    with explain_file_errors(location, source.encoding):
        if part.state and _find_state(location) != part.state:
            raise SourceError(
                f"file {location.origin}: it was changed while it was read.\nRun again when its writer is done; writers"
                " should give a file its name when it is whole. Nothing was sent; repeating is safe."
            )


def _read_file(
    location: FileLocation, source: FileSource, columns: Sequence[str] | None, batch_rows: int, first: int = 1
) -> Iterator[SourceRows]:
    with explain_file_errors(location, source.encoding):
        location = recognise_format(location, source.format)
        pieces = FORMATS[location.format].read(location, source, columns)
        for part in ReadBatch.gathered(pieces, batch_rows):
            check_names(part.batch.schema.names, columns, f"file {location.origin}")
            faults = _faults(part, location.format)
            yield SourceRows(select(part.batch, columns), location.origin, first, faults, part.width)
            first += part.batch.num_rows


def _faults(piece: ReadBatch, file_format: str) -> tuple[RowFault, ...]:
    if not len(piece.malformed):
        return ()
    where = np.zeros(piece.batch.num_rows, dtype=bool)
    where[list(piece.malformed)] = True
    reason = Reason.MALFORMED_JSON if file_format == "jsonl" else Reason.MALFORMED_ROW
    return (RowFault(reason, "", pa.array(where)),)
