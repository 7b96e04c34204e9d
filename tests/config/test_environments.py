"""One folder, two pixels: what one environment sends, the other has not sent, and neither reaches the other's pixel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tests.support.shop import CLIENTS, PIXEL, STAGING_PIXEL, Shop, order

DAY = yesterday("America/New_York")
STAGING = f"""
environments:
  staging:
    clients:
      shop: {{pixel_id: "{STAGING_PIXEL}", token: {{env: STAGING_TOKEN}}}}
"""


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    found = Shop(tmp_path, sandbox)
    found.write("dags/clients.yml", CLIENTS + STAGING)
    found.orders(order(DAY, "#1"), order(DAY, "#2"))
    return found


def test_p18_an_environment_has_its_own_pixel_ledger_and_days(shop: Shop):
    """The same file is sent to both: neither run counts as the other's."""
    staged = shop.run("upload", "orders", "--environment", "staging", "--json")
    first, days = shop.run("upload", "orders", "--json"), shop.run("status", "--days", "orders", "--json").json
    again = shop.run("upload", "orders", "--json", env={"OFFLINE_CAPI_ENVIRONMENT": "staging"})

    assert [one.json["rows"]["sent"] for one in (staged, first, again)] == [2, 2, 0]
    assert again.json["rows"]["already_sent"] == 2
    assert [len(shop.sandbox.ids_of(pixel)) for pixel in (PIXEL, STAGING_PIXEL)] == [2, 2]
    assert (staged.json["environment"], "environment" in first.json) == ("staging", False)
    assert staged.json["ledger"].endswith("ledger.staging.db")
    assert first.json["ledger"].endswith("ledger.db")
    assert len(days) >= 1
    assert "environment staging" in shop.run("report", "last", "--environment", "staging").out


def test_what_an_environment_says_stands_before_the_variable_of_the_ledger(shop: Shop):
    shop.edit("dags/clients.yml", ("  staging:\n", "  staging:\n    ledger: sqlite:///other.db\n"))

    done = shop.run("upload", "orders", "--environment", "staging", "--json")

    assert done.json["ledger"].endswith("/other.db")


def test_rows_of_clients_without_a_pixel_there_are_held(shop: Shop):
    other = 'clients:\n  other: {pixel_id: "1200000000000055", token: {env: OTHER_TOKEN}}\n'
    shop.write("dags/clients.yml", CLIENTS.replace("clients:\n", other) + STAGING)
    shop.upload(client="other")

    done = shop.run("upload", "orders", "--environment", "staging", "--json")

    assert (done.code, done.json["rows"]["deferred"], shop.sandbox.requests) == (1, 2, [])
    assert done.json["reasons"][0]["reason"] == "paused_client"


def test_connections_are_replaced_by_those_of_the_environment(shop: Shop):
    import sqlite3

    for name, orders in (("warehouse", 1), ("warehouse_staging", 3)):
        with sqlite3.connect(shop.home / f"{name}.db") as database:
            database.execute("CREATE TABLE orders (n TEXT, mail TEXT, at TEXT)")
            rows = [(f"{name}-{n}", f"{n}@example.com", f"{DAY}T12:00:00") for n in range(orders)]
            database.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    shop.env["OFFLINE_CAPI_CONN_WAREHOUSE_STAGING"] = f"sqlite:///{shop.home / 'warehouse_staging.db'}"
    shop.edit("dags/clients.yml", ("  staging:\n", "  staging:\n    connections: {warehouse: warehouse_staging}\n"))
    shop.upload(
        source={"connection": "warehouse", "sql": "SELECT * FROM orders WHERE at >= :since AND at < :until"},
        window={"column": "at", "timezone": "America/New_York"},
        event={"name": "Lead", "id": "n", "action_source": "other"},
        user_data={"em": "mail"},
        custom_data={},
    )

    read = [
        shop.run("plan", "orders", "--json", *more).json["rows"]["read"] for more in ([], ["--environment", "staging"])
    ]

    assert read == [1, 3]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (STAGING_PIXEL, PIXEL, 'is the pixel of client "shop" outside of this environment'),
        ("      shop:", "      shopp:", 'client "shopp" is not under clients; did you mean "shop"?'),
        ("    clients:\n      shop", "    graphurl: x\n    clients:\n      shop", 'did you mean "graph_url"?'),
        ("    clients:\n      shop", "    test_event_code: T1\n    clients:\n      shop", "belongs to one run"),
        ("    clients:\n      shop", "    stage: stage\n    clients:\n      shop", "is the platform's stage"),
        (
            "    clients:\n      shop",
            "    ledger: sqlite:///offline_capi_ledger.db\n    clients:\n      shop",
            "is the platform's ledger",
        ),
    ],
)
def test_check_refuses_an_environment_that_is_none(shop: Shop, old: str, new: str, said: str):
    path = shop.home / "dags/clients.yml"
    text = path.read_text("utf-8")
    before, _, after = text.rpartition(old)
    path.write_text(before + new + after, "utf-8")

    found = shop.run("check")

    assert (found.code, said in found.err) == (2, True), found.err
    assert "dags/clients.yml:" in found.err


def test_a_ledger_that_is_no_file_needs_one_of_its_own(shop: Shop):
    shop.env["OFFLINE_CAPI_LEDGER"] = "postgresql+psycopg://user@host/ledger"

    found = shop.run("check", "--environment", "staging")

    assert (found.code, "give environments.staging.ledger" in found.err) == (2, True), found.err


def test_an_environment_that_is_not_there_is_asked_about(shop: Shop):
    found = shop.run("check", "--environment", "stagin")

    assert found.code == 2
    assert 'there is no environment "stagin" in clients.yml; did you mean "staging"?' in found.err


def test_two_environments_share_no_ledger(shop: Shop):
    other = STAGING.replace("staging:", "test:").replace(STAGING_PIXEL, "1200000000000092").split("environments:\n")[1]
    text = (CLIENTS + STAGING + other).replace("    clients:", "    ledger: sqlite:///both.db\n    clients:")
    shop.write("dags/clients.yml", text)

    found = shop.run("check")

    assert found.code == 2
    assert "environments.test.ledger  is that of the environment staging; each needs one of its own" in found.err
