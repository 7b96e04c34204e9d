"""What an answer asks of us: Meta's codes row by row, and answers that are not as they should be."""

from __future__ import annotations

import json

import pytest

from offline_capi.meta.graph.error_table import ERROR_TABLE, Action, Scope, explain, find_entry
from offline_capi.meta.graph.response import classify_response, parse_response

RETRY, WAIT, ISOLATE, STOP = Action
EVENT, REQUEST, TOKEN, CLIENT, APP = Scope

# meta-capi.md 6.2, in its order; P (stop this client) and F (our configuration) both stop the client.
CODES = [
    (1, None, RETRY, REQUEST),
    (1, 99, RETRY, REQUEST),
    (2, None, RETRY, REQUEST),
    (3, None, STOP, CLIENT),
    (4, None, WAIT, APP),
    (4, 1504022, WAIT, APP),
    (10, None, STOP, CLIENT),
    (17, 2446079, WAIT, CLIENT),
    (17, 1885172, WAIT, CLIENT),
    (32, None, WAIT, CLIENT),
    (100, None, ISOLATE, EVENT),
    (100, 33, STOP, CLIENT),
    (100, 34, STOP, REQUEST),
    (100, 38, STOP, REQUEST),
    (102, None, STOP, TOKEN),
    (104, None, STOP, CLIENT),
    (105, None, STOP, REQUEST),
    (190, None, STOP, TOKEN),
    *((190, subcode, STOP, TOKEN) for subcode in (458, 459, 460, 463, 464, 467, 490, 492)),
    (200, None, STOP, CLIENT),
    (270, None, STOP, CLIENT),
    (299, None, STOP, CLIENT),
    (294, None, STOP, CLIENT),
    (341, None, WAIT, APP),
    (368, None, STOP, CLIENT),
    (368, 1404078, STOP, CLIENT),
    (506, None, STOP, REQUEST),
    (613, None, WAIT, CLIENT),
    (613, 1487742, WAIT, CLIENT),
    (613, 5044001, WAIT, CLIENT),
    (803, None, STOP, CLIENT),
    (2500, None, STOP, CLIENT),
    (2635, None, STOP, APP),
    (2859015, None, WAIT, CLIENT),
    (5000, None, RETRY, REQUEST),
    (21009, None, RETRY, REQUEST),
    *((code, 2446079, WAIT, CLIENT) for code in (80000, 80001, 80002, 80003, 80004, 80005, 80008, 80014)),
    (-3, None, RETRY, REQUEST),
]

UNKNOWN_SUBCODES = (1815356, 2804999)
# meta-capi.md 6.3: subcodes of code 100; one that nobody knows is a fault of an event as well.
EVENT_FAULTS = [
    *(2804001, 2804003, 2804004, 2804007, 2804008, 2804009, 2804010, 2804014, 2804016, 2804017, 2804019, 2804023),
    *(2804030, 2804036, 2804043, 2804048, 2804050, 2804063, 2804066, 2804069, 2804079, 2804087, 2804116, 2804117),
    *(2804118, 2804132, *UNKNOWN_SUBCODES),
]


def error_body(code: object, subcode: int | None = None, **more: object) -> bytes:
    error = {"code": code, "message": "Ungültiger Parameter", "type": "OAuthException", **more}
    return json.dumps({"error": error | ({"error_subcode": subcode} if subcode else {})}).encode()


@pytest.mark.parametrize(("code", "subcode", "action", "scope"), CODES)
@pytest.mark.parametrize("status", [400, 403, 500])
def test_p06_a_code_decides_and_not_the_status(
    code: int, subcode: int | None, action: Action, scope: Scope, status: int
) -> None:
    verdict = classify_response(parse_response(status, {}, error_body(code, subcode)), 10)

    assert (verdict.action, verdict.entry and verdict.entry.scope) == (action, scope)


@pytest.mark.parametrize(
    ("codes", "action"),
    [((-99, -1), RETRY), ((200, 299), STOP), ((80000, 80099), WAIT), ((0, 199, 300, 79999, 80100), ISOLATE)],
)
def test_p06_a_code_without_a_row_is_judged_by_its_family(codes: tuple[int, ...], action: Action) -> None:
    for code in codes:
        assert classify_response(parse_response(400, {}, error_body(code)), 10).action is action, code


