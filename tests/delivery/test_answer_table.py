"""The table of answers, row by row, as a sender lives it: what is retried, what is not, who stops (P6)."""

from __future__ import annotations

import pytest

from offline_capi.delivery import DeliveryPolicy, RetryPolicy
from offline_capi.meta.graph.error_table import ERROR_TABLE, Action, Entry, Scope
from offline_capi.model import Fate, Reason
from tests.delivery.sending import ACME, OTHER, FakeTime, Night, batch
from tests.support.sandbox_server import OTHER_PIXEL, PIXEL, Sandbox

MAX_TRIES, MAX_WAIT = 6, 600.0

#: What of it becomes an event whose request is answered so for ever, and in how many requests.
FOR_EVER = {
    Action.RETRY: (Fate.UNCONFIRMED, MAX_TRIES),
    Action.WAIT: (Fate.DEFERRED, MAX_TRIES),
    Action.ISOLATE: (Fate.REJECTED_BY_META, 1),
    Action.STOP: (Fate.DEFERRED, 1),
}
PASSING = (Action.RETRY, Action.WAIT)


def named(entry: Entry) -> str:
    return f"{entry.code}-{entry.subcode}-{entry.action}"


def answered(sandbox: Sandbox, entry: Entry, **more: object) -> None:
    sandbox.fault(
        "unavailable", status=400, code=entry.code, subcode=entry.subcode, is_transient=False, pixel=PIXEL, **more
    )


@pytest.mark.parametrize("entry", ERROR_TABLE, ids=named)
def test_p06_a_row_of_the_table_decides_how_often_its_answer_is_heard(
    night: Night, sandbox: Sandbox, entry: Entry
) -> None:
    """For ever: at most six tries in ten minutes where it may pass, one where it will not."""
    answered(sandbox, entry)

    books = night.send([batch(["a-0"])])

    fate, requests = FOR_EVER[entry.action]
    assert books.fates == {"a-0": fate}
    assert len(sandbox.requests) == requests
    assert night.time.now <= MAX_WAIT


@pytest.mark.parametrize("entry", [entry for entry in ERROR_TABLE if entry.action in PASSING], ids=named)
def test_p06_what_passes_is_sent_the_same_night_and_counts_once(night: Night, sandbox: Sandbox, entry: Entry) -> None:
    answered(sandbox, entry, times=2)

    books = night.send([batch(["a-0"])])

    assert books.fates == {"a-0": Fate.SENT}
    assert books.outcomes[-1].tries == len(sandbox.requests) == 3
    assert sandbox.count_of("a-0") == 1


@pytest.mark.parametrize("entry", [entry for entry in ERROR_TABLE if entry.action is Action.STOP], ids=named)
def test_p07_a_row_that_stops_does_so_for_its_client_or_for_the_app(
    night: Night, sandbox: Sandbox, entry: Entry
) -> None:
    """Once; the other client is delivered whole, unless the fault is the app's own."""
    answered(sandbox, entry)
    if entry.scope is Scope.APP:
        sandbox.fault("slow", delay=1.0, pixel=OTHER_PIXEL)  # or all of it might be sent before the fault is answered

    books = night.send([batch(["a-0", "a-1"]), batch(["o-0", "o-1"], client=OTHER)], max_events=1)

    others = Fate.DEFERRED if entry.scope is Scope.APP else Fate.SENT
    assert {books.fates["a-0"], books.fates["a-1"]} == {Fate.DEFERRED}
    assert books.fates["o-1"] is others
    assert len(sandbox.requests_to(PIXEL)) == 1
    told = {outcome.explanation for outcome in books.outcomes if outcome.request.client == ACME}
    assert len(told) == 1
    assert f"code {entry.code}" in told.pop()


#: Faults without a word of Meta's; ``timeout`` is the sandbox that answers later than we wait.
WORDLESS = {
    "timeout": {"kind": "slow", "delay": 1.5},
    "cut connection": {"kind": "cut_after_store"},
    "cut before the body": {"kind": "cut_before_body"},
    "cut amid the answer": {"kind": "cut_amid_answer"},
    "HTML": {"kind": "html", "status": 400},
    "broken JSON": {"kind": "malformed"},
    **{f"HTTP {status} HTML": {"kind": "html", "status": status} for status in (408, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("fault", WORDLESS.values(), ids=WORDLESS)
def test_p06_a_fault_without_words_passes_in_six_tries_or_ends_in_ten_minutes(
    night: Night, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    """Twice is no matter; for ever ends unconfirmed or deferred, and never in a seventh try."""
    night.timeout = 1.0
    sandbox.fault(pixel=PIXEL, times=2, **fault)
    sandbox.fault(pixel=OTHER_PIXEL, **fault)

    twice = night.send([batch(["a-0"])])
    spent = night.time.now
    for_ever = night.send([batch(["o-0"], client=OTHER)])

    assert twice.fates == {"a-0": Fate.SENT}
    assert sandbox.count_of("a-0") == 1
    assert for_ever.fates["o-0"] in (Fate.UNCONFIRMED, Fate.DEFERRED)
    assert len(sandbox.requests_to(OTHER_PIXEL)) == MAX_TRIES
    assert night.time.now - spent <= MAX_WAIT


def test_p06_pauses_grow_and_are_jittered_in_full(night: Night, sandbox: Sandbox) -> None:
    """Between none and a bound that doubles: chance decides, half of it here."""
    sandbox.fault("unavailable")

    night.send([batch(["a-0"])])

    bounds = [2.0**tries for tries in range(1, MAX_TRIES)]
    assert night.time.now == sum(bound / 2 for bound in bounds)


@pytest.mark.parametrize(("wait", "tries"), [(0.0, 1), (4.0, 3), (600.0, 6)])
def test_p06_no_try_begins_after_the_time_is_up(night: Night, sandbox: Sandbox, wait: float, tries: int) -> None:
    night.policy = DeliveryPolicy(RetryPolicy(max_wait_s=wait), concurrency=1)
    night.time = FakeTime()
    sandbox.fault("unavailable")

    night.send([batch(["a-0"])])

    assert len(sandbox.requests) == tries
    assert night.time.now <= wait


def test_p06_a_slot_in_flight_that_comes_free_too_late_holds_the_request_and_stops_nobody(
    night: Night, sandbox: Sandbox
) -> None:
    """One place for all; the first request of a client keeps it for longer than the others may wait."""
    night.policy = DeliveryPolicy(RetryPolicy(max_wait_s=0.1), concurrency=1, in_flight=1)
    sandbox.fault("slow", delay=1.0, pixel=PIXEL, times=1)

    books = night.send([batch(["a-0"]), batch(["o-0"], client=OTHER), batch(["a-1"])], max_events=1)
    again = night.send([batch(["o-0"], client=OTHER)])

    deferred = [outcome for outcome in books.outcomes if outcome.fate is Fate.DEFERRED]
    assert books.fates == {"a-0": Fate.SENT, "o-0": Fate.DEFERRED, "a-1": Fate.SENT}
    assert [(outcome.reason, outcome.tries) for outcome in deferred] == [(Reason.NOT_SENT, 0)]
    assert again.fates == {"o-0": Fate.SENT}
