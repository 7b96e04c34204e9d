"""What became of single events, all that the ledger holds, and what goes of it by age: on each database."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from offline_capi.ledger import AuditAction, list_audit_entries, record_audit
from offline_capi.ledger.documents import rewrite_documents
from offline_capi.ledger.index.filter import split_halves, split_keys
from offline_capi.ledger.lookup import count_unexplained_events, find_deliveries, find_oldest_request
from offline_capi.ledger.retention import purge_audit, purge_runs
from offline_capi.model import Fate
from tests.delivery.sending import batch, names
from tests.ledger.test_ledger import START, Desk


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
    assert purge_audit(desk.ledger, START + timedelta(hours=2)) == 2
