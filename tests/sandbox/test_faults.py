"""Misbehaviour on demand: what the sender sees, and what was stored all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from offline_capi.sandbox import KINDS, Fault
from offline_capi.sandbox.faults import FaultBook, Shot
from tests.sandbox.conftest import Post
from tests.sandbox.events import NOW, lead
from tests.support.sandbox_server import OTHER_PIXEL, OTHER_TOKEN, PIXEL, TOKEN, Sandbox


@pytest.mark.parametrize(
    ("kind", "status", "code", "subcode", "stored"),
    [
        ("unavailable", 503, 2, None, 0),
        ("unknown_error", 500, 1, 99, 0),
        ("store_then_fail", 500, 1, None, 1),
        ("fail_then_store", 500, 1, None, 1),
        ("too_many_requests", 429, 4, None, 0),
        ("app_throttled", 400, 4, None, 0),
        ("user_throttled", 400, 17, 2446079, 0),
        ("account_throttled", 400, 80004, 2446079, 0),
        ("revoked_token", 401, 190, 460, 0),
        ("expired_token", 401, 190, 463, 0),
        ("no_permission", 403, 200, None, 0),
        ("no_object", 400, 100, 33, 0),
        ("no_proof", 400, 100, None, 0),
        ("old_version", 400, 2635, None, 0),
        ("refuse_events", 400, 100, 2804019, 0),
    ],
)
def test_a_kind_answers_and_stores_as_it_says(
    sandbox: Sandbox, post: Post, kind: str, status: int, code: int, subcode: int | None, stored: int
) -> None:
    sandbox.fault(kind, times=1)

    answer = post(lead())

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode")) == (status, code, subcode)
    assert sandbox.count_of("e-1") == stored
    assert sandbox.requests[0]["fault"] == kind


@pytest.mark.parametrize(
    ("kind", "error", "stored"),
    [
        ("cut_before_body", httpx.TransportError, 0),
        ("cut_before_store", httpx.RemoteProtocolError, 0),
        ("cut_after_store", httpx.RemoteProtocolError, 1),
        ("cut_amid_answer", httpx.RemoteProtocolError, 1),
    ],
)
def test_a_cut_is_a_closed_socket_not_an_answer(
    sandbox: Sandbox, post: Post, kind: str, error: type[Exception], stored: int
) -> None:
    sandbox.fault(kind, times=1)

    with pytest.raises(error):
        post(lead())

    assert sandbox.count_of("e-1") == stored
    assert (sandbox.requests[0]["status"], sandbox.requests[0]["fault"]) == (None, kind)


def test_a_connection_can_be_cut_while_a_large_body_is_on_its_way(sandbox: Sandbox, post: Post) -> None:
    """The sender fails while it writes, or when it reads: both are transport errors."""
    sandbox.fault("cut_before_body", times=1)

    with pytest.raises(httpx.TransportError):
        post(*(lead(f"e-{n}", user_data={"external_id": "x" * 5000}) for n in range(1000)))

    assert sandbox.accepted_ids == []


def test_the_sender_can_go_on_after_a_cut(sandbox: Sandbox, post: Post) -> None:
    sandbox.cut_next(2, stored=True)
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            post(lead())

    answer = post(lead())

    assert answer.status_code == 200
    assert (sandbox.count_of("e-1"), sandbox.arrivals_of("e-1")) == (1, 3)


def test_an_html_page_is_no_answer(sandbox: Sandbox, post: Post) -> None:
    sandbox.fault("html", status=502)

    answer = post(lead())

    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_malformed_json_comes_with_a_200_and_stored_events(sandbox: Sandbox, post: Post) -> None:
    sandbox.fault("malformed")

    answer = post(lead())

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert sandbox.count_of("e-1") == 1


def test_retry_after_and_usage_headers_are_those_of_meta(sandbox: Sandbox, post: Post) -> None:
    """meta-capi.md 5.5: minutes in the business header, seconds in the account header."""
    sandbox.fault("too_many_requests", retry_after=7, usage=93, regain_minutes=2)

    headers = post(lead()).headers

    assert headers["retry-after"] == "7"
    assert json.loads(headers["x-app-usage"]) == {"call_count": 93, "total_cputime": 93, "total_time": 93}
    business = json.loads(headers["x-business-use-case-usage"])[PIXEL][0]
    assert (business["type"], business["call_count"], business["estimated_time_to_regain_access"]) == (
        "ads_management", 93, 2,
    )  # fmt: skip
    account = json.loads(headers["x-ad-account-usage"])
    assert (account["acc_id_util_pct"], account["reset_time_duration"]) == (93, 120)


def test_meters_tell_how_much_of_an_allowance_is_used_and_throttle_at_its_end(sandbox: Sandbox, post: Post) -> None:
    """The window slides: what was used comes back when it is over. Other pixels have an allowance of their own."""
    sandbox.clock = NOW
    sandbox.limit(pixel_calls=4, app_calls=100, seconds=600)

    answers = [post(lead(f"e-{number}", at=NOW)) for number in range(5)]
    other = post(lead("e-1", at=NOW), pixel=OTHER_PIXEL, token=OTHER_TOKEN)
    sandbox.advance(600)
    later = post(lead("e-5", at=NOW))

    used = [json.loads(answer.headers["x-business-use-case-usage"])[PIXEL][0] for answer in (*answers, later)]
    assert [own["call_count"] for own in used] == [25, 50, 75, 100, 100, 25]
    assert [own["estimated_time_to_regain_access"] for own in used] == [0, 0, 0, 10, 10, 0]
    assert [answer.status_code for answer in (*answers, other, later)] == [200] * 4 + [400, 200, 200]
    assert answers[-1].json()["error"]["code"] == 80004
    assert json.loads(other.headers["x-app-usage"])["call_count"] == 5


def test_the_allowance_of_the_app_is_shared_by_all_pixels(sandbox: Sandbox, post: Post) -> None:
    sandbox.limit(app_calls=1)
    post(lead("e-1"))

    refused = post(lead("e-1"), pixel=OTHER_PIXEL, token=OTHER_TOKEN)

    assert refused.json()["error"]["code"] == 4
    assert sandbox.ids_of(OTHER_PIXEL) == []


def test_usage_headers_can_stand_beside_any_answer(sandbox: Sandbox, post: Post) -> None:
    sandbox.fault("usage", usage=76)
    sandbox.fail_next(503)

    failed, accepted = post(lead()), post(lead())

    assert [failed.status_code, accepted.status_code] == [503, 200]
    assert all(json.loads(answer.headers["x-app-usage"])["call_count"] == 76 for answer in (failed, accepted))


def test_a_slow_answer_outlasts_an_impatient_sender_and_was_stored(sandbox: Sandbox) -> None:
    sandbox.fault("slow", delay=5)

    with httpx.Client(base_url=sandbox.url, timeout=2) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post(f"/v26.0/{PIXEL}/events", json={"data": [lead()], "access_token": TOKEN})

    assert sandbox.count_of("e-1") == 1


def test_an_answer_can_drip(sandbox: Sandbox, client: httpx.Client) -> None:
    """Byte by byte, and whole in the end."""
    sandbox.fault("drip", drip=0.001)
    body = {"data": [lead()], "access_token": TOKEN}

    with client.stream("POST", f"/v26.0/{PIXEL}/events", json=body) as answer:
        pieces = [piece for piece in answer.iter_raw() if piece]

    assert len(pieces) > 10
    assert json.loads(b"".join(pieces))["events_received"] == 1


@pytest.mark.parametrize(("tell", "named"), [("path", True), ("nothing", False)])
def test_marked_events_are_refused_with_or_without_their_place(
    sandbox: Sandbox, post: Post, tell: str, named: bool
) -> None:
    sandbox.refuse("e-2", tell=tell, subcode=2804008)

    answer = post(lead("e-1"), lead("e-2"))
    spared = post(lead("e-1"))

    error = answer.json()["error"]
    assert error["error_subcode"] == 2804008
    assert ("$['data'][1]" in error["message"]) is named
    assert spared.status_code == 200
    assert sandbox.accepted_ids == ["e-1"]


def test_several_marks_add_up(sandbox: Sandbox, post: Post) -> None:
    sandbox.refuse("e-1")
    sandbox.refuse(event_id="e-2")

    answers = [post(lead(event_id)).status_code for event_id in ("e-1", "e-2", "e-3")]

    assert answers == [400, 400, 200]


def test_a_short_answer_leaves_out_what_it_dropped(sandbox: Sandbox, post: Post) -> None:
    sandbox.fault("short_answer", event_ids={"e-2"})

    answer = post(lead("e-1"), lead("e-2"), lead("e-3"))

    assert answer.json()["events_received"] == 2
    assert sandbox.accepted_ids == ["e-1", "e-3"]


def test_a_short_answer_can_strike_the_end_of_one_request(sandbox: Sandbox, post: Post) -> None:
    sandbox.fault("short_answer", last_events=1, times=1)

    received = [post(lead("e-1"), lead("e-2")).json()["events_received"] for _ in range(2)]

    assert received == [1, 2]


@pytest.mark.parametrize(
    ("conditions", "struck"),
    [
        pytest.param({"times": 2}, [1, 2], id="twice"),
        pytest.param({"first_request": 2, "last_request": 3}, [2, 3], id="by number"),
        pytest.param({"every": 2}, [2, 4], id="every second"),
        pytest.param({"event_ids": ["e-3"]}, [3], id="by event"),
        pytest.param({"min_events": 2}, [], id="large requests only"),
        pytest.param({"since": NOW + 2, "until": NOW + 3}, [2, 3], id="by time"),
        pytest.param({"pixel": PIXEL}, [1, 2, 3, 4], id="by pixel"),
        pytest.param({"pixel": OTHER_PIXEL}, [], id="another pixel"),
        pytest.param({"share": 0.0}, [], id="never"),
    ],
)
def test_a_fault_strikes_where_its_conditions_hold(
    sandbox: Sandbox, post: Post, conditions: dict[str, object], struck: list[int]
) -> None:
    sandbox.clock = NOW
    sandbox.fault("unavailable", **conditions)

    hit = []
    for number in (1, 2, 3, 4):
        sandbox.advance(1)
        hit += [number] if post(lead(f"e-{number}", at=NOW)).status_code == 503 else []

    assert hit == struck
    assert sandbox.faults[0]["hits"] == len(struck)


def test_a_fault_can_strike_one_token_only(sandbox: Sandbox, post: Post) -> None:
    post(lead())
    sandbox.fault("revoked_token", token=sandbox.requests[0]["token"])

    answers = [post(lead()).status_code, post(lead(), token=OTHER_TOKEN, pixel=OTHER_PIXEL).status_code]

    assert answers == [401, 200]


def test_faults_in_a_row_strike_in_the_order_of_posting(sandbox: Sandbox, post: Post) -> None:
    sandbox.fail_next(503, times=2)
    sandbox.fault("too_many_requests", times=1)

    answers = [post(lead()).status_code for _ in range(4)]

    assert answers == [503, 503, 429, 200]


def test_late_storing_can_be_seen_to_be_late(sandbox: Sandbox, post: Post) -> None:
    """What was answered with a failure may still be in flight at Meta."""
    sandbox.fault("fail_then_store", store_delay=3600, times=1)

    post(lead())

    assert sandbox.count_of("e-1") == 0


def _struck(fault: Fault, numbers: range) -> set[int]:
    book = FaultBook()
    book.add(fault)
    return {n for n in numbers if book.deciding(Shot(n, PIXEL, None, NOW, ["e"]))}


def test_random_faults_follow_their_seed() -> None:
    numbers = range(10_000)

    first, same, other = (_struck(Fault(kind="html", share=0.1, seed=seed), numbers) for seed in (1, 1, 2))

    assert first == same != other
    assert 800 < len(first) < 1200


def test_random_marks_stay_on_their_events() -> None:
    """A bad event is bad in every request that holds it."""
    ids = [f"e-{n}" for n in range(10_000)]
    book = FaultBook()
    book.add(Fault(kind="refuse_events", event_share=0.01, seed=4))

    [(_, whole)] = book.marking(Shot(1, PIXEL, None, NOW, ids))
    [(_, half)] = book.marking(Shot(2, PIXEL, None, NOW, ids[5000:]))

    assert 50 < len(whole) < 150
    assert [5000 + place for place in half] == [place for place in whole if place >= 5000]


def test_an_unknown_kind_is_refused_with_the_known_ones(client: httpx.Client) -> None:
    answer = client.post("/_sandbox/faults", json={"kind": "earthquake"})

    assert answer.status_code == 422
    assert all(kind in answer.text for kind in KINDS)


def test_requests_in_flight_are_counted_for_each_pixel(sandbox: Sandbox) -> None:
    """Slow answers count until they are sent."""
    sandbox.fault("slow", delay=0.3)

    async def send_three() -> None:
        async with httpx.AsyncClient(base_url=sandbox.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            sends = (client.post(f"/v26.0/{PIXEL}/events", json={"data": [lead(f"e-{n}")]}) for n in range(3))
            await asyncio.gather(*sends)

    asyncio.run(send_three())

    assert sorted(request["in_flight"] for request in sandbox.requests) == [1, 2, 3]


def test_a_reset_forgets_everything(sandbox: Sandbox, post: Post) -> None:
    post(lead())
    sandbox.clock = NOW
    sandbox.revoke(TOKEN)
    sandbox.fail_next()
    undo: Callable[[], None] = sandbox.reset

    undo()

    assert (sandbox.accepted_ids, sandbox.requests, sandbox.faults, sandbox.totals) == ([], [], [], {})
    assert post(lead()).status_code == 200
    assert sandbox.requests[0]["number"] == 1
