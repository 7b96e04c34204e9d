"""An outcome is asserted whole: fate, tries, reason, Meta's code, subcode and trace. Reports and ledger stand on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from threading import Semaphore
from typing import Any

import pytest

from offline_capi.delivery import DeliveryPolicy, RetryPolicy
from offline_capi.delivery.attempts import PostResult
from offline_capi.delivery.breaker import Breaker
from offline_capi.delivery.outcomes import OutcomeBuilder
from offline_capi.delivery.throttle import Throttle, Throttles
from offline_capi.meta.graph.error_table import Action, Scope
from offline_capi.meta.graph.response import Response, classify_response, parse_response
from offline_capi.model import Fate, Outcome, Reason, Request
from tests.delivery.edge import Edge, Way
from tests.delivery.sending import ACME, OTHER, FakeTime, Night, batch, ids_of, names
from tests.support.sandbox_server import Sandbox

Whole = tuple[tuple[str, ...], Fate, int, Reason | None, int | None, int | None]


def whole(outcomes: Iterable[Outcome]) -> list[Whole]:
    """Ids, fate, tries, reason, code, subcode; requests that live on in smaller ones have no ids left."""
    return [
        (tuple(ids_of(one.request.events)), one.fate, one.tries, one.reason, one.code, one.subcode) for one in outcomes
    ]


def trace_of(sandbox: Sandbox, place: int) -> str:
    """Meta's support id of a request, counted from 0."""
    return str(sandbox.requests[place]["trace_id"])


def test_a_success_is_reported_whole(night: Night, sandbox: Sandbox) -> None:
    books = night.send([batch(["e-0", "e-1"])])

    assert whole(books.outcomes) == [(("e-0", "e-1"), Fate.SENT, 1, None, None, None)]
    assert books.outcomes[0].trace_id == trace_of(sandbox, 0)


@pytest.mark.parametrize("subcode", [2804003, None])
def test_a_refusal_is_reported_whole(night: Night, sandbox: Sandbox, subcode: int | None) -> None:
    """Code and subcode are what ``explain`` takes; the trace is what Meta's support asks for."""
    sandbox.refuse("e-1", code=100, subcode=subcode)

    books = night.send([batch(["e-0", "e-1"])])

    assert whole(books.outcomes) == [
        ((), Fate.UNCONFIRMED, 1, None, 100, subcode),
        (("e-1",), Fate.REJECTED_BY_META, 0, None, 100, subcode),
        (("e-0",), Fate.SENT, 1, None, None, None),
    ]
    assert [one.trace_id for one in books.outcomes] == [trace_of(sandbox, place) for place in (0, 0, 1)]


