"""Standard events in other spellings: corrected where it is certain, asked about where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from offline_capi.events import make_event_key
from offline_capi.meta.standard_events import STANDARD_EVENTS, near_standard_name, standard_spelling
from tests.mapping.mapped import mapped, source

MONEY = {"value": [1.0] * 2, "currency": ["USD"] * 2}


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS))
def test_a_standard_event_in_any_case_is_that_event(name: str) -> None:
    spellings = (name.lower(), name.upper(), name.swapcase(), f" {name.title()} ")

    assert {standard_spelling(spelling) for spelling in spellings} == {name}
    assert {near_standard_name(spelling) for spelling in spellings} == {None}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Purchse", "Purchase"),
        ("Pruchase", "Purchase"),
        ("Purchases", "Purchase"),
        ("purchaze", "Purchase"),
        ("add_to_cart", "AddToCart"),
        ("Add to cart", "AddToCart"),
        ("complete-registration", "CompleteRegistration"),
        ("Leads", "Lead"),
        ("CreditApproval", None),
        ("Refund", None),
        ("Deal", None),
        ("Store Visit", None),
        ("", None),
        ("P", None),
    ],
)
def test_a_slip_is_told_from_a_name_of_ones_own(name: str, near: str | None) -> None:
    assert near_standard_name(name) == near


def test_rows_in_another_case_become_the_standard_event_with_its_key(rows_of, build, bodies) -> None:
    built = build(rows_of({"event_name": ["purchase", "Own"], "event_id": ["a", "b"]}, custom=MONEY))

    assert [body["event_name"] for body in bodies(built)] == ["Purchase", "Own"]
    assert built.events.table["event_name"].to_pylist() == ["Purchase", "Own"]
    assert built.events.keys[0] == make_event_key("1234567890", "Purchase", "a")
    assert built.warnings == {"event_name_case": 1}


def test_exact_names_go_out_as_they_are_and_warn_of_nothing(rows_of, build, bodies) -> None:
    built = build(rows_of({"event_name": ["purchase", "Purchse"]}, custom=MONEY), exact_names=True)

    assert [body["event_name"] for body in bodies(built)] == ["purchase", "Purchse"]
    assert built.warnings == {}


def test_values_of_a_wrong_column_are_not_compared_with_every_standard_event(rows_of, build) -> None:
    names = [f"Purchas{number}" for number in range(1_001)]

    assert build(rows_of({"event_name": names})).warnings == {}


def test_the_original_event_is_named_as_it_was_sent() -> None:
    original = {"name": {"column": "kind"}, "id": "id"}
    event = {"name": "AppendValue", "id": "{id}-append", "action_source": "other", "original_event": original}

    rows = mapped(source(kind=["PURCHASE"]), event=event)
    exact = mapped(source(kind=["PURCHASE"]), event=event | {"original_event": original | {"name": EXACT}})

    assert rows.event["original_event_data"].to_pylist() == ['{"event_name":"Purchase","event_id":"7"}']
    assert exact.event["original_event_data"].to_pylist() == ['{"event_name":"PURCHASE","event_id":"7"}']


EXACT: dict[str, Any] = {"column": "kind", "exact": True}
