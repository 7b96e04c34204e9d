"""Senders of one pixel share what they know of its throttle, and the rates that are set (issue 15, 9)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from offline_capi.delivery import Clock, DeliveryPolicy, Rates, RetryPolicy, cut_requests
from offline_capi.delivery.breaker import Breaker
from offline_capi.delivery.pace import OwnPace, PaceKeeper
from offline_capi.delivery.scheduler import Scheduler
from offline_capi.ledger import Ledger
from offline_capi.model import Fate, Reason
from tests.delivery.sending import ACME, OTHER, Books, FakeTime, Night, batch, names
from tests.delivery.test_pacing import gaps, of_acme_and_bank
from tests.delivery.world import NOW, PIXELS, World, built, rows_of
from tests.support.sandbox_server import OTHER_PIXEL, Sandbox

ACME_PIXEL, BANK_PIXEL = PIXELS["acme"], PIXELS["bank"]


@dataclass
class Others(OwnPace):
    """What other senders have to wait, and what was published to them."""

    waits: dict[str, float] = field(default_factory=dict)
    published: list[dict[str, float]] = field(default_factory=list)

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:
        self.published.append(dict(own))
        return self.waits


# ---------------------------------------------------------------------------------------------- throttles


def test_p08_a_run_that_begins_while_a_pixel_has_to_wait_does_not_ask_again(world: World) -> None:
    """What the first was told holds for the second, and for its pixel only."""
    world.sharing = True
    world.edge.fault("account_throttled", pixel=ACME_PIXEL, retry_after=3600, usage=0)

    world.run(built(rows_of("acme", 1)), DeliveryPolicy(concurrency=1), max_events=1)
    second = world.run(built(of_acme_and_bank(3)), DeliveryPolicy(concurrency=1), max_events=1)

    assert len(world.edge.state.memory.requests(pixel=ACME_PIXEL)) == 1
    assert (second.count(Fate.SENT), second.count_reasons(Fate.DEFERRED)) == (3, {("throttled", ""): 3})


def test_p08_a_run_that_may_wait_so_long_waits_for_what_another_was_told(world: World) -> None:
    world.sharing = True
    world.edge.fault("account_throttled", pixel=ACME_PIXEL, retry_after=700, usage=0, times=1)
    world.run(built(rows_of("acme", 1)), DeliveryPolicy(RetryPolicy(max_wait_s=60)), max_events=1)

    second = world.run(
        built(rows_of("acme", 2)), DeliveryPolicy(RetryPolicy(max_wait_s=900), concurrency=1), max_events=1
    )

    assert second.count(Fate.SENT) == 2
    assert gaps(world.edge, ACME_PIXEL)[0] >= 700


def test_p08_waits_are_published_that_are_longer_by_a_second_and_believed_up_to_a_day() -> None:
    time, start, others = FakeTime(100.0), NOW.timestamp() + 100, Others()
    keeper = PaceKeeper(others, Rates(), time.clock, lambda: NOW + timedelta(seconds=time.now))
    others.waits = {"day": start + 86_400, "less": start + 86_399, "own": start + 61, "other": start + 61}

    for until in (160.0, 161.0, 161.5):
        keeper.exchange_waits({"own": until, "over": 100.0, "less": 200.0})

    assert others.published == [{"own": start + 60, "less": start + 100}, {}, {"own": start + 61.5}]
    assert [keeper.get_wait_s(scope) for scope in ("day", "less", "own", "other")] == [0, 86_399, 0, 61]


def test_waits_are_exchanged_once_a_second() -> None:
    time = FakeTime(100.0)
    keeper = PaceKeeper(Others(), Rates(), time.clock, lambda: NOW)
    due = [keeper.is_exchange_due]

    keeper.exchange_waits({})
    for time.now in (100.0, 100.9, 101.0):
        due.append(keeper.is_exchange_due)

    assert due == [True, False, False, True]


def test_turns_are_taken_two_seconds_ahead() -> None:
    time = FakeTime()
    keeper = PaceKeeper(OwnPace(), Rates(in_all=1.0), time.clock, lambda: NOW)
    ahead = [keeper.is_far_ahead(["all"])]

    turns = []
    for _ in range(4):
        turns.append(keeper.take_turn("acme"))
        ahead.append(keeper.is_far_ahead(["all"]))

    assert turns == [0, 1, 2, 3]
    assert ahead == [False, False, False, False, True]
    assert not keeper.is_far_ahead(["client acme"])
    assert PaceKeeper(OwnPace(), Rates(), time.clock, lambda: NOW).take_turn("acme") == 0


def test_one_request_waits_for_a_client_whose_turns_are_taken_far_ahead(world: World) -> None:
    """Not as many as it may have in flight: they would be claimed, and in doubt if the process died, for nothing."""
    time, requests = FakeTime(), cut_requests([batch(names("e", 6))], max_events=1, max_bytes=100_000)
    keeper = PaceKeeper(OwnPace(), Rates({ACME: 1.0}), time.clock, lambda: NOW)
    scheduler = Scheduler(requests, DeliveryPolicy(concurrency=2), Breaker(world.senders), keeper, time.clock)
    scheduler.allow_more(ACME)

    soon = scheduler.pick([])
    for _ in range(4):
        keeper.take_turn(ACME)
    later, none = scheduler.pick([]), scheduler.pick(soon[:1])

    assert (len(soon), len(later), len(none)) == (2, 1, 0)


def test_p08_a_wait_of_the_app_holds_for_every_sender(world: World) -> None:
    world.sharing = True
    world.edge.fault("app_throttled", retry_after=3600, usage=0, times=1)
    world.run(built(rows_of("acme", 1)), DeliveryPolicy(concurrency=1), max_events=1)

    second = world.run(built(rows_of("bank", 3)), DeliveryPolicy(concurrency=1), max_events=1)

    assert second.count_reasons(Fate.DEFERRED) == {("throttled", ""): 3}
    assert len(world.edge.requests) == 1


def test_what_a_sender_was_told_is_over_when_its_time_is(world: World) -> None:
    now = NOW.timestamp()
    world.ledger.pace.exchange_waits({"pixel 1": now + 10}, now)

    assert world.ledger.pace.exchange_waits({"pixel 1": now + 5}, now) == {"pixel 1": now + 10}
    assert world.ledger.pace.exchange_waits({}, now + 10) == {}


@pytest.fixture
def two(tmp_path: Path, sandbox: Sandbox) -> Iterator[tuple[Night, Night]]:
    """Two senders with a ledger's connection each, as two processes have, in real time."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with closing(Ledger(url)) as one, closing(Ledger(url)) as other:
        yield tuple(  # type: ignore[misc]
            Night(
                sandbox.url,
                ledger,
                clock=Clock(),
                sharing=True,
                policy=DeliveryPolicy(RetryPolicy(max_wait_s=10), concurrency=1),
            )
            for ledger in (one, other)
        )


