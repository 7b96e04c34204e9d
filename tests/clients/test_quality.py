"""``clients quality``: what Meta got is asked, kept, and set beside what was sent, by the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from offline_capi.clients.read_back import QUESTIONS, list_covered_days
from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.meta.graph.client import MAX_PAGES
from offline_capi.operations.quality import pull_quality
from offline_capi.pipeline import open_services
from tests.clients.world import CANARIES, SHOP_PIXEL, SHOP_TOKEN, Platform, kept_secret, run
from tests.support.night import NOBODY, PIXELS, Night
from tests.support.sandbox_server import Sandbox

CLIENTS = ("corner_shop", "nordic_outlet")
SHOP, SHOP_PIXEL_ID = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], PIXELS["CORNER_SHOP_TOKEN"]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night whose sales have been sent."""
    night = Night(tmp_path, sandbox).fill()
    monkeypatch.setenv("OFFLINE_CAPI_DATA", night.env["OFFLINE_CAPI_DATA"])
    night.send("store_purchases")
    return night


def pull(night: Night, *clients: str) -> dict[str, Any]:
    """What `clients quality` does an hour later, when what was sent can be seen."""
    deployment = load_config(night.home / "dags", environ=night.env)
    later = lambda: datetime.now(UTC) + timedelta(hours=1)  # noqa: E731
    with open_services(deployment, EnvironmentSecrets(night.env), clock=later) as services:
        return pull_quality(services, clients=clients).to_json()


def test_what_meta_counts_stands_beside_what_was_sent(night: Night) -> None:
    said = run(night, "clients", "quality", "--json")
    first = datetime.combine(list_covered_days(datetime.now(UTC))[0], time(), UTC).timestamp()
    arrived = [event for event in night.sandbox.events if event["event_time"] >= first]

    lines = said.json["lines"]
    assert (said.code, said.json["remarks"], said.json["unread"]) == (0, [], [])
    assert {line["client"] for line in lines} == set(CLIENTS)
    assert all(line["sent"] == line["received"] == line["processed"] > 0 for line in lines)
    assert {line["event_name"] for line in lines} == {"Purchase"}
    assert sum(line["received"] for line in lines) == len(arrived) > 200


def test_the_report_shows_it_once_it_was_asked_and_not_before(night: Night) -> None:
    before = run(night, "report", "last", "--json").json
    run(night, "clients", "quality")

    after, text = run(night, "report", "last", "--json").json, run(night, "report", "last").out
    run(night, "report", "last", "--html", str(night.home / "page.html"))
    of_one = run(night, "report", "last", "--client", "corner_shop", "--json").json["quality"]

    assert "quality" not in before
    assert after | {"quality": None} == before | {"quality": None}
    assert {line["client"] for line in after["quality"]["lines"]} == set(CLIENTS)
    assert "what Meta counts" in text
    assert "What Meta counts" in (night.home / "page.html").read_text(encoding="utf-8")
    assert {one["client"] for part in ("lines", "scores", "uploads") for one in of_one[part]} == {"corner_shop"}


def test_a_gap_is_one_sentence_for_a_client_and_is_told_by_the_report_too(night: Night) -> None:
    night.sandbox.tell(gap=0.5)

    remarks = pull(night)["remarks"]

    differences = [remark for remark in remarks if "fewer. Look at the pixel's Diagnostics" in remark]
    assert [remark.partition(":")[0] for remark in differences] == list(CLIENTS)
    assert all(remark in run(night, "report", "last", "--json").json["quality"]["remarks"] for remark in differences)


def test_what_was_just_sent_is_not_missed_yet(night: Night) -> None:
    night.sandbox.tell(lag=3600)

    said = run(night, "clients", "quality", "corner_shop")

    assert said.code == 0
    assert "were sent less than 20 minutes before" in " ".join(said.out.split())
    assert "nordic_outlet" not in said.out


def test_events_that_another_server_sends_are_seen(night: Night) -> None:
    _post_elsewhere(night, 200)

    (remark,) = [one for one in pull(night, "corner_shop")["remarks"] if "another server" in one]

    assert "200 (" in remark


def test_repeats_are_told_apart(night: Night) -> None:
    first = night.sandbox.events[0]
    _post(night, [first], night.sandbox.tally()[0][0])

    lines = pull(night)["lines"]

    assert sum(line["deduplicated"] for line in lines) == 1
    assert sum(line["received"] - line["sent"] for line in lines) == 1


def test_pages_are_followed_to_their_end(night: Night) -> None:
    whole = pull(night)["lines"]
    night.sandbox.tell(page=1)

    assert pull(night)["lines"] == whole
    assert len(whole) > 1


def test_scores_checks_and_uploads_are_read_too(night: Night) -> None:
    night.edit("dags/uploads/store_purchases.yml", ("schedule:", "delivery: {upload_tag: tills}\nschedule:"))
    for pixel in PIXELS.values():
        night.sandbox.grant(SAMPLE_TOKENS["ACME_BANK_TOKEN"], [pixel])
    night.sandbox.tell(checks={"s2s_missing_event_name": "failed"}, matched=0.5)
    night.send("store_purchases", day=datetime.now(UTC).date())

    told = pull(night, "corner_shop")

    assert [(one["kind"], one["event_name"]) for one in told["scores"]] == [("offline", "Purchase")]
    assert 0 < told["scores"][0]["keys"]["em"] <= 100
    assert [(one["key"], one["result"]) for one in told["checks"]] == [("s2s_missing_event_name", "failed")]


# ---------------------------------------------------------------------------------------------- what Meta does not tell

