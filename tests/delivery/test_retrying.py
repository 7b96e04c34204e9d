"""Transient faults are retried, permanent ones never (P6); what Meta asks for is obeyed (P8)."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from offline_capi.delivery import Clock, DeliveryPolicy, RetryPolicy
from offline_capi.delivery.attempts import PostResult
from offline_capi.model import Fate, Reason
from tests.delivery.sending import ACME, OTHER, Night, batch, names
from tests.support.sandbox_server import OTHER_PIXEL, PIXEL, Sandbox

TRANSIENT = [
    "unavailable",
    "unknown_error",
    "store_then_fail",
    "too_many_requests",
    "app_throttled",
    "user_throttled",
    "account_throttled",
    "html",
    "malformed",
    "cut_before_body",
    "cut_before_store",
    "cut_after_store",
    "cut_amid_answer",
]


@pytest.mark.parametrize("kind", TRANSIENT)
def test_p06_a_passing_fault_is_retried_and_counts_once(night: Night, sandbox: Sandbox, kind: str) -> None:
    sandbox.fault(kind, times=2)

    books = night.send([batch(names("e", 5))])

    assert books.counts == {Fate.SENT: 5}
    assert {times for _, _, _, times, _ in sandbox.tally()} == {1}
    assert books.outcomes[-1].tries == 3
    assert len(night.time.slept) >= 2


@pytest.mark.parametrize("code", [4, 17, 32, 341, 613, 80000, 80001, 80003, 80004, 80014, 1, 2, -1])
def test_p06_codes_that_pass_are_retried_whatever_the_status(night: Night, sandbox: Sandbox, code: int) -> None:
    sandbox.fault("unavailable", status=400, code=code, times=1, is_transient=False)

    books = night.send([batch(["e-1"])])

    assert books.fates == {"e-1": Fate.SENT}


def test_p06_an_unknown_code_is_retried_where_meta_calls_it_transient(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("unavailable", status=400, code=424242, times=1, is_transient=True)

    assert night.send([batch(["e-1"])]).fates == {"e-1": Fate.SENT}


@pytest.mark.parametrize("code", [100, 190])
def test_p06_permanent_faults_are_never_retried(night: Night, sandbox: Sandbox, code: int) -> None:
    sandbox.fault("unavailable", status=400, code=code, is_transient=False)

    night.send([batch(["e-1"])])

    assert len(sandbox.requests) == 1


def test_p06_tries_are_bounded_and_a_lost_answer_is_in_doubt(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("unavailable")

    books = night.send([batch(["e-1"])])

    assert len(sandbox.requests) == 6
    assert books.fates == {"e-1": Fate.UNCONFIRMED}


def test_p06_time_is_bounded(night: Night, sandbox: Sandbox) -> None:
    night.policy = DeliveryPolicy(RetryPolicy(max_tries=20, max_wait_s=100.0), concurrency=1)
    sandbox.fault("unavailable")

    night.send([batch(["e-1"])])

    assert night.time.now <= 100.0


def test_p06_an_endpoint_that_cannot_be_reached_is_tried_for_one_request_only(night: Night) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        night.url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        books = night.send([batch(names("e", 50))], max_events=1)

    assert books.counts == {Fate.DEFERRED: 50}
    assert {outcome.reason for outcome in books.outcomes} == {Reason.UNREACHABLE}
    assert sum(outcome.tries for outcome in books.outcomes) == 6
    (told,) = {outcome.explanation for outcome in books.outcomes}
    assert night.url in told
    assert "after 6 tries" in told


def test_p06_a_fault_of_one_pixel_does_not_hold_the_others(night: Night, sandbox: Sandbox) -> None:
    """The endpoint is there: other clients are accepted all the time, also while this one waits to try again."""
    sandbox.fault("unavailable", pixel=PIXEL)

    def sleep(seconds: float) -> None:
        night.time.sleep(seconds)
        time.sleep(0.02)  # else six tries may be over before anybody else has had an answer

    night.clock = replace(night.time.clock, sleep=sleep)

    many = [batch(names(f"o{i}", 10), client=OTHER) for i in range(40)]
    books = night.send([batch(names("a", 10)), *many], max_events=2)  # others are busy for longer than it tries

    assert len(books.of(Fate.SENT)) == 400


def test_p03_events_in_doubt_are_settled_by_the_next_run_and_count_once(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("cut_after_store")
    first = night.send([batch(names("e", 10))])
    sandbox.heal()

    second = night.send([batch(names("e", 10))])

    assert first.counts == {Fate.UNCONFIRMED: 10}
    assert second.counts == {Fate.SENT: 10}
    assert {times for _, _, _, times, _ in sandbox.tally()} == {1}


def test_p08_retry_after_is_obeyed(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("too_many_requests", times=1, retry_after=42)

    night.send([batch(["e-1"])])

    assert night.time.now >= 42


def test_p08_a_client_that_was_told_to_wait_waits_with_all_its_requests(night: Night, sandbox: Sandbox) -> None:
    """Not only the request that was told: another one meanwhile would come earlier than Meta said. In real time."""
    night.policy, night.clock = DeliveryPolicy(concurrency=2), Clock(jitter=lambda: 0.0)
    sandbox.fault("too_many_requests", times=1, retry_after=1, event_ids=["e-2"])
    sandbox.fault("slow", delay=0.5, event_ids=["e-4"])  # it flies beside that one, until the other has been told

    night.send([batch(names("e", 12))], max_events=2)

    told = next(request["elapsed"] for request in sandbox.requests if request["status"] == 429)
    earlier = [request for request in sandbox.requests if request["elapsed"] < told + 1.0]
    assert len(earlier) <= 3  # the first of all, the one that was told, and one that had left beside it
    assert len(sandbox.requests) == 6 + 1


def test_p08_a_wait_longer_than_the_run_may_holds_the_client(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("account_throttled", retry_after=3600)

    books = night.send([batch(names("e", 30))], max_events=10)

    assert books.counts == {Fate.DEFERRED: 30}
    assert {outcome.reason for outcome in books.outcomes} == {Reason.THROTTLED}
    assert len(sandbox.requests) == 1
    assert night.time.slept == []


@pytest.mark.parametrize(("usage", "least"), [(80, 1.0), (95, 30.0)])
def test_p08_usage_headers_slow_us_down(night: Night, sandbox: Sandbox, usage: float, least: float) -> None:
    sandbox.fault("usage", usage=usage)

    night.send([batch(names("e", 2))], max_events=1)

    assert night.time.now >= least


def test_p08_a_client_that_waits_does_not_hold_up_the_others(night: Night, sandbox: Sandbox) -> None:
    night.policy = DeliveryPolicy(RetryPolicy(max_tries=2, max_wait_s=60), concurrency=1)
    sandbox.fault("account_throttled", pixel=PIXEL, retry_after=20)

    mixed = [batch([f"{name}-{i}"], client=client) for i in range(60) for name, client in (("a", ACME), ("o", OTHER))]
    books = night.send(mixed, max_events=1)

    assert len(books.of(Fate.SENT)) == 60
    assert len(sandbox.ids_of(OTHER_PIXEL)) == 60


def test_the_policy_doubles_its_backoff_up_to_a_minute_and_ends_after_six_tries_or_ten_minutes() -> None:
    policy = RetryPolicy()

    assert [policy.choose_backoff_s(tries, 1.0) for tries in (1, 2, 5, 6, 7)] == [2, 4, 32, 60, 60]
    assert policy.choose_backoff_s(2, 0.25) == 1
    assert [policy.choose_slow_down_s(usage) for usage in (74.9, 75, 89.9, 90, 100)] == [0, 2, 2, 30, 30]
    assert [policy.is_final(PostResult(tries), time_left_s=0.0) for tries in (5, 6)] == [False, True]
    assert policy.is_final(PostResult(1), time_left_s=-0.1)
    assert policy.is_final(PostResult(1, lasting=True), time_left_s=1.0)
    assert policy.max_wait_s == 600
