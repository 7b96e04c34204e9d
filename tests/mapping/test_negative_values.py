"""Amounts below zero: Meta's own uploaders refuse them, and so do uploads unless they say otherwise."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from tests.mapping.mapped import faults, mapped, source

REFUSED = [("negative_value", "custom_data.value", [2])]


@pytest.mark.parametrize(
    "values",
    [
        ["10", "-10"],
        ["10.5", "-0.01"],
        [10, -10],
        [10.5, -0.01],
        pa.array([Decimal("10.50"), Decimal("-0.01")]),
    ],
)
@pytest.mark.parametrize("options", [{}, {"type": "number"}, {"type": "money"}])
def test_a_value_below_zero_rejects_its_row_and_no_other(values, options) -> None:
    rows = mapped(source(total=values), custom_data={"value": {"column": "total", **options}, "currency": "USD"})

    assert faults(rows) == REFUSED
    assert rows.custom["value"].is_valid().to_pylist() == [True, False]
    assert rows.dropped == ()


@pytest.mark.parametrize("text", ["(12.50)", "-$12.50", "12.50-", "\u2212$12.50"])
def test_money_below_zero_is_recognised_as_people_write_it(text: str) -> None:
    spec = {"column": "total", "type": "money"}

    assert faults(mapped(source(total=["$1.00", text]), custom_data={"value": spec, "currency": "USD"})) == REFUSED


def test_a_value_that_goes_out_as_text_is_no_way_around() -> None:
    spec = {"column": "total", "type": "string"}

    assert faults(mapped(source(total=["1", "-1"]), custom_data={"value": spec, "currency": "USD"})) == REFUSED


@pytest.mark.parametrize("name", ["num_items", "predicted_ltv"])
def test_an_optional_number_below_zero_is_left_out_and_counted(name: str) -> None:
    rows = mapped(source(n=["3", "-3", "0", "-0", ""]), custom_data={name: {"column": "n"}})

    assert rows.custom[name].to_pylist() == [3, None, 0, 0, None]
    assert faults(rows) == []
    assert [(drop.key, drop.column, drop.cause, drop.count) for drop in rows.dropped] == [
        (f"custom_data.{name}", "n", "negative", 1)
    ]


@pytest.mark.parametrize("name", ["num_items", "predicted_ltv"])
def test_an_optional_number_below_zero_rejects_where_somebody_wants_that(name: str) -> None:
    rows = mapped(source(n=["3", "-3"]), custom_data={name: {"column": "n", "on_error": "reject"}})

    assert faults(rows) == [("negative_value", f"custom_data.{name}", [2])]


@pytest.mark.parametrize("name", ["value", "num_items", "predicted_ltv"])
def test_what_is_allowed_below_zero_goes_out(name: str) -> None:
    rows = mapped(source(n=["3", "-3"]), custom_data={name: {"column": "n", "allow_negative": True}})

    assert rows.custom[name].to_pylist() == [3, -3]
    assert (faults(rows), rows.dropped) == ([], ())


def test_a_profit_may_be_a_loss_and_a_property_is_anybodys_own() -> None:
    rows = mapped(source(n=["3", "-3"]), custom_data={"net_revenue": "n", "properties": {"margin": {"column": "n"}}})

    assert rows.custom["net_revenue"].to_pylist() == [3, -3]
    assert (faults(rows), rows.dropped) == ([], ())


def test_rows_without_consent_are_not_told_of() -> None:
    rows = mapped(
        source(n=["-3", "-3"], ok=["yes", "no"]),
        custom_data={"num_items": "n", "value": "n", "currency": "USD"},
        consent={"column": "ok", "equals": "yes"},
    )

    assert faults(rows) == [("negative_value", "custom_data.value", [1])]
    assert [drop.count for drop in rows.dropped] == [1]


def test_infinity_below_zero_is_no_negative_number() -> None:
    rows = mapped(source(n=[1.0, float("-inf")]), custom_data={"value": "n", "currency": "USD"})

    assert faults(rows)[0] == ("not_finite", "custom_data.value", [2])


@pytest.mark.parametrize("values", [[1.0, float("nan")], [1.0, float("inf")], ["1", "NaN"], ["1", " -Infinity "]])
def test_a_number_that_is_none_is_named_as_what_was_met(values) -> None:
    rows = mapped(source(n=values), custom_data={"value": "n", "currency": "USD"})
    left_out = mapped(source(n=values), custom_data={"predicted_ltv": "n"})

    assert faults(rows)[0] == ("not_finite", "custom_data.value", [2])
    assert (faults(left_out), left_out.dropped[0].cause) == ([], "unreadable")
