"""One field: origin, map, type, default."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest

from offline_capi.errors import ConfigError, SourceSchemaError
from tests.mapping.mapped import custom, faults, mapped, source

EXACT = "12345678901234567"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array(["  a ", "", " \t", None, "\u3000b"]), ["a", None, None, None, "b"]),
        (pa.array([5.0, -0.0, 1.5, float("nan"), float("inf")]), ["5", "0", "1.5", None, None]),
        (pa.array([2.0**53 - 1, 2.0**53]), ["9007199254740991", "9.007199254740992e+15"]),
        (pa.array([0.1, 16777216.0], pa.float32()), ["0.1", "16777216"]),
        (pa.array([int(EXACT), None]), [EXACT, None]),
        (pa.array([Decimal("12.50"), Decimal("100.00"), Decimal("0.00")]), ["12.5", "100", "0"]),
        (pa.array([Decimal("0E-7"), Decimal("1E-7")], pa.decimal128(20, 7)), ["0", "0.0000001"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([dt.date(1997, 2, 16)]), ["1997-02-16"]),
        (pa.array([dt.date(1997, 2, 16)], pa.date64()), ["1997-02-16"]),
        (pa.array([10_000_000, 600_000], pa.timestamp("us")), ["1970-01-01T00:00:10", "1970-01-01T00:00:00.6"]),
        (pa.array([0], pa.timestamp("ms", "Asia/Tokyo")), ["1970-01-01T00:00:00Z"]),
        (pa.array([uuid.UUID(int=5)]), ["00000000-0000-0000-0000-000000000005"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array(["x", " "], pa.large_string()), ["x", None]),
        (pa.array(["x", " "], pa.string_view()), ["x", None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_any_column_has_one_text(values, text):
    """Whole floats lose their ``.0``, decimals their scale, encodings their difference."""
    assert custom(source(c=values), "p", {"column": "c"}) == text


def test_a_template_is_empty_where_any_of_its_columns_is():
    rows = source(a=["1", None, "3"], b=[10, 20, None])

    assert custom(rows, "p", "{a}-{b}") == ["1-10", None, None]


def test_a_template_can_read_a_column_as_an_integer_or_a_date_first():
    """The same key exported as ``1234567.0`` on one night must not become another event."""
    rows = source(a=["1234567.0", "1234567", "1,234,567"], t=["2026-11-20 10:00:00", "2026-11-20", "2026-11-20T01:02Z"])

    assert custom(rows, "p", "{a:integer}/{t:date}") == ["1234567/2026-11-20"] * 3


def test_an_unreadable_part_of_the_event_id_is_a_fault():
    rows = mapped(source(id=["7.0", "x", None]), event={"name": "P", "id": "{id:integer}", "action_source": "other"})

    assert rows.event["event_id"].to_pylist() == ["7", None, None]
    assert faults(rows) == [("unreadable_value", "event.id", [2]), ("missing_event_id", "event.id", [3])]


def test_coalesce_takes_the_first_that_is_not_blank():
    rows = source(a=["1", " ", None], b=[10.0, 20.0, None])

    assert custom(rows, "p", {"coalesce": ["a", "b"]}) == ["1", "20", None]
    assert custom(rows, "p", {"coalesce": ["a", "b"], "type": "number", "default": 0}) == [1.0, 20.0, 0.0]


def test_coalesce_never_papers_over_a_value_that_cannot_be_read():
    rows = mapped(
        source(a=["1", "one", None], b=["10", "20", "30"]),
        custom_data={"value": {"coalesce": ["a", "b"]}},
    )

    assert rows.custom["value"].to_pylist() == [1.0, None, 30.0]
    assert faults(rows) == [("unreadable_value", "custom_data.value", [2])]


def test_a_number_column_beside_a_text_column_keeps_its_point():
    """``decimal: ","`` is about text: 1.234 in a float column is not a thousand."""
    rows = source(a=["2,5", None, None], b=[0.0, 1.234, 0.0], c=[Decimal("1.234")] * 3)

    assert custom(rows, "p", {"coalesce": ["a", "b"], "type": "number", "decimal": ","}) == [2.5, 1.234, 0.0]
    assert custom(rows, "p", {"column": "c", "type": "number", "decimal": ","}) == [1.234] * 3


class TestMap:
    def test_keys_are_compared_trimmed_and_without_case(self):
        rows = source(c=[" US dollar", "EURO", None])

        assert custom(rows, "p", {"column": "c", "map": {"US Dollar": "USD", "euro": "EUR"}}) == ["USD", "EUR", None]

    def test_keys_that_differ_in_case_only_make_case_count(self):
        rows = source(c=["m", "M", "x"])

        assert custom(rows, "p", {"column": "c", "map": {"m": "metre", "M": "mega"}}) == ["metre", "mega", None]

    def test_an_unknown_value_is_left_out_or_a_fault_unless_there_is_a_default(self):
        spec = {"column": "c", "map": {"a": "A"}}
        strict = mapped(source(c=["a", "b", None]), custom_data={"status": spec | {"on_error": "reject"}})

        without = mapped(source(c=["a", "b", None]), custom_data={"status": spec})
        with_default = mapped(source(c=["a", "b", None]), custom_data={"status": spec | {"default": "Z"}})

        assert faults(strict) == [("unknown_value", 'custom_data.status with "b"', [2])]
        assert faults(without) == []
        assert [(one.key, one.cause, one.count) for one in without.dropped] == [("custom_data.status", "unknown", 1)]
        assert with_default.custom["status"].to_pylist() == ["A", "Z", "Z"]
        assert faults(with_default) == []

    def test_numbers_in_the_map_are_numbers_whatever_the_decimal_mark(self):
        spec = {"column": "c", "map": {"gold": 1.234, "iron": 5}, "type": "number", "decimal": ","}

        assert custom(source(c=["gold", "iron"]), "p", spec) == [1.234, 5.0]

    def test_a_typed_column_is_compared_by_its_text(self):
        assert custom(source(c=[1.0, 2.0]), "p", {"column": "c", "map": {"1": "one", "2": "two"}}) == ["one", "two"]


def test_a_default_takes_the_place_of_nothing_but_not_of_an_unreadable_value():
    rows = mapped(source(c=["", "x", "3"]), custom_data={"value": {"column": "c", "default": 9.5}})

    assert rows.custom["value"].to_pylist() == [9.5, None, 3.0]
    assert faults(rows) == [("unreadable_value", "custom_data.value", [2])]


def test_a_default_of_another_type_is_the_fault_of_the_yaml():
    with pytest.raises(ConfigError, match=r"custom_data\.value: the default cannot be read as number"):
        mapped(source(), custom_data={"value": {"column": "id", "default": "many"}})


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        (["true", "T", "Yes", "y", "ON", "1"], True),
        (["false", "F", "No", "n", "OFF", "0"], False),
        (pa.array([1, 1]), True),
        (pa.array([0.0]), False),
        (pa.array([True]), True),
        (["ja", "2", "1.0", "yes!"], None),
    ],
)
def test_booleans_are_words_of_a_table(values, meant):
    assert set(custom(source(c=values), "p", {"column": "c", "type": "boolean"})) == {meant}


def test_custom_properties_keep_a_declared_type_and_the_type_of_a_constant():
    properties = {
        "text": "c",
        "whole": {"column": "c", "type": "integer"},
        "number": {"column": "c", "type": "number"},
        "day": {"constant": "2026-11-20", "type": "date"},
        "moment": {"column": "at", "type": "timestamp"},
        "flag": {"constant": True},
        "five": {"constant": 5},
    }

    rows = mapped(source(c=["7.0"]), custom_data={"value": "c", "properties": properties})

    assert {name: values[0].as_py() for name, values in rows.custom.items()} == {
        "value": 7.0,
        "text": "7.0",
        "whole": 7,
        "number": 7.0,
        "day": "2026-11-20",
        "moment": "2026-11-20T10:00:00Z",
        "flag": True,
        "five": 5,
    }
    assert list(rows.custom) == ["value", *properties]


def test_a_property_with_the_name_of_a_standard_key_is_refused():
    with pytest.raises(ConfigError, match=r"write it as custom_data\.value"):
        mapped(source(), custom_data={"properties": {"value": "id"}})


@pytest.mark.parametrize(
    ("values", "spec", "said"),
    [
        (pa.array([[1]]), "c", "list<item: int64>"),
        (pa.array([b"x"]), "c", "binary"),
        (pa.array([True]), {"column": "c", "type": "number"}, "bool is no number"),
        (pa.array([dt.date(2026, 1, 1)]), {"column": "c", "type": "integer"}, "date32"),
        (pa.array([True]), {"column": "c", "type": "timestamp"}, "bool is no time"),
        (pa.array([dt.date(2026, 1, 1)]), {"column": "c", "type": "boolean"}, "date32"),
    ],
)
def test_a_column_that_can_never_fit_is_named_with_its_type_and_its_place(values, spec, said):
    with pytest.raises(SourceSchemaError, match=r'orders\.csv: custom_data\.properties\.p .* "c"') as raised:
        custom(source(c=values), "p", spec)

    assert said in str(raised.value)


def test_a_map_lets_values_pass_that_are_targets_already():
    """Who maps the few odd words of a column of codes must not lose the good rows by it."""
    rows = source(c=["Euro", "EUR", "eur", " EUR ", "USD", None])

    assert custom(rows, "p", {"column": "c", "map": {"Euro": "EUR"}}) == ["EUR", "EUR", "EUR", "EUR", None, None]


def test_targets_of_other_types_pass_as_well():
    rows = source(c=["ja", "true", "false", "1"])

    assert custom(rows, "p", {"column": "c", "map": {"ja": True, "nein": False}}) == ["true", "true", "false", None]


def test_a_value_outside_of_a_map_is_named_where_the_column_holds_codes():
    """Other rows of the column are in the map, and it identifies nobody; anything else is not named."""
    event = {"name": {"column": "kind", "map": {"won": "Purchase"}}, "id": "{id}", "action_source": "other"}
    codes = source(kind=["won", "Lost", "zelda@example.com", "4155551234"])
    nobody = source(kind=["Zelda", "Scott"])

    assert faults(mapped(codes, event=event)) == [
        ("unknown_value", 'event.name with "Lost"', [2]),
        ("unknown_value", "event.name", [3, 4]),
    ]
    assert faults(mapped(nobody, event=event)) == [("unknown_value", "event.name", [1, 2])]
    assert [name for _, name, _ in faults(mapped(codes, event=event, user_data={"em": "email", "fn": "kind"}))] == [
        "event.name"
    ]


def test_a_number_can_be_divided():
    rows = source(c=["14475", "1", None])

    assert custom(rows, "p", {"column": "c", "type": "number", "divide": 100}) == [144.75, 0.01, None]
    with pytest.raises(ValueError, match="divide needs type"):
        mapped(rows, custom_data={"value": {"column": "c", "divide": 100}})
