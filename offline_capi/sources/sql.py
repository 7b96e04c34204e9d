"""Rows from a query, through SQLAlchemy, streamed: server-side cursors where the database has them.

The query sees ``:since`` and ``:until`` (naive wall time in the upload's zone) and ``:since_utc`` and ``:until_utc``
(aware). SQLite has no type for time: there they are text, ``YYYY-MM-DD HH:MM:SS``, the utc pair in UTC, so that one
query runs unchanged on SQLite and on PostgreSQL.

A column keeps the kind of its first batch that has values; a later batch that does not fit it is text.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from offline_capi.config.nearest import did_you_mean
from offline_capi.config.settings import SqlSource
from offline_capi.errors import SourceError
from offline_capi.model import SourceRows, Window
from offline_capi.sources.columns import check_names, column_of
from offline_capi.sources.database_errors import Where, explained

__all__ = ["count_rows", "joined", "query_columns", "read_query"]

# Rows asked for at a time: few enough to stay in the processor's cache until they are Arrow columns, which halves the
# time that 8,192 take.
FETCH_ROWS = 1_024
PROBE_ROWS = 100
CONNECT_SECONDS = 15
STREAMING = {"stream_results": True, "yield_per": FETCH_ROWS}
LOCAL, INSTANT = sa.DateTime(), sa.DateTime(timezone=True)
PARAMETERS = {"since": LOCAL, "until": LOCAL, "since_utc": INSTANT, "until_utc": INSTANT}


def read_query(
    source: SqlSource,
    window: Window,
    zone: str,
    url: str,
    sql_folder: Path,
    *,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[SourceRows]:
    """The rows of the query, in its own order; a query that should be the same on every run says ``ORDER BY``."""
    where = Where(source.connection, _origin(source))
    with _executed(source, window, zone, url, sql_folder, where) as (names, fetch):
        check_names(names, columns, f"{where.origin}")
        yield from joined(_numbered(_batches(fetch, names, columns or names), where.origin), batch_rows)


def joined(parts: Iterable[SourceRows], rows: int) -> Iterator[SourceRows]:
    """The same, put together to at most ``rows`` rows each, as far as the kinds of their columns allow."""
    held: list[SourceRows] = []
    for part in parts:
        if held and (part.batch.schema != held[0].batch.schema or sum(map(len, held)) + len(part) > rows):
            yield _together(held)
            held = []
        held.append(part)
    if held:
        yield _together(held)


def _together(parts: Sequence[SourceRows]) -> SourceRows:
    return SourceRows(pa.concat_batches([part.batch for part in parts]), parts[0].origin, parts[0].first_row)


def _numbered(batches: Iterable[pa.RecordBatch], origin: str) -> Iterator[SourceRows]:
    first = 1
    for batch in batches:
        yield SourceRows(batch, origin, first)
        first += batch.num_rows


def count_rows(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> int:
    """How many rows the query has, counted by the database."""
    query = _text_of(source, sql_folder).strip().rstrip(";")
    counting = SqlSource(connection=source.connection, sql=f"SELECT count(*) AS n FROM (\n{query}\n) AS counted")  # noqa: S608  the user's own query
    with _executed(counting, window, zone, url, sql_folder, Where(source.connection, _origin(source))) as (_, fetch):
        return int(fetch(1)[0][0])


def query_columns(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> list[tuple[str, str]]:
    """The query's columns, typed by its first rows."""
    where = Where(source.connection, _origin(source))
    with _executed(source, window, zone, url, sql_folder, where) as (names, fetch):
        rows = fetch(PROBE_ROWS)
    values: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * len(names)
    return [(name, _kind_name(column)) for name, column in zip(names, values, strict=True)]


def _kind_name(values: Sequence[Any]) -> str:
    return "unknown" if all(value is None for value in values) else str(column_of(values).type)


def _origin(source: SqlSource) -> str:
    return source.sql if source.is_file else "query"


# ---------------------------------------------------------------------------------------------- the query

Fetch = Callable[[int], Sequence[Any]]


@contextmanager
def _executed(
    source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path, where: Where
) -> Iterator[tuple[list[str], Fetch]]:
    """The query, executed: the names of its columns, and a function that fetches its next rows."""
    query = _text_of(source, sql_folder)
    with explained(where):
        engine = _engine(url, where)
    try:
        with explained(where, engine), engine.connect() as connection:
            _make_read_only(connection)
            statement, values = _bound(query, window, zone, connection.dialect, where)
            result = connection.execute(statement, values, execution_options=STREAMING)
            yield list(result.keys()), _fetching(connection, result)
    finally:
        engine.dispose()


