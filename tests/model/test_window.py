"""Days and windows where the clocks change at midnight: as instants they are exact, as wall clocks they are days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from offline_capi.cli.shell import moment_of
from offline_capi.model import Window, convert_to_zone, find_yesterday, start_of_day

SANTIAGO, HAVANA, TORONTO = "America/Santiago", "America/Havana", "America/Toronto"
#: 2026-09-06 began at 01:00 in Santiago, and at the instant that UTC calls 04:00.
SKIPPED = date(2026, 9, 6)


def utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def test_a_skipped_midnight_is_the_instant_of_the_change_and_still_a_midnight_for_naive_columns():
    day = Window.of_day(SKIPPED, SANTIAGO)

    assert (utc(day.since), utc(day.until)) == ("2026-09-06 04:00", "2026-09-07 03:00")
    assert f"{day.since:%Y-%m-%d %H:%M}" == "2026-09-06 00:00"
    assert int(day.since.timestamp()) == int(datetime(2026, 9, 6, 4, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("day", [SKIPPED - timedelta(days=1), SKIPPED, date(2026, 4, 4), date(2026, 4, 5)])
def test_a_day_comes_back_from_the_ledger_as_it_was(day: date):
    window = Window.of_day(day, SANTIAGO)

    back = Window.from_json(window.to_json())

    assert back == window
    assert (utc(back.since), utc(back.until)) == (utc(window.since), utc(window.until))
    assert str(back) == f"{day} ({SANTIAGO})"


def test_the_earlier_of_two_midnights_begins_the_day_whatever_moment_of_it_is_given():
    late = datetime(2026, 11, 1, 5, 30, tzinfo=UTC).astimezone(ZoneInfo(HAVANA))

    assert (late.hour, late.fold) == (0, 1)
    assert utc(Window.of_day_at(late).since) == utc(Window.of_day(late.date(), HAVANA).since) == "2026-11-01 04:00"


def test_looking_back_over_a_skipped_midnight_ends_at_a_midnight():
    after = Window.of_day(SKIPPED + timedelta(days=1), SANTIAGO)

    assert [utc(after.extend_back(timedelta(days=days)).since) for days in (1, 2)] == [
        "2026-09-06 04:00",
        "2026-09-05 04:00",
    ]


def test_clocks_that_skip_more_than_midnight_begin_the_day_where_they_go_to():
    """Toronto went from 23:30 on 1919-03-30 to 00:30."""
    start = start_of_day(date(1919, 3, 31), ZoneInfo(TORONTO))

    assert (utc(start), f"{start:%H:%M}") == ("1919-03-31 04:30", "00:30")


def test_a_window_of_an_hour_that_the_clocks_repeat_is_one():
    zone = ZoneInfo("America/New_York")
    ends = [moment_of(f"2026-11-01T01:30{offset}", zone, "--since") for offset in ("-04:00", "-05:00")]

    assert utc(Window(*ends).until) == "2026-11-01 06:30"
    with pytest.raises(ValueError, match="since < until"):
        Window(*reversed(ends))


@pytest.mark.parametrize(
    ("moment", "local"),
    [
        ("2026-09-06T03:59+00:00", "2026-09-05 23:59"),
        ("2026-09-06T04:00+00:00", "2026-09-06 00:00"),
        ("2026-09-06T04:01+00:00", "2026-09-06 01:01"),
    ],
)
def test_only_the_first_instant_of_a_day_is_its_midnight(moment: str, local: str):
    assert f"{convert_to_zone(datetime.fromisoformat(moment), ZoneInfo(SANTIAGO)):%Y-%m-%d %H:%M}" == local


def test_yesterday_is_the_day_that_was_there():
    """Samoa went from 2011-12-29 to 2011-12-31."""
    assert find_yesterday("Pacific/Apia", datetime(2011, 12, 31, 1, tzinfo=UTC)) == date(2011, 12, 29)
    assert find_yesterday(SANTIAGO, datetime(2026, 9, 6, 4, 30, tzinfo=UTC)) == date(2026, 9, 5)
