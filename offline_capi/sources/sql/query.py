"""Rows from a query, through SQLAlchemy, streamed: server-side cursors where the database has them.

The query sees ``:since`` and ``:until`` (naive wall time in the upload's zone) and ``:since_utc`` and ``:until_utc``
(instants; see ``databases`` for what each database gets), so that one query runs unchanged on SQLite, PostgreSQL and
MariaDB.

A column keeps the kind of its first batch that has values; a later batch that does not fit it is text.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from offline_capi.config.queries import Parameter, QueryText, read_query_text
from offline_capi.config.settings import SqlSource
from offline_capi.errors import SourceError
from offline_capi.model import Fault, Reason, SourceRows, Window
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources.columns import Unreadable, check_names, column_of
from offline_capi.sources.sql.dialects import (
    Fetch,
    abandon,
    compares_instants_as_local,
    converters_of,
    engine_for,
    fetching,
    limit_time,
    prepare_session,
    window_parameters,
)
from offline_capi.sources.sql.errors import Where, explained, values_explained

__all__ = ["count_rows", "joined", "query_columns", "query_text", "read_query"]

# Rows asked for at a time: few enough to stay in the processor's cache until they are Arrow columns, which halves the
# time that 8,192 take.
FETCH_ROWS = 1_024
PROBE_ROWS = 100
# A count is for a progress bar: what takes longer is not worth the wait.
COUNT_TIMEOUT_S = 30
STREAMING = {"stream_results": True, "yield_per": FETCH_ROWS}


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
    """The rows of the query, in its own order; a query that should be the same on every run says ``ORDER BY``.

    A value that Python cannot hold comes as the database's text; where it has none that could be read, its row comes
    with a fault.
    """
    where = Where(source.connection, _origin(source))
    with _executed(source, window, zone, url, sql_folder, where) as rows:
        check_names(rows.names, columns, f"{where.origin}", is_schema=True)
        yield from joined(_batches(rows, columns or rows.names, where.origin), batch_rows)


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
    return SourceRows(
        pa.concat_batches([part.batch for part in parts]),
        parts[0].origin,
        parts[0].first_row,
        tuple(_all_faults(parts)),
        parts[0].width,
    )


def _all_faults(parts: Sequence[SourceRows]) -> Iterator[Fault]:
    kinds = dict.fromkeys((fault.reason, fault.field) for part in parts for fault in part.faults)
    for kind in kinds:
        found = [
            next((fault.where for fault in part.faults if (fault.reason, fault.field) == kind), _nowhere(len(part)))
            for part in parts
        ]
        yield Fault(*kind, pa.concat_arrays(found))


def _nowhere(rows: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(False), rows)


def count_rows(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> int:
    """How many rows the query has, counted by the database."""
    where = Where(source.connection, _origin(source))
    counting = ("SELECT count(*) AS n FROM (\n", "\n) AS counted")
    with _executed(source, window, zone, url, sql_folder, where, around=counting, limit_s=COUNT_TIMEOUT_S) as rows:
        return int(rows.fetch(1)[0][0])


def query_columns(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> list[tuple[str, str]]:
    """The query's columns, typed by its first rows."""
    where = Where(source.connection, _origin(source))
    with _executed(source, window, zone, url, sql_folder, where) as rows:
        columns = rows.next_columns(PROBE_ROWS) or [()] * len(rows.names)
    return [(name, _kind_name(column)) for name, column in zip(rows.names, columns, strict=True)]


def _kind_name(values: Sequence[Any]) -> str:
    return "unknown" if all(value is None for value in values) else str(column_of(values).type)


def _origin(source: SqlSource) -> str:
    return source.sql if source.is_file else "query"


# ---------------------------------------------------------------------------------------------- the query


@dataclass(frozen=True, slots=True)
class _RowStream:
    """How rows come from a database: the names of the columns, and a function that fetches the next rows."""

    names: list[str]
    fetch: Fetch
    converters: Mapping[int, Callable[[Any], Any]]
    explain: Callable[[], AbstractContextManager[None]]

    def next_columns(self, rows: int) -> list[Sequence[Any]]:
        """The next rows as columns; none at the end."""
        with self.explain():
            columns: list[Sequence[Any]] = list(zip(*self.fetch(rows), strict=True))
        for at, convert in self.converters.items() if columns else ():
            columns[at] = [None if value is None else convert(value) for value in columns[at]]
        return columns


