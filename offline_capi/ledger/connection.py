"""One connection to the ledger's database, and what its errors mean to the user.

On PostgreSQL nothing here outlives a transaction: a pooler (pgbouncer in transaction mode, Supabase, Neon, RDS Proxy)
gives each transaction another session, and takes no ``options`` from a client. So settings are made by ``SET LOCAL``,
the lock is the transaction's, and no statement is prepared on the server.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from offline_capi.errors import LedgerBusyError, LedgerError
from offline_capi.storage.private_files import PRIVATE, FileAccess

__all__ = [
    "BUSY_TIMEOUT_S",
    "PAGE_BYTES",
    "explain_errors",
    "get_driver",
    "get_schema",
    "make_engine",
    "open_transaction",
    "quote_name",
    "redact_url",
]

#: Seconds to wait for another process that writes.
BUSY_TIMEOUT_S = 60
#: Seconds to wait for a server to answer, where the URL does not say ``connect_timeout``.
CONNECT_TIMEOUT_S = 10
#: The longest wait that PostgreSQL takes: milliseconds in 31 bits.
MAX_BUSY_S = (2**31 - 1) / 1000
#: Bytes of a name in PostgreSQL, which silently truncates longer ones.
MAX_NAME_BYTES = 63

#: Any number of ours: PostgreSQL's advisory locks are shared by all users of a database.
ADVISORY_LOCK_ID = 0x0FF11E

#: What a transaction begins with, in one message to the server. Whoever reads sees one state of the database in all its
#: statements, as SQLite has it: another process may merge segments of the index in between. Whoever writes takes turns,
#: and sees what the one before committed, whatever isolation the database is set to by default.
_BEGIN_READING = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {settings}"
_BEGIN_WRITING = (
    f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {{settings}}; SELECT pg_advisory_xact_lock({ADVISORY_LOCK_ID})"
)

#: A power cut must not forget an intent whose request is on the wire, so every commit is synced (FULL).
_PRAGMAS = ("synchronous=FULL", "cache_size=-16384")
#: Bytes of a page of a new file: blobs of eight and sixteen thousand bytes are what is written and read. SQLite's own
#: 4,096 take a sixth more time, and larger ones nothing less.
PAGE_BYTES = 16_384

#: Settings of ours in the URL's query; all others are the driver's.
_OWN_SETTINGS = ("timeout", "schema")


def make_engine(url: str, *, busy_seconds: float | None = None, access: FileAccess = PRIVATE) -> sa.Engine:
    """An engine for one long-lived connection; a SQLite file and its folder are made where they are missing.

    ``access`` says who else may read that file; the files that SQLite adds to it have the same permissions.

    Of the URL's query, ``timeout`` says for how many seconds another process may hold the ledger, unless
    ``busy_seconds`` does, and ``schema`` in which schema of a PostgreSQL database it lives; the rest is the driver's.
    """
    try:
        parsed = _parse_url(url)
        asked = float(str(parsed.query.get("timeout", BUSY_TIMEOUT_S)))
    except (sa.exc.ArgumentError, ValueError):  # the second for a port or a timeout that is no number
        raise LedgerError(_UNUSABLE) from None
    busy_seconds = asked if busy_seconds is None else busy_seconds
    if not 0 <= busy_seconds <= MAX_BUSY_S:
        raise LedgerError(f"the ledger's URL: timeout is a number of seconds from 0 to {MAX_BUSY_S:.0f}. {_UNTOUCHED}")
    sqlite = parsed.get_backend_name() == "sqlite"
    schema = _read_schema(parsed)
    parsed = parsed.difference_update_query(_OWN_SETTINGS)
    if sqlite:
        _make_file(parsed, access)
    arguments = _make_connect_arguments(sqlite, busy_seconds, parsed.query)
    try:
        with warnings.catch_warnings(action="error", category=sa.exc.SAWarning):
            engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.NullPool, connect_args=arguments)
    except sa.exc.SAWarning:
        raise LedgerError(
            f"the ledger's URL: SQLite takes {', '.join(sorted(parsed.query))} only of sqlite:///file:NAME?…&uri=true. "
            f"{_UNTOUCHED}"
        ) from None
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError):
        raise LedgerError(_UNUSABLE) from None
    if sqlite:
        _prepare_sqlite(engine, busy_seconds)
    else:
        engine.update_execution_options(**_make_beginnings(busy_seconds, schema), ledger_schema=schema)
    return engine


def _make_file(url: sa.URL, access: FileAccess) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return  # SQLite's own URIs name existing files
    path = Path(url.database)
    folder = path.parent
    try:
        access.make_folder(folder)
    except OSError as error:
        raise LedgerError(
            f"the ledger's folder {folder} cannot be made: {error.strerror}. Nothing was sent; "
            "name another one and run again: it is safe"
        ) from None
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        for part in ("", "-wal", "-shm"):
            access.tighten(Path(f"{path}{part}"))
    except OSError:
        return  # SQLite says why
    else:
        access.apply(number)
        os.close(number)


def _make_connect_arguments(sqlite: bool, busy_seconds: float, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the driver in addition to those of the URL, over which they take precedence."""
    if sqlite:
        return {"timeout": busy_seconds, "check_same_thread": False}
    timeout = {} if "connect_timeout" in asked else {"connect_timeout": CONNECT_TIMEOUT_S}
    return timeout | {"prepare_threshold": None}


_UNTOUCHED = "Nothing was sent"
_UNUSABLE = (
    "the ledger's URL cannot be used; it looks like sqlite:///path/ledger.db or postgresql+psycopg://host/db, and the "
    f"second needs `pip install 'offline-capi[warehouses]'`. {_UNTOUCHED}"
)
#: All of them mean psycopg, which takes the settings of its forerunner: there is one driver to know.
_SPELLINGS = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
_USERINFO = re.compile(r"[^:/]*(?::[^@]*)?@")  # as SQLAlchemy reads it: a password ends at its first @


