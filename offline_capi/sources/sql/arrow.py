"""Rows as Arrow columns: PostgreSQL's COPY parsed by Arrow, DuckDB's own stream, ADBC for SQLite.

Of most types no Python object is made of a value. Of the others, the driver's value is turned into what SQLAlchemy's
driver gives, so that both ways lead to the same columns; or the whole query is left to SQLAlchemy.
"""

from __future__ import annotations

import json
import re
import select
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pyarrow import csv

from offline_capi.sources.columns import AWARE, DECIMAL, NAIVE
from offline_capi.sources.sql.arrow_values import (
    WHOLE_DIGITS,
    Convert,
    NotArrowError,
    Opened,
    Values,
    as_objects,
    cast_to,
    choose_converters,
    convert_decimals,
    convert_times,
    decode_texts,
    write_wide_time,
)
from offline_capi.sources.sql.dialects import decode_or_unreadable, prepare_session
from offline_capi.sources.sql.errors import Where, explain_arrow_errors, explain_query_errors
from offline_capi.sources.sql.statement import Statement
from offline_capi.sources.sql.warehouses import DRIVER_ERRORS, open_clickhouse, open_cursor

__all__ = ["CHUNK_ROWS", "ArrowStream", "NotArrowError", "open_arrow", "open_cursor_arrow"]

#: Rows whose columns get their kinds at once, however they are read. Few enough to stay in the processor's cache until
#: SQLAlchemy's tuples are Arrow columns, which halves the time that 8,192 take.
CHUNK_ROWS = 1_024
#: As many as travel between processes at once; a multiple of the above.
BLOCK_ROWS = 8 * CHUNK_ROWS
DUCKDB_BATCH_ROWS = 2 * BLOCK_ROWS
#: How long SQLite waits for a lock: as long as Python's driver does.
SQLITE_BUSY_MS = 5_000
#: Flags of a row fit into one integer: what has more columns is read through SQLAlchemy.
MAX_SQLITE_COLUMNS = SHARED_FLAG = 62


@dataclass(slots=True)
class ArrowStream:
    """The rows of a query in chunks of ``CHUNK_ROWS``, the last one shorter."""

    names: list[str]
    chunks: Iterator[Mapping[str, Values]]

    def next_values(self, wanted: Sequence[str]) -> dict[str, Values]:
        """The next rows, by column; nothing at the end."""
        chunk = next(self.chunks, None)
        return {name: chunk[name] for name in wanted} if chunk else {}


@contextmanager
def open_arrow(
    statement: Statement, engine: sa.Engine, where: Where, *, batch_rows: int, allowed: bool
) -> Iterator[ArrowStream]:
    """The statement, executed, and its first rows. Raises ``NotArrowError`` where SQLAlchemy has to read it."""
    opened = OPENERS.get(engine.dialect.name) if allowed else None
    if opened is None:
        raise NotArrowError
    with ExitStack() as stack:
        try:
            errors, names, batches, converters = opened(statement, engine, stack)
            chunks = _converted(batches, names, converters, batch_rows)
            first = next(chunks, None)
        except ImportError:
            raise NotArrowError from None
        except NotArrowError:
            raise
        except sa.exc.DBAPIError:  # no connection: SQLAlchemy would wait for it a second time
            with explain_query_errors(where, engine):
                raise
        except Exception as error:  # noqa: BLE001  whatever it is, SQLAlchemy tries next and says what is wrong
            raise NotArrowError(f"its Arrow driver fails ({type(error).__name__})", is_notice=True) from None
        yield ArrowStream(names, _explained_chunks(first, chunks, where, engine, errors))


def open_cursor_arrow(
    cursor: Any, names: list[str], engine: sa.Engine, where: Where, *, batch_rows: int
) -> ArrowStream:
    """The rows of a statement that SQLAlchemy executed. Raises ``NotArrowError`` where its cursor has to give them."""
    batches, converters = open_cursor(cursor, engine.dialect.name)
    chunks = _converted(batches, names, converters, batch_rows)
    with explain_arrow_errors(where, engine, DRIVER_ERRORS):
        first = next(chunks, None)
    return ArrowStream(names, _explained_chunks(first, chunks, where, engine, DRIVER_ERRORS))