@contextmanager
def _executed(
    source: SqlSource,
    window: Window,
    zone: str,
    url: str,
    sql_folder: Path,
    where: Where,
    *,
    around: tuple[str, str] = ("", ""),
    limit_s: int | None = None,
) -> Iterator[_RowStream]:
    """The query, executed, with the text of ``around`` before and behind it."""
    query = query_text(source, sql_folder)
    where = replace(where, text=query)
    with explained(where):
        engine = engine_for(url, where)
    try:
        with explained(where, engine), engine.connect() as connection:
            prepare_session(connection)
            if limit_s is not None:
                limit_time(connection, limit_s)
            text = _readable(query, connection.dialect.name, where)
            given = window_parameters(window, zone, connection.dialect)
            pieces = (around[0], *(given[p.name] if isinstance(p, Parameter) else p for p in text.pieces), around[1])
            with values_explained(where, engine):  # the first row is fetched already
                result = connection.execute(_Statement(pieces), execution_options=STREAMING)
            try:
                names = list(result.keys())
                _check_instants(result, connection.dialect, text, given, where)
                explain = partial(values_explained, where, engine)
                yield _RowStream(
                    names, fetching(result, connection.dialect), converters_of(result, connection.dialect), explain
                )
            finally:
                abandon(connection, result)
    finally:
        engine.dispose()


class _Statement(sa.sql.expression.Executable, sa.sql.expression.ClauseElement):
    """A query in pieces. SQLAlchemy's own ``text()`` would look for parameters again, by other rules."""

    inherit_cache = False

    def __init__(self, pieces: Sequence[str | sa.BindParameter[Any]]) -> None:
        self.pieces = pieces


@compiles(_Statement)
def _compile_statement(statement: _Statement, compiler: Any, **options: Any) -> str:
    compiler.isplaintext = True  # as text(): the driver's cursor is left alone until we fetch
    return "".join(
        compiler.post_process_text(piece) if isinstance(piece, str) else compiler.process(piece, **options)
        for piece in statement.pieces
    )


def query_text(source: SqlSource, sql_folder: Path) -> str:
    """The query as its author wrote it. Raises ``SourceError`` where its file cannot be read."""
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


def _readable(query: str, dialect: str, where: Where) -> QueryText:
    text = read_query_text(query, dialect)
    if text.problems:
        problems = "\n".join(f"  {problem}" for problem in text.problems)
        raise SourceError(
            f"{where.origin}: the query cannot be read for certain:\n{problems}\n"
            "Correct the query. Nothing was sent; repeating is safe."
        )
    return text


def _check_instants(
    result: sa.CursorResult[Any],
    dialect: sa.Dialect,
    text: QueryText,
    given: Mapping[str, sa.BindParameter[Any]],
    where: Where,
) -> None:
    """Refuse to compare MySQL's TIMESTAMP, an instant, with wall time: it would be another day's rows, silently."""
    used = {parameter.name for parameter in text.parameters}
    same = all(given[end].value == given[f"{end}_utc"].value for end in ("since", "until"))
    if same or not used or any(name.endswith("_utc") for name in used):
        return
    if instants := compares_instants_as_local(result, dialect):
        raise SourceError(
            f'{where.origin}: the column "{instants[0]}" is a TIMESTAMP, an instant, and the query compares with :since'
            " and :until, which are wall time.\n"
            "Write :since_utc and :until_utc; or, where a DATE or DATETIME column is compared, select that as well."
            " Nothing was sent; repeating is safe."
        )


# ---------------------------------------------------------------------------------------------- rows → columns


def _batches(rows: _RowStream, columns: Sequence[str], origin: str) -> Iterator[SourceRows]:
    kinds: dict[str, pa.DataType] = {}
    first = 1
    while part := _next_batch(rows, columns, kinds, origin, first):
        yield part
        first += len(part)


def _next_batch(
    rows: _RowStream, columns: Sequence[str], kinds: dict[str, pa.DataType], origin: str, first: int
) -> SourceRows | None:
    """The next rows; ``kinds`` learns the kind of each column that has values for the first time."""
    with _collector_paused():
        found = rows.next_columns(FETCH_ROWS)
        if not found:
            return None
        values = dict(zip(rows.names, found, strict=True))
        arrays = {name: column_of(values[name], kinds.get(name)) for name in columns}
        faults = []
        for name, array in arrays.items():
            if Unreadable in set(map(type, values[name])):
                lost = [isinstance(value, Unreadable) and value.text is None for value in values[name]]
                faults += [Fault(Reason.UNREADABLE_VALUE, name, pa.array(lost))] * any(lost)
            elif array.null_count < len(array):
                kinds.setdefault(name, array.type)
        return SourceRows(pa.RecordBatch.from_pydict(arrays), origin, first, tuple(faults), len(rows.names))


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
