"""What Meta asks for is obeyed (P8), and who waits does so without the others."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Barrier, BrokenBarrierError, Event, Lock

import pyarrow as pa
import pytest

from offline_capi.config.upload import Delivery
from offline_capi.delivery import Clock, DeliveryPolicy
from offline_capi.delivery.payload import Body
from offline_capi.ledger import Claim, Ledger
from offline_capi.meta.graph.response import Response
from offline_capi.model import EventBatch, Fate, Request
from offline_capi.sandbox.meters import Limits, Meters
from tests.delivery.edge import Edge, Way
from tests.delivery.world import NOW, PIXELS, World, built, rows_of, ways

ACME, BANK = PIXELS["acme"], PIXELS["bank"]


def of_acme_and_bank(count: int) -> EventBatch:
    own = [rows_of(client, count).table for client in ("acme", "bank")]
    return EventBatch(pa.concat_batches(own).take(pa.array([i // 2 + count * (i % 2) for i in range(2 * count)])))


def gaps(edge: Edge, pixel: str) -> list[float]:
    """Seconds between the requests to a pixel, as they arrived."""
    times = [request["at"] for request in edge.state.memory.requests(pixel=pixel)]
    return [later - earlier for earlier, later in pairwise(times)]


def business(percent: float, minutes: int = 0) -> dict[str, str]:
    used = {"call_count": percent, "total_time": 1, "estimated_time_to_regain_access": minutes}
    return {"X-Business-Use-Case-Usage": json.dumps({"1": [used]})}


TOLD = {
    "Retry-After in seconds": ({"Retry-After": "42"}, 42),
    "Retry-After as a date": (
        {"Retry-After": "Tue, 24 Nov 2026 03:05:00 GMT", "Date": "Tue, 24 Nov 2026 03:00:00 GMT"},
        300,
    ),
    "minutes of a business use case": (business(100, minutes=2), 120),
    "seconds of an ad account": ({"X-Ad-Account-Usage": '{"acc_id_util_pct": 100, "reset_time_duration": 90}'}, 90),
    "the longer of two": ({"Retry-After": "5", **business(100, minutes=3)}, 180),
}


@pytest.mark.parametrize(("headers", "seconds"), TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("kind", ["unavailable", "account_throttled", "user_throttled", "slow"])
def test_p08_no_request_of_the_client_comes_earlier_than_told(
    world: World, kind: str, headers: dict[str, str], seconds: float
) -> None:
    """Whatever the answer is beside it: an error, a throttle, a success. Other clients do not wait for it."""
    plain = {"delay": 0} if kind == "slow" else {"usage": 0}
    world.edge.fault(kind, pixel=ACME, times=1, headers=headers, **plain)

    tally = world.run(built(of_acme_and_bank(4)), DeliveryPolicy(concurrency=1), max_events=1)

    assert tally.count(Fate.SENT) == 8
    assert gaps(world.edge, ACME)[0] >= seconds
    assert kind != "slow" or gaps(world.edge, ACME)[0] < seconds + 0.1  # after a success there is no backoff beside it
    assert len(world.edge.state.memory.requests(pixel=BANK)) == 4


@pytest.mark.parametrize(("percent", "least"), [(0, 0), (74, 0), (75, 2), (89, 2), (90, 30), (99, 30), (100, 30)])
def test_p08_slows_at_75_per_cent_and_pauses_at_90(world: World, percent: float, least: float) -> None:
    world.edge.fault("slow", delay=0, pixel=ACME, headers=business(percent))

    world.run(built(rows_of("acme", 5)), DeliveryPolicy(concurrency=1), max_events=1)

    assert len(gaps(world.edge, ACME)) == 4
    assert all(gap >= least for gap in gaps(world.edge, ACME))
    assert least or not any(gaps(world.edge, ACME))


@pytest.mark.parametrize(("percent", "least"), [(74, 0), (75, 2), (90, 30)])
def test_p08_the_allowance_of_the_app_is_everybody_s(world: World, percent: float, least: float) -> None:
    """Only one client's answers tell of it; both clients slow down, and neither comes earlier than the other may."""
    headers = {"X-App-Usage": json.dumps({"call_count": percent})}
    world.edge.fault("slow", delay=0, pixel=ACME, headers=headers)

    world.run(built(of_acme_and_bank(4)), DeliveryPolicy(concurrency=1, in_flight=1), max_events=1)

    after_acme = [
        later["at"] - earlier["at"] for earlier, later in pairwise(world.edge.requests) if earlier["pixel"] == ACME
    ]
    assert all(gap >= least for gap in after_acme)
    assert least or not any(after_acme)


def test_p08_requests_that_wait_for_a_slot_hear_of_a_wait_too(world: World) -> None:
    """Four of a client's requests were begun, with one place for all: the first of them is told to wait."""
    world.edge.fault("too_many_requests", retry_after=50, times=1, first_request=2)

    tally = world.run(built(rows_of("acme", 9)), DeliveryPolicy(concurrency=4, in_flight=1), max_events=1)

    assert tally.count(Fate.SENT) == 9
    assert gaps(world.edge, ACME)[1] >= 50


