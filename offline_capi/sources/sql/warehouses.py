"""Rows of warehouses as Arrow, by the drivers that SQLAlchemy's dialects use themselves.

SQLAlchemy writes the statement, binds the window and explains what is refused. Only the rows do not come through it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from offline_capi.sources.columns import AWARE, NAIVE
from offline_capi.sources.sql.arrow_values import (
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
from offline_capi.sources.sql.dialects import prepare_session
from offline_capi.sources.sql.statement import Statement

__all__ = ["DRIVER_ERRORS", "open_clickhouse", "open_cursor"]

#: What Arrow raises while rows are read; drivers have their own besides.
DRIVER_ERRORS: tuple[type[Exception], ...] = (OSError, pa.ArrowException)

# ---------------------------------------------------------------------------------------------- ClickHouse


def open_clickhouse(statement: Statement, engine: sa.Engine, stack: ExitStack) -> Opened:
    """The server's own Arrow stream. Its types are asked for before, as Arrow has fewer than ClickHouse."""
    query = _ClickHouseQuery(statement, stack)
    sa.event.listen(engine, "do_execute", query.execute)
    connection = stack.enter_context(engine.connect())
    prepare_session(connection)
    connection.execute(statement)
    names = [name for name, _ in query.fields]
    return DRIVER_ERRORS, names, query.read_batches(), query.converters


@dataclass(slots=True)
class _ClickHouseQuery:
    """Runs ``statement`` as SQLAlchemy wrote it, in place of the driver's cursor, which would hold all rows."""

    statement: Statement
    stack: ExitStack
    fields: list[tuple[str, str]] = field(default_factory=list)
    converters: list[Convert] = field(default_factory=list)
    source: Any = None

    def execute(self, cursor: Any, text: str, parameters: Any, context: Any) -> bool:
        """SQLAlchemy's event: true where nothing is left to do."""
        if context.invoked_statement is not self.statement:
            return False
        client = cursor.client
        text = text if parameters else text.replace("%%", "%")
        try:
            described = client.query(f"DESCRIBE (\n{text}\n)", parameters).result_rows
        except context.dialect.loaded_dbapi.Error:  # its text would be of another statement than the user's
            raise NotArrowError from None
        self.fields = [(str(name), str(kind)) for name, kind, *_ in described]
        self.converters = choose_converters(self.fields, _find_clickhouse_converter)
        error = context.dialect.loaded_dbapi.OperationalError
        self.source = _WholeStream(client.raw_stream(text, parameters, fmt="ArrowStream"), error)
        self.stack.callback(self.source.close)
        return True

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        try:
            with pa.ipc.open_stream(self.source) as reader:
                yield from reader
        except DRIVER_ERRORS as error:
            raise self.source.find_failure() or error from None
        if failure := self.source.find_failure():
            raise failure


class _WholeStream(io.RawIOBase):
    """An Arrow stream that ends with its mark: Arrow takes one that was cut between two batches for a whole one.

    The server writes what went wrong half way behind the rows, in words.
    """

    def __init__(self, response: Any, error: type[Exception]) -> None:
        super().__init__()
        self._response, self._error = response, error
        self._last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        try:
            found: bytes = self._response.read(size)
        except Exception:  # noqa: BLE001  of the HTTP library below the driver
            raise self._error(_CUT) from None
        self._last = (self._last + found[-_LAST_BYTES:])[-_LAST_BYTES:]
        return found

    def find_failure(self) -> Exception | None:
        """What the server says at the end of a stream that failed; that it has no end."""
        if self._last.endswith(_END_OF_STREAM):
            return None
        told = _FAILURE.search(self._last)
        return self._error(told[0].decode(errors="replace") if told else _CUT)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


_CUT = "connection reset"
_LAST_BYTES = 2_048
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_FAILURE = re.compile(rb"Code: \d+\. DB::Exception: .*")


def _find_clickhouse_converter(kind: str) -> Convert | None:
    """By ClickHouse's name of the type, without what only says how it is stored."""
    while wrapped := _WRAPPED.fullmatch(kind):
        kind = wrapped[1]
    name = kind.partition("(")[0]
    if name in ("Enum8", "Enum16"):
        return _convert_enums(kind)
    return CLICKHOUSE_TYPES.get(kind if name == "Array" else name)


