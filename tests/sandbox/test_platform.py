"""The calls about access, as section 8 of meta-capi.md has them: asked by GET, or by a POST that says so."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import httpx
import pytest

from tests.sandbox.events import lead
from tests.support.sandbox_server import Sandbox

APP, SECRET, OURS, THEIRS, PIXEL, USER = (
    "4000000001",
    "secret-of-the-app",
    "50000001",
    "50000002",
    "12000000001",
    "60000001",
)
SYSTEM, OWNER = "EAAsystemuser", "EAAowner"


@pytest.fixture
def ask(client: httpx.Client, sandbox: Sandbox):
    """Call an edge with a token; the proof is added where the token is the system user's."""
    tokens = [
        {
            "token": SYSTEM,
            "app": APP,
            "kind": "SYSTEM_USER",
            "user": USER,
            "businesses": [OURS],
            "scopes": ["ads_read"],
        },
        {"token": OWNER, "app": "4000000002", "businesses": [THEIRS], "granular": {"ads_read": [PIXEL]}},
    ]
    world = {"apps": {APP: SECRET}, "pixels": {PIXEL: {"owner": THEIRS}}, "tokens": tokens, "tier": "standard_access"}
    sandbox.server.tell("PUT", "world", world)

    def ask(method: str, path: str, token: str | None = SYSTEM, **fields: Any) -> httpx.Response:
        proof = hmac.new(SECRET.encode(), str(token).encode(), hashlib.sha256).hexdigest()
        form = ({"appsecret_proof": proof} if token == SYSTEM else {}) | {"method": method} | fields
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.post(f"/v26.0/{path}", data=form, headers=headers)

    return ask


def error_of(answer: httpx.Response) -> tuple[int, int, int | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("error_subcode")


def test_a_token_is_described_to_its_app_only(ask, client: httpx.Client) -> None:
    told = ask("get", "debug_token", f"{APP}|{SECRET}", input_token=SYSTEM).json()["data"]
    by_get = client.get("/v26.0/debug_token", params={"input_token": SYSTEM, "access_token": f"{APP}|{SECRET}"})

    assert by_get.json()["data"] == told
    assert (told["app_id"], told["type"], told["is_valid"], told["expires_at"]) == (APP, "SYSTEM_USER", True, 0)
    assert error_of(ask("get", "debug_token", f"{APP}|{SECRET}", input_token=OWNER))[1] == 100
    assert error_of(ask("get", "debug_token", f"{APP}|wrong", input_token=SYSTEM))[1] == 190


def test_sharing_assigning_and_sending_follow_from_each_other(ask, client: httpx.Client) -> None:
    """The system user may assign a pixel once it is shared, and its tokens may send once it is assigned."""
    tasks = '["ANALYZE","UPLOAD"]'
    before = ask("post", f"{PIXEL}/assigned_users", user=USER, tasks=tasks)
    not_theirs = ask("post", f"{PIXEL}/agencies", business=OURS, permitted_tasks=tasks)
    too_much = ask("post", f"{PIXEL}/agencies", OWNER, business=OURS, permitted_tasks='["EDIT"]')
    shared = ask("post", f"{PIXEL}/agencies", OWNER, business=OURS, permitted_tasks=tasks)
    assigned = ask("post", f"{PIXEL}/assigned_users", user=USER, tasks=tasks)
    token = ask("post", f"{USER}/access_tokens", business_app=APP, scope='["ads_management"]').json()["access_token"]
    proof = hmac.new(SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()
    headers = {"Authorization": f"Bearer {token}"}
    sent = client.post(f"/v26.0/{PIXEL}/events", json={"data": [lead()], "appsecret_proof": proof}, headers=headers)
    unproven = client.post(f"/v26.0/{PIXEL}/events", json={"data": [lead()]}, headers=headers)

    assert [error_of(one)[1] for one in (before, not_theirs, too_much)] == [200, 200, 100]
    assert (shared.json(), assigned.json(), sent.json()["events_received"]) == ({"success": True}, {"success": True}, 1)
    assert "appsecret_proof" in unproven.json()["error"]["message"]
    assert ask("get", f"{OURS}/client_pixels").json()["data"][0]["id"] == PIXEL
    assert ask("get", f"{PIXEL}/agencies").json() == {"data": [{"id": OURS}]}
    assert ask("delete", f"{PIXEL}/agencies", OWNER, business=OURS).json() == {"success": True}
    assert ask("get", f"{OURS}/client_pixels").json() == {"data": []}


def test_an_exchanged_token_lives_sixty_days_and_a_revoked_one_no_longer(ask, sandbox: Sandbox) -> None:
    sandbox.clock = 1_800_000_000
    app = {"client_id": APP, "client_secret": SECRET}
    exchange = {"grant_type": "fb_exchange_token", "fb_exchange_token": SYSTEM, "set_token_expires_in_60_days": "true"}
    new = ask("get", "oauth/access_token", None, **app, **exchange).json()["access_token"]
    fresh = ask("get", "debug_token", f"{APP}|{SECRET}", input_token=new).json()["data"]
    sandbox.advance(61 * 86_400)
    ended = ask("get", "debug_token", f"{APP}|{SECRET}", input_token=new).json()["data"]
    ask("get", "oauth/revoke", **app, revoke_token=SYSTEM)

    assert fresh["expires_at"] == 1_800_000_000 + 60 * 86_400
    assert (fresh["is_valid"], ended["is_valid"], ended["error"]["subcode"]) == (True, False, 463)
    assert error_of(ask("get", f"{OURS}/owned_pixels")) == (401, 190, 460)
    assert error_of(ask("get", "oauth/access_token", None, client_id=APP, client_secret="no", code="x"))[1] == 100


@pytest.mark.parametrize(
    ("method", "path", "token", "code"),
    [
        ("get", "nothing/here", SYSTEM, 2500),
        ("delete", "debug_token", SYSTEM, 2500),
        ("get", f"{OURS}/owned_pixels", None, 104),
        ("get", f"{OURS}/owned_pixels", "EAAnobody", 190),
        ("get", "99999999/assigned_users", SYSTEM, 100),
        ("post", f"{PIXEL}/assigned_users", SYSTEM, 200),
        ("get", "fbe_business/fbe_installs", SYSTEM, 100),
    ],
)
def test_what_cannot_be_is_refused_as_meta_refuses(ask, method: str, path: str, token: str | None, code: int) -> None:
    assert error_of(ask(method, path, token))[1] == code


def test_the_tier_is_told_in_a_usage_header(ask) -> None:
    assert "standard_access" in ask("get", f"{OURS}/owned_pixels").headers["X-Business-Use-Case-Usage"]


def test_a_reset_forgets_the_world(ask, sandbox: Sandbox) -> None:
    ask("get", f"{OURS}/owned_pixels")
    sandbox.reset()

    assert sandbox.server.get("calls") == []
    assert error_of(ask("get", f"{OURS}/owned_pixels"))[1] == 190
