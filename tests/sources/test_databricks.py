"""Databricks through its real driver, against a stand-in for its warehouse: as Arrow and through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from offline_capi.errors import SourceUnavailableError
from tests.sources.reading import repeat_values
from tests.sources.test_sql_conformance import Database
from tests.support.databricks import RefusedError, running_stand_in

ROWS = 2_500
#: What a warehouse sends of its types; a column has another value or none now and then.
COLUMNS: dict[str, tuple[pa.DataType, list[object]]] = {
    "boolean": (pa.bool_(), [True, False]),
    "tinyint": (pa.int8(), [-128, 1]),
    "smallint": (pa.int16(), [300]),
    "int": (pa.int32(), [70_000]),
    "bigint": (pa.int64(), [2**63 - 1]),
    "float": (pa.float32(), [1.1]),
    "double": (pa.float64(), [0.1, float("inf"), float("-inf")]),
    "decimal": (pa.decimal128(10, 2), [Decimal("12.50"), Decimal("-3.00")]),
    "wide_decimal": (pa.decimal128(38, 0), [Decimal(10) ** 30]),
    "string": (pa.string(), ["é😀", "", "100%"]),
    "binary": (pa.binary(), [b"\xff\x00", b""]),
    "date": (pa.date32(), [date(2026, 3, 29), date(1, 1, 1)]),
    "timestamp": (pa.timestamp("us", "Etc/UTC"), [datetime(2026, 10, 25, 0, 30, 0, 123456, UTC)]),
    "timestamp_ntz": (pa.timestamp("us"), [datetime(2026, 3, 29, 2, 30)]),  # noqa: DTZ001
    "void": (pa.null(), [None]),
}


TABLES = {
    "one": pa.table({"a": [1]}),
    "types": pa.table({name: repeat_values(*column, rows=ROWS) for name, column in COLUMNS.items()}),
    "cut": pa.table({"cut": range(40_000)}),
    "none": pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())}),
    "lists": pa.table(
        {
            "a": pa.array([[1, None], None], pa.list_(pa.int32())),
            "b": pa.array([["é", "it's"], []], pa.list_(pa.string())),
            "c": pa.array([[[1.5], []], None], pa.list_(pa.list_(pa.float64()))),
            "d": pa.array([[Decimal("12.50")], None], pa.list_(pa.decimal128(10, 2))),
            "e": pa.array([[datetime(2026, 3, 29, 2, 30)], None], pa.list_(pa.timestamp("us"))),  # noqa: DTZ001
        }
    ),
    "structs": pa.table({"a": [{"b": 1}, None]}),
}


def answer(statement: str, parameters: dict[str, str]) -> pa.Table:
    if statement.startswith("SET TIME ZONE") or "test_sql" in statement:
        return TABLES["none"]
    if parameters:
        return pa.table({name: [value] for name, value in sorted(parameters.items())})
    if (table := TABLES.get(statement.rpartition(" FROM ")[2])) is None:
        raise RefusedError("42P01", "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found.")
    return table


@pytest.fixture(scope="module")
def databricks() -> Iterator[Database]:
    with running_stand_in(answer) as url:
        yield Database("databricks", url)


@pytest.mark.parametrize("table", ["one", "types", "none", "lists"])
def test_the_rows_are_the_same_through_both_strategies(databricks: Database, table: str):
    sql = f"SELECT * FROM {table}"

    through_arrow = databricks.result(sql, arrow=True)

    assert isinstance(through_arrow, list)
    assert through_arrow == databricks.result(sql, arrow=False)


def test_a_refusal_is_the_same_through_both_strategies(databricks: Database):
    through_arrow = databricks.result("SELECT * FROM nowhere", arrow=True)

    assert through_arrow == databricks.result("SELECT * FROM nowhere", arrow=False)
    assert "The table or view `nowhere` cannot be found" in str(through_arrow)
    assert "secret-token" not in str(through_arrow)


@pytest.mark.parametrize("arrow", [True, False])
def test_arrays_are_json(databricks: Database, arrow: bool):
    (part,) = databricks.read("SELECT * FROM lists", arrow=arrow)

    assert part.batch.to_pylist() == [
        {"a": "[1,null]", "b": '["é","it\'s"]', "c": "[[1.5],[]]", "d": '["12.50"]', "e": '["2026-03-29 02:30:00"]'},
        {"a": None, "b": "[]", "c": None, "d": None, "e": None},
    ]


def test_a_type_that_arrow_has_otherwise_is_read_by_the_cursor_and_told_once(
    databricks: Database, caplog: pytest.LogCaptureFixture
):
    through_arrow = databricks.result("SELECT * FROM structs", arrow=True)

    assert [message for message in caplog.messages if "SQLAlchemy" in message] == [
        "the query is read through SQLAlchemy, which is slower: it has columns of the types struct"
    ]
    assert through_arrow == databricks.result("SELECT * FROM structs", arrow=False)


def test_the_ends_of_the_window_are_sent_in_the_same_types(databricks: Database):
    sql = "SELECT :since, :until_utc"

    through_arrow = databricks.result(sql, arrow=True)

    assert through_arrow == databricks.result(sql, arrow=False)
    assert "2026-11-23 00:00:00" in str(through_arrow)


def test_a_connection_that_ends_half_way_is_an_error_that_passes(databricks: Database):
    reading = databricks.read("SELECT * FROM cut", arrow=True, batch_rows=1_024)
    assert len(next(reading)) == 1_024

    with pytest.raises(SourceUnavailableError, match="the database ended the connection"):
        list(reading)


def test_the_arrow_strategy_is_what_reads(databricks: Database):
    databricks.check_strategies("SELECT * FROM types")
