"""Tables joined by a key: exact, in one type of key, refused as a whole where they are ambiguous, never printed."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
import pytest

from offline_capi.errors import SourceError
from offline_capi.mapping import LookupTable, list_table_columns, map_rows, read_table
from offline_capi.model import Reason, RowFault, SourceRows, Window
from tests.mapping.mapped import faults, mapping, source

SPEC = mapping(
    lookups={"crm": {"path": "crm.csv", "key": "number", "by": "customer"}},
    user_data={"em": "crm.mail"},
    custom_data={"properties": {"tier": {"column": "crm.tier", "default": "none"}}},
)


def table(*batches: dict[str, object], name: str = "crm") -> LookupTable:
    rows = [SourceRows(pa.record_batch(batch), "crm.csv", 1) for batch in batches]
    return read_table(name, SPEC.lookups[name], rows, "UTC")


def test_columns_of_a_table_stand_beside_the_rows_and_missing_keys_are_counted():
    crm = table({"number": ["1", "2"], "mail": ["a@example.com", None], "tier": ["gold", "tin"]})
    rows = source(customer=["2", "1", "3", None, "1"])

    done = map_rows(rows, SPEC, lookups={"crm": crm})

    assert list_table_columns(SPEC, "crm") == ("number", "mail", "tier")
    assert done.custom["tier"].to_pylist() == ["tin", "gold", "none", "none", "gold"]
    assert done.identity["em"][0].values.to_pylist() == [None, "a@example.com", None, None, "a@example.com"]
    assert [(d.key, d.column, d.cause, d.count) for d in done.dropped] == [("lookups.crm", "customer", "not_found", 1)]
    assert faults(done) == []


@pytest.mark.parametrize(
    "keys",
    [pa.array(["7", "8"]), pa.array([7, 8]), pa.array([7.0, 8.0]), pa.array([" 7", '="8"']), pa.array(["7.0", "8"])],
)
@pytest.mark.parametrize("asked", [pa.array(["8", "7"]), pa.array([8, 7]), pa.array([8.0, 7.0])])
def test_a_key_is_the_same_in_every_type(keys, asked):
    crm = table({"number": keys, "mail": ["a@example.com", "b@example.com"], "tier": ["x", "y"]})

    assert map_rows(source(customer=asked), SPEC, lookups={"crm": crm}).custom["tier"].to_pylist() == ["y", "x"]


def test_a_key_in_two_rows_is_refused_with_a_count_and_without_the_value():
    with pytest.raises(SourceError) as refused:
        table(
            {"number": ["secret-1", "2"], "mail": ["a", "b"], "tier": ["x", "y"]},
            {"number": ["secret-1", None], "mail": ["a", "b"], "tier": ["x", "y"]},
        )

    assert "rows of the table that repeat the key of another (number): 1" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_table_with_lines_that_cannot_be_read_is_refused():
    batch = pa.record_batch({"number": ["1", None], "mail": ["a", None], "tier": ["x", None]})
    torn = SourceRows(batch, "crm.csv", 1, (RowFault(Reason.MALFORMED_ROW, "", pa.array([False, True])),))

    with pytest.raises(SourceError, match="rows of the table that cannot be read: 1"):
        read_table("crm", SPEC.lookups["crm"], [torn], "UTC")


def test_an_empty_table_finds_nothing():
    done = map_rows(source(customer=["1"]), SPEC, lookups={"crm": table()})

    assert (done.custom["tier"].to_pylist(), done.dropped[0].count) == (["none"], 1)


def test_batches_of_a_table_may_differ_in_type():
    first = {"number": ["1"], "mail": ["a"], "tier": pa.array([1])}
    then = {"number": ["2"], "mail": ["b"], "tier": pa.array(["x"])}

    done = map_rows(source(customer=["1", "2"]), SPEC, lookups={"crm": table(first, then)})

    assert done.custom["tier"].to_pylist() == ["1", "x"]


def test_every_one_of_many_keys_is_found_also_after_pickling():
    numbers = [f"k{n}" for n in range(200_000)]
    crm = pickle.loads(pickle.dumps(LookupTable(pa.array(numbers), {"n": pa.array(range(200_000))})))
    asked = pa.array([*numbers[::-7], "k200000", None])

    places = crm.find(asked)

    assert crm.take(places)["n"].to_pylist() == [*range(199_999, -1, -7), None, None]
    assert pl.Series(asked).len() == len(places)


def test_a_table_shows_nothing_of_what_it_holds():
    crm = table({"number": ["1"], "mail": ["a@example.com"], "tier": ["x"]})

    assert "example" not in f"{crm!r} {crm}"


def test_a_filter_reads_columns_of_lookups():
    crm = table({"number": ["1", "2"], "mail": ["a", "b"], "tier": ["gold", "test"]})
    spec = SPEC.model_copy(update={"filter": mapping(filter={"crm.tier": "gold"}).filter})

    done = map_rows(source(customer=["1", "2", "9"]), spec, lookups={"crm": crm})

    assert (done.row.to_pylist(), done.filtered, done.dropped) == ([1], 2, ())


def test_a_time_that_is_looked_up_places_no_row():
    """Rows are placed before anything is joined: the window reads its own column."""
    event = {"name": "Lead", "id": "{id}", "time": "{at}T{crm.clock}", "action_source": "other"}
    spec = mapping(
        lookups={"crm": {"path": "crm.csv", "key": "number", "by": "id"}},
        event=event,
        window={"column": "at", "timezone": "UTC"},
    )
    batch = pa.record_batch({"number": ["7"], "clock": ["23:00:00"]})
    crm = read_table("crm", spec.lookups["crm"], [SourceRows(batch, "crm.csv", 1)], "UTC")

    done = map_rows(source(at=["2026-11-20"]), spec, Window.of_day(date(2026, 11, 20), "UTC"), lookups={"crm": crm})

    assert done.event["event_time"].to_pylist() == [int(datetime(2026, 11, 20, 23, tzinfo=UTC).timestamp())]
