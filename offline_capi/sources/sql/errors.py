"""What a database says, as far as it may be told: its message where that can name only tables and columns.

Any message may quote a row, whatever its kind (``RAISE``, a cast, a function that was given a value), so that words are
let through and not taken out: those of the query's own text and of the vocabulary of databases
(``border.words_of_database``). Of an error about data only the kind is named. No error is chained, and no URL is shown:
the one quotes rows, the other holds a password.

Faults that pass are told apart from faults of the query, by SQLSTATE or the driver's number where there is one, else by
what the message says: they raise ``SourceUnavailableError``, which Airflow repeats like every temporary error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from offline_capi.config.connections import explain_install
from offline_capi.errors import SourceError, SourceUnavailableError
from offline_capi.runtime.border import is_name, words_of_database

__all__ = ["Where", "explain_arrow_errors", "explain_query_errors", "explain_value_errors"]

AGAIN = "Nothing was sent from it after that point; repeating is safe."


@dataclass(frozen=True, slots=True)
class Where:
    """The query, as far as it may be named in a message. ``text`` is what its author wrote, and may be quoted."""

    connection: str
    origin: str
    text: str = ""


@contextmanager
def explain_query_errors(where: Where, engine: sa.Engine | None = None) -> Iterator[None]:
    """Turn what SQLAlchemy and the driver raise into what the owner of the table can act on."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _of_database(error.orig or error, where, engine) from None
    except _list_driver_errors(engine) as error:
        raise _of_database(error, where, engine) from None
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        raise SourceError(
            f"connection {where.connection}: no driver for this kind of database is installed"
            f" ({getattr(error, 'name', None) or 'unknown dialect'}).\n{explain_install(_missing(error))} {AGAIN}"
        ) from None
    except sa.exc.ResourceClosedError:
        raise SourceError(f"{where.origin}: it gives no rows, as a SELECT does.\nWrite one SELECT. {AGAIN}") from None
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'|'(\w+)' is an invalid keyword", str(error))
        if unknown is None:
            raise
        raise SourceError(
            f'{_place(where, engine)}: the driver does not know the option "{unknown[1] or unknown[2]}".\n'
            f"Remove it from the connection. {AGAIN}"
        ) from None


def _list_driver_errors(engine: sa.Engine | None) -> tuple[type[Exception], ...]:
    """What the driver raises; Google's has its own errors only until the rows come."""
    if engine is None:
        return ()
    found: tuple[type[Exception], ...] = (engine.dialect.loaded_dbapi.Error,)
    if engine.dialect.name == "bigquery":
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        found += (GoogleAPIError, GoogleAuthError)
    return found


def _missing(error: Exception) -> str:
    """The module or SQLAlchemy's name of the dialect that is not there."""
    dialect = re.search(r"sqlalchemy\.dialects:([\w.]+)", str(error))
    return str(getattr(error, "name", None) or (dialect[1] if dialect else ""))


@contextmanager
def explain_value_errors(where: Where, engine: sa.Engine) -> Iterator[None]:
    """The same for what a driver raises of Python's own about a value, which it quotes."""
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise _of_value(error, where, engine) from None


