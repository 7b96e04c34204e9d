"""Rows as Arrow from drivers that have them so: ADBC for PostgreSQL and SQLite, DuckDB by itself.

Of most types no Python object is made of a value. Of the others, the driver's value is turned into what SQLAlchemy's
driver gives, so that both ways lead to the same columns; or the whole query is left to SQLAlchemy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from offline_capi.sources.columns import AWARE, DECIMAL, NAIVE, Unreadable
from offline_capi.sources.sql.dialects import CONNECT_TIMEOUT_S
from offline_capi.sources.sql.errors import Where, arrow_explained
from offline_capi.sources.sql.statement import Statement

__all__ = ["ArrowStream", "NotArrowError", "open_arrow"]

#: Rows whose columns get their kinds at once: as many as SQLAlchemy's are fetched, so that both find the same kinds.
CHUNK_ROWS = 1_024
POSTGRES_BATCH_BYTES = 1 << 20
DUCKDB_BATCH_ROWS = 16 * CHUNK_ROWS
#: How long SQLite waits for a lock: as long as Python's driver does.
SQLITE_BUSY_MS = 5_000
#: Flags of a row fit into one integer: what has more columns is read through SQLAlchemy.
MAX_SQLITE_COLUMNS = 62

Values: TypeAlias = "pa.Array | Sequence[Any]"
Convert = Callable[[pa.Array], Values]


class NotArrowError(Exception):
    """The query is not read as Arrow. ``is_notice``: although a driver that could is installed."""

    def __init__(self, why: str = "", *, is_notice: bool = False) -> None:
        super().__init__(why)
        self.is_notice = is_notice


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
def open_arrow(statement: Statement, engine: sa.Engine, where: Where, allowed: bool) -> Iterator[ArrowStream]:
    """The statement, executed, and its first rows. Raises ``NotArrowError`` where SQLAlchemy has to read it."""
    opened = OPENERS.get(engine.dialect.name) if allowed else None
    if opened is None:
        raise NotArrowError
    with ExitStack() as stack:
        try:
            errors, names, chunks = opened(statement, engine, stack)
            first = next(chunks, None)
        except ImportError:
            raise NotArrowError from None
        except NotArrowError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, SQLAlchemy tries next and says what is wrong
            raise NotArrowError(f"its Arrow driver fails ({type(error).__name__})", is_notice=True) from None
        yield ArrowStream(names, _explained_chunks(first, chunks, where, engine, errors))


Opened = tuple[tuple[type[Exception], ...], list[str], Iterator[Mapping[str, Values]]]


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
        with arrow_explained(where, engine, errors):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly ``CHUNK_ROWS``, and what is left."""
    rest: pa.RecordBatch | None = None
    for batch in batches:
        whole = batch if rest is None or not rest.num_rows else pa.concat_batches([rest, batch])
        end = whole.num_rows - whole.num_rows % CHUNK_ROWS
        for start in range(0, end, CHUNK_ROWS):
            yield whole.slice(start, CHUNK_ROWS)
        rest = whole.slice(end)
    if rest is not None and rest.num_rows:
        yield rest


def _converted(
    batches: Iterator[pa.RecordBatch], names: Sequence[str], converters: Sequence[Convert]
) -> Iterator[Mapping[str, Values]]:
    for chunk in _cut(batches):
        columns = zip(names, converters, chunk.columns, strict=True)
        yield {name: convert(column) for name, convert, column in columns}


def _choose(fields: Sequence[tuple[str, str]], known: Callable[[str], Convert | None]) -> list[Convert]:
    """A converter for each (name, type of the database)."""
    chosen = [known(kind) for _, kind in fields]
    unknown = sorted({kind for (_, kind), convert in zip(fields, chosen, strict=True) if convert is None})
    if unknown:
        raise NotArrowError(f"it has columns of the types {', '.join(unknown)}", is_notice=True)
    return [convert for convert in chosen if convert is not None]


# ---------------------------------------------------------------------------------------------- values


def _cast(kind: pa.DataType) -> Convert:
    return lambda column: column if column.type == kind else pc.cast(column, kind)


