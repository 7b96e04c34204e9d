"""One connection to the ledger's database, and what its errors mean for whoever runs an upload."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from offline_capi.errors import LedgerBusyError, LedgerError

__all__ = ["BUSY_SECONDS", "PAGE_SIZE", "driver_of", "explained", "make_engine", "transaction"]

#: Seconds to wait for another process that writes.
BUSY_SECONDS = 60

#: Any number of ours: PostgreSQL's advisory locks are shared by all users of a database.
LOCK = 0x0FF11E
_TAKE_TURNS = sa.text("SELECT pg_advisory_xact_lock(:lock)")

#: One state of the database for all statements of a transaction that reads, as SQLite has it: another process may
#: merge segments of the index in between. Those that write take turns anyway.
_LOOK_ONCE = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

#: A power cut must not forget an intent whose request is on the wire, so every commit is synced (FULL).
_PRAGMAS = ("synchronous=FULL", "cache_size=-16384")
#: Bytes of a page of a new file: blobs of eight and sixteen thousand bytes are what is written and read. SQLite's own
#: 4,096 take a sixth more time, and larger ones nothing less.
PAGE_SIZE = 16_384


def make_engine(url: str, *, busy_seconds: float | None = None) -> sa.Engine:
    """An engine for one long-lived connection; a SQLite file's folder is made where it is missing.

    ``busy_seconds`` is how long another process may hold the ledger; else ``?timeout=`` of the URL says it.
    """
    try:
        parsed = _parsed(url)
        told = float(str(parsed.query.get("timeout", BUSY_SECONDS)))
    except (sa.exc.ArgumentError, ValueError):  # the second for a port or a timeout that is no number
        raise LedgerError(_UNUSABLE) from None
    parsed = parsed.difference_update_query(["timeout"])
    busy_seconds = told if busy_seconds is None else busy_seconds
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        _make_folder(parsed)
    arguments = _arguments(sqlite, busy_seconds)
    try:
        engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.NullPool, connect_args=arguments)
    except (sa.exc.NoSuchModuleError, ModuleNotFoundError):
        raise LedgerError(_UNUSABLE) from None
    if sqlite:
        _prepare_sqlite(engine, busy_seconds)
    return engine


def _make_folder(url: sa.URL) -> None:
    if not url.database or url.database.startswith("file:"):  # SQLite's own URIs name existing files
        return
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"the ledger's folder {folder} cannot be made: {error.strerror}. Nothing was sent; "
            "name another one and run again: it is safe"
        ) from None


def _arguments(sqlite: bool, busy_seconds: float) -> dict[str, Any]:
    if sqlite:
        return {"timeout": busy_seconds, "check_same_thread": False}
    return {"connect_timeout": 10, "options": f"-c lock_timeout={int(busy_seconds * 1000)}"}


_UNUSABLE = (
    "the ledger's URL cannot be used; it looks like sqlite:///path/ledger.db or postgresql+psycopg://host/db, and the "
    "second needs `pip install 'offline-capi[warehouses]'`. Nothing was sent"
)


def _parsed(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise sa.exc.ArgumentError("neither SQLite nor PostgreSQL")
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _prepare_sqlite(engine: sa.Engine, busy_seconds: float) -> None:
    """A transaction that writes takes the lock when it begins: two runs queue up instead of failing half-way."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")  # says nothing to a file that has pages already
        _use_wal(connection, time.monotonic() + busy_seconds)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA busy_timeout={int(busy_seconds * 1000)}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        driver_of(connection).execute("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")


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


def driver_of(connection: sa.Connection) -> Any:
    """The driver's own connection, for what runs too often to go through SQLAlchemy."""
    return connection.connection.dbapi_connection


@contextmanager
def transaction(connection: sa.Connection, *, writes: bool) -> Iterator[sa.Connection]:
    """One transaction, its errors in our words. Those that write come one after the other, whatever the database."""
    connection.info["writes"] = writes
    with explained(connection.engine), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(_TAKE_TURNS if writes else _LOOK_ONCE, {"lock": LOCK} if writes else None)
        yield connection


@contextmanager
def explained(engine: sa.Engine) -> Iterator[None]:
    """Turn the database's errors into ours: where, what now, is it safe to repeat."""
    place = engine.url.set(query={}).render_as_string(hide_password=True)
    try:
        yield
    except (sa.exc.DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
        fault = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if any(sign in str(fault) for sign in ("locked", "busy", "lock timeout")):
            raise LedgerBusyError(
                f"the ledger {place} was held by another process for too long. Nothing was lost; run again "
                "when that process is done, or look for one that hangs."
            ) from None
        raise LedgerError(
            f"the ledger {place} cannot be used: {type(fault).__name__}: {_first_line(fault)}. Nothing is "
            "sent without it; what was sent is recorded. Running again is safe."
        ) from None


def _first_line(error: object) -> str:
    """Databases quote values on later lines (``DETAIL``); the first names the fault."""
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
