"""Parts of a batch are its rows, with their numbers and faults."""

from __future__ import annotations

import pyarrow as pa
import pytest

from offline_capi.model import Reason, RowFault, SourceRows


@pytest.mark.parametrize("numbers", [None, [3, 5, 8, 13, 21, 34, 55]])
@pytest.mark.parametrize("size", [1, 3, 7, 9])
def test_parts_have_the_rows_of_the_batch(numbers: list[int] | None, size: int) -> None:
    bad = [False, True, False, False, True, False, True]
    whole = SourceRows(
        pa.record_batch({"a": pa.array(["x", None, "y", "z", "v", None, "w"])}),
        "shop.csv",
        11,
        (RowFault(Reason.MALFORMED_ROW, "", pa.array(bad)),),
        width=4,
        numbers=numbers and pa.array(numbers, pa.int64()),
    )

    parts = list(whole.split(size))

    assert [len(part) for part in parts] == [min(size, 7 - start) for start in range(0, 7, size)]
    assert [row for part in parts for row in part.batch.column("a").to_pylist()] == whole.batch.column("a").to_pylist()
    assert [number for part in parts for number in part.row_numbers.to_pylist()] == (numbers or list(range(11, 18)))
    assert [flag for part in parts for flag in part.faults[0].where.to_pylist()] == bad
    assert {(part.origin, part.width, part.faults[0].reason) for part in parts} == {("shop.csv", 4, "malformed_row")}
    assert [len(part) for part in SourceRows(whole.batch.slice(0, 0), "shop.csv", 1).split(5)] == [0]