def _as_objects(make: Callable[[Any], Any] = lambda value: value) -> Convert:
    return lambda column: [None if value is None else make(value) for value in column.to_pylist()]


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


#: Digits before the point for which ``DECIMAL`` has room.
_WHOLE_DIGITS = DECIMAL.precision - DECIMAL.scale


def _decimals(column: pa.Array) -> Values:
    """Of texts or decimals. Only what fits for certain is cast: Arrow's cast overflows in silence."""
    plain = _storage(column)
    if pa.types.is_decimal(plain.type):
        fits = plain.type.precision - plain.type.scale <= _WHOLE_DIGITS and plain.type.scale <= DECIMAL.scale
    else:
        fits = (pc.max(pc.binary_length(plain)).as_py() or 0) <= _WHOLE_DIGITS
    if fits:
        try:
            return pc.cast(plain, DECIMAL)
        except pa.ArrowInvalid:  # NaN, infinity
            pass
    return [None if value is None else Decimal(value) for value in plain.to_pylist()]


#: What Python's dates and times can hold, in days and microseconds since 1970.
_DAYS, _MICROSECONDS = (-719_162, 2_932_896), (-62_135_596_800_000_000, 253_402_300_799_999_999)


def _times(kind: pa.DataType, beyond: Callable[[int, pa.DataType], Any]) -> Convert:
    """Dates or timestamps; values outside Python's years become ``beyond`` of their number."""
    is_date = pa.types.is_date(kind)
    (low, high), plain = (_DAYS, pa.int32()) if is_date else (_MICROSECONDS, pa.int64())

    def convert(column: pa.Array) -> Values:
        column = column if column.type == kind else pc.cast(column, kind)
        numbers = column.view(plain)
        ends = pc.min_max(numbers)
        first, last = ends["min"].as_py(), ends["max"].as_py()
        if first is None or (first >= low and last <= high):
            return column
        inside = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
        found = pc.if_else(inside, column, pa.scalar(None, kind)).to_pylist()
        return [
            beyond(number, kind) if value is None and number is not None else value
            for value, number in zip(found, numbers.to_pylist(), strict=True)
        ]

    return convert


def _wide_time(number: int, kind: pa.DataType, era: str = " BC") -> str:
    """A date or timestamp as PostgreSQL writes it in UTC, whatever its year."""
    text = str(np.datetime64(number, "D" if pa.types.is_date(kind) else "us"))
    date, _, time = text.partition("T")
    year, rest = date[:-6], date[-6:]
    time = re.sub(r"\.?0{6}$|(\.\d*?)0+$", r"\1", time)
    before = int(year) <= 0
    shown = f"{1 - int(year) if before else int(year):04d}{rest}"
    zone = "+00" if getattr(kind, "tz", None) else ""
    return f"{shown}{' ' if time else ''}{time}{zone}{era if before else ''}"


# ---------------------------------------------------------------------------------------------- PostgreSQL

#: Infinity as the driver gives it: its own mark for it, counted from 2000, wraps around.
_POSTGRES_INFINITY = {
    -2_147_472_692: "infinity", -2_147_472_691: "-infinity", 2_147_472_692: "infinity",
    -9_222_425_352_054_775_809: "infinity", -9_222_425_352_054_775_808: "-infinity",
}  # fmt: skip


def _beyond_postgres(number: int, kind: pa.DataType) -> Unreadable:
    return Unreadable(_POSTGRES_INFINITY.get(number) or _wide_time(number, kind))


POSTGRES_TYPES: Mapping[str, Convert] = {
    **dict.fromkeys(("int2", "int4", "int8"), _cast(pa.int64())),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "unknown"), _cast(pa.string())),
    "bool": _cast(pa.bool_()),
    "float4": lambda column: pc.cast(pc.cast(column, pa.string()), pa.float64()),  # 9.99, and not 9.989999771
    "float8": _cast(pa.float64()),
    "numeric": _decimals,
    "date": _times(pa.date32(), _beyond_postgres),
    "timestamp": _times(NAIVE, _beyond_postgres),
    "timestamptz": _times(AWARE, _beyond_postgres),
    **dict.fromkeys(("json", "jsonb"), lambda column: _as_objects(json.loads)(_storage(column))),
    **dict.fromkeys(("uuid", "bytea", "time", "_int2", "_int4", "_int8", "_text", "_varchar", "_bool"), _as_objects()),
}


