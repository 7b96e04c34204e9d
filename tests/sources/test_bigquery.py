"""BigQuery through its real driver, against a stand-in for its two interfaces: as Arrow and through SQLAlchemy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.errors import SourceError
from offline_capi.onboarding.tables import inspect_table
from offline_capi.sources.sql.preview import preview_table
from tests.sources.reading import repeat_values
from tests.sources.test_sql_conformance import Database
from tests.support.bigquery import RefusedError, running_stand_in

ROWS = 2_500
#: Name of the type → Arrow's, and values.
COLUMNS: dict[str, tuple[pa.DataType, list[object]]] = {
    "BOOLEAN": (pa.bool_(), [True, False]),
    "INTEGER": (pa.int64(), [-(2**63), 5]),
    "FLOAT": (pa.float64(), [0.1, float("inf")]),
    "NUMERIC": (pa.decimal128(38, 9), [Decimal("12.5"), Decimal("-3")]),
    "BIGNUMERIC": (pa.decimal256(76, 38), [Decimal("1.5"), Decimal(10) ** 30]),
    "STRING": (pa.string(), ["é😀", "", "100%"]),
    "JSON": (pa.string(), ['{"a":1}']),
    "BYTES": (pa.binary(), [b"\xff\x00", b""]),
    "DATE": (pa.date32(), [date(2026, 3, 29), date(1, 1, 1), date(9999, 12, 31)]),
    "TIME": (pa.time64("us"), [time(10), time(10, 0, 0, 5)]),
    "DATETIME": (pa.timestamp("us"), [datetime(2026, 3, 29, 2, 30)]),  # noqa: DTZ001
    "TIMESTAMP": (pa.timestamp("us", "UTC"), [datetime(2026, 10, 25, 0, 30, 0, 123456, UTC)]),
}


TABLES = {
    "types": (
        pa.table({name: repeat_values(*column, rows=ROWS) for name, column in COLUMNS.items()}),
        {name: name for name in COLUMNS},
    ),
    "none": (pa.table({"a": pa.array([], pa.int64())}), {"a": "INTEGER"}),
    "many": (pa.table({"a": range(40_000)}), {"a": "INTEGER"}),
    "SELECT 1 AS one": (pa.table({"one": [1]}), {"one": "INTEGER"}),
    "types_view": (pa.table({"a": [1]}), {"a": "INTEGER"}),
    "lists": (pa.table({"a": [["a", "é"]] * 3}), {"a": "STRING"}),
}


def answer(sql: str, parameters: list[dict[str, Any]]) -> tuple[pa.Table, dict[str, str]]:
    if parameters:
        kinds = [one["parameterType"]["type"] + " " + one["parameterValue"]["value"] for one in parameters]
        return pa.table({"a": kinds}), {"a": "STRING"}
    table = re.search(r"FROM `?(\w+)", sql)
    if (found := TABLES.get(table[1] if table else sql.strip())) is None:
        raise RefusedError(404, "notFound", "Not found: Table shop:sales.nowhere was not found in location EU")
    return found


@dataclass(frozen=True)
class BigQuery(Database):
    service: Any


@pytest.fixture(scope="module")
def database() -> Iterator[BigQuery]:
    with running_stand_in(answer) as (url, service):
        yield BigQuery("bigquery", url, service)


@pytest.mark.parametrize("table", ["types", "none", "lists"])
def test_the_rows_are_the_same_through_both_strategies(database: BigQuery, table: str):
    sql = f"SELECT * FROM {table}"

    through_arrow = database.result(sql, arrow=True)

    assert isinstance(through_arrow, list)
    assert through_arrow == database.result(sql, arrow=False)


@pytest.mark.parametrize("table", ["types", "none", "lists"])
@pytest.mark.parametrize("name", ["{}", "sales.{}", "`shop`.`sales`.`{}`", "`shop.sales.{}`"])
def test_the_first_rows_of_a_table_are_those_of_a_query_and_cost_nothing(database: BigQuery, table: str, name: str):
    queried = list(database.read(f"SELECT * FROM {table}", arrow=False))
    database.service.queries.clear()

    listed = preview_table("warehouse", name.format(table), database.url, 10_000)

    assert listed is not None
    assert [part.batch.schema for part in listed] == [queried[0].batch.schema] * len(listed) if queried else not listed
    assert repr([row for part in listed for row in part.batch.to_pylist()]) == repr(
        [row for part in queried for row in part.batch.to_pylist()]
    )
    assert database.service.queries == []


def test_init_samples_a_table_and_a_relation_without_a_query(database: BigQuery):
    """But for what tries the connection, which reads no table."""
    database.service.queries.clear()

    origin = inspect_table("warehouse", "types", lambda _: database.url)

    assert len(origin.sample) == ROWS
    assert database.service.queries == ["SELECT 1 AS one\n"]
    view = inspect_table("warehouse", "types_view", lambda _: database.url)
    assert (len(view.sample), database.service.queries[-1]) == (1, "SELECT * \nFROM `types_view`\n LIMIT 50000\n")


@pytest.mark.parametrize("name", ["types_view", "nowhere"])
def test_what_has_no_list_of_rows_is_left_to_a_query(database: BigQuery, name: str):
    assert preview_table("warehouse", name, database.url, 10) is None


def test_a_refusal_is_the_same_through_both_strategies(database: BigQuery):
    through_arrow = database.result("SELECT * FROM nowhere", arrow=True)

    assert through_arrow == database.result("SELECT * FROM nowhere", arrow=False)
    assert "nowhere" in str(through_arrow)


def test_the_ends_of_the_window_have_their_types(database: BigQuery):
    (part,) = database.read("SELECT :since, :until_utc", arrow=True)

    assert part.batch.to_pydict() == {
        "a": ["DATETIME 2026-11-23T00:00:00.000000", "TIMESTAMP 2026-11-23 23:00:00+00:00"]
    }


def test_a_login_that_ends_half_way_is_told(database: BigQuery, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database.service, "batches_before_cut", 20)
    reading = database.read("SELECT * FROM many", arrow=True, batch_rows=1_024)
    assert len(next(reading)) == 1_024

    with pytest.raises(SourceError, match="the token of the connection has ended"):
        list(reading)


def test_the_arrow_strategy_is_what_reads(database: BigQuery):
    database.check_strategies("SELECT * FROM types")
