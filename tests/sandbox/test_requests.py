"""Every form of request that Meta takes, every credential fault, and the exact shape of the answers."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import Post
from tests.sandbox.events import NOW, lead
from tests.support.sandbox_server import APP_SECRET, OTHER_PIXEL, OTHER_TOKEN, PIXEL, SECRET_TOKEN, TOKEN, Sandbox

HEADER = {"Authorization": f"Bearer {TOKEN}"}
EDGE = f"/v26.0/{PIXEL}/events"


def _text(*events: dict[str, Any]) -> str:
    return json.dumps(events)


FORMS = {
    "json, token in the header": lambda: {"json": {"data": [lead()]}, "headers": HEADER},
    "json, token in the body": lambda: {"json": {"data": [lead()], "access_token": TOKEN}},
    "json, token in the query": lambda: {"json": {"data": [lead()]}, "params": {"access_token": TOKEN}},
    "json, data as text": lambda: {"json": {"data": _text(lead())}, "headers": HEADER},
    "urlencoded": lambda: {"data": {"data": _text(lead()), "access_token": TOKEN}},
    "urlencoded, list of texts": lambda: {
        "data": {"data": json.dumps([json.dumps(lead())]), "access_token": TOKEN}
    },
    "multipart": lambda: {"files": {"data": (None, _text(lead())), "access_token": (None, TOKEN)}},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("edge", [EDGE, f"/{PIXEL}/events"])
def test_every_request_form_is_understood(sandbox: Sandbox, client: httpx.Client, form: str, edge: str) -> None:
    answer = client.post(edge, **FORMS[form]())

    assert answer.status_code == 200
    assert answer.json() == {"events_received": 1, "messages": [], "fbtrace_id": answer.json()["fbtrace_id"]}
    assert sandbox.accepted_ids == ["e-1"]


def test_fields_beside_the_events_are_remembered(sandbox: Sandbox, post: Post) -> None:
    post(lead(), partner_agent="platform_1_0", test_event_code="TEST123", upload_tag="night")

    assert sandbox.requests[0]["fields"] | {"upload_id": None} == {
        "partner_agent": "platform_1_0",
        "test_event_code": "TEST123",
        "upload_tag": "night",
        "upload_id": None,
        "upload_source": None,
        "namespace_id": None,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "JSON object"),
        (b"{}", "non-empty array"),
        (b'{"data":[]}', "non-empty array"),
        (b'{"data":{}}', "non-empty array"),
        (b'{"data":"[1"}', "not valid JSON"),
        (b'{"data":[{"custom_data":{"value":NaN}}]}', "not valid JSON"),
        (b'{"data":' + json.dumps([1] * 1001).encode() + b"}", "more than 1000"),
        (b"\xff", "not valid JSON"),
    ],
)
def test_a_body_that_cannot_be_read_is_code_100(client: httpx.Client, body: bytes, said: str) -> None:
    answer = client.post(EDGE, content=body, headers={**HEADER, "content-type": "application/json"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode")) == (400, 100, None)
    assert said in error["message"]


def test_one_bad_event_refuses_the_request_and_is_named_by_its_path(sandbox: Sandbox, post: Post) -> None:
    answer = post(lead("e-1"), lead("e-2", colour="red"), lead("e-3"))

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error == {
        "message": """(#100) Unexpected key "colour" on param "$['data'][1]\"""",
        "type": "OAuthException",
        "code": 100,
        "error_subcode": 2804019,
        "is_transient": False,
        "error_user_title": "Server Side Api Parameter Error",
        "error_user_msg": """Unexpected key "colour" on param "$['data'][1]\"""",
        "fbtrace_id": error["fbtrace_id"],
    }
    assert sandbox.accepted_ids == []


def test_an_old_event_is_refused_without_saying_which(sandbox: Sandbox, post: Post) -> None:
    """L B1: HTTP 400, 100/2804003, not transient, no path."""
    sandbox.clock = NOW

    error = post(lead("new", at=NOW), lead("old", at=NOW - 8 * 86_400)).json()["error"]

    assert (error["code"], error["error_subcode"], error["is_transient"]) == (100, 2804003, False)
    assert "data" not in error["message"]