@pytest.mark.parametrize("subcode", EVENT_FAULTS)
def test_p04_a_fault_of_an_event_is_isolated(subcode: int) -> None:
    verdict = classify_response(parse_response(400, {}, error_body(100, subcode)), 10)

    assert (verdict.action, verdict.accepted) == (ISOLATE, False)
    assert find_entry(100, subcode).subcode == (None if subcode in UNKNOWN_SUBCODES else subcode)


def test_of_an_answer_to_events_nothing_is_kept_but_what_is_read() -> None:
    body = b'{"events_received": 1, "debug": {"em": "x"}}'

    assert parse_response(200, {}, body).data == {}
    assert parse_response(200, {}, body, keep_data=True).data == {"events_received": 1, "debug": {"em": "x"}}


def test_an_unknown_code_is_told_as_it_came() -> None:
    assert find_entry(424242, 7)[:2] == (424242, 7)


def test_p07_a_dataset_that_does_not_exist_is_no_fault_of_an_event() -> None:
    assert explain(100, 2044055).action is explain(2044055).action is STOP


def test_p07_a_missing_proof_is_told_from_a_bad_event_by_what_it_names() -> None:
    body = error_body(100, message="API calls from the server require an appsecret_proof argument")

    verdict = classify_response(parse_response(400, {}, body), 10)

    assert (verdict.action, verdict.entry and verdict.entry.scope) == (STOP, CLIENT)


@pytest.mark.parametrize(("transient", "action"), [(True, RETRY), (False, ISOLATE)])
def test_p06_transient_decides_about_unknown_codes(transient: bool, action: Action) -> None:
    assert classify_response(parse_response(400, {}, error_body(424242, is_transient=transient)), 1).action is action


def test_p06_not_transient_does_not_override_a_throttle_nor_transient_a_permanent_fault() -> None:
    assert classify_response(parse_response(400, {}, error_body(17, is_transient=False)), 1).action is WAIT
    assert classify_response(parse_response(400, {}, error_body(190, is_transient=True)), 1).action is STOP


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        *((status, b"<html>Sorry</html>", RETRY) for status in (200, 400, 403, 500, 501, 502, 503, 504, 520, 599)),
        *((status, b"", RETRY) for status in (200, 204, 408, 425, 500, 503, 507)),
        (200, b'{"events_rec', RETRY),
        (200, b"[1, 2]", RETRY),
        (200, b'{"events_received": "many"}', RETRY),
        (200, b"\xff\xfe\x00", RETRY),
        (200, b'{"a":' * 5000, RETRY),
        (500, b'{"error": "as text"}', RETRY),
        (500, b'{"error": {"message": "without a code"}}', RETRY),
        (429, b"", WAIT),
        (413, b"", ISOLATE),
        *((status, b"<html>moved</html>", STOP) for status in (300, 302, 399)),
        *((status, b"{}", RETRY) for status in (299, 500, 599)),
        *((status, b"{}", STOP) for status in (300, 399, 400, 499)),
        *((status, b'{"events_received": 10}', action) for status, action in ((199, RETRY), (300, STOP), (400, STOP))),
        (404, b"{}", STOP),
        (401, b"", STOP),
    ],
)
def test_p06_an_answer_without_meta_s_words_is_judged_by_its_status(status: int, body: bytes, action: Action) -> None:
    verdict = classify_response(parse_response(status, {}, body), 10)

    assert (verdict.accepted, verdict.action, verdict.maybe_stored) == (False, action, action is RETRY)


@pytest.mark.parametrize("status", [200, 299])
def test_every_status_of_a_success_may_carry_the_count(status: int) -> None:
    assert classify_response(parse_response(status, {}, b'{"events_received": 10}'), 10).accepted


@pytest.mark.parametrize("body", [b'{"events_received": 3}', b'{"events_received":"3","messages":[]}'])
def test_a_success_needs_nothing_but_the_count(body: bytes) -> None:
    assert classify_response(parse_response(200, {}, body), 3).accepted