def _explained_chunks(
    first: Mapping[str, Values] | None,
    chunks: Iterator[Mapping[str, Values]],
    where: Where,
    engine: sa.Engine,
    errors: tuple[type[Exception], ...],
) -> Iterator[Mapping[str, Values]]:
    if first is None:
        return
    yield first
    while True:
        with explain_arrow_errors(where, engine, errors):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly ``rows``, and what is left."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= rows:
            whole = pa.concat_batches(held) if len(held) > 1 else batch
            end = count - count % rows
            for start in range(0, end, rows):
                yield whole.slice(start, rows)
            count -= end
            held = [whole.slice(end)] if count else []  # the next batch may have other types
    if count:
        yield pa.concat_batches(held)


def _converted(
    batches: Iterator[pa.RecordBatch], names: Sequence[str], converters: Sequence[Convert], batch_rows: int
) -> Iterator[Mapping[str, Values]]:
    """Rows by column, ``CHUNK_ROWS`` at a time; a block of them once each column had a value and where all are Arrow.

    By then a column's kind is settled, so that larger pieces lead to the same columns and cost less.
    """
    block_rows = max(CHUNK_ROWS, min(batch_rows, BLOCK_ROWS) // CHUNK_ROWS * CHUNK_ROWS)
    empty = set(names)
    for block in _cut(batches, block_rows):
        if not empty:
            whole = [convert(column) for convert, column in zip(converters, block.columns, strict=True)]
            if all(isinstance(column, pa.Array) for column in whole):
                yield dict(zip(names, whole, strict=True))
                continue
        for start in range(0, block.num_rows, CHUNK_ROWS):
            columns = zip(names, converters, block.slice(start, CHUNK_ROWS).columns, strict=True)
            chunk = {name: convert(column) for name, convert, column in columns}
            empty -= {name for name in empty if _has_value(chunk[name])}
            yield chunk


def _has_value(column: Values) -> bool:
    return column.null_count < len(column) if isinstance(column, pa.Array) else any(one is not None for one in column)


# ---------------------------------------------------------------------------------------------- PostgreSQL

#: Rows of CSV that are parsed at once, and a size after which fewer are.
COPY_ROWS, COPY_BYTES = BLOCK_ROWS, 4 << 20
#: Names of psycopg's types → how a column of PostgreSQL's texts becomes what psycopg makes of each of them. Where that
#: fails, and for every other type, psycopg's own loaders do it, value by value.
POSTGRES_TYPES: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), lambda column: pc.cast(column, pa.int64())),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "uuid"), lambda column: column),
    **dict.fromkeys(("float4", "float8"), lambda column: pc.cast(column, pa.float64())),
    "bool": lambda column: pc.equal(column, "t"),
    "bytea": lambda column: pc.utf8_slice_codeunits(column, 2),  # \\x and the hexadecimal that bytes are shown as
    "numeric": lambda column: _decimals_of_texts(column),
    "date": lambda column: pc.cast(column, pa.date32()),
    "timestamp": lambda column: pc.cast(column, NAIVE),
    "timestamptz": lambda column: pc.cast(column, AWARE),
}


def _open_postgres(statement: Statement, engine: sa.Engine, stack: ExitStack) -> Opened:
    """COPY as CSV, which libpq hands over row by row and Arrow parses: a fifth of what ADBC's driver takes."""
    if engine.dialect.driver != "psycopg":
        raise NotArrowError
    from psycopg import Error
    from psycopg.adapt import Transformer
    from psycopg.pq import ExecStatus, Format

    connection = stack.enter_context(engine.connect())
    stack.callback(connection.invalidate)  # a COPY that was not read to its end cannot be rolled back
    prepare_session(connection)
    for setting in ("datestyle = ISO", "bytea_output = hex"):
        connection.exec_driver_sql(f"SET LOCAL {setting}")
    driver: Any = connection.connection.driver_connection
    # COPY takes no parameters: the ends of the window are written out. The line end closes a comment at the end.
    text = statement.render(str, _postgres_literal) + "\n"
    result = driver.pgconn.prepare(b"", text.encode())
    if result.status == ExecStatus.COMMAND_OK:
        result = driver.pgconn.describe_prepared(b"")
    if result.status != ExecStatus.COMMAND_OK or not result.nfields:
        raise NotArrowError
    transformer = Transformer.from_context(driver)
    names = [result.fname(at).decode() for at in range(result.nfields)]
    converters = []
    for at in range(result.nfields):
        oid = result.ftype(at)
        known = driver.adapters.types.get(oid)
        load = transformer.get_loader(oid, Format.TEXT).load
        is_array = known is not None and oid == known.array_oid
        converters.append(_convert_texts(POSTGRES_TYPES.get(known.name) if known and not is_array else None, load))
    copied = driver.pgconn.exec_(f"COPY ({text}) TO STDOUT (FORMAT csv)".encode())
    if copied.status != ExecStatus.COPY_OUT:
        raise NotArrowError
    batches = _parse_csv(_copied_blocks(driver.pgconn), len(names))
    return (Error, pa.ArrowException), names, batches, converters