def test_an_event_that_was_not_counted_is_reported_whole(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("short_answer", event_ids=["e-0"])

    books = night.send([batch(["e-0"])])

    assert whole(books.outcomes) == [(("e-0",), Fate.REJECTED_BY_META, 1, Reason.NOT_COUNTED, None, None)]


def test_a_refused_token_is_reported_whole(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("expired_token")

    books = night.send([batch(["e-0"]), batch(["e-1"])], max_events=1)

    assert whole(books.outcomes) == [
        (("e-0",), Fate.DEFERRED, 1, Reason.CLIENT_STOPPED, 190, 463),
        (("e-1",), Fate.DEFERRED, 0, Reason.CLIENT_STOPPED, None, None),
    ]
    assert books.outcomes[0].trace_id == trace_of(sandbox, 0)
    assert "code 190/463" in books.outcomes[1].explanation


@pytest.mark.parametrize(
    ("kind", "code", "subcode"), [("cut_after_store", None, None), ("unavailable", 2, None), ("unknown_error", 1, 99)]
)
def test_events_in_doubt_are_reported_whole(
    night: Night, sandbox: Sandbox, kind: str, code: int | None, subcode: int | None
) -> None:
    sandbox.fault(kind)

    books = night.send([batch(["e-0"])])

    assert whole(books.outcomes) == [(("e-0",), Fate.UNCONFIRMED, 6, Reason.LOST_ANSWER, code, subcode)]


def test_a_throttle_that_does_not_end_is_reported_whole(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("user_throttled", retry_after=3600)

    books = night.send([batch(["e-0"]), batch(["e-1"])], max_events=1)

    assert whole(books.outcomes) == [
        (("e-0",), Fate.DEFERRED, 1, Reason.THROTTLED, 17, 2446079),
        (("e-1",), Fate.DEFERRED, 0, Reason.THROTTLED, None, None),
    ]


@pytest.mark.parametrize("code", [190, 200])
def test_a_lost_answer_and_then_a_refused_token_counts_once_also_after_metas_window(
    night: Night, sandbox: Sandbox, code: int
) -> None:
    """The first try was stored. Held, its events would be sent anew when Meta has forgotten their ids."""
    sandbox.cut_next(stored=True)
    sandbox.fault("revoked_token", code=code, subcode=None, first_request=2)

    first = night.send([batch(["e-0", "e-1"])])
    sandbox.heal()
    week = datetime.now(UTC) + timedelta(days=8)
    later = night.ledger.journal.look_up(batch(["e-0", "e-1"]), run_id=None, now=week)

    assert whole(first.outcomes) == [(("e-0", "e-1"), Fate.UNCONFIRMED, 2, Reason.LOST_ANSWER, code, None)]
    assert first.outcomes[0].trace_id == trace_of(sandbox, 1)
    assert len(later.fresh) == 0
    assert [(fate, ids_of(events)) for fate, _, events in later.decided] == [(Fate.UNCONFIRMED, ["e-0", "e-1"])]
    assert {times for _, _, _, times, _ in sandbox.tally()} == {1}


def test_a_lost_answer_and_then_a_refused_token_is_settled_by_the_next_run(night: Night, sandbox: Sandbox) -> None:
    sandbox.cut_next(stored=True)
    sandbox.fault("revoked_token", first_request=2)
    night.send([batch(["e-0"])])
    sandbox.heal()

    books = night.send([batch(["e-0"])])

    assert books.counts == {Fate.SENT: 1}
    assert sandbox.count_of("e-0") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_p06_a_fault_of_the_server_with_a_code_that_nobody_knows_is_retried(
    night: Night, sandbox: Sandbox, status: int
) -> None:
    """It is none of an event: taken apart, every event of the request would be refused."""
    body = json.dumps({"error": {"code": 987, "message": "?", "type": "OAuthException"}}).encode()
    sandbox.fault("unavailable", status=status, code=987, is_transient=False, times=1)

    books = night.send([batch(names("e", 4))])

    assert classify_response(parse_response(status, {}, body), 10).action is Action.RETRY
    assert classify_response(parse_response(499, {}, body), 10).action is Action.ISOLATE
    assert whole(books.outcomes) == [(tuple(names("e", 4)), Fate.SENT, 2, None, None, None)]


@pytest.mark.parametrize(("tries", "words"), [(1, "after 1 try."), (2, "after 2 tries.")])
def test_a_request_that_was_given_up_says_after_how_many_tries(
    night: Night, sandbox: Sandbox, tries: int, words: str
) -> None:
    night.policy = DeliveryPolicy(RetryPolicy(max_tries=tries))
    sandbox.fault("unavailable")

    assert words in night.send([batch(["e-0"])]).outcomes[0].explanation


def test_a_fault_whose_wait_is_longer_than_the_run_may_wait_is_given_up_as_a_fault(
    night: Night, sandbox: Sandbox
) -> None:
    sandbox.fault("unavailable", headers={"Retry-After": "3600"})

    books = night.send([batch(["e-0"])])

    assert whole(books.outcomes) == [(("e-0",), Fate.UNCONFIRMED, 1, Reason.LOST_ANSWER, 2, None)]
    assert "after 1 try." in books.outcomes[0].explanation


@pytest.mark.parametrize(
    ("accepted", "stopped"), [([], {ACME, OTHER}), ([OTHER], {ACME}), ([ACME], set()), ([ACME, OTHER], set())]
)
def test_who_had_a_success_since_a_request_left_is_not_stopped_for_its_fault(
    accepted: list[str], stopped: set[str]
) -> None:
    senders: Any = {client: Way(Edge({}), f"token of {client}") for client in (ACME, OTHER)}
    breaker = Breaker(senders)
    for client in accepted:
        breaker.count_accepted(client)

    stop = breaker.trip_for_giving_up(
        Request("1", ACME, "1", batch(["e-0"])), PostResult(6, explanation="gone"), (0, 0)
    )

    assert stop.reason is Reason.UNREACHABLE
    assert {client for client in senders if breaker.find_stop(client)} == stopped


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (None, "was not accepted"),
        (Response(502), "was not accepted (HTTP 502)"),
        (Response(400, code=190, trace_id="AbC"), "was not accepted (code 190, trace AbC)"),
        (Response(400, code=100, subcode=33), "was not accepted (code 100/33)"),
    ],
)
def test_an_answer_is_described_by_its_numbers(response: Response | None, words: str) -> None:
    assert PostResult(1, response).describe("was not accepted") == words


def test_of_different_notices_a_run_keeps_twenty() -> None:
    builder = OutcomeBuilder(lambda: datetime.now(UTC))
    request = Request("1", ACME, "1", batch(["e-0"]))

    kept = [
        builder.build(request, Fate.SENT, PostResult(1, Response(200, notices=tuple(map(str, some))))).notices
        for some in (range(15), range(10, 25), range(30, 33))
    ]

    assert kept == [tuple(map(str, range(15))), tuple(map(str, range(15, 20))), ()]


# ---------------------------------------------------------------------------------------------- whose wait it is


@pytest.mark.parametrize(
    ("client", "everybody", "whose"),
    [(0, 0, None), (7, 0, Scope.CLIENT), (0, 7, Scope.APP), (7, 9, Scope.APP), (9, 7, Scope.CLIENT)],
)
def test_p08_whoever_is_closed_for_longer_holds_a_request_back(
    client: float, everybody: float, whose: Scope | None
) -> None:
    time = FakeTime()
    throttles = Throttles(
        Throttle(), Throttle(), Semaphore(), lambda: False, turn_at=0.0, interval_s=0.0, on_retry=lambda: None
    )
    throttles.client.hold_for(client, time.clock)
    throttles.everybody.hold_for(everybody, time.clock)

    assert throttles.find_longer_hold(time.clock) is whose


def test_p08_a_wait_of_the_app_that_is_longer_than_the_run_may_wait_holds_everybody(
    night: Night, sandbox: Sandbox
) -> None:
    """The first request of all is told, whichever it is; one of the other client that was begun meets it as well."""
    night.policy = DeliveryPolicy(concurrency=1, in_flight=1)
    sandbox.fault("app_throttled", retry_after=3600)

    books = night.send([batch(["a-0"]), batch(["o-0"], client=OTHER), batch(["a-1"], client=ACME)], max_events=1)

    assert books.counts == {Fate.DEFERRED: 3}
    assert {outcome.reason for outcome in books.outcomes} == {Reason.THROTTLED}
    assert len(sandbox.requests) == 1


def test_p08_a_request_held_by_another_senders_throttle_is_throttled_and_not_late(
    night: Night, sandbox: Sandbox
) -> None:
    """It was never tried, and no stop of its own run explains it: the throttle does, not a turn that did not come."""
    night.sharing = True
    sandbox.fault("user_throttled", retry_after=3600, times=1)
    night.send([batch(["e-0"])])

    books = night.send([batch(["e-1"]), batch(["e-2"])], max_events=1)

    assert whole(books.outcomes) == [
        (("e-1",), Fate.DEFERRED, 0, Reason.THROTTLED, None, None),
        (("e-2",), Fate.DEFERRED, 0, Reason.THROTTLED, None, None),
    ]
    assert {one.explanation for one in books.outcomes} == {
        f"{ACME}: Meta asked to wait; its other events wait for the next run"
    }
    assert len(sandbox.requests) == 1