@pytest.mark.parametrize(("received", "action"), [(0, ISOLATE), (9, ISOLATE), (10, None)])
def test_p04_a_short_count_is_looked_into(received: int, action: Action | None) -> None:
    assert classify_response(parse_response(200, {}, b'{"events_received": %d}' % received), 10).action is action


@pytest.mark.parametrize(
    "more",
    [
        {"message": "Unexpected key on $['data'][417]"},
        {"error_user_msg": "see data[417] for details"},
        {"error_data": {"path": "$['data'][417]['user_data']"}},
        {"error_data": {"path": '$["data"][417]'}},
        {"error_data": '{"path": "$[\'data\'][417]"}'},
        {"error_data": json.dumps(json.dumps({"blame_field_specs": [['$["data"][417]["event_time"]']]}))},
        {"error_data": {"blame_field_specs": [["data[417][user_data][em]"]]}},
        {"error_data": {"blame_field_specs": [["data", 417, "event_time"]]}},
        {"error_data": '{"blame_field_specs":[["data","417","event_time"]]}'},
        {"error_data": {"error": {"event_index": 417, "code": 2804030}}},
        {"error_data": '{"error":{"event_index":417,"message":"Limited Data Use","code":2804030}}'},
        {"error_data": json.dumps(json.dumps({"event_index": "417"}))},
        {"error_data": r'{"path":"$[\\u0027data\\u0027][417]"}'},
    ],
)
def test_p04_the_index_of_the_culprit_is_found_wherever_meta_names_it(more: dict[str, object]) -> None:
    assert parse_response(400, {}, error_body(100, 2804019, **more)).culprit == 417


@pytest.mark.parametrize(
    "more",
    [
        {},
        *({"error_data": data} for data in (None, "{broken", [1, {"a": 2}], {"blame_field_specs": [["data"]]})),
        {"error_data": {"blame_field_specs": [["custom_data", "data_417"]], "event_index": None}},
        {"message": "(#100) metadata[7] is too long"},
    ],
)
def test_p04_an_answer_that_names_no_event_names_none(more: dict[str, object]) -> None:
    assert parse_response(400, {}, error_body(100, 2804019, **more)).culprit is None


@pytest.mark.parametrize("code", ["190", 190])
def test_a_code_is_read_as_a_number_or_a_text(code: object) -> None:
    assert parse_response(401, {}, error_body(code)).code == 190


def test_p09_a_trace_id_that_is_none_is_not_kept() -> None:
    """It is shown in reports: nothing that could be a value of a row may come in its place."""
    assert parse_response(400, {}, error_body(100, fbtrace_id="AbC-1_x")).trace_id == "AbC-1_x"
    assert parse_response(400, {}, error_body(100, fbtrace_id="someone@example.com")).trace_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "42"}, 42.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "Tue, 24 Nov 2026 03:01:00 GMT", "date": "Tue, 24 Nov 2026 03:00:00 GMT"}, 60.0),
        ({"retry-after": "Tue, 24 Nov 2026 03:01:00 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 02:00:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct": 100, "reset_time_duration": 90}'}, 90.0),
        ({"X-Business-Use-Case-Usage": '{"1": [{"estimated_time_to_regain_access": 2}]}'}, 120.0),
        ({"X-Business-Use-Case": "", "retry-after": "7", "x-ad-account-usage": '{"reset_time_duration": 3}'}, 7.0),
    ],
)
def test_p08_the_longest_wait_that_an_answer_tells_is_obeyed(headers: dict[str, str], seconds: float | None) -> None:
    """``Retry-After`` comes as seconds or as a date; Meta's own headers count minutes or seconds (MAPI)."""
    half_past = 1795489230.0  # 2026-11-24 03:00:30 UTC

    assert (parse_response(429, headers, b"", now=lambda: half_past).wait_s or None) == seconds


