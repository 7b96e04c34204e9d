"""Folders called COLUMN=VALUE, as Hive and Spark write them: their columns, and which of them a window needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from offline_capi.config.paths import anchor_path
from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.model import AbsentFile, RowPlacement, SourceRows, Window
from offline_capi.sources.base import SourceAccess
from offline_capi.sources.files.locate import (
    SETTING,
    FileLocation,
    check_exists,
    is_data,
    list_days,
    locate_file,
    open_root,
    with_variables,
)
from offline_capi.sources.pruning import holds_constants
from offline_capi.storage.filesystem import explain_store_errors, hide_credentials

__all__ = ["PartitionFile", "add_partition_columns", "find_absent_days", "find_partition_files"]

#: How Hive writes a null into a folder's name.
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


class PartitionFile(NamedTuple):
    """A file, and the columns that its folders' names give."""

    location: FileLocation
    constants: Mapping[str, pa.Scalar]


def find_partition_files(source: FileSource, access: SourceAccess, window: Window) -> list[PartitionFile]:
    """The files of the window in the order of their paths; folders of other windows are not listed."""
    path = anchor_path(with_variables(source.path, access.environ), access.folder)
    root, fs = open_root(f"{path.rstrip('/')}/", source.path)
    with explain_store_errors(source.path, SETTING, SourceError):
        check_exists(fs, root, path, source.path, optional=source.optional)
        files = list(_walk(fs, root, {}, access.placement, window)) if fs.isdir(root) else []
    return [PartitionFile(locate_file(fs, file, root, source), constants) for file, constants in files]


def _walk(
    fs: Any, folder: str, constants: Mapping[str, pa.Scalar], placement: RowPlacement | None, window: Window
) -> Iterator[tuple[str, Mapping[str, pa.Scalar]]]:
    for entry in sorted(fs.ls(folder, detail=True), key=lambda entry: str(entry["name"])):
        path = str(entry["name"]).rstrip("/")
        name = path.rpartition("/")[2]
        if path == folder or not is_data(name):
            continue
        if entry["type"] != "directory":
            yield path, constants
            continue
        column, mark, value = name.partition("=")
        own = {**constants, unquote(column): _read_value(value)} if mark and column else constants
        if own is constants or holds_constants(placement, window, own):
            yield from _walk(fs, path, own, placement, window)


def _read_value(text: str) -> pa.Scalar:
    return pa.scalar(None if text == NULL_FOLDER else unquote(text), pa.string())


def find_absent_days(source: FileSource, access: SourceAccess, window: Window) -> list[AbsentFile]:
    """The days of the window without any file; all at once where folders do not say the day, or there is none."""
    files, placement = find_partition_files(source, access, window), access.placement
    shown = hide_credentials(source.path).rstrip("/")
    columns = placement.columns if placement else ()
    if not files and not _has_folders_of(source, access, columns):
        return [AbsentFile(None, shown, optional=source.optional)]
    if placement is None or not columns or any(not set(columns) <= file.constants.keys() for file in files):
        return []
    folders = {tuple(file.constants[name].as_py() for name in columns): file.constants for file in files}
    pattern = "/".join([shown, *(f"{name}=…" for name in columns)])
    return [
        AbsentFile(day, f"{pattern} of {day}", optional=source.optional)
        for day in list_days(window, access.zone)
        if not any(holds_constants(placement, _cut_to_day(window, day, access.zone), one) for one in folders.values())
    ]


def _has_folders_of(source: FileSource, access: SourceAccess, columns: tuple[str, ...]) -> bool:
    """Whether the columns by which rows are placed are those of folders, by the first folder of each level."""
    path = anchor_path(with_variables(source.path, access.environ), access.folder)
    root, fs = open_root(f"{path.rstrip('/')}/", source.path)
    found: set[str] = set()
    with explain_store_errors(source.path, SETTING, SourceError):
        while root and fs.isdir(root) and not set(columns) <= found:
            names = [
                str(entry["name"]).rstrip("/") for entry in fs.ls(root, detail=True) if entry["type"] == "directory"
            ]
            root = min((name for name in names if "=" in name.rpartition("/")[2]), default="")
            found.add(unquote(root.rpartition("/")[2].partition("=")[0]))
    return bool(columns) and set(columns) <= found


def _cut_to_day(window: Window, day: date, zone: str) -> Window:
    whole = Window.of_day(day, zone)
    return Window(max(window.since, whole.since), min(window.until, whole.until))


def add_partition_columns(
    rows: SourceRows, constants: Mapping[str, pa.Scalar], columns: Sequence[str] | None
) -> SourceRows:
    """The rows with the columns of their folders, which count before columns of the file that have the same name."""
    own = {name: rows.batch.column(name) for name in rows.batch.schema.names}
    own |= {name: pa.repeat(value, len(rows)) for name, value in constants.items()}
    names = list(own) if columns is None else list(columns)
    batch = pa.RecordBatch.from_arrays([own[name] for name in names], names)
    return SourceRows(batch, rows.origin, rows.first_row, rows.faults, rows.width)
