"""A fault of the database that passes is told as such, and repeated by Airflow; a fault of the query is neither."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from offline_capi.errors import SourceError, SourceUnavailableError, TemporaryError
from offline_capi.sources.sql.dialects import window_parameters
from offline_capi.sources.sql.errors import Where, explain_query_errors
from offline_capi.sources.sql.statement import Statement
from tests.sources.reading import WINDOW, ZONE, batches, open_at, query
from tests.sources.scripts import script
from tests.support.postgres import find_binaries, running_server


def passing(sql: str, url: str) -> str:
    with pytest.raises(SourceUnavailableError) as raised:
        batches(query(sql), url=url)
    message = str(raised.value)
    assert isinstance(raised.value, TemporaryError)
    assert "repeating is safe" in message
    assert "Correct the query" not in message
    return message


def raising(url: str, state: str, message: str) -> str:
    """A database whose function ``fault`` fails after 2,000 rows as a server would."""
    return script(
        url,
        "CREATE FUNCTION fault(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF n > 2000 THEN RAISE EXCEPTION"
        f" '{message}' USING ERRCODE = '{state}'; END IF; RETURN n; END $$",
    )


@pytest.mark.parametrize(
    ("state", "message", "said"),
    [
        ("40001", "canceling statement due to conflict with recovery", "gave up the query in favour of another"),
        ("40001", "could not serialize access due to concurrent update", "gave up the query in favour of another"),
        ("40P01", "deadlock detected", "gave up the query in favour of another"),
        ("53300", "sorry, too many clients already", "short of connections"),
        ("53200", "out of memory", "short of connections, memory or disk"),
        ("55P03", "could not obtain lock on relation", "waited too long for a lock"),
        ("57P01", "terminating connection due to administrator command", "ended the connection"),
        ("57P03", "the database system is shutting down", "is starting or shutting down"),
        ("08006", "anything", "the connection to the database failed"),
    ],
)
@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_what_passes_is_known_by_its_sqlstate(postgres_db, driver, state, message, said):
    raising(postgres_db, state, message)

    found = passing(
        "SELECT fault(n) FROM generate_series(1, 3000) AS s(n)", postgres_db.replace("+psycopg", f"+{driver}")
    )

    assert said in found


@pytest.mark.parametrize("state", ["22012", "42883", "P0001", "XX000", "53400"])
def test_what_does_not_pass_is_no_temporary_fault(postgres_db, state):
    raising(postgres_db, state, "canceled")

    with pytest.raises(SourceError) as raised:
        batches(query("SELECT fault(n) FROM generate_series(1, 3000) AS s(n)"), url=postgres_db)

    assert not isinstance(raised.value, TemporaryError)


def test_a_time_limit_may_pass(postgres_db):
    found = passing("SELECT pg_sleep(30)", f"{postgres_db}?options=-c%20statement_timeout%3D200")

    assert "cancelled the query, by its time limit" in found


def test_too_many_connections_pass(postgres_db):
    script(postgres_db, "CREATE ROLE one LOGIN CONNECTION LIMIT 1 PASSWORD 'not-a-secret'")
    url = sa.make_url(postgres_db).set(username="one").render_as_string(hide_password=False)
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    with engine.connect():
        found = passing("SELECT 1", url)
    script(postgres_db, "DROP ROLE one")

    assert "short of connections" in found


def test_a_server_that_is_gone_passes():
    with running_server(find_binaries()) as url:
        many = query("SELECT a, repeat('x', 1000) AS b FROM generate_series(1, 100000) AS n(a)")
        reading = open_at(many, url).read(WINDOW, batch_rows=1_024)
        next(reading)
        # The server ends with its clients: a fast shutdown, and then nobody answers.
    with pytest.raises(SourceUnavailableError, match=r"ended the connection|connection to the database failed"):
        list(reading)

    assert "cannot be reached" in passing("SELECT 1", url)


def test_a_host_that_does_not_exist_is_a_fault_of_the_connection():
    with pytest.raises(SourceError, match="cannot be reached") as raised:
        batches(query("SELECT 1"), url="postgresql+psycopg://u:hidden@no-such-host.invalid/shop")

    assert "hidden" not in str(raised.value)


def test_a_locked_sqlite_file_passes(tmp_path):
    url = script(f"sqlite:///{tmp_path / 'shop.db'}", "CREATE TABLE t (a)")
    holder = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    found = passing("SELECT * FROM t", f"{url}?timeout=0.05")
    holder.close()

    assert "locked by another process" in found


def test_a_locked_duckdb_file_passes(tmp_path):
    path = tmp_path / "shop.duckdb"
    program = f"import duckdb, sys\nheld = duckdb.connect({str(path)!r})\nprint(flush=True)\nsys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline()

    found = passing("SELECT 1", f"duckdb:///{path}")
    holder.communicate()

    assert "locked by another process" in found


def test_a_deadlock_and_a_lock_that_does_not_come_pass_on_mariadb(mariadb):
    script(mariadb, "CREATE TABLE t (id INT PRIMARY KEY) ENGINE = InnoDB", "INSERT INTO t VALUES (1)")
    engine = sa.create_engine(mariadb, poolclass=sa.NullPool)

    with engine.begin() as holder:
        holder.exec_driver_sql("SELECT * FROM t FOR UPDATE")
        found = passing("SELECT * FROM t WHERE id = 1 LOCK IN SHARE MODE NOWAIT", mariadb)

    assert "waited too long for a lock" in found


def test_the_kind_of_the_fault_survives_the_way_from_the_reading_process(tmp_path):
    url = script(f"sqlite:///{tmp_path / 'shop.db'}", "CREATE TABLE t (a)")
    holder = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    reading = open_at(query("SELECT * FROM t"), f"{url}?timeout=0.05").read(WINDOW, in_subprocess=True)
    with pytest.raises(SourceUnavailableError):
        list(reading)
    holder.close()


# ---------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize(
    ("url", "install"),
    [
        ("mysql+mysqldb://u:hidden@h/d", "pip install mysqlclient"),
        ("mysql+mysqlconnector://u:hidden@h/d", "pip install mysql-connector-python"),
        ("postgresql+psycopg2://u:hidden@h/d", "pip install psycopg2-binary"),
        ("mssql+pyodbc://u:hidden@h/d", "pip install pyodbc"),
        ("mssql+pymssql://u:hidden@h/d", "pip install 'offline-capi[mssql]'"),
        ("oracle+oracledb://u:hidden@h/d", "pip install oracledb"),
        ("snowflake://u:hidden@h/d", "pip install 'offline-capi[snowflake]'"),
        ("redshift+redshift_connector://u:hidden@h/d", "pip install 'offline-capi[redshift]'"),
        ("trino://u@h/d", "pip install 'offline-capi[trino]'"),
        ("clickhouse+native://u@h/d", "pip install clickhouse-sqlalchemy"),
        ("nosuchdb://u:hidden@h/d", "Install the SQLAlchemy dialect of this database"),
    ],
)
def test_a_missing_driver_is_named_with_the_command_that_brings_it(url, install):
    with pytest.raises(SourceError, match="no driver for this kind of database is installed") as raised:
        batches(query("SELECT 1"), url=url)

    assert install in str(raised.value)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_an_option_that_the_driver_does_not_know_is_named(postgres_db, driver):
    with pytest.raises(SourceError, match='does not know the option "cursor"') as raised:
        batches(query("SELECT 1"), url=f"{postgres_db.replace('+psycopg', '+' + driver)}?cursor=dictcursor")

    assert "Remove it from the connection" in str(raised.value)


def test_p09_a_password_with_an_at_sign_is_not_shown_in_part():
    """SQLAlchemy takes what stands behind the first @ for the host."""
    for url in ("postgresql+psycopg://u:s3cr3t@canaryPW@127.0.0.1:1/db", "postgresql+psycopg://u:s3@cana/ryPW@h:1/db"):
        with pytest.raises(SourceError) as raised:
            batches(query("SELECT 1"), url=url)

        assert not any(part in str(raised.value) for part in ("s3", "cana", "ryPW"))


# ---------------------------------------------------------------------------------------------- warehouses


class _Warehouse(DefaultDialect):
    """A dialect of which only the name matters here: its driver is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(paramstyle="pyformat")
        self.name = name


