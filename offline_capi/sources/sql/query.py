"""Rows from a query, streamed: as Arrow from drivers that have it, else through SQLAlchemy and server-side cursors.

The query sees ``:since`` and ``:until`` (naive wall time in the upload's zone) and ``:since_utc`` and ``:until_utc``
(instants; see ``databases`` for what each database gets), so that one query runs unchanged on SQLite, PostgreSQL and
MariaDB.

A column keeps the kind of its first batch that has values; a later batch that does not fit it is text.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from offline_capi.config.queries import Parameter, QueryText
from offline_capi.config.source import SqlSource
from offline_capi.errors import SourceError
from offline_capi.model import Reason, RowFault, SourceRows, Window
from offline_capi.sources.base import MAX_JOINED_BYTES
from offline_capi.sources.columns import Unreadable, check_names, column_of
from offline_capi.sources.sql.arrow import CHUNK_ROWS, ArrowStream, NotArrowError, open_arrow, open_cursor_arrow
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
from offline_capi.sources.sql.errors import Where, explain_query_errors, explain_value_errors
from offline_capi.sources.sql.statement import Statement, parse_query, query_text

__all__ = ["RowStream", "count_rows", "joined", "query_columns", "read_batches", "read_query"]

PROBE_ROWS = 100
# A count is for a progress bar: what takes longer is not worth the wait.
COUNT_TIMEOUT_S = 30
STREAMING = {"stream_results": True, "yield_per": CHUNK_ROWS}

_log = logging.getLogger(__name__)


def read_query(
    source: SqlSource,
    window: Window,
    zone: str,
    url: str,
    sql_folder: Path,
    *,
    columns: Sequence[str] | None,
    batch_rows: int,
    arrow_native: bool = True,
) -> Iterator[SourceRows]:
    """The rows of the query, in its own order; a query that should be the same on every run says ``ORDER BY``.

    ``arrow_native`` allows drivers that give Arrow; the rows are the same without. A value that Python
    cannot hold comes as the database's text; where it has none that could be read, its row comes with a fault.
    """
    with (
        _prepared(source, window, zone, url, sql_folder) as query,
        _opened(query, batch_rows, arrow_native=arrow_native) as rows,
    ):
        check_names(rows.names, columns, query.where.origin, is_schema=True)
        yield from joined(read_batches(rows, columns or rows.names, query.where.origin), batch_rows)


@contextmanager
def _opened(query: _Query, batch_rows: int, *, arrow_native: bool) -> Iterator[RowStream | ArrowStream]:
    """The query's rows as Arrow where its driver can give them all, else through SQLAlchemy.

    Whatever keeps an Arrow driver from the first rows, a refused query as well, is left to SQLAlchemy: what is wrong is
    then said by one of them, in the same words.
    """
    with ExitStack() as stack:
        statement, engine = query.statement(), query.engine
        rows: RowStream | ArrowStream
        try:
            rows = stack.enter_context(
                open_arrow(statement, engine, query.where, batch_rows=batch_rows, allowed=arrow_native)
            )
        except NotArrowError as reason:
            executed = stack.enter_context(_executed(query))
            _tell_slow(reason)
            rows = _prefer_arrow(executed, query, batch_rows) if arrow_native else executed
        yield rows


def _prefer_arrow(rows: RowStream, query: _Query, batch_rows: int) -> RowStream | ArrowStream:
    """The same rows as Arrow where the cursor that SQLAlchemy executed has them so."""
    try:
        return open_cursor_arrow(rows.cursor, rows.names, query.engine, query.where, batch_rows=batch_rows)
    except NotArrowError as reason:
        _tell_slow(reason)
        return rows


def _tell_slow(reason: NotArrowError) -> None:
    if reason.is_notice:
        _log.warning("the query is read through SQLAlchemy, which is slower: %s", reason)


def joined(parts: Iterable[SourceRows], rows: int) -> Iterator[SourceRows]:
    """The same, put together to at most ``rows`` rows each, as far as the kinds of their columns and memory allow."""
    held: list[SourceRows] = []
    held_rows = held_bytes = 0
    for part in parts:
        is_full = held_rows + len(part) > rows or held_bytes + part.batch.nbytes > MAX_JOINED_BYTES
        if held and (is_full or part.batch.schema != held[0].batch.schema):
            yield _together(held)
            held, held_rows, held_bytes = [], 0, 0
        held.append(part)
        held_rows += len(part)
        held_bytes += part.batch.nbytes
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


def _all_faults(parts: Sequence[SourceRows]) -> Iterator[RowFault]:
    kinds = dict.fromkeys((fault.reason, fault.field) for part in parts for fault in part.faults)
    for kind in kinds:
        found = [
            next((fault.where for fault in part.faults if (fault.reason, fault.field) == kind), _nowhere(len(part)))
            for part in parts
        ]
        yield RowFault(*kind, pa.concat_arrays(found))


def _nowhere(rows: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(False), rows)


def count_rows(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> int:
    """How many rows the query has, counted by the database."""
    around = {"before": "SELECT count(*) AS n FROM (\n", "after": "\n) AS counted"}
    with (
        _prepared(source, window, zone, url, sql_folder) as query,
        _executed(query, **around, limit_s=COUNT_TIMEOUT_S) as rows,
    ):
        return int(rows.fetch(1)[0][0])


def query_columns(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> list[tuple[str, str]]:
    """The query's columns, typed by its first rows."""
    with _prepared(source, window, zone, url, sql_folder) as query, _executed(query) as rows:
        columns = rows.next_columns(PROBE_ROWS) or [()] * len(rows.names)
    return [(name, _kind_name(column)) for name, column in zip(rows.names, columns, strict=True)]


