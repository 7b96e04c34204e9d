"""What an executor makes of the rows that Spark hands over, without Spark; tests/pipeline/test_spark.py has it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
from pydantic import ValidationError

from offline_capi.config.source import SparkTableSource
from offline_capi.sources.spark_table import TableLayout, split_table

LAYOUT = TableLayout("shop.sales", ("id", "who.email"), 7)


def make_batch(places: Sequence[tuple[str, int | None]]) -> pa.RecordBatch:
    ids = [f"{file}:{row}" for file, row in places]
    return pa.RecordBatch.from_pydict(
        {
            "~file": pa.array([file for file, _ in places], pa.string()),
            "~row": pa.array([row for _, row in places], pa.int64()),
            "who": pa.array([{"email": one} for one in ids]),
            "id": pa.array(ids),
        }
    )


def split(*batches: pa.RecordBatch, rows: int = 100) -> list[tuple[str, int, list[tuple[str, list[int], list[str]]]]]:
    found = []
    for part, group in split_table(LAYOUT, batches, rows):
        told = [(one.origin, one.row_numbers.to_pylist(), one.batch["who.email"].to_pylist()) for one in group]
        found.append((part.origin, part.first_row, told))
    return found


def test_rows_of_a_file_have_the_numbers_that_they_have_in_it() -> None:
    """Spark leaves rows out, and cuts files where it likes; a part is of one file, and its rows ascend."""
    a, b = "file:/shop/a%20b.parquet", "file:/shop/day=2026-11-29/c.parquet"

    found = split(
        make_batch([(a, 3), (a, 4)]),
        make_batch([]),
        make_batch([(a, 9), (b, 0), (b, 1)]),
        make_batch([(b, 0)]),
    )

    assert [(origin, first) for origin, first, _ in found] == [(a, 4), (b, 1), (b, 1)]
    assert found[0][2] == [("a b.parquet", [4, 5, 10], [f"{a}:3", f"{a}:4", f"{a}:9"])]
    ((origin, numbers, _),) = found[1][2]
    assert origin.startswith("c.parquet (")  # a folder is called like a value: its digest stands for it
    assert "2026" not in origin
    assert numbers == [1, 2]
    assert found[2][2][0][:2] == (origin, [1])


def test_rows_of_a_table_without_files_are_numbered_in_their_partition() -> None:
    found = split(make_batch([("12", None)] * 3), make_batch([("12", None)] * 2), rows=4)

    assert [(part, first) for part, first, _ in found] == [("shop.sales partition 000012", 1)]
    assert [numbers for _, numbers, _ in found[0][2]] == [[1, 2, 3], [4, 5]]


@pytest.mark.parametrize("name", ["", "a b", "x; DROP TABLE y", "a..b", "`a`", "a.b.c.d.e.f", "-a", "sales@v1"])
def test_a_table_is_a_name_and_no_sql(name: str) -> None:
    with pytest.raises(ValidationError):
        SparkTableSource(table=name)
