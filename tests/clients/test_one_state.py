"""A client has one state: whatever meets a fault first sets it, and every command shows the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from offline_capi.clients import RUN_REFUSED, UNTESTED_HINT, StatusBook, make_refusal_check
from offline_capi.clients.status import READS_BEFORE_LISTING, AccessFault, ClientStatus
from offline_capi.config import EnvironmentSecrets, Secret, load_config
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Fate, Outcome, Reason, Request
from offline_capi.pipeline import open_services
from offline_capi.pipeline.stages import make_access_recorder
from offline_capi.runtime.secret import fingerprint
from offline_capi.storage.filesystem import JsonFolder
from tests.delivery.sending import batch
from tests.support.night import PIXELS, Night
from tests.support.sandbox_server import Sandbox

CLIENT = "corner_shop"
TOKEN, PIXEL = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], PIXELS["CORNER_SHOP_TOKEN"]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


def state_of(night: Night, client: str = CLIENT, **more: Any) -> tuple[str, str | None]:
    """What `clients list` shows of a client: its state, and its last error."""
    (found,) = (
        one for one in night.run("clients", "list", "--json", **more).json["clients"] if one["client"] == client
    )
    return found["state"], found["last_error"]


def test_a_run_that_is_refused_stops_the_client_with_its_cause_and_plan_agrees(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    ran = night.run("upload", "store_purchases", "--json").json

    state, why = state_of(night)
    planned = night.run("plan", "store_purchases", "--json").json

    assert state == "stopped"
    assert "code 190" in (why or "")
    assert state_of(night, "nordic_outlet")[0] != "stopped"
    assert planned["rows"]["deferred"] == ran["rows"]["deferred"] > 0
    assert planned["rows"]["sent"] == 0, "the other client's were sent by the run"
    assert any(notice.startswith(f"{CLIENT}: ") and "code 190" in notice for notice in planned["notices"])
    assert TOKEN not in str(planned) + str(why)


def test_a_good_test_clears_what_a_run_met(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    night.run("upload", "store_purchases")
    sandbox.grant(TOKEN, [PIXEL])

    tested = night.run("clients", "test", CLIENT, "--probe")

    assert tested.code == 0
    assert state_of(night) == ("good", None)
    planned = night.run("plan", "store_purchases", "--json").json
    assert "client_stopped" not in {line["reason"] for line in planned["reasons"]}
    assert planned["rows"]["sent"] > 0


def test_so_does_the_next_run_that_meta_accepts_without_any_command(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    night.run("upload", "store_purchases")
    sandbox.grant(TOKEN, [PIXEL])

    again = night.run("upload", "store_purchases")

    assert again.code == 0
    assert state_of(night)[0] == "untested"
    assert UNTESTED_HINT in night.run("clients", "list").out
    assert [one.key for one in StatusBook(str(night.home / "stage")).read(CLIENT).faults if not one.over] == []


def test_a_token_that_is_missing_is_seen_by_plan_before_a_run(night: Night) -> None:
    planned = night.run("plan", "store_purchases", "--json", env={"CORNER_SHOP_TOKEN": ""}).json

    assert (
        {"client_stopped", "unknown_client"}
        >= {line["reason"] for line in planned["reasons"] if line["fate"] == "deferred"}
        >= {"client_stopped"}
    )
    assert any("CORNER_SHOP_TOKEN" in notice for notice in planned["notices"])


def test_a_token_that_fits_into_no_header_stops_the_client_for_plan_and_list_alike(night: Night) -> None:
    broken = {"CORNER_SHOP_TOKEN": "EAA in two parts"}
    planned = night.run("plan", "store_purchases", "--json", env=broken).json

    state, why = state_of(night, env=broken)

    assert state == "stopped"
    assert "copy it again" in (why or "")
    assert any(notice.startswith(f"{CLIENT}: ") and "copy it again" in notice for notice in planned["notices"])


def test_a_refusal_of_another_token_says_nothing_of_a_new_one(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(TOKEN)
    night.run("upload", "store_purchases")

    assert StatusBook(str(night.home / "stage")).read(CLIENT).faults[0].key == RUN_REFUSED
    assert state_of(night, env={"CORNER_SHOP_TOKEN": "EAA-a-new-one"})[0] == "untested"


def test_a_run_of_many_clients_asks_once_which_of_them_have_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of one client lists nothing."""
    token, read, listed = Secret("token"), list[str](), list[int]()
    book = StatusBook(str(tmp_path))
    refused = AccessFault("test: token", "Meta refused the token", stops=True, since="2026-12-01")
    for name in ("shop", "outlet"):
        book.write(ClientStatus(name, fingerprint=fingerprint(token), faults=(refused,)))
    read_one, list_all = JsonFolder.read, JsonFolder.files
    monkeypatch.setattr(JsonFolder, "read", lambda folder, name: read.append(name) or read_one(folder, name))
    monkeypatch.setattr(JsonFolder, "files", lambda folder: listed.append(1) or list_all(folder))

    check = make_refusal_check(str(tmp_path))

    assert "Meta refused the token" in (check("shop", token) or "")
    assert listed == []
    others = [f"other_{number}" for number in range(1000)]
    assert [check(name, token) for name in others] == [None] * 1000
    assert "Meta refused the token" in (check("outlet", token) or "")
    assert read == ["shop", *others[: READS_BEFORE_LISTING - 1], "outlet"]
    assert listed == [1]


def test_a_refusal_of_this_run_ends_with_the_next_request_that_meta_takes(night: Night) -> None:
    """Also for one of many clients, whose status was not there when the folder was listed."""
    deployment = load_config(night.home / "dags", environ=night.env)
    now = datetime.now(UTC)

    def outcome(client: str, fate: Fate, reason: Reason | None = None) -> Outcome:
        return Outcome(Request("1", client, PIXEL, batch(["e"], client=client)), fate, now, reason=reason)

    with open_services(deployment, EnvironmentSecrets(night.env)) as services:
        record = make_access_recorder(services)
        book = StatusBook(deployment.platform.stage)
        for number in range(2 * READS_BEFORE_LISTING):
            record(outcome(f"other_{number}", Fate.SENT))
        record(outcome(CLIENT, Fate.DEFERRED, Reason.CLIENT_STOPPED))
        refused = book.read(CLIENT).faults
        record(outcome(CLIENT, Fate.SENT))

    assert [fault.key for fault in refused if not fault.over] == [RUN_REFUSED]
    assert [fault.key for fault in book.read(CLIENT).faults if not fault.over] == []
