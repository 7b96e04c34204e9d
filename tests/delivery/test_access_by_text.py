"""Code 100 that speaks of access, usage headers at low use, messages of a success, and every spelling of a code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offline_capi.delivery import DeliveryPolicy
from offline_capi.meta.graph.error_table import ERROR_TABLE, Action, Scope, explain, parse_code
from offline_capi.meta.graph.messages import mask_messages
from offline_capi.meta.graph.response import classify_response, parse_response
from offline_capi.model import Fate, Reason
from offline_capi.report.run_report import explain_reason
from tests.delivery.sending import EM, OTHER, Night, batch, names
from tests.delivery.test_answers import error_body
from tests.support.night import Night as Project
from tests.support.sandbox_server import PIXEL, Sandbox

# ---------------------------------------------------------------------------------------------- access

ACCESS = [
    "(#100) Missing permissions",  # facebook-java-business-sdk#357
    # php-graph-sdk#1233
    "(#100) Object does not exist, cannot be loaded due to missing permission or reviewable feature",
    "(#100) Unsupported post request. Object with ID '1' does not exist",
    "(#100) Tried accessing nonexisting field (events) on node type (User)",
    "(#100) You do not have access to this dataset",
    "(#100) The user is not authorized for this object",
    "(#100) Pixel not found",
    "(#100) API calls from the server require an appsecret_proof argument",
    "(#100) Invalid appsecret_proof provided in the API argument",
]
NO_ACCESS_FAULTS = [
    "(#100) Invalid parameter",
    "(#100) Param event_source_url does not exist",
    "(#100) Unexpected key \"permission\" on param $['data'][0]['custom_data']",
    "(#100) custom_data.access is no known key",
    "(#100) data[3] has no permission",
]


@pytest.mark.parametrize("message", ACCESS)
@pytest.mark.parametrize("subcode", [None, 0, 1349125])
def test_p07_code_100_that_speaks_of_access_stops_the_client(message: str, subcode: int | None) -> None:
    verdict = classify_response(parse_response(400, {}, error_body(100, message=message, error_subcode=subcode)), 8)

    assert verdict.entry is not None
    assert (verdict.action, verdict.entry.scope, verdict.maybe_stored) == (Action.STOP, Scope.CLIENT, False)
    assert (verdict.entry.code, verdict.entry.subcode) == (100, None)  # a row for all of them


@pytest.mark.parametrize("message", NO_ACCESS_FAULTS)
def test_p04_code_100_that_speaks_of_an_event_is_isolated(message: str) -> None:
    assert classify_response(parse_response(400, {}, error_body(100, message=message)), 8).action is Action.ISOLATE


@pytest.mark.parametrize("subcode", [2804000, 2804019, 2804999, 2804003])
def test_p04_a_subcode_of_events_is_believed_whatever_the_text_says(subcode: int) -> None:
    body = error_body(100, subcode, message="(#100) Missing permissions")

    assert classify_response(parse_response(400, {}, body), 8).action is Action.ISOLATE


@pytest.mark.parametrize("subcode", [2803999, 2805000])
def test_p04_an_unknown_subcode_beside_those_of_events_is_known_by_its_text(subcode: int) -> None:
    body = error_body(100, subcode, message="(#100) Missing permissions")

    assert classify_response(parse_response(400, {}, body), 8).action is Action.STOP


@pytest.mark.parametrize("message", ACCESS[:2])
def test_p07_its_events_are_held_after_one_request_and_go_once_it_is_mended(
    night: Night, sandbox: Sandbox, message: str
) -> None:
    night.policy = DeliveryPolicy(concurrency=4)
    sandbox.fault("unavailable", status=400, code=100, is_transient=False, message=message, pixel=PIXEL)

    first = night.send([batch(names("a", 8)), batch(names("o", 8), client=OTHER)], max_events=4)
    asked = len(sandbox.requests_to(PIXEL))
    sandbox.heal()
    second = night.send([batch(names("a", 8))], max_events=4)

    deferred = [one for one in first.outcomes if one.fate is Fate.DEFERRED]
    assert first.counts == {Fate.DEFERRED: 8, Fate.SENT: 8}
    assert asked == 1
    assert {one.reason for one in deferred} == {Reason.CLIENT_STOPPED}
    assert "a permission is missing" in deferred[0].explanation
    assert second.counts == {Fate.SENT: 8}


# ---------------------------------------------------------------------------------------------- usage

ACCOUNT = '{{"acc_id_util_pct": {}, "reset_time_duration": {}, "ads_api_access_tier": "standard_access"}}'
BUSINESS = '{{"1": [{{"type": "ads_management", "call_count": {}, "estimated_time_to_regain_access": {}}}]}}'


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({"X-Ad-Account-Usage": ACCOUNT.format(9.67, 100)}, 200, None),
        ({"X-Ad-Account-Usage": ACCOUNT.format(74, 3600)}, 200, None),
        ({"X-Ad-Account-Usage": ACCOUNT.format(89, 3600)}, 200, None),
        ({"X-Ad-Account-Usage": ACCOUNT.format(90, 3600)}, 200, 3600),
        ({"X-Business-Use-Case-Usage": BUSINESS.format(74, 5)}, 200, None),
        ({"X-Business-Use-Case-Usage": BUSINESS.format(75, 5)}, 200, 300),
        ({"X-Business-Use-Case-Usage": BUSINESS.format(100, 5)}, 200, 300),
        ({"X-Business-Use-Case-Usage": BUSINESS.format(0, 5)}, 200, None),
        ({"X-Business-Use-Case-Usage": '{"1": [{"estimated_time_to_regain_access": 2}]}'}, 200, 120),
        ({"X-Ad-Account-Usage": '{"reset_time_duration": 3}'}, 200, None),
        ({"X-Ad-Account-Usage": '{"reset_time_duration": 3}'}, 429, 3),
        ({"X-Business-Use-Case-Usage": BUSINESS.format(10, 5)}, 429, 300),
        ({"X-Ad-Account-Usage": ACCOUNT.format(9.67, 3600)}, 429, None),
        (
            {
                "X-Ad-Account-Usage": ACCOUNT.format(9.67, 3600),
                "X-Business-Use-Case-Usage": BUSINESS.format(100, 2),
            },
            429,
            120,
        ),
    ],
)
def test_p08_a_time_told_beside_low_use_is_no_wait(headers: dict[str, str], status: int, seconds: float | None) -> None:
    assert parse_response(status, headers, b"{}").wait_s == seconds


def test_p08_headers_at_low_use_slow_nobody_down(night: Night, sandbox: Sandbox) -> None:
    """The sandbox sends all three with every answer, the reset time too."""
    books = night.send([batch(names("e", 9))], max_events=1)

    assert books.counts == {Fate.SENT: 9}
    assert night.time.slept == []


@pytest.mark.parametrize("reset", [20, 3600])
def test_p08_the_case_from_the_field(night: Night, sandbox: Sandbox, reset: int) -> None:
    sandbox.fault("slow", delay=0, headers={"X-Ad-Account-Usage": ACCOUNT.format(9.67, reset)})

    assert night.send([batch(names("e", 4))], max_events=1).counts == {Fate.SENT: 4}
    assert night.time.slept == []


# ---------------------------------------------------------------------------------------------- messages


def test_messages_of_a_success_stand_in_the_outcome_once(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("slow", delay=0, messages=["Some parameters are deprecated", "Some parameters are deprecated"])

    books = night.send([batch(names("e", 3))], max_events=1)

    assert [one.notices for one in books.outcomes] == [("Meta's answer says: Some parameters are deprecated",), (), ()]


def test_messages_of_a_success_stand_in_the_report(project: Project) -> None:
    project.sandbox.fault("slow", delay=0, messages=["Some parameters are deprecated"])

    report = project.send("store_purchases")

    assert [text for text in report.tally.notices if "deprecated" in text] == [
        "Meta's answer says: Some parameters are deprecated"
    ]


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path, sandbox).fill()
    monkeypatch.setenv("OFFLINE_CAPI_DATA", project.env["OFFLINE_CAPI_DATA"])
    return project


SENT = json.dumps(
    {
        "data": [
            {
                "event_name": "Purchase",
                "event_id": "order-Canary-17",
                "user_data": {"em": [EM], "client_ip_address": "203.0.113.7", "external_id": ["Kanarienvogel"]},
                "custom_data": {"note": "Jane Canary, Hauptstraße", "value": 12.5, "list": ["Zebra", None, True]},
            }
        ]
    }
).encode()


@pytest.mark.parametrize(
    "quoted",
    [
        "jane",
        "CANARY",
        "Kanarienvogel",
        "Zebra",
        "order-Canary-17",
        EM,
        "203.0.113.7",
        "someone@example.com",
        "+44 7700 900461",
        "Hauptstraße",
        "17",
        "\x1b[31mred",
        "12.5",
    ],
)
def test_p09_no_message_repeats_a_value_of_a_row(quoted: str) -> None:
    told = " ".join(mask_messages([f"Parameter {quoted} of a Purchase was ignored"], [SENT[:9], SENT[9:]]))

    assert "Parameter" in told
    assert "Purchase was ignored" in told
    assert quoted.casefold() not in told.casefold()
    assert told.isprintable()


@pytest.mark.parametrize(
    "messages", [None, [], {}, "", [None, 7, "", "  ", ["x"]], {"message": ""}, [{"text": "x"}], True]
)
def test_what_is_no_message_is_none(messages: object) -> None:
    assert mask_messages(messages) == ()


@pytest.mark.parametrize("messages", ["Word x", {"message": "Word x"}, [{"message": "Word x"}, "Word x", 7]])
def test_a_message_comes_as_a_text_or_in_an_object(messages: object) -> None:
    assert mask_messages(messages) == ("Meta's answer says: Word x",)


def test_messages_are_bounded() -> None:
    told = mask_messages([f"word {'abc ' * 999}{'x' * i}" for i in range(99)] + ["other"])

    assert len(told) == 1
    assert len(told[0]) <= 300 + 40
    assert mask_messages(["abc " * 74 + "wxyz!"])[0].endswith(" wxyz")
    assert len(mask_messages([f"Word {'abcdefghijklm'[i]}" for i in range(13)])) == 5


# ---------------------------------------------------------------------------------------------- codes


@pytest.mark.parametrize("entry", ERROR_TABLE, ids=lambda entry: f"{entry.code}/{entry.subcode}")
def test_every_code_of_a_report_is_explained_as_the_report_spells_it(entry: object) -> None:
    code, subcode = entry.code, entry.subcode  # type: ignore[attr-defined]
    spelled = f"{code}/{subcode}" if subcode else str(code)

    advised = explain_reason(spelled)[1].removeprefix("offline-capi explain ")

    assert parse_code(advised) == (code, subcode)
    assert explain(*(parse_code(spelled) or (0,))).means == entry.means  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    ["100/2804003", "100 2804003", "2804003", "code 100/2804003", "100, 2804003", "100:2804003", "#100/2804003"],
)
def test_a_code_is_explained_in_every_spelling(text: str) -> None:
    assert parse_code(text) == (100, 2804003)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("190/463", (190, 463)),
        ("463", (190, 463)),
        ("(#100)", (100, None)),
        ("-3", (-3, None)),
        ("33", (100, 33)),
        ("100/0", (100, None)),
        ("99", (1, 99)),
        ("1404078", (368, 1404078)),
        ("1815356", (100, 1815356)),
        *((str(subcode), (4, subcode)) for subcode in (1504022, 1504039)),
        *((str(subcode), (17, subcode)) for subcode in (2446079, 1885172)),
        *((str(subcode), (613, subcode)) for subcode in (1487742, 5044001)),
    ],
)
def test_codes_and_subcodes_alone(text: str, numbers: tuple[int, int | None]) -> None:
    assert parse_code(text) == numbers


def test_an_unknown_subcode_of_events_is_known_as_one_and_its_neighbours_are_not() -> None:
    """meta-capi.md 6.3: of an unknown subcode only the family says whether it is about an event."""
    first, last = 2804000, 2804999

    assert [parse_code(str(number)) for number in (first, last)] == [(100, first), (100, last)]
    assert [parse_code(str(number)) for number in (first - 1, last + 1)] == [(first - 1, None), (last + 1, None)]


@pytest.mark.parametrize("text", ["", "abc", "100/abc", "1e3", "too_old", "100/1/2"])
def test_what_is_no_code_is_none(text: str) -> None:
    assert parse_code(text) is None


def test_2804001_is_a_click_id() -> None:
    assert "click id" in explain(100, 2804001).means


def test_no_source_is_a_file_that_nobody_has() -> None:
    sources = [explain(entry.code, entry.subcode).source for entry in ERROR_TABLE] + [explain(424242).source]

    assert not any(".md" in source or source in ("RS", "L", "B", "CRM") for source in sources)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["100/2804019"], "wrongly typed field"),
        (["100", "2804003"], "too old"),
        (["2804001"], "click id"),
        (["190/463"], "expired"),
        (["-3"], "internal error"),
        (["too_old"], "older than Meta accepts"),
    ],
)
def test_the_command_takes_what_reports_print(
    tmp_path: Path, sandbox: Sandbox, arguments: list[str], says: str
) -> None:
    said = Project(tmp_path, sandbox).run("explain", *arguments)

    assert (said.code, says in said.out) == (0, True), said.err


def test_what_nobody_can_explain_is_told_and_is_no_success(tmp_path: Path, sandbox: Sandbox) -> None:
    said = Project(tmp_path, sandbox).run("explain", "what")

    assert said.code != 0
    assert "100/2804003" in said.err
