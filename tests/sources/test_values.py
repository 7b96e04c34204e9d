"""A value that Python cannot hold costs its column's value or its row, never the night."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from offline_capi.errors import SourceError
from offline_capi.model import Reason
from tests.mapping.mapped import faults, mapped
from tests.sources.reading import batches, columns_of, query, rows
from tests.sources.scripts import script

# What PostgreSQL holds and Python does not, and its text.
UNREADABLE = [
    ("timestamptz", "infinity", "infinity"),
    ("timestamptz", "-infinity", "-infinity"),
    ("timestamptz", "12026-11-23 10:00Z", "12026-11-23 10:00:00+00"),
    ("timestamp", "infinity", "infinity"),
    ("timestamp", "12026-11-23 10:00", "12026-11-23 10:00:00"),
    ("timestamp", "0044-03-15 10:00 BC", "0044-03-15 10:00:00 BC"),
    ("date", "infinity", "infinity"),
    ("date", "-infinity", "-infinity"),
    ("date", "0044-03-15 BC", "0044-03-15 BC"),
    ("date", "12026-11-23", "12026-11-23"),
    ("time", "24:00", "24:00:00"),
    ("timetz", "24:00+00", "24:00:00+00"),
    ("numeric", "NaN", "NaN"),
    ("numeric", "Infinity", "Infinity"),
]
INSTANTS = ("timestamptz", "timestamp", "date")
GOOD = {
    "timestamptz": ("2026-11-23 10:00:00.5Z", "2026-11-23T10:00:00.5Z"),
    "timestamp": ("2026-11-23 10:00", "2026-11-23T10:00:00"),
    "date": ("2026-11-23", "2026-11-23"),
    "time": ("10:00", "10:00:00"),
    "timetz": ("10:00+00", "10:00:00+00:00"),
    "numeric": ("1.50", "1.50"),
}


@pytest.mark.parametrize(("kind", "value", "text"), UNREADABLE)
def test_a_value_that_python_cannot_hold_is_postgresqls_text(postgres_db, kind, value, text):
    """Its neighbours are the text that their kind has elsewhere, so that they go out as they would without it."""
    good, as_text = GOOD[kind]
    script(
        postgres_db,
        f"CREATE TABLE t (id int, at {kind}, gone {kind})",
        f"INSERT INTO t VALUES (1, '{good}', NULL), (2, '{value}', '{value}'), (3, NULL, NULL)",
    )

    assert rows(query("SELECT id, at FROM t ORDER BY id"), url=postgres_db) == [
        {"id": 1, "at": as_text}, {"id": 2, "at": text}, {"id": 3, "at": None},
    ]  # fmt: skip
    assert rows(query("SELECT * FROM t ORDER BY id"), url=postgres_db, columns=["id"]) == [
        {"id": 1}, {"id": 2}, {"id": 3},
    ]  # fmt: skip
    assert dict(columns_of(query("SELECT * FROM t"), postgres_db))["id"] == "int64"


@pytest.mark.parametrize(("kind", "value"), [each[:2] for each in UNREADABLE if each[0] in INSTANTS])
def test_such_a_time_of_an_event_is_rejected_with_its_row_and_reason(postgres_db, kind, value):
    script(
        postgres_db,
        f"CREATE TABLE t (id text, at {kind}, email text)",
        f"INSERT INTO t VALUES ('1', '{GOOD[kind][0]}', 'a@example.com'), ('2', '{value}', 'b@example.com')",
    )

    (part,) = batches(query("SELECT * FROM t ORDER BY id"), url=postgres_db)
    done = mapped(part)

    assert faults(done) == [("unreadable_time", "window.column", [2])]


@pytest.mark.parametrize(
    ("kind", "value"), [("numeric", "NaN"), ("numeric", "Infinity"), ("float8", "NaN"), ("float8", "-Infinity")]
)
def test_a_number_that_is_none_is_never_sent(postgres_db, kind, value):
    script(postgres_db, f"CREATE TABLE t (n {kind})", f"INSERT INTO t VALUES (1.5), ('{value}')")

    (part,) = batches(
        query("SELECT '7' AS id, timestamp '2026-11-20' AS at, 'a@x.de' AS email, n FROM t ORDER BY n = '1.5' DESC"),
        url=postgres_db,
    )
    done = mapped(part, custom_data={"value": "n", "currency": {"constant": "EUR"}})

    assert faults(done)[0] == ("not_finite", "custom_data.value", [2])
    assert {row for _, _, numbers in faults(done) for row in numbers} == {2}


@pytest.mark.parametrize(
    ("database", "kind", "yes", "no"),
    [
        ("postgres_db", "boolean", "true", "false"),
        ("postgres_db", "bit(1)", "B'1'", "B'0'"),
        ("postgres_db", "bytea", "'\\x01'", "'\\x00'"),
        ("postgres_db", "numeric(1)", "1", "0"),
        ("postgres_db", '"char"', "'t'", "'f'"),
        ("postgres_db", "float8", "1", "0"),
        ("mariadb", "BIT(1)", "b'1'", "b'0'"),
        ("mariadb", "BIT(8)", "b'1'", "b'0'"),
        ("mariadb", "BOOLEAN", "TRUE", "FALSE"),
        ("mariadb", "DECIMAL(1)", "1", "0"),
        ("mariadb", "BINARY(1)", "x'01'", "x'00'"),
        ("mariadb", "ENUM('Y', 'N')", "'Y'", "'N'"),
    ],
)
def test_a_boolean_is_read_right_in_every_form_that_a_driver_gives(request, database, kind, yes, no):
    url = request.getfixturevalue(database)
    script(
        url,
        f"CREATE TABLE t (id varchar(9), ok {kind})",
        f"INSERT INTO t VALUES ('1', {yes}), ('2', {no}), ('3', NULL)",
    )

    (part,) = batches(query("SELECT id, ok, '2026-11-20' AS at, 'a@x.de' AS email FROM t ORDER BY id"), url=url)

    consent = mapped(part, consent={"column": "ok", "equals": True})
    flag = mapped(part, custom_data={"properties": {"p": {"column": "ok", "type": "boolean"}}})
    assert consent.suppressed.to_pylist() == [False, True, True]
    assert flag.custom["p"].to_pylist() == [True, False, None]
    assert faults(flag) == []


def test_the_kind_of_a_column_is_not_learnt_from_such_a_value(postgres_db):
    """The first fetch of 1,024 rows holds one; from the next on the column has its own kind."""
    script(postgres_db, "CREATE TABLE t AS SELECT n, CASE n WHEN 1 THEN 'infinity' ELSE timestamptz"
           " '2026-11-23 10:00Z' END AS at FROM generate_series(1, 3000) AS s(n)")  # fmt: skip

    found = batches(query("SELECT at FROM t ORDER BY n"), url=postgres_db)

    assert [str(part.batch.schema.field("at").type) for part in found] == ["string", "timestamp[us, tz=UTC]"]
    assert [len(part) for part in found] == [1_024, 1_976]
    assert found[1].first_row == 1_025
    assert found[1].batch.column("at")[-1].as_py() == datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_such_values_inside_arrays_are_text_as_well(postgres_db):
    (row,) = rows(query("SELECT ARRAY['infinity'::date, '2026-11-23'] AS days"), url=postgres_db)

    assert row == {"days": '["infinity","2026-11-23"]'}


def test_a_column_keeps_its_first_kind_from_fetch_to_fetch(sqlite_shop):
    """1,024 integers, then floats: text, and not another kind of number."""
    values = [(n,) for n in range(1_024)] + [(0.5,)] * 10 + [(7,)]
    url = sqlite_shop("CREATE TABLE t (n INTEGER PRIMARY KEY, a)", ("INSERT INTO t(a) VALUES (?)", values))

    found = batches(query("SELECT a FROM t ORDER BY n"), url=url)

    assert [str(part.batch.schema.field("a").type) for part in found] == ["int64", "string"]
    assert found[1].batch.column("a").to_pylist() == ["0.5"] * 10 + ["7"]


# ---------------------------------------------------------------------------------------------- SQLite


@pytest.fixture
def sqlite_shop(tmp_path):
    def made(*statements) -> str:
        with sqlite3.connect(tmp_path / "shop.db") as database:
            for statement in statements:
                if isinstance(statement, str):
                    database.execute(statement)
                else:
                    database.executemany(*statement)
        return f"sqlite:///{tmp_path / 'shop.db'}"

    return made


def test_text_that_is_not_utf8_costs_its_row(sqlite_shop):
    """Somewhere in the third fetch; the rows before it are not read twice, those behind it not lost."""
    url = sqlite_shop(
        "CREATE TABLE t (n INTEGER PRIMARY KEY, a TEXT, b TEXT)",
        ("INSERT INTO t(a, b) VALUES (?, 'é')", [(f"a{n}",) for n in range(1, 3_000)]),
        "UPDATE t SET a = CAST(x'416e6e61ff' AS TEXT) WHERE n IN (2500, 2502)",
    )

    found = batches(query("SELECT * FROM t WHERE n < 2999 ORDER BY n"), url=url)

    numbers = [n for part in found for n in part.batch.column("n").to_pylist()]
    lost = [
        part.first_row + at
        for part in found
        for fault in part.faults
        for at, is_lost in enumerate(fault.where.to_pylist())
        if is_lost
    ]
    assert numbers == list(range(1, 2_999))
    assert lost == [2500, 2502]
    assert {(fault.reason, fault.field) for part in found for fault in part.faults} == {(Reason.UNREADABLE_VALUE, "a")}
    assert [row for part in found for row in part.batch.to_pylist()][2498:2502] == [
        {"n": 2499, "a": "a2499", "b": "é"}, {"n": 2500, "a": None, "b": "é"},
        {"n": 2501, "a": "a2501", "b": "é"}, {"n": 2502, "a": None, "b": "é"},
    ]  # fmt: skip


def test_text_that_is_not_utf8_in_a_column_that_nothing_maps_is_nothing(sqlite_shop):
    url = sqlite_shop("CREATE TABLE t (n, a)", "INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT)), (2, 'x')")

    (part,) = batches(query("SELECT * FROM t ORDER BY n"), url=url, columns=["n"])

    assert (part.batch.to_pylist(), part.faults) == ([{"n": 1}, {"n": 2}], ())


@pytest.mark.parametrize("options", ["", "?detect_types=3"])
def test_text_among_dates_of_sqlite_is_text(sqlite_shop, options):
    url = sqlite_shop(
        "CREATE TABLE t (at TIMESTAMP)", "INSERT INTO t VALUES ('2026-11-23 10:00'), ('tomorrow'), (20261123), (NULL)"
    )

    assert [row["at"] for row in rows(query("SELECT at FROM t"), url=url + options)] == [
        "2026-11-23 10:00", "tomorrow", "20261123", None,
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- other drivers


def test_a_value_that_another_driver_cannot_hold_is_told_without_it(postgres_db):
    """pg8000 raises an error of Python's own, with the value in it."""
    url = postgres_db.replace("+psycopg", "+pg8000")
    script(postgres_db, "CREATE TABLE t (opened time)", "INSERT INTO t VALUES ('24:00')")

    with pytest.raises(SourceError, match="a value makes it fail") as raised:
        rows(query("SELECT * FROM t"), url=url)

    assert "24" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_other_postgresql_drivers_read_as_well(postgres_db):
    """They know no ``connect_timeout``."""
    script(postgres_db, "CREATE TABLE t (at timestamptz, note text)",
           "INSERT INTO t VALUES ('2026-11-22 23:00Z', '100 %'), ('2026-11-22 22:59Z', '')")  # fmt: skip

    found = rows(
        query("SELECT at, note FROM t WHERE at >= :since_utc::timestamptz AND at < :until_utc AND note LIKE '%'"),
        url=postgres_db.replace("+psycopg", "+pg8000"),
    )

    assert found == [{"at": datetime(2026, 11, 22, 23, tzinfo=UTC), "note": "100 %"}]


