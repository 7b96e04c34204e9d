"""Rows that are not meant are left out and counted, whatever else is wrong with them; nobody else's row goes."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.errors import ConfigError
from offline_capi.mapping import FirstRows, map_rows
from offline_capi.model import Reason, RowFault, SourceRows, Window
from tests.mapping.mapped import faults, mapped, mapping, source

DAY = Window.of_day(date(2026, 11, 20), "UTC")


def kept(rows: SourceRows, condition: object) -> list[int]:
    """The numbers of the rows that a filter keeps; the others are counted."""
    done = mapped(rows, filter=condition)
    assert len(done) + done.filtered == len(rows)
    return list(done.row.to_pylist())


@pytest.mark.parametrize(
    ("values", "condition", "numbers"),
    [
        (["paid", "PAID ", "refunded", None], {"equals": "paid"}, [1, 2]),
        (["paid", "captured", "refunded", ""], {"in": ["paid", "captured"]}, [1, 2]),
        (["yes", "no", None], {"not_equals": "yes"}, [2, 3]),
        (["a", "b", None], {"not_in": ["a", "b"]}, [3]),
        (["1", "1.0", "01", "2"], {"equals": 1}, [1, 2, 3]),
        (pa.array([1, 2, None]), {"equals": "1"}, [1]),
        (pa.array([1.0, 2.5]), {"equals": 1}, [1]),
        (pa.array([True, False, None]), {"equals": 1}, [1]),
        (["yes", "0", "true"], {"equals": True}, [1, 3]),
        (["", " ", None, "x"], {"is": "empty"}, [1, 2, 3]),
        (["", " ", None, "x"], {"is": "filled"}, [4]),
        (["-1", "0", "0.01", None], {"above": 0}, [3]),
        (["-1", "0", "0.01"], {"at_least": 0, "below": 0.01}, [2]),
        (pa.array([9, 10, 11]), {"at_most": 10}, [1, 2]),
        (["1.000,50", "999,99"], {"at_least": 1000, "decimal": ","}, [1]),
        (["2026-11-20", "2026-11-19T23:59:59Z"], {"at_least": "2026-11-20"}, [1]),
        (["20.11.2026", "19.11.2026"], {"below": "2026-11-20", "format": "%d.%m.%Y"}, [2]),
        (pa.array([date(2026, 11, 20), date(2026, 11, 21)]), {"above": "2026-11-20"}, [2]),
        (["#1001", "DRAFT-1", None], {"matches": "^#[0-9]+$"}, [1]),
        (pa.array([1001, 21]), {"matches": "^1"}, [1]),
        (["shop|paid", "shop|open"], {"text": [{"split": {"by": "|", "part": 2}}], "equals": "paid"}, [1]),
    ],
)
def test_a_condition_keeps_the_rows_for_which_it_holds(values, condition, numbers):
    assert kept(source(x=values), [{"column": "x", **condition}]) == numbers


def test_all_conditions_have_to_hold_and_a_mapping_names_columns():
    rows = source(state=["paid", "paid", "open"], test=["no", "yes", "no"])

    assert kept(rows, {"state": ["paid"], "test": "no"}) == [1]
    assert kept(rows, {"column": "test", "not_equals": "yes"}) == [1, 3]


def test_a_filtered_row_has_no_fault_whatever_is_wrong_with_it():
    rows = source(
        id=["1", None],
        email=["a@example.com", None],
        at=["2026-11-20", "no day"],
        total=["5", "x"],
        state=["ok", "draft"],
    )
    sections = {"custom_data": {"value": {"column": "total", "type": "number"}, "currency": "USD"}}

    done = map_rows(rows, mapping(filter={"state": "ok"}, **sections), DAY)

    assert (done.row.to_pylist(), done.filtered, done.outside, faults(done)) == ([1], 1, 0, [])


def test_rows_of_other_days_are_of_other_runs_and_not_filtered():
    rows = source(at=["2026-11-19", "2026-11-20", "2026-11-20"], state=["draft", "draft", "ok"])

    done = map_rows(rows, mapping(filter={"state": "ok"}), DAY)

    assert (done.row.to_pylist(), done.filtered, done.outside) == ([3], 1, 1)


def test_a_value_that_cannot_be_compared_rejects_its_row_unless_another_condition_leaves_it_out():
    rows = source(total=["12,50 EUR", "12,50 EUR", "3"], state=["ok", "draft", "ok"])

    done = mapped(rows, filter=[{"column": "total", "above": 0}, {"column": "state", "equals": "ok"}])

    assert done.row.to_pylist() == [1, 3]
    assert faults(done) == [("unreadable_value", "filter[0].column", [1])]


def test_a_line_that_could_not_be_read_is_never_filtered():
    rows = source(state=["ok", None])
    torn = SourceRows(rows.batch, rows.origin, 1, (RowFault(Reason.MALFORMED_ROW, "", pa.array([False, True])),))

    done = mapped(torn, filter=[{"column": "state", "equals": "ok"}, {"first_of": "id"}])

    assert (done.filtered, faults(done)) == (0, [("malformed_row", "", [2])])


def test_first_of_keeps_the_first_row_of_each_key_that_the_other_conditions_keep():
    rows = source(name=["#1", "#1", "#2", "#1", "#2", None, None], state=["draft", *["paid"] * 6])

    assert kept(rows, [{"first_of": "name"}, {"column": "state", "equals": "paid"}]) == [2, 3, 6, 7]
    assert kept(source(a=["1", "1", "1"], b=["x", "y", "x"]), [{"first_of": ["a", "b"]}]) == [1, 2]


@given(
    keys=st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_first_of_does_not_depend_on_where_batches_end(keys, cuts):
    seen, expected = set(), []
    for number, key in enumerate(keys, start=1):
        if key is None or key not in seen:
            expected.append(number)
        seen.add(key)
    ends, firsts, found = sorted({0, len(keys), *(min(cut, len(keys)) for cut in cuts)}), FirstRows(), []

    for start, end in pairwise(ends):
        rows = source(first_row=1 + start, key=pa.array(keys[start:end], pa.string()))
        found += map_rows(rows, mapping(filter=[{"first_of": "key"}]), firsts=firsts).row.to_pylist()

    assert found == expected


def test_whole_numbers_are_one_key_in_every_type():
    keys = [pa.array([7.0, 7.0]), pa.array(["7.0", "7"]), pa.array([7, 7])]

    assert [kept(source(n=values), [{"first_of": "n"}]) for values in keys] == [[1]] * 3


def test_a_pattern_that_is_none_of_re2_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match=r"filter\[0\]\.matches: the pattern is none of RE2's: missing \]"):
        mapped(source(x=["a"]), filter=[{"column": "x", "matches": "[a"}])


def test_rows_that_a_hook_left_out_stay_suppressed():
    rows = source(id=["test", "a"], state=["ok", "ok"])

    done = mapped(rows, transform="tests.mapping.cleaning:sort_and_drop_tests", filter={"state": "ok"})

    assert (done.row.to_pylist(), done.suppressed.to_pylist(), done.filtered) == ([1, 2], [True, False], 0)