_WRAPPED = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")


def _convert_enums(kind: str) -> Convert | None:
    """Their numbers; only the type has their names."""
    if "\\" in kind:
        return None
    members = _ENUM_MEMBER.findall(kind)
    numbers = pa.array([int(number) for _, number in members], pa.int16())
    names = pa.array([name for name, _ in members], pa.string())
    return lambda column: names.take(pc.index_in(pc.cast(column, pa.int16()), numbers))


_ENUM_MEMBER = re.compile(r"'([^']*)' = (-?\d+)")


def _convert_texts(column: pa.Array) -> Values:
    """What is no UTF-8 in hexadecimal, as the driver shows it."""
    return decode_texts(column.view(pa.string()) if pa.types.is_binary(column.type) else column, _decode_or_hex)


def _decode_or_hex(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _convert_integers(column: pa.Array) -> Values:
    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:  # too large
        return as_objects(int)(column)


def _convert_whole_numbers(*, signed: bool) -> Convert:
    """Numbers of 128 and 256 bits, which Arrow has as bytes."""
    return as_objects(lambda value: int.from_bytes(value, "little", signed=signed))


def _convert_instants(column: pa.Array) -> pa.Array:
    """``DateTime`` comes as seconds."""
    if not pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.int64()).view(pa.timestamp("s", "UTC"))
    return _cast_times(column, AWARE)


