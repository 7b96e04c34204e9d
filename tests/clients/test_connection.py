"""``clients test``, ``health`` and ``list``: does the way to a pixel work, and how is that told?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from offline_capi.clients import RUN_REFUSED, AccessChange, AccessFault, StatusBook, check_health, find_refusal
from tests.clients.world import BANK_PIXEL, BANK_TOKEN, SHOP_PIXEL, SHOP_TOKEN, WORLD, Platform
from tests.support.sandbox_server import Sandbox

NOW = datetime.now(UTC)


def look(platform: Platform, *clients: str, now: datetime = NOW, heard: list[AccessChange] | None = None):
    platform.sandbox.clock = now.timestamp()
    try:
        return check_health(
            platform.deployment,
            platform.secrets,
            clients=clients or ("shop", "bank"),
            on_change=(heard if heard is not None else []).append,
            clock=lambda: now,
        )
    finally:
        platform.sandbox.clock = None  # commands have no clock of ours


# ---------------------------------------------------------------------------------------------- clients test


def test_a_good_test_is_one_event_with_the_code_and_its_status_is_kept(platform: Platform, sandbox: Sandbox) -> None:
    said = platform.run("test", "shop")

    (request,) = sandbox.requests
    assert (said.code, request["events_received"], request["pixel"]) == (0, 1, SHOP_PIXEL)
    assert (request["fields"]["test_event_code"], request["fields"]["partner_agent"]) == ("TEST456", "datapartner")
    tested = platform.status("shop")["tested"]
    assert (tested["verdict"], tested["http"], tested["kind"]) == ("good", 200, "test")
    assert tested["trace_id"] == request["trace_id"]
    assert tested["trace_id"] in said.out
    assert datetime.fromisoformat(tested["at"]).tzinfo is not None


def test_a_probe_stores_nothing_and_needs_no_code(platform: Platform, sandbox: Sandbox) -> None:
    said = platform.run("test", "bank", "--probe", "--json")

    (request,) = sandbox.requests
    assert (said.code, said.json["healthy"]) == (0, True)
    assert (request["subcode"], request["stored"], request["fields"]["partner_agent"]) == (2804003, 0, "otherpartner")
    assert sandbox.accepted_ids == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["test", "bank"], "no test event code for bank"),
        (["test"], "no test event code for bank"),
        (["test", "--test-event-code", "TEST1"], "name its client"),
        (["test", "shpo", "--probe"], 'did you mean "shop"'),
    ],
)
def test_a_test_that_cannot_be_sent_as_meant_sends_nothing(
    platform: Platform, sandbox: Sandbox, arguments: list[str], word: str
) -> None:
    platform.edit(", test: {code: TEST123}}", ", active: false}")

    said = platform.run(*arguments)

    assert "UsageError" in said.error
    assert word in said.error
    assert sandbox.requests == []


# What is wrong → what is said, and whether the client is stopped for it.
FAULTS = {
    "revoked_token": ("460", True),
    "expired_token": ("expired", True),
    "no_permission": ("a permission is missing", True),
    "no_object": ("the token may not use it", True),
    "no_proof": ("appsecret_proof", True),
    "unavailable": ("service is down", False),
    "html": ("without an error of its own", False),
    "cut_before_store": ("no answer", False),
    "app_throttled": ("rate limit", False),
    "old_version": ("retired", False),
    "refuse_events": ("wrongly typed", False),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("how", [[], ["--probe"]])
def test_each_fault_is_one_message_a_status_and_no_matter_of_others(
    platform: Platform, sandbox: Sandbox, kind: str, how: list[str]
) -> None:
    """What passes by itself, or concerns everybody, says nothing of the client: it is not stopped for it."""
    words, stops = FAULTS[kind]
    sandbox.fault(kind, pixel=SHOP_PIXEL, **({"event_share": 1.0} if kind == "refuse_events" else {}))

    said = platform.run("test", "shop", *how, "--json")
    other = platform.run("test", "bank", "--probe")

    assert (said.code, other.code) == (1, 0)
    (status,) = said.json["clients"]
    assert [fault["stops"] for fault in status["faults"]] == [True] * stops
    assert words in json.dumps(status["faults"] if stops else said.json["unclear"])


def test_a_test_event_that_is_not_counted_is_a_fault(platform: Platform, sandbox: Sandbox) -> None:
    sandbox.fault("short_answer", event_share=1.0)

    said = platform.run("test", "shop")

    assert said.code == 1
    assert "did not count the test event" in said.out


def test_a_token_that_cannot_be_had_is_said_where_to_put(platform: Platform, sandbox: Sandbox) -> None:
    missing, malformed = (
        platform.run("test", "shop", "--probe", env={"SHOP_TOKEN": token}) for token in ("", "two words\n")
    )

    assert (missing.code, malformed.code, sandbox.requests) == (1, 1, [])
    assert "set the environment variable SHOP_TOKEN" in missing.out
    assert "copy it again" in malformed.out
    assert "two words" not in malformed.out + platform.written()


# ---------------------------------------------------------------------------------------------- health


def test_a_fault_is_told_once_when_it_begins_and_once_when_it_ends(platform: Platform, sandbox: Sandbox) -> None:
    heard: list[AccessChange] = []
    for night in range(5):
        if night == 1:
            sandbox.fault("revoked_token", pixel=SHOP_PIXEL)
        if night == 4:
            sandbox.heal()
        look(platform, now=NOW + timedelta(days=night), heard=heard)

    assert [(notice.client, notice.change, notice.contacts) for notice in heard] == [
        ("shop", "began", ("owner@shop.example",)),
        ("shop", "ended", ("owner@shop.example",)),
    ]


def test_a_notice_that_could_not_be_given_is_given_again(platform: Platform, sandbox: Sandbox) -> None:
    def broken(_: AccessChange) -> None:
        raise ConnectionError

    sandbox.fault("revoked_token", pixel=SHOP_PIXEL)
    with pytest.raises(ConnectionError):
        check_health(platform.deployment, platform.secrets, clients=["shop"], on_change=broken)

    assert [notice.change for notice in look(platform, "shop").changes] == ["began"]


def test_the_end_of_a_token_is_warned_of_14_7_and_1_days_before(platform: Platform) -> None:
    platform.token_is(SHOP_TOKEN, expires_at=int((NOW + timedelta(days=20)).timestamp()))
    told = [(day, *look(platform, "shop", now=NOW + timedelta(days=day)).changes) for day in range(20)]

    assert [(day, notices[0].key) for day, *notices in told if notices] == [
        (6, "expires: 14"),
        (13, "expires: 7"),
        (19, "expires: 1"),
    ]
    assert not any(notice.stops for _, *notices in told for notice in notices)


def test_a_permission_that_was_taken_away_is_found_before_the_night(platform: Platform) -> None:
    look(platform)
    platform.token_is(SHOP_TOKEN, scopes=["ads_read"])

    (notice,) = look(platform).changes

    assert (notice.client, notice.key, notice.change) == ("shop", "permissions: ads_management", "began")


def test_meta_is_asked_about_tokens_of_its_own_app_only(platform: Platform) -> None:
    """Of a token that a client's own app made, nothing is told; the probe alone speaks of it."""
    platform.token_is(SHOP_TOKEN, app="4999999999")

    found = look(platform)

    assert found.healthy
    assert [status.token is None for status in found.statuses] == [True, False]


