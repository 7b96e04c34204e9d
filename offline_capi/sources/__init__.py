"""Rows in: from files (CSV, JSON lines, Parquet; local or object storage) and from SQL.

``read_batches`` streams a window of an upload's source as Arrow batches, in bounded memory and in an order that is the
same on every run. Whatever the source is, columns come in seven kinds only: ``string``, ``int64``, ``float64``,
decimals, ``bool``, ``date32`` and ``timestamp[us]`` (with zone UTC where the source's values are aware). All else
(UUIDs, bytes, nested values) becomes text without loss. Numbers stay numbers: a decimal mark that an upload declares
speaks of text alone.

Nothing here knows what a column means; nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from offline_capi.config.source import FileSource, SqlSource
from offline_capi.model import AbsentFile, SourceRows, Window
from offline_capi.sources.prefetch import read_ahead
from offline_capi.sources.sql import count_rows, joined, query_columns, read_query
from offline_capi.sources.subprocess_reader import read_apart

__all__ = ["absent_files", "expected_rows", "read_ahead", "read_batches", "source_columns"]

#: Where relative paths of files begin: at the process's own folder, unless a project's is given.
HERE = Path()
BATCH_ROWS = 65_536
#: Rows that travel from one process to another at once: both hold them meanwhile.
APART_ROWS = 8_192


def read_batches(
    source: SqlSource | FileSource,
    window: Window,
    *,
    zone: str,
    connection_url: Callable[[str], str],
    sql_folder: Path,
    columns: Sequence[str] | None = None,
    batch_rows: int = BATCH_ROWS,
    environ: Mapping[str, str] = os.environ,
    folder: Path = HERE,
    apart: bool = False,
) -> Iterator[SourceRows]:
    """Rows of ``window``, at most ``batch_rows`` a batch; nothing where the window is empty.

    With ``columns`` every batch has exactly these, and a file or query that lacks one raises ``SourceSchemaError``;
    without, every column comes as it is. Lines that cannot be split into columns come as rows of nulls with a fault,
    in their place. ``SourceError`` when the source cannot be read to its end: what was yielded before is right, but
    not the whole window.

    ``folder`` is where a relative path of a file begins. ``apart`` reads a query in a process of its own, which costs
    half a second to start and leaves this one free.
    """
    if isinstance(source, SqlSource):
        query = partial(read_query, columns=columns, batch_rows=min(batch_rows, APART_ROWS) if apart else batch_rows)
        arguments = (source, window, zone, connection_url(source.connection), sql_folder)
        yield from joined(read_apart(query, *arguments), batch_rows) if apart else query(*arguments)
    else:
        from offline_capi.sources.files import read_files  # not needed where a query is read apart: 30 MiB

        yield from read_files(
            source, window, zone, columns=columns, batch_rows=batch_rows, environ=environ, folder=folder
        )


def source_columns(
    source: SqlSource | FileSource,
    window: Window,
    *,
    zone: str,
    connection_url: Callable[[str], str],
    sql_folder: Path,
    columns: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    folder: Path = HERE,
) -> list[tuple[str, str]]:
    """Names and types of the columns, from a header or a few rows; empty where the window has no file to look at.

    ``columns`` are those that an upload reads: by them a header is found that is not in the first line. The type
    is ``unknown`` where the rows looked at hold only nulls.
    """
    if isinstance(source, SqlSource):
        return query_columns(source, window, zone, connection_url(source.connection), sql_folder)
    from offline_capi.sources.files import file_columns

    return file_columns(source, window, zone, columns=columns, environ=environ, folder=folder)


def expected_rows(
    source: SqlSource | FileSource,
    window: Window,
    *,
    zone: str,
    connection_url: Callable[[str], str],
    sql_folder: Path,
    environ: Mapping[str, str] = os.environ,
    folder: Path = HERE,
) -> int | None:
    """About how many rows a run will read, for a progress bar; ``None`` where only reading them would tell."""
    if isinstance(source, SqlSource):
        return count_rows(source, window, zone, connection_url(source.connection), sql_folder)
    from offline_capi.sources.files import file_rows

    return file_rows(source, window, zone, environ=environ, folder=folder)


def absent_files(
    source: SqlSource | FileSource,
    window: Window,
    *,
    zone: str,
    environ: Mapping[str, str] = os.environ,
    folder: Path = HERE,
    **_: Any,
) -> list[AbsentFile]:
    """The files of the window that are not there now, day by day; none of a query, which is asked or fails."""
    if isinstance(source, SqlSource):
        return []
    from offline_capi.sources import locate

    return locate.absent_files(source, window, zone, environ, folder)
