"""The stage as a whole: which rows, which faults, whose consent, and what is said of missing columns."""

from __future__ import annotations

import datetime as dt
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from offline_capi.config import MappingSpec
from offline_capi.errors import SourceSchemaError
from offline_capi.mapping import list_columns_needed, map_rows
from offline_capi.model import Reason, RowFault, SourceRows, Window
from tests.mapping.mapped import faults, mapped, mapping, source

EVENT = {"name": "Purchase", "id": "order-{id}", "action_source": "other"}
DAY = Window.of_day(date(2026, 11, 20), "America/New_York")


class TestWindow:
    def test_rows_outside_are_counted_and_those_without_a_time_stay(self):
        at = ["2026-11-19 23:59:59", "2026-11-20", "2026-11-20 23:59:59", "2026-11-21", "soon", None]

        spec = mapping(window={"column": "at", "timezone": "America/New_York"})

        rows = map_rows(source(first_row=11, at=at), spec, DAY)

        assert rows.row.to_pylist() == [12, 13, 15, 16]
        assert rows.outside == 2
        assert faults(rows) == [("unreadable_time", "window.column", [15]), ("missing_time", "window.column", [16])]

    def test_its_column_may_differ_from_the_time_of_the_event(self):
        spec = mapping(event=EVENT | {"time": "sold"}, window={"column": "at", "timezone": "America/New_York"})

        rows = map_rows(source(at=["2026-11-20", "2026-11-22"], sold=["2026-11-01T00:00Z"] * 2), spec, DAY)

        assert rows.event["event_time"].to_pylist() == [1793491200]
        assert rows.outside == 1

    def test_its_column_is_read_as_the_events_time_declares_it(self):
        time = {"column": "at", "format": "%d.%m.%Y", "timezone": "America/New_York"}

        rows = map_rows(source(at=["20.11.2026", "21.11.2026"]), mapping(event=EVENT | {"time": time}), DAY)

        assert (len(rows), rows.outside) == (1, 1)

    @pytest.mark.parametrize(
        ("window", "at"),
        [
            ({"format": "%d.%m.%Y"}, ["20.11.2026", "21.11.2026", "2026-11-20", None]),
            ({"format": ["%d.%m.%Y", "iso"]}, ["20.11.2026", "2026-11-21", "soon", ""]),
            ({"unit": "ms"}, ["1795186800000", "1795446000000", "soon", None]),
        ],
    )
    def test_a_row_that_it_cannot_place_is_rejected_and_never_let_in(self, window, at):
        spec = mapping(event=EVENT | {"time": "sold"}, window={"column": "at", "timezone": "America/New_York"} | window)

        rows = map_rows(source(at=at, sold=["2026-11-20T10:00Z"] * 4), spec, DAY)

        assert rows.row.to_pylist() == [1, 3, 4]
        assert faults(rows) == [("unreadable_window", "window.column", [3, 4])]

    def test_it_may_be_a_template_of_two_columns(self):
        spec = mapping(
            window={"template": "{day} {clock}", "format": "%m/%d/%Y %H:%M:%S", "timezone": "America/New_York"}
        )
        days, clocks = ["11/20/2026", "11/21/2026", "11/20/2026"], ["23:59:59", "00:00:00", "noon"]

        rows = map_rows(source(day=days, clock=clocks), spec, DAY)

        assert rows.row.to_pylist() == [1, 3]
        assert rows.event["event_time"].to_pylist() == [1795237199, None]
        assert faults(rows) == [("unreadable_time", "window.template", [3])]

    def test_a_part_of_the_events_time_is_read_with_the_whole(self):
        """Square exports date and time apart: a window by the date alone has no format of its own."""
        time = {"template": "{day} {clock}", "type": "timestamp", "format": "%m/%d/%Y %H:%M:%S"}
        spec = mapping(event=EVENT | {"time": time}, window={"column": "day", "timezone": "America/New_York"})

        rows = map_rows(source(day=["11/20/2026", "11/21/2026"], clock=["10:00:00"] * 2), spec, DAY)

        assert (rows.row.to_pylist(), rows.outside, faults(rows)) == ([1], 1, [])

    def test_all_rows_may_lie_outside(self):
        rows = map_rows(source(at=["2026-01-01"] * 3), mapping(), DAY)

        assert (len(rows), rows.outside) == (0, 3)


