"""Tables joined by a key: read with all the safety of a source, refused where they are ambiguous."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tests.support.shop import Shop, order

DAY = yesterday("America/New_York")
CRM = "number,mail,crm_id\n#1,first@crm.example.com,C-1\n#2,second@crm.example.com,C-2\n"
MAPPED = {"em": "crm.mail", "external_id": "crm.crm_id"}


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    found = Shop(tmp_path, sandbox)
    found.orders(order(DAY, "#1"), order(DAY, "#2"), order(DAY, "#3"))
    found.write("data/crm.csv", CRM)
    return found


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_identity_comes_from_a_csv_by_key_and_missing_keys_are_counted(shop: Shop):
    shop.upload(
        lookups={"crm": {"path": "data/crm.csv", "key": "number", "by": "Name"}},
        user_data=MAPPED | {"ph": {"constant": "+16175550123"}},
    )

    done = shop.run("upload", "orders", "--json")
    sent = {event["event_id"]: event["user_data"] for event in shop.sandbox.events}

    assert (done.code, done.json["rows"]["sent"]) == (0, 3)
    assert sent["shop-#1"]["em"] == digest("first@crm.example.com")
    assert "em" not in sent["shop-#3"]
    assert ["lookups.crm", "Name", "not_found", 1] in done.json["tally"]["dropped"]
    assert "crm.example.com" not in done.out + done.err


def test_a_query_is_a_table_as_well_and_needs_no_window(shop: Shop):
    with sqlite3.connect(shop.home / "warehouse.db") as database:
        database.execute("CREATE TABLE crm (number TEXT, mail TEXT, crm_id TEXT)")
        database.execute("INSERT INTO crm VALUES ('#1', 'first@crm.example.com', 'C-1')")
    shop.upload(
        lookups={"crm": {"connection": "warehouse", "sql": "SELECT * FROM crm", "key": "number", "by": "Name"}},
        user_data={"em": {"coalesce": ["crm.mail", "Email"]}},
    )

    checked, done = shop.run("check", "--connect"), shop.run("upload", "orders", "--json")
    sent = {event["event_id"]: event["user_data"]["em"] for event in shop.sandbox.events}

    assert (checked.code, done.code) == (0, 0), checked.err + done.err
    assert sent["shop-#1"] == digest("first@crm.example.com")
    assert sent["shop-#2"] == digest("2@example.com")


def test_a_key_that_stands_twice_stops_the_run_without_its_value(shop: Shop):
    shop.write("data/crm.csv", f"{CRM}#1,other@crm.example.com,C-9\n")
    shop.upload(lookups={"crm": {"path": "data/crm.csv", "key": "number", "by": "Name"}}, user_data=MAPPED)

    done = shop.run("upload", "orders")

    assert (done.code, shop.sandbox.requests) == (1, [])
    assert "lookups.crm: rows of the table that repeat the key of another (number): 1" in done.err
    assert "#1" not in done.err


@pytest.mark.parametrize(
    ("lookup", "people", "said"),
    [
        ({"path": "data/crm.csv", "key": "number", "by": "Name"}, {"em": "crm.mial"}, 'did you mean "mail"?'),
        ({"path": "data/crm.csv", "key": "nummer", "by": "Name"}, MAPPED, 'did you mean "number"?'),
        ({"path": "data/crm.csv", "key": "number", "by": "Nam"}, MAPPED, 'did you mean "Name"?'),
        ({"path": "data/crm.csv", "by": "Name"}, MAPPED, "lookups.crm.key  is missing"),
        ({"path": "data/crm.csv", "key": "number"}, {"em": "Email"}, "is read for nothing"),
        ({"path": "data/crm.csv", "key": "number", "bye": "Name"}, MAPPED, 'did you mean "by"?'),
        ({"path": "data/{day}.csv", "key": "number"}, MAPPED, 'lookups.crm.path  "{day}" means nothing here'),
    ],
)
def test_check_finds_what_a_lookup_cannot_be(shop: Shop, lookup: dict[str, str], people: dict[str, str], said: str):
    shop.upload(lookups={"crm": lookup}, user_data=people)

    found = shop.run("check", "--connect")

    assert (found.code, said in found.err) == (2, True), found.err
    assert "dags/uploads/orders.yml:" in found.err


def test_a_file_that_is_missing_says_whose_it_is(shop: Shop):
    shop.upload(lookups={"crm": {"path": "data/none.csv", "key": "number", "by": "Name"}}, user_data=MAPPED)

    done = shop.run("upload", "orders")

    assert (done.code, shop.sandbox.requests) == (1, [])
    assert "lookups.crm: source.path: there is no" in done.err
    assert "data/none.csv" in done.err
