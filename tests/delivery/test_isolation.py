"""One bad event costs one event (P4)."""

from __future__ import annotations

import math
import random

import pytest

from offline_capi.delivery.breaker import IDENTICAL_REFUSALS_TO_STOP
from offline_capi.delivery.isolate import isolate
from offline_capi.model import Fate, Reason
from offline_capi.sandbox.faults import TELLS
from tests.delivery.sending import Night, batch, ids_of, names
from tests.support.sandbox_server import Sandbox


@pytest.mark.parametrize("tell", ["path", "nothing"])
@pytest.mark.parametrize("bad", [0, 1, 2, 10, 1000])
def test_p04_bad_events_cost_themselves(night: Night, sandbox: Sandbox, bad: int, tell: str) -> None:
    """k bad events of 1,000: 1,000 - k are sent, in at most 2k*ceil(log2 1000)+1 requests.

    Where all of them are bad it is the mapping that is, and most of them are deferred.
    """
    ids = names("e", 1000)
    refused = random.Random(bad).sample(ids, bad)
    if refused:
        sandbox.refuse(*refused, tell=tell)

    books = night.send([batch(ids)])

    assert sorted(books.of(Fate.REJECTED_BY_META) + books.of(Fate.DEFERRED)) == sorted(refused)
    assert bool(books.of(Fate.DEFERRED)) == (bad == 1000)
    assert len(books.of(Fate.SENT)) == 1000 - bad
    assert set(sandbox.accepted_ids) == set(ids) - set(refused)
    assert len(sandbox.requests) <= 2 * bad * math.ceil(math.log2(1000)) + 1


@pytest.mark.parametrize("tell", [tell for tell in TELLS if tell != "nothing"])
def test_p04_an_event_that_meta_names_costs_one_more_request(night: Night, sandbox: Sandbox, tell: str) -> None:
    """Wherever in its answer Meta names it: the text, or ``error_data`` as object, as text, or encoded twice."""
    sandbox.refuse("e-417", tell=tell)

    books = night.send([batch(names("e", 1000))])

    assert books.of(Fate.REJECTED_BY_META) == ["e-417"]
    assert len(books.of(Fate.SENT)) == 999
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize("tell", ["path", "nothing"])
def test_p04_when_every_event_is_refused_alike_sending_stops_and_says_so_once(
    night: Night, sandbox: Sandbox, tell: str
) -> None:
    sandbox.refuse(*names("e", 1000), tell=tell)

    books = night.send([batch(names("e", 1000))])

    assert sandbox.accepted_ids == []
    assert set(books.counts) == {Fate.REJECTED_BY_META, Fate.DEFERRED}
    assert {outcome.reason for outcome in books.outcomes if outcome.fate is Fate.DEFERRED} == {Reason.CLIENT_STOPPED}
    assert len({outcome.explanation for outcome in books.outcomes if outcome.fate is Fate.DEFERRED}) == 1
    assert len(sandbox.requests) < 100
    assert len(books.of(Fate.REJECTED_BY_META)) == 20


def test_p04_events_refused_for_different_reasons_do_not_stop_their_client(night: Night, sandbox: Sandbox) -> None:
    ids = names("e", 2 * (IDENTICAL_REFUSALS_TO_STOP - 1))
    sandbox.refuse(*ids[::2], subcode=2804009)
    sandbox.refuse(*ids[1::2], subcode=2804010)

    books = night.send([batch(ids)])

    assert books.counts == {Fate.REJECTED_BY_META: len(ids)}


def test_p04_what_is_left_of_a_part_goes_in_halves() -> None:
    """A part was refused before: more of it are bad, and a request each would take as many in a row."""
    whole, part = (isolate(batch(names("e", 5)), 2, is_part=is_part) for is_part in (False, True))

    assert [ids_of(rest) for rest in whole.rest] == [["e-0", "e-1", "e-3", "e-4"]]
    assert [ids_of(rest) for rest in part.rest] == [["e-0", "e-3"], ["e-1", "e-4"]]
    assert [ids_of(rest) for rest in isolate(batch(names("e", 2)), 0, is_part=True).rest] == [["e-1"]]


@pytest.mark.parametrize("named", [None, 5, 999])
def test_p04_an_index_that_no_event_has_names_none(named: int | None) -> None:
    culprit, rest = isolate(batch(names("e", 5)), named, is_part=False)

    assert culprit is None
    assert [ids_of(part) for part in rest] == [["e-0", "e-2", "e-4"], ["e-1", "e-3"]]


def test_p04_a_cluster_of_bad_rows_does_not_hold_the_good_ones(night: Night, sandbox: Sandbox) -> None:
    """The first file of a night may be wrong as a whole; that is no reason to stop its client."""
    ids = names("e", 1000)
    sandbox.refuse(*ids[:60], tell="nothing")

    books = night.send([batch(ids)])

    assert books.counts == {Fate.SENT: 940, Fate.REJECTED_BY_META: 60}


def test_p04_a_short_acknowledgement_is_resolved_by_halving(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("short_answer", event_ids={"e-7"})

    books = night.send([batch(names("e", 64))])

    assert books.of(Fate.REJECTED_BY_META) == ["e-7"]
    assert len(books.of(Fate.SENT)) == 63
    assert all(sandbox.count_of(event_id) == 1 for event_id in books.of(Fate.SENT))


def test_p04_events_that_were_kept_in_spite_of_the_error_count_once(night: Night, sandbox: Sandbox) -> None:
    """Meta may keep the valid events of a refused request (meta-capi.md 5.2): they go again under the same ids."""
    sandbox.bad_event = "keep_valid"
    sandbox.refuse("e-3", tell="nothing")

    night.send([batch(names("e", 16))])

    assert {times for _, _, _, times, _ in sandbox.tally()} == {1}


def test_p02_a_second_run_sends_nothing_neither_what_was_sent_nor_what_was_refused(
    night: Night, sandbox: Sandbox
) -> None:
    sandbox.refuse("e-3")
    night.send([batch(names("e", 50))])
    before = len(sandbox.requests)

    again = night.send([batch(list(reversed(names("e", 50))))], max_events=7)

    assert len(sandbox.requests) == before
    assert again.counts == {Fate.ALREADY_SENT: 49, Fate.REJECTED_BY_META: 1}


def test_p16_a_refused_event_is_sent_once_its_row_is_mended(night: Night, sandbox: Sandbox) -> None:
    sandbox.refuse("e-3")
    night.send([batch(names("e", 5))])
    sandbox.heal()

    again = night.send([batch(names("e", 5), note="mended")])

    assert again.fates["e-3"] is Fate.SENT
    assert sandbox.count_of("e-3") == 1