def test_a_batch_without_rows_maps_to_nothing():
    empty = pa.record_batch({name: pa.array([], pa.string()) for name in ("at", "id", "email")})

    rows = map_rows(SourceRows(empty, "empty.csv", 1), mapping(), DAY)

    assert (len(rows), rows.outside, rows.faults) == (0, 0, ())


class TestConsent:
    @pytest.mark.parametrize(
        ("equals", "values", "given"),
        [
            (True, ["yes", " Y", "1", "TRUE", "no", "", None, "perhaps"], [1, 1, 1, 1, 0, 0, 0, 0]),
            (True, pa.array([True, False, None]), [1, 0, 0]),
            (True, pa.array([1, 0, 2]), [1, 0, 0]),
            (True, pa.array([1.0, 0.0]), [1, 0]),
            (False, ["no", "0", "yes"], [1, 1, 0]),
            ("yes", ["Yes ", "y", "1"], [1, 0, 0]),
            (["yes", "Y", "1"], ["YES", "y", "1", "true"], [1, 1, 1, 0]),
            ("true", pa.array([True, False]), [1, 0]),
            (1, ["1", "1.0", "01", "one"], [1, 1, 1, 0]),
            (1, pa.array([1.0, 2.0]), [1, 0]),
            (True, ["01", "00", "t", "f", "11", "001"], [1, 0, 1, 0, 0, 0]),
            (False, ["00", "f", "01", "10"], [1, 1, 0, 0]),
            (1, ["1.00", "0.00", "01", "00"], [1, 0, 1, 0]),
            (1, pa.array([True, False, None]), [1, 0, 0]),
            (["1", "y"], pa.array([True, False]), [1, 0]),
            ("f", pa.array([True, False]), [0, 1]),
            ("granted", pa.array([True, False]), [0, 0]),
            ("granted", pa.array(["GRANTED", "x"]).dictionary_encode(), [1, 0]),
        ],
    )
    def test_rows_that_do_not_equal_what_is_declared_are_suppressed(self, equals, values, given):
        rows = mapped(source(ok=values), consent={"column": "ok", "equals": equals})

        assert rows.suppressed.to_pylist() == [not consent for consent in given]

    def test_a_suppressed_row_has_no_faults(self):
        rows = mapped(source(ok=["no", "yes"], at=["soon", "soon"]), consent={"column": "ok", "equals": True})

        assert faults(rows) == [("unreadable_time", "window.column", [2])]

    def test_a_column_that_holds_no_consent_of_any_kind_is_refused(self):
        with pytest.raises(SourceSchemaError, match=r'consent\.column cannot be read from "ok"'):
            mapped(source(ok=pa.array([dt.date(2026, 1, 1)])), consent={"column": "ok", "equals": True})


def test_a_line_that_the_source_could_not_read_has_that_fault_only_and_is_never_suppressed():
    rows = source(ok=["yes", None], id=["1", None], at=["2026-11-20", None])
    broken = RowFault(Reason.MALFORMED_ROW, "", pa.array([False, True]))

    done = map_rows(
        SourceRows(rows.batch, rows.origin, 1, (broken,)), mapping(consent={"column": "ok", "equals": True})
    )

    assert faults(done) == [("malformed_row", "", [2])]
    assert done.suppressed.to_pylist() == [False, False]


def test_required_event_fields_that_are_empty_are_faults_in_the_order_of_reporting():
    event = {"name": {"column": "what"}, "id": "{id}", "action_source": {"column": "where"}, "opt_out": "out"}

    rows = mapped(
        source(what=["P", ""], where=["app", None], id=["1", ""], at=["2026-11-20", ""], out=["no", "maybe"]),
        event=event,
    )

    assert rows.event["opt_out"].to_pylist() == [False, None]
    assert faults(rows) == [
        ("missing_time", "window.column", [2]),
        ("missing_event_id", "event.id", [2]),
        ("missing_value", "event.name", [2]),
        ("missing_value", "event.action_source", [2]),
        ("unreadable_value", "event.opt_out", [2]),
    ]