def _open_postgres(statement: Statement, engine: sa.Engine, stack: ExitStack) -> Opened:
    url = engine.url
    if not url.get_driver_name().startswith("psycopg"):  # another driver's options are not libpq's
        raise NotArrowError
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import StatementOptions, dbapi

    url = url.set(drivername="postgresql")
    options = {"connect_timeout": str(CONNECT_TIMEOUT_S), "client_encoding": "utf8"}
    url = url.update_query_dict({name: value for name, value in options.items() if name not in url.query})
    connection = stack.enter_context(dbapi.connect(url.render_as_string(hide_password=False)))
    with connection.cursor() as session:
        session.execute("SET TRANSACTION READ ONLY")
    cursor = stack.enter_context(connection.cursor())
    cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(POSTGRES_BATCH_BYTES)})
    # COPY takes no parameters: the ends of the window are written out. The line end closes a comment at the end.
    cursor.execute(statement.render(str, _postgres_literal) + "\n")
    reader = stack.enter_context(cursor.fetch_record_batch())
    fields = [(one.name, (one.metadata or {}).get(b"POSTGRESQL:type", b"?").decode()) for one in reader.schema]
    names = [name for name, _ in fields]
    converters = _choose(fields, POSTGRES_TYPES.get)
    return (OSError, pa.ArrowException, Error), names, _converted(iter(reader), names, converters)


def _postgres_literal(parameter: sa.BindParameter[Any]) -> str:
    """One of the window's four times: no text from outside comes here."""
    value: datetime = parameter.value
    return f"'{value.isoformat(' ')}'::TIMESTAMP {'WITH' if value.tzinfo else 'WITHOUT'} TIME ZONE"


# ---------------------------------------------------------------------------------------------- DuckDB

_LAST, _FIRST = datetime.max, datetime.min  # noqa: DTZ901  without zone, as the driver gives them
_DUCKDB_INFINITY: Mapping[int, datetime] = {2**31 - 1: _LAST, 1 - 2**31: _FIRST, 2**63 - 1: _LAST, 1 - 2**63: _FIRST}


def _beyond_duckdb(number: int, kind: pa.DataType) -> Any:
    """As DuckDB's own driver gives it to Python: infinity as the last day there is, other years as text."""
    found = _DUCKDB_INFINITY.get(number)
    if found is None:
        return _wide_time(number, kind, " (BC)")
    return found.date() if pa.types.is_date(kind) else found


DUCKDB_TYPES: Mapping[str, Convert] = {
    **dict.fromkeys(
        ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), _cast(pa.int64())
    ),
    **dict.fromkeys(("UBIGINT", "HUGEINT"), _as_objects(int)),
    **dict.fromkeys(("FLOAT", "DOUBLE"), _cast(pa.float64())),
    **dict.fromkeys(("VARCHAR", "UUID", "ENUM"), _cast(pa.string())),
    '"NULL"': _cast(pa.string()),
    "BOOLEAN": _cast(pa.bool_()),
    "JSON": _as_objects(json.loads),
    "DECIMAL": _decimals,
    "DATE": _times(pa.date32(), _beyond_duckdb),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"), _times(NAIVE, _beyond_duckdb)),
    "TIMESTAMP WITH TIME ZONE": _times(AWARE, _beyond_duckdb),
    **dict.fromkeys(("BLOB", "TIME", "INTEGER[]", "BIGINT[]", "VARCHAR[]", "BOOLEAN[]", "DOUBLE[]"), _as_objects()),
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
    converters = _choose(fields, DUCKDB_TYPES.get)
    reader = relation.to_arrow_reader(DUCKDB_BATCH_ROWS)
    stack.callback(reader.close)
    names = [name for name, _ in fields]
    return (OSError, pa.ArrowException, Error), names, _converted(iter(reader), names, converters)


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
    return (OSError, pa.ArrowException, Error), rows.names, rows.chunks()


