"""What each kind of database needs: how it is connected to, how its session is set up, how the window is bound to it.

A session is read-only where the database can enforce that. Where a database has no type for instants, they are bound
and read in UTC: as text on SQLite, as naive values in a session of zone UTC on MySQL and MariaDB.

A value that Python cannot hold (infinity, years before 1 or after 9999, 24:00, MySQL's zero dates) comes as
``Unreadable`` in its place, and ends no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from offline_capi.config.queries import PARAMETER_NAMES
from offline_capi.errors import SourceError
from offline_capi.model import Window
from offline_capi.sources.columns import Unreadable
from offline_capi.sources.sql.errors import Where

__all__ = [
    "abandon",
    "compares_instants_as_local",
    "converters_of",
    "decode_or_unreadable",
    "engine_for",
    "fetching",
    "is_mysql",
    "limit_time",
    "prepare_session",
    "window_parameters",
]

CONNECT_TIMEOUT_S = 15
LOCAL, INSTANT = sa.DateTime(), sa.DateTime(timezone=True)


class _UtcText(sa.types.TypeDecorator[datetime]):
    """An instant of ClickHouse. Its driver writes a text without a zone, which the server would read in that of the
    column: here the text says that it is UTC."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def bind_expression(self, bindparam: sa.BindParameter[Any]) -> sa.ColumnElement[Any]:
        return sa.func.toDateTime64(bindparam, sa.literal_column("6"), sa.literal_column("'UTC'"), type_=self)


#: BigQuery's dialect types every DateTime as DATETIME, which BigQuery does not compare with a TIMESTAMP.
_INSTANTS: Mapping[str, sa.types.TypeEngine[Any]] = {"bigquery": sa.TIMESTAMP(), "clickhousedb": _UtcText()}


# ---------------------------------------------------------------------------------------------- connecting