@contextmanager
def explain_arrow_errors(where: Where, engine: sa.Engine, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """The same for what an Arrow driver raises after its first rows: the connection, or else a value, is the cause."""
    try:
        yield
    except _list_driver_errors(engine) as error:
        raise _of_database(error, where, engine) from None
    except errors as error:
        if passing := _passing(error, _first_line(error)):
            what, fix = passing
            raise SourceUnavailableError(f"{where.origin} on {_place(where, engine)}: {what}.\n{fix} {AGAIN}") from None
        raise _of_value(error, where, engine) from None


# ---------------------------------------------------------------------------------------------- faults that pass


_TRY_AGAIN = "This passes: run again later. Airflow does so by itself."
_CANCELLED = "This may pass: run again. If it does not, make the query faster or its time limit longer."

# SQLSTATE, or its class of two characters → what happened, and what to do (PostgreSQL's manual, appendix A).
_STATES: Mapping[str, tuple[str, str]] = {
    "08": ("the connection to the database failed", _TRY_AGAIN),
    "40": ("the database gave up the query in favour of another transaction", _TRY_AGAIN),
    "53": ("the database is short of connections, memory or disk", _TRY_AGAIN),
    "57": ("the database ended the connection", _TRY_AGAIN),
    "55P03": ("the database waited too long for a lock", _TRY_AGAIN),
    "57014": ("the database cancelled the query, by its time limit or for its administrator", _CANCELLED),
    "57P03": ("the database is starting or shutting down", _TRY_AGAIN),
    "72000": ("the snapshot that the query reads is gone", _TRY_AGAIN),
    "25P03": ("the database ended the connection", _TRY_AGAIN),
    "25P04": ("the database cancelled the query, by its time limit or for its administrator", _CANCELLED),
    "HYT00": ("the database did not answer in time", _TRY_AGAIN),
    "HYT01": ("the database did not answer in time", _TRY_AGAIN),
}
# … of which these do not pass by themselves: a host or database that is not there, a forbidden protocol.
_LASTING_STATES = {"08P01", "40002", "57P04", "53400"}
_LOGIN_ENDED = (
    r"token (?:is |has |was )?(?:been )?(?:expired|revoked|invalid)|invalid access token|invalid_grant"
    r"|invalid authentication credentials|reauthentication is needed|credentials? (?:has |have |is )?expired"
)
# Snowflake gives these the SQLSTATE of a connection that failed, or of a server that starts.
_LASTING = re.compile(rf"{_LOGIN_ENDED}|incorrect username or password|no active warehouse|is suspended", re.IGNORECASE)

_ENDED = ("the database ended the connection", _TRY_AGAIN)
_LIMITED = ("the database cancelled the query, by its time limit or for its administrator", _CANCELLED)
# The numbers of MySQL's and MariaDB's errors.
_NUMBERS: Mapping[int, tuple[str, str]] = {
    **dict.fromkeys((1040, 1041, 1203, 1226), ("the database is short of connections, memory or disk", _TRY_AGAIN)),
    **dict.fromkeys((1205, 3572), ("the database waited too long for a lock", _TRY_AGAIN)),
    **dict.fromkeys((1213, 1020), ("the database gave up the query in favour of another transaction", _TRY_AGAIN)),
    **dict.fromkeys((1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2055, 4031), _ENDED),
    **dict.fromkeys((1317, 1969, 3024), _LIMITED),
}

# What the message says, where there is neither.
_PASSING: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what, fix)
    for pattern, what, fix in (
        (
            r"database is locked|database table is locked|database schema is locked|could not set lock on file"
            r"|conflicting lock is held",
            "the database is locked by another process",
            "Wait until that process has finished, and run again.",
        ),
        (
            r"connection refused|temporary failure in name resolution|timeout expired|connection timed out"
            r"|connect timed out|no route to host|network is unreachable|host is unreachable",
            "the database cannot be reached",
            "Look whether it runs, and whether this machine may connect to it; then run again.",
        ),
        (
            r"terminating connection|server closed the connection|connection is closed|connection already closed"
            r"|connection not open|the connection is lost|lost connection|eof detected|connection reset|broken pipe"
            r"|server has gone away|network error",
            *_ENDED,
        ),
        (
            r"statement timeout|timeout exceeded|canceling statement due to user request"
            r"|query execution was interrupted",
            *_LIMITED,
        ),
        (
            r"conflict with recovery|deadlock|could not serialize access|serialization failure|snapshot too old",
            "the database gave up the query in favour of another transaction",
            _TRY_AGAIN,
        ),
        (
            r"lock wait timeout|lock timeout|lock request time out",
            "the database waited too long for a lock",
            _TRY_AGAIN,
        ),
        (
            r"too many (?:clients|connections)|remaining connection slots|max_user_connections"
            r"|rate limit|too many requests|too many concurrent|too many simultaneous queries|quotaexceeded"
            r"|memory limit .*exceeded|exceeded_memory_limit",
            "the database is short of connections, memory or disk",
            _TRY_AGAIN,
        ),
        (
            r"the database system is (?:starting up|shutting down|in recovery)|server shutdown in progress"
            r"|service unavailable|temporarily unavailable|temporarily_unavailable|server_starting_up"
            r"|(?:warehouse|cluster)\b.* is (?:starting|resuming|restarting|pending)|max retry duration"
            r"|internal error occurred and the request could not be completed",
            "the database is starting or shutting down",
            _TRY_AGAIN,
        ),
    )
)

