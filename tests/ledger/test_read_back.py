"""What Meta told is kept beside what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from offline_capi.ledger import Ledger, list_sent_by_runs, load_read_back, save_read_back
from offline_capi.ledger.read_back import RETENTION
from offline_capi.ledger.retention import purge_read_back
from offline_capi.model import ReadBack, SentEvents, Tally
from tests.delivery.sending import WINDOW

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
DAY = date(2026, 11, 23)
TOLD = ReadBack("acme", "1", "received", DAY, {"Purchase": 2, "Läufer": 3}, NOW)
SENT = SentEvents("acme", "1", "Purchase", DAY)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(ledger_url) as ledger:
        yield ledger


def told(ledger: Ledger, *clients: str, since: date = DAY - RETENTION) -> list[ReadBack]:
    return load_read_back(ledger, since=since, until=NOW.date(), clients=clients)


def test_a_later_word_replaces_an_earlier_one_of_the_same_kind_and_day(ledger: Ledger) -> None:
    others = [replace(TOLD, kind="results"), replace(TOLD, pixel="2"), replace(TOLD, day=NOW.date())]
    save_read_back(ledger, [TOLD, *others], now=NOW)
    later = replace(TOLD, figures={"Purchase": 4}, read_at=NOW + timedelta(hours=1))
    save_read_back(ledger, [later], now=NOW)
    save_read_back(ledger, [], now=NOW)

    assert Counter(map(repr, told(ledger))) == Counter(map(repr, [later, *others]))


def test_what_is_asked_for_are_days_and_clients(ledger: Ledger) -> None:
    other = replace(TOLD, client="other", day=DAY - timedelta(days=1))
    save_read_back(ledger, [TOLD, other], now=NOW)

    assert told(ledger, "other") == [other]
    assert told(ledger, since=DAY) == [TOLD]
    assert told(ledger, "nobody") == []


def test_what_is_older_than_a_quarter_is_forgotten(ledger: Ledger) -> None:
    old, young = (
        replace(TOLD, day=(NOW - RETENTION).date() - timedelta(days=1)),
        replace(TOLD, day=(NOW - RETENTION).date()),
    )
    save_read_back(ledger, [old, young], now=NOW)
    save_read_back(ledger, [TOLD], now=NOW)

    assert told(ledger, since=old.day) == [young, TOLD]


def test_retention_deletes_the_days_before_its_own_in_utc(ledger: Ledger) -> None:
    young = replace(TOLD, day=NOW.date())
    save_read_back(ledger, [TOLD, young], now=NOW)
    late_in_new_york = NOW.replace(hour=2).astimezone(ZoneInfo("America/New_York"))

    assert [purge_read_back(ledger, late_in_new_york, dry_run=dry_run) for dry_run in (True, False)] == [1, 1]
    assert told(ledger) == [young]


@pytest.mark.parametrize(
    ("trigger", "counts"), [("manual", True), ("scheduled", True), ("replay", True), ("test", False)]
)
def test_what_runs_sent_is_read_from_their_reports(ledger: Ledger, trigger: str, counts: bool) -> None:
    """Not that of tests: the real run sends those events once more, and Meta counts them once."""
    run = ledger.runs.begin("sales", WINDOW, trigger=trigger, now=NOW)
    unfinished = ledger.runs.begin("sales", WINDOW, trigger=trigger, now=NOW)
    report = {"balance": "", "tally": Tally(read=3, sent_events=Counter({SENT: 3})).to_json()}
    ledger.runs.finish(run, status="complete", report=report, now=NOW + timedelta(minutes=5))

    found = list_sent_by_runs(ledger, NOW)

    assert [(one.ended_at, one.events) for one in found] == [(NOW + timedelta(minutes=5), Counter({SENT: 3}))] * counts
    assert list_sent_by_runs(ledger, NOW + timedelta(seconds=1)) == []
    assert unfinished in [one.id for one in ledger.runs.list_unfinished()]
