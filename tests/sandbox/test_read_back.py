"""What the sandbox tells of what it got: by the hour, in pages, and bent on demand."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import Post
from tests.sandbox.events import NOW, lead, purchase
from tests.support.sandbox_server import OTHER_PIXEL, PIXEL, TOKEN, Sandbox

HOUR = 3600


@pytest.fixture
def ask(client: httpx.Client, sandbox: Sandbox):
    sandbox.clock = NOW

    def ask(path: str, token: str = TOKEN, version: str = "v26.0", **fields: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return client.post(f"/{version}/{path}", data={"method": "get", **fields}, headers=headers)

    return ask


def code_of(answer: httpx.Response) -> tuple[int, int | None]:
    error = answer.json()["error"]
    return error["code"], error.get("error_subcode")


def stats(ask, aggregation: str = "event", **fields: Any) -> list[dict[str, Any]]:
    span = {"start_time": NOW - 86_400, "end_time": NOW}
    return ask(f"{PIXEL}/stats", **{"aggregation": aggregation, **span, **fields}).json()["data"]


def test_events_are_counted_by_the_hour_in_which_they_happened(ask, post: Post) -> None:
    post(lead("a", at=NOW - 10), lead("b", at=NOW - 20), lead("c", at=NOW - 2 * HOUR), purchase("d", at=NOW - 10))
    post(lead("a", at=NOW - 10))

    rows = stats(ask)

    assert [(row["start_time"], row["data"]) for row in rows] == [
        ("2026-11-18T09:00:00+0000", [{"value": "CreditApproval", "count": 1}]),
        (
            "2026-11-18T11:00:00+0000",
            [{"value": "CreditApproval", "count": 3}, {"value": "Purchase", "count": 1}],
        ),
    ]
    assert stats(ask, event_source="WEB_ONLY") == []
    assert stats(ask, end_time=NOW - HOUR) == rows[:1]


def test_results_tell_repeats_from_what_was_processed(ask, post: Post, sandbox: Sandbox) -> None:
    post(lead("a", at=NOW - 10))
    post(lead("a", at=NOW - 10), lead("b", at=NOW - 10))

    (row,) = stats(ask, "event_processing_results")
    sandbox.tell(count="deduplicated")
    (fewer,) = stats(ask)

    assert {entry["value"]: entry["count"] for entry in row["data"]} == {"processed": 2, "deduplicated": 1}
    assert {entry["event"] for entry in row["data"]} == {"CreditApproval"}
    assert fewer["data"] == [{"value": "CreditApproval", "count": 2}]


def test_counts_come_late_and_with_gaps_on_demand(ask, post: Post, sandbox: Sandbox) -> None:
    post(*(lead(f"e{n}", at=NOW - 10) for n in range(500)))

    sandbox.tell(lag=60)
    late = stats(ask)
    sandbox.advance(61)
    seen = stats(ask)[0]["data"][0]["count"]
    sandbox.tell(gap=0.3)
    some = stats(ask)[0]["data"][0]["count"]

    assert (late, seen) == ([], 500)
    assert some == stats(ask)[0]["data"][0]["count"]
    assert 0.6 < some / 500 < 0.8


def test_lists_come_in_pages_whose_next_holds_a_token(ask, post: Post, sandbox: Sandbox) -> None:
    post(*(lead(f"e{n}", at=NOW - n * HOUR - 10) for n in range(3)))
    sandbox.tell(page=2)

    first = ask(f"{PIXEL}/stats", start_time=NOW - 86_400, end_time=NOW).json()
    last = ask(
        f"{PIXEL}/stats", start_time=NOW - 86_400, end_time=NOW, after=first["paging"]["cursors"]["after"]
    ).json()

    assert [len(page["data"]) for page in (first, last)] == [2, 1]
    assert "access_token" in first["paging"]["next"]
    assert "next" not in last["paging"]


def test_scores_come_from_the_keys_that_events_carry(ask, post: Post) -> None:
    site = {"action_source": "website", "event_source_url": "https://shop.example"}
    agent = {"client_user_agent": "Mozilla"}
    em = lead()["user_data"]["em"]
    post(lead("a", at=NOW - 10, user_data={"em": em, **agent}, **site))
    post(lead("b", at=NOW - 10, user_data={"external_id": ["7"], **agent}, **site))
    post(purchase("c", at=NOW - 10))

    web = ask("dataset_quality", dataset_id=PIXEL, fields="web{event_name,event_match_quality}").json()["web"]
    offline = ask("dataset_quality", dataset_id=PIXEL, fields="offline{event_name}").json()["offline"]

    feedback = {
        one["identifier"]: one["coverage"]["percentage"] for one in web[0]["event_match_quality"]["match_key_feedback"]
    }
    assert feedback == {"client_user_agent": 100, "em": 50, "external_id": 50}
    assert [(one["event_name"], one["match_key"]["coverage"]) for one in offline] == [
        ("Purchase", [{"identifier": "em", "percentage": 100.0}])
    ]


def test_uploads_are_told_by_tag(ask, post: Post, sandbox: Sandbox) -> None:
    sandbox.tell(matched=0.5)
    post(purchase("a", at=NOW - 10), purchase("b", at=NOW - 20), upload_tag="night")
    post(purchase("a", at=NOW - 10), upload_tag="night")
    post(purchase("c", at=NOW - 10))

    (entry,) = ask(f"{PIXEL}/offline_event_uploads", start_time=NOW - 86_400).json()["data"]

    assert entry["upload_tag"] == "night"
    assert [entry[f"{name}_entries"] for name in ("valid", "duplicate", "matched")] == [3, 1, 1]


@pytest.mark.parametrize(
    ("path", "fields", "token", "code"),
    [
        (f"{PIXEL}/stats", {"start_time": NOW - 8 * 86_400, "end_time": NOW}, TOKEN, (100, None)),
        (f"{PIXEL}/stats", {"aggregation": "nonsense"}, TOKEN, (100, None)),
        (f"{PIXEL}/stats", {"start_time": "yesterday"}, TOKEN, (100, None)),
        (f"{OTHER_PIXEL}/stats", {}, TOKEN, (100, 33)),
        (f"{PIXEL}/da_checks", {}, "EAAnobody", (190, None)),
        ("dataset_quality", {"dataset_id": PIXEL}, TOKEN, (100, None)),
        ("dataset_quality", {"dataset_id": PIXEL, "fields": "app{x}"}, TOKEN, (100, None)),
        ("dataset_quality", {"fields": "web{x}"}, TOKEN, (100, None)),
    ],
)
def test_what_cannot_be_read_is_refused(
    ask, path: str, fields: dict[str, Any], token: str, code: tuple[int, int | None]
) -> None:
    assert code_of(ask(path, token, **fields)) == code


def test_a_token_without_ads_read_may_not_read(ask, sandbox: Sandbox) -> None:
    world = {
        "pixels": {PIXEL: {"owner": "1"}},
        "tokens": [{"token": "EAAsender", "app": "2", "pixels": [PIXEL, OTHER_PIXEL]}],
    }
    sandbox.server.tell("PUT", "world", world)

    quality = {"fields": "web{event_name}"}

    assert code_of(ask(f"{PIXEL}/stats", "EAAsender"))[0] == 200
    assert code_of(ask("dataset_quality", "EAAsender", dataset_id=PIXEL, **quality))[0] == 10
    assert code_of(ask("dataset_quality", "EAAsender", dataset_id=OTHER_PIXEL, **quality)) == (100, 2044055)


def test_an_endpoint_can_be_told_to_refuse(ask, sandbox: Sandbox) -> None:
    sandbox.tell(refused={"stats": 80004})

    assert code_of(ask(f"{PIXEL}/stats"))[0] == 80004
    assert ask(f"{PIXEL}/da_checks").json()["data"][0]["key"] == "s2s_missing_event_name"


def test_the_version_that_answered_stands_in_a_header(ask, post: Post, sandbox: Sandbox) -> None:
    refused = ask(PIXEL, version="v19.0")
    sandbox.forward_retired_versions()
    forwarded, live, sent = ask(PIXEL, version="v19.0"), ask(PIXEL), post(lead(at=NOW - 10), version="v19.0")

    assert code_of(refused)[0] == 2635
    assert (forwarded.json(), forwarded.headers["facebook-api-version"]) == ({"id": PIXEL}, "v21.0")
    assert "v21.0" in forwarded.headers["X-Ad-Api-Version-Warning"]
    assert live.headers["facebook-api-version"] == "v26.0"
    assert "X-Ad-Api-Version-Warning" not in live.headers
    assert (sent.status_code, "v21.0" in sent.headers["X-Ad-Api-Version-Warning"]) == (200, True)
