"""Tables and queries: SQLite and PostgreSQL, with every way in which a column can hold a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from offline_capi.onboarding.tables import describe_table
from tests.onboarding.beginner import CANARY, KNOWN, Beginner, sales
from tests.support.night import Said, yesterday


def noon(days: int = 0) -> datetime:
    """Of yesterday, or so many days later."""
    return datetime.combine(yesterday("UTC") + timedelta(days=days), time(12))


@pytest.fixture
def sqlite(tmp_path: Path) -> Beginner:
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    return Beginner(tmp_path, {"OFFLINE_CAPI_CONN_WAREHOUSE": url})


@pytest.fixture
def postgres(tmp_path: Path, postgres_db: str) -> Beginner:
    return Beginner(tmp_path, {"OFFLINE_CAPI_CONN_WAREHOUSE": postgres_db})


def fill(beginner: Beginner, kind: sa.types.TypeEngine, *times: object, table: str = "sales") -> None:
    """A table of sales whose ``sold_at`` is of this kind, at these times in turn."""
    rows = sales(len(times))
    names = [name for name in sales(1)[0] if name != "sold_at"]
    columns = [*(sa.Column(name, sa.Text) for name in names), sa.Column("sold_at", kind)]
    described = sa.Table(table, sa.MetaData(), *columns)
    engine = sa.create_engine(beginner.env["OFFLINE_CAPI_CONN_WAREHOUSE"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        described.create(connection)
        for row, at in zip(rows, times, strict=True):
            connection.execute(described.insert(), {**row, "sold_at": at})


def began(beginner: Beginner, *more: str) -> Said:
    return beginner.init("--connection", "warehouse", *more, *KNOWN, "--yes")


def query(beginner: Beginner, name: str = "sales") -> str:
    return beginner.text(f"sql/extract/{name}.sql")


# ---------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("form", "condition"),
    [
        ("%Y-%m-%d %H:%M:%S", "sold_at >= CAST(:since AS TEXT)"),
        ("%Y-%m-%dT%H:%M:%S", "sold_at >= REPLACE(CAST(:since AS TEXT), ' ', 'T')"),
        ("%Y-%m-%dT%H:%M", "sold_at >= REPLACE(SUBSTR(CAST(:since AS TEXT), 1, 16), ' ', 'T')"),
        ("%Y-%m-%d", "sold_at >= SUBSTR(CAST(:since AS TEXT), 1, 10)"),
    ],
)
def test_a_text_of_time_is_compared_as_text(sqlite: Beginner, form: str, condition: str) -> None:
    """The plan takes the rows of the night, and not those of the day before or after."""
    fill(sqlite, sa.Text(), *(noon(day).strftime(form) for day in (-1, 0, 0)))

    said = began(sqlite, "--table", "sales")

    assert said.code == 0, said.err
    assert condition in query(sqlite)
    assert "2 read = 2 sent" in said.out
    assert CANARY not in said.out + query(sqlite)


@pytest.mark.parametrize("text", ["2026-11-23T10:00:00+01:00", "1795500000"])
def test_a_text_that_does_not_sort_as_time_does_is_left_to_a_person(sqlite: Beginner, text: str) -> None:
    fill(sqlite, sa.Text(), text, text)

    said = began(sqlite, "--table", "sales")

    assert said.code == 2
    assert "-- TODO: WHERE sold_at is from :since on" in query(sqlite)
    assert "the query never uses :since" in said.out


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("unit", [1, 1_000])
def test_unix_times_are_compared_as_numbers(database: str, unit: int, request: pytest.FixtureRequest) -> None:
    """Seconds or milliseconds: the window is written, so that nobody has to write SQL."""
    beginner: Beginner = request.getfixturevalue(database)
    times = (int(noon(day).replace(tzinfo=UTC).timestamp()) * unit for day in (-1, 0, 0))
    fill(beginner, sa.BigInteger(), *times)

    said = began(beginner, "--table", "sales")

    assert said.code == 0, said.err + said.out
    assert "sold_at is compared as a Unix time" in query(beginner)
    assert "2 read = 2 sent" in said.out


@pytest.mark.parametrize(
    ("kind", "at", "condition"),
    [
        (sa.DateTime(), noon, "WHERE sold_at >= :since\n  AND sold_at < :until\n"),
        (
            sa.DateTime(timezone=True),
            lambda day: noon(day).replace(tzinfo=timezone(timedelta(hours=1))),
            "WHERE sold_at >= :since_utc\n  AND sold_at < :until_utc\n",
        ),
        (sa.Date(), lambda day: noon(day).date(), "WHERE sold_at >= CAST(:since AS DATE)\n"),
    ],
)
def test_postgres_times_are_compared_as_what_they_are(
    postgres: Beginner, kind: sa.types.TypeEngine, at: Callable[[int], object], condition: str
) -> None:
    fill(postgres, kind, *map(at, (-1, 0, 0)))

    said = began(postgres, "--table", "public.sales")

    assert said.code == 0, said.err
    assert condition in query(postgres)
    assert "FROM public.sales\n" in query(postgres)
    assert "2 read = 2 sent" in said.out


def test_the_first_night_is_asked_of_the_database(sqlite: Beginner) -> None:
    old = noon(-3)
    fill(sqlite, sa.Text(), *(f"{old - timedelta(days=day):%Y-%m-%d %H:%M:%S}" for day in (2, 0, 1)))

    assert f"upload sales --since {old:%Y-%m-%d}" in began(sqlite, "--table", "sales").out


# ---------------------------------------------------------------------------------------------- names


def test_names_are_quoted_where_the_database_wants_it(postgres: Beginner) -> None:
    fill(postgres, sa.DateTime(), noon(), noon(), table="Order Lines")

    said = began(postgres, "--table", "Order Lines")

    assert said.code == 0, said.err
    assert 'FROM "Order Lines"\n' in query(postgres, "Order_Lines")
    assert "2 read = 2 sent" in said.out


@pytest.mark.parametrize("end", ["\n", "\x85", "\u2028"])
def test_a_line_break_in_a_name_does_not_end_a_comment(sqlite: Beginner, end: str) -> None:
    """The query went on in SQL after `-- NAME: rows of …`, and the YAML after `# Proposed by …` (L7)."""
    table = f"sales{end}DROP TABLE x; --"
    fill(sqlite, sa.Text(), *(f"{noon():%Y-%m-%d %H:%M:%S}" for _ in range(2)), table=table)

    said = began(sqlite, "--table", table)

    assert said.code == 0, said.err
    text = query(sqlite, "sales_DROP_TABLE_x")
    comments = [line for line in text.splitlines() if line.startswith("--")]
    assert "rows of" in comments[0]
    assert "DROP TABLE x" in comments[0]
    assert f'FROM "{table}"' in text
    written = sqlite.text("dags/uploads/sales_DROP_TABLE_x.yml").splitlines()
    assert [line for line in written if line.startswith(("DROP", " DROP"))] == []
    assert "2 read = 2 sent" in said.out


def test_nor_does_one_in_the_name_of_a_column(sqlite: Beginner) -> None:
    """A commented-out line of the YAML went on in the next one."""
    rows = sales(2)
    names = {**{name: name for name in rows[0]}, "telephone": "phone\nclient: nobody"}
    described = sa.Table("sales", sa.MetaData(), *(sa.Column(name, sa.Text) for name in names.values()))
    engine = sa.create_engine(sqlite.env["OFFLINE_CAPI_CONN_WAREHOUSE"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        described.create(connection)
        for row in rows:
            connection.execute(described.insert(), {names[name]: str(value) for name, value in row.items()})

    said = began(sqlite, "--table", "sales")

    assert said.code == 0, said.err
    written = sqlite.text("dags/uploads/sales.yml")
    assert "phone\\nclient: nobody" in written
    assert [line for line in written.splitlines() if line.strip().startswith("client: nobody")] == []


def test_only_columns_that_are_used_are_read(sqlite: Beginner) -> None:
    fill(sqlite, sa.Text(), *[f"{noon()}"] * 3)
    engine = sa.create_engine(sqlite.env["OFFLINE_CAPI_CONN_WAREHOUSE"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE sales ADD COLUMN shelf TEXT")

    began(sqlite, "--table", "sales")

    assert "shelf" not in query(sqlite)
    assert "telephone" in query(sqlite)


# ---------------------------------------------------------------------------------------------- own queries


def test_a_query_of_ones_own_is_taken_as_it_is(sqlite: Beginner) -> None:
    fill(sqlite, sa.Text(), *[f"{noon()}"] * 3)
    own = "SELECT * FROM sales\nWHERE sold_at >= :since AND sold_at < :until\n"
    (sqlite.home / "nightly.sql").write_text(own, encoding="utf-8")

    said = began(sqlite, "--sql", "nightly.sql")

    assert said.code == 0, said.err
    assert query(sqlite, "nightly") == own
    assert "3 read = 3 sent" in said.out


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "slaes"], r'no table or view "slaes" on connection warehouse; did you mean "sales"\?'),
        (["--table", "sales", "--sql", "x.sql"], "--connection with one of --table and --sql"),
        (["--sql", "nightly.sql"], r"nightly\.sql cannot be read \(FileNotFoundError\)"),
        ([], "--connection with one of --table and --sql"),
    ],
)
def test_a_source_that_is_not_there_is_named(sqlite: Beginner, arguments: list[str], said: str) -> None:
    fill(sqlite, sa.Text(), "2026-11-23")

    found = began(sqlite, *arguments)

    assert found.code == 2
    assert_said(found, said)
    assert not (sqlite.home / "dags").exists()


def test_a_connection_that_leads_nowhere_makes_no_database(sqlite: Beginner) -> None:
    found = began(sqlite, "--table", "sales")

    assert_said(found, "there is no database file")
    assert sqlite.files == []


def test_a_table_without_rows_shows_nothing(sqlite: Beginner) -> None:
    fill(sqlite, sa.Text())

    assert_said(began(sqlite, "--table", "sales"), "the table sales has no rows")


def assert_said(found: Said, pattern: str) -> None:
    assert re.search(pattern, found.err), found.err


@pytest.mark.parametrize(
    ("dialect", "query"),
    [
        ("postgresql", 'SELECT * FROM s."x%y:z" LIMIT 50000'),
        ("mssql", 'SELECT TOP 50000 * FROM s."x%y:z"'),
        ("oracle", 'SELECT * FROM s."x%y:z" FETCH FIRST 50000 ROWS ONLY'),
        ("mysql", 'SELECT * FROM s."x%y:z" LIMIT 50000'),
    ],
)
def test_a_sample_asks_for_no_more_rows_than_it_holds(dialect: str, query: str):
    """A warehouse would get all of them ready, and charge them."""
    table = describe_table('s."x%y:z"', sa.make_url(f"{dialect}://").get_dialect()())

    assert " ".join(table.sample_query.split()) == query
