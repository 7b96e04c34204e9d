"""What a database says, as far as it may be told: its message where that can name only tables and columns.

An error about data may quote a row, so its text stays hidden and only its kind is named. No error is chained, and no
URL is shown: the one quotes rows, the other holds a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from offline_capi.errors import SourceError

__all__ = ["Where", "explained"]

AGAIN = "Nothing was sent from it after that point; repeating is safe."


@dataclass(frozen=True, slots=True)
class Where:
    """The query, as far as it may be named in a message."""

    connection: str
    origin: str


@contextmanager
def explained(where: Where, engine: sa.Engine | None = None) -> Iterator[None]:
    """Turn what SQLAlchemy and the driver raise into what the owner of the table can act on."""
    driver_error = engine.dialect.loaded_dbapi.Error if engine else sa.exc.DBAPIError
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _of_database(error.orig or error, where, engine) from None
    except driver_error as error:
        raise _of_database(error, where, engine) from None
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        raise SourceError(
            f"connection {where.connection}: no driver for this kind of database is installed"
            f" ({getattr(error, 'name', None) or 'unknown dialect'}).\n"
            f"Install one: pip install 'offline-capi[warehouses]' brings PostgreSQL. {AGAIN}"
        ) from None
    except sa.exc.ResourceClosedError:
        raise SourceError(f"{where.origin}: it gives no rows, as a SELECT does.\nWrite one SELECT. {AGAIN}") from None


# ---------------------------------------------------------------------------------------------- the table of causes

# What the message says → what it means, and what to do. First match counts.
CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what, fix)
    for pattern, what, fix in (
        (
            r"database is locked|database table is locked",
            "the database is locked by another process",
            "Wait until that process has finished, and run again.",
        ),
        (
            r"password authentication failed|no password supplied|access denied for user|login failed",
            "the database refused user or password",
            "Renew the password in the connection.",
        ),
        (
            r"could not decode to utf-8 column '([^']*)'",
            'the column "{0}" holds text that is not UTF-8',
            "Mend the rows, or CAST the column AS BLOB in the query.",
        ),
        (
            r"connection refused|could not translate host|name or service not known|failed to resolve|timeout expired"
            r"|timed out|no route to host|network is unreachable|connection failed|could not connect|unable to open",
            "the database cannot be reached",
            "Look whether it runs, and whether this machine may connect to it.",
        ),
        (
            r"terminating connection|server closed the connection|connection is closed|connection not open"
            r"|the connection is lost|lost connection|eof detected",
            "the database ended the connection",
            "Look into its log, and run again.",
        ),
        (
            r"read-only transaction|readonly database|read only",
            "the query wants to write, and a source is only read",
            "Write one SELECT.",
        ),
    )
)
# PEP 249: these two are about values.
QUOTES_VALUES = {"DataError", "IntegrityError"}


def _of_database(error: BaseException, where: Where, engine: sa.Engine | None) -> SourceError:
    text = _first_line(error)
    for pattern, what, fix in CAUSES:
        found = pattern.search(text)
        if found:
            return SourceError(f"{_place(where, engine)}: {what.format(*found.groups())}.\n{fix} {AGAIN}")
    if QUOTES_VALUES & {kind.__name__ for kind in type(error).__mro__}:
        return SourceError(
            f"{where.origin} on {_place(where, engine)}: a value of a row makes it fail ({_kind(error)}); the"
            f" database's text is not shown, as it may quote the row.\nRun the query by hand to see it. {AGAIN}"
        )
    return SourceError(
        f"{where.origin} on {_place(where, engine)}: the database refused it: {text}\nCorrect the query. {AGAIN}"
    )


def _first_line(error: BaseException) -> str:
    """PostgreSQL's primary message; elsewhere the first line. What follows is context and may quote data."""
    diagnosis = getattr(error, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def _kind(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}, SQLSTATE {state}" if state else type(error).__name__


def _place(where: Where, engine: sa.Engine | None) -> str:
    """The connection's name, and where it leads; never user, password or options."""
    if engine is None:
        return f"connection {where.connection}"
    url = engine.url
    host = f"{url.host}{f':{url.port}' if url.port else ''}/" if url.host else ""
    return f"connection {where.connection} ({url.get_backend_name()} {host}{url.database or ''})"
