"""Nothing is sent that Meta would refuse for its age, however long a request has to wait (P5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from offline_capi.delivery import DeliveryPolicy, RetryPolicy
from offline_capi.model import EventBatch, Fate, Tally
from tests.delivery.edge import Edge
from tests.delivery.sending import batch, names
from tests.delivery.world import NOW, PIXELS, World, built

WEEK = timedelta(days=7)
MAX_WAIT = timedelta(minutes=10)
ONE_AT_A_TIME = DeliveryPolicy(RetryPolicy(max_wait_s=MAX_WAIT.total_seconds()), concurrency=1)
#: Meta's code for an event that is too old (L; CRM; RS).
TOO_OLD = (100, 2804003)


def aged(ids: Iterable[str], age: timedelta, *, source: str = "system_generated") -> EventBatch:
    """Events that are so old when the night begins."""
    moment = (NOW - age).timestamp() + 60  # ``batch`` makes events of a minute ago
    return batch(list(ids), pixel=PIXELS["acme"], at=moment, action_source=source)


def refused_for_age(edge: Edge) -> int:
    return sum((request["code"], request["subcode"]) == TOO_OLD for request in edge.requests)


@pytest.mark.parametrize(("source", "limit"), [("system_generated", WEEK), ("physical_store", timedelta(days=62))])
@pytest.mark.parametrize(("second", "posted"), [(1, True), (-1, False)])
def test_p05_a_request_leaves_only_if_it_stays_fresh_for_as_long_as_it_may_wait(
    world: World, source: str, limit: timedelta, second: int, posted: bool
) -> None:
    """A throttle makes it wait nearly all of that time: what left arrives in time, what did not has no claim."""
    events = aged(["e-0"], limit - MAX_WAIT - timedelta(seconds=second), source=source)
    world.edge.fault("too_many_requests", retry_after=MAX_WAIT.total_seconds() - 2, times=1)

    tally = world.run(built(events), ONE_AT_A_TIME, max_events=10)

    assert tally.count(Fate.SENT if posted else Fate.EXPIRED) == 1
    assert [request["code"] for request in world.edge.requests] == ([4, None] if posted else [])
    assert world.unclaimed(events) == ([] if posted else ["e-0"])


def slow_night(world: World) -> tuple[EventBatch, DeliveryPolicy]:
    """Twenty requests, each told to wait five minutes; their events are fresh for an hour."""
    world.edge.fault("too_many_requests", retry_after=300, every=2)
    return aged(names("e", 20), WEEK - timedelta(hours=1)), ONE_AT_A_TIME


def test_p05_a_slow_upload_that_crosses_the_edge_stops_sending_in_time(world: World) -> None:
    events, policy = slow_night(world)

    tally = world.run(built(events), policy, max_events=1)

    assert refused_for_age(world.edge) == 0
    assert tally.count(Fate.SENT) > 5
    assert tally.count(Fate.EXPIRED) == 20 - tally.count(Fate.SENT) > 5
    assert tally.count_reasons(Fate.EXPIRED) == {("too_old", ""): tally.count(Fate.EXPIRED)}
    arrived = {event_id for request in world.edge.requests for event_id in request["event_ids"]}
    assert sorted(world.unclaimed(events)) == sorted(set(names("e", 20)) - arrived)


def test_p05_without_looking_again_the_same_upload_would_be_refused(world: World) -> None:
    """What the test above would see if the ages were looked at only once, before the upload."""
    events, policy = slow_night(world)
    world.by_age = lambda events, **_: (events, events.slice(0, 0))

    world.run(built(events), policy, max_events=1)

    assert refused_for_age(world.edge) > 0


def slowly_taken_apart(world: World, **fault: object) -> tuple[EventBatch, Tally]:
    """Eight events in a request that is refused, and an allowance that lets a request out each two minutes."""
    events = aged(names("e", 8), WEEK - MAX_WAIT - timedelta(seconds=100))
    world.edge.fault(**fault)
    world.edge.fault("usage", usage=80, regain_minutes=2)
    tally = world.run(built(events), ONE_AT_A_TIME, max_events=8)
    assert refused_for_age(world.edge) == 0
    return events, tally


def test_p05_what_is_left_of_a_refused_request_leaves_in_time_where_meta_names_the_event(world: World) -> None:
    _, tally = slowly_taken_apart(world, kind="refuse_events", event_ids={"e-3"}, tell="path")

    assert (tally.count(Fate.SENT), tally.count(Fate.REJECTED_BY_META)) == (7, 1)


def test_p05_events_of_a_refused_request_that_become_too_old_are_in_doubt_in_books_and_ledger(world: World) -> None:
    """The one at fault is looked for, and Meta may have kept its neighbours all the same (meta-capi.md 5.2)."""
    events, tally = slowly_taken_apart(world, kind="refuse_events", event_ids={"e-3"}, tell="nothing")

    assert tally.count(Fate.UNCONFIRMED) == 8 - tally.count(Fate.SENT) - tally.count(Fate.REJECTED_BY_META) > 0
    assert tally.count_reasons(Fate.UNCONFIRMED) == {("lost_answer", ""): tally.count(Fate.UNCONFIRMED)}
    known = world.ledger.journal.look_up(events, run_id=None, now=NOW, resend=False)
    assert {fate: len(some) for fate, _, some in known.decided}[Fate.UNCONFIRMED] == tally.count(Fate.UNCONFIRMED)


def test_p05_events_that_were_certainly_not_stored_expire_and_are_free_in_the_ledger(world: World) -> None:
    """A proxy found the request too large: Meta has not seen it."""
    events, tally = slowly_taken_apart(world, kind="html", status=413, min_events=5)

    assert tally.count_by_fate() == dict.fromkeys(Fate, 0) | {Fate.EXPIRED: 4, Fate.SENT: 4}
    assert len(world.unclaimed(events)) == 4
