"""A path in an upload → the files of a window, in order: ``${NAME}``, ``{date}``, patterns, folders, fsspec URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import fsspec
from fsspec.implementations.local import LocalFileSystem

from offline_capi.config.paths import anchor_path
from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.model import AbsentFile, Window
from offline_capi.runtime.border import shown, visible
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources.base import RowSpan
from offline_capi.storage.filesystem import explain_store_errors, hide_credentials, open_filesystem

__all__ = [
    "FORMAT_FACTS",
    "SETTING",
    "FileLocation",
    "absent_files",
    "check_exists",
    "is_data",
    "list_days",
    "list_files",
    "locate_file",
    "open_root",
    "with_variables",
]

SETTING = "source.path"
#: Where relative paths begin unless a project folder is given: at that of the process.
HERE = Path()
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".lz4": "lz4", ".zip": "zip"}


class FormatFacts(NamedTuple):
    """How files of one format are recognised, and what messages call such a file.

    ``suffixes``: ends of names, in lower case. ``first_bytes``: what such files begin with, and no others do.
    """

    called: str
    suffixes: tuple[str, ...]
    first_bytes: tuple[bytes, ...] = ()


#: The formats; ``files.FORMATS`` has how each is read.
FORMAT_FACTS = {
    "csv": FormatFacts("CSV", (".csv",)),
    "jsonl": FormatFacts("JSON", (".jsonl", ".ndjson", ".json")),
    "parquet": FormatFacts("Parquet", (".parquet", ".pq"), (b"PAR1",)),
    # ECMA-376 is a zip archive; before it, and encrypted today, it is a compound file (MS-CFB).
    "excel": FormatFacts("an Excel workbook", (".xlsx", ".xlsm"), (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
}
FORMAT_BY_SUFFIX = {suffix: name for name, facts in FORMAT_FACTS.items() for suffix in facts.suffixes}
# What writers leave beside their data: marks that say "done", checksums, half-written files.
BESIDE = {".crc", ".md5", ".sha1", ".sha256", ".done", ".ok", ".tmp", ".part", ".partial"}

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DATE = re.compile(r"\{date(?::([^{}]+))?\}")
_OPEN_END = re.compile(r"[*?\[]|\{date")


@dataclass(frozen=True, slots=True)
class FileLocation:
    """One file: where it is, and what its name says. ``origin`` is its name relative to the upload's folder.

    ``format`` is ``auto`` where the name does not tell it. ``compression`` may name several layers: ``zip+gzip``.
    ``streams.recognise_format`` gives both as the first bytes of the file say. ``groups`` are the row groups of Parquet
    that are read, ``span`` the rows of a CSV; ``None``: all.
    """

    fs: Any
    path: str
    origin: str
    format: str
    compression: str | None
    max_ratio: int
    max_unpacked_gib: int
    groups: tuple[int, ...] | None = None
    span: RowSpan | None = None

    @property
    def local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)


def list_files(
    source: FileSource, window: Window, zone: str, environ: Mapping[str, str], folder: Path = HERE
) -> list[FileLocation]:
    """The files of the window's days, day by day, sorted within a day; each once.

    ``folder`` is where a relative path begins. No file for the window is an empty window here, and ``absent_files``
    says which are lacking. The folder has to be there, and so has the file that a path without pattern and date names,
    unless ``source.optional`` says that it may be missing.
    """
    path = anchor_path(with_variables(source.path, environ), folder)
    root, fs = open_root(path, source.path)
    with explain_store_errors(source.path, SETTING, SourceError):
        found = dict.fromkeys(file for pattern in _dated(path, window, zone) for file in _matches(fs, pattern))
        if not found:
            check_exists(fs, root, path, source.path, optional=source.optional)
        base = root if fs.isdir(root) else root.rpartition("/")[0]
    return [locate_file(fs, file, base, source) for file in found]


def absent_files(
    source: FileSource, window: Window, zone: str, environ: Mapping[str, str], folder: Path = HERE
) -> list[AbsentFile]:
    """The days of the window for which there is no file, in order; of an undated path one entry without a day.

    Give it the window without its look-back: what an earlier day lacked, the run of that day has said.
    """
    path = anchor_path(with_variables(source.path, environ), folder)
    _, fs = open_root(path, source.path)
    days = list(list_days(window, zone)) if _DATE.search(path) else [None]
    with explain_store_errors(source.path, SETTING, SourceError):
        there = {pattern: bool(_matches(fs, pattern)) for pattern in _dated(path, window, zone)}
    return [
        AbsentFile(day, hide_credentials(_of_day(source.path, day)), optional=source.optional)
        for day in days
        if not there[_of_day(path, day)]
    ]


# ---------------------------------------------------------------------------------------------- the text of the path


def with_variables(path: str, environ: Mapping[str, str], setting: str = SETTING) -> str:
    """The path with each ``${NAME}`` filled in; raises ``SourceError`` where one of them is not set."""
    return _VARIABLE.sub(lambda match: _variable(match[1], path, environ, setting), path)


def _variable(name: str, path: str, environ: Mapping[str, str], setting: str) -> str:
    if not environ.get(name):
        raise SourceError(
            f"{setting}: the environment variable {name} is not set, but {hide_credentials(path)} needs it.\n"
            f"Set {name} where the job runs (in Airflow: for the worker, or as an Airflow variable). Nothing was sent; "
            "repeating is safe."
        )
    return environ[name]


def _dated(path: str, window: Window, zone: str) -> list[str]:
    """The path once for each local day that the window touches."""
    return list(dict.fromkeys(_of_day(path, day) for day in list_days(window, zone)))


def _of_day(path: str, day: date | None) -> str:
    """The path of a day; one without a date is that of all days."""
    return path if day is None else _DATE.sub(lambda match: day.strftime(match[1] or "%Y-%m-%d"), path)


def list_days(window: Window, zone: str) -> Iterator[date]:
    """Half-open: a window that ends at midnight does not touch the day that begins then."""
    local = ZoneInfo(zone)
    day = window.since.astimezone(local).date()
    last = (window.until - timedelta(microseconds=1)).astimezone(local).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


# ---------------------------------------------------------------------------------------------- the file system


def open_root(path: str, written: str) -> tuple[str, Any]:
    """The part before the first pattern or date, up to its last slash, and the file system it is on."""
    open_end = _OPEN_END.search(path)
    head = path[: open_end.start()].rpartition("/")[0] + "/" if open_end else path
    head = "." if head == "/" and not path.startswith("/") else head
    fs, root = open_filesystem(head, SETTING, SourceError, shown=written)
    return root.rstrip("/") or "/", fs


def _matches(fs: Any, pattern: str) -> list[str]:
    path = fsspec.core.url_to_fs(pattern)[1]
    if fs.isdir(path):
        return sorted(file for file in fs.find(path) if is_data(file[len(path) :]))
    if fs.exists(path):
        return [path]
    return sorted(file for file in fs.glob(path) if not fs.isdir(file)) if _OPEN_END.search(path) else []


def is_data(relative: str) -> bool:
    """Hidden files, markers such as ``_SUCCESS`` and what writers leave beside their data are not rows."""
    parts = PurePosixPath(relative.strip("/")).parts
    return not any(part.startswith((".", "_")) for part in parts) and PurePosixPath(relative).suffix not in BESIDE


def _as_written(written: str, root: str, path: str) -> str:
    """A path for people: with its variables as the YAML has them, for one of them may be a secret."""
    if _VARIABLE.search(written) or "://" in path:
        return hide_credentials(written)
    return root


def _suggested(siblings: list[str], written: str) -> list[str]:
    """Names of files that may be shown where one is near the configured name; none beside a variable's value."""
    last = written.rpartition("/")[2]
    return [] if _VARIABLE.search(last) else [shown(name) for name in siblings if "@" not in name]


