"""Meta's rules for one event, as a table, written from the documentation alone.

This is a second opinion: it shares nothing with the room that builds our events, so that a wrong idea of ours is
refused here as it would be there. A rule looks at one event and returns the first thing it objects to. Rules run in
the order of ``RULES``; the time comes before the customer data because a live probe saw it so (L B1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pycountry

__all__ = ["MAX_EVENTS", "RULES", "Objection", "find_objection"]

MAX_EVENTS = 1000  # D:using-the-api
MAX_AGE = 7 * 86_400  # D:using-the-api
MAX_AGE_PHYSICAL_STORE = 62 * 86_400  # D:offline-events, reading 1 of meta-capi.md section 4
FUTURE_TOLERANCE = 60  # none is documented; production tools allow one minute (RS PR #3376)

Event = Mapping[str, Any]


class Objection(NamedTuple):
    """Why an event is refused: a row of the error table, the key to name, and where in the event it stands."""

    error: str
    key: str
    problem: str
    path: str = ""


Rule = Callable[[Event, float], Objection | None]
Check = Callable[[Any], bool]


# ---------------------------------------------------------------------------------------------- types of values


def _is_text(value: Any) -> bool:
    """Not empty, and not holding half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    return isinstance(value, str) and bool(value) and (value.isascii() or _is_encodable(value))