# ---------------------------------------------------------------------------------------------- faults that stay

# What the message says → what it means, and what to do. First match counts.
CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what, fix)
    for pattern, what, fix in (
        (
            _LOGIN_ENDED,
            "the token of the connection has ended, or is none",
            "Renew it in the connection.",
        ),
        (
            r"no active warehouse selected|cannot be resumed|(?:warehouse|cluster)\b.* (?:is|was) (?:suspended|stopped"
            r"|terminated|not running|not in a running state|deleted)",
            "no warehouse runs the query",
            "Name one in the connection, or have its owner start it.",
        ),
        (
            r"bigquery\.readsessions",
            "the login of the connection may not read by BigQuery Storage, by which rows come",
            "Have it granted the role BigQuery Read Session User.",
        ),
        (
            r"password authentication failed|no password supplied|access denied for user|login failed"
            r"|incorrect username or password|authentication failed|error 401",
            "the database refused user or password",
            "Renew the password in the connection.",
        ),
        (
            r"could not translate host|name or service not known|failed to resolve|nodename nor servname"
            r"|timed out|connection failed|could not connect|can't connect to|unable to open",
            "the database cannot be reached",
            "Look whether the connection names it rightly, whether it runs, and whether this machine may connect.",
        ),
        (
            r"invalid (?:connection|URI query) (?:option|parameter):? \"([^\"]*)\"",
            'the driver does not know the option "{0}"',
            "Remove it from the connection.",
        ),
        (
            r"incorrect number of bindings supplied",
            "the query has placeholders of its own (?, @name or $name)",
            "Use :since, :until, :since_utc and :until_utc alone.",
        ),
        (
            r"read-only transaction|readonly database|read only|read-only mode|in readonly mode",
            "the query wants to write, and a source is only read",
            "Write one SELECT.",
        ),
    )
)
HIDDEN = "Words that do not stand in the query are shown as …, as they may be of a row. "
# PEP 249: these two are about values.
QUOTES_VALUES = {"DataError", "IntegrityError"}


def _of_database(error: BaseException, where: Where, engine: sa.Engine | None) -> SourceError:
    text = _first_line(error)
    place = _place(where, engine)
    if passing := _passing(error, text):
        return SourceUnavailableError(f"{where.origin} on {place}: {passing[0]}.\n{passing[1]} {AGAIN}")
    for pattern, what, fix in CAUSES:
        if found := pattern.search(text):
            return SourceError(f"{place}: {what.format(*map(_option, found.groups()))}.\n{fix} {AGAIN}")
    if QUOTES_VALUES & {kind.__name__ for kind in type(error).__mro__}:
        return _of_value(error, where, engine)
    known = [str(error.args[0])] if error.args and isinstance(error.args[0], int) else []
    known += [engine.url.database or "", engine.url.get_backend_name()] if engine else []
    told = words_of_database(text, where.text, known)
    return SourceError(
        f"{where.origin} on {place}: the database refused it ({_kind(error)}): {told}\n"
        f"{HIDDEN if '…' in told else ''}{_find_fix(text)} {AGAIN}"
    )


