"""A client whose access was found broken is not asked again every night, until a good test says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.support.night import PIXELS, Night
from tests.support.sandbox_server import Sandbox

TOKEN, PIXEL = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], PIXELS["CORNER_SHOP_TOKEN"]
OTHER = PIXELS["NORDIC_OUTLET_TOKEN"]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


def test_a_client_that_the_daily_check_found_broken_is_held_and_the_others_go(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    checked = night.run("clients", "health")
    asked = len(sandbox.requests_to(PIXEL))

    said = night.run("upload", "store_purchases")

    assert (checked.code, said.code) == (1, 1)
    assert len(sandbox.requests_to(PIXEL)) == asked
    assert sandbox.ids_of(OTHER)
    assert "clients test corner_shop" in said.out


def test_a_good_test_lets_it_send_again(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    night.run("clients", "health")
    sandbox.grant(TOKEN, [PIXEL])

    still_held = night.run("upload", "store_purchases")
    tested = night.run("clients", "test", "corner_shop", "--probe")
    said = night.run("upload", "store_purchases")

    assert (still_held.code, tested.code, said.code) == (1, 0, 0)
    assert sandbox.ids_of(PIXEL)


def test_another_token_is_given_a_chance(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    night.run("clients", "health")
    sandbox.grant("EAA-a-new-one", [PIXEL])

    said = night.run("upload", "store_purchases", env={"CORNER_SHOP_TOKEN": "EAA-a-new-one"})

    assert said.code == 0
    assert sandbox.ids_of(PIXEL)
