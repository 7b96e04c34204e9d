"""What became of single events, all that the ledger holds, and what goes of it by age: on each database."""

from __future__ import annotations

import getpass
import socket
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from offline_capi.ledger import AuditAction, list_audit_entries, record_audit
from offline_capi.ledger.documents import rewrite_documents
from offline_capi.ledger.index.filter import split_halves, split_keys
from offline_capi.ledger.lookup import (
    EventDelivery,
    ForgottenDeliveries,
    count_forgotten_deliveries,
    count_unexplained_events,
    find_deliveries,
    find_oldest_request,
    list_runs_with_requests,
)
from offline_capi.ledger.retention import purge_audit, purge_runs
from offline_capi.ledger.shapes import ColumnShapes, load_shapes, save_shapes
from offline_capi.model import Fate, SentEvents, Tally
from tests.delivery.sending import WINDOW, batch, names
from tests.ledger.test_ledger import START, Desk
from tests.support.sandbox_server import PIXEL


@pytest.fixture
def desk(ledger_url: str) -> Desk:
    return Desk(ledger_url)


@pytest.mark.parametrize("merge", [True, False])
def test_the_last_request_of_an_event_is_found_and_every_event_is_listed_once(desk: Desk, merge: bool) -> None:
    """One unconfirmed went again: its first request has it no more."""
    events = batch(names("e", 6))
    desk.post(events.slice(0, 4), Fate.UNCONFIRMED)
    if merge:
        desk.merge()
    night = desk.next_night(hours=1)
    night.post(events.slice(2, 4), Fate.SENT)

    found = find_deliveries(night.ledger, [*events.keys, b"unknown-16-bytes"])
    entries = [
        (key, owner)
        for part in night.ledger.journal.read_entries()
        for key, owner in zip(part.keys, part.owners, strict=True)
    ]

    assert [one.key for one in found] == events.keys
    assert [one.state for one in found] == ["unconfirmed"] * 2 + ["accepted"] * 4
    assert {one.run_id for one in found} == {desk.run, night.run}
    assert Counter(int(owner) for _, owner in entries) == Counter(one.request_id for one in found)
    assert find_oldest_request(night.ledger) == START
    known = np.sort(split_halves(split_keys(b"".join(events.keys[1:])))[0])
    assert count_unexplained_events(night.ledger, known) == {"upload": 1}
    assert count_unexplained_events(night.ledger, known, ["other"]) == {}
    assert count_unexplained_events(night.ledger, np.empty(0, np.uint64)) == {"upload": 6}


def test_runs_lose_their_reports_and_go_with_their_last_request(desk: Desk) -> None:
    desk.post(batch(["e"]), Fate.SENT)
    desk.ledger.runs.finish(desk.run, status="complete", report={"clients": {"Jane": {}}}, now=desk.now)
    empty = desk.ledger.runs.begin("upload", desk.ledger.runs.get(desk.run).window, trigger="manual", now=desk.now)
    later = START + timedelta(days=1)

    changed = rewrite_documents(desk.ledger, lambda report: {"clients": {}} if "Jane" in report["clients"] else None)
    foreseen, gone = purge_runs(desk.ledger, later, dry_run=True), purge_runs(desk.ledger, later)

    assert changed == (1, 1)
    again = [purge_runs(desk.ledger, later, dry_run=dry_run) for dry_run in (True, False)]
    assert (foreseen, gone, again) == (2, 2, [0, 0])
    assert [(run.id, run.report) for run in desk.ledger.runs.list_newest(9)] == [(desk.run, None)]
    assert empty != desk.run


def test_the_audit_log_is_read_newest_first_by_action_and_time(desk: Desk) -> None:
    for hours, action in enumerate((AuditAction.ERASE, AuditAction.REPLAY, AuditAction.ERASE)):
        record_audit(desk.ledger, action, "x" * 300, now=START + timedelta(hours=hours), detail={"n": hours})

    every, erased = list_audit_entries(desk.ledger), list_audit_entries(desk.ledger, action=AuditAction.ERASE, limit=1)
    since = list_audit_entries(desk.ledger, since=START + timedelta(hours=1))

    assert [entry.detail["n"] for entry in every] == [2, 1, 0]
    assert [entry.detail["n"] for entry in since] == [2, 1]
    assert [(entry.at, len(entry.subject)) for entry in erased] == [(START + timedelta(hours=2), 200)]
    assert [purge_audit(desk.ledger, START + timedelta(hours=2), dry_run=dry_run) for dry_run in (True, False)] == [
        2,
        2,
    ]
    assert [entry.detail["n"] for entry in list_audit_entries(desk.ledger)] == [2]