def test_p08_a_throttle_that_one_sender_meets_stops_another_that_is_under_way(
    two: tuple[Night, Night], sandbox: Sandbox
) -> None:
    """Two uploads of one pixel at once: the second has sent some, and hears within seconds that it has to wait."""
    sandbox.fault("slow", delay=0, event_ids=["a-0"], headers={"Retry-After": "3600"})
    sandbox.fault("slow", delay=0.3)

    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(two[1].send, [batch(names("b", 60))], max_events=1)
        time.sleep(1)
        two[0].send([batch(["a-0"])])
        books: Books = under_way.result()

    assert 0 < len(books.of(Fate.SENT)) < 30
    assert len(books.of(Fate.DEFERRED)) == 60 - len(books.of(Fate.SENT))
    assert {one.reason for one in books.outcomes if one.fate is Fate.DEFERRED} == {Reason.THROTTLED}


# ---------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize("sharing", [True, False])
def test_a_client_s_rate_is_kept_and_is_nobody_else_s(world: World, sharing: bool) -> None:
    world.sharing, world.rates = sharing, Rates({"acme": 0.5})

    tally = world.run(built(of_acme_and_bank(6)), DeliveryPolicy(concurrency=1), max_events=1)

    assert tally.count(Fate.SENT) == 12
    assert all(gap >= 1.99 for gap in gaps(world.edge, ACME_PIXEL))
    assert sum(gaps(world.edge, ACME_PIXEL)) < 2 * 6


def test_the_rate_over_all_clients_is_kept(world: World) -> None:
    world.sharing, world.rates = True, Rates(in_all=0.25)

    tally = world.run(built(rows_of("acme", 8)), DeliveryPolicy(concurrency=1), max_events=1)

    times = [request["at"] for request in world.edge.requests]
    assert tally.count(Fate.SENT) == 8
    assert all(later - earlier >= 3.99 for earlier, later in pairwise(times))


def test_a_client_s_pixels_share_its_rate() -> None:
    rates = Rates({"acme": 4, "acme@2": 4}, in_all=10)

    assert rates.get_intervals_s("acme") == rates.get_intervals_s("acme@2") == {"client acme": 0.25, "all": 0.1}
    assert rates.get_intervals_s("bank") == {"all": 0.1}
    assert Rates().get_intervals_s("acme") == {}


def test_tries_that_are_retried_take_their_turns(world: World) -> None:
    world.rates = Rates({"acme": 0.1})
    world.edge.fault("unavailable", times=2, first_request=2)

    world.run(built(rows_of("acme", 4)), DeliveryPolicy(concurrency=1), max_events=1)

    times = [request["at"] for request in world.edge.requests]
    assert len(times) == 6
    assert all(later - earlier >= 9.99 for earlier, later in pairwise(times))


def test_a_rate_is_that_of_all_senders_together(two: tuple[Night, Night], sandbox: Sandbox) -> None:
    """Ten requests each at ten a second: two seconds for both, whoever has more luck."""
    for night in two:
        night.policy, night.rates = DeliveryPolicy(), Rates({ACME: 10})

    with ThreadPoolExecutor(2) as pool:
        ways = [
            pool.submit(night.send, [batch(names(name, 10)), batch(names(f"o{name}", 3), client=OTHER)], max_events=1)
            for night, name in zip(two, "ab", strict=True)
        ]
        books = [way.result() for way in ways]

    times = sorted(one["elapsed"] for one in sandbox.requests if one["pixel"] != OTHER_PIXEL)
    assert [len(own.of(Fate.SENT)) for own in books] == [13, 13]
    assert times[-1] - times[0] >= 1.8
    assert all(times[place + 5] - times[place] >= 0.3 for place in range(15))


@pytest.mark.parametrize("scopes", [["a"], ["a", "b"]])
def test_a_turn_is_given_once(world: World, scopes: list[str]) -> None:
    now = NOW.timestamp()

    turns = [world.ledger.pace.reserve_slot(dict.fromkeys(scopes, 2.0), now) for _ in range(3)]

    assert turns == [now, now + 2, now + 4]
    assert world.ledger.pace.reserve_slot({"b": 1.0}, now) == (now if scopes == ["a"] else now + 6)
    assert world.ledger.pace.reserve_slot({"a": 1.0}, now + 60) == now + 60