def test_a_database_without_an_encoding_gives_text_and_not_bytes(postgres_url):
    name = f"ascii_{uuid.uuid4().hex[:8]}"
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    url = sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    script(f"{url}?client_encoding=utf8", "CREATE TABLE t (name text)", "INSERT INTO t VALUES ('Zoë')")

    assert rows(query("SELECT name FROM t"), url=url) == [{"name": "Zoë"}]
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_date_is_a_date_where_nothing_is_unreadable(postgres_db):
    assert rows(query("SELECT date '2026-11-23' AS d"), url=postgres_db) == [{"d": date(2026, 11, 23)}]


# ---------------------------------------------------------------------------------------------- DuckDB


@pytest.fixture
def duckdb_url(tmp_path):
    url = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    return script(
        url,
        "CREATE TABLE t (id int, sold timestamptz, born date)",
        "INSERT INTO t VALUES (1, '2026-11-23 10:00Z', '1980-02-01'), (2, '2026-11-21 10:00Z', NULL)",
    )


def test_duckdb_is_read_like_the_others(duckdb_url):
    asked = query("SELECT id, sold, born FROM t WHERE sold >= :since_utc::timestamptz AND sold < :until_utc")

    assert rows(asked, url=duckdb_url) == [
        {"id": 1, "sold": datetime(2026, 11, 23, 10, tzinfo=UTC), "born": date(1980, 2, 1)}
    ]
    assert rows(query("SELECT date '12026-01-01' AS d"), url=duckdb_url) == [{"d": "12026-01-01"}]


def test_duckdb_is_only_read_and_never_made(duckdb_url):
    with pytest.raises(SourceError, match="the query wants to write"):
        rows(query("DELETE FROM t"), url=duckdb_url)
    with pytest.raises(SourceError, match="there is no database file"):
        rows(query("SELECT 1"), url=f"{duckdb_url}.gone")

    assert len(rows(query("SELECT id FROM t"), url=duckdb_url)) == 2
