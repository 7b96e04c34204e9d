"""Every dialect through every strategy: the same rows in the same types, the same faults and the same messages.

SQLAlchemy is the measure. A strategy that reads as Arrow is compared with it batch by batch, over many rows and over
single values of every type that the database has.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from offline_capi.errors import OfflineCapiError
from offline_capi.model import SourceRows
from offline_capi.sources import SourceAccess
from offline_capi.sources.sql import SqlReader
from offline_capi.sources.sql.query import _opened, _prepared
from tests.sources.reading import WINDOW, ZONE, query
from tests.sources.scripts import script

#: Rows of a database's own that count from 1; enough that kinds may change after the first 1,024.
NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n) AS n",
    "postgresql": "generate_series(1, {rows}) AS n(i)",
    "duckdb": "(SELECT range AS i FROM range(1, {rows} + 1)) AS n",
    "mysql": "(SELECT seq AS i FROM seq_1_to_{rows}) AS n",
}


@dataclass(frozen=True)
class Database:
    dialect: str
    url: str

    def read(self, sql: str, *, arrow: bool, **options: Any) -> Iterator[SourceRows]:
        reader = SqlReader(query(sql), SourceAccess(ZONE, lambda _: self.url), arrow_native=arrow)
        return reader.read(WINDOW, **options)

    def result(self, sql: str, *, arrow: bool, **options: Any) -> Any:
        """All that a run sees of the query: batches with their types, faults and numbers; or the error."""
        try:
            parts = list(self.read(sql, arrow=arrow, **options))
        except OfflineCapiError as error:
            return type(error), str(error)
        return [
            (part.first_row, part.batch.schema, repr(part.batch.to_pylist()), part.width,
             [(fault.reason, fault.field, fault.where.to_pylist()) for fault in part.faults])
            for part in parts
        ]  # fmt: skip

    def check_strategies(self, sql: str) -> None:
        """That it is Arrow that reads, and SQLAlchemy: results would also be equal if one of them read everything."""
        with _prepared(query(sql), WINDOW, ZONE, self.url, Path()) as prepared:
            for arrow, stream in ((True, "ArrowStream"), (False, "RowStream")):
                with _opened(prepared, 1_024, arrow_native=arrow) as rows:
                    assert type(rows).__name__ == stream

    def rows(self, count: int, columns: str) -> str:
        return f"SELECT {columns} FROM {NUMBERS[self.dialect].format(rows=count)} ORDER BY i"


@pytest.fixture(params=["sqlite", "postgresql", "duckdb", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        sqlite3.connect(tmp_path / "shop.db").close()
        return Database("sqlite", f"sqlite:///{tmp_path / 'shop.db'}")
    if request.param == "duckdb":
        import duckdb

        duckdb.connect(str(tmp_path / "shop.duckdb")).close()
        return Database("duckdb", f"duckdb:///{tmp_path / 'shop.duckdb'}")
    return Database(
        request.param, request.getfixturevalue({"postgresql": "postgres_db", "mysql": "mariadb"}[request.param])
    )


TEXT = {"mysql": "CHAR"}
VALUES: dict[str, list[str]] = {
    "sqlite": [
        "1", "9223372036854775807", "1.5", "0.1 + 0.2", "9e999", "-9e999", "'é😀'", "''", "NULL", "x'ff00'", "x''",
        "CAST(x'ff41' AS TEXT)", "'a' || char(0) || 'b'", "i % 2", "CASE WHEN i % 2 THEN 1 ELSE 1.5 END",
        "CASE WHEN i > 1500 THEN 'late' END", "CASE WHEN i > 1500 THEN 2.5 ELSE i END",
        "CASE WHEN i = 1500 THEN x'00ff' ELSE 'text' END",
        "CASE WHEN i = 1500 THEN CAST(x'ff' AS TEXT) ELSE 'é' END", "CASE WHEN i = 1500 THEN i ELSE i / 2.0 END",
        "CASE WHEN i = 7 THEN i ELSE 't' || i END", "'2026-03-29 02:30:00'",
        "CASE WHEN i <= 1024 THEN NULL WHEN i = 1500 THEN 1 ELSE 'a' END", "'it''s'", "1 = 1", "'NULL'", "'T'",
    ],
    "postgresql": [
        "1::int2", "1::int4", "9223372036854775807", "9.99::float4", "0.1::float8", "'Infinity'::float8",
        "'NaN'::float8", "12.50::numeric(10,2)", "1e30::numeric", "1e-25::numeric", "'NaN'::numeric",
        "'-Infinity'::numeric", "'12.3'::money", "true", "'é😀'", "'x'::char(3)", "'x'::name", "'a'::\"char\"",
        "'\\xff00'::bytea", "1::oid", "'2026-03-29'::date", "'infinity'::date", "'-infinity'::date",
        "'0044-03-15 BC'::date", "'12345-01-02'::date", "'2026-03-29 02:30:00.5'::timestamp",
        "'infinity'::timestamp", "'-infinity'::timestamp", "'20000-01-01 10:00:00.25'::timestamp",
        "'0044-03-15 00:00:00 BC'::timestamp", "'2026-10-25 02:30:00+02'::timestamptz",
        "'2026-10-25 02:30:00+01'::timestamptz", "'infinity'::timestamptz",
        "timestamp '2026-03-29 02:30' at time zone 'Europe/Berlin'", "'10:00'::time", "'24:00'::time",
        "CASE WHEN i % 3 = 0 THEN '10:00:00.5' END::time", "'10:00+02'::timetz",
        "'1 day'::interval", "array[1, 2, null]", "array['a', null]", "array[1.5::float4]",
        "'{\"a\": [1, 2.50, \"é\"]}'::json", "'{\"b\": 1, \"a\": null}'::jsonb", "'\"text\"'::jsonb",
        "'6b3c1a7e-0000-4000-8000-000000000001'::uuid", "'10.0.0.1'::inet", "row(1, 'a')", "'[1,3)'::int4range",
        "null", "null::int", "null::timestamptz",
        "CASE WHEN i = 1500 THEN 'infinity'::timestamp ELSE '2026-01-01'::timestamp END",
        "CASE WHEN i = 1500 THEN 'NaN' WHEN i % 2 = 0 THEN 1.5 END::numeric",
        "CASE WHEN i > 1500 THEN 1e30 ELSE i END::numeric", "(CASE WHEN i > 1500 THEN i END)::text", ":since",
        ":until_utc", "'x' <> :since_utc::text",
    ],
    "duckdb": [
        "1::tinyint", "1::hugeint", "sum(i) OVER ()", "18446744073709551615::ubigint", "1.1::float", "0.1::double",
        "'inf'::double", "12.50::decimal(10,2)", "1::decimal(38,20)", "1e30::decimal(38,2)", "true", "'é😀'",
        "'\\xff'::blob", "date '2026-03-29'", "'infinity'::date", "'-infinity'::date", "'0044-03-15 (BC)'::date",
        "timestamp '2026-03-29 02:30:00.5'", "'infinity'::timestamp", "'-infinity'::timestamp",
        "timestamptz '2026-10-25 02:30:00+02'", "'infinity'::timestamptz", "time '10:00'", "interval 1 day",
        "[1, 2]", "['a', null]", "{'a': 1}", "map {'a': 1}", "'{\"a\": [1, 2.50, \"é\"]}'::json",
        "'\"text\"'::json", "'null'::json", "'6b3c1a7e-0000-4000-8000-000000000001'::uuid", "'a'::enum('a', 'b')",
        "null", "timestamp_ns '2026-01-01 00:00:00.123456789'", "'2026-01-01 00:00:00'::timestamp_s", "'101'::bit",
        "CASE WHEN i = 1500 THEN 'infinity'::timestamp ELSE timestamp '2026-01-01' END", ":since", "$$it's$$",
    ],
    "mysql": [
        "1", "12.50", "0.1e0", "TRUE", "'é😀'", "x'ff00'", "DATE '2026-03-29'", "TIMESTAMP '2026-03-29 02:30:00'",
        "NULL", "b'101'",
    ],
}  # fmt: skip
#: What Arrow cannot give, or not as SQLAlchemy does: the query is read by SQLAlchemy, and a notice names the type.
NOT_AS_ARROW = {
    "duckdb": [
        "interval 1 day", "{'a': 1}", "map {'a': 1}", "timestamp_ns '2026-01-01 00:00:00.123456789'", "'101'::bit",
    ],
}  # fmt: skip


def test_every_type_is_the_same_through_both_strategies(database: Database, caplog: pytest.LogCaptureFixture):
    """A column at a time: what differs is named, all of it."""
    different, notices = {}, []
    for value in VALUES[database.dialect]:
        sql = database.rows(2_500, f"{value} AS a, i")
        caplog.clear()
        through_arrow = database.result(sql, arrow=True)
        notices += [value] * any("SQLAlchemy" in message for message in caplog.messages)
        through_sqlalchemy = database.result(sql, arrow=False)
        if through_arrow != through_sqlalchemy:
            different[value] = [str(result)[:400] for result in (through_arrow, through_sqlalchemy)]

    assert different == {}
    assert notices == NOT_AS_ARROW.get(database.dialect, [])


def test_all_types_beside_each_other_are_the_same(database: Database):
    """A fault of one column leaves the others alone, and a column's kind holds over batches of any size."""
    dull = NOT_AS_ARROW.get(database.dialect, [])
    values = [value for value in VALUES[database.dialect] if value not in dull]
    sql = database.rows(20_000, ", ".join([*(f"{value} AS c{at}" for at, value in enumerate(values)), "i"]))

    for batch_rows in (700, 2_500, 65_536):
        through_arrow = database.result(sql, arrow=True, batch_rows=batch_rows)
        assert through_arrow == database.result(sql, arrow=False, batch_rows=batch_rows)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT 1 AS "select", 2 AS "Ä b", 3 AS "a:b", 4 AS "x""y"',
        "SELECT 1 AS a, 2 AS A",
        "SELECT 1 AS a, 2 AS a",
        "SELECT 1 AS a WHERE 1 = 0",
        "SELECT 1 AS a -- the end",
        "SELECT 1 AS a /* 'it''s' */;",
        "WITH one AS (SELECT 1 AS a) SELECT * FROM one UNION ALL SELECT 2",
        "SELECT 'a' AS a WHERE 5 % 2 = 1 AND 'b' LIKE '%b' AND 'c?' = 'c?'",
        "SELECT 1 AS a WHERE :since < :until AND :since = :since",
        "SELECT count(*), max(1)",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT nothing FROM nowhere",
        "SELEC 1",
        "CREATE TABLE made (a INTEGER)",
        "SELECT CAST('person@example.com' AS INTEGER) AS a",
    ],
)
def test_names_texts_and_refusals_are_the_same(database: Database, sql: str):
    sql = sql.replace('"', "`").replace("x``y", "x``y") if database.dialect == "mysql" else sql

    assert database.result(sql, arrow=True) == database.result(sql, arrow=False)


