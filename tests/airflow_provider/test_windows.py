"""Which days a run covers, for every way in which Airflow can start it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from offline_capi.airflow_provider.dags.windows import resolve_window
from offline_capi.errors import UsageError
from offline_capi.model import Window

NEW_YORK = "America/New_York"
KEY = "2026-11-22"
INTERVAL = (datetime(2026, 11, 20, 5, tzinfo=UTC), datetime(2026, 11, 21, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("params", "key", "interval", "expected"),
    [
        ({"since": "2026-11-10", "until": "2026-11-12"}, KEY, INTERVAL, "2026-11-10 00:00 2026-11-12 00:00"),
        ({"since": "2026-11-10", "until": None}, KEY, None, "2026-11-10 00:00 2026-11-11 00:00"),
        ({"since": "2026-11-10T06:00", "until": "2026-11-10T18:00"}, None, None, "2026-11-10 06:00 2026-11-10 18:00"),
        ({"since": "2026-11-10T05:00Z", "until": "2026-11-11"}, None, None, "2026-11-10 00:00 2026-11-11 00:00"),
        ({"since": None, "until": None}, KEY, INTERVAL, "2026-11-22 00:00 2026-11-23 00:00"),
        ({}, KEY, None, "2026-11-22 00:00 2026-11-23 00:00"),
        ({}, None, INTERVAL, "2026-11-20 00:00 2026-11-21 00:00"),
    ],
    ids=["form", "form, one day", "form, hours", "form, another zone", "partition key", "key alone", "data interval"],
)  # fmt: skip
def test_the_form_comes_before_the_partition_and_the_partition_before_the_interval(params, key, interval, expected):
    window = resolve_window(params, key, interval, NEW_YORK)

    assert f"{window.since:%Y-%m-%d %H:%M} {window.until:%Y-%m-%d %H:%M}" == expected
    assert {str(end.tzinfo) for end in (window.since, window.until)} == {NEW_YORK}


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-22", 24)], ids=["spring", "autumn", "plain"]
)
@pytest.mark.parametrize("by", ["form", "key"])
def test_a_day_is_as_long_as_its_clock_says(day, hours, by):
    params, key = ({"since": day}, None) if by == "form" else ({}, day)

    window = resolve_window(params, key, None, NEW_YORK)

    assert window.until.astimezone(UTC) - window.since.astimezone(UTC) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day", "since", "until"),
    [
        ("America/Santiago", "2026-09-05", "2026-09-05T04:00Z", "2026-09-06T04:00Z"),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00Z", "2026-09-07T03:00Z"),
        ("America/Santiago", "2026-04-04", "2026-04-04T03:00Z", "2026-04-05T04:00Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00Z", "2026-04-24T21:00Z"),
    ],
    ids=["before no midnight", "without a midnight", "25 hours", "two midnights", "Cairo"],
)
@pytest.mark.parametrize("by", ["form", "key", "interval", "plan's XCom"])
def test_a_day_whose_midnight_the_clocks_skip_or_repeat_is_whole_however_it_is_named(zone, day, since, until, by):
    ends = tuple(datetime.fromisoformat(end) for end in (since, until))
    planned = resolve_window({}, day, None, zone)
    named = {
        "form": ({"since": day}, None, None),
        "key": ({}, day, None),
        "interval": ({}, None, ends),
        "plan's XCom": ({"since": planned.since.isoformat(), "until": planned.until.isoformat()}, None, None),
    }

    window = resolve_window(*named[by], zone)

    assert (window.since.astimezone(UTC), window.until.astimezone(UTC)) == ends
    assert window == planned
    assert str(window) == f"{day} ({zone})"


def test_a_day_that_did_not_exist_is_refused():
    with pytest.raises(UsageError, match=r"there was no 2011-12-30 in Pacific/Apia.*nothing was sent"):
        resolve_window({}, "2011-12-30", None, "Pacific/Apia")


def test_windows_of_days_in_a_row_leave_no_gap_and_no_overlap():
    days = ["2026-03-07", "2026-03-08", "2026-03-09"]

    windows = [resolve_window({}, day, None, NEW_YORK) for day in days]

    assert [w.until for w in windows[:-1]] == [w.since for w in windows[1:]]


def test_b10_an_empty_form_means_the_day_before_the_run_was_triggered():
    """In the upload's zone, and the same whenever a task asks."""
    just_after_midnight = datetime(2026, 11, 11, 5, 30, tzinfo=UTC)

    window = resolve_window({}, None, None, NEW_YORK, triggered_at=just_after_midnight)

    assert window == Window.of_day(date(2026, 11, 10), NEW_YORK)
    assert resolve_window({}, KEY, None, NEW_YORK, triggered_at=just_after_midnight) == resolve_window(
        {}, KEY, None, NEW_YORK
    )


@pytest.mark.parametrize(
    ("params", "key", "interval", "told"),
    [
        ({}, None, None, "does not say which days"),
        ({}, None, (INTERVAL[0], INTERVAL[0]), "does not say which days"),
        ({"since": None, "until": "2026-11-10"}, KEY, None, "until is given without since"),
        ({"since": "2026-11-10", "until": "2026-11-10"}, None, None, "give the day after it"),
        ({"since": "2026-11-11", "until": "2026-11-10"}, None, None, "is not before until"),
        ({"since": "yesterday"}, None, None, "since is not a date such as"),
        ({"since": 20261110}, None, None, "since is not a date such as"),
        ({"since": "2026-11-10", "until": "11/11/2026"}, None, None, "until is not a date such as"),
        ({}, "2026-W47-x", None, "is not a day such as"),
    ],
)
def test_what_cannot_be_resolved_says_what_to_give_and_that_nothing_was_sent(params, key, interval, told):
    with pytest.raises(UsageError) as error:
        resolve_window(params, key, interval, NEW_YORK)

    assert told in str(error.value)
    assert "nothing was sent" in str(error.value)
