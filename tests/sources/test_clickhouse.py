"""ClickHouse through its real driver, against what its real engine answered: as Arrow and through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from offline_capi.errors import SourceUnavailableError
from tests.sources.test_sql_conformance import Database
from tests.support.clickhouse import READ_ONLY, Answer, Ask, answers, running_stand_in

#: Every type of which a value can be selected; a few rows more than get their kind at once.
VALUES = [
    "toInt8(-1)", "toInt64(-1)", "toUInt8(255)", "toUInt64(i)", "toUInt64(18446744073709551615)", "toInt128(-5)",
    "toUInt256(7)", "toFloat32(1.1)", "i / 4", "inf", "nan", "toDecimal32(12.5, 2)", "toDecimal128(1.5, 20)",
    "toDecimal256(1.5, 2)", "true", "'é😀'", "''", "'it''s 100%'", "unhex('ff00')", "if(i = 1050, unhex('ff00'), 'é')",
    "toFixedString('ab', 3)", "toDate('2026-03-29')", "toDate32('1900-01-01')",
    "toDateTime('2026-03-29 01:30:00', 'Europe/Berlin')", "toDateTime('2026-10-25 00:30:00')",
    "toDateTime64('2026-10-25 02:30:00.123456', 6, 'Europe/Berlin')",
    "toDateTime64('2026-03-29 01:30:00.123456789', 9, 'UTC')",
    "toDateTime64('1950-03-29 01:30:00.123456789', 9, 'UTC')",
    "toDateTime64('2026-03-29 01:30:00', 0, 'UTC')", "toUUID('6b3c1a7e-0000-4000-8000-000000000001')",
    "toIPv4('10.0.0.1')", "CAST(if(i % 2 = 0, 'a', 'b c'), 'Enum8(\\'a\\' = 1, \\'b c\\' = -2)')",
    "CAST('a', 'Nullable(Enum16(\\'a\\' = 300))')", "NULL", "if(i % 2 = 0, i, NULL)", "if(i > 1050, 'late', NULL)",
    "toLowCardinality('x')", "toLowCardinality(toNullable('x'))", "[1, 2]::Array(Int64)", ":since", ":until_utc",
]  # fmt: skip
#: Read by SQLAlchemy, with a notice that names the type.
NOT_AS_ARROW = [
    "toIPv6('::1')", "['a', NULL]", "(1, 'a')", "map('a', 1)", "toIntervalDay(1)", "'{\"a\": 1}'::JSON", "5::Dynamic",
    "toBFloat16(1.5)", "CAST('a''b', 'Enum8(\\'a\\\\\\'b\\' = 1)')",
]  # fmt: skip


@dataclass(frozen=True)
class ClickHouse(Database):
    ask: Ask

    def read_rows(self, sql: str, *, arrow: bool) -> list[dict[str, object]]:
        return [row for part in self.read(sql, arrow=arrow) for row in part.batch.to_pylist()]


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[ClickHouse]:
    with answers() as ask, running_stand_in(ask) as url:
        yield ClickHouse("clickhousedb", url, ask)


def select(*values: str) -> str:
    named = ", ".join(f"{value} AS c{at}" for at, value in enumerate(values))
    return f"SELECT {named}, i FROM (SELECT number AS i FROM numbers(1100)) ORDER BY i"


def test_every_type_is_the_same_through_both_strategies(clickhouse: ClickHouse, caplog: pytest.LogCaptureFixture):
    found = []
    for arrow in (True, False):
        parts = list(clickhouse.read(select(*VALUES), arrow=arrow))
        assert [part.faults for part in parts] == [()] * len(parts)
        found.append([(part.batch.schema, repr(part.batch.to_pydict())) for part in parts])

    assert found[0] == found[1]
    assert not [message for message in caplog.messages if "SQLAlchemy" in message]


@pytest.mark.parametrize("value", NOT_AS_ARROW)
def test_a_type_that_arrow_has_otherwise_is_read_by_sqlalchemy_and_told_once(
    clickhouse: ClickHouse, caplog: pytest.LogCaptureFixture, value: str
):
    through_arrow = clickhouse.result(select(value), arrow=True)

    assert len([message for message in caplog.messages if "is read through SQLAlchemy" in message]) == 1
    assert through_arrow == clickhouse.result(select(value), arrow=False)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT 1 AS "select", 2 AS "Ä b", 3 AS "a:b"',
        "SELECT 1 AS a, 2 AS A",
        "SELECT 1 AS a WHERE 1 = 0",
        "SELECT 1 AS a -- the end",
        "SELECT 1 AS a /* 'it''s' */;",
        "SELECT 'a' AS a WHERE 5 % 2 = 1 AND 'b' LIKE '%b' AND 'c?' = 'c?'",
        "SELECT 'a' AS a WHERE 5 % 2 = 1 AND 'b' LIKE '%b' AND toDate('2026-11-23') >= :since",
        "SELECT nothing FROM nowhere",
        "SELECT nothing FROM system.one",
        "SELEC 1",
        "CREATE TABLE IF NOT EXISTS made (a Int8) ENGINE = Memory",
        "SELECT toInt32(concat('person', '@', 'example.com')) AS a",
    ],
)
def test_names_texts_and_refusals_are_the_same(clickhouse: ClickHouse, sql: str):
    through_arrow = clickhouse.result(sql, arrow=True)

    assert through_arrow == clickhouse.result(sql, arrow=False)
    assert "person@" not in str(through_arrow)


def test_the_window_selects_the_rows_of_the_day(clickhouse: ClickHouse):
    """Of a column with a zone, whose texts would mean another hour."""
    hours = "SELECT toDateTime('2026-11-22 00:00:00', 'America/New_York') + number * 3600 AS t FROM numbers(72)"
    sql = f"SELECT t FROM ({hours}) WHERE t >= :since_utc AND t < :until_utc ORDER BY t"

    found = [row["t"].isoformat() for part in clickhouse.read(sql, arrow=True) for row in part.batch.to_pylist()]

    assert (len(found), found[0]) == (24, "2026-11-22T23:00:00+00:00")


@pytest.mark.parametrize("arrow", [True, False])
def test_a_query_that_writes_is_refused_and_one_with_settings_is_read(clickhouse: ClickHouse, arrow: bool):
    """By the engine in ``readonly=2``."""
    told = clickhouse.result("CREATE TABLE made (a Int8) ENGINE = Memory", arrow=arrow)

    assert "the query wants to write" in str(told), told
    assert clickhouse.read_rows("SELECT 1 AS a SETTINGS max_block_size = 100", arrow=arrow) == [{"a": 1}]


@pytest.mark.parametrize("arrow", [True, False])
def test_a_login_that_is_read_only_by_its_profile_is_read_as_well(clickhouse: ClickHouse, arrow: bool):
    """``readonly=1`` refuses every setting that comes with a query, also ``readonly`` itself."""
    asked: list[str] = []

    def ask(query: str) -> Answer:
        asked.append(query)
        if query.startswith(READ_ONLY.format(2)):
            return Answer(
                500, b"Code: 164. DB::Exception: Cannot modify 'readonly' setting in readonly mode. (READONLY)"
            )
        return clickhouse.ask(READ_ONLY.format(1) + query)

    with running_stand_in(ask) as url:
        assert ClickHouse("clickhousedb", url, ask).read_rows("SELECT 1 AS a", arrow=arrow) == [{"a": 1}]

    assert not [query for query in asked if query.startswith(READ_ONLY.format(2))]


FAILED = b"Code: 241. DB::Exception: Memory limit (total) exceeded: person@example.com. (MEMORY_LIMIT_EXCEEDED)"
#: How a stream ends before its time → what is said.
ENDS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "between two batches": (lambda body: body[:-8], "the database ended the connection"),
    "within a batch": (lambda body: body[: len(body) // 2], "the database ended the connection"),
    "with the server's words": (
        lambda body: body[:-8] + FAILED,
        "the database is short of connections, memory or disk",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_that_was_cut_is_no_shorter_result(clickhouse: ClickHouse, end: str):
    """Arrow itself takes a stream without its mark for a whole one: the rows behind it would never be sent."""
    cut, told = ENDS[end]
    sql = "SELECT number AS i FROM numbers(200000)"

    def ask(query: str) -> Answer:
        answer = clickhouse.ask(query)
        return Answer(answer.status, cut(answer.body)) if query.endswith("ArrowStream") else answer

    with running_stand_in(ask) as url:
        reading = Database("clickhousedb", url).read(sql, arrow=True, batch_rows=1_024)
        assert len(next(reading)) == 1_024
        with pytest.raises(SourceUnavailableError, match=told) as error:
            list(reading)

    assert "person" not in str(error.value)


def test_the_arrow_strategy_is_what_reads(clickhouse: ClickHouse):
    clickhouse.check_strategies("SELECT 1 AS a")
