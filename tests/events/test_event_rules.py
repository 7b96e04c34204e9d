"""Which rows may go out: one table line a rule, with both sides of its edge."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from offline_capi.errors import ConfigError
from offline_capi.events import rules, split_by_age
from offline_capi.events.standard import STANDARD_EVENTS
from offline_capi.guards.duplicates import StoreRepeats
from offline_capi.model import WARNING_TEXTS, BuiltEvents, HashedRows, Reason
from offline_capi.sandbox.rules import MESSAGING_EVENTS
from tests.events.conftest import CLIENTS

Rows = Callable[..., HashedRows]
Build = Callable[..., BuiltEvents]
Verdicts = Callable[[BuiltEvents], list[tuple[str, str, str]]]

DAY = 86_400
HOUR = 3600
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
DIGEST = "a" * 64


# ---------------------------------------------------------------------------------------------- age (promise P5)

AGES = [
    ("seven days and a second", "system_generated", "acme", 7 * DAY + 1, "expired"),
    ("seven days less a second", "system_generated", "acme", 7 * DAY - 1, "expired"),
    ("the margin and a second", "system_generated", "acme", 7 * DAY - HOUR + 1, "expired"),
    ("the margin exactly", "system_generated", "acme", 7 * DAY - HOUR, "sent"),
    ("inside the margin", "system_generated", "acme", 7 * DAY - HOUR - 1, "sent"),
    ("a phone call is online", "phone_call", "acme", 7 * DAY - HOUR + 1, "expired"),
    ("a store, eight days", "physical_store", "acme", 8 * DAY, "sent"),
    ("a store, 62 days and a second", "physical_store", "acme", 62 * DAY + 1, "expired"),
    ("a store, 62 days less a second", "physical_store", "acme", 62 * DAY - 1, "expired"),
    ("a store, the margin and a second", "physical_store", "acme", 62 * DAY - HOUR + 1, "expired"),
    ("a store, inside the margin", "physical_store", "acme", 62 * DAY - HOUR - 1, "sent"),
    ("a store with a limit of its own", "physical_store", "patient", 30 * DAY - HOUR + 1, "expired"),
    ("a store inside its own limit", "physical_store", "patient", 30 * DAY - HOUR - 1, "sent"),
    ("that limit is for stores only", "chat", "patient", 8 * DAY, "expired"),
    ("59 seconds ahead", "system_generated", "acme", -59, "sent"),
    ("the skew exactly", "system_generated", "acme", -60, "sent"),
    ("61 seconds ahead", "system_generated", "acme", -61, "invalid"),
    ("milliseconds for seconds", "system_generated", "acme", -1_700_000_000_000, "invalid"),
]


@pytest.mark.parametrize(("source", "client", "age", "fate"), [case[1:] for case in AGES], ids=[c[0] for c in AGES])
def test_p05_nothing_goes_out_that_meta_would_refuse_for_its_age(
    rows_of: Rows, build: Build, verdicts: Verdicts, now: datetime, source: str, client: str, age: int, fate: str
) -> None:
    rows = rows_of({"event_time": [int(now.timestamp()) - age], "action_source": [source]}, client=[client])

    built = build(rows)

    reasons = {"expired": ("expired", "too_old", "event.time"), "invalid": ("invalid", "future", "event.time")}
    assert verdicts(built) == ([reasons[fate]] if fate in reasons else [])
    assert len(built.events) == (fate == "sent")


def test_p05_the_margin_and_the_skew_are_settings(rows_of: Rows, build: Build, now: datetime) -> None:
    second = int(now.timestamp())
    rows = rows_of({"event_time": [second - 7 * DAY + 2 * HOUR - 1, second - 7 * DAY + 1, second + 5]})

    strict = build(rows, margin=timedelta(hours=2), skew=timedelta(0))
    lax = build(rows, margin=timedelta(0), skew=timedelta(seconds=5))

    assert len(strict.events) == 0
    assert len(lax.events) == 3


WAITED = [
    ("system_generated", "acme", timedelta(days=7, seconds=-1), timedelta(0), True),
    ("system_generated", "acme", timedelta(days=7, seconds=1), timedelta(0), False),
    ("system_generated", "acme", timedelta(days=7, minutes=-5), timedelta(minutes=10), False),
    ("physical_store", "acme", timedelta(days=62, seconds=-1), timedelta(0), True),
    ("physical_store", "patient", timedelta(days=30, seconds=1), timedelta(0), False),
]


@pytest.mark.parametrize(("source", "client", "age", "margin", "fresh"), WAITED)
def test_p05_what_waited_too_long_is_told_from_what_is_still_fresh(
    rows_of: Rows, build: Build, now: datetime, source: str, client: str, age: timedelta, margin: timedelta, fresh: bool
) -> None:
    """A slow upload, or staged events that are sent hours later."""
    built_at = now - timedelta(hours=3)
    times = [int((now - age).timestamp()), int(built_at.timestamp())]
    rows = rows_of({"event_time": times, "action_source": [source] * 2}, client=[client] * 2)
    events = build(rows, now=built_at).events

    going, expired = split_by_age(events, clients=CLIENTS, now=now, margin=margin)

    assert len(events) == 2
    assert going.table["row"].to_pylist() == ([1, 2] if fresh else [2])
    assert expired.table["row"].to_pylist() == ([] if fresh else [1])


def test_an_upload_narrows_the_age_and_never_widens_it(rows_of: Rows, build: Build, now: datetime) -> None:
    second = int(now.timestamp())
    rows = rows_of({"event_time": [second - 2 * DAY - 1, second - 2 * DAY, second - 8 * DAY]})

    assert build(rows, max_age=timedelta(days=2)).events.table["row"].to_pylist() == [2]
    assert build(rows, max_age=timedelta(days=300)).events.table["row"].to_pylist() == [1, 2]


# ---------------------------------------------------------------------------------------------- one rule, one line

GOOD_MONEY = {"value": [50.0], "currency": ["USD"]}
ORIGINAL = f'{{"event_name":"Purchase","event_time":{int(NOW.timestamp()) - DAY},"event_id":"o-1"}}'
APPEND = {"event_name": ["AppendValue"], "original_event_data": [ORIGINAL]}


def _attributed(original_age: int = DAY, **changes: float | str | None) -> dict[str, Any]:
    """An event that appends a share of a purchase to an ad."""
    happened = int(NOW.timestamp()) - original_age
    data = {"ad_id": "7", "touchpoint_ts": happened - HOUR, "attribution_share": 0.5, "attribution_value": 25}
    kept = {key: value for key, value in (data | changes).items() if value is not None}
    original = {"event_name": "Purchase", "event_time": happened, "event_id": "o-1"}
    return {
        "event_name": ["AppendAttribution"],
        "original_event_data": [json.dumps(original, separators=(",", ":"))],
        "attribution_data": [json.dumps(kept, separators=(",", ":"))],
    }


ATTRIBUTION = _attributed()
MESSAGE = {
    "event_name": ["LeadSubmitted"],
    "action_source": ["business_messaging"],
    "messaging_channel": ["instagram"],
}


def _store(code: str) -> str:
    return f'{{"store_page_id":"1","store_code":"{code}"}}'


RULES: list[tuple[str, dict[str, Any], str | None]] = [
    ("a good row", {}, None),
    ("a client without configuration", {"client": ["nobody"]}, "deferred unknown_client client"),
    ("no client", {"client": [None]}, "deferred unknown_client client"),
    ("a paused client", {"client": ["paused"]}, "deferred paused_client client"),
    ("no time", {"event": {"event_time": [None]}}, "invalid missing_time event.time"),
    ("no column for the time", {"event": {"event_time": None}}, "invalid missing_time event.time"),
    ("no name", {"event": {"event_name": [None]}}, "invalid missing_value event.name"),
    ("a blank name", {"event": {"event_name": [" \t"]}}, "invalid missing_value event.name"),
    ("no column for the name", {"event": {"event_name": None}}, "invalid missing_value event.name"),
    ("no id", {"event": {"event_id": [None]}}, "invalid missing_event_id event.id"),
    ("an empty id", {"event": {"event_id": [""]}}, "invalid missing_event_id event.id"),
    ("no source", {"event": {"action_source": [None]}}, "invalid missing_value event.action_source"),
    ("an unknown source", {"event": {"action_source": ["in_store"]}}, "invalid unknown_value event.action_source"),
    (
        "a source in another case",
        {"event": {"action_source": ["Website"]}},
        "invalid unknown_value event.action_source",
    ),
    ("opt_out in words", {"event": {"opt_out": ["true"]}}, None),
    ("opt_out as a flag", {"event": {"opt_out": [True]}}, None),
    ("opt_out in other words", {"event": {"opt_out": ["yes"]}}, "invalid unreadable_value event.opt_out"),
    ("nobody", {"identity": {}}, "invalid no_identifier user_data"),
    ("nobody usable", {"identity": {"em": [[None]], "ph": [[None], [None]]}}, "invalid no_identifier user_data"),
    ("the second column has somebody", {"identity": {"em": [[None], [DIGEST]]}}, None),
    ("a Purchase", {"event": {"event_name": ["Purchase"]}, "custom": GOOD_MONEY}, None),
    ("a Purchase of nothing", {"event": {"event_name": ["Purchase"]}, "custom": {**GOOD_MONEY, "value": [0.0]}}, None),
    (
        "a Purchase without custom data",
        {"event": {"event_name": ["Purchase"]}},
        "invalid purchase_without_value custom_data.value",
    ),
    (
        "a Purchase without value",
        {"event": {"event_name": ["Purchase"]}, "custom": {"value": [None], "currency": ["USD"]}},
        "invalid purchase_without_value custom_data.value",
    ),
    (
        "a Purchase without currency",
        {"event": {"event_name": ["Purchase"]}, "custom": {"value": [1.0]}},
        "invalid value_without_currency custom_data.currency",
    ),
    (
        "a value without currency",
        {"custom": {"value": [1.0], "currency": [None]}},
        "invalid value_without_currency custom_data.currency",
    ),
    ("a currency without value", {"custom": {"value": [None], "currency": ["USD"]}}, None),
    ("a currency in lower case", {"custom": {"value": [1.0], "currency": ["usd"]}}, None),
    (
        "a currency in words",
        {"custom": {"value": [1.0], "currency": ["Euro"]}},
        'invalid bad_currency custom_data.currency with "EURO"',
    ),
    (
        "somebody in the place of a currency",
        {"custom": {"value": [1.0], "currency": ["Zelda"]}},
        "invalid bad_currency custom_data.currency",
    ),
    (
        "three letters that are no currency",
        {"custom": {"value": [1.0], "currency": ["USX"]}},
        "invalid bad_currency custom_data.currency",
    ),
    (
        "the code for no currency",
        {"custom": {"value": [1.0], "currency": ["XXX"]}},
        "invalid bad_currency custom_data.currency",
    ),
    (
        "a value that is not a number",
        {"custom": {**GOOD_MONEY, "value": [float("nan")]}},
        "invalid not_finite custom_data.value",
    ),
    ("a property without end", {"custom": {"margin": [float("-inf")]}}, "invalid not_finite custom_data.margin"),
    ("a value beyond a float's integers", {"custom": {**GOOD_MONEY, "value": [2**60 + 1]}}, None),
    ("a value as a numeric string", {"custom": {**GOOD_MONEY, "value": ["50"]}}, None),
    (
        "a value as a word",
        {"custom": {**GOOD_MONEY, "value": ["fifty"]}},
        "invalid unreadable_value custom_data.value",
    ),
    (
        "a value with a comma",
        {"custom": {**GOOD_MONEY, "value": ["50,00"]}},
        "invalid unreadable_value custom_data.value",
    ),
    ("contents", {"custom": {"contents": ['[{"id":"a","quantity":1}]']}}, None),
    (
        "contents that are no array",
        {"custom": {"contents": ['{"id":"a"}']}},
        "invalid unreadable_value custom_data.contents",
    ),
    ("ids that are no array", {"custom": {"content_ids": ["a"]}}, "invalid unreadable_value custom_data.content_ids"),
    (
        "a store that is no object",
        {"custom": {"store_data": ['["a"]']}},
        "invalid unreadable_value custom_data.store_data",
    ),
    ("a store", {"custom": {"store_data": [_store("B" * 64)]}}, None),
    ("a store without a code", {"custom": {"store_data": ['{"store_page_id":"1"}']}}, None),
    (
        "a store code too long",
        {"custom": {"store_data": [_store("B" * 65)]}},
        "invalid unreadable_value custom_data.store_data",
    ),
    (
        "a store code with a dash",
        {"custom": {"store_data": [_store("B-1")]}},
        "invalid unreadable_value custom_data.store_data",
    ),
    ("an address", {"event": {"event_source_url": ["http://a.example"]}}, None),
    (
        "an address without scheme",
        {"event": {"event_source_url": ["a.example/b"]}},
        "invalid unreadable_value event.source_url",
    ),
    ("a content type", {"custom": {"content_type": ["product"]}}, None),
    (
        "a content type of one's own",
        {"custom": {"content_type": ["Product"]}},
        "invalid unknown_value custom_data.content_type",
    ),
    (
        "a way of delivery of one's own",
        {"custom": {"delivery_category": ["drone"]}},
        "invalid unknown_value custom_data.delivery_category",
    ),
    (
        "a segment of one's own",
        {"event": {"customer_segmentation": ["vip"]}},
        "invalid unknown_value event.customer_segmentation",
    ),
    ("AppendValue", {"event": APPEND, "custom": {"predicted_ltv": [9.5], "currency": ["USD"]}}, None),
    (
        "AppendValue of nothing",
        {"event": APPEND, "custom": {"value": [9.5], "currency": ["USD"]}},
        "invalid missing_value custom_data.predicted_ltv",
    ),
    (
        "AppendValue without currency",
        {"event": APPEND, "custom": {"predicted_ltv": [9.5]}},
        "invalid value_without_currency custom_data.currency",
    ),
    (
        "AppendValue to nothing",
        {
            "event": APPEND | {"original_event_data": [None]},
            "custom": {"predicted_ltv": [9.5], "currency": ["USD"]},
        },
        "invalid missing_value event.original_event",
    ),
    (
        "a purchase in another case needs what a Purchase needs",
        {"event": {"event_name": ["PURCHASE"]}},
        "invalid purchase_without_value custom_data.value",
    ),
    ("an attribution", {"event": ATTRIBUTION}, None),
    (
        "an attribution of nothing",
        {"event": {**ATTRIBUTION, "attribution_data": [None]}},
        "invalid missing_value event.attribution_data",
    ),
    (
        "an attribution to nothing",
        {"event": {**ATTRIBUTION, "original_event_data": [None]}},
        "invalid missing_value event.original_event",
    ),
    (
        "an attribution without its ad",
        {"event": _attributed(ad_id=None)},
        "invalid missing_value event.attribution_data",
    ),
    (
        "an attribution without its share",
        {"event": _attributed(attribution_share=None)},
        "invalid missing_value event.attribution_data",
    ),
    (
        "a touchpoint at the second of the event",
        {"event": _attributed(touchpoint_ts=int(NOW.timestamp()) - DAY)},
        "invalid touchpoint_too_late event.attribution_data.touchpoint_ts",
    ),
    (
        "a touchpoint a second before the event",
        {"event": _attributed(touchpoint_ts=int(NOW.timestamp()) - DAY - 1)},
        None,
    ),
    (
        "a share of more than all",
        {"event": _attributed(attribution_share=1.01)},
        "invalid bad_share event.attribution_data.attribution_share",
    ),
    (
        "a share below nothing",
        {"event": _attributed(attribution_share=-0.1)},
        "invalid bad_share event.attribution_data.attribution_share",
    ),
    ("a share of all", {"event": _attributed(attribution_share=1)}, None),
    ("an attribution 47 hours after its event", {"event": _attributed(original_age=47 * HOUR)}, None),
    (
        "an attribution that arrives 48 hours after its event",
        {"event": _attributed(original_age=47 * HOUR + 1)},
        "expired too_old event.original_event.time",
    ),
    (
        "the same data on another event has none of these rules",
        {"event": {**_attributed(touchpoint_ts=None, original_age=3 * DAY), "event_name": ["Lead"]}},
        None,
    ),
    ("an app with its device", {"event": {"action_source": ["app"], "app_data": ['{"extinfo":["a2"]}']}}, None),
    (
        "an app without its device",
        {"event": {"action_source": ["app"], "app_data": ['{"vendor_id":"1"}']}},
        "invalid missing_value event.app_data",
    ),
    ("an app without data", {"event": {"action_source": ["app"]}}, "invalid missing_value event.app_data"),
    ("a message", {"event": MESSAGE}, None),
    (
        "a message without channel",
        {"event": MESSAGE | {"messaging_channel": [None]}},
        "invalid missing_value event.messaging_channel",
    ),
    (
        "a message of an unknown channel",
        {"event": MESSAGE | {"messaging_channel": ["telegram"]}},
        "invalid unknown_value event.messaging_channel",
    ),
    (
        "a message of another kind",
        {"event": MESSAGE | {"event_name": ["CreditApproval"]}},
        "invalid unknown_value event.name",
    ),
]


@pytest.mark.parametrize(("changes", "verdict"), [case[1:] for case in RULES], ids=[case[0] for case in RULES])
def test_a_rule_decides(
    rows_of: Rows, build: Build, verdicts: Verdicts, changes: dict[str, Any], verdict: str | None
) -> None:
    built = build(rows_of(**changes))

    assert [" ".join(row) for row in verdicts(built)] == ([verdict] if verdict else [])
    assert len(built.events) == (verdict is None)


# D:best-practices: these keys alone, or fewer of them, are refused (100/2804050).
TOO_LITTLE = ["ct country st zp ge client_user_agent", "ct zp country", "ge", "db client_user_agent", "db", "fn ge",
              "ln ge", "fn", "ln", "client_user_agent"]  # fmt: skip
ENOUGH = ["fn ln", "fn zp", "db ge", "db fn", "em", "ph", "external_id", "ct em", "fn ge db", "fbp",
          "client_ip_address", "lead_id", "madid", "ge fbc"]  # fmt: skip


@pytest.mark.parametrize("keys", TOO_LITTLE)
def test_too_little_customer_data_stays_here(rows_of: Rows, build: Build, verdicts: Verdicts, keys: str) -> None:
    person = {key: [["1" * 15]] for key in keys.split()}
    absent: dict[str, Any] = {"em": [[None]], "ph": [[None]]}

    built = build(rows_of(identity={**person, **absent}))

    assert verdicts(built) == [("invalid", "too_little_data", "user_data")]


@pytest.mark.parametrize("keys", ENOUGH)
def test_enough_customer_data_goes_out(rows_of: Rows, build: Build, keys: str) -> None:
    person = {key: [["1" * 15]] for key in keys.split()}

    built = build(rows_of(identity={**person, "country": [[DIGEST]]} if "country" not in keys else person))

    assert len(built.events) == 1


def test_an_event_must_fit_into_a_request_alone(rows_of: Rows, build: Build, verdicts: Verdicts) -> None:
    rows = rows_of(custom={"note": ["x" * 9_000, "x" * 10_000, "short"]})

    built = build(rows, max_bytes=10_000)

    assert built.events.table["row"].to_pylist() == [1, 3]
    assert verdicts(built) == [("invalid", "too_large", "event")]


def test_the_byte_limit_leaves_room_for_what_stands_around_the_events(rows_of: Rows, build: Build) -> None:
    rows = rows_of()
    size = len(build(rows).events.table["body"][0].as_py())

    assert len(build(rows, max_bytes=size + 512).events) == 1
    assert len(build(rows, max_bytes=size + 511).events) == 0


def test_a_parameter_that_meta_does_not_know_is_refused_by_name(rows_of: Rows, build: Build) -> None:
    with pytest.raises(ConfigError, match="user_data: Meta knows no parameter email"):
        build(rows_of(identity={"email": [[DIGEST]]}))
    with pytest.raises(ConfigError, match="event: Meta knows no parameter event_day"):
        build(rows_of({"event_day": ["2026-11-23"]}))


# ---------------------------------------------------------------------------------------------- precedence


def test_consent_comes_before_everything(rows_of: Rows, build: Build) -> None:
    """Of a suppressed row nothing is kept but its client, where that is configured, and its day."""
    fault = (Reason.UNREADABLE_TIME, "event.time", [True, False])
    rows = rows_of({"event_time": [None, 1]}, client=["nobody", "paused"], suppressed=[True, True], faults=[fault])

    built = build(rows)

    assert (len(built.events), len(built.unsent)) == (0, 0)
    assert built.suppressed == {(None, None): 1, ("paused", date(1969, 12, 31)): 1}


def test_the_first_fault_comes_before_every_rule(rows_of: Rows, build: Build, verdicts: Verdicts) -> None:
    second = (Reason.UNKNOWN_VALUE, "event.name", [True, True, False])
    first = (Reason.UNREADABLE_TIME, "event.time", [True, False, False])
    rows = rows_of({"event_time": [None] * 3}, client=["nobody", "acme", "acme"], faults=[first, second])

    assert verdicts(build(rows)) == [
        ("invalid", "unreadable_time", "event.time"),
        ("invalid", "unknown_value", "event.name"),
        ("invalid", "missing_time", "event.time"),
    ]


def test_held_comes_before_expired_and_expired_before_rejected(rows_of: Rows, build: Build, verdicts: Verdicts) -> None:
    rows = rows_of({"event_time": [1, 1]}, {}, client=["paused", "acme"])

    assert verdicts(build(rows)) == [("deferred", "paused_client", "client"), ("expired", "too_old", "event.time")]


# ---------------------------------------------------------------------------------------------- warnings

WARNINGS: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("a name in another case", {"event": {"event_name": ["LEAD", "contact", "Lead", "Own"]}}, {"event_name_case": 2}),
    (
        "a name that is nearly a standard event's",
        {"event": {"event_name": ["Purchse", "add_to_cart", "Leads", "Purchase Refund"]}},
        {"event_name_near": 3},
    ),
    (
        "a share of another value than the event's",
        {
            "event": {name: values * 3 for name, values in _attributed().items()},
            "custom": {"value": [50.0, 50.02, 100.0], "currency": ["USD"] * 3},
        },
        {"attribution_value_differs": 1},
    ),
    (
        "a negative Purchase",
        {"event": {"event_name": ["Purchase", "Refund"]}, "custom": {"value": [-1.0, -1.0], "currency": ["EUR"] * 2}},
        {"negative_purchase": 1},
    ),
    (
        "a website event without page and browser",
        {
            "event": {"action_source": ["website"] * 3, "event_source_url": ["https://a.example/", None, None]},
            "identity": {"em": [[DIGEST] * 3], "client_user_agent": [[None, "Mozilla/5.0", None]]},
        },
        {"website_without_url": 2, "website_without_user_agent": 2},
    ),
    (
        "an amount of unknown currency",
        {"custom": {"predicted_ltv": [1.0, None, 1.0], "currency": [None, None, "EUR"]}},
        {"amount_without_currency": 1},
    ),
    (
        "contents of unknown type",
        {"custom": {"content_ids": ['["a"]', None, '["a"]'], "content_type": [None, None, "product"]}},
        {"contents_without_type": 1},
    ),
    (
        "the stage of a lead from elsewhere, and of an unnamed CRM",
        {
            "event": {"action_source": ["other", "system_generated", "chat"]},
            "custom": {"event_source": ["crm", "crm", None], "lead_event_source": ["HubSpot", None, None]},
        },
        {"crm_not_system_generated": 1, "crm_without_name": 1},
    ),
    (
        "an earlier event on a conversion, unless attribution is appended",
        {
            "event": {
                "event_name": ["Lead", "Lead", "AppendValue"],
                "original_event_data": [ORIGINAL] * 3,
                "attribution_data": [None, '{"ad_id":"1"}', None],
            },
            "custom": {"predicted_ltv": [1.0] * 3, "currency": ["USD"] * 3},
        },
        {"original_event_of_conversion": 1},
    ),
    (
        "an added value that is not later than what it adds to",
        {
            "event": {
                "event_name": ["AppendValue"] * 3,
                "event_time": [int(NOW.timestamp()) - DAY - 1, int(NOW.timestamp()) - DAY, int(NOW.timestamp())],
                "original_event_data": [ORIGINAL] * 3,
            },
            "custom": {"predicted_ltv": [1.0] * 3, "currency": ["USD"] * 3},
        },
        {"not_after_original_event": 2},
    ),
    (
        "limited data whose place Meta cannot find",
        {
            "event": {
                "data_processing_options": ['["LDU"]'] * 3 + ["[]"],
                "data_processing_options_country": [0, 1, 0, None],
                "data_processing_options_state": [0, 1000, 0, None],
            },
            "identity": {"em": [[DIGEST] * 4], "client_ip_address": [[None, None, "203.0.113.7", None]]},
        },
        {"limited_data_use_without_ip": 1},
    ),
    ("a row that does not go out warns of nothing", {"event": {"event_name": ["purchase"]}, "identity": {}}, {}),
]


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS])
def test_what_meta_accepts_but_will_not_use_well_is_counted(
    rows_of: Rows, build: Build, changes: dict[str, Any], expected: dict[str, int]
) -> None:
    assert build(rows_of(**changes)).warnings == expected


def test_every_warning_has_a_text_and_an_example() -> None:
    shown = {code for _, _, expected in WARNINGS for code in expected}

    assert shown == {warning.code for warning in rules.WARNINGS}
    assert shown | set(StoreRepeats.WARNINGS) == set(WARNING_TEXTS)


def test_the_standard_events_are_those_of_the_pixel_reference() -> None:
    """Seventeen events of the reference, PageView, two that append, and ten that are for messaging alone."""
    needs = {name: event.required for name, event in STANDARD_EVENTS.items() if event.required}

    assert len(STANDARD_EVENTS) == 30
    assert needs == {
        "Purchase": ("value", "currency"),
        "AppendAttribution": ("original_event_data", "attribution_data"),
        "AppendValue": ("original_event_data", "predicted_ltv", "currency"),
    }
    assert {name for name, event in STANDARD_EVENTS.items() if event.messaging} == MESSAGING_EVENTS


# ---------------------------------------------------------------------------------------------- columns for the books

DAYS = [
    ("America/New_York", datetime(2026, 11, 1, 3, 59, 59, tzinfo=UTC), date(2026, 10, 31)),
    ("America/New_York", datetime(2026, 11, 1, 4, 0, 0, tzinfo=UTC), date(2026, 11, 1)),
    ("America/New_York", datetime(2026, 11, 2, 4, 59, 59, tzinfo=UTC), date(2026, 11, 1)),  # the day of 25 hours
    ("America/New_York", datetime(2026, 11, 2, 5, 0, 0, tzinfo=UTC), date(2026, 11, 2)),
    ("Asia/Kathmandu", datetime(2026, 11, 22, 18, 14, 59, tzinfo=UTC), date(2026, 11, 22)),  # UTC+5:45
    ("Asia/Kathmandu", datetime(2026, 11, 22, 18, 15, 0, tzinfo=UTC), date(2026, 11, 23)),
    ("Pacific/Kiritimati", datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC), date(2026, 11, 24)),  # UTC+14
]


@pytest.mark.parametrize(("zone", "moment", "day"), DAYS)
def test_the_day_is_the_local_date_in_the_zone_of_the_upload(
    rows_of: Rows, build: Build, zone: str, moment: datetime, day: date
) -> None:
    rows = rows_of({"event_time": [int(moment.timestamp())], "action_source": ["physical_store"]})

    assert build(rows, zone=zone).events.table["day"].to_pylist() == [day]


def test_a_time_outside_the_calendar_has_no_day(rows_of: Rows, build: Build) -> None:
    built = build(rows_of({"event_time": [2**62, -(2**62)]}))

    assert built.unsent.table["day"].to_pylist() == [None, None]
    assert built.unsent.table["fate"].to_pylist() == ["invalid", "expired"]


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_a_time_at_the_end_of_the_calendar_has_a_day_where_every_zone_has_one(
    rows_of: Rows, build: Build, zone: str
) -> None:
    """A day from the first and from the last moment that Python's dates know, as local time may be."""
    first, last = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    begins, ends = int(first.timestamp()), int(last.timestamp())

    built = build(rows_of({"event_time": [begins - 1, begins, ends, ends + 900]}), zone=zone)

    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in (first, last)]
    assert built.unsent.table["day"].to_pylist() == [None, *days, None]


