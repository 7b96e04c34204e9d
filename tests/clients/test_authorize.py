"""``clients authorize`` and ``rotate``: each way from nothing to an accepted event, by the command line."""

from __future__ import annotations

import re
import traceback
from typing import Any

import pytest

from offline_capi.clients.authorize import AuthorizationContext
from offline_capi.clients.authorize import authorize as obtain_token
from offline_capi.config import SecretRef
from offline_capi.errors import AccessDeniedError, TemporaryError
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.versions import FAMILIES
from tests.clients.world import (
    ACME_PIXEL,
    APP,
    BUSINESS,
    CANARIES,
    CLIENT_BUSINESS,
    CLIENT_TOKEN,
    OWN_TOKEN,
    REVIEWED,
    SHOP_PIXEL,
    SHOP_TOKEN,
    SYSTEM_USER,
    Platform,
    kept_secret,
)
from tests.support.sandbox_server import Sandbox

#: Method → how the world and the command are when nothing is left for a person to do.
WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "owned": ({"owner": BUSINESS}, []),
    "shared": ({"shared": [BUSINESS]}, []),
    "fbe": ({}, ["--from", "env:USER_TOKEN"]),
    "token": ({}, ["--from", "env:CLIENT_TOKEN"]),
    "login": ({}, ["--from", "env:LOGIN_CODE"]),
}


def authorize(platform: Platform, method: str, *more: str, client: str = "acme", given: str = ""):
    return platform.run("authorize", client, "--method", method, *more, "--json", given=given)


@pytest.mark.parametrize("method", WAYS)
def test_each_way_ends_with_a_token_that_sends(platform: Platform, sandbox: Sandbox, method: str) -> None:
    """And only then is it kept: it has passed its test at the client's pixel."""
    pixel, options = WAYS[method]
    platform.pixel_is(ACME_PIXEL, **pixel)
    platform.edit("acme: {", f"acme: {{authorized_by: {method}, ")

    said = authorize(platform, method, *options)
    sent = platform.run("test", "acme")

    assert (said.code, said.json["stored_as"], said.json["by_hand"]) == (0, "acme", [])
    assert (sent.code, sandbox.ids_of(ACME_PIXEL) != []) == (0, True)
    assert platform.status("acme")["authorization"]["state"] == "complete"
    assert platform.run("list", "--json").json["clients"][0]["fingerprint"] == said.json["fingerprint"]


#: Method → what the world lacks, and words of what a person has to do for it.
HALF_WAY = {
    "owned": ({}, "owned", "the method is shared"),
    "shared": ({}, "shared", f"Assign partners, enters business {BUSINESS}"),
    "shared, offered": ({"offered": [BUSINESS]}, "shared", "Accept pixel"),
    "fbe": ({}, "fbe", "runs the Facebook Business Extension flow"),
    "token": ({}, "token", "Generate access token"),
    "login": ({}, "login", f"dialog/oauth?client_id={APP}"),
}