def _convert_texts(convert: Callable[[pa.Array], pa.Array] | None, load: Callable[[bytes], Any]) -> Convert:
    def convert_column(column: pa.Array) -> Values:
        if convert is not None:
            try:
                return convert(column)
            except pa.ArrowInvalid:  # infinity, years beyond Python's, offsets of seconds
                pass
        return [None if value is None else load(value.encode()) for value in column.to_pylist()]

    return convert_column


def _decimals_of_texts(column: pa.Array) -> pa.Array:
    """Raises ``ArrowInvalid`` for what may not fit: Arrow's own cast overflows in silence."""
    if (pc.max(pc.binary_length(column)).as_py() or 0) > WHOLE_DIGITS:
        raise pa.ArrowInvalid
    return pc.cast(column, DECIMAL)


def _copied_blocks(pgconn: Any) -> Iterator[bytes]:
    """Lines of CSV, some thousands at once. Waits for the socket outside libpq, so that a signal is heard meanwhile.

    One loop, without a step between libpq and the list: what is done here is done for each row.
    """
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus

    lines: list[memoryview] = []
    size, take = 0, pgconn.get_copy_data
    while True:
        length, line = take(1)
        if length > 0:
            lines.append(line)
            size += length
            if len(lines) == COPY_ROWS or size > COPY_BYTES:
                block, lines, size = b"".join(lines), [], 0  # libpq's copies are free while the block is parsed
                yield block
        elif length == 0:
            select.select([pgconn.socket], [], [])
            pgconn.consume_input()
        else:
            break
    result = pgconn.get_result()
    if result is not None and result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)
    if lines:
        yield b"".join(lines)


def _parse_csv(blocks: Iterator[bytes], width: int) -> Iterator[pa.RecordBatch]:
    """All columns as text, NULL apart from empty text: PostgreSQL quotes the one and not the other."""
    names = [str(at) for at in range(width)]
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    for block in blocks:
        reading = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1)
        table = csv.read_csv(pa.BufferReader(block), reading, parsing, converting)
        yield from table.combine_chunks().to_batches()


def _postgres_literal(parameter: sa.BindParameter[Any]) -> str:
    """One of the window's four times: no text from outside comes here."""
    value: Any = parameter.value
    return f"'{value.isoformat(' ')}'::TIMESTAMP {'WITH' if value.tzinfo else 'WITHOUT'} TIME ZONE"


# ---------------------------------------------------------------------------------------------- DuckDB

_LAST, _FIRST = datetime.max, datetime.min  # noqa: DTZ901  without zone, as the driver gives them
_DUCKDB_INFINITY: Mapping[int, datetime] = {2**31 - 1: _LAST, 1 - 2**31: _FIRST, 2**63 - 1: _LAST, 1 - 2**63: _FIRST}


def _beyond_duckdb(number: int, kind: pa.DataType) -> Any:
    """As DuckDB's own driver gives it to Python: infinity as the last day there is, other years as text."""
    found = _DUCKDB_INFINITY.get(number)
    if found is None:
        return write_wide_time(number, kind)
    return found.date() if pa.types.is_date(kind) else found


DUCKDB_TYPES: Mapping[str, Convert] = {
    **dict.fromkeys(
        ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), cast_to(pa.int64())
    ),
    **dict.fromkeys(("UBIGINT", "HUGEINT"), as_objects(int)),
    **dict.fromkeys(("FLOAT", "DOUBLE"), cast_to(pa.float64())),
    **dict.fromkeys(("VARCHAR", "UUID", "ENUM"), cast_to(pa.string())),
    '"NULL"': cast_to(pa.string()),
    "BOOLEAN": cast_to(pa.bool_()),
    "JSON": as_objects(json.loads),
    "DECIMAL": convert_decimals,
    "DATE": convert_times(pa.date32(), _beyond_duckdb),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"), convert_times(NAIVE, _beyond_duckdb)),
    "TIMESTAMP WITH TIME ZONE": convert_times(AWARE, _beyond_duckdb),
    **dict.fromkeys(("BLOB", "TIME", "INTEGER[]", "BIGINT[]", "VARCHAR[]", "BOOLEAN[]", "DOUBLE[]"), as_objects()),
}


