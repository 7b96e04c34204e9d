"""When an upload runs, which day it covers, and what a backfill gets."""

from __future__ import annotations

from datetime import UTC, datetime

import pendulum
import pytest
from airflow.exceptions import AirflowTimetableInvalid, InvalidPartitionKeyError
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DagRunInfo, TimeRestriction

from offline_capi.airflow_provider.timetable import DailyPartitionTimetable, runs_daily

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
    assert runs_daily(cron)
    DailyPartitionTimetable(cron, timezone="UTC").validate()


@pytest.mark.parametrize("cron", ["0 3 * * 1", "0 3 * * 1-5", "0 3 1 * *", "0 3 */2 * *", "@weekly", "@monthly"])
def test_a_schedule_that_would_lose_days_is_refused(cron):
    assert not runs_daily(cron)
    with pytest.raises(AirflowTimetableInvalid, match="does not run every day"):
        DailyPartitionTimetable(cron, timezone="UTC").validate()