# ---------------------------------------------------------------------------------------------- by use

#: Of one pixel, and of all of them together.
ALLOWANCES = {"its own": {"pixel_calls": 100}, "the app's": {"app_calls": 100}}


@pytest.mark.parametrize("allowance", ALLOWANCES.values(), ids=ALLOWANCES)
def test_p08_an_allowance_that_comes_back_in_time_is_never_used_up(world: World, allowance: dict[str, int]) -> None:
    """The sandbox counts the calls of five minutes and tells how many are used: 250 pass where 100 may, none too many.

    At first they follow each other at once.
    """
    world.edge.state.meters = Meters(Limits(seconds=300, **allowance))

    tally = world.run(built(rows_of("acme", 250)), DeliveryPolicy(concurrency=1), max_events=1)

    assert tally.count(Fate.SENT) == 250
    assert {request["status"] for request in world.edge.requests} == {200}
    assert sum(gaps(world.edge, ACME)[:74]) == 0
    assert tally.tries == 250


def test_p08_an_allowance_that_does_not_come_back_in_time_is_not_overdrawn(world: World) -> None:
    """The hundredth answer says that there is nothing left for an hour: no request leaves to hear it once more.

    The other client has an allowance of its own.
    """
    world.edge.state.meters = Meters(Limits(pixel_calls=100))

    tally = world.run(built(of_acme_and_bank(120))[:1], DeliveryPolicy(concurrency=1), max_events=1)

    assert {pixel: own["requests"] for pixel, own in world.edge.state.memory.totals().items()} == {ACME: 100, BANK: 100}
    assert (tally.count(Fate.SENT), tally.count_reasons(Fate.DEFERRED)) == (200, {("throttled", ""): 40})


def test_p08_a_run_that_meets_a_used_up_allowance_waits_for_it(world: World) -> None:
    """Used up by somebody else: the first request is throttled and told for how long, and comes again then."""
    world.edge.state.meters = Meters(Limits(pixel_calls=1, seconds=240))
    world.run(built(rows_of("acme", 1)), DeliveryPolicy(), max_events=1)

    tally = world.run(built(rows_of("acme", 2)), DeliveryPolicy(concurrency=1), max_events=1)

    assert [request["code"] for request in world.edge.requests] == [None, 80004, None]
    assert tally.count(Fate.SENT) == 1
    assert gaps(world.edge, ACME)[1] >= 240


# ---------------------------------------------------------------------------------------------- fairness

CLIENTS = [f"c{number:02}" for number in range(20)]
SLOW, THROTTLED, *QUICK = CLIENTS
MANY = {client: f"70000000{client[1:]}" for client in CLIENTS}
REQUESTS_EACH = 12


@dataclass
class Crowd:
    """Knows when every request of the quick clients has come; waits at most so long for them, and remembers that."""

    awaited: int = len(QUICK) * REQUESTS_EACH
    all_came: Event = field(default_factory=Event)
    held_up: bool = False
    _lock: Lock = field(default_factory=Lock)

    def one_came(self) -> None:
        with self._lock:
            self.awaited -= 1
        if not self.awaited:
            self.all_came.set()

    def wait(self) -> None:
        self.held_up = self.held_up or not self.all_came.wait(10)


@dataclass(frozen=True)
class Wrapped:
    """A client's way to Meta with something that happens on it."""

    way: Way

    @property
    def envelope(self) -> object:
        return self.way.envelope

    @property
    def token(self) -> object:
        return self.way.token


@dataclass(frozen=True)
class Crowded(Wrapped):
    """A client's way that tells the crowd, or, after its first request, is answered only when the crowd has come."""

    crowd: Crowd
    slow: bool = False
    came: list[Body] = field(default_factory=list)

    def post(self, pixel: str, body: Body) -> Response:
        self.came.append(body)
        if self.slow and len(self.came) > 1:
            self.crowd.wait()
        elif not self.slow:
            self.crowd.one_came()
        return self.way.post(pixel, body)


def test_a_slow_and_a_throttled_client_hold_nobody_up() -> None:
    """Twenty clients; those two stand first in the source, with all their rows. By order of arrival, not by time.

    The slow one is answered, and the throttled one's time passes, only when all requests of the others have come.
    """
    crowd, passed = Crowd(), [0.0]
    tokens = {pixel: f"token-{pixel}" for pixel in MANY.values()}
    edge = Edge(tokens)
    edge.state.clock.fixed = NOW.timestamp()
    edge.fault("account_throttled", pixel=MANY[THROTTLED], retry_after=100, usage=0, times=1)
    senders = {client: Crowded(way, crowd, slow=client == SLOW) for client, way in ways(edge, MANY, tokens).items()}
    senders[THROTTLED] = senders[THROTTLED].way
    rows = [rows_of(client, REQUESTS_EACH, MANY[client]) for client in CLIENTS]

    def sleep(seconds: float) -> None:
        crowd.wait()
        passed[0] += seconds

    with closing(edge), Ledger("sqlite://", clock=NOW.timestamp) as ledger:
        clock = Clock(lambda: passed[0], sleep, lambda: 0.5)
        world = World(edge, ledger, senders)
        tally = world.run([one for own in rows for one in built(own)], DeliveryPolicy(), max_events=1, clock=clock)

    assert not crowd.held_up  # neither was answered, or allowed again, before everybody else had come
    assert tally.count(Fate.SENT) == len(CLIENTS) * REQUESTS_EACH