def _open_duckdb(statement: Statement, engine: sa.Engine, stack: ExitStack) -> Opened:
    """On SQLAlchemy's own connection: DuckDB opens no file twice in one process with different options."""
    from duckdb import Error

    connection = stack.enter_context(engine.connect())
    cursor: Any = connection.connection.cursor()
    numbers = iter(range(1, len(statement.parameters) + 1))
    text = statement.render(str, lambda _: f"${next(numbers)}") + "\n"
    relation = cursor.sql(text, params=[one.value for one in statement.parameters] or None)
    if relation is None:  # no SELECT
        raise NotArrowError
    kinds = (re.sub(r"\(.*\)$", "", str(kind)) for kind in relation.types)
    fields = list(zip(relation.columns, kinds, strict=True))
    converters = choose_converters(fields, DUCKDB_TYPES.get)
    reader = relation.to_arrow_reader(DUCKDB_BATCH_ROWS)
    stack.callback(reader.close)
    names = [name for name, _ in fields]
    return (OSError, pa.ArrowException, Error), names, iter(reader), converters


# ---------------------------------------------------------------------------------------------- SQLite


def _open_sqlite(statement: Statement, engine: sa.Engine, stack: ExitStack) -> Opened:
    """SQLite has no types: a column has that of its first values, and what differs later has to be noticed.

    The driver would turn a whole number between fractions into one, and a number between texts into text. So each row
    brings a number whose bits say which columns are not of their first type, and from such a row on these columns are
    read as SQLite's own literals, in the same transaction.
    """
    from adbc_driver_manager import Error
    from adbc_driver_sqlite import dbapi

    path = engine.url.database
    if not path or path.startswith((":memory:", "file:")) or engine.url.query:
        raise NotArrowError
    connection = stack.enter_context(dbapi.connect(path))
    with connection.cursor() as session:
        session.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
        session.fetchall()
        session.execute("PRAGMA query_only = ON")
    query = statement.render(str, lambda _: "?")
    rows = _SqliteRows(connection, f"(\n{query}\n)", [one.value for one in statement.parameters])
    batches = rows.read_batches()
    stack.callback(batches.close)  # before the connection: its cursor still reads from it
    return (OSError, pa.ArrowException, Error), rows.names, batches, rows.converters