@pytest.mark.parametrize(
    ("name", "compiled", "bound"),
    [
        ("bigquery", "%(since_utc)s", (sa.TIMESTAMP, datetime(2026, 11, 22, 23, tzinfo=UTC))),
        ("clickhousedb", "toDateTime64(%(since_utc)s, 6, 'UTC')", (None, "2026-11-22 23:00:00.000000")),
        ("snowflake", "%(since_utc)s", (sa.DateTime, datetime(2026, 11, 22, 23, tzinfo=UTC))),
        ("trino", "%(since_utc)s", (sa.DateTime, datetime(2026, 11, 22, 23, tzinfo=UTC))),
    ],
)
def test_ends_of_the_window_are_bound_in_the_types_that_a_warehouse_compares(name, compiled, bound):
    dialect = _Warehouse(name)
    since = window_parameters(WINDOW, ZONE, dialect)
    statement = Statement(["SELECT 1 WHERE 5 % 2 = 1 AND t >= ", since["since_utc"], " AND w >= ", since["since"]])

    found = statement.compile(dialect=dialect)

    assert found.string == f"SELECT 1 WHERE 5 %% 2 = 1 AND t >= {compiled} AND w >= %(since)s"
    kind, value = bound
    process = found._bind_processors.get("since_utc", lambda value: value)
    assert process(found.params["since_utc"]) == value
    assert kind is None or type(since["since_utc"].type) is kind
    assert (type(since["since"].type), found.params["since"]) == (sa.DateTime, datetime(2026, 11, 23))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("said", "told", "passes"),
    [
        ("390114 (08001): Authentication token has expired. The user must authenticate again.", "token", False),
        ("250001 (08001): Failed to connect to DB. Incorrect username or password was specified.", "user or", False),
        ("000606 (57P03): No active warehouse selected in this session.", "no warehouse runs", False),
        ("090073 (22000): Warehouse 'X' cannot be resumed because resource monitor Y is over it.", "no w", False),
        ("Code: 516. DB::Exception: u: Authentication failed: password is incorrect", "user or password", False),
        ("Code: 202. DB::Exception: Too many simultaneous queries. Maximum: 100", "short of connections", True),
        ("Code: 241. DB::Exception: Memory limit (total) exceeded: would use 9 GiB", "short of connections", True),
        ("TrinoQueryError(type=INTERNAL_ERROR, name=SERVER_STARTING_UP)", "is starting", True),
        ("403 Quota exceeded: quotaExceeded for quota(s) for this table", "short of connections", True),
        ("TEMPORARILY_UNAVAILABLE: the SQL warehouse is starting", "is starting", True),
        ("390195 (08001): The ID Token is invalid.", "token of the connection", False),
        ("Error during request to server. Invalid access token.", "token of the connection", False),
        ("('invalid_grant: Token has been expired or revoked.', {'error': 'invalid_grant'})", "token of the", False),
        ("401 Request had invalid authentication credentials. Expected OAuth 2 access token", "token of the", False),
        ("000608 (57P03): Warehouse 'LOADS' is suspended.", "no warehouse runs", False),
        ("Cluster 0123-shop is terminated. Start it to run queries.", "no warehouse runs", False),
        ("RESOURCE_DOES_NOT_EXIST: warehouse 8c1 was deleted", "no warehouse runs", False),
        ("Cluster 0123-shop is pending", "is starting", True),
        ("Retry request would exceed Retry policy max retry duration of 900.0 seconds", "is starting", True),
        ("500 An internal error occurred and the request could not be completed.", "is starting", True),
        ("403 request failed: the user does not have 'bigquery.readsessions.create' permission for 'projects/p'",
         "role BigQuery Read Session User", False),
        ("Code: 159. DB::Exception: Timeout exceeded: elapsed 30 seconds, maximum: 30.", "by its time limit", True),
        ("000630 (57014): Statement reached its statement or warehouse timeout of 60 second(s).", "time limit", True),
    ],
)  # fmt: skip
def test_refusals_of_warehouses_are_told_by_who_has_to_act(said: str, told: str, passes: bool):
    """The texts are those of the vendors' documentation; no server of theirs was asked."""
    engine = sa.create_engine("sqlite://")
    error = engine.dialect.loaded_dbapi.OperationalError(said)
    state = re.search(r"\((\w{5})\): ", said)
    error.sqlstate = state and state[1]  # type: ignore[attr-defined]  # as Snowflake's driver has it

    with pytest.raises(SourceError) as raised, explain_query_errors(Where("w", "query"), engine):
        raise error

    assert told in str(raised.value)
    assert isinstance(raised.value, SourceUnavailableError) is passes