def test_the_books_get_every_row_of_a_client_whatever_becomes_of_it(rows_of: Rows, build: Build) -> None:
    rows = rows_of(
        {"event_name": ["Lead", None, "Lead", "Lead", "Lead"]},
        client=["acme", "acme", "acme", "beta", "nobody"],
        suppressed=[False, False, True, False, False],
    )

    built = build(rows)

    assert (len(built.events), len(built.unsent), sum(built.suppressed.values())) == (2, 2, 1)
    assert built.rows_of == {"acme": 3, "beta": 1}


def test_the_books_get_value_and_currency(rows_of: Rows, build: Build) -> None:
    rows = rows_of(custom={"value": ["12.5", "7"], "currency": ["eur", "USD"]})

    table = build(rows).events.table

    assert table["value"].to_pylist() == [12.5, 7.0]
    assert table["currency"].to_pylist() == ["EUR", "USD"]
    assert table["pixel"].to_pylist() == ["1234567890"] * 2


def test_an_empty_id_is_found_beside_a_null_that_has_bytes(rows_of: Rows, build: Build) -> None:
    """Arrow allows bytes under a null; counting values without bytes would take one for the other."""
    _, offsets, data = pa.array(["", "hidden", "id-3"]).buffers()
    ids = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), offsets, data])  # the second is null
    rows = rows_of({"event_id": ["", None, "id-3"]})

    built = build(replace(rows, event={**rows.event, "event_id": ids}))

    assert built.unsent.table.column("reason").to_pylist() == [Reason.MISSING_EVENT_ID] * 2
    assert len(built.events) == 1


def test_no_rows_become_nothing(rows_of: Rows, build: Build) -> None:
    built = build(rows_of({"event_time": []}, custom={"value": [], "currency": []}))

    assert (built.rows, len(built.events), len(built.unsent), built.suppressed) == (0, 0, 0, {})
