"""The user's own step: a DataFrame in, a DataFrame out, and every row keeps its fate."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from offline_capi.errors import ConfigError, SourceSchemaError
from offline_capi.mapping import map_rows
from offline_capi.model import Window
from tests.mapping.mapped import faults, mapped, mapping, source

HOOKS = "tests.mapping.cleaning"


def hooked(rows, name, **sections):
    return mapped(rows, transform=f"{HOOKS}:{name}", **sections)


def test_a_hook_makes_columns_and_integers_with_nulls_stay_integers():
    rows = source(price=pa.array([9007199254740993, None]), n=pa.array([1, 2]))

    done = hooked(rows, "add_total", custom_data={"properties": {"total": {"column": "total", "type": "integer"}}})

    assert done.custom["total"].to_pylist() == [9007199254740993, None]


def test_rows_come_back_in_the_sources_order_and_dropped_ones_are_suppressed():
    done = hooked(source(first_row=101, id=["a", "test", "b"]), "sort_and_drop_tests")

    assert done.row.to_pylist() == [101, 102, 103]
    assert done.event["event_id"].to_pylist() == ["order-a", None, "order-b"]
    assert done.suppressed.to_pylist() == [False, True, False]
    assert faults(done) == []


def test_row_numbers_may_come_back_as_a_column():
    done = hooked(source(id=["b", "a", "c"]), "merge_names", custom_data={"properties": {"name": "name"}})

    assert done.custom["name"].to_pylist() == ["Bob", "Ann", None]


def test_the_window_comes_first_where_its_column_is_in_the_source():
    rows = source(id=["test", "test", "a"], at=["2026-11-19", "2026-11-20", "2026-11-20"])

    done = map_rows(rows, mapping(transform=f"{HOOKS}:sort_and_drop_tests"), Window.of_day(date(2026, 11, 20), "UTC"))

    assert (len(done), done.outside, done.suppressed.to_pylist()) == (2, 1, [True, False])


def test_the_event_has_the_time_that_the_hook_gave_it():
    """The window was applied to the source's own, in the same column."""
    window = Window.of_day(date(2026, 11, 20), "UTC")

    done = map_rows(source(at=["2026-11-20T10:00:00Z"]), mapping(transform=f"{HOOKS}:an_hour_later"), window)

    assert done.event["event_time"].to_pylist() == [datetime(2026, 11, 20, 11, tzinfo=UTC).timestamp()]


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("merge_and_forget", 'lost the index "source_row"'),
        ("twice", "returned a source row more than once"),
        ("renumber", "returned rows that are not in the source"),
        ("relabel", 'changed "source_row"'),
        ("nothing", "returned NoneType, not a DataFrame"),
        ("mix_types", 'returned column "id" with values of several types'),
        ("absent", "cannot be imported (AttributeError)"),
        ("NO_FUNCTION", "is no function"),
    ],
)
def test_a_hook_that_breaks_the_rules_is_named_with_the_rule(hook, said):
    with pytest.raises(ConfigError) as raised:
        hooked(source(id=["a", "b"]), hook)

    assert f'transform: "{HOOKS}:{hook}"' in str(raised.value)
    assert said in str(raised.value)


def test_an_error_inside_a_hook_says_where_but_never_what():
    with pytest.raises(ConfigError) as raised:
        hooked(source(email=["canary@example.com"]), "quote_a_row")

    assert "raised ValueError at cleaning.py:" in str(raised.value)
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None  # or a traceback would print the hook's own message


def test_an_absent_module_is_named():
    with pytest.raises(ConfigError, match=r'"nowhere\.cleaning:fix" cannot be imported \(ModuleNotFoundError\)'):
        mapped(source(), transform="nowhere.cleaning:fix")


def test_a_column_lost_in_the_hook_is_told_from_one_that_the_source_lacks():
    with pytest.raises(SourceSchemaError, match="the rows after the transform hook"):
        hooked(source(), "lose_a_column")


@pytest.mark.parametrize("hook", ["exits", "raises_what_nobody_expects", "too_large", "half_a_character", "imaginary"])
def test_p09_nothing_of_a_row_is_said_however_a_hook_ends(hook):
    """Was: the text of `sys.exit` printed, a traceback for a number too large, and a column called by a value."""
    with pytest.raises(ConfigError) as raised:
        hooked(source(id=["zyxcan@leaktest.org", "b"]), hook)

    assert f'transform: "{HOOKS}:{hook}"' in str(raised.value)
    assert "zyxcan" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_a_hook_does_not_swallow_the_hand_that_stops_it():
    with pytest.raises(KeyboardInterrupt):
        hooked(source(id=["a"]), "is_stopped_by_hand")