def test_a_column_that_the_query_lacks_is_refused_in_the_same_words(database: Database):
    refusal = database.result("SELECT 1 AS email", arrow=True, columns=["emial"])

    assert refusal == database.result("SELECT 1 AS email", arrow=False, columns=["emial"])
    assert 'did you mean "email"' in str(refusal)


@pytest.mark.parametrize("in_subprocess", [False, True])
def test_a_reader_that_stops_early_leaves_nothing_behind(database: Database, in_subprocess: bool):
    reading = database.read(database.rows(50_000, "i"), arrow=True, in_subprocess=in_subprocess, batch_rows=1_024)
    next(reading)
    reading.close()

    if database.dialect == "postgresql":
        own = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert [part.batch.to_pylist() for part in database.read(own, arrow=False)] == [[{"n": 0}]]
    if database.dialect in ("sqlite", "duckdb"):  # no lock is left
        script(database.url, "CREATE TABLE made (a INTEGER)")


def test_the_window_selects_the_same_rows(database: Database):
    stamp = {"sqlite": "TEXT", "mysql": "DATETIME"}.get(database.dialect, "TIMESTAMP")
    days = ("2026-11-22 23:59:59", "2026-11-23 00:00:00", "2026-11-23 23:59:59", "2026-11-24 00:00:00")
    rows = ", ".join(f"({at}, '{day}')" for at, day in enumerate(days))
    script(database.url, f"CREATE TABLE sale (id INTEGER, sold_at {stamp})", f"INSERT INTO sale VALUES {rows}")
    sql = "SELECT id FROM sale WHERE sold_at >= :since AND sold_at < :until ORDER BY id"

    found = [row["id"] for part in database.read(sql, arrow=True) for row in part.batch.to_pylist()]

    assert found == [1, 2]


