"""MariaDB, whose instants have no type of their own: bound and read in UTC, whatever zone the server is in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from offline_capi.errors import SourceError, SourceUnavailableError
from offline_capi.model import Window
from tests.sources.reading import DAY, WINDOW, batches, columns_of, open_at, query, rows
from tests.sources.scripts import script

UTC_DAY = Window.of_day(DAY, "UTC")
INSTANTS = ["00:30", "01:30", "12:00", "22:30", "23:30"]


@pytest.fixture
def sales(mariadb: str) -> str:
    """Sales at five instants of 2026-11-23 in UTC, and one on either side."""
    written = [f"2026-11-23 {time}:00" for time in INSTANTS] + ["2026-11-22 23:59:59", "2026-11-24 00:00:00"]
    return script(
        mariadb,
        "SET time_zone = '+00:00'",
        "CREATE TABLE sales (id INT PRIMARY KEY AUTO_INCREMENT, at TIMESTAMP, wall DATETIME)",
        *(f"INSERT INTO sales (at, wall) VALUES ('{time}', '{time}')" for time in written),
    )


def test_a_timestamp_is_an_instant_whatever_zone_the_server_is_in(sales):
    found = rows(
        query("SELECT at FROM sales WHERE at >= :since_utc AND at < :until_utc ORDER BY id"), url=sales, window=UTC_DAY
    )

    assert [row["at"] for row in found] == [datetime.fromisoformat(f"2026-11-23 {time}Z") for time in INSTANTS]


def test_a_datetime_is_wall_time(sales):
    (first, *_, last) = rows(
        query("SELECT wall FROM sales WHERE wall >= :since AND wall < :until ORDER BY id"), url=sales
    )

    assert [str(row["wall"]) for row in (first, last)] == ["2026-11-23 00:30:00", "2026-11-23 23:30:00"]


def test_instants_are_not_compared_with_wall_time(sales):
    """Silently, it would be the day of UTC and not that of Berlin."""
    with pytest.raises(SourceError, match=r'"at" is a TIMESTAMP.*compares with :since'):
        rows(query("SELECT id, at FROM sales WHERE at >= :since AND at < :until"), url=sales)

    both = rows(query("SELECT at, wall FROM sales WHERE wall >= :since AND wall < :until"), url=sales)
    same = rows(query("SELECT at FROM sales WHERE at >= :since AND at < :until"), url=sales, window=UTC_DAY, zone="UTC")

    assert len(both) == len(same) == len(INSTANTS)


def test_types_come_in_seven_kinds(mariadb):
    script(
        mariadb,
        "CREATE TABLE t (a DECIMAL(12,2), b DATE, c DATETIME(6), e BOOLEAN, f VARBINARY(9), h JSON, i BIGINT UNSIGNED,"
        " j DOUBLE, k TEXT, l TIME, yes BIT(1), no BIT, bits BIT(9))",
        "INSERT INTO t VALUES (12000.50, '2026-02-01', '2026-11-23 14:03:22.5', true, x'ff00', '[{\"id\": \"ü\"}]',"
        " 18446744073709551615, 1.5, '007', '10:00', b'1', b'0', b'100000001')",
    )

    (row,) = rows(query("SELECT * FROM t WHERE k <> '100 %'"), url=mariadb)

    assert row == {
        "a": Decimal("12000.50"), "b": date(2026, 2, 1), "c": datetime(2026, 11, 23, 14, 3, 22, 500_000),  # noqa: DTZ001
        "e": 1, "f": "ff00", "h": '[{"id": "ü"}]', "i": "18446744073709551615", "j": 1.5, "k": "007", "l": "10:00:00",
        "yes": 1, "no": 0, "bits": 257,
    }  # fmt: skip


def test_dates_that_are_none_cost_their_value_alone(mariadb):
    """Zero dates come as they are written; their neighbours go on as the same instants and days."""
    script(
        mariadb,
        "SET time_zone = '+00:00'",
        "CREATE TABLE t (id INT, born DATE, at TIMESTAMP NULL, wall DATETIME)",
        "INSERT INTO t VALUES (1, '1980-02-01', '2026-11-23 10:00:00', '2026-11-23 10:00:00'),"
        " (2, '0000-00-00', '0000-00-00 00:00:00', '2026-00-15 00:00:00'), (3, NULL, NULL, NULL)",
    )

    found = rows(query("SELECT * FROM t ORDER BY id"), url=mariadb)

    assert found == [
        {"id": 1, "born": "1980-02-01", "at": "2026-11-23T10:00:00Z", "wall": "2026-11-23T10:00:00"},
        {"id": 2, "born": "0000-00-00", "at": "0000-00-00 00:00:00", "wall": "2026-00-15 00:00:00"},
        {"id": 3, "born": None, "at": None, "wall": None},
    ]


def test_a_source_is_only_read(sales):
    with pytest.raises(SourceError, match="the query wants to write"):
        rows(query("DELETE FROM sales"), url=sales)

    assert len(rows(query("SELECT id FROM sales"), url=sales)) == 7


def test_comments_and_quotes_are_those_of_mysql(mariadb):
    script(mariadb, "CREATE TABLE t (email TEXT, kind TEXT, at DATETIME)",
           "INSERT INTO t VALUES ('o''brien', 'a', '2026-11-23'), ('x', 'a', '2026-11-23')")  # fmt: skip

    found = rows(
        query(
            'SELECT email, "so \\":since\\"" AS `it\'s` # not :since\nFROM t\n'
            "WHERE email <> 'o\\'brien' AND at >= :since AND at < :until AND kind = 'a'"
        ),
        url=mariadb,
    )

    assert found == [{"email": "x", "it's": 'so ":since"'}]


def test_rows_are_counted_and_columns_are_told_without_reading_them_all(sales):
    everything = query("SELECT id, at FROM sales, seq_1_to_100000")

    assert dict(columns_of(everything, sales)) == {"id": "int64", "at": "timestamp[us, tz=UTC]"}
    count = open_at(everything, sales, zone="UTC").estimate_rows(WINDOW)
    assert count == 700_000


def test_a_time_limit_of_the_server_passes(mariadb):
    slow = "SELECT SLEEP(30)"
    with pytest.raises(SourceUnavailableError, match="cancelled the query"):
        rows(query(f"SET STATEMENT max_statement_time = 0.2 FOR {slow}"), url=mariadb)


def iter_rows(url: str):
    big = query("SELECT seq, REPEAT('x', 1000) AS b FROM seq_1_to_900000")
    return open_at(big, url, zone="UTC").read(WINDOW, batch_rows=1_024)


def test_a_server_that_ends_the_connection_passes(sales):
    reading = iter_rows(sales)
    next(reading)
    (own,) = rows(query("SELECT id FROM information_schema.processlist WHERE info LIKE '%seq_1_to_900000%' AND id <>"
                        " CONNECTION_ID()"), url=sales)  # fmt: skip
    script(sales, f"KILL CONNECTION {own['id']}")

    with pytest.raises(SourceUnavailableError, match="ended the connection"):
        list(reading)


def test_an_unreachable_server_passes_and_a_wrong_password_does_not():
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        batches(query("SELECT 1"), url="mysql+pymysql://u:hidden@127.0.0.1:1/shop")


def test_a_wrong_password_says_so_without_it(mariadb):
    with pytest.raises(SourceError, match="refused user or password") as raised:
        batches(query("SELECT 1"), url=mariadb.replace("not-a-secret", "hidden-word"))

    assert not isinstance(raised.value, SourceUnavailableError)
    assert "hidden-word" not in str(raised.value)


def test_instants_before_and_after_a_change_of_clocks_are_exact(mariadb):
    """Two sales an hour apart have one wall time in Berlin."""
    script(mariadb, "SET time_zone = '+00:00'", "CREATE TABLE t (at TIMESTAMP)",
           "INSERT INTO t VALUES ('2026-10-25 00:30:00'), ('2026-10-25 01:30:00')")  # fmt: skip

    found = rows(query("SELECT at FROM t WHERE at >= :since_utc AND at < :until_utc ORDER BY at"), url=mariadb,
                 window=Window.of_day(date(2026, 10, 25), "Europe/Berlin"))  # fmt: skip

    assert [row["at"] for row in found] == [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