def check_exists(fs: Any, root: str, path: str, written: str, *, optional: bool) -> None:
    """A file may be optional, its folder never: that is a wrong path, or a disk that is not mounted."""
    if optional and not _OPEN_END.search(path):
        # An object store has no folders: there a file that is missing looks like one whose folder is.
        root = root.rpartition("/")[0] if isinstance(fs, LocalFileSystem) else ""
    if not root or fs.exists(root):
        return
    folder, _, name = root.rpartition("/")
    siblings = [file.rpartition("/")[2] for file in fs.ls(folder, detail=False)] if fs.isdir(folder) else []
    guess = did_you_mean(name, _suggested(siblings, written))
    raise SourceError(
        f"{SETTING}: there is no {_as_written(written, root, path)}{guess}\n"
        "Correct the path (a relative one begins at the project folder), or look whether the export has run; where the "
        "file may be missing, set source.optional: true. Nothing was sent; repeating is safe."
    )


# ---------------------------------------------------------------------------------------------- the file's name


def locate_file(fs: Any, path: str, base: str, source: FileSource) -> FileLocation:
    origin = visible(path.removeprefix(base).lstrip("/"))
    pure = PurePosixPath(path)
    compression = COMPRESSIONS.get(pure.suffix.lower())
    suffix = (pure.with_suffix("") if compression else pure).suffix.lower()
    file_format = FORMAT_BY_SUFFIX.get(suffix, "auto") if source.format == "auto" else source.format
    return FileLocation(fs, path, origin, file_format, compression, source.max_ratio, source.max_unpacked_gib)
