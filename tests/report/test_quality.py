"""What we sent beside what Meta counts: the figures, and the one sentence where they differ."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from offline_capi.model import EventBatch, Fate, ReadBack, SentEvents, Tally
from offline_capi.report import Books, Quality, compare, print_quality, render_html
from tests.delivery.sending import batch
from tests.report.test_run_report import report_of, tally_of

ASKED = datetime(2026, 11, 24, 8, tzinfo=UTC)
DAY, NEXT = date(2026, 11, 23), date(2026, 11, 24)
PURCHASE = SentEvents("acme", "1", "Purchase", DAY)
BEFORE, JUST_BEFORE, AFTER = (ASKED - timedelta(hours=1), ASKED - timedelta(minutes=5), ASKED + timedelta(minutes=1))


def told(kind: str = "received", day: date = DAY, client: str = "acme", **figures: Any) -> ReadBack:
    return ReadBack(client, "1", kind, day, figures, ASKED)


def of(sent: int, received: int, *, ended: datetime = BEFORE) -> Quality:
    return compare([(ended, {PURCHASE: sent})], [told(Purchase=received)])


#: Sent, received → what is said of it, or nothing.
DIFFERENCES = [
    (100, 100, None),
    (100, 96, None),
    (100, 95, "Meta counts 95 of 100 Purchase events sent to pixel 1 for 2026-11-23 (UTC): 5 (5%) fewer"),
    (100, 0, "100 (100%) fewer. Look at the pixel's Diagnostics"),
    (4, 0, None),
    (5, 0, "5 (100%) fewer"),
    (1_000_000, 950_001, None),
    (1_000_000, 950_000, "50,000 (5%) fewer"),
    (100, 130, "30 (30%) more. Look whether another server sends them too"),
    (0, 1000, None),
]


@pytest.mark.parametrize(("sent", "received", "words"), DIFFERENCES)
def test_a_large_difference_is_one_sentence_with_what_to_look_at(sent: int, received: int, words: str | None) -> None:
    remarks = of(sent, received).remarks

    assert len(remarks) == (words is not None)
    assert words is None or (words in remarks[0] and remarks[0].startswith("acme: "))


def test_events_that_meta_deduplicated_are_no_alarm() -> None:
    """Sent twice, received twice, counted once; what is more than that still is."""
    received, results = told(Purchase=308), told("results", Purchase={"processed": 154, "deduplicated": 154})
    foreign = told("results", Purchase={"processed": 288, "deduplicated": 20})

    assert compare([(BEFORE, {PURCHASE: 154})], [received, results]).remarks == ()
    (remark,) = compare([(BEFORE, {PURCHASE: 154})], [received, foreign]).remarks
    assert "134 (87%) more" in remark


def test_events_of_a_moment_ago_are_not_missed_yet() -> None:
    (remark,) = of(100, 40, ended=JUST_BEFORE).remarks

    assert "100 were sent less than 20 minutes before: read back again later" in remark
    assert of(100, 40, ended=BEFORE).remarks[0].count("Diagnostics") == 1


def test_what_was_sent_after_meta_was_asked_is_not_compared() -> None:
    quality = compare([(BEFORE, {PURCHASE: 10}), (AFTER, {PURCHASE: 90})], [told(Purchase=10)])

    assert ([(line.sent, line.received) for line in quality.lines], quality.remarks) == ([(10, 10)], ())


def test_a_day_that_meta_was_not_asked_about_is_not_taken_for_lost() -> None:
    other_day, other_pixel = PURCHASE._replace(day=date(2026, 11, 1)), PURCHASE._replace(pixel="2")

    quality = compare([(BEFORE, {other_day: 90, other_pixel: 90, PURCHASE: 9})], [told(Purchase=9)])

    assert [line.sent for line in quality.lines] == [9]


def test_several_days_of_one_event_are_one_sentence() -> None:
    sent = {PURCHASE: 50, PURCHASE._replace(day=NEXT): 50, PURCHASE._replace(event_name="Lead"): 7}

    quality = compare([(BEFORE, sent)], [told(Purchase=20, Lead=7), told(day=NEXT, Purchase=20)])

    (remark,) = quality.remarks
    assert "40 of 100 Purchase events sent to pixel 1 for 2026-11-23 to 2026-11-24 (UTC)" in remark
    assert [(line.event_name, line.day, line.sent) for line in quality.lines] == [
        ("Lead", DAY, 7),
        ("Purchase", DAY, 50),
        ("Purchase", NEXT, 50),
    ]


#: Meta's words → what we take for processed and deduplicated; words that we do not know are shown as they are.
RESULTS = [
    ({"processed": 8, "deduplicated": 2}, (8, 2)),
    ({"SUCCESS": 8, "Duplicate event": 2}, (8, 2)),
    ({"blocked": 9, "invalid": 3, "Unprocessed": 2, "not_processed": 1}, (0, 0)),
    ({}, (None, None)),
]


@pytest.mark.parametrize(("results", "counts"), RESULTS)
def test_meta_s_words_for_its_results_are_kept(results: dict[str, int], counts: tuple[int | None, int | None]) -> None:
    quality = compare([(BEFORE, {PURCHASE: 10})], [told(Purchase=10), told("results", Purchase=results)])

    (line,) = quality.lines
    assert (line.processed, line.deduplicated) == counts
    assert line.results == results
    assert line.to_json()["received"] == 10


def test_a_low_score_names_the_key_that_fewest_events_carry() -> None:
    scores = {"score": 3.4, "keys": {"em": 98.0, "ph": 12.4, "fn": None}}

    quality = compare([], [told("web", NEXT, Purchase=scores), told("offline", Purchase=scores | {"score": 9.0})])

    (remark,) = quality.remarks
    assert "Purchase matches at 3.4 of 10 (web; aim at 6); ph is carried by 12% of them: map more keys" in remark


def test_a_low_score_where_all_events_carry_all_keys_asks_for_others() -> None:
    quality = compare([], [told("web", Purchase={"score": 3.4, "keys": {"em": 100.0}})])

    assert "Purchase matches at 3.4 of 10 (web; aim at 6): map more keys" in quality.remarks[0]


def test_only_the_newest_scores_and_the_checks_that_failed_are_shown() -> None:
    checks = {
        "a": {"title": "A", "result": "PASSED", "action_uri": ""},
        "b": {"title": "", "result": "failed", "action_uri": "u"},
    }
    score = {"score": 9.0, "keys": {}}

    quality = compare([], [told("web", Purchase=score), told("web", NEXT, Lead=score), told("checks", **checks)])

    assert [one.event_name for one in quality.scores] == ["Lead"]
    assert [(one.key, one.result) for one in quality.checks] == [("b", "failed")]


def test_nothing_asked_is_nothing_shown() -> None:
    assert not compare([(BEFORE, {PURCHASE: 10})], [])
    assert "What Meta counts" not in render_html(report_of(tally_of(sent=1)), quality=Quality())


def test_about_one_run_are_its_events_with_what_all_runs_sent_of_them() -> None:
    sent = [(BEFORE, {PURCHASE: 10, PURCHASE._replace(event_name="Lead"): 5}), (BEFORE, {PURCHASE: 20})]
    everything = [told(Purchase=30, Lead=5), told(client="other", Purchase=7)]

    quality = compare(sent, everything, about=[PURCHASE])

    assert [(line.client, line.event_name, line.sent, line.received) for line in quality.lines] == [
        ("acme", "Purchase", 30, 30)
    ]


def test_the_text_and_the_page_show_it_and_escape_it() -> None:
    uploads = {"<b>": {"valid": 10, "matched": 8, "duplicate": 2}}
    score = {"score": None, "keys": {"em": 50.0}}
    asked = [told(Purchase=40), told("results", Purchase={"processed": 40}), told("uploads", **uploads)]
    quality = compare([(BEFORE, {PURCHASE: 100})], [*asked, told("web", Purchase=score)])
    console = Console(file=io.StringIO(), width=200)

    print_quality(quality, console)
    page = render_html(report_of(tally_of(sent=1)), quality=quality)

    for shown in (console.file.getvalue(), page):
        assert "Meta counts 40 of 100 Purchase events" in shown
        assert "2026-11-23" in shown
    assert "em 50%" in console.file.getvalue()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


# ---------------------------------------------------------------------------------------------- our own side

NAMES = st.sampled_from(["Purchase", "Lead", "Läufer"])
EVENTS = st.lists(st.tuples(NAMES, st.sampled_from(["1", "22"]), st.integers(0, 200_000)), max_size=30)


@given(EVENTS, st.sampled_from([Fate.SENT, Fate.DEFERRED]))
def test_the_books_count_what_was_sent_by_name_and_day_in_utc(events: list[tuple[str, str, int]], fate: Fate) -> None:
    start = 1_795_000_000
    made = batch([f"e{n}" for n, _ in enumerate(events)]).table
    columns = {
        "event_name": pa.array([name for name, _, _ in events], pa.string()),
        "pixel": pa.array([pixel for _, pixel, _ in events], pa.string()),
        "event_time": pa.array([start + later for *_, later in events], pa.int64()),
    }
    for name, column in columns.items():
        place = made.schema.get_field_index(name)
        made = made.set_column(place, made.schema.field(place), column)
    books = Books()

    books.enter_events(EventBatch(made.slice(0, 7)), fate)
    books.enter_events(EventBatch(made.slice(7)), fate)

    days = [datetime.fromtimestamp(start + later, UTC).date() for *_, later in events]
    counted = Counter(SentEvents("acme", pixel, name, day) for (name, pixel, _), day in zip(events, days, strict=True))
    assert books.tally.sent_events == (counted if fate is Fate.SENT else Counter())
    assert Tally.from_json(books.tally.to_json()).sent_events == books.tally.sent_events


def test_books_of_one_client_have_its_events_only() -> None:
    mine, other = PURCHASE, PURCHASE._replace(client="other")
    tally = replace(tally_of(sent=3), sent_events=Counter({mine: 2, other: 1}))

    assert (tally + tally).sent_events == Counter({mine: 4, other: 2})
    assert tally.select_client("acme").sent_events == Counter({mine: 2})