def test_the_breaker_opens_at_a_fault_and_a_good_test_closes_it(platform: Platform, sandbox: Sandbox) -> None:
    def blocked() -> str | None:
        status = StatusBook(platform.deployment.platform.stage).read("shop")
        return find_refusal(status, platform.status("shop")["fingerprint"])

    look(platform, "shop")
    at_first = blocked()
    sandbox.fault("no_permission", pixel=SHOP_PIXEL)
    look(platform, "shop")
    at_fault = blocked()
    sandbox.heal()
    sandbox.fault("unavailable", pixel=SHOP_PIXEL)
    look(platform, "shop")
    at_outage = blocked()
    sandbox.heal()
    platform.run("test", "shop")

    assert at_first is None
    assert at_fault is not None
    assert "a permission is missing" in at_fault
    assert at_outage == at_fault  # an outage proves nothing, so it closes nothing
    assert blocked() is None


def test_another_token_than_the_one_that_failed_is_given_a_chance(platform: Platform, sandbox: Sandbox) -> None:
    sandbox.fault("revoked_token", pixel=SHOP_PIXEL)
    (status,) = look(platform, "shop").statuses

    assert find_refusal(status, status.fingerprint or "") is not None
    assert find_refusal(status, "another") is None


def test_a_run_that_was_refused_opens_the_breaker_and_a_good_look_closes_it(platform: Platform) -> None:
    book = StatusBook(platform.deployment.platform.stage)
    (good,) = look(platform, "shop").statuses
    token = str(good.fingerprint)

    fault = AccessFault(RUN_REFUSED, "Meta answered 190", stops=True, since="2026-11-24T03:00:00+00:00")
    book.write(replace(good, fingerprint=token, faults=(fault,)))
    opened = find_refusal(book.read("shop"), token)
    after = look(platform, "shop")

    assert opened == "Meta answered 190 (since 2026-11-24T03:00:00+00:00)"
    assert find_refusal(book.read("shop"), token) is None
    assert [(notice.key, notice.change) for notice in after.changes] == [("run: refused", "ended")]