# ---------------------------------------------------------------------------------------------- in flight


@dataclass
class Together:
    """An endpoint that answers only when so many requests are with it, and notes the most that ever were."""

    size: int
    most: int = 0
    inside: int = 0

    def __post_init__(self) -> None:
        self._meeting, self._lock = Barrier(self.size), threading.Lock()

    def meet(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            self._meeting.wait(20)
        except BrokenBarrierError:  # a client's first request goes alone: the others may have ended by then
            self._meeting.reset()
        with self._lock:
            self.inside -= 1


@dataclass(frozen=True)
class Meeting(Wrapped):
    together: Together

    def post(self, pixel: str, body: Body) -> Response:
        self.together.meet()
        return self.way.post(pixel, body)


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_no_more_requests_are_in_flight_over_all_clients_than_allowed(world: World, in_flight: int) -> None:
    """Three clients with one first request each; the endpoint waits for as many as may be with it at once."""
    together = Together(in_flight)
    world.senders = {client: Meeting(way, together) for client, way in world.senders.items()}
    rows = [rows_of(client, 4) for client in PIXELS]

    tally = world.run(
        [one for own in rows for one in built(own)], DeliveryPolicy(concurrency=4, in_flight=in_flight), max_events=1
    )

    assert tally.count(Fate.SENT) == 12
    assert together.most == in_flight


@dataclass(frozen=True)
class OneByOne(Wrapped):
    """Four requests after the first come together and are answered one after the other, a moment apart."""

    met: Barrier
    turns: list[Event]
    came: list[Body] = field(default_factory=list)

    def post(self, pixel: str, body: Body) -> Response:
        self.came.append(body)
        if len(self.came) == 1:
            return self.way.post(pixel, body)
        turn = self.met.wait(20) % len(self.turns)
        self.turns[turn - 1].wait(20 if turn else 0)
        time.sleep(0.1)
        self.turns[turn].set()
        return self.way.post(pixel, body)


def count_claims(world: World, monkeypatch: pytest.MonkeyPatch, *, frequent: int) -> list[int]:
    """The claims of each transaction in a run of nine requests, of which four may be in flight.

    "Close together" is made long, so that no machine is too slow.
    """
    dispatch = importlib.import_module("offline_capi.delivery.dispatch")
    monkeypatch.setattr(dispatch, "ANSWER_BATCH_WINDOW_S", 20.0)
    monkeypatch.setattr(dispatch, "FREQUENT_RESULTS", frequent)
    monkeypatch.setattr(dispatch, "FREQUENT_WITHIN_S", 3600.0)
    journal, claimed = world.ledger.journal, list[int]()
    claim, together = journal.claim, journal.claim_together

    @contextmanager
    def counted() -> Iterator[None]:
        claimed.append(0)
        with together():
            yield

    def noted(run: str, wanted: Request, *, replaces: str | None = None) -> Claim:
        claimed[-1] += len(wanted.events)
        return claim(run, wanted, replaces=replaces)

    monkeypatch.setattr(journal, "claim_together", counted)
    monkeypatch.setattr(journal, "claim", noted)

    tally = world.run(built(rows_of("acme", 9)), DeliveryPolicy(concurrency=4), max_events=1)

    assert tally.count(Fate.SENT) == 9
    return claimed


def test_answers_that_come_close_together_are_followed_by_claims_in_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger waits for its disk once for all of them."""
    world.senders["acme"] = OneByOne(world.senders["acme"], Barrier(4), [Event() for _ in range(4)])

    assert count_claims(world, monkeypatch, frequent=1) == [1, 4, 4]


@dataclass(frozen=True)
class AfterTheSixth(Wrapped):
    """Of the first requests together, one is answered at once, the others when another has come."""

    sixth: Event
    came: list[Body] = field(default_factory=list)

    def post(self, pixel: str, body: Body) -> Response:
        self.came.append(body)
        number = len(self.came)
        if number == 6:
            self.sixth.set()
        if number > 2:
            self.sixth.wait(5)
        return self.way.post(pixel, body)


def test_where_answers_are_rare_a_free_slot_does_not_wait_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.senders["acme"] = AfterTheSixth(world.senders["acme"], Event())

    assert count_claims(world, monkeypatch, frequent=1000)[:3] == [1, 4, 1]


def test_the_bounds_of_requests_in_flight_are_settings() -> None:
    assert (Delivery().concurrency, Delivery().in_flight) == (DeliveryPolicy().concurrency, DeliveryPolicy().in_flight)
