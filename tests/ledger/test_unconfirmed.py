"""Which requests nobody knows the end of, as the ledger lists them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from offline_capi.ledger import UnconfirmedRequest
from offline_capi.ledger.queries import count_traffic, find_last_accepted
from offline_capi.ledger.schema.tables import sender
from offline_capi.model import Fate
from tests.delivery.sending import batch, names
from tests.ledger.test_ledger import START, Desk
from tests.support.sandbox_server import PIXEL


@pytest.fixture
def desk(ledger_url: str) -> Desk:
    return Desk(ledger_url)


def finish(desk: Desk, unconfirmed: int) -> None:
    """Close the run with books as its report keeps them."""
    report = {"balance": "", "clients": {"acme": {"sent": 1, **({"unconfirmed": unconfirmed} if unconfirmed else {})}}}
    desk.ledger.runs.finish(desk.run, status="partial", report=report, now=desk.now)


def listed(desk: Desk) -> list[UnconfirmedRequest]:
    return desk.ledger.journal.find_unconfirmed(desk.now)


@pytest.mark.parametrize("closed", [True, False])
def test_a_request_without_an_answer_is_listed_with_all_that_is_known_of_it(desk: Desk, closed: bool) -> None:
    """Whether its run closed its books or was killed before."""
    desk.post(batch(names("a", 3)), Fate.SENT)
    desk.post(batch(names("e", 5)), Fate.UNCONFIRMED)
    if closed:
        finish(desk, unconfirmed=5)

    (found,) = listed(desk)

    assert (found.run_id, found.upload, found.client, found.pixel, found.events) == (
        desk.run,
        "upload",
        "acme",
        PIXEL,
        5,
    )
    assert found.since == desk.now
    assert found.repeatable_until == desk.now + timedelta(hours=48)


def test_events_of_stores_can_be_repeated_for_a_week(desk: Desk) -> None:
    desk.post(batch(["e"], action_source="physical_store"), Fate.UNCONFIRMED)

    assert listed(desk)[0].repeatable_until == desk.now + timedelta(days=7)


def test_what_happens_next_is_a_repeat_until_meta_would_count_it_as_a_second_event(desk: Desk) -> None:
    desk.post(batch(["e"]), Fate.UNCONFIRMED)
    (found,) = listed(desk)
    end = found.repeatable_until

    assert found.next_step(end - timedelta(seconds=1)).startswith("the next run that reads these rows sends them again")
    assert found.next_step(end).startswith("not sent again: since ")
    assert found.to_json(end) == {
        "run": desk.run,
        "upload": "upload",
        "client": "acme",
        "pixel": PIXEL,
        "events": 1,
        "since": desk.now.isoformat(),
        "repeatable_until": end.isoformat(),
        "next": found.next_step(end),
    }


def test_what_a_later_run_settled_is_counted_no_more(desk: Desk) -> None:
    desk.post(batch(names("e", 5)), Fate.UNCONFIRMED)
    finish(desk, unconfirmed=5)
    night = desk.next_night()
    night.fates(batch(names("e", 3)))
    night.post(batch(names("e", 3)), Fate.SENT)
    finish(night, unconfirmed=0)

    assert [found.events for found in listed(night)] == [2]

    last = night.next_night(hours=1)
    last.fates(batch(names("e", 5)))
    last.post(batch(names("e", 5)[3:]), Fate.SENT)
    finish(last, unconfirmed=0)

    assert listed(last) == []


def test_a_refused_request_that_went_again_in_parts_is_not_in_doubt(desk: Desk) -> None:
    whole = desk.post(batch(names("e", 4)), Fate.UNCONFIRMED)
    for part, fate in ((names("e", 4)[:3], Fate.SENT), (names("e", 4)[3:], Fate.REJECTED_BY_META)):
        desk.record(desk.claim(batch(part), replaces=whole.request.id), fate)

    assert listed(desk) == []

    finish(desk, unconfirmed=0)

    assert listed(desk) == []


def test_a_run_that_was_killed_while_it_sent_parts_again_leaves_the_others_in_doubt(desk: Desk) -> None:
    whole = desk.post(batch(names("e", 4)), Fate.UNCONFIRMED)
    desk.record(desk.claim(batch(names("e", 4)[:3]), replaces=whole.request.id), Fate.SENT)

    assert [found.events for found in listed(desk)] == [1]


def test_a_request_on_the_wire_is_in_doubt_only_once_its_process_is_gone(desk: Desk) -> None:
    desk.claim(batch(["e"]))

    assert listed(Desk(desk.url)) == []

    assert [found.events for found in listed(desk.next_night(hours=0))] == [1]


def test_a_repeat_that_never_left_keeps_the_first_doubt(desk: Desk) -> None:
    desk.post(batch(["e"]), Fate.UNCONFIRMED)
    finish(desk, unconfirmed=1)
    second = desk.next_night()
    second.fates(batch(["e"]))
    second.post(batch(["e"]), Fate.DEFERRED)
    second.ledger.runs.finish(second.run, status="partial", report=None, now=second.now)

    assert [(found.run_id, found.since) for found in listed(second)] == [(second.run, desk.now)]


def test_a_request_whose_sender_is_gone_is_still_in_doubt(desk: Desk) -> None:
    desk.claim(batch(["e"]))
    desk.ledger.close()
    other = Desk(desk.url)
    other.ledger.write(sa.delete(sender))

    assert [found.events for found in listed(other)] == [1]
    assert other.fates(batch(["e"])) == {"e": None}


def test_what_a_run_sent_and_when_meta_last_accepted_are_counted_by_client(desk: Desk) -> None:
    for event_id, fate, tries in (("a", Fate.SENT, 1), ("b", Fate.SENT, 3), ("c", Fate.DEFERRED, 0)):
        desk.now += timedelta(hours=1)
        desk.record(desk.claim(batch([event_id])), fate, tries=tries)
    desk.now += timedelta(hours=1)
    desk.record(desk.claim(batch(["d"])), Fate.UNCONFIRMED, tries=6)

    assert count_traffic(desk.run, desk.ledger) == {"acme": (3, 10)}
    assert count_traffic("another", desk.ledger) == {}
    assert find_last_accepted(desk.ledger) == {"acme": START + timedelta(hours=2)}


def test_the_uploads_and_the_clients_they_sent_for_are_known(desk: Desk) -> None:
    desk.post(batch(["e"]), Fate.SENT)

    assert desk.ledger.runs.list_uploads() == ["upload"]
    assert desk.ledger.runs.list_clients({"upload"}) == {"acme"}
    assert desk.ledger.runs.list_clients({"another"}) == set()
    assert desk.ledger.runs.list_clients(set()) == set()