def _kind_name(values: Sequence[Any]) -> str:
    return "unknown" if all(value is None for value in values) else str(column_of(values).type)


# ---------------------------------------------------------------------------------------------- the query


@dataclass(frozen=True, slots=True)
class RowStream:
    """How rows come from a database: the names of the columns, and a function that fetches the next rows."""

    names: list[str]
    fetch: Fetch
    converters: Mapping[int, Callable[[Any], Any]]
    explain: Callable[[], AbstractContextManager[None]]
    cursor: Any = None

    def next_columns(self, rows: int) -> list[Sequence[Any]]:
        """The next rows as columns; none at the end."""
        with self.explain():
            columns: list[Sequence[Any]] = list(zip(*self.fetch(rows), strict=True))
        for at, convert in self.converters.items() if columns else ():
            columns[at] = [None if value is None else convert(value) for value in columns[at]]
        return columns

    def next_values(self, wanted: Sequence[str]) -> dict[str, Sequence[Any]]:
        columns = self.next_columns(CHUNK_ROWS)
        found = dict(zip(self.names, columns, strict=True)) if columns else {}
        return {name: found[name] for name in wanted if found}


@dataclass(frozen=True, slots=True)
class _Query:
    """A query that can be run: where, as what, and what it asks for."""

    where: Where
    engine: sa.Engine
    text: QueryText
    parameters: Mapping[str, sa.BindParameter[Any]]

    def statement(self, before: str = "", after: str = "") -> Statement:
        pieces = (self.parameters[p.name] if isinstance(p, Parameter) else p for p in self.text.pieces)
        return Statement((before, *pieces, after))


@contextmanager
def _prepared(source: SqlSource, window: Window, zone: str, url: str, sql_folder: Path) -> Iterator[_Query]:
    query = query_text(source, sql_folder)
    where = Where(source.connection, source.sql if source.is_file else "query", query)
    with explain_query_errors(where):
        engine = engine_for(url, where)
    try:
        text = parse_query(query, engine.dialect.name, where)
        yield _Query(where, engine, text, window_parameters(window, zone, engine.dialect))
    finally:
        engine.dispose()


@contextmanager
def _executed(query: _Query, *, before: str = "", after: str = "", limit_s: int | None = None) -> Iterator[RowStream]:
    """The query, executed through SQLAlchemy, between the texts ``before`` and ``after``."""
    where, engine = query.where, query.engine
    with explain_query_errors(where, engine), engine.connect() as connection:
        prepare_session(connection)
        if limit_s is not None:
            limit_time(connection, limit_s)
        with explain_value_errors(where, engine):  # the first row is fetched already
            result = connection.execute(query.statement(before, after), execution_options=STREAMING)
        try:
            names = list(result.keys())
            _check_instants(result, connection.dialect, query.text, query.parameters, where)
            explain = partial(explain_value_errors, where, engine)
            yield RowStream(
                names,
                fetching(result, connection.dialect),
                converters_of(result, connection.dialect),
                explain,
                result.cursor,
            )
        finally:
            abandon(connection, result)


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


def read_batches(rows: RowStream | ArrowStream, columns: Sequence[str], origin: str) -> Iterator[SourceRows]:
    """The rows as batches, each column in one kind from its first values on."""
    kinds: dict[str, pa.DataType] = {}
    first = 1
    while part := _next_batch(rows, columns, kinds, origin, first):
        yield part
        first += len(part)


def _next_batch(
    rows: RowStream | ArrowStream, columns: Sequence[str], kinds: dict[str, pa.DataType], origin: str, first: int
) -> SourceRows | None:
    """The next rows; ``kinds`` learns the kind of each column that has values for the first time."""
    with _collector_paused():
        values = rows.next_values(columns)
        if not values:
            return None
        arrays, faults = {}, []
        for name, found in values.items():
            known = kinds.get(name)
            if isinstance(found, pa.Array):
                is_as_before = found.null_count < len(found) and known in (None, found.type)
                array = found if is_as_before else column_of(found.to_pylist(), known)
                unreadable = False
            else:
                array = column_of(found, known)
                unreadable = Unreadable in set(map(type, found))
            if unreadable:
                lost = [isinstance(value, Unreadable) and value.text is None for value in found]
                faults += [RowFault(Reason.UNREADABLE_VALUE, name, pa.array(lost))] * any(lost)
            elif array.null_count < len(array):
                kinds.setdefault(name, array.type)
            arrays[name] = array
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