@dataclass(slots=True)
class _SqliteRows:
    """``quoted`` are the columns that come as literals, by position; ``read`` counts the rows that were given."""

    connection: Any
    query: str
    parameters: Sequence[Any]
    names: list[str] = field(init=False)
    kinds: list[pa.DataType] = field(init=False)
    quoted: set[int] = field(default_factory=set)
    read: int = 0

    def __post_init__(self) -> None:
        """Types are those of the first rows; a column of NULLs alone comes as literals, for nobody knows its type."""
        first = list(self._run(f"SELECT * FROM {self.query} LIMIT {CHUNK_ROWS}"))  # noqa: S608
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

    def chunks(self) -> Iterator[Mapping[str, Values]]:
        while True:
            mixed: set[int] = set()
            try:
                for batch in self._run(self._statement()):
                    mixed = self._find_mixed(batch)
                    if mixed:
                        break
                    self.read += batch.num_rows
                    columns = enumerate(zip(self.names, batch.columns[:-1], strict=True))
                    yield {name: self._values(at, column) for at, (name, column) in columns}
            except OSError as error:  # the driver refuses what it cannot convert
                mismatch = re.search(r"Type mismatch in column (\d+)", str(error))
                if mismatch is None or int(mismatch[1]) in self.quoted:
                    raise
                mixed = {int(mismatch[1])}
            if not mixed:
                return
            self.quoted |= mixed

    def _statement(self) -> str:
        """The rows that are left, quoted columns as literals, and the flags of the others."""
        columns = [_sqlite_name(name) for name in self.names]
        flags = [_flag(at, name, self.kinds[at]) for at, name in enumerate(columns) if at not in self.quoted]
        shown = [_literal(name) if at in self.quoted else name for at, name in enumerate(columns)]
        skipped = f" LIMIT -1 OFFSET {self.read}" if self.read else ""
        # The query is the user's own; names of columns are quoted.
        return f"SELECT {', '.join(shown)}, {' + '.join(flags) or '0'} FROM {self.query}{skipped}"  # noqa: S608

    def _find_mixed(self, batch: pa.RecordBatch) -> set[int]:
        found = int(np.bitwise_or.reduce(batch.column(batch.num_columns - 1).to_numpy(zero_copy_only=False)))
        return {at for at in range(len(self.names)) if found >> at & 1}

    def _values(self, at: int, column: pa.Array) -> Values:
        if at in self.quoted:
            if pc.all(pc.equal(column, "NULL")).as_py():
                return pa.nulls(len(column), pa.string())
            return [_of_literal(value) for value in column.view(pa.binary()).to_pylist()]
        if pa.types.is_string(column.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:  # not UTF-8
                return [None if value is None else _decoded(value) for value in column.view(pa.binary()).to_pylist()]
        return column

    def _run(self, text: str) -> Iterator[pa.RecordBatch]:
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(CHUNK_ROWS)})
            cursor.execute(text, self.parameters or None)
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    if batch.num_rows:
                        yield batch


def _sqlite_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _flag(at: int, name: str, kind: pa.DataType) -> str:
    """SQL: the bit of the column where a value is not of its type. NULL is of every type."""
    return f"((typeof({name}) NOT IN ('{_SQLITE_TYPES[kind]}', 'null')) << {at})"


_SQLITE_TYPES = {pa.int64(): "integer", pa.float64(): "real", pa.string(): "text"}


def _literal(name: str) -> str:
    """SQL: the value so that it can be told apart from all others. ``quote`` would cut a text at a zero byte."""
    return f"CASE typeof({name}) WHEN 'text' THEN 'T' || {name} ELSE quote({name}) END"


def _of_literal(literal: bytes) -> Any:
    head = literal[:1]
    if head == b"T":
        return _decoded(literal[1:])
    if literal == b"NULL":
        return None
    if head == b"X":
        return bytes.fromhex(literal[2:-1].decode())
    return float(literal) if re.search(rb"[.eEnN]", literal) else int(literal)


def _decoded(text: bytes) -> str | Unreadable:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return Unreadable(None)


OPENERS: Mapping[str, Callable[[Statement, sa.Engine, ExitStack], Opened]] = {
    "postgresql": _open_postgres,
    "duckdb": _open_duckdb,
    "sqlite": _open_sqlite,
}