@pytest.mark.parametrize("case", HALF_WAY)
def test_what_a_person_must_do_is_numbered_and_the_command_goes_on_from_there(platform: Platform, case: str) -> None:
    pixel, method, words = HALF_WAY[case]
    platform.pixel_is(ACME_PIXEL, **pixel)

    said = platform.run("authorize", "acme", "--method", method)

    assert said.code == 1
    steps = re.findall(r"^(\d+)\. ", said.out, re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    assert words in said.out
    assert "run this command again" in said.out
    assert platform.status("acme")["authorization"]["state"] == "waiting"


def test_an_install_that_the_client_left_half_way_is_said_to_be_one(platform: Platform) -> None:
    platform.be(installs={"acme-1": {"pixel_id": ACME_PIXEL}})

    said = authorize(platform, "fbe", "--from", "env:USER_TOKEN")

    assert (said.code, said.json["complete"]) == (1, False)
    assert "half way" in said.json["by_hand"][0]


def test_an_owners_token_shares_the_pixel_for_us(platform: Platform) -> None:
    said = authorize(platform, "shared", "--from", "env:CLIENT_TOKEN")

    assert said.code == 0
    assert f"post {ACME_PIXEL}/agencies" in platform.calls
    assert f"pixel {ACME_PIXEL} was shared with business {BUSINESS}" in said.json["done"]


def test_repeating_finds_done_what_is_done(platform: Platform) -> None:
    platform.pixel_is(ACME_PIXEL, shared=[BUSINESS])

    authorize(platform, "shared")
    authorize(platform, "shared")

    assert platform.calls.count(f"post {ACME_PIXEL}/assigned_users") == 1
    assert platform.calls.count("get oauth/revoke") == 1


#: What goes wrong → the arrangement, the command, and the message's kind and words.
REFUSALS: dict[str, tuple[dict[str, Any], list[str], str, str]] = {
    "a token for another pixel": ({}, ["token", "--from", "env:SHOP_TOKEN"], "AccessDeniedError", "fails its test"),
    "a malformed token": ({}, ["token", "--from", "-"], "ConfigError", "copy it again"),
    "another pixel installed": (
        {"installs": {"acme-1": {"business_manager_id": CLIENT_BUSINESS, "pixel_id": SHOP_PIXEL}}},
        ["fbe", "--from", "env:USER_TOKEN"],
        "AccessDeniedError",
        "installed another pixel",
    ),
    "a code used twice": ({"codes": {}}, ["login", "--from", "env:LOGIN_CODE"], "AccessDeniedError", "login's code"),
    "an app secret that is wrong": (
        {"apps": {APP: "other"}},
        ["login", "--from", "env:LOGIN_CODE"],
        "ConfigError",
        "own app",
    ),
    "a way that nobody knows": ({}, ["teleport"], "UsageError", "one of: owned, fbe, token, shared, login"),
    "a secret as an argument": ({}, ["token", "--from", CLIENT_TOKEN], "UsageError", "is not the secret"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_is_one_message_and_changes_nothing(platform: Platform, case: str) -> None:
    world, command, kind, words = REFUSALS[case]
    platform.be(**world)

    said = authorize(platform, *command, given="two words\n")

    assert said.code == 1
    assert kind in said.error
    assert words in said.error
    assert not (platform.home / "tokens.enc").exists()
    assert kept_secret(said.error, said.out)


def test_a_pixel_shared_without_the_task_of_sending_is_assigned_it(platform: Platform) -> None:
    platform.pixel_is(ACME_PIXEL, shared=[BUSINESS], assigned={SYSTEM_USER: ["ANALYZE"]})

    said = authorize(platform, "shared")

    assert said.code == 0
    assert f"system user {SYSTEM_USER} may now send to pixel {ACME_PIXEL}" in said.json["done"]


def test_what_clients_yml_has_to_say_of_it_is_told(platform: Platform) -> None:
    said = authorize(platform, "token", "--from", "env:SHOP_TOKEN", client="shop")

    assert said.code == 0
    assert any("token: {store: shop}" in step and "{env: SHOP_TOKEN}" in step for step in said.json["by_hand"])
    assert any("authorized_by: token" in step for step in said.json["by_hand"])


def test_a_token_may_come_by_standard_input(platform: Platform) -> None:
    said = authorize(platform, "token", "--from", "-", given=f"{CLIENT_TOKEN}\n")

    assert said.code == 0
    assert platform.secrets.token(SecretRef(store="acme")).reveal() == CLIENT_TOKEN


# ---------------------------------------------------------------------------------------------- rotation


@pytest.fixture
def authorized(platform: Platform) -> Platform:
    platform.pixel_is(ACME_PIXEL, shared=[BUSINESS])
    platform.edit("acme: {", "acme: {authorized_by: shared, ")
    assert authorize(platform, "shared").code == 0
    return platform


def test_rotation_has_no_gap_and_the_old_token_is_revoked_last(authorized: Platform) -> None:
    old = authorized.secrets.token(SecretRef(store="acme")).reveal()

    said = authorized.run("rotate", "acme", "--json")

    new = authorized.secrets.token(SecretRef(store="acme")).reveal()
    assert (said.code, new == old) == (0, False)
    assert [step.split()[1] for step in said.json["done"][-3:]] == ["token", "token", "old"]
    assert said.json["done"][-1] == "the old token was revoked"
    assert authorized.run("test", "acme").code == 0
    authorized.edit("token: {store: acme}", "token: {env: OLD}")
    assert authorized.run("test", "acme", "--probe", env={"OLD": old}).code == 1


def test_a_new_token_that_fails_its_test_leaves_the_old_one_in_use(authorized: Platform, sandbox: Sandbox) -> None:
    old = authorized.secrets.token(SecretRef(store="acme"))
    sandbox.fault("no_permission", pixel=ACME_PIXEL)

    said = authorized.run("rotate", "acme")

    assert said.code == 1
    assert "Nothing was changed" in said.error
    assert authorized.secrets.token(SecretRef(store="acme")) == old
    assert "get oauth/revoke" not in authorized.calls


def test_an_old_token_that_was_kept_is_revoked_by_the_next_rotation(authorized: Platform) -> None:
    """As while a run is under way, which goes on with the token that it began with."""
    kept = authorized.run("rotate", "acme", "--keep", "--json")
    replaced = authorized.secrets.store.replaced("acme")
    rotated = authorized.run("rotate", "acme", "--json")

    assert (kept.code, rotated.code) == (0, 0)
    assert len(replaced) == 1
    assert authorized.calls.count("get oauth/revoke") == 2
    assert authorized.secrets.store.replaced("acme") == []


def test_a_token_of_the_clients_own_app_cannot_be_exchanged_by_us(platform: Platform) -> None:
    said = platform.run("rotate", "shop")

    assert "UsageError" in said.error
    assert "clients authorize --method token" in said.error
    assert platform.calls == []


def test_a_store_that_could_not_keep_a_token_is_found_before_one_is_made(platform: Platform) -> None:
    platform.env["OFFLINE_CAPI_STORE_KEY"] = ""

    said = authorize(platform, "fbe", "--from", "env:USER_TOKEN")

    assert "has no key: make a key with `offline-capi clients store-key`" in said.error
    assert not any(call.endswith("/access_token") for call in platform.calls)


def test_a_store_key_is_one(platform: Platform) -> None:
    key = platform.run("store-key").out.strip()

    platform.env["OFFLINE_CAPI_STORE_KEY"] = key
    assert authorize(platform, "token", "--from", "env:CLIENT_TOKEN").code == 0


# ---------------------------------------------------------------------------------------------- check_prerequisites


def test_prerequisites_are_looked_up_as_far_as_the_api_tells(platform: Platform) -> None:
    platform.be(tier="standard_access")
    full = platform.run("prerequisites", "--json")
    platform.token_is(OWN_TOKEN, scopes=["ads_management"])
    lacking = platform.run("prerequisites")

    states = {one["name"]: one["state"] for one in full.json["prerequisites"]}
    assert (full.code, lacking.code) == (0, 1)
    assert {name for name, state in states.items() if state == "met"} == {
        *REVIEWED,
        "app",
        "partner_agent",
        "Marketing API Access Tier",
    }
    assert states["notice and consent"] == "by hand"
    assert "✗ business_management" in lacking.out


# ---------------------------------------------------------------------------------------------- secrets


def test_p09_no_token_is_in_any_file_message_or_url(
    platform: Platform, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """On every way and every failure path; the store's file is there, and holds none that could be read."""
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger="urllib3")  # which Airflow, where another test imported it, quietens
    platform.pixel_is(ACME_PIXEL, shared=[BUSINESS])
    said = [authorize(platform, method, *options) for method, (_, options) in WAYS.items()]
    platform.edit("acme: {", "acme: {authorized_by: shared, ")
    said += [platform.run(*command) for command in (["rotate", "acme"], ["health"], ["list"], ["test", "acme"])]
    sandbox.fault("revoked_token")
    said += [platform.run(*command) for command in (["rotate", "acme"], ["health"], ["list", "--json"])]
    sandbox.fault("html")
    said += [authorize(platform, method, *options) for method, (_, options) in WAYS.items()]

    made = platform.secrets.token(SecretRef(store="acme")).reveal()
    shown = [text for one in said for text in (one.out, one.error)]
    assert "POST /v27.0/oauth/access_token" in caplog.text
    assert (platform.home / "tokens.enc").stat().st_mode & 0o077 == 0
    assert kept_secret(*shown, caplog.text, platform.written(), canaries=(*CANARIES, made, SHOP_TOKEN))


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_p09_no_token_is_shown_by_a_traceback_with_its_locals(platform: Platform, sandbox: Sandbox, url: str) -> None:
    """Where Meta refuses, or is not there: every frame's variables hold secrets only as such."""
    sandbox.fault("no_permission")
    client = platform.deployment.clients["acme"]
    with GraphClient(url or sandbox.url, dict.fromkeys(FAMILIES, "v26.0")) as graph:
        store, given = platform.secrets.store, platform.secrets.token(SecretRef(env="CLIENT_TOKEN"))
        context = AuthorizationContext(platform.deployment.platform, platform.secrets, store, graph, given=given)
        with pytest.raises((AccessDeniedError, TemporaryError)) as caught:
            obtain_token(client, "token", context)

    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert any("context = AuthorizationContext(" in line for line in told.format())
    assert kept_secret(*told.format())