def test_clients_come_from_a_map_and_a_brand_outside_of_it_is_nobodys():
    """Not even that of a client of the same name: the map says which brand is whose. A key misspelt is named."""
    brands = ["Corner Shop ", "corner", "", "x" * 99, "corner-shp"]

    rows = mapped(source(brand=brands), client={"column": "brand", "map": {"corner shop": "corner"}})

    nobody = "a value (not in the map)"
    assert rows.client.to_pylist() == ["corner", nobody, None, nobody, "corner-shp (not in the map)"]
    assert faults(rows) == []


def test_p09_a_value_that_looks_like_one_outside_of_a_map_is_nobodys():
    rows = mapped(source(brand=["Jane Doe (not in the map)", "corner"]), client={"column": "brand"})

    assert rows.client.to_pylist() == [None, "corner"]


def test_a_value_outside_of_a_map_within_a_coalesce_is_held_without_its_words():
    client = {"coalesce": [{"column": "brand", "map": {"corner shop": "corner"}}, {"constant": "other"}]}

    rows = mapped(source(brand=["corner shop", "x", ""]), client=client)

    assert rows.client.to_pylist() == ["corner", "a value (not in the map)", "other"]


@pytest.mark.parametrize("value", ["jane@example.com", "+14155552628", "Jane Doe", "Jane", "Jane (not in the map)"])
def test_p09_a_person_in_the_column_of_clients_is_nobody_outside_of_the_map(value):
    """Was: anything without an @ was named."""
    rows = mapped(source(brand=[value]), client={"column": "brand", "map": {"a": "b"}})

    assert rows.client.to_pylist() == ["a value (not in the map)"]


class TestIdentity:
    def test_text_is_left_as_written_and_blanks_are_null(self):
        """Whether an external id is trimmed is the client's policy, not ours."""
        rows = mapped(source(e=[" A@b.c ", "  ", None]), user_data={"em": ["e", "email"]})

        first, second = rows.identity["em"]
        assert first.values.to_pylist() == [" A@b.c ", None, None]
        assert (first.label, second.label) == ("e", "email")

    def test_numbers_in_float_columns_have_no_point(self):
        rows = mapped(source(z=[501.0, None]), user_data={"zp": "z"})

        assert rows.identity["zp"][0].values.to_pylist() == ["501", None]

    def test_country_formats_and_hashed_travel_along(self):
        rows = mapped(
            source(p=["1"], c=["DE "], b=["16.02.1997"], h=["ab"]),
            user_data={
                "ph": {"column": "p", "country": "c"},
                "db": {"column": "b", "format": "%d.%m.%Y"},
                "em": {"column": "h", "hashed": True},
            },
        )

        assert rows.identity["ph"][0].country.to_pylist() == ["DE"]
        assert rows.identity["ph"][0].label == "p"
        assert rows.identity["db"][0].formats == ("%d.%m.%Y",)
        assert rows.identity["em"][0].hashed

    @pytest.mark.parametrize(
        ("values", "spec"),
        [
            (pa.array([dt.date(1997, 2, 16)]), "b"),
            (pa.array([dt.date(1997, 2, 16)]).cast(pa.timestamp("us")), {"column": "b", "format": "%d.%m.%Y"}),
            (pa.array(["16.02.1997"]), {"column": "b", "type": "date", "format": "%d.%m.%Y"}),
        ],
    )
    def test_birth_dates_that_we_read_ourselves_are_iso(self, values, spec):
        rows = mapped(source(b=values), user_data={"db": spec})

        assert rows.identity["db"][0].values.to_pylist() == ["1997-02-16"]
        assert rows.identity["db"][0].formats == ("%Y-%m-%d",)

    def test_a_value_lost_in_a_map_or_cast_is_dropped_and_counted_and_its_row_goes_on(self):
        rows = mapped(
            source(g=["F", "x", "", "y"], i=["1.0", "one", "2", ""]),
            user_data={"ge": {"column": "g", "map": {"f": "f"}}, "external_id": {"column": "i", "type": "integer"}},
        )

        assert rows.identity["external_id"][0].values.to_pylist() == ["1", None, "2", None]
        assert [(d.key, d.column, d.cause, d.count) for d in rows.dropped] == [
            ("ge", "g", "unknown", 2),
            ("external_id", "i", "unreadable", 1),
        ]
        assert faults(rows) == []


