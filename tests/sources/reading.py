"""How the tests of this folder read: every row of a window, as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline_capi.config.source import FileSource, SqlSource
from offline_capi.model import SourceRows, Window
from offline_capi.sources import Source, SourceAccess, open_source

DAY = date(2026, 11, 23)
ZONE = "Europe/Berlin"
WINDOW = Window.of_day(DAY, ZONE)


def batches(
    source: FileSource | SqlSource,
    *,
    url: str = "",
    window: Window = WINDOW,
    columns: list[str] | None = None,
    environ: Mapping[str, str] | None = None,
    sql_folder: Path = Path("sql"),
    batch_rows: int = 65_536,
    zone: str = ZONE,
) -> list[SourceRows]:
    access = SourceAccess(zone, lambda _: url, sql_folder, environ=environ or {})
    return list(open_source(source, access).read(window, columns=columns, batch_rows=batch_rows))


def rows(source: FileSource | SqlSource, **options: Any) -> list[dict[str, Any]]:
    return [row for part in batches(source, **options) for row in part.batch.to_pylist()]


def columns_of(source: FileSource | SqlSource, url: str = "") -> list[tuple[str, str]]:
    return open_at(source, url).read_columns(WINDOW)


def open_at(source: FileSource | SqlSource, url: str = "", *, zone: str = ZONE) -> Source:
    return open_source(source, SourceAccess(zone, lambda _: url, environ={}))


def query(sql: str) -> SqlSource:
    return SqlSource(connection="warehouse", sql=sql)


def files(path: object, **options: Any) -> FileSource:
    return FileSource(path=str(path), **options)


def repeat_values(kind: pa.DataType, values: Sequence[object], rows: int) -> pa.Array:
    """A column of these values in turn, in which one of seven is missing."""
    return pa.array([None if at % 7 == 3 else values[at % len(values)] for at in range(rows)], kind)
