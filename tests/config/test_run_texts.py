"""What stands beside the events may name the run; the events stay the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tests.support.shop import Shop, order

DAY = yesterday("America/New_York")


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    found = Shop(tmp_path, sandbox)
    found.orders(order(DAY, "#1"), order(DAY, "#2"))
    return found


def test_a_tag_names_upload_client_days_and_run(shop: Shop):
    tag = "{upload}/{client}/{since}/{until:%Y%m%d}/{run}"
    shop.upload(delivery={"upload_tag": tag})

    done = shop.run("upload", "orders", "--json")
    plain = shop.sandbox.events
    [request] = shop.sandbox.requests

    days = f"{DAY}/{DAY.fromordinal(DAY.toordinal() + 1):%Y%m%d}"
    assert request["fields"]["upload_tag"] == f"orders/shop/{days}/{done.json['run']}"
    shop.upload(delivery={"upload_tag": "other-{since:%j}"})
    again = shop.run("upload", "orders", "--json").json
    assert (again["rows"]["already_sent"], shop.sandbox.events) == (2, plain)


def test_an_agent_names_its_client(shop: Shop):
    shop.edit("dags/clients.yml", ("datapartner", '"dp_{client}"'))

    shop.run("upload", "orders")
    shop.run("clients", "test", "shop", "--test-event-code", "TEST1")

    assert {request["fields"]["partner_agent"] for request in shop.sandbox.requests} == {"dp_shop"}


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("{uplaod}", '"{uplaod}" is no name that can stand here; did you mean "upload"?'),
        ("{client:%Y}", "takes no format"),
        ("{since:%Q}", "has a directive that is none of"),
        ("{since", "has a brace without its partner"),
        ("{upload.name}", "is no name that can stand here"),
        ("x" * 101, "is 101 characters long in a request; 100 at most"),
        ("{run}" + "é" * 13, "is 102 characters long in a request"),
    ],
)
def test_check_refuses_a_tag_that_cannot_be_filled_in(shop: Shop, tag: str, said: str):
    shop.upload(delivery={"upload_tag": tag})

    found = shop.run("check")

    assert (found.code, said in found.err, "delivery.upload_tag" in found.err) == (2, True, True), found.err


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("dp_{clint}", 'did you mean "client"?'),
        ("dp_{run}", "is no name that can stand here"),
        ("a_very_long_agent_{client}", 'is "a_very_long_agent_shop" for client "shop", which needs fewer than 23'),
    ],
)
def test_check_refuses_an_agent_that_meta_would(shop: Shop, agent: str, said: str):
    shop.edit("dags/clients.yml", ("datapartner", f'"{agent}x"' if "long" in agent else f'"{agent}"'))

    found = shop.run("check")

    assert (found.code, said.replace("agent_shop", "agent_shopx") in found.err) == (2, True), found.err