def test_an_entry_of_the_audit_log_names_who_did_it_and_in_which_run(desk: Desk) -> None:
    record_audit(desk.ledger, AuditAction.PURGE, "retention", now=START)
    record_audit(desk.ledger, AuditAction.REPLAY, "sales", now=START, who="y" * 300, run_id="r-1", detail={"ä": 1})

    named, plain = list_audit_entries(desk.ledger)

    assert named.to_json() == {
        "at": START.isoformat(),
        "who": "y" * 200,
        "action": "replay",
        "subject": "sales",
        "detail": {"ä": 1},
        "run": "r-1",
    }
    assert (plain.who, plain.detail, plain.run_id) == (f"{getpass.getuser()}@{socket.gethostname()}", {}, None)


def test_all_is_known_of_the_last_request_of_an_event(desk: Desk) -> None:
    events = batch(names("e", 2))
    answered = desk.claim(events.slice(0, 1))
    desk.now += timedelta(seconds=5)
    desk.record(answered, Fate.REJECTED_BY_META, tries=2, code=100, subcode=2804003, trace_id="AbC")
    on_the_wire = desk.claim(events.slice(1, 1))

    assert find_deliveries(desk.ledger, events.keys) == [
        EventDelivery(
            events.keys[0], int(answered.request.id), desk.run, "upload", "acme", PIXEL, "rejected", 1, START, desk.now,
            2, 100, 2804003, "AbC",
        ),
        EventDelivery(
            events.keys[1], int(on_the_wire.request.id), desk.run, "upload", "acme", PIXEL, "posting", 1, desk.now,
            None, 0, None, None, None,
        ),
    ]  # fmt: skip
    assert list_runs_with_requests(desk.ledger) == {desk.run}


def test_deliveries_of_which_no_key_is_kept_are_counted_by_the_reports_that_are_left(desk: Desk) -> None:
    def report(trigger: str, minutes: int, sent: int) -> None:
        ended = START + timedelta(minutes=minutes)
        run_id = desk.ledger.runs.begin("sales", WINDOW, trigger=trigger, now=START)
        tally = Tally(sent_events=Counter({SentEvents("acme", "1", "Purchase", START.date()): sent} if sent else {}))
        desk.ledger.runs.finish(run_id, status="complete", report={"tally": tally.to_json()}, now=ended)

    desk.post(batch(["known"]), Fate.SENT)
    desk.ledger.runs.finish(desk.run, status="complete", report={"tally": "its key is kept"}, now=START)
    report("test", 1, 9)
    assert count_forgotten_deliveries(desk.ledger) is None
    for minutes, sent in ((2, 0), (3, 4), (5, 1), (7, 0)):
        report("manual", minutes, sent)

    found = count_forgotten_deliveries(desk.ledger)

    assert found == ForgottenDeliveries(5, START + timedelta(minutes=3), START + timedelta(minutes=5))
    assert found.to_json() == {
        "events": 5,
        "first_at": (START + timedelta(minutes=3)).isoformat(),
        "last_at": (START + timedelta(minutes=5)).isoformat(),
    }


def test_what_tasks_counted_and_what_is_known_of_a_source_go_with_the_runs(desk: Desk) -> None:
    """The run of a request stays, and loses what its tasks counted; the source is known as long as a run of it is."""
    desk.post(batch(["e"]), Fate.SENT)
    young = desk.ledger.runs.begin("leads", WINDOW, trigger="manual", now=START + timedelta(hours=1))
    old = desk.ledger.runs.begin("sales", WINDOW, trigger="manual", now=START)
    for run_id in (desk.run, old, young):
        desk.ledger.runs.save_part(run_id, "prepare", Tally(read=1))
    for upload in ("upload", "sales", "leads"):
        save_shapes(desk.ledger, upload, {"acme": {"em": ColumnShapes("r", Counter(text=1))}}, run_id="r", now=START)

    gone = [purge_runs(desk.ledger, START + timedelta(hours=1), dry_run=dry_run) for dry_run in (True, False)]

    assert gone == [2, 2]
    assert [bool(desk.ledger.runs.load_parts(run_id)) for run_id in (desk.run, old, young)] == [False, False, True]
    assert {one.id for one in desk.ledger.runs.list_newest(9)} == {desk.run, young}
    assert [bool(load_shapes(desk.ledger, upload)) for upload in ("upload", "sales", "leads")] == [True, False, True]