def _is_encodable(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """A JSON number; numeric text too, because Meta's own samples send it (meta-capi.md 3.1, the seed's payload)."""
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _is_id(value: Any) -> bool:
    return _is_text(value) or _is_integer(value)


def _one_of(*words: Any) -> Check:
    allowed = frozenset(words)
    return lambda value: isinstance(value, (str, int)) and not isinstance(value, bool) and value in allowed


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


# ---------------------------------------------------------------------------------------------- the shape of an event

_SEGMENTS = [
    *(f"{who}_to_{what}" for who in ("new_customer", "existing_customer")
      for what in ("business", "business_line", "product_area", "medium")),
    "customer_in_loyalty_program",
]  # fmt: skip

EVENT_KEYS: Mapping[str, Check] = {  # meta-capi.md 1.3, D:parameters/server-event
    "event_name": _is_text,
    "event_time": _is_integer,
    "user_data": _is_object,
    "action_source": _one_of(
        "email", "website", "app", "phone_call", "chat", "physical_store",
        "system_generated", "business_messaging", "other",
    ),
    "event_id": _is_text,
    "custom_data": _is_object,
    "event_source_url": _is_url,
    "referrer_url": _is_text,
    "opt_out": _is_boolean,
    "data_processing_options": _list_of(_one_of("LDU")),
    "data_processing_options_country": _one_of(0, 1),
    "data_processing_options_state": _one_of(0, *range(1000, 1014)),
    "app_data": _is_object,
    "original_event_data": _is_object,
    "attribution_data": _is_object,
    "customer_segmentation": _one_of(*_SEGMENTS),
    "messaging_channel": _one_of("whatsapp", "messenger", "instagram"),
    "advanced_measurement_table": _is_text,
}  # fmt: skip
REQUIRED_KEYS = ("event_name", "event_time", "action_source", "user_data")

CUSTOM_DATA_KEYS: Mapping[str, Check] = {  # meta-capi.md 3.1, D:parameters/custom-data
    "value": _is_number,
    "currency": _is_text,
    "content_ids": _list_of(_is_id),
    "contents": _list_of(_is_object),
    "content_type": _one_of("product", "product_group"),
    "content_name": _is_text,
    "content_category": _is_text,
    "order_id": _is_id,
    "item_number": _is_id,
    "num_items": _is_integer,
    "predicted_ltv": _is_number,
    "net_revenue": _is_number,
    "status": _is_scalar,
    "search_string": _is_text,
    "delivery_category": _one_of("in_store", "curbside", "home_delivery"),
    "event_source": _is_text,
    "lead_event_source": _is_text,
    "store_data": _is_object,
}

CONTENT_KEYS: Mapping[str, Check] = {  # meta-capi.md 3.1; the SDK's content.py adds the texts
    "id": _is_id,
    "quantity": _is_integer,
    "item_price": _is_number,
    "price": _is_number,
    "title": _is_text,
    "description": _is_text,
    "brand": _is_text,
    "category": _is_text,
    "delivery_category": CUSTOM_DATA_KEYS["delivery_category"],
}


def _wrong(key: str, path: str = "") -> Objection:
    return Objection("parameter", key, f'Param "{key}" has the wrong type or value', path)


def unknown_keys(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """Refused with the key and the path (NODE258, live)."""
    for key in event:
        if key not in EVENT_KEYS:
            return Objection("parameter", key, f'Unexpected key "{key}"')
    return None


def missing_keys(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    for key in REQUIRED_KEYS:
        if key not in event:
            return Objection("parameter", key, f'The parameter "{key}" is required')
    return None


def event_types(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    for key, value in event.items():
        if not EVENT_KEYS[key](value):
            return _wrong(key)
    return None


def event_age(event: Event, now: float) -> Objection | None:
    """Seven days, or 62 for a physical store; milliseconds lie in the future and are refused as such."""
    age = now - event["event_time"]
    if age < -FUTURE_TOLERANCE:
        return Objection("future", "event_time", "event_time lies in the future")
    limit = MAX_AGE_PHYSICAL_STORE if event["action_source"] == "physical_store" else MAX_AGE
    return Objection("too_old", "event_time", "event_time is too far in the past") if age > limit else None


# ---------------------------------------------------------------------------------------------- who it was

# A digest of the Parameter Builder carries a dot and 8 characters, older ones 2 (meta-capi.md 2.5 and 12).
_DIGEST = re.compile(r"[0-9a-fA-F]{64}(?:\.[0-9A-Za-z_-]{2}(?:[0-9A-Za-z_-]{6})?)?").fullmatch

HASHED_LISTS = frozenset({"em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"})  # meta-capi.md 2.1
HASHED_SINGLE = frozenset({"f5first", "f5last", "fi", "dobd", "dobm", "doby"})
RAW_SINGLE = frozenset({
    "client_ip_address", "client_user_agent", "fbc", "fbp", "subscription_id", "fb_login_id", "lead_id", "anon_id",
    "madid", "page_id", "page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid", "whatsapp_business_account_id",
})  # fmt: skip
_USER_DATA = "['user_data']"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST(value) is not None


def _objection_to_hashed(key: str, value: Any) -> Objection | None:
    listed = key in HASHED_LISTS and isinstance(value, list) and value
    if all(map(_is_digest, value)) if listed else _is_digest(value):
        return None
    return Objection("not_hashed", key, f'The customer parameter "{key}" is not hashed', _USER_DATA)


def _objection_to_raw(key: str, value: Any) -> Objection | None:
    if not _is_id(value):
        return _wrong(key, _USER_DATA)
    if _is_digest(value):
        return Objection("parameter", key, f'The customer parameter "{key}" must not be hashed', _USER_DATA)
    return None


def _objection_to_external_id(key: str, value: Any) -> Objection | None:
    """Raw or hashed is the client's own policy; Meta takes both."""
    return None if _is_id(value) or (value and _list_of(_is_id)(value)) else _wrong(key, _USER_DATA)


def _objection_to_unknown(key: str, value: Any) -> Objection | None:  # noqa: ARG001
    return Objection("parameter", key, f'Unexpected key "{key}"', _USER_DATA)


_USER_DATA_RULES: Mapping[str, Callable[[str, Any], Objection | None]] = {
    **dict.fromkeys(HASHED_LISTS | HASHED_SINGLE, _objection_to_hashed),
    **dict.fromkeys(RAW_SINGLE, _objection_to_raw),
    "external_id": _objection_to_external_id,
}


def customer_data(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    for key, value in event["user_data"].items():
        objection = _USER_DATA_RULES.get(key, _objection_to_unknown)(key, value)
        if objection:
            return objection
    return None


# D:best-practices, since Graph v13.0: nothing beyond one of these sets is too little (meta-capi.md 2.4).
TOO_LITTLE: Sequence[frozenset[str]] = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)


def enough_data(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    keys = event["user_data"].keys()
    if any(keys <= little for little in TOO_LITTLE):
        return Objection("too_little_data", "user_data", "The event has too little customer information")
    return None


def lead_id(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """An integer of 15 to 17 digits, not the float that a spreadsheet makes of it (meta-capi.md 4.1)."""
    value = event["user_data"].get("lead_id")
    if value is None or re.fullmatch(r"\d{15,17}", str(value)):
        return None
    return Objection("lead_id", "lead_id", "lead_id must be an integer of 15 to 17 digits", _USER_DATA)


# ---------------------------------------------------------------------------------------------- what it was worth

_CURRENCIES = frozenset(currency.alpha_3 for currency in pycountry.currencies)
_CUSTOM_DATA = "['custom_data']"


def custom_data_types(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """Standard keys have their types; any other key is a custom property and holds a scalar."""
    for key, value in event.get("custom_data", {}).items():
        if not CUSTOM_DATA_KEYS.get(key, _is_scalar)(value):
            return _wrong(key, _CUSTOM_DATA)
    return None


def contents(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    for place, content in enumerate(event.get("custom_data", {}).get("contents", ())):
        path = f"{_CUSTOM_DATA}['contents'][{place}]"
        if not content.get("id"):
            return Objection("content_without_id", "id", "An entry of contents has no id", path)
        for key, value in content.items():
            if not CONTENT_KEYS.get(key, _is_scalar)(value):
                return _wrong(key, path)
    return None


def money(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """A Purchase needs value and currency; any value needs an ISO 4217 currency, in either case (L)."""
    data = event.get("custom_data", {})
    purchase = event["event_name"] == "Purchase"
    if purchase and "value" not in data:
        return Objection("no_value", "value", "A Purchase needs a value", _CUSTOM_DATA)
    if ("value" in data or "currency" in data) and str(data.get("currency")).upper() not in _CURRENCIES:
        error = "no_currency" if purchase else "value_without_currency"
        return Objection(error, "currency", "currency must be an ISO 4217 code", _CUSTOM_DATA)
    return None


# ---------------------------------------------------------------------------------------------- special sources


def data_processing(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """With a country there must be a state (MAPI:overview/data-processing-options)."""
    if "data_processing_options_country" in event and "data_processing_options_state" not in event:
        return _wrong("data_processing_options_state")
    return None


def app_device(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    """Sixteen positional strings, the first ``a2`` or ``i2`` (D:parameters/app-data)."""
    if event["action_source"] != "app":
        return None
    extinfo = event.get("app_data", {}).get("extinfo")
    if isinstance(extinfo, list) and len(extinfo) == 16 and extinfo[0] in ("a2", "i2"):
        return None
    return Objection("extinfo", "extinfo", "extinfo must hold 16 values, the first a2 or i2", "['app_data']")


MESSAGING_EVENTS = frozenset({
    "LeadSubmitted", "QualifiedLead", "CartAbandoned", "OrderCreated", "OrderShipped", "OrderDelivered",
    "OrderCanceled", "OrderReturned", "RatingProvided", "ReviewProvided", "Purchase", "InitiateCheckout", "AddToCart",
    "ViewContent",
})  # fmt: skip


def messaging(event: Event, now: float) -> Objection | None:  # noqa: ARG001
    if event["action_source"] != "business_messaging":
        return None
    if "messaging_channel" not in event:
        return Objection("no_channel", "messaging_channel", "messaging_channel is required")
    if event["event_name"] not in MESSAGING_EVENTS:
        return Objection("messaging_event", "event_name", "This event is not supported for messaging")
    return None


RULES: Sequence[Rule] = (
    unknown_keys,
    missing_keys,
    event_types,
    event_age,
    customer_data,
    enough_data,
    lead_id,
    custom_data_types,
    contents,
    money,
    data_processing,
    app_device,
    messaging,
)


def find_objection(event: Any, now: float) -> Objection | None:
    """The first thing that Meta would object to in ``event`` at the time ``now``; ``None`` when it is acceptable."""
    if not isinstance(event, dict):
        return Objection("parameter", "data", "An event must be an object")
    for rule in RULES:
        objection = rule(event, now)
        if objection:
            return objection
    return None