def test_valid_neighbours_are_kept_where_meta_is_said_to_keep_them(sandbox: Sandbox, post: Post) -> None:
    """The newer reading of meta-capi.md 5.2: only events with an ``event_id``."""
    sandbox.bad_event = "keep_valid"

    answer = post(lead("e-1"), lead("bad", event_name=""), lead(None), lead("e-3"))

    assert answer.status_code == 400
    assert sandbox.accepted_ids == ["e-1", "e-3"]


def _proof(token: str, secret: str) -> str:
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("request_", "status", "code", "subcode", "type_"),
    [
        pytest.param({"token": "EAAunknown"}, 401, 190, None, "OAuthException", id="unknown token"),
        pytest.param({"token": None}, 400, 104, None, "OAuthException", id="no token"),
        pytest.param({"pixel": OTHER_PIXEL}, 400, 100, 33, "GraphMethodException", id="another client's pixel"),
        pytest.param({"version": "v20.0"}, 400, 2635, None, "OAuthException", id="retired version"),
        pytest.param({"version": "v99.0"}, 400, 2500, None, "OAuthException", id="version to come"),
        pytest.param({"version": "latest"}, 400, 2500, None, "OAuthException", id="no version at all"),
        pytest.param({"token": SECRET_TOKEN}, 400, 100, None, "GraphMethodException", id="proof missing"),
        pytest.param(
            {"token": SECRET_TOKEN, "appsecret_proof": _proof(TOKEN, APP_SECRET)},
            400, 100, None, "GraphMethodException", id="proof of another token",
        ),
    ],
)  # fmt: skip
def test_credential_faults_have_their_codes(
    sandbox: Sandbox, post: Post, request_: Any, status: int, code: int, subcode: int | None, type_: str
) -> None:
    answer = post(lead(), **request_)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode"), error["type"]) == (
        status, code, subcode, type_,
    )  # fmt: skip
    assert sandbox.accepted_ids == []


def test_a_right_proof_is_taken(sandbox: Sandbox, post: Post) -> None:
    answer = post(lead(), token=SECRET_TOKEN, appsecret_proof=_proof(SECRET_TOKEN, APP_SECRET))

    assert answer.status_code == 200


def test_a_version_retires_on_its_day(sandbox: Sandbox, post: Post) -> None:
    """v21.0 ends on 2027-01-21 (meta-capi.md 11)."""
    end = 1_800_489_600
    sandbox.clock = end - 1
    before = post(lead(at=end - 60), version="v21.0")
    sandbox.advance(1)

    after = post(lead(at=end - 60), version="v21.0")

    assert (before.status_code, after.json()["error"]["code"]) == (200, 2635)


def test_a_revoked_token_stops_one_client_only(sandbox: Sandbox, post: Post) -> None:
    sandbox.revoke(TOKEN)

    refused = post(lead())
    other = post(lead(), token=OTHER_TOKEN, pixel=OTHER_PIXEL)

    assert (refused.json()["error"]["code"], refused.json()["error"]["error_subcode"]) == (190, 460)
    assert other.status_code == 200


def test_no_token_can_be_read_back(sandbox: Sandbox, client: httpx.Client, post: Post) -> None:
    """P9: whatever is asked, the sandbox shows fingerprints."""
    post(lead())
    client.post(EDGE, params={"access_token": TOKEN}, json={"data": [lead("e-2")]})

    shown = [client.get(path).text for path in ("/", "/_sandbox/view", "/_sandbox/requests", "/_sandbox/events")]

    assert "e-2" in shown[0]
    assert not any(TOKEN in text for text in shown)
    assert {request["token"] for request in sandbox.requests} == {hashlib.sha256(TOKEN.encode()).hexdigest()[:8]}