@pytest.mark.parametrize(
    ("header", "text", "client", "app"),
    [
        ("X-App-Usage", '{"call_count": 28, "total_time": 91, "total_cputime": 3}', 0, 91),
        ("x-business-use-case-usage", '{"1": [{"call_count": 5}, {"total_cputime": 76}], "2": []}', 76, 0),
        ("x-ad-account-usage", '{"acc_id_util_pct": 9.67}', 9.67, 0),
        ("x-fb-ads-insights-throttle", '{"app_id_util_pct": 100, "acc_id_util_pct": 10}', 100, 0),
        ("x-app-usage", "{broken", 0, 0),
        ("x-app-usage", '{"call_count": NaN, "total_time": true}', 0, 0),
        ("x-app-usage", '{"call_count": 1%s}' % ("0" * 400), 0, 0),
        ("x-app-usage", '{"a":' * 400 + "1" + "}" * 400, 0, 0),
        ("x-app-usage", '{"call_count": 999999999}', 0, 999_999_999),
        ("x-app-usage", '{"call_count": 1000000000}', 0, 0),
        ("x-frame-options", '{"call_count": 99}', 0, 0),
        *(("x-app-usage", '{"a":' * depth + '{"call_count": 9}' + "}" * depth, 0, 9 * (depth < 8)) for depth in (7, 8)),
    ],
)
def test_p08_usage_headers_are_read_leniently(header: str, text: str, client: float, app: float) -> None:
    answer = parse_response(200, {header: text}, b"{}")

    assert (answer.client_usage, answer.app_usage) == (client, app)


def test_what_else_an_answer_says_is_read() -> None:
    """By calls that are no events: a list and its next page, the version that served it, and the tier of access."""
    page = {"data": [{"id": "1"}, "2"], "paging": {"next": "https://x", "cursors": {"after": "c7"}}}
    usage = '{"1": [{"call_count": 1, "ads_api_access_tier": "standard_access"}]}'
    headers = {"Facebook-API-Version": "v26.0", "X-Business-Use-Case-Usage": usage}

    answer = parse_response(200, headers, json.dumps(page).encode(), keep_data=True)
    last = parse_response(200, {}, json.dumps(page | {"paging": {"cursors": {"after": "c7"}}}).encode(), keep_data=True)
    refused = parse_response(200, {}, error_body(190, message="Wording", error_user_msg="for us"), keep_data=True)

    assert (answer.ok, answer.rows, answer.after) == (True, [{"id": "1"}], "c7")
    assert (answer.version, answer.tier, answer.upgraded, answer.notices) == ("v26.0", "standard_access", False, ())
    assert (last.ok, last.after, last.version, last.tier) == (True, None, None, None)
    assert (refused.ok, refused.rows, refused.error_text) == (False, [], "Wording  for us")
    for status, body, is_success in ((199, b"[]", 0), (200, b"{}", 0), (299, b'{"a": 1}', 1), (300, b'{"a": 1}', 0)):
        assert parse_response(status, {}, body, keep_data=True).ok is bool(is_success), status
    assert parse_response(200, {"facebook-api-version": "v26"}, b"").version is None


def test_the_table_has_the_codes_that_meta_documents_or_gave_and_no_others() -> None:
    """meta-capi.md 6.2 and 6.3. A number with a slip of the pen would never be met, and its family would decide."""
    families = {270, 299, 80005, 80008, -3}  # judged by the row of another code
    alone = {code for code, _, _, _ in CODES} - families | {2044055}
    with_subcode = {(100, number) for number in (33, 34, 38, 2044055, *EVENT_FAULTS) if number not in UNKNOWN_SUBCODES}
    with_subcode |= {(190, number) for number in (458, 459, 460, 463, 464, 467, 490, 492)}

    assert {(entry.code, entry.subcode) for entry in ERROR_TABLE} == {(code, None) for code in alone} | with_subcode


def test_every_row_of_the_table_is_told_apart_and_says_what_to_do() -> None:
    assert len({(entry.code, entry.subcode) for entry in ERROR_TABLE}) == len(ERROR_TABLE)
    assert all(entry.means and entry.do and entry.source for entry in ERROR_TABLE)
    assert all(explain(entry.code, entry.subcode).means == entry.means for entry in ERROR_TABLE)
    told = [(one.code, one.subcode) for one in (explain(100, 33), explain(190, 463), explain(424242, 1))]
    assert told == [(100, 33), (190, 463), (424242, 1)]  # as they were asked, whatever row explains them