def _cast_times(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """What is finer than a microsecond is cut."""
    return pc.cast(pc.floor_temporal(column, unit="microsecond") if column.type.unit == "ns" else column, kind)


CLICKHOUSE_TYPES: Mapping[str, Convert] = {
    **dict.fromkeys(("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32"), cast_to(pa.int64())),
    "UInt64": _convert_integers,
    **dict.fromkeys(("Int128", "Int256"), _convert_whole_numbers(signed=True)),
    **dict.fromkeys(("UInt128", "UInt256"), _convert_whole_numbers(signed=False)),
    **dict.fromkeys(("Float32", "Float64"), cast_to(pa.float64())),
    "Bool": cast_to(pa.bool_()),
    "Decimal": convert_decimals,
    "String": _convert_texts,
    "Nothing": cast_to(pa.string()),
    **dict.fromkeys(("Date", "Date32"), cast_to(pa.date32())),
    **dict.fromkeys(("DateTime", "DateTime64"), _convert_instants),
    "IPv4": as_objects(IPv4Address),
    **dict.fromkeys(
        ("UUID", "FixedString", *(f"Array({kind})" for kind in ("Int32", "Int64", "Float64", "String", "Bool"))),
        as_objects(),
    ),
}


# ---------------------------------------------------------------------------------------------- from cursors


def open_cursor(cursor: Any, dialect: str) -> tuple[Iterator[pa.RecordBatch], list[Convert]]:
    """The rows of an executed statement. Raises ``NotArrowError`` before one is fetched: the cursor still has all."""
    if dialect not in _CURSORS:
        raise NotArrowError
    list_types, known, read = _CURSORS[dialect]
    try:
        kinds = list_types(cursor)
    except (AttributeError, ImportError, LookupError):  # a driver of another time: some of these names are its own
        raise NotArrowError("its driver gives no Arrow in a way that is known", is_notice=True) from None
    choose_converters([("", kind) for kind in kinds], dict.fromkeys(known, _convert).get)
    integers = {at for at, kind in enumerate(kinds) if kind == _SNOWFLAKE_INTEGER}
    converters: list[Convert] = [_convert_integers if at in integers else _convert for at in range(len(kinds))]
    return (_level(batch, integers) for batch in read(cursor)), converters


def _level(batch: pa.RecordBatch, integers: set[int]) -> pa.RecordBatch:
    """The same columns in types that do not depend on the batch: Snowflake sends numbers as narrow as they are."""
    columns = [
        pc.cast(column, _INTEGER) if at in integers else _level_column(column)
        for at, column in enumerate(batch.columns)
    ]
    return pa.RecordBatch.from_arrays(columns, names=[str(at) for at in range(len(columns))])


def _level_column(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _cast_times(column, NAIVE if kind.tz is None else AWARE)
    target = next((target for is_kind, target in _LEVELS if is_kind(kind)), kind)
    return column if kind == target else pc.cast(column, target)


_LEVELS: Sequence[tuple[Callable[[pa.DataType], bool], pa.DataType]] = (
    (pa.types.is_integer, pa.int64()),
    (pa.types.is_floating, pa.float64()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_null, pa.string()),
)
#: Snowflake's whole numbers have up to 38 digits.
_INTEGER, _SNOWFLAKE_INTEGER = pa.decimal128(38, 0), "whole NUMBER"


def _convert(column: pa.Array) -> Values:
    kind = column.type
    if pa.types.is_decimal128(kind):
        return convert_decimals(column)
    if pa.types.is_date32(kind) or pa.types.is_timestamp(kind):
        return convert_times(kind, write_wide_time)(column)
    plain = pa.types.is_string(kind) or (pa.types.is_primitive(kind) and not pa.types.is_time(kind))
    return column if plain else column.to_pylist()


def _list_databricks_types(cursor: Any) -> list[str]:
    if type(cursor.active_result_set.results).__name__ == "ColumnQueue":  # of a server that sends no Arrow
        raise NotArrowError
    return [str(column[1]) for column in cursor.description]


def _read_databricks(cursor: Any) -> Iterator[pa.RecordBatch]:
    while (table := cursor.fetchmany_arrow(_CURSOR_ROWS)).num_rows:
        yield from table.combine_chunks().to_batches()


_CURSOR_ROWS = 16_384
_DATABRICKS_TYPES = (
    *("boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "varchar", "char"),
    *("date", "timestamp", "timestamp_ntz", "binary", "null", "variant", "array"),
)


def _list_snowflake_types(cursor: Any) -> list[str]:
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    if getattr(cursor, "_query_result_format", "arrow") != "arrow":
        raise NotArrowError
    names = ((FIELD_ID_TO_NAME[column[1]], column[5]) for column in cursor.description)
    return [_SNOWFLAKE_INTEGER if (name, scale) == ("FIXED", 0) else str(name) for name, scale in names]


def _read_snowflake(cursor: Any) -> Iterator[pa.RecordBatch]:
    for table in cursor.fetch_arrow_batches(force_microsecond_precision=True):
        yield from table.combine_chunks().to_batches()


_SNOWFLAKE_TYPES = (
    *(_SNOWFLAKE_INTEGER, "FIXED", "REAL", "TEXT", "BOOLEAN", "DATE", "TIME", "BINARY", "VARIANT", "OBJECT", "ARRAY"),
    *("TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ"),
)


def _list_bigquery_types(cursor: Any) -> list[str]:
    """A result of one page comes as JSON with the answer itself; all do without the client of BigQuery Storage."""
    rows = cursor._query_rows
    if not rows._should_use_bqstorage(cursor.connection._bqstorage_client, create_bqstorage_client=False):
        raise NotArrowError
    return [str(field.field_type) for field in rows.schema]


def _read_bigquery(cursor: Any) -> Iterator[pa.RecordBatch]:
    """One stream, which keeps the order."""
    yield from cursor._query_rows.to_arrow_iterable(cursor.connection._bqstorage_client, max_stream_count=1)


_BIGQUERY_TYPES = (
    *("STRING", "BYTES", "INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "BOOL", "DATE"),
    *("TIME", "DATETIME", "TIMESTAMP", "GEOGRAPHY", "JSON"),
)

#: Name of the dialect → the types of an executed cursor's columns, those that Arrow has as the driver's rows do, and
#: the rows.
_CURSORS: Mapping[str, tuple[Callable[[Any], list[str]], Sequence[str], Callable[[Any], Iterator[pa.RecordBatch]]]] = {
    "databricks": (_list_databricks_types, _DATABRICKS_TYPES, _read_databricks),
    "snowflake": (_list_snowflake_types, _SNOWFLAKE_TYPES, _read_snowflake),
    "bigquery": (_list_bigquery_types, _BIGQUERY_TYPES, _read_bigquery),
}