def _text_of(source: SqlSource, sql_folder: Path) -> str:
    if not source.is_file:
        return source.sql
    path = sql_folder / source.sql
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        names = [str(file.relative_to(sql_folder)) for file in sql_folder.rglob("*.sql")]
        raise SourceError(
            f"source.sql: the query {path} cannot be read ({type(error).__name__}){did_you_mean(source.sql, names)}\n"
            "Correct the name, or write the file in UTF-8. Nothing was sent; repeating is safe."
        ) from None


def _bound(
    query: str, window: Window, zone: str, dialect: sa.Dialect, where: Where
) -> tuple[sa.TextClause, dict[str, Any]]:
    """The statement with those of our parameters that it uses."""
    statement = sa.text(query.strip().rstrip(";"))
    used = statement.compile(dialect=dialect).params
    unknown = [name for name in used if name not in PARAMETERS]
    if unknown:
        raise SourceError(
            f"{where.origin}: it uses :{unknown[0]}, which is not given{did_you_mean(unknown[0], PARAMETERS)}\n"
            f"Given are {', '.join(f':{name}' for name in PARAMETERS)}; a colon that is meant as such is written \\:."
            " Nothing was sent; repeating is safe."
        )
    if dialect.name == "sqlite":
        return statement, {
            name: _as_sqlite_text(value) for name, value in _values(window, zone).items() if name in used
        }
    typed = statement.bindparams(*(sa.bindparam(name, type_=PARAMETERS[name]) for name in used))
    return typed, {name: value for name, value in _values(window, zone).items() if name in used}


def _values(window: Window, zone: str) -> dict[str, datetime]:
    local = ZoneInfo(zone)
    return {
        "since": window.since.astimezone(local).replace(tzinfo=None),
        "until": window.until.astimezone(local).replace(tzinfo=None),
        "since_utc": window.since.astimezone(UTC),
        "until_utc": window.until.astimezone(UTC),
    }


def _as_sqlite_text(value: datetime) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S")


# ---------------------------------------------------------------------------------------------- the database


def _engine(url: str, where: Where) -> sa.Engine:
    parsed = _url_of(url, where)
    _check_sqlite_file(parsed, where)
    return sa.create_engine(parsed, hide_parameters=True, poolclass=NullPool, connect_args=_connect_args(parsed))


def _url_of(url: str, where: Where) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number; both quote the URL
        raise SourceError(
            f"connection {where.connection}: what it gives is not a database URL.\n"
            "It should look like postgresql+psycopg://user:password@host/database. Nothing was sent; repeating is safe."
        ) from None


def _check_sqlite_file(url: sa.URL, where: Where) -> None:
    """SQLite makes an empty database where there is none, and then misses the table: say what is really wrong."""
    path = url.database
    is_file = url.get_backend_name() == "sqlite" and path and path != ":memory:" and not path.startswith("file:")
    if is_file and not Path(str(path)).is_file():
        raise SourceError(
            f"connection {where.connection}: there is no database file {path}.\n"
            "Correct the path in the connection. Nothing was sent; repeating is safe."
        )


def _connect_args(url: sa.URL) -> dict[str, Any]:
    """Without a limit, a firewall that swallows packets holds the task for minutes."""
    own = url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query
    return {"connect_timeout": CONNECT_SECONDS} if own else {}


READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY"}


def _make_read_only(connection: sa.Connection) -> None:
    """A source is only ever read, whatever the query says; where the database can enforce that, it does."""
    statement = READ_ONLY.get(connection.dialect.name)
    if statement:
        connection.exec_driver_sql(statement)


def _fetching(connection: sa.Connection, result: sa.CursorResult[Any]) -> Fetch:
    """SQLite's driver streams by itself and converts nothing, so that SQLAlchemy's rows would only cost time."""
    if connection.dialect.name == "sqlite" and result.cursor is not None:
        return result.cursor.fetchmany
    return result.fetchmany


# ---------------------------------------------------------------------------------------------- rows → columns


def _batches(fetch: Fetch, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    kinds: dict[str, pa.DataType] = {}
    while batch := _next_batch(fetch, names, columns, kinds):
        kinds = {
            column.name: kinds.get(column.name, column.type)
            for column, values in zip(batch.schema, batch.columns, strict=True)
            if column.name in kinds or values.null_count < len(values)
        }
        yield batch


def _next_batch(
    fetch: Fetch, names: Sequence[str], columns: Sequence[str], kinds: Mapping[str, pa.DataType]
) -> pa.RecordBatch | None:
    with _collector_paused():
        rows = fetch(FETCH_ROWS)
        if not rows:
            return None
        values = dict(zip(names, zip(*rows, strict=True), strict=True))
        return pa.RecordBatch.from_pydict({name: column_of(values[name], kinds.get(name)) for name in columns})


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Thousands of new tuples wake the garbage collector again and again, which finds nothing: a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
