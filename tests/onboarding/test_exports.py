"""Exports of Meta, shops, tills and CRMs work as they come: proposed by ``init``, run, and with the right values."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.onboarding.beginner import Beginner
from tests.support.exports import EXPORTS, write_export
from tests.support.night import yesterday
from tests.support.sandbox_server import PIXEL, TOKEN, Sandbox

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"


@pytest.fixture
def beginner(tmp_path: Path, sandbox: Sandbox) -> Beginner:
    return Beginner(tmp_path, {"ACME_TOKEN": TOKEN, "OFFLINE_CAPI_GRAPH_URL": sandbox.url})


def digest(normal: str) -> str:
    return sha256(normal.encode()).hexdigest()


def moment(day: date, clock: str, zone: str) -> int:
    """Unix seconds of a wall time."""
    return int(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone)).timestamp())


def only_rows(column: str, equals: str | list[str]) -> dict[str, Any]:
    """The section that keeps the rows that are meant."""
    return {"filter": {column: equals}}


class Export:
    """What a person says of an export that it does not say itself, and what is to come of it."""

    def __init__(self, said: str, zone: str, sections: dict[str, Any], events: Any, balance: str) -> None:
        self.said, self.zone, self.sections = said.split(), zone, sections
        self.events, self.balance = events, balance


CASES: dict[str, Export] = {
    "meta_leads": Export(
        "--timezone America/New_York",
        NEW_YORK,
        {
            "source": {"path": "meta_leads.csv", "delimiter": "\t"},
            "window": {"column": "created_time", "timezone": NEW_YORK},
            "event": {"name": "Lead", "id": "id", "action_source": "system_generated"},
            "user_data": {"em": "email", "ph": "phone_number", "zp": "zip_code", "lead_id": "id"},
            "custom_data": {"event_source": "crm", "lead_event_source": "Meta Lead Ads"},
        },
        lambda day: {
            "1180000000000101": {
                "event_time": moment(day, "08:11:12", "Etc/GMT+5"),
                "user_data": {
                    "em": digest("ada.moss@mailbox.example.net"),
                    "ph": digest("16175550101"),
                    "zp": digest("02134"),
                    "lead_id": 1180000000000101,
                },
                "custom_data": {"event_source": "crm", "lead_event_source": "Meta Lead Ads"},
            },
            "1180000000000102": {
                "user_data.ph": digest("4930901820"),
                "user_data.em": digest("jörg.kühn@post.example.org"),
            },
            "1180000000000104": {"user_data.zp": digest("07028")},
        },
        "4 read = 3 sent + 1 suppressed",
    ),
    "shopify_orders": Export(
        "--timezone America/New_York",
        NEW_YORK,
        {
            "source": {"path": "shopify_orders.csv"},
            "window": {"column": "Created at", "timezone": NEW_YORK},
            "event": {"name": "Purchase", "id": "Name", "action_source": "website"},
            "custom_data": {
                "value": {"column": "Total", "type": "number"},
                "currency": "Currency",
                "order_id": "Name",
            },
            **only_rows("Financial Status", "paid"),
        },
        lambda day: {
            "#2001": {
                "event_time": moment(day, "09:12:40", "Etc/GMT+5"),
                "custom_data": {"value": 88.5, "currency": "USD", "order_id": "#2001"},
                "user_data.em": digest("mara.voss@mailbox.example.net"),
                "user_data.zp": digest("02134"),
                "user_data.st": digest("ma"),
            },
            "#2002": {
                "custom_data.value": 19.0,
                "user_data.zp": digest("07028"),
                "user_data.ph": [digest("12015550188")],
            },
        },
        "2 read = 2 sent",
    ),
    "square_transactions": Export(
        "--currency USD",
        NEW_YORK,
        {
            "source": {"path": "square_transactions.csv"},
            "window": {"template": "{Date} {Time}", "format": ["%m/%d/%Y %I:%M:%S %p"], "timezone": NEW_YORK},
            "event": {"name": "Purchase", "id": "Transaction ID", "action_source": "physical_store"},
            "user_data": {
                "fn": {"column": "Customer Name", "text": [{"split": {"by": " ", "part": 1}}, "trim"]},
                "ln": {"column": "Customer Name", "text": [{"split": {"by": " ", "part": -1}}, "trim"]},
                "external_id": "Customer ID",
            },
            "custom_data": {
                "value": {"column": "Net Sales", "type": "money"},
                "currency": "USD",
                "order_id": "Transaction ID",
            },
            **only_rows("Event Type", "Payment"),
        },
        lambda day: {
            "TX900aaa": {
                "event_time": moment(day, "09:30:05", NEW_YORK),
                "custom_data": {"value": 1012.5, "currency": "USD", "order_id": "TX900aaa"},
            },
            "TX901bbb": {"event_time": moment(day, "14:30:00", NEW_YORK), "custom_data.value": 60.0},
        },
        "2 read = 2 sent",
    ),
    "woocommerce_orders": Export(
        "--currency EUR --timezone Europe/Berlin --country DE",
        BERLIN,
        {
            "source": {"path": "woocommerce_orders.csv"},
            "window": {"column": "Order Date", "timezone": BERLIN},
            "event": {"name": "Purchase", "id": "Order Number", "action_source": "website"},
            "custom_data": {
                "value": {"column": "Order Total Amount", "type": "number"},
                "currency": "EUR",
                "order_id": "Order Number",
            },
            **only_rows("Order Status", ["Completed", "Processing"]),
        },
        lambda day: {
            "5001": {
                "event_time": moment(day, "14:03", BERLIN),
                "custom_data": {"value": 44.9, "currency": "EUR", "order_id": "5001"},
                "user_data.ln": digest("müller"),
                "user_data.ph": digest("4930901820"),
                "user_data.zp": digest("01067"),
                "user_data.st": digest("sn"),
            },
            "5002": {"custom_data.value": 12.0},
        },
        "2 read = 2 sent",
    ),
    "stripe_payments": Export(
        "--action-source website",
        "UTC",
        {
            "source": {"path": "stripe_payments.csv"},
            "window": {"column": "Created (UTC)", "timezone": "UTC"},
            "event": {"name": "Purchase", "id": "id", "action_source": "website"},
            "custom_data": {"value": {"column": "Amount", "type": "number"}, "currency": "Currency", "order_id": "id"},
            **only_rows("Status", "Paid"),
        },
        lambda day: {
            "ch_3Paaaaaaaaaaaaaaaaaaaaaaa": {
                "event_time": moment(day, "14:30", "UTC"),
                "custom_data": {"value": 1250.0, "currency": "EUR", "order_id": "ch_3Paaaaaaaaaaaaaaaaaaaaaaa"},
                "user_data.em": digest("ines.roy@mailbox.example.net"),
                "user_data.zp": digest("69001"),
            },
            "ch_3Pbbbbbbbbbbbbbbbbbbbbbbb": {"custom_data.value": 49.9, "custom_data.currency": "USD"},
        },
        "2 read = 2 sent",
    ),
    "salesforce_opportunities": Export(
        "--event DealWon --timezone Europe/Berlin --country DE",
        BERLIN,
        {
            "source": {"path": "salesforce_opportunities.csv", "encoding": ["utf-8", "cp1252"]},
            "window": {"column": "Close Date", "timezone": BERLIN},
            "event": {
                "time": {"column": "Close Date", "type": "timestamp", "format": "%m/%d/%Y"},
                "name": "DealWon",
                "id": "Opportunity ID",
                "action_source": "system_generated",
            },
            "custom_data": {
                "value": {"column": "Amount", "type": "number"},
                "currency": "Amount Currency",
                "order_id": "Opportunity ID",
            },
            **only_rows("Stage", "Closed Won"),
        },
        lambda day: {
            "0065g00000AbCdE": {
                "event_time": moment(day, "00:00", BERLIN),
                "custom_data": {"value": 25000.0, "currency": "EUR", "order_id": "0065g00000AbCdE"},
                "user_data.ln": digest("müller"),
                "user_data.country": digest("de"),
            },
            "0065g00000AbCdF": {"custom_data.value": 9900.5, "user_data.ph": digest("4930901821")},
        },
        "2 read = 2 sent",
    ),
    "hubspot_contacts": Export(
        "--event NewCustomer --timezone America/New_York --country US",
        NEW_YORK,
        {
            "source": {"path": "hubspot_contacts.csv"},
            "window": {"column": "Became a Customer Date", "timezone": NEW_YORK},
            "event": {"name": "NewCustomer", "id": "customer-{Record ID}", "action_source": "system_generated"},
            **only_rows("Lifecycle Stage", "Customer"),
        },
        lambda day: {
            "customer-80010000101": {
                "event_time": moment(day, "09:30", NEW_YORK),
                "user_data.st": digest("ma"),
                "user_data.country": digest("us"),
            },
            "customer-80010000102": {"user_data.ln": digest("ohara"), "user_data.ph": digest("12015550188")},
        },
        "2 read = 2 sent",
    ),
    "excel_sheet": Export(
        "--event Purchase --action-source physical_store --timezone America/New_York --country US",
        NEW_YORK,
        {
            "source": {"path": "excel_sheet.xlsx"},
            "window": {"column": "Sold at", "timezone": NEW_YORK},
            "event": {"name": "Purchase", "id": "{Order no:integer}", "action_source": "physical_store"},
            "custom_data": {
                "value": {"column": "Total", "type": "number"},
                "currency": "Currency",
                "order_id": "Order no",
            },
        },
        lambda day: {
            "100245": {
                "event_time": moment(day, "10:15:00", NEW_YORK),
                "custom_data": {"value": 129.9, "currency": "USD", "order_id": "100245"},
                "user_data.ph": digest("16175550101"),
                "user_data.zp": digest("02134"),
            },
            "100246": {"custom_data.value": 45.0, "user_data.zp": digest("07028")},
            "100247": {"custom_data.value": 80.25},
        },
        "3 read = 3 sent",
    ),
}


def test_every_sample_is_tried() -> None:
    assert {path.stem for path in EXPORTS.glob("*.csv")} == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_export_is_sent_as_it_comes(beginner: Beginner, sandbox: Sandbox, name: str) -> None:
    case, day = CASES[name], yesterday(CASES[name].zone)
    file = write_export(name, beginner.home, day)

    proposed = beginner.init(file, "--client", "acme", "--pixel", PIXEL, *case.said, "--yes")
    sent = beginner.run("upload", name, "--since", day.isoformat(), "--no-settle")

    assert proposed.code == 0, proposed.out + proposed.err
    written = beginner.upload(name)
    assert {section: written[section] for section in case.sections} == case.sections
    assert case.balance in sent.out, sent.out + sent.err
    assert sent.code == 0
    arrived = {event["event_id"]: event for event in sandbox.events}
    for event_id, wanted in case.events(day).items():
        assert {path: _part(arrived[event_id], path) for path in wanted} == wanted
    assert arrived.keys() == case.events(day).keys()


def _part(event: dict[str, Any], path: str) -> Any:
    for step in path.split("."):
        event = event[step]
    return event


@pytest.mark.parametrize("name", sorted(set(CASES) - {"excel_sheet"}))
def test_a_known_export_is_named(beginner: Beginner, name: str) -> None:
    said = beginner.init(
        write_export(name, beginner.home, yesterday("UTC")), "--client", "acme", "--pixel", PIXEL, "--yes"
    )

    assert re.search(r"recognised as \S", said.out)


def test_what_a_person_says_counts_before_what_is_known_of_an_export(beginner: Beginner) -> None:
    file = write_export("shopify_orders", beginner.home, yesterday("UTC"))

    beginner.init(
        file, "--client", "acme", "--pixel", PIXEL, "--yes", "--event", "Subscribe", "--action-source",
        "physical_store", "--id", "order-{Id}", "--time", "Paid at", "--value", "Subtotal", "--map",
        "external_id=Email",
    )  # fmt: skip

    upload = beginner.upload("shopify_orders")
    assert upload["event"] == {"name": "Subscribe", "id": "order-{Id}", "action_source": "physical_store"}
    assert upload["window"]["column"] == "Paid at"
    assert upload["custom_data"]["value"]["column"] == "Subtotal"
    assert upload["user_data"]["external_id"] == "Email"
    assert "em" not in upload["user_data"]


def test_a_template_of_columns_may_be_the_time(beginner: Beginner) -> None:
    file = write_export("square_transactions", beginner.home, yesterday("UTC"))

    wrong = beginner.init(file, "--client", "acme", "--pixel", PIXEL, "--yes", "--time", "{Date} {Tme}")

    assert wrong.code == 2
    assert 'there is no column "Tme"; did you mean "Time"?' in wrong.err


def test_ids_that_a_spreadsheet_rounded_are_left_to_a_person(beginner: Beginner) -> None:
    """Sixteen digits, of which the last is 0 in every row."""
    day = datetime.now(UTC).date() - timedelta(days=1)
    rows = [
        {"order_id": str(1_180_000_000_000_000 + 10 * at * at), "sold_at": f"{day} 10:00:0{at}", "total": "5.00",
         "email": f"p{at}@post.example.org", "customer_id": str(7_700_000_000_000_120 + 10 * at)}
        for at in range(1, 9)
    ]  # fmt: skip

    said = beginner.init(
        beginner.csv("sales.csv", rows), "--client", "acme", "--pixel", PIXEL, "--event", "Purchase", "--action-source",
        "physical_store", "--timezone", "UTC", "--currency", "USD", "--yes",
    )  # fmt: skip

    assert said.code == 2
    assert "it rounds to 15" in " ".join(said.out.split())
    upload = beginner.upload("sales")
    assert upload["event"]["id"] is None
    assert set(upload["user_data"]) == {"em"}