_FIXES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), fix)
    for pattern, fix in (
        (
            r"insufficient (?:privileges|permissions)|permission denied|permission_denied|access denied|access_denied"
            r"|not enough privileges|does not have (?:permission|[A-Z]+(?: [A-Z]+)? on)|permission was denied",
            "Have the login of the connection granted the right to read it.",
        ),
        (
            r"does not exist or not authorized|not found: table|table_or_view_not_found|perhaps it does not exist",
            "Correct the name, or have the login of the connection granted the right to see it.",
        ),
    )
)


def _find_fix(text: str) -> str:
    return next((fix for pattern, fix in _FIXES if pattern.search(text)), "Correct the query.")


def _of_value(error: BaseException, where: Where, engine: sa.Engine | None) -> SourceError:
    column = re.search(r"\bcolumn ['\"`]?(\w+)", str(getattr(error, "orig", error)), re.IGNORECASE)
    # MySQL's and PostgreSQL's words for a column of a table; anything else after the word is a value's.
    named = f' of the column "{column[1]}"' if column and _is_in(where.text, column[1]) else ""
    return SourceError(
        f"{where.origin} on {_place(where, engine)}: a value{named} makes it fail ({_kind(error)}); the database's text"
        f" is not shown, as it may quote the row.\nCAST the column to text in the query, or mend the row. {AGAIN}"
    )


def _is_in(query: str, name: str) -> bool:
    """Whether the author of the query wrote ``name``, or selected all columns and it looks like the name of one."""
    return re.search(rf"\b{re.escape(name)}\b", query, re.IGNORECASE) is not None


def _option(name: str) -> str:
    return name if is_name(name) else "…"


def _passing(error: BaseException, text: str) -> tuple[str, str] | None:
    """What happened and what to do, where the fault passes by itself."""
    state = _sqlstate(error)
    if state in _LASTING_STATES or _LASTING.search(text):
        return None
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    told = _STATES.get(state) or _STATES.get(state[:2]) or (_NUMBERS.get(number) if number is not None else None)
    found = next(((what, fix) for pattern, what, fix in _PASSING if pattern.search(text)), None)
    # A refused connection has no SQLSTATE of its own, or a general one: the words say more.
    return found if told is None or (state.startswith("08") and found) else told


def _sqlstate(error: BaseException) -> str:
    """psycopg, psycopg2, pg8000 and ODBC each keep it elsewhere; empty where there is none."""
    first = error.args[0] if error.args else None
    found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if not found and isinstance(first, dict):
        found = first.get("C")
    if not found and isinstance(first, str) and re.fullmatch(r"[0-9A-Z]{5}", first):
        found = first
    return str(found or "")


def _first_line(error: BaseException) -> str:
    """PostgreSQL's primary message; elsewhere the first line. What follows is context and may quote data.

    Snowflake and Databricks begin with a heading, and say what is wrong in the second line.
    """
    diagnosis = getattr(error, "diag", None)
    first = error.args[0] if error.args else None
    text = getattr(diagnosis, "message_primary", None) or (first.get("M") if isinstance(first, dict) else None)
    lines = str(text or error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[: 2 if _HEADING.search(lines[0]) else 1])


_HEADING = re.compile(r"SQL (?:compilation|access control) error|Insufficient privileges:$")


def _kind(error: BaseException) -> str:
    state = _sqlstate(error)
    return f"{type(error).__name__}, SQLSTATE {state}" if state else type(error).__name__


def _place(where: Where, engine: sa.Engine | None) -> str:
    """The connection's name, and where it leads; never user, password or options."""
    if engine is None:
        return f"connection {where.connection}"
    url = engine.url
    host = f"{url.host}{f':{url.port}' if url.port else ''}/" if url.host else ""
    # What stands before an @ here is the rest of a password that was written without %40.
    leads_to = f"{host}{url.database or ''}".rpartition("@")[2]
    return f"connection {where.connection} ({url.get_backend_name()} {leads_to})"
