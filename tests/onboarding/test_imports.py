"""`offline-capi import`: what another tool's mapping says, in files as those tools keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.night import Said
from tests.support.sandbox_server import Sandbox
from tests.support.shop import PIXEL, Shop

DRT: dict[str, Any] = {
    "name": "purchases_to_meta",
    "model": "ref('fct_orders')",
    "destination": {
        "type": "meta_conversions",
        "pixel_id": PIXEL,
        "access_token_env": "META_CONVERSIONS_ACCESS_TOKEN",
        "api_version": "v25.0",
        "action_source": "website",
        "event_name": "Purchase",
        "event_time_field": "occurred_at",
        "event_id_field": "event_id",
        "event_source_url_field": "page_url",
        "email_field": "email",
        "client_user_agent_field": "user_agent",
        "fbc_field": "fbc",
        "value_field": "revenue",
        "currency": "USD",
        "rate_limit": {"requests_per_second": 5},
    },
    "sync": {"mode": "incremental", "cursor_field": "updated_at"},
}
SEGMENT: dict[str, Any] = {
    "name": "Purchase",
    "partnerAction": "purchase",
    "subscribe": 'type = "track" and event = "Order Completed"',
    "mapping": {
        "action_source": "website",
        "currency": {"@path": "$.properties.currency"},
        "event_time": {"@path": "$.timestamp"},
        "event_id": {"@path": "$.messageId"},
        "event_source_url": {"@path": "$.context.page.url"},
        "value": {"@path": "$.properties.revenue"},
        "content_name": {"@template": "{{properties.brand}} {{properties.name}}"},
        "content_ids": {"@path": "$.properties.products[0].sku"},
        "contents": {
            "@arrayPath": [
                "$.properties.products",
                {"id": {"@path": "$.product_id"}, "quantity": {"@path": "$.quantity"}},
            ]
        },
        "user_data": {
            "externalId": {
                "@if": {
                    "exists": {"@path": "$.userId"},
                    "then": {"@path": "$.userId"},
                    "else": {"@path": "$.anonymousId"},
                }
            },
            "email": {"@path": "$.context.traits.email"},
            "dateOfBirth": {"@path": "$.context.traits.birthday"},
            "city": {"@case": {"operator": "lower", "value": {"@path": "$.context.traits.address.city"}}},
            "leadID": {"@path": "$.properties.lead"},
        },
        "custom_data": {"coupon": {"@path": "$.properties.coupon"}, "tier": "gold"},
    },
}
HIGHTOUCH: dict[str, Any] = {
    "destination": "facebook-conversions-prod",
    "model": "orders-model",
    "schedule": {"type": "cron", "expression": "0 3 * * *"},
    "config": {
        "eventName": "Purchase",
        "eventTime": {"from": "ordered_at"},
        "actionSource": "physical_store",
        "dataProcessing": "ldu",
        "mappings": [
            {"from": "order_id", "to": "event_id", "type": "standard"},
            {"from": "email_address", "to": "email", "type": "standard"},
            {"from": "first", "to": "fn"},
            {"from": "total", "to": "custom_data.value", "type": "standard"},
            {"to": "currency", "type": "static", "value": "EUR"},
            {"to": "custom_data.store", "type": "template", "template": "{{ row['country'] }}-{{ row.store }}"},
            {"to": "ht_sync_run_id", "type": "variable", "variable": "sync-run-id"},
            {"to": "custom_data.note", "type": "template", "template": "{{ row.note | upcase }}"},
        ],
    },
}


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    return Shop(tmp_path, sandbox)


def imported(shop: Shop, tool: str, data: dict[str, Any]) -> tuple[Said, dict[str, Any]]:
    text = json.dumps(data) if tool == "segment" else yaml.safe_dump(data, sort_keys=False)
    shop.write(f"theirs/mine.{'json' if tool == 'segment' else 'yml'}", text)
    said = shop.run("import", tool, f"theirs/mine.{'json' if tool == 'segment' else 'yml'}", "--json")
    written = shop.home / "dags/uploads/mine.yml"
    return said, yaml.safe_load(written.read_text("utf-8")) if written.exists() else {}


def test_a_sync_of_drt_becomes_an_upload_that_passes_check(shop: Shop):
    said, upload = imported(shop, "drt", DRT)

    assert (said.code, said.json["problems"]) == (0, [])
    assert shop.run("check", "mine").code == 0
    assert upload["client"] == "shop"
    assert upload["event"] == {
        "action_source": "website",
        "name": "Purchase",
        "time": {"column": "occurred_at", "unit": "s"},
        "id": "event_id",
        "source_url": "page_url",
    }
    assert upload["user_data"] == {"em": "email", "client_user_agent": "user_agent", "fbc": "fbc"}
    assert upload["custom_data"] == {"value": {"column": "revenue", "type": "number"}, "currency": "USD"}
    assert "FROM fct_orders WHERE updated_at >= :since AND updated_at < :until" in upload["source"]["sql"]


def test_a_subscription_of_segment_becomes_an_upload_with_its_trigger_as_filter(shop: Shop):
    said, upload = imported(shop, "segment", SEGMENT)

    assert upload["filter"] == {"type": "track", "event": "Order Completed"}
    assert upload["event"]["name"] == "Purchase"
    assert upload["user_data"]["external_id"] == {"coalesce": ["userId", "anonymousId"]}
    assert upload["user_data"]["ct"] == {"column": "context.traits.address.city", "text": ["lower"]}
    assert upload["user_data"]["lead_id"] == "properties.lead"
    assert upload["custom_data"]["content_name"] == {"template": "{properties.brand} {properties.name}"}
    assert upload["custom_data"]["properties"] == {"coupon": "properties.coupon", "tier": {"constant": "gold"}}
    assert any("products[0].sku" in todo for todo in said.json["todos"])
    assert any("id from product_id" in todo for todo in said.json["todos"])
    assert (said.json["problems"], upload["custom_data"]["content_ids"]) == ([], None)


def test_a_sync_of_hightouch_becomes_an_upload_that_names_what_is_left(shop: Shop):
    said, upload = imported(shop, "hightouch", HIGHTOUCH)

    assert upload["event"] == {
        "id": "order_id",
        "name": "Purchase",
        "time": "ordered_at",
        "action_source": "physical_store",
    }
    assert upload["user_data"] == {"em": "email_address", "fn": "first"}
    assert upload["custom_data"] == {
        "value": {"column": "total", "type": "number"},
        "currency": {"constant": "EUR"},
        "properties": {"store": {"template": "{country}-{store}"}},
    }
    assert ["source.sql" in problem["path"] for problem in said.json["problems"]] == [True]
    todos = " ".join(said.json["todos"])
    assert all(word in todos for word in ("ht_sync_run_id", "custom_data.note", "config.dataProcessing"))


def test_p09_no_token_is_taken_over(shop: Shop):
    token = "EAAB" + "x" * 40
    said, _ = imported(shop, "drt", DRT | {"destination": DRT["destination"] | {"access_token": token}})
    segment, _ = imported(shop, "segment", SEGMENT | {"mapping": SEGMENT["mapping"] | {"content_name": token}})

    assert token not in "".join(path.read_text("utf-8") for path in (shop.home / "dags").rglob("*.yml"))
    assert token not in said.out + said.err + segment.out + segment.err


def test_an_upload_that_is_there_is_not_replaced(shop: Shop):
    imported(shop, "drt", DRT)
    written = shop.home / "dags/uploads/mine.yml"
    written.write_text("mine: own\n", "utf-8")

    said, _ = imported(shop, "drt", DRT)

    assert (said.code, written.read_text("utf-8")) == (2, "mine: own\n")


@pytest.mark.parametrize(
    ("tool", "text", "said"),
    [
        ("drt", "destination: {type: slack}", "this is no drt sync to Meta"),
        ("segment", '{"mapping": {}}', "this is no mapping of Segment's"),
        ("segment", '{"mapping": ', "is not valid JSON"),
        ("hightouch", "config: {object: contacts}", "it needs config.mappings"),
        ("hightouch", "config: [", "is not valid YAML"),
        ("hightouc", "", 'did you mean "hightouch"?'),
        ("segment", '[{"mapping": {}}, {"mapping": {}}]', "a list of 2; give a file with one of them"),
    ],
)
def test_a_file_that_is_none_of_the_tools_is_refused_in_words(shop: Shop, tool: str, text: str, said: str):
    shop.write("theirs.txt", text)

    found = shop.run("import", tool, "theirs.txt")

    assert (found.code, said in found.err) == (2, True), found.err
    assert "Traceback" not in found.err