def test_p07_one_client_of_a_hundred_that_is_refused_is_no_matter_of_the_others(
    platform: Platform, sandbox: Sandbox
) -> None:
    pixels = {f"client_{n}": f"13000000000{n:05}" for n in range(100)}
    platform.write(
        "clients:\n"
        + "".join(f'  {name}: {{pixel_id: "{pixel}", token: {{env: SHOP_TOKEN}}}}\n' for name, pixel in pixels.items())
    )
    sandbox.grant(SHOP_TOKEN, [*pixels.values()])
    sandbox.fault("no_object", pixel=pixels["client_7"])

    found = look(platform, *pixels)

    assert [status.client for status in found.statuses if status.faults] == ["client_7"]
    assert {pixel: len(sandbox.requests_to(pixel)) for pixel in pixels.values()} == dict.fromkeys(pixels.values(), 1)
    own = (platform.home / "stage" / "clients" / "client_8.json").read_text(encoding="utf-8")
    assert not any(pixel in own for name, pixel in pixels.items() if name != "client_8")


def test_paused_clients_are_left_alone_unless_they_are_named(platform: Platform, sandbox: Sandbox) -> None:
    platform.edit("partner_agent: otherpartner", "active: false")

    nightly, named = platform.run("health", "--json"), platform.run("test", "bank", "--probe")

    assert "bank" not in [status["client"] for status in nightly.json["clients"]]
    assert named.code == 0
    assert BANK_PIXEL in [request["pixel"] for request in sandbox.requests]


def test_health_ends_with_one_as_long_as_a_client_is_stopped(platform: Platform, sandbox: Sandbox) -> None:
    platform.edit("{store: acme}", "{env: CLIENT_TOKEN}")
    good = platform.run("health")
    sandbox.fault("revoked_token", pixel=SHOP_PIXEL)
    bad, bad_again = platform.run("health"), platform.run("health", "--json")

    assert (good.code, bad.code, bad_again.code) == (0, 1, 1)
    assert "✗ shop" in bad.out
    assert (bad_again.json["healthy"], bad_again.json["notices"]) == (False, [])


def test_a_torn_status_is_as_if_there_were_none(platform: Platform) -> None:
    platform.run("test", "shop", "--probe")
    (platform.home / "stage" / "clients" / "shop.json").write_text('{"client": "sh', encoding="utf-8")

    assert platform.run("list", "--json").json["clients"][2]["state"] == "untested"
    assert platform.run("test", "shop", "--probe").code == 0


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_a_fault_of_the_platforms_own_app_is_no_fault_of_any_client(platform: Platform, secret: str) -> None:
    said = platform.run("health", env={"APP_SECRET": secret})

    assert "ConfigError" in said.error
    assert not (platform.home / "stage").exists()


# ---------------------------------------------------------------------------------------------- clients list


def test_the_list_says_how_each_client_stands(platform: Platform, sandbox: Sandbox) -> None:
    tokens = [
        one
        | (
            {"expires_at": int((NOW + timedelta(days=9, hours=1)).timestamp())}
            if one["token"] == SHOP_TOKEN
            else {"scopes": []}
            if one["token"] == BANK_TOKEN
            else {}
        )
        for one in WORLD["tokens"]
    ]
    platform.be(tokens=tokens)
    platform.run("health")

    plain, data = platform.run("list"), platform.run("list", "--json").json["clients"]

    assert [(one["client"], one["state"], one["days_left"], one["missing"]) for one in data] == [
        ("acme", "stopped", None, []),
        ("bank", "warning", None, ["ads_management"]),
        ("shop", "warning", 9, []),
    ]
    assert all(word in plain.out for word in ("acme", "stopped", "ads_management", "days left", "clients authorize"))
    assert plain.code == 0
