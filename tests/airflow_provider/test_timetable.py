"""When an upload runs, which day it covers, and what a backfill gets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pendulum
import pytest
from airflow.exceptions import AirflowTimetableInvalid, InvalidPartitionKeyError
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DagRunInfo, TimeRestriction

from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable, is_daily
from offline_capi.model import Window

NIGHTLY = DailyPartitionTimetable("15 2 * * *", timezone="America/New_York")


def backfill(first: str, last: str, timetable: DailyPartitionTimetable = NIGHTLY) -> list[DagRunInfo]:
    """As ``airflow backfill create --from-date --to-date`` asks for it: midnights in UTC."""
    ends = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, last)]
    return list(timetable.iter_partition_dagrun_infos(earliest=ends[0], latest=ends[1]))


def test_a_scheduled_run_starts_at_the_crons_time_and_covers_the_local_day_before():
    last = DagRunInfo(run_after=pendulum.datetime(2100, 3, 7, 7, 15), data_interval=None)

    run = NIGHTLY.next_dagrun_info_v2(last_dagrun_info=last, restriction=TimeRestriction(None, None, catchup=False))

    assert run is not None
    assert run.run_after.in_timezone("America/New_York").format("YYYY-MM-DD HH:mm") == "2100-03-08 02:15"
    assert run.partition_key == "2100-03-07"
    assert run.partition_date == pendulum.datetime(2100, 3, 7, tz="America/New_York")
    assert run.data_interval is None


@pytest.mark.parametrize(
    ("tick", "key", "midnight"),
    [
        ("2026-03-08T07:15:00Z", "2026-03-07", "2026-03-07T05:00:00Z"),
        ("2026-03-09T06:15:00Z", "2026-03-08", "2026-03-08T05:00:00Z"),
        ("2026-03-10T06:15:00Z", "2026-03-09", "2026-03-09T04:00:00Z"),
        ("2026-11-02T07:15:00Z", "2026-11-01", "2026-11-01T04:00:00Z"),
    ],
)
def test_a_partition_starts_at_local_midnight_on_days_when_the_clocks_change(tick, key, midnight):
    found = NIGHTLY._get_partition_info(pendulum.parse(tick))

    assert found == (pendulum.parse(midnight), key)


def test_a_backfill_gets_every_day_from_the_first_to_the_last():
    assert [run.partition_key for run in backfill("2026-11-03", "2026-11-05")] == [
        "2026-11-03",
        "2026-11-04",
        "2026-11-05",
    ]


@pytest.mark.parametrize(("first", "last", "days"), [("2026-03-06", "2026-03-10", 5), ("2026-10-30", "2026-11-03", 5)])
def test_a_backfill_across_a_clock_change_gets_each_day_once(first, last, days):
    runs = backfill(first, last)

    assert len({run.partition_key for run in runs}) == len(runs) == days
    assert all(run.partition_date.in_timezone("America/New_York").format("HH:mm") == "00:00" for run in runs)


def test_a_backfilled_day_and_a_scheduled_run_agree_on_the_partition():
    """Airflow tells by the partition's date whether a day has a run already."""
    scheduled = NIGHTLY._get_partition_info(pendulum.parse("2026-11-05T07:15:00Z"))

    (run,) = backfill("2026-11-04", "2026-11-04")

    assert (run.partition_date, run.partition_key) == scheduled


def test_a_backfilled_day_that_is_not_over_waits_for_its_own_night():
    (run,) = backfill("2026-11-04", "2026-11-04")

    assert run.run_after == pendulum.datetime(2026, 11, 5, 2, 15, tz="America/New_York")


def test_every_minute_of_an_hour_is_a_time_of_day():
    often = DailyPartitionTimetable("* 3 * * *", timezone="America/New_York")
    first = pendulum.datetime(2026, 11, 5, 3, tz="America/New_York")

    last = often._get_prev(first.add(hours=1))

    assert often._get_next(first.subtract(seconds=1)) == first
    assert last == first.add(minutes=59)


def test_a_moment_at_which_it_runs_is_the_first_run_from_then_on():
    """As a start date that is a cron time, and midnight where the cron is at midnight."""
    at_midnight = DailyPartitionTimetable("0 0 * * *", timezone="America/New_York")
    midnight = pendulum.datetime(2026, 11, 5, tz="America/New_York")

    (backfilled,) = backfill("2026-11-04", "2026-11-04", at_midnight)
    first = at_midnight.next_dagrun_info_v2(
        last_dagrun_info=None, restriction=TimeRestriction(midnight, None, catchup=True)
    )

    assert backfilled.run_after == midnight
    assert first is not None
    assert (first.run_after, first.partition_key) == (midnight, "2026-11-04")


