"""What a calendar day of an upload owes, from its runs: records in, states out; no ledger and no clock."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from offline_capi.model import Calendar, DayState, Debt, Fate, PastRun, Reason, Tally, UploadDay, Window, judge_day
from offline_capi.model.days import DAY_REASONS, DayReason, list_debts
from offline_capi.model.tally import AbsentFile, Count

DAY, ZONE = date(2026, 11, 20), ZoneInfo("Europe/Berlin")
WHOLE = Window.of_day(DAY, ZONE.key)
CLOSES_AT = WHOLE.until + timedelta(days=7)
FIVE_DEFERRED = Debt(DAY, Reason.CLIENT_STOPPED, None, 5)


def hours(since: int, until: int) -> Window:
    """A part of the day, or more than it."""
    midnight = datetime.combine(DAY, time(), ZONE)
    return Window(midnight + timedelta(hours=since), midnight + timedelta(hours=until))


def run(
    name: str,
    window: Window = WHOLE,
    *debts: Debt,
    covers: bool = True,
    books: bool = True,
    status: str = "complete",
    alive: bool = False,
) -> PastRun:
    """A run that began so many hours after the day as its name says."""
    started_at = WHOLE.until + timedelta(hours=int(name))
    return PastRun(name, window, window if covers else None, started_at, debts if books else None, status, alive)


def judge(*runs: PastRun, expected: bool = True, now: datetime = WHOLE.until, told: bool = False) -> UploadDay:
    return judge_day(WHOLE, runs, now=now, closes_at=CLOSES_AT, told=told, expected=expected)


def start_of(name: str) -> datetime:
    return WHOLE.until + timedelta(hours=int(name))


# ---------------------------------------------------------------------------------------------- the runs of a day


def test_a_day_that_one_run_delivered_is_complete() -> None:
    assert judge(run("1")) == UploadDay(DAY, DayState.COMPLETE, closes_at=CLOSES_AT)


def test_a_day_with_debts_is_open_until_meta_takes_its_events_no_more() -> None:
    owed = run("3", WHOLE, FIVE_DEFERRED)

    last = judge(owed, now=CLOSES_AT - timedelta(microseconds=1))
    assert last == UploadDay(DAY, DayState.OPEN, (FIVE_DEFERRED,), start_of("3"), CLOSES_AT, ("3",), told=False)
    assert judge(owed, now=CLOSES_AT, told=True) == UploadDay(
        DAY, DayState.CLOSED, (FIVE_DEFERRED,), start_of("3"), CLOSES_AT, ("3",), told=True
    )


@pytest.mark.parametrize(
    ("later", "states"),
    [
        ([(0, 12), (12, 24)], "open complete"),
        ([(12, 24), (0, 12)], "open complete"),
        ([(6, 18), (0, 6), (18, 24)], "open open complete"),
        ([(-5, 13), (12, 30)], "open complete"),
        ([(0, 12), (13, 24)], "open open"),
        ([(24, 30), (-9, 0)], "open open"),
        ([(-1, 25)], "complete"),
    ],
)
def test_a_run_speaks_for_the_parts_of_the_day_that_it_covered(later: list[tuple[int, int]], states: str) -> None:
    runs = [run("1", WHOLE, FIVE_DEFERRED)]
    seen = []
    for number, ends in enumerate(later, 2):
        runs.append(run(str(number), hours(*ends)))
        seen.append(judge(*runs))

    assert " ".join(day.state for day in seen) == states
    assert {day.run_ids for day in seen if day.debts} <= {("1",)}
    assert {day.rows for day in seen if day.debts} <= {5}


def test_the_debts_of_a_run_that_speaks_for_several_parts_count_once() -> None:
    day = judge(run("1", WHOLE, FIVE_DEFERRED), run("2", hours(9, 12), Debt(None, Reason.THROTTLED, None, 2)))

    assert (day.rows, day.run_ids) == (7, ("1", "2"))
    assert day.reasons == {"client_stopped": 5, "throttled": 2}


def test_debts_of_another_day_of_the_run_are_not_of_this_one() -> None:
    other = Debt(DAY + timedelta(days=1), Reason.CLIENT_STOPPED, None, 5)

    assert judge(run("1", hours(0, 48), other)).state is DayState.COMPLETE


def test_a_run_of_some_clients_adds_debts_and_settles_none() -> None:
    some = run("2", WHOLE, Debt(DAY, Reason.LOST_ANSWER, None, 1), covers=False)

    assert judge(run("1"), some).rows == 1
    assert judge(run("1", WHOLE, FIVE_DEFERRED), some).rows == 6
    assert judge(run("1", WHOLE, FIVE_DEFERRED), run("2", covers=False)).rows == 5
    assert judge(some, run("3")).state is DayState.COMPLETE
    assert judge(run("1", covers=False)).reasons == {"never_ran": 0}


# ---------------------------------------------------------------------------------------------- days without books


def test_a_day_or_a_part_of_it_that_no_run_covered_is_owed_where_one_was_expected() -> None:
    never = (Debt(DAY, DayReason.NEVER_RAN, None, 0),)

    assert judge() == UploadDay(DAY, DayState.OPEN, never, WHOLE.until, CLOSES_AT)
    assert judge(run("5", hours(0, 23))) == UploadDay(DAY, DayState.OPEN, never, WHOLE.until, CLOSES_AT)
    half = judge(run("5", hours(0, 23), FIVE_DEFERRED))
    assert (half.debts, half.open_since, half.run_ids) == ((FIVE_DEFERRED, *never), WHOLE.until, ("5",))
    early = judge(run("-9", hours(0, 12), FIVE_DEFERRED))
    assert early.open_since == start_of("-9")
    assert judge(expected=False).state is DayState.COMPLETE


@pytest.mark.parametrize(
    ("one", "reason", "owed_unexpected"),
    [
        (run("1", books=False, status="failed"), "run_failed", False),
        (run("1", books=False, status="running"), "run_killed", True),
        (run("1", books=False, status="running", alive=True), "running", True),
        (run("1", WHOLE, Debt(DAY, DayReason.SOURCE_MISSING, None, 0)), "source_missing", False),
    ],
)
def test_a_run_without_books_is_owed_and_a_failed_backfill_of_older_days_is_not(
    one: PastRun, reason: str, owed_unexpected: bool
) -> None:
    assert (judge(one).reasons, judge(one).run_ids) == ({reason: 0}, ("1",))
    assert judge(one).debts == (Debt(DAY, reason, None, 0),)
    assert bool(judge(one, expected=False).debts) is owed_unexpected


def test_a_run_under_way_leaves_what_was_owed_before_it() -> None:
    day = judge(run("1", WHOLE, FIVE_DEFERRED), run("2", books=False, status="running", alive=True))

    assert day.reasons == {"client_stopped": 5, "running": 0}
    assert day.run_ids == ("1", "2")


def test_a_day_is_open_since_the_first_run_that_left_it_so_without_a_break() -> None:
    owing, paid = (lambda name: run(name, WHOLE, FIVE_DEFERRED)), run("3")

    assert judge(owing("1"), owing("2")).open_since == start_of("1")
    assert judge(owing("1"), paid, owing("4"), owing("5")).open_since == start_of("4")


def test_nights_are_runs_that_reach_the_last_day_that_was_over() -> None:
    assert run("1").is_nightly
    assert run("23").is_nightly
    assert not run("24").is_nightly
    assert not run("1", covers=False).is_nightly


# ---------------------------------------------------------------------------------------------- one day


WAITING = Debt(DAY, Reason.UNKNOWN_CLIENT, "shop", 3)
PAUSED = Debt(DAY, Reason.PAUSED_CLIENT, "outlet", 1)


@pytest.mark.parametrize(
    ("debts", "clients", "due"),
    [
        ([FIVE_DEFERRED], [], True),
        ([WAITING], ["outlet"], False),
        ([WAITING], ["outlet", "shop"], True),
        ([WAITING, PAUSED], ["outlet"], True),
        ([WAITING, FIVE_DEFERRED], [], True),
        ([FIVE_DEFERRED, Debt(DAY, DayReason.RUNNING, None, 0)], [], False),
    ],
)
def test_a_day_is_due_where_reading_it_again_may_settle_something(
    debts: list[Debt], clients: list[str], due: bool
) -> None:
    assert UploadDay(DAY, DayState.OPEN, tuple(debts)).is_due(clients) is due
    assert not UploadDay(DAY, DayState.CLOSED, tuple(debts)).is_due(clients)


def test_a_day_says_why_it_is_open() -> None:
    debts = (Debt(DAY, Reason.LOST_ANSWER, None, 1), WAITING, Debt(DAY, "a_new_reason", None, 2000))
    day = UploadDay(DAY, DayState.OPEN, (*debts, PAUSED, Debt(None, DayReason.RUN_FAILED, None, 0)))

    assert list(day.reasons.items()) == [
        ("a_new_reason", 2000),
        ("unknown_client", 3),
        ("lost_answer", 1),
        ("paused_client", 1),
        ("run_failed", 0),
    ]
    assert day.why == (
        "a new reason: 2,000 rows, a client is not configured: 3 rows, "
        "an answer of Meta was lost (unconfirmed): 1 row, "
        "a client is paused: 1 row, its run failed"
    )


def test_a_day_as_json() -> None:
    day = judge(run("1", WHOLE, FIVE_DEFERRED), told=True)

    assert day.to_json() == {
        "day": "2026-11-20",
        "state": "open",
        "reasons": {"client_stopped": 5},
        "why": "a token or permission was refused (client stopped): 5 rows",
        "open_since": "2026-11-21T01:00:00+01:00",
        "closes_at": "2026-11-28T00:00:00+01:00",
        "runs": ["1"],
        "told": True,
    }
    bare = UploadDay(DAY, DayState.COMPLETE).to_json()
    assert (bare["open_since"], bare["closes_at"], bare["runs"], bare["told"]) == (None, None, [], False)


# ---------------------------------------------------------------------------------------------- debts


def test_the_books_of_a_run_leave_what_it_held_and_what_is_in_doubt_while_it_can_be_settled() -> None:
    other = DAY - timedelta(days=1)
    fates = {
        Count(Fate.SENT, "shop", DAY): 9,
        Count(Fate.INVALID, "shop", DAY, "unreadable_value", "value"): 2,
        Count(Fate.DEFERRED, "shop", DAY, Reason.CLIENT_STOPPED): 4,
        Count(Fate.DEFERRED, "outlet", DAY, Reason.CLIENT_STOPPED): 3,
        Count(Fate.DEFERRED, "shop", other, Reason.CLIENT_STOPPED): 1,
        Count(Fate.DEFERRED, "outlet", DAY, Reason.PAUSED_CLIENT): 6,
        Count(Fate.DEFERRED, "shop", DAY, Reason.THROTTLED): 0,
        Count(Fate.UNCONFIRMED, "shop", DAY, Reason.LOST_ANSWER): 8,
        Count(Fate.UNCONFIRMED, "shop", DAY, Reason.UNSETTLED): 7,
    }
    absent = (AbsentFile(DAY, "sales_{date}.csv"), AbsentFile(other, "x.csv", optional=True))
    tally = Tally(fates=Counter(fates), absent=absent)
    missing = Debt(DAY, DayReason.SOURCE_MISSING, None, 0)

    assert list_debts(tally, by_event_day=True) == (
        missing,
        Debt(other, "client_stopped", None, 1),
        Debt(DAY, "client_stopped", None, 7),
        Debt(DAY, "lost_answer", None, 8),
        Debt(DAY, "paused_client", "outlet", 6),
    )
    assert list_debts(tally, by_event_day=False) == (
        missing,
        Debt(None, "client_stopped", None, 8),
        Debt(None, "lost_answer", None, 8),
        Debt(None, "paused_client", "outlet", 6),
    )


@pytest.mark.parametrize("debt", [FIVE_DEFERRED, WAITING, Debt(None, DayReason.NEVER_RAN, None, 0)])
def test_a_debt_comes_back_from_its_json(debt: Debt) -> None:
    assert Debt.from_json(debt.to_json()) == debt


def test_every_reason_that_leaves_a_day_open_has_its_words() -> None:
    """Of rows: those that are deferred or unconfirmed, and that a later run may settle."""
    of_rows = {
        *(Reason.LOST_ANSWER, Reason.CLIENT_STOPPED, Reason.OVER_LIMIT, Reason.GATE_CLOSED, Reason.UNKNOWN_CLIENT),
        *(Reason.PAUSED_CLIENT, Reason.UNREACHABLE, Reason.THROTTLED, Reason.OTHER_RUN, Reason.NOT_SENT),
        Reason.WRONG_CLOCK,
    }

    assert set(DAY_REASONS) == {*DayReason, *of_rows}


# ---------------------------------------------------------------------------------------------- a calendar


def calendar(first: date, last: date, first_known: date | None = DAY) -> Calendar:
    days = {DAY: DayState.OPEN, DAY + timedelta(days=1): DayState.COMPLETE, DAY + timedelta(days=2): DayState.CLOSED}
    return Calendar(
        "sales", ZONE.key, first, last, first_known, tuple(UploadDay(day, state) for day, state in days.items())
    )


def test_a_calendar_says_which_of_the_days_asked_for_it_does_not_know() -> None:
    last = DAY + timedelta(days=2)

    assert calendar(DAY, last).remark == ""
    assert calendar(DAY - timedelta(days=1), last).remark == "no run of sales before 2026-11-20 is known"
    assert calendar(DAY, last, None).remark == "no run of sales is known yet"


def test_a_calendar_has_whole_weeks_from_monday_and_nothing_outside_its_days() -> None:
    """From a Friday to the Sunday of the next week; 23 November is a Monday."""
    shown = calendar(DAY, date(2026, 11, 29))
    weeks = list(shown.list_weeks())

    assert [monday for monday, _ in weeks] == [date(2026, 11, 16), date(2026, 11, 23)]
    assert weeks[0][1][:4] == [(None, None)] * 4
    assert weeks[0][1][4:] == [(day.day, day) for day in shown.days]
    assert weeks[1][1] == [(date(2026, 11, day), None) for day in range(23, 30)]
    assert [day.day for day in shown.list_owed()] == [DAY, DAY + timedelta(days=2)]
    assert [monday for monday, _ in calendar(date(2026, 11, 23), date(2026, 11, 23)).list_weeks()] == [
        date(2026, 11, 23)
    ]


def test_a_calendar_as_json() -> None:
    shown = calendar(DAY - timedelta(days=1), DAY + timedelta(days=2))

    assert shown.to_json() == {
        "upload": "sales",
        "zone": "Europe/Berlin",
        "first": "2026-11-19",
        "last": "2026-11-22",
        "first_known": "2026-11-20",
        "remark": shown.remark,
        "days": [day.to_json() for day in shown.days],
    }
    assert calendar(DAY, DAY, None).to_json()["first_known"] is None


def test_moments_of_another_zone_are_the_same_moments() -> None:
    """The ends of a window may stand in another zone than the day."""
    half = Window(WHOLE.since.astimezone(UTC), hours(0, 12).until.astimezone(UTC))

    assert judge(run("1", half)).reasons == {"never_ran": 0}
    assert judge(run("1", half), run("2", hours(12, 24))).state is DayState.COMPLETE
