"""One connection to the ledger's database, and what its errors mean for whoever runs an upload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from offline_capi.errors import LedgerBusyError, LedgerError

__all__ = ["explained", "make_engine", "transaction"]

#: Seconds to wait for another process that writes.
BUSY_SECONDS = 60

#: A power cut must not forget an intent whose request is on the wire, so every commit is synced (FULL); the cost is
#: one sync a request of 1,000 events.
#: Any number of ours: PostgreSQL's advisory locks are shared by all users of a database.
LOCK = 0x0FF11E
_TAKE_TURNS = sa.text("SELECT pg_advisory_xact_lock(:lock)")

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}", "cache_size=-16384")


def make_engine(url: str) -> sa.Engine:
    """An engine for one long-lived connection; a SQLite file's folder is made where it is missing."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise LedgerError(
            "the ledger's URL cannot be read; it looks like sqlite:///path/ledger.db or postgresql+psycopg://host/db"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False} if sqlite else {}
    engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.NullPool, connect_args=arguments)
    if sqlite:
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: sa.Engine) -> None:
    """A transaction that writes takes the lock when it begins: two runs queue up instead of failing half-way."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")


@contextmanager
def transaction(connection: sa.Connection, *, writes: bool) -> Iterator[sa.Connection]:
    """One transaction, its errors in our words. Those that write come one after the other, whatever the database."""
    connection.info["writes"] = writes
    with explained(connection.engine), connection.begin():
        if writes and connection.dialect.name == "postgresql":
            connection.execute(_TAKE_TURNS, {"lock": LOCK})
        yield connection


@contextmanager
def explained(engine: sa.Engine) -> Iterator[None]:
    """Turn the database's errors into ours: where, what now, is it safe to repeat."""
    place = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except sa.exc.DBAPIError as error:
        if "locked" in str(error.orig) or "busy" in str(error.orig):
            raise LedgerBusyError(
                f"the ledger {place} was held by another process for {BUSY_SECONDS} s. Nothing was lost; run again "
                "when that process is done, or look for one that hangs."
            ) from None
        raise LedgerError(
            f"the ledger {place} cannot be used: {type(error.orig).__name__}: {_first_line(error.orig)}. Nothing is "
            "sent without it; what was sent is recorded. Running again is safe."
        ) from None


def _first_line(error: object) -> str:
    """Databases quote values on later lines (``DETAIL``); the first names the fault."""
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