@dataclass(slots=True)
class _SqliteRows:
    """``quoted`` are the columns that come as literals, by position; ``read`` counts the rows that were given.

    All texts share one flag, which takes a third of the time of one each. ``is_detailed`` once it was raised.
    """

    connection: Any
    query: str
    parameters: Sequence[Any]
    names: list[str] = field(init=False)
    kinds: list[pa.DataType] = field(init=False)
    quoted: set[int] = field(default_factory=set)
    is_detailed: bool = False
    read: int = 0

    def __post_init__(self) -> None:
        """Types are those of the first rows; a column of NULLs alone comes as literals, for nobody knows its type."""
        first = list(self._run(f"SELECT * FROM {self.query} LIMIT {CHUNK_ROWS}", CHUNK_ROWS))  # noqa: S608
        schema = first[0].schema if first else pa.schema([])
        self.names = list(schema.names)
        if not first or len(schema) > MAX_SQLITE_COLUMNS or any(re.search(r":\d+$", name) for name in self.names):
            raise NotArrowError  # no rows; or a name twice, to which SQLite adds a number
        self.kinds = list(schema.types)
        self.quoted = {
            at
            for at, column in enumerate(first[0].columns)
            if pa.types.is_binary(column.type) or column.null_count == len(column)
        }

    @property
    def converters(self) -> list[Convert]:
        return [partial(self._values, at) for at in range(len(self.names))]

    def read_batches(self) -> Generator[pa.RecordBatch]:
        """All rows; a batch in which a column is not of its type is read again, with that column as literals."""
        while True:
            mixed: set[int] = set()
            try:
                for batch in self._run(self._statement(), BLOCK_ROWS):
                    mixed = self._find_mixed(batch)
                    if mixed:
                        break
                    self.read += batch.num_rows
                    yield batch.select(range(len(self.names)))
            except OSError as error:  # the driver refuses what it cannot convert
                mismatch = re.search(r"Type mismatch in column (\d+)", str(error))
                if mismatch is None or int(mismatch[1]) in self.quoted:
                    raise
                mixed = {int(mismatch[1])}
            if not mixed:
                return
            self.is_detailed |= SHARED_FLAG in mixed
            self.quoted |= mixed - {SHARED_FLAG}

    def _statement(self) -> str:
        """The rows that are left, quoted columns as literals, and the flags of the others."""
        columns = [_sqlite_name(name) for name in self.names]
        flags = list(self._flags(columns))
        shown = [_literal(name) if at in self.quoted else name for at, name in enumerate(columns)]
        skipped = f" LIMIT -1 OFFSET {self.read}" if self.read else ""
        # The query is the user's own; names of columns are quoted.
        return f"SELECT {', '.join(shown)}, {' + '.join(flags) or '0'} FROM {self.query}{skipped}"  # noqa: S608

    def _flags(self, columns: Sequence[str]) -> Iterator[str]:
        """SQL: a bit for each column, set where a value is not of its type; the driver itself checks whole numbers."""
        texts = []
        for at, (name, kind) in enumerate(zip(columns, self.kinds, strict=True)):
            if at in self.quoted or pa.types.is_integer(kind):
                continue
            if pa.types.is_floating(kind) or self.is_detailed:
                usual = "real" if pa.types.is_floating(kind) else "text"
                yield f"((typeof({name}) NOT IN ('{usual}', 'null')) << {at})"
            else:
                # SQLite orders numbers before all texts, and bytes after them. The sign takes the column's affinity
                # away, by which a number would be compared as a text.
                texts.append(f"+{name} COLLATE BINARY NOT BETWEEN '' AND x''")
        if texts:  # as a condition, which looks at each value once and jumps: half the time of an expression
            yield f"CASE WHEN {' OR '.join(texts)} THEN {1 << SHARED_FLAG} ELSE 0 END"

    def _find_mixed(self, batch: pa.RecordBatch) -> set[int]:
        """Columns whose flag is raised, or to which the driver gave another type, as it looks at more rows at once."""
        found = int(np.bitwise_or.reduce(batch.column(batch.num_columns - 1).to_numpy(zero_copy_only=False)))
        kinds = enumerate(zip(batch.schema.types, self.kinds, strict=False))
        retyped = {at for at, (kind, usual) in kinds if kind != usual and at not in self.quoted}
        return retyped | ({at for at in range(SHARED_FLAG + 1) if found >> at & 1} if found else set())

    def _values(self, at: int, column: pa.Array) -> Values:
        if at in self.quoted:
            if pc.all(pc.equal(column, "NULL")).as_py():
                return pa.nulls(len(column), pa.string())
            return [_of_literal(value) for value in column.view(pa.binary()).to_pylist()]
        return decode_texts(column, decode_or_unreadable) if pa.types.is_string(column.type) else column

    def _run(self, text: str, rows: int) -> Iterator[pa.RecordBatch]:
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})
            cursor.execute(text, self.parameters or None)
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    if batch.num_rows:
                        yield batch


def _sqlite_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(name: str) -> str:
    """SQL: the value so that it can be told apart from all others. ``quote`` would cut a text at a zero byte."""
    return f"CASE typeof({name}) WHEN 'text' THEN 'T' || {name} ELSE quote({name}) END"


def _of_literal(literal: bytes) -> Any:
    head = literal[:1]
    if head == b"T":
        return decode_or_unreadable(literal[1:])
    if literal == b"NULL":
        return None
    if head == b"X":
        return bytes.fromhex(literal[2:-1].decode())
    return float(literal) if re.search(rb"[.eEnN]", literal) else int(literal)


OPENERS: Mapping[str, Callable[[Statement, sa.Engine, ExitStack], Opened]] = {
    "postgresql": _open_postgres,
    "duckdb": _open_duckdb,
    "sqlite": _open_sqlite,
    "clickhousedb": open_clickhouse,
}