#: The endpoint that refuses, the code → the questions that stay unanswered, and words of why.
REFUSED = [
    ("stats", 200, ["received", "results"], "a permission is missing"),
    ("dataset_quality", 10, ["web", "offline"], "permission denied"),
    ("da_checks", 100, ["checks"], "an invalid parameter"),
    ("offline_event_uploads", 803, ["uploads"], "the pixel id is unknown"),
    ("stats", 190, ["received"], "the token is invalid"),
    ("dataset_quality", 80004, ["web"], "business-use-case limit"),
]


@pytest.mark.parametrize(("endpoint", "code", "kinds", "words"), REFUSED)
def test_a_question_that_meta_refuses_is_a_sentence_and_the_others_are_asked(
    night: Night, endpoint: str, code: int, kinds: list[str], words: str
) -> None:
    """But for a token that is dead and a limit that is reached: they end the questions about this client."""
    night.sandbox.tell(refused={endpoint: code})

    told = pull(night, "corner_shop")

    assert [one["kind"] for one in told["unread"]] == kinds
    assert all(words in one["words"] for one in told["unread"])
    asked = [call.rpartition("/")[2] for call in night.sandbox.server.get("calls")]
    ends = code in (190, 80004)
    assert len(asked) == ([*QUESTIONS].index(kinds[0]) + 1 if ends else len(QUESTIONS))


def test_a_limit_of_the_app_ends_the_questions_about_everybody(night: Night) -> None:
    night.sandbox.tell(refused={"stats": 4})

    told = pull(night)

    assert {one["client"] for one in told["unread"]} == {"acme_bank", *CLIENTS}
    assert len(night.sandbox.server.get("calls")) <= 8


def test_p07_one_client_that_cannot_be_read_is_no_matter_of_the_others(night: Night) -> None:
    night.sandbox.revoke(SHOP)

    said = run(night, "clients", "quality", "--json", ACME_BANK_TOKEN="")
    plain = run(night, "clients", "quality", ACME_BANK_TOKEN="")

    assert (said.code, plain.code) == (1, 1)
    assert [one["client"] for one in said.json["unread"]] == ["acme_bank", "corner_shop"]
    assert {line["client"] for line in said.json["lines"]} == {"nordic_outlet"}
    assert "set the environment variable ACME_BANK_TOKEN" in " ".join(plain.out.split())
    assert "corner_shop: received was not told" in plain.out


def test_p07_a_token_that_fits_into_no_request_is_no_matter_of_the_others(night: Night) -> None:
    said = run(night, "clients", "quality", "--json", CORNER_SHOP_TOKEN="line\nbreak")

    assert [(one["client"], one["kind"]) for one in said.json["unread"]] == [("corner_shop", "received")]
    assert "the token holds a space, a line break" in said.json["unread"][0]["words"]
    assert {line["client"] for line in said.json["lines"]} == {"nordic_outlet"}


def test_every_pixel_of_a_client_is_read(night: Night) -> None:
    second = "1300000000000002"
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP_PIXEL_ID}"', f'pixel_id: ["{SHOP_PIXEL_ID}", "{second}"]'))
    night.sandbox.grant(SHOP, [SHOP_PIXEL_ID, second])
    night.send("store_purchases")

    lines = pull(night, "corner_shop")["lines"]

    assert {(line["client"], line["pixel"]) for line in lines} == {
        ("corner_shop", SHOP_PIXEL_ID),
        (f"corner_shop@{second}", second),
    }
    assert all(line["sent"] == line["received"] > 0 for line in lines)


def test_nothing_can_be_reached_and_it_is_said_once_a_client(night: Night) -> None:
    said = run(night, "clients", "quality", "--json", OFFLINE_CAPI_GRAPH_URL=NOBODY)

    assert (said.code, said.json["lines"]) == (1, [])
    assert [one["client"] for one in said.json["unread"]] == ["acme_bank", *CLIENTS]
    assert all("no connection to" in one["words"] for one in said.json["unread"])


def test_p09_no_token_is_in_what_is_printed_or_kept(platform: Platform, sandbox: Sandbox) -> None:
    """Of a token that may send, and may not read; and of one that may, whose answers come in pages with a token."""
    sandbox.tell(page=1)
    refused = platform.run("quality", "shop")
    platform.token_is(SHOP_TOKEN, scopes=["ads_management", "ads_read"])
    read = platform.run("quality", "shop", "--json")

    assert (refused.code, read.code) == (1, 0)
    assert "shop: web was not told: Meta answered 10: permission denied" in refused.out
    assert [one["kind"] for one in read.json["unread"]] == []
    assert kept_secret(refused.out, refused.error, read.out, platform.written(), canaries=CANARIES)
    assert f"get {SHOP_PIXEL}/stats" in platform.calls


def test_a_list_without_an_end_is_not_taken_for_a_whole_one(night: Night) -> None:
    night.sandbox.tell(page=1, checks={f"check_{n}": "failed" for n in range(MAX_PAGES + 1)})

    told = pull(night, "corner_shop")

    assert [one["kind"] for one in told["unread"]] == ["checks"]
    assert f"more than {MAX_PAGES} pages" in told["unread"][0]["words"]
    assert told["checks"] == []


def _post_elsewhere(night: Night, count: int) -> None:
    """As another server of the client's would."""
    event = night.sandbox.events[0]
    custom = event["custom_data"]
    others = [event | {"custom_data": custom | {"order_id": f"other-{n}"}} for n in range(count)]
    _post(night, others, SHOP_PIXEL_ID)


def _post(night: Night, events: list[dict[str, Any]], pixel: str) -> None:
    tokens = {pixel_id: SAMPLE_TOKENS[name] for name, pixel_id in PIXELS.items()}
    headers = {"Authorization": f"Bearer {tokens[pixel]}"}
    answer = httpx.post(f"{night.sandbox.url}/v26.0/{pixel}/events", json={"data": events}, headers=headers)
    assert answer.status_code == 200, json.loads(answer.text)