def _parse_url(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed
    if parsed.drivername not in _SPELLINGS:
        raise sa.exc.ArgumentError("neither SQLite nor PostgreSQL")
    rest = url.strip().partition("://")[2]
    userinfo = _USERINFO.match(rest)
    if userinfo and "@" in rest[userinfo.end() :]:  # part of the password is taken for the host, and would be shown
        raise LedgerError(
            "the ledger's URL has more than one @: write those of its user name and password as %40 (and % as %25). "
            f"{_UNTOUCHED}"
        )
    return parsed.set(drivername="postgresql+psycopg")


def _read_schema(url: sa.URL) -> str | None:
    """The schema that the URL names, if any."""
    schema = url.query.get("schema")
    if schema is None:
        return None
    if url.get_backend_name() == "sqlite":
        raise LedgerError(f"the ledger's URL: schema is for PostgreSQL; SQLite has a file of its own. {_UNTOUCHED}")
    if not isinstance(schema, str) or not schema.isprintable() or not 0 < len(schema.encode()) <= MAX_NAME_BYTES:
        raise LedgerError(
            f"the ledger's URL: schema is one name of at most {MAX_NAME_BYTES} bytes, such as ?schema=offline_capi. "
            f"{_UNTOUCHED}"
        )
    return schema


def _make_beginnings(busy_seconds: float, schema: str | None) -> dict[str, str]:
    """What a transaction on PostgreSQL begins with, as options of the engine."""
    settings = f"SET LOCAL lock_timeout = {max(1, int(busy_seconds * 1000))}"  # 0 would be for ever
    if schema is not None:
        settings += f"; SET LOCAL search_path TO {quote_name(schema)}"
    return {
        "ledger_begin_reading": _BEGIN_READING.format(settings=settings),
        "ledger_begin_writing": _BEGIN_WRITING.format(settings=settings),
    }


def quote_name(name: str) -> str:
    """A name for a statement's text; SQLAlchemy would double its per cent signs, for statements with parameters."""
    return '"' + name.replace('"', '""') + '"'


def get_schema(connection: sa.Connection) -> str | None:
    """The schema that the ledger's URL names, if any."""
    schema: str | None = connection.get_execution_options().get("ledger_schema")
    return schema


def _prepare_sqlite(engine: sa.Engine, busy_seconds: float) -> None:
    """A transaction that writes takes the lock when it begins: two runs queue up instead of failing half-way."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # says nothing to a file that has pages already
        _use_wal(connection, time.monotonic() + busy_seconds)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA busy_timeout={int(busy_seconds * 1000)}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        get_driver(connection).execute("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")


def _use_wal(connection: Any, give_up_at: float) -> None:
    """Readers and a writer side by side. SQLite does not wait by itself where two processes make the file at once."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
        else:
            return


def get_driver(connection: sa.Connection) -> Any:
    """The driver's own connection, for what runs too often to go through SQLAlchemy."""
    return connection.connection.dbapi_connection


@contextmanager
def open_transaction(connection: sa.Connection, *, writes: bool) -> Iterator[sa.Connection]:
    """One transaction, its errors translated. Those that write come one after the other, whatever the database."""
    connection.info["writes"] = writes
    with explain_errors(connection.engine), connection.begin():
        if connection.dialect.name == "postgresql":
            beginning = "ledger_begin_writing" if writes else "ledger_begin_reading"
            get_driver(connection).execute(connection.get_execution_options()[beginning])
        yield connection


def redact_url(engine: sa.Engine) -> str:
    """Where the ledger is, without a password."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def explain_errors(engine: sa.Engine) -> Iterator[None]:
    """Turn the database's errors into ours: where, what now, is it safe to repeat."""
    try:
        yield
    except (sa.exc.DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
        place = redact_url(engine)
        fault = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if _is_busy(fault):
            raise LedgerBusyError(
                f"the ledger {place} was held by another process for too long. Nothing was lost; run again "
                "when that process is done, or look for one that hangs."
            ) from None
        raise LedgerError(
            f"the ledger {place} cannot be used: {type(fault).__name__}: {_get_first_line(fault)}. "
            f"{_advise(engine, fault)}"
            "Nothing is sent without it; what was sent is recorded. Running again is safe."
        ) from None


def _is_busy(fault: object) -> bool:
    """Whether another process held the database: by the error's number, as hosts and roles may be called "busy" too."""
    primary = getattr(fault, "sqlite_errorcode", 0) & 0xFF  # the rest says why
    return primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or getattr(fault, "sqlstate", None) == "55P03"


def _advise(engine: sa.Engine, fault: object) -> str:
    """What to do about a fault of the database, where its message does not say so."""
    state, text = getattr(fault, "sqlstate", None), str(fault)
    role = quote_name(engine.url.username) if engine.url.username else "its role"
    if state == "42501":  # insufficient_privilege
        return (
            f"Ask the database's administrator for `CREATE SCHEMA offline_capi AUTHORIZATION {role}`, and add "
            "?schema=offline_capi to the URL; what else may be granted stands at the head of `offline-capi ddl`. "
        )
    if state == "3F000":  # invalid_schema_name
        return f"The schema that the URL names is not there, or {role} has no USAGE on it. "
    if "unsupported startup parameter" in text:
        return (
            "A pooler such as pgbouncer takes no `options` (of the URL, or PGOPTIONS): write ?schema=NAME instead of "
            "a search_path there, or connect without the pooler. "
        )
    return ""


def _get_first_line(error: object) -> str:
    """Databases quote values on later lines (``DETAIL``); the first names the fault."""
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