def test_all_missing_columns_are_named_at_once_with_path_and_nearest_name():
    with pytest.raises(SourceSchemaError) as raised:
        mapped(source(email_address=["x"]), user_data={"em": "email_adress", "fn": "zzz"}, custom_data={"value": "Id"})

    assert str(raised.value).splitlines() == [
        "orders.csv: the source and the YAML do not agree on 3 column(s)",
        '  user_data.em  column "email_adress" is not in the source; did you mean "email_address"?',
        '  user_data.fn  column "zzz" is not in the source',
        '  custom_data.value  column "Id" is not in the source; did you mean "id"?',
        "Correct the YAML or the source and run again; nothing of this batch was sent.",
    ]


def test_a_column_that_is_there_twice_is_refused():
    batch = pa.RecordBatch.from_arrays([pa.array(["x"])] * 4, ["at", "id", "email", "email"])

    with pytest.raises(SourceSchemaError, match=r'user_data\.em  column "email" is there 2 times'):
        map_rows(SourceRows(batch, "q", 1), mapping())


def test_columns_needed_are_those_of_the_yaml_or_all_where_a_hook_may_look_at_any():
    assert set(list_columns_needed(mapping()) or ()) == {"at", "id", "email"}
    assert list_columns_needed(mapping(transform="a:b")) is None


UPLOADS = Path(__file__).parents[2] / "dags" / "uploads"


def sample(name: str) -> MappingSpec:
    data = yaml.safe_load((UPLOADS / f"{name}.yml").read_text())
    return MappingSpec.model_validate({key: data[key] for key in MappingSpec.model_fields if key in data})


def test_the_sample_upload_credit_approvals():
    columns = {name: ["x"] * 3 for name in list_columns_needed(sample("credit_approvals")) or ()} | {
        "application_id": ["1234567.0", "1234568", "1234569"],
        "credit_limit": ["12,500.00", "9000", "7.500,00"],
        "currency_name": ["US Dollar", "euro", "Doubloon"],
        "approved_at": ["2026-11-20 23:30:00"] * 3,
        "marketing_consent": ["yes", "Y", "1"],
        "ltv": ["", "3.5", "1"],
    }

    rows = map_rows(SourceRows(pa.record_batch(columns), "warehouse", 1), sample("credit_approvals"), DAY)

    assert rows.event["event_id"].to_pylist()[:2] == ["approval-1234567", "approval-1234568"]
    assert set(rows.event["event_time"].to_pylist()) == {1795235400}
    assert rows.custom["value"].to_pylist() == [12500.0, 9000.0, 7500.0]
    assert rows.custom["predicted_ltv"].to_pylist() == [12500.0, 3.5, 1.0]
    assert faults(rows) == [("unknown_value", 'custom_data.currency with "Doubloon"', [3])]


def test_the_sample_upload_store_purchases():
    columns = {name: ["x"] * 2 for name in list_columns_needed(sample("store_purchases")) or ()} | {
        "receipt_no": ["17", "18"],
        "line_no": [1, 2],
        "store_brand": ["corner shop", "Nordic Outlet"],
        "purchased_at": ["2026-11-20T10:00:00", "2026-11-20T10:00:00+00:00"],
        "amount": ["1.299,50", "12.50"],
        "items": ['[{"id": "a", "quantity": 1, "item_price": 12.50}]', None],
        "loyalty": ["gold", ""],
        "consent": ["yes", "no"],
    }

    rows = map_rows(SourceRows(pa.record_batch(columns), "till.csv", 1), sample("store_purchases"))

    assert rows.client.to_pylist() == ["corner_shop", "nordic_outlet"]
    assert rows.event["event_id"].to_pylist() == ["receipt-17-1", "receipt-18-2"]
    assert rows.event["event_time"].to_pylist() == [1795165200, 1795168800]
    assert rows.custom["value"].to_pylist() == [1299.5, 12.5]
    assert rows.custom["contents"].to_pylist() == ['[{"id":"a","quantity":1,"item_price":12.5}]', None]
    assert rows.suppressed.to_pylist() == [False, True]
    assert faults(rows) == []