def engine_for(url: str, where: Where) -> sa.Engine:
    """An engine that keeps no connection. Raises ``SourceError`` where ``url`` cannot lead to a database."""
    parsed = _url_of(url, where).difference_update_query(["detect_types"])  # values as SQLite keeps them
    _check_file(parsed, where)
    engine = sa.create_engine(parsed, hide_parameters=True, poolclass=NullPool, connect_args=_connect_args(parsed))
    if (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg"):
        sa.event.listen(engine, "connect", _tolerate_values)
    return engine


def _url_of(url: str, where: Where) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number; both quote the URL
        raise SourceError(
            f"connection {where.connection}: what it gives is not a database URL.\n"
            "It should look like postgresql+psycopg://user:password@host/database. Nothing was sent; repeating is safe."
        ) from None


_NO_FILE = (":memory:", "file:", "md:", "motherduck:")


def _check_file(url: sa.URL, where: Where) -> None:
    """SQLite and DuckDB make an empty database where there is none, and then miss the table: say what is wrong."""
    path = url.database
    is_file = (
        url.get_backend_name() in ("sqlite", "duckdb") and path and not path.startswith((":memory:", "file:", "md:"))
    )
    if is_file and not Path(str(path)).is_file():
        raise SourceError(
            f"connection {where.connection}: there is no database file {path}.\n"
            "Correct the path in the connection. Nothing was sent; repeating is safe."
        )


# Without a limit, a firewall that swallows packets holds the task for minutes. Drivers that are not here have none, or
# one that would cut slow queries as well (pg8000).
_TIMEOUT_OPTIONS: Mapping[tuple[str, str], str] = {
    ("postgresql", "psycopg"): "connect_timeout",
    ("postgresql", "psycopg2"): "connect_timeout",
    ("mysql", "mysqldb"): "connect_timeout",
    ("mysql", "pymysql"): "connect_timeout",
    ("mysql", "mysqlconnector"): "connection_timeout",
    ("mysql", "mariadbconnector"): "connect_timeout",
}


def _connect_args(url: sa.URL) -> dict[str, Any]:
    backend = "mysql" if url.get_backend_name() == "mariadb" else url.get_backend_name()
    driver = url.get_driver_name()
    option = _TIMEOUT_OPTIONS.get((backend, driver))
    arguments: dict[str, Any] = {option: CONNECT_TIMEOUT_S} if option else {}
    if (backend, driver) == ("postgresql", "psycopg"):
        arguments["client_encoding"] = "utf8"  # a database without an encoding would give bytes for every text
    if backend == "clickhousedb":  # else instants of UTC would come without their zone, and be read as wall time
        arguments |= {"tz_mode": "aware", "connect_timeout": CONNECT_TIMEOUT_S}
    if (
        backend == "databricks"
    ):  # else arrays would be numpy's, in which a missing whole number makes all of them floats
        arguments["_disable_pandas"] = True
    if backend == "snowflake":  # else Arrow's decimals would be floats
        arguments["arrow_number_to_decimal"] = True
    if backend == "duckdb" and url.database and not url.database.startswith(_NO_FILE):
        arguments["read_only"] = True  # it knows no read-only transaction
    return {name: value for name, value in arguments.items() if name not in url.query}


# ---------------------------------------------------------------------------------------------- the session


def is_mysql(dialect: sa.Dialect) -> bool:
    return dialect.name in ("mysql", "mariadb")


_SESSION: Mapping[str, Sequence[str]] = {
    # One snapshot, so that a query that is read again gives the same rows.
    "sqlite": ("PRAGMA query_only = ON", "BEGIN"),
    # It would draw a bar on standard output, where --json is printed, once a query takes two seconds.
    "duckdb": ("SET enable_progress_bar = false",),
    "postgresql": ("SET TRANSACTION READ ONLY",),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
    # :since is a timestamp in the session's zone, and compared with TIMESTAMP_NTZ by that zone.
    "databricks": ("SET TIME ZONE 'UTC'",),
}


def prepare_session(connection: sa.Connection) -> None:
    """Read-only, whatever the query says, and in UTC where the session's zone decides what a value means."""
    for statement in _SESSION.get(connection.dialect.name, ()):
        connection.exec_driver_sql(statement)
    if connection.dialect.name == "clickhousedb":
        _refuse_writes_of_clickhouse(connection)


def _refuse_writes_of_clickhouse(connection: sa.Connection) -> None:
    """Send ``readonly=2`` with each query, which leaves a query its own ``SETTINGS``.

    A login that is read-only already may not change that setting, and every query that tried would be refused.
    """
    driver: Any = connection.connection.dbapi_connection
    client = driver.client
    setting = client.server_settings.get("readonly")
    if setting is not None and setting.value == "0" and not setting.readonly:
        client.set_client_setting("readonly", "2")


def limit_time(connection: sa.Connection, seconds: int) -> None:
    """No statement of this transaction may take longer, where the database can see to that."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {seconds * 1000}")
    elif is_mysql(connection.dialect):
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        limit = f"max_statement_time = {seconds}" if is_mariadb else f"max_execution_time = {seconds * 1000}"
        connection.exec_driver_sql(f"SET SESSION {limit}")


def window_parameters(window: Window, zone: str, dialect: sa.Dialect) -> dict[str, sa.BindParameter[Any]]:
    """The four parameters that a query may use, as ``dialect`` compares them with its columns."""
    local = ZoneInfo(zone)
    ends = (window.since, window.until)
    instants = [end.astimezone(UTC) for end in ends]
    values = dict(
        zip(PARAMETER_NAMES, [*(end.astimezone(local).replace(tzinfo=None) for end in ends), *instants], strict=True)
    )
    if dialect.name == "sqlite":
        return {name: sa.bindparam(name, value.strftime("%Y-%m-%d %H:%M:%S")) for name, value in values.items()}
    if is_mysql(dialect):
        return {name: sa.bindparam(name, value.replace(tzinfo=None), LOCAL) for name, value in values.items()}
    instant = _INSTANTS.get(dialect.name, INSTANT)
    return {name: sa.bindparam(name, value, instant if value.tzinfo else LOCAL) for name, value in values.items()}


# ---------------------------------------------------------------------------------------------- values


Fetch = Callable[[int], Sequence[Any]]


def fetching(result: sa.CursorResult[Any], dialect: sa.Dialect) -> Fetch:
    """A function that gives the next rows of ``result``."""
    if dialect.name == "sqlite" and result.cursor is not None:
        return _SqliteRows(result).fetch
    return result.fetchmany


def abandon(connection: sa.Connection, result: sa.CursorResult[Any]) -> None:
    """Let go of a result that may not have been read to its end: MySQL's drivers would first read all the rest."""
    if result.cursor is None or not is_mysql(connection.dialect):
        return
    unread: Any = getattr(result.cursor, "_result", None)
    if getattr(unread, "unbuffered_active", False):
        unread.unbuffered_active = False  # PyMySQL has no public way, and would read from the closed socket
    connection.invalidate()


class _SqliteRows:
    """SQLite's own cursor: it streams by itself and converts nothing, so that SQLAlchemy's rows would only cost time.

    At text that is not UTF-8 the driver gives up the query. It is then run again in the same snapshot, with such text
    as ``Unreadable``; decoding each text in Python from the start would take twice the time.
    """

    def __init__(self, result: sa.CursorResult[Any]) -> None:
        self._cursor: Any = result.cursor
        self._statement, self._parameters = result.context.statement, result.context.parameters[0]
        self._read = 0
        self._decodes = False

    def fetch(self, rows: int) -> Sequence[Any]:
        try:
            found: Sequence[Any] = self._cursor.fetchmany(rows)
        except self._cursor.connection.OperationalError as error:
            if self._decodes or "Could not decode to UTF-8" not in str(error):
                raise
            self._decodes = True
            self._cursor.connection.text_factory = decode_or_unreadable
            self._cursor.execute(self._statement, self._parameters)
            for _ in range(self._read):
                self._cursor.fetchone()
            found = self._cursor.fetchmany(rows)
        self._read += len(found)
        return found


def decode_or_unreadable(text: bytes) -> str | Unreadable:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return Unreadable(None)


# Protocol::ColumnType of MySQL and MariaDB.
_TIMESTAMP, _DATE, _DATETIME, _BIT = 7, 10, 12, 16


def converters_of(result: sa.CursorResult[Any], dialect: sa.Dialect) -> Mapping[int, Callable[[Any], Any]]:
    """By position of the column: what makes of a driver's value what the database meant."""
    if not is_mysql(dialect) or result.cursor is None:
        return {}
    converters = {_TIMESTAMP: _instant, _DATE: _or_unreadable, _DATETIME: _or_unreadable, _BIT: _number}
    codes = [column[1] for column in result.cursor.description]
    return {at: converters[code] for at, code in enumerate(codes) if code in converters}


def compares_instants_as_local(result: sa.CursorResult[Any], dialect: sa.Dialect) -> list[str]:
    """The TIMESTAMP columns of a MySQL result that has no other time with which ``:since`` could be compared."""
    if not is_mysql(dialect) or result.cursor is None:
        return []
    codes = {column[0]: column[1] for column in result.cursor.description}
    return (
        [] if {_DATE, _DATETIME} & set(codes.values()) else [name for name, code in codes.items() if code == _TIMESTAMP]
    )


def _instant(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else _or_unreadable(value)


def _or_unreadable(value: Any) -> Any:
    """Zero dates and the like come as text."""
    return Unreadable(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


_TIMES = ("date", "timestamp", "timestamptz", "time", "timetz", "interval")


def _tolerate_values(connection: Any, _: object) -> None:
    """Give what psycopg cannot hold as PostgreSQL's own text."""
    from psycopg.pq import Format

    for name in _TIMES:
        oid = connection.adapters.types[name].oid
        connection.adapters.register_loader(oid, _tolerant(connection.adapters.get_loader(oid, Format.TEXT)))


def _tolerant(loader: Any) -> type[Any]:
    from psycopg import DataError
    from psycopg.adapt import Loader

    class TolerantLoader(Loader):
        def __init__(self, oid: int, connection: Any = None) -> None:
            super().__init__(oid, connection)
            self._load = loader(oid, connection).load

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except DataError:
                return Unreadable(bytes(data).decode())

    return TolerantLoader