@pytest.mark.parametrize(
    ("said", "told", "fix"),
    [
        ("002003 (42S02): 01b2-5a: SQL compilation error:\nObject 'SHOP.NOWHERE' does not exist or not authorized.",
         "Object 'SHOP.NOWHERE' does not exist or not authorized", "granted the right to see it"),
        ("000904 (42000): 01b2-5a: SQL compilation error: error line 1 at position 7\ninvalid identifier 'NOTHING'",
         "invalid identifier 'NOTHING'", "Correct the query"),
        ("003001 (42501): 01b2-5a: SQL access control error:\nInsufficient privileges to operate on table 'NOWHERE'",
         "table 'NOWHERE'", "granted the right to read it"),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table or view `shop`.`nowhere` cannot be found. Verify the spelling.",
         "The table or view `shop`.`nowhere` cannot be found", "granted the right to see it"),
        ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `nothing` cannot be resolved.",
         "column with name `nothing` cannot be resolved", "Correct the query"),
        ("[INSUFFICIENT_PERMISSIONS] Insufficient privileges:\nUser does not have SELECT on Table 'shop.nowhere'.",
         "SELECT on Table 'shop.nowhere'", "granted the right to read it"),
        ("404 Not found: Table p:shop.nowhere was not found in location EU; reason: notFound",
         "shop.nowhere", "granted the right to see it"),
        ("400 Unrecognized name: nothing at [1:8]; reason: invalidQuery", "name: nothing at", "Correct the query"),
        ("403 Access Denied: Table p:shop.nowhere: User does not have permission to query table p:shop.nowhere",
         "permission to query table", "granted the right to read it"),
        ("Code: 60. DB::Exception: Table shop.nowhere does not exist. (UNKNOWN_TABLE)",
         "Table shop.nowhere does not exist", "Correct the query"),
        ("Code: 47. DB::Exception: Unknown expression identifier `nothing` in scope SELECT nothing",
         "identifier `nothing`", "Correct the query"),
        ("Code: 497. DB::Exception: reader: Not enough privileges. To execute this query, it's necessary to have the"
         " grant SELECT(nothing) ON shop.nowhere. (ACCESS_DENIED)", "SELECT(nothing) ON shop.nowhere", "right to read"),
    ],
)  # fmt: skip
def test_what_a_warehouse_lacks_is_named_and_who_may_give_it(said: str, told: str, fix: str):
    """A value and a token behind the text stay hidden."""
    engine = sa.create_engine("sqlite://")
    error = engine.dialect.loaded_dbapi.DatabaseError(f"{said} person@example.com dapi0123456789abcdef")
    where = Where("w", "query", "SELECT nothing FROM SHOP.NOWHERE")

    with pytest.raises(SourceError) as raised, explain_query_errors(where, engine):
        raise error

    message = str(raised.value)
    assert told in message
    assert fix in message
    assert "person" not in message
    assert "dapi" not in message
    assert not isinstance(raised.value, SourceUnavailableError)