MEMORY = """
import resource, sys
from tests.sources.test_sql_conformance import Database
database = Database(sys.argv[1], sys.argv[2])
def read(count):
    columns = "i, 'a text of some length' AS a, i * 0.5 AS b"
    return sum(map(len, database.read(database.rows(count, columns), arrow=True)))
assert read(100_000) == 100_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read(1_000_000) == 1_000_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
MAX_GROWTH_MIB = 40


def test_a_million_rows_take_no_more_memory_than_a_tenth_of_them(database: Database):
    if database.dialect == "mysql":
        pytest.skip("read by SQLAlchemy alone; see test_mariadb")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, database.dialect, database.url],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip

    assert int(done.stdout) < MAX_GROWTH_MIB


# ---------------------------------------------------------------------------------------------- one dialect alone


def test_a_connection_cut_half_way_is_an_error_that_passes(postgres_db: str):
    reading = Database("postgresql", postgres_db).read(
        "SELECT i, repeat('x', 1000) AS b FROM generate_series(1, 400000) AS n(i)", arrow=True, batch_rows=1_024
    )
    next(reading)
    script(postgres_db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
           " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip

    with pytest.raises(OfflineCapiError, match="the database ended the connection"):
        list(reading)


def test_a_value_that_fails_half_way_is_not_quoted(postgres_db: str):
    value = "(CASE WHEN i = 300000 THEN 'person@example.com' ELSE '1' END)::int"
    sql = f"SELECT i, {value} AS n FROM generate_series(1, 300000) AS n(i)"

    told = Database("postgresql", postgres_db).result(sql, arrow=True)

    assert told == Database("postgresql", postgres_db).result(sql, arrow=False)
    assert "a value" in told[1]
    assert "person" not in told[1]


def test_a_function_cannot_write_through_copy(postgres_db: str):
    writes = "CREATE FUNCTION write_it() RETURNS int LANGUAGE sql AS 'INSERT INTO kept VALUES (1) RETURNING a'"
    script(postgres_db, "CREATE TABLE kept (a int)", writes)
    database = Database("postgresql", postgres_db)

    told = database.result("SELECT write_it() AS a", arrow=True)

    assert "the query wants to write" in told[1]
    assert database.result("SELECT count(*) AS n FROM kept", arrow=True)[0][2] == "[{'n': 0}]"


def test_rows_that_are_read_again_as_literals_are_those_of_one_snapshot(tmp_path: Path):
    """A writer between two batches changes nothing, also where the second half is read by another statement."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    sqlite3.connect(tmp_path / "shop.db").execute("PRAGMA journal_mode = WAL")
    rows = f"SELECT i, CASE WHEN i > 3000 THEN i ELSE i + 0.5 END FROM {NUMBERS['sqlite'].format(rows=4000)}"
    script(url, "CREATE TABLE sale (id INTEGER, amount)", f"INSERT INTO sale {rows}")
    reading = Database("sqlite", url).read("SELECT * FROM sale ORDER BY id DESC", arrow=True, batch_rows=1_024)
    first = next(reading)

    script(url, "INSERT INTO sale SELECT id + 4000, 0 FROM sale")

    found = [row["id"] for part in [first, *reading] for row in part.batch.to_pylist()]
    assert found == list(range(4000, 0, -1))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "duckdb"])
def test_the_arrow_strategy_is_what_reads(dialect: str, request: pytest.FixtureRequest, tmp_path: Path):
    """Equality alone would also hold if SQLAlchemy read everything."""
    where = {"sqlite": tmp_path / "a.db", "duckdb": tmp_path / "a.duckdb"}
    if dialect == "sqlite":
        sqlite3.connect(where[dialect]).close()
    elif dialect == "duckdb":
        import duckdb

        duckdb.connect(str(where[dialect])).close()
    url = request.getfixturevalue("postgres_db") if dialect == "postgresql" else f"{dialect}:///{where[dialect]}"
    Database(dialect, url).check_strategies("SELECT 1 AS a")
    assert sa.make_url(url).get_backend_name() == dialect
