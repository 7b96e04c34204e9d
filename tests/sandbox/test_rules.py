"""What the sandbox objects to, rule by rule (meta-capi.md sections 1 to 4 and 6.3)."""

from __future__ import annotations

from typing import Any

import pytest

from offline_capi.sandbox.answers import ERRORS
from offline_capi.sandbox.rules import HASHED_LISTS, find_objection
from tests.sandbox.events import EM, NOW, lead, purchase

DAY = 86_400


def subcode_and_key(event: Any) -> tuple[int | None, str] | None:
    objection = find_objection(event, NOW)
    return objection and (ERRORS[objection.error].subcode, objection.key)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lead(at=NOW), id="a CRM event of now"),
        pytest.param(purchase(at=NOW), id="a purchase in a shop"),
        pytest.param(lead(None, at=NOW), id="no event_id: advised, not required"),
        pytest.param(lead(at=NOW, user_data={"em": EM}), id="one digest instead of a list"),
        pytest.param(lead(at=NOW, user_data={"external_id": "raw-7"}), id="external_id raw"),
        pytest.param(lead(at=NOW, user_data={"external_id": [EM]}), id="external_id hashed"),
        pytest.param(lead(at=NOW, user_data={"fn": [EM], "ln": [EM]}), id="first and last name are enough"),
        pytest.param(lead(at=NOW, user_data={"lead_id": 123456789012345}), id="a lead id of 15 digits"),
        pytest.param(lead(at=NOW, user_data={"em": [EM + ".AQABAgAA"]}), id="a digest of the Parameter Builder"),
        pytest.param(lead(at=NOW, custom_data={"colour": "red", "tier": 3}), id="custom properties"),
        pytest.param(purchase(at=NOW, currency="eur"), id="a currency in lower case"),
        pytest.param(purchase(at=NOW, value="50"), id="numeric text, as in Meta's samples"),
        pytest.param(purchase(at=NOW, value=0), id="a value of zero"),
        pytest.param(purchase(at=NOW, contents=[{"id": "sku", "quantity": 2, "item_price": 3}]), id="contents"),
        pytest.param(lead(at=NOW, action_source="website"), id="a web event without user agent (L B3)"),
        pytest.param(lead(at=NOW, data_processing_options=[]), id="no limited data use"),
    ],
)
def test_what_meta_takes_is_taken(event: dict[str, Any]) -> None:
    assert find_objection(event, NOW) is None


