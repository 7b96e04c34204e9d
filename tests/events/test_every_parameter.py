"""From the YAML and a row to the JSON: every parameter that Meta knows (meta-capi.md sections 1.3 and 3.1).

The sandbox, which shares nothing with the room that builds events, has to agree with each.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event

from offline_capi.config import EnvironmentSecrets, MappingSpec, load_config
from offline_capi.config.client import Client
from offline_capi.config.platform import Platform
from offline_capi.delivery.payload import Envelope, make_payload
from offline_capi.events import build_events
from offline_capi.events.payload import _EVENT_KINDS
from offline_capi.events.standard import AGE_MARGIN, CLOCK_SKEW, CUSTOM_DATA_KEYS
from offline_capi.identity import hash_identity
from offline_capi.mapping import map_rows
from offline_capi.meta.catalogue import EVENT_KEYS, WORDS
from offline_capi.model import BuiltEvents, Fate, SourceRows, Window
from offline_capi.pipeline import open_services, plan_upload
from offline_capi.sandbox.rules import find_objection

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
CLIENTS = {"acme": Client.model_validate({"pixel_id": "1234567890", "token": {"env": "T"}})}
LEAST: dict[str, Any] = {
    "client": "acme",
    "window": {"column": "at"},
    "event": {"name": "Lead", "id": "{id}", "action_source": "other"},
    "user_data": {"lead_id": "lead"},
}
ROW: dict[str, Any] = {"at": "2026-11-24T02:00:00Z", "id": "7", "lead": "123456789012345"}
DEVICE = ["a2", *map(str, range(15))]

# What the YAML says under ``event`` or ``custom_data``, what the column ``c`` holds, and what the JSON says.
EVENT: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"name": {"column": "c"}}, "Approved", {"event_name": "Approved"}),
    ({"time": {"column": "c", "unit": "ms"}}, 1795484000123, {"event_time": 1795484000}),
    ({"id": "x-{c}"}, 5.0, {"event_id": "x-5"}),
    ({"action_source": {"column": "c"}}, "phone_call", {"action_source": "phone_call"}),
    ({"source_url": "c"}, "https://a.example/b?c=d", {"event_source_url": "https://a.example/b?c=d"}),
    ({"referrer_url": "c"}, "https://b.example/", {"referrer_url": "https://b.example/"}),
    ({"opt_out": "c"}, "yes", {"opt_out": True}),
    ({"advanced_measurement_table": "t_1"}, "", {"advanced_measurement_table": "t_1"}),
    (
        {"name": "Purchase", "action_source": "business_messaging", "messaging_channel": {"column": "c"}},
        "whatsapp",
        {"messaging_channel": "whatsapp", "action_source": "business_messaging"},
    ),
    (
        {"limited_data_use": {"when": {"constant": True}, "state": "c"}},
        "California",
        {
            "data_processing_options": ["LDU"],
            "data_processing_options_country": 1,
            "data_processing_options_state": 1000,
        },
    ),
    (
        {"original_event": {"name": "Purchase", "id": "c", "order_id": {"constant": "R-1"}, "time": "at"}},
        "o-1",
        {
            "original_event_data": {
                "event_name": "Purchase",
                "event_time": 1795485600,
                "order_id": "R-1",
                "event_id": "o-1",
            }
        },
    ),
    (
        {
            "action_source": "app",
            "app_data": {
                "advertiser_tracking_enabled": {"constant": True},
                "application_tracking_enabled": {"constant": "no"},
                "extinfo": "c",
                "vendor_id": {"constant": "v"},
            },
        },
        json.dumps(DEVICE),
        {
            "app_data": {
                "advertiser_tracking_enabled": True,
                "application_tracking_enabled": False,
                "extinfo": DEVICE,
                "vendor_id": "v",
            }
        },
    ),
    (
        {"attribution_data": {"ad_id": "c", "touchpoint_ts": "at", "attribution_share": {"constant": 0.5}}},
        "120210",
        {"attribution_data": {"ad_id": "120210", "touchpoint_ts": 1795485600, "attribution_share": 0.5}},
    ),
    *(
        ({"customer_segmentation": {"column": "c"}}, word, {"customer_segmentation": word})
        for word in WORDS["customer_segmentation"]
    ),
]
MONEY = {"value": {"constant": 5}, "currency": "USD"}
CUSTOM: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({**MONEY, "value": "c"}, "1,234.50", {"value": 1234.5}),
    ({**MONEY, "value": {"column": "c", "type": "string"}}, "50", {"value": "50"}),
    ({**MONEY, "currency": "c"}, "eur", {"currency": "EUR"}),
    ({"predicted_ltv": "c", "currency": "USD"}, "99.9", {"predicted_ltv": 99.9, "currency": "USD"}),
    ({**MONEY, "net_revenue": "c"}, 3, {"net_revenue": 3}),
    ({"order_id": "c"}, 4711, {"order_id": "4711"}),
    ({"item_number": "c"}, "2", {"item_number": "2"}),
    ({"num_items": "c"}, "3", {"num_items": 3}),
    ({"content_type": {"column": "c"}}, "product_group", {"content_type": "product_group"}),
    ({"content_name": "c"}, "Shoe", {"content_name": "Shoe"}),
    ({"content_category": "c"}, "Shoes", {"content_category": "Shoes"}),
    ({"content_ids": "c"}, '["a", 5]', {"content_ids": ["a", "5"]}),
    (
        {"contents": {"id": "c", "quantity": {"constant": 2}, "description": "id", "delivery_category": "curbside"}},
        "a",
        {"contents": [{"id": "a", "quantity": 2, "description": "7", "delivery_category": "curbside"}]},
    ),
    ({"status": "c"}, "complete", {"status": "complete"}),
    ({"status": {"column": "c", "type": "boolean"}}, "1", {"status": True}),
    ({"search_string": "c"}, "red shoes", {"search_string": "red shoes"}),
    ({"delivery_category": {"column": "c"}}, "curbside", {"delivery_category": "curbside"}),
    (
        {"event_source": "crm", "lead_event_source": {"column": "c"}},
        "HubSpot",
        {"event_source": "crm", "lead_event_source": "HubSpot"},
    ),
    (
        {"store_data": {"store_page_id": "c", "brand_page_id": "id", "store_code": {"template": "B{id}"}}},
        123,
        {"store_data": {"store_page_id": "123", "brand_page_id": "7", "store_code": "B7"}},
    ),
    ({"properties": {"check_in": {"column": "c", "type": "date"}}}, "2026-12-01", {"check_in": "2026-12-01"}),
    ({"properties": {"rooms": {"column": "c", "type": "integer"}}}, "2", {"rooms": 2}),
]  # fmt: skip


def _built(sections: dict[str, Any], row: dict[str, Any], now: datetime = NOW) -> BuiltEvents:
    batch = pa.record_batch({name: [value] for name, value in row.items()})
    mapped = map_rows(SourceRows(batch, "rows", 1), MappingSpec.model_validate(LEAST | sections))
    return build_events(hash_identity(mapped, clients=CLIENTS), clients=CLIENTS, zone="UTC", now=now)


def _json(built: BuiltEvents) -> Any:
    assert built.unsent.table.to_pylist() == []
    return json.loads(built.events.table["body"][0].as_py())


@pytest.mark.parametrize(
    ("yaml", "value", "expected"), EVENT, ids=lambda part: next(iter(part), "") if isinstance(part, dict) else ""
)
def test_a_parameter_of_the_event_goes_from_yaml_to_json(
    yaml: dict[str, Any], value: Any, expected: dict[str, Any]
) -> None:
    money = {"custom_data": MONEY} if yaml.get("name") == "Purchase" else {}

    event = _json(_built({"event": LEAST["event"] | yaml, **money}, ROW | {"c": value}))

    assert {name: event.get(name) for name in expected} == expected
    assert find_objection(event, NOW.timestamp()) is None


@pytest.mark.parametrize(
    ("yaml", "value", "expected"), CUSTOM, ids=lambda part: next(iter(part), "") if isinstance(part, dict) else ""
)
def test_a_parameter_of_custom_data_goes_from_yaml_to_json(
    yaml: dict[str, Any], value: Any, expected: dict[str, Any]
) -> None:
    event = _json(_built({"custom_data": yaml}, ROW | {"c": value}))

    assert {name: event["custom_data"].get(name) for name in expected} == expected
    assert find_objection(event, NOW.timestamp()) is None


def test_the_tables_above_leave_no_parameter_out() -> None:
    """Of ours, and of those that the SDK knows; ``delivery_category`` and the like stand in both."""
    event = {name for _, _, expected in EVENT for name in expected}
    custom = {name for _, _, expected in CUSTOM for name in expected}

    assert event == set(EVENT_KEYS) == set(_EVENT_KINDS)
    assert custom >= set(CUSTOM_DATA_KEYS)
    assert set(Event.param_types) - {"user_data", "custom_data"} <= event
    assert set(CustomData.param_types) - {"custom_properties"} <= custom


# ---------------------------------------------------------------------------------------------- whole payloads


def test_an_appended_value_points_at_its_purchase() -> None:
    """meta-capi.md 3.4: what a customer is worth became known a day later."""
    event = {"name": "AppendValue", "id": "ltv-{id}", "action_source": "system_generated"}
    original = {"original_event": {"name": "Purchase", "id": "order-{id}", "time": "bought_at"}}
    custom = {"predicted_ltv": "ltv", "currency": "USD"}

    built = _built(
        {"event": event | original, "custom_data": custom}, ROW | {"bought_at": "2026-11-22T10:00:00Z", "ltv": 120.5}
    )

    assert _json(built)["original_event_data"] == {
        "event_name": "Purchase",
        "event_time": 1795341600,
        "event_id": "order-7",
    }
    assert built.warnings == {}


GOLDEN = Path(__file__).parent / "golden" / "platform_guide_sample.json"


def test_the_sample_of_metas_platform_guide_comes_out_of_rows() -> None:
    """Rows, map, hash, build, envelope: its bytes, but for the id and the source, which it leaves out and we do not."""
    sample = json.loads(GOLDEN.read_text(encoding="utf-8"))
    rows = pa.record_batch(
        {
            "digest": [event["user_data"]["em"] for event in sample["data"]],
            "what": ["PageView", "Purchase"],
            "at": [1579645238] * 2,
            "amount": [None, "50"],
            "money": [None, "USD"],
        }
    )
    upload = {
        "client": "acme",
        "window": {"column": "at"},
        "event": {"name": {"column": "what"}, "id": "{what}-{at}", "action_source": "website"},
        "user_data": {"em": {"column": "digest", "hashed": True}},
        "custom_data": {"value": {"column": "amount", "type": "string"}, "currency": "money"},
    }

    mapped = map_rows(SourceRows(rows, "rows", 1), MappingSpec.model_validate(upload))
    hashed = hash_identity(mapped, clients=CLIENTS)
    built = build_events(hashed, clients=CLIENTS, zone="UTC", now=datetime.fromtimestamp(1579645300, UTC))
    request = json.loads(b"".join(make_payload(built.events, Envelope(partner_agent="datapartner"))))

    for event in request["data"]:
        assert event.pop("event_id")
        assert event.pop("action_source") == "website"
    assert _bytes(request) == _bytes(sample)


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


# ---------------------------------------------------------------------------------------------- settings of a night

CONFIG = {
    "clients.yml": "platform: {{ledger: 'sqlite:///{home}/ledger.db', stage: {home}/stage, {platform}}}\n"
    "clients: {{acme: {{pixel_id: '1234567890', token: {{env: T}}}}}}\n",
    "uploads/leads.yml": "client: acme\nsource: {{path: {home}/rows.csv}}\nwindow: {{column: at}}\n"
    "event: {{name: Lead, id: '{{id}}', action_source: other}}\nuser_data: {{lead_id: lead}}\n",
}


@pytest.mark.parametrize(
    ("platform", "sendable"),
    [("profile: meta", 2), ("age_margin: 0s", 3), ("age_margin: 6d", 1), ("clock_skew: 2m", 3), ("clock_skew: 59s", 1)],
)
def test_p05_margin_and_skew_are_settings_of_the_platform(tmp_path: Path, platform: str, sendable: int) -> None:
    times = [
        "2026-11-17T02:59:59Z",
        "2026-11-17T03:00:00Z",
        "2026-11-23T00:00:00Z",
        "2026-11-24T03:01:00Z",
        "2026-11-24T03:01:01Z",
    ]
    (tmp_path / "uploads").mkdir()
    for name, text in CONFIG.items():
        (tmp_path / name).write_text(text.format(home=tmp_path, platform=platform), encoding="utf-8")
    rows = [f"{time},{number},123456789012345" for number, time in enumerate(times, start=1)]
    (tmp_path / "rows.csv").write_text("\n".join(["at,id,lead", *rows]), encoding="utf-8")
    deployment = load_config(tmp_path, environ={})

    with open_services(deployment, EnvironmentSecrets({}), clock=lambda: NOW) as services:
        report = plan_upload(
            deployment.uploads["leads"],
            Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
            services,
            check_access=False,
        )

    assert report.tally.count(Fate.SENT) == sendable


def test_p05_the_defaults_are_an_hour_and_a_minute() -> None:
    assert (Platform().age_margin, Platform().clock_skew) == (AGE_MARGIN, CLOCK_SKEW)
    assert (AGE_MARGIN.total_seconds(), CLOCK_SKEW.total_seconds()) == (3600, 60)