def test_it_comes_back_from_the_metadata_database_as_it_was():
    back = decode_timetable(encode_timetable(NIGHTLY))

    assert isinstance(back, DailyPartitionTimetable)
    assert back == NIGHTLY
    assert back.serialize() == NIGHTLY.serialize()


def test_a_partition_key_given_by_hand_is_a_day_in_the_uploads_zone():
    assert NIGHTLY.resolve_partition_date("2026-11-12") == pendulum.datetime(2026, 11, 12, tz="America/New_York")
    with pytest.raises(InvalidPartitionKeyError):
        NIGHTLY.resolve_partition_date("12 November")


@pytest.mark.parametrize("cron", ["0 3 * * *", "15 2,14 * * *", "0 */6 * * *", "@daily", "@hourly"])
def test_a_schedule_that_fires_every_day_is_accepted(cron):
    assert is_daily(cron)
    DailyPartitionTimetable(cron, timezone="UTC").validate()


@pytest.mark.parametrize("cron", ["0 3 * * 1", "0 3 * * 1-5", "0 3 1 * *", "0 3 */2 * *", "@weekly", "@monthly"])
def test_a_schedule_that_would_lose_days_is_refused(cron):
    assert not is_daily(cron)
    with pytest.raises(AirflowTimetableInvalid, match="does not run every day"):
        DailyPartitionTimetable(cron, timezone="UTC").validate()


@pytest.mark.parametrize("cron", ["61 3 * * *", "0 25 * * *", "x 3 * * *"])
def test_a_time_that_no_day_has_is_refused(cron):
    """By Airflow, whose own check comes before that of the days."""
    with pytest.raises(AirflowTimetableInvalid, match="not acceptable"):
        DailyPartitionTimetable(cron, timezone="UTC").validate()


def test_a_backfill_from_a_time_that_is_not_midnight_begins_with_the_next_whole_day():
    ends = (datetime(2026, 11, 3, 6, tzinfo=UTC), datetime(2026, 11, 5, 6, tzinfo=UTC))

    found = list(NIGHTLY.iter_partition_dagrun_infos(earliest=ends[0], latest=ends[1]))

    assert [run.partition_key for run in found] == ["2026-11-04", "2026-11-05"]


@pytest.mark.parametrize("key", ["2026-11-1", "20261112", "2026-11-12T00:00", "2026-02-30", ""])
def test_a_day_has_one_spelling_as_a_partition_key(key):
    with pytest.raises(InvalidPartitionKeyError, match="such as 2026-11-22"):
        NIGHTLY.resolve_partition_date(key)


# ---------------------------------------------------------------------------------------------- changes of clocks

CRONS = ("@daily", "30 0 * * *", "15 2 * * *", "59 23 * * *")
YEARS = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC))
DAY, QUARTER, MINUTE = timedelta(days=1), timedelta(minutes=15), timedelta(minutes=1)
#: Beside the changes: the ends of a year and of a leap February, and a day in summer.
PLAIN_DAYS = [datetime(*day, tzinfo=UTC) for day in ((2024, 1, 1), (2024, 2, 29), (2026, 7, 15), (2030, 12, 31))]