REFUSED: list[tuple[str, Any, int, str]] = [
    ("an unknown event key", lead(at=NOW, eventid="x"), 2804019, "eventid"),
    ("no event_name", lead(at=NOW, event_name=None), 2804019, "event_name"),
    ("no event_time", {k: v for k, v in lead(at=NOW).items() if k != "event_time"}, 2804019, "event_time"),
    ("no action_source", lead(at=NOW, action_source=None), 2804019, "action_source"),
    ("no user_data", lead(at=NOW, user_data=None), 2804019, "user_data"),
    ("an event that is no object", ["event"], 2804019, "data"),
    ("an unknown action_source", lead(at=NOW, action_source="in_store"), 2804019, "action_source"),
    ("event_time as text", lead(at=NOW, event_time=str(NOW)), 2804019, "event_time"),
    ("event_time as a float", lead(at=NOW, event_time=NOW + 0.5), 2804019, "event_time"),
    ("event_time as a boolean", lead(at=NOW, event_time=True), 2804019, "event_time"),
    ("event_id as a number", lead(at=NOW, event_id=17), 2804019, "event_id"),
    ("an empty event_id", lead(at=NOW, event_id=""), 2804019, "event_id"),
    ("half a surrogate pair", lead(at=NOW, event_id="\ud800"), 2804019, "event_id"),
    ("opt_out as text", lead(at=NOW, opt_out="true"), 2804019, "opt_out"),
    ("an action_source that is a list", lead(at=NOW, action_source=["chat"]), 2804019, "action_source"),
    ("event_time in milliseconds", lead(at=NOW * 1000), 2804004, "event_time"),
    ("an e-mail address in clear", lead(at=NOW, user_data={"em": ["a@b.co"]}), 2804016, "em"),
    ("one digest and one clear", lead(at=NOW, user_data={"em": [EM, "a@b.co"]}), 2804016, "em"),
    ("an MD5", lead(at=NOW, user_data={"em": ["d41d8cd98f00b204e9800998ecf8427e"]}), 2804016, "em"),
    ("null in a list of digests", lead(at=NOW, user_data={"em": [EM, None]}), 2804016, "em"),
    ("an empty list", lead(at=NOW, user_data={"em": []}), 2804016, "em"),
    ("a hashed click id", lead(at=NOW, user_data={"em": [EM], "fbc": EM}), 2804019, "fbc"),
    ("a list of user agents", lead(at=NOW, user_data={"em": [EM], "client_user_agent": ["x"]}), 2804019,
     "client_user_agent"),
    ("a legacy column name", lead(at=NOW, user_data={"email": EM}), 2804019, "email"),
    ("no identity at all", lead(at=NOW, user_data={}), 2804050, "user_data"),
    ("a lead id from a spreadsheet", lead(at=NOW, user_data={"lead_id": "1.23456789012345E+14"}), 2804036, "lead_id"),
    ("a short lead id", lead(at=NOW, user_data={"lead_id": 12345}), 2804036, "lead_id"),
    ("a Purchase without value", purchase(at=NOW, value=None), 2804009, "value"),
    ("a Purchase without custom_data", lead(at=NOW, event_name="Purchase"), 2804009, "value"),
    ("a Purchase without currency", purchase(at=NOW, currency=None), 2804010, "currency"),
    ("a Purchase in Euros", purchase(at=NOW, currency="Euro"), 2804010, "currency"),
    ("a value without currency", lead(at=NOW, custom_data={"value": 3}), 2804023, "currency"),
    ("three letters that are no currency", lead(at=NOW, custom_data={"value": 3, "currency": "XYZ"}), 2804023,
     "currency"),
    ("a value in words", purchase(at=NOW, value="ten"), 2804019, "value"),
    ("contents without id", purchase(at=NOW, contents=[{"quantity": 1}]), 2804008, "id"),
    ("a quantity in words", purchase(at=NOW, contents=[{"id": "a", "quantity": "one"}]), 2804019, "quantity"),
    ("contents that are no list", purchase(at=NOW, contents="a"), 2804019, "contents"),
    ("a nested custom property", lead(at=NOW, custom_data={"address": {"city": "x"}}), 2804019, "address"),
    ("a country without state", lead(at=NOW, data_processing_options_country=1), 2804019,
     "data_processing_options_state"),
    ("an app event without device", lead(at=NOW, action_source="app"), 2804043, "extinfo"),
    ("a message without channel", lead(at=NOW, action_source="business_messaging"), 2804063, "messaging_channel"),
    ("a message that may not be sent", lead(at=NOW, action_source="business_messaging", messaging_channel="whatsapp"),
     2804066, "event_name"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "subcode", "key"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_what_meta_refuses_is_refused_by_subcode_and_key(event: Any, subcode: int, key: str) -> None:
    assert subcode_and_key(event) == (subcode, key)


@pytest.mark.parametrize("key", sorted(HASHED_LISTS))
def test_every_key_that_must_be_hashed_is_refused_in_clear(key: str) -> None:
    event = lead(at=NOW, user_data={"em": [EM], key: ["clear"]})

    assert subcode_and_key(event) == (2804016, key)


@pytest.mark.parametrize(
    "keys",
    [
        ["ct", "country", "st", "zp", "ge", "client_user_agent"],
        ["zp", "country", "ge"],
        ["db", "client_user_agent"],
        ["fn", "ge"],
        ["ln", "ge"],
        ["fn"],
    ],
)
def test_too_little_customer_data_is_refused(keys: list[str]) -> None:
    """D:best-practices: the four sets and their subsets."""
    event = lead(at=NOW, user_data={key: "Mozilla" if key == "client_user_agent" else [EM] for key in keys})

    assert subcode_and_key(event) == (2804050, "user_data")


@pytest.mark.parametrize(
    ("source", "age", "subcode"),
    [
        ("system_generated", 7 * DAY, None),
        ("system_generated", 7 * DAY + 1, 2804003),
        ("physical_store", 7 * DAY + 1, None),
        ("physical_store", 62 * DAY, None),
        ("physical_store", 62 * DAY + 1, 2804003),
        ("phone_call", 7 * DAY + 1, 2804003),
        ("system_generated", -60, None),
        ("system_generated", -61, 2804004),
    ],
)
def test_age_is_judged_to_the_second(source: str, age: int, subcode: int | None) -> None:
    objection = find_objection(lead(at=NOW - age, action_source=source), NOW)

    assert (objection and ERRORS[objection.error].subcode) == subcode