def changes(zone: ZoneInfo) -> list[datetime]:
    """The days, UTC, after which the zone's clocks are set to something else."""
    days = [YEARS[0] + number * DAY for number in range((YEARS[1] - YEARS[0]).days + 1)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [day for day, (now, then) in zip(days, pairwise(offsets), strict=False) if now != then]


def days_around(moment: datetime, zone: tzinfo) -> dict[date, datetime]:
    """By looking at a clock every quarter of an hour: the local days near ``moment``, and when each begins."""
    found: dict[date, datetime] = {}
    for number in range(-4 * 96, 6 * 96):
        at = moment + number * QUARTER
        found.setdefault(at.astimezone(zone).date(), at)
    return dict(sorted(found.items())[1:])  # the first had begun before


def scheduled(timetable: DailyPartitionTimetable, after: datetime, until: datetime) -> Iterator[DagRunInfo]:
    """As the scheduler asks for one run after the other."""
    run = DagRunInfo(run_after=pendulum.instance(after), data_interval=None)
    while True:
        found = timetable.next_dagrun_info_v2(last_dagrun_info=run, restriction=TimeRestriction(None, None, True))
        assert found is not None
        assert found.run_after > run.run_after, "time goes on"
        if found.run_after >= until:
            return
        yield (run := found)


def disagreements(name: str, moment: datetime) -> list[str]:
    """Where a schedule, a backfill, a key given by hand and the window of a day differ from the calendar."""
    begins = days_around(moment, ZoneInfo(name))
    days = list(begins)
    covered, tomorrow = days[:-2], dict(pairwise(days))
    starts = [(day, begins[day]) for day in covered]
    ends = [(day, begins[tomorrow[day]]) for day in covered]
    windows = [(day, Window.of_day(day, name)) for day in covered]
    found = {
        "window": [(day, window.since.astimezone(UTC)) for day, window in windows] == starts,
        "end of window": [(day, window.until.astimezone(UTC)) for day, window in windows] == ends,
    }
    for cron in CRONS:
        timetable = DailyPartitionTimetable(cron, timezone=name)
        by_schedule = list(scheduled(timetable, begins[days[1]] - MINUTE, begins[days[-1]]))
        by_backfill = backfill(days[0].isoformat(), covered[-1].isoformat(), timetable)
        found |= {
            f"{cron}: schedule": partitions(by_schedule) == starts,
            f"{cron}: backfill": partitions(by_backfill) == starts,
            f"{cron}: by hand": [(day, timetable.resolve_partition_date(str(day))) for day in covered] == starts,
            f"{cron}: same time": [run.run_after for run in by_schedule] == [run.run_after for run in by_backfill],
            f"{cron}: day over": all(run.run_after >= end for run, (_, end) in zip(by_schedule, ends, strict=False)),
        }
    return [f"{name}, {moment:%Y-%m-%d}: {what}" for what, right in found.items() if not right]


def partitions(runs: list[DagRunInfo]) -> list[tuple[date, datetime | None]]:
    return [(date.fromisoformat(str(run.partition_key)), run.partition_date) for run in runs]


def test_p20_every_local_day_of_every_zone_gets_one_run_with_one_key_and_one_partition_date():
    """Of the days on which clocks do the same at the same time of the day, wherever and whenever, one is looked at."""
    seen: dict[tuple[timedelta | None, ...], tuple[str, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for day in (*changes(zone), *PLAIN_DAYS):
            clock = tuple((day + number * QUARTER).astimezone(zone).utcoffset() for number in range(-8, 26 * 4))
            seen.setdefault(clock, (name, day))

    wrong = [one for name, day in seen.values() for one in disagreements(name, day)]

    assert len(seen) > 80
    assert wrong == []


@pytest.mark.parametrize(
    ("zone", "first", "last", "skipped"),
    [
        ("Pacific/Apia", "2011-12-28", "2012-01-01", "2011-12-30"),
        ("Pacific/Kwajalein", "1993-08-19", "1993-08-23", "1993-08-21"),
    ],
)
def test_a_day_that_a_calendar_skipped_has_no_run_and_its_neighbours_have_theirs(zone, first, last, skipped):
    timetable = DailyPartitionTimetable("15 2 * * *", timezone=zone)
    ends = [datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) for day in (first, last)]

    keys = [run.partition_key for run in backfill(first, last, timetable)]
    by_schedule = [run.partition_key for run in scheduled(timetable, ends[0] + DAY, ends[1] + DAY + 3 * 12 * QUARTER)]

    assert len(keys) == 4
    assert skipped not in keys
    assert by_schedule == keys
    with pytest.raises(InvalidPartitionKeyError):
        timetable.resolve_partition_date(skipped)
    with pytest.raises(ValueError, match="skipped that day"):
        Window.of_day(date.fromisoformat(skipped), zone)


def test_clocks_that_skip_midnight_and_some_of_the_evening_before_end_that_day_early():
    """Toronto, 1919-03-30 at 23:30: the next day began at 00:30."""
    timetable = DailyPartitionTimetable("59 23 * * *", timezone="America/Toronto")

    runs = backfill("1919-03-28", "1919-04-01", timetable)

    assert [run.partition_key for run in runs] == [f"1919-03-{day}" for day in (28, 29, 30, 31)] + ["1919-04-01"]
    assert runs[3].partition_date == datetime(1919, 3, 31, 4, 30, tzinfo=UTC)
    assert [
        run.partition_key for run in scheduled(timetable, runs[0].run_after - DAY / 2, runs[-1].run_after + DAY / 2)
    ] == [run.partition_key for run in runs]
