"""Source times as UTC seconds."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.errors import ConfigError
from offline_capi.mapping import map_rows
from offline_capi.mapping.times import TimeRule, read_dates, read_instants
from offline_capi.model import Window
from tests.mapping.mapped import LEAST, faults, mapped, mapping, source

NEW_YORK = TimeRule(zone="America/New_York")


def seconds(values, rule):
    return read_instants(values, rule).cast(pa.int64()).to_pylist()


def utc(text):
    return int(dt.datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-20", "2026-11-20T05:00:00Z"),
        ("2026-11-20T10:00", "2026-11-20T15:00:00Z"),
        ("2026-11-20 10:00:00", "2026-11-20T15:00:00Z"),
        ("2026-11-20 10:00:00.999999", "2026-11-20T15:00:00Z"),
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00.123Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00z", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00 UTC", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00.5+00", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00,123456789 -0530", "2026-11-20T15:30:00Z"),
        ("2024-02-29T00:00:00+14:00", "2024-02-28T10:00:00Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
    ],
)
def test_iso_keeps_its_offset_or_stands_in_the_declared_zone(text, instant):
    assert seconds(pa.array([text]), NEW_YORK) == [utc(instant)]


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "1900-02-29",
        "2026-13-01",
        "2026-11-31",
        "2026-11-20T24:00:00",
        "2026-11-20T10:60:00",
        "2026-11-20T10:00:60Z",
        "2026-11-20T10:00:00+15:00",
        "2026-11-20T10:00:00 EST",
        "2026-11-20+01:00",
        "2026/11/20",
        "20/11/2026",
        "yesterday",
        "20261120",
    ],
)
def test_what_is_not_iso_is_refused(text):
    assert seconds(pa.array([text]), NEW_YORK) == [None]


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00Z"),  # twice: the earlier
        ("America/New_York", "2026-03-08 02:30:00", "2026-03-08T07:30:00Z"),  # never: the offset before
        ("Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", "2026-03-29 02:00:00", "2026-03-29T01:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:45:00Z"),  # a gap of half an hour
        ("Pacific/Apia", "2011-12-30 05:00:00", "2011-12-30T15:00:00Z"),  # a gap of a day
    ],
)
def test_where_the_clocks_change(zone, wall, instant):
    """As Python's own ``zoneinfo`` decides with ``fold=0``."""
    assert seconds(pa.array([wall]), TimeRule(zone=zone)) == [utc(instant)]
    assert utc(instant) == int(dt.datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone)).timestamp())


@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("America/New_York", "2026-03-08 02:00:00"), ("Europe/Berlin", "2026-10-25 02:00:00"),
        ("UTC", "2026-10-25 02:00:00"), ("Australia/Lord_Howe", "2026-10-04 02:00:00"),
        ("Pacific/Apia", "2011-12-30 12:00:00"), ("Africa/Monrovia", "1972-01-07 00:44:30"),
        ("America/Caracas", "2007-12-09 03:00:00"), ("Asia/Kathmandu", "1986-01-01 00:00:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 7, 61, 3600])
def test_many_times_where_the_clocks_change_are_read_as_each_of_them(zone: str, around: str, step: int) -> None:
    """Of few quarters of an hour, and of more than there are rows; a null among them stays one."""
    middle = dt.datetime.fromisoformat(around)
    walls = [middle + dt.timedelta(seconds=step * number) for number in range(-4000, 4000)]

    found = seconds(pa.array([None, *map(str, walls)]), TimeRule(zone=zone))

    assert found == [None, *(int(wall.replace(tzinfo=ZoneInfo(zone)).timestamp()) for wall in walls)]


def test_a_year_is_one_from_1000_to_2999() -> None:
    for text in ("0999-12-31 23:59:59", "3000-01-01 00:00:00"):
        assert seconds(pa.array([text]), TimeRule()) == [None]
    for text in ("1000-01-01 00:00:00", "2999-12-31 23:59:59"):
        assert seconds(pa.array([text]), TimeRule()) == [utc(f"{text}+00:00")]


@given(
    st.lists(
        st.from_regex(r"[0-9]{2,4}[-/][0-9]{1,2}-[0-9]{2}[ Tt][0-9]{1,2}:[0-9]{2}(:[0-9]{2}|[+]01)", fullmatch=True)
    )
)
def test_times_that_all_look_alike_are_read_as_each_of_them(texts: list[str]) -> None:
    """A shorter one beside them makes all of them take the general way."""
    rule = TimeRule(zone="Europe/Berlin")
    plain = [f"{2000 + number}-02-28 10:00:0{number}" for number in range(3)]

    for some in (texts, plain + texts, [text for text in texts if len(text) == 19], plain):
        together = seconds(pa.array(some, pa.string()), rule)
        assert together == seconds(pa.array([*some, "2026-11-20"], pa.string()), rule)[:-1]


@pytest.mark.parametrize(
    ("number", "second"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000_999, 1_700_000_000),
        (1_700_000_000_999_999, 1_700_000_000),
        (999_999_999, None),
        (10_000_000_000, None),
        (999_999_999_999, None),
        (20_261_120, None),
        (-1, None),
        (1_700_000_000_000_000_000, None),
    ],
)
def test_numbers_without_a_unit_are_read_only_where_no_other_unit_is_possible(number, second):
    assert seconds(pa.array([number]), TimeRule()) == [second]
    assert seconds(pa.array([str(number)]), TimeRule()) == [second]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["0x12345678", "0xFFFFFFFF", "+123456789", "-123456789", "1_00000000", "１７００００００００"]
            ),
            st.sampled_from([10, 13, 16, 11]).flatmap(lambda size: st.from_regex(rf"[0-9]{{{size}}}", fullmatch=True)),
        ),
        max_size=4,
    ),
    st.sampled_from([None, "s", "ms", "us"]),
)
def test_digits_that_are_all_as_long_are_read_as_each_of_them(texts: list[str], unit: str | None) -> None:
    """A null beside them changes nothing, and a shorter text makes all of them take the general way."""
    rule = TimeRule(unit=unit)

    for length in {len(text) for text in texts}:
        alike = [text for text in texts if len(text) == length]
        general = seconds(pa.array([*alike, "x"]), rule)
        assert seconds(pa.array([*alike, None]), rule)[:-1] == seconds(pa.array(alike), rule) == general[:-1]


@pytest.mark.parametrize(
    ("values", "unit", "second"),
    [
        (pa.array([5]), "s", 5),
        (pa.array([-1]), "ms", -1),
        (pa.array([1_700_000_000_999.0]), "ms", 1_700_000_000),
        (pa.array([Decimal("1700000000.9")]), "s", 1_700_000_000),
        (pa.array(["1700000000999999"]), "us", 1_700_000_000),
        (pa.array(["2026-11-20"]), "s", None),
        (pa.array([float("nan")]), "s", None),
        (pa.array([2**62]), "s", None),
    ],
)
def test_a_declared_unit_decides(values, unit, second):
    assert seconds(values, TimeRule(unit=unit)) == [second]


@pytest.mark.parametrize(
    ("form", "text", "instant"),
    [
        ("%d.%m.%Y %H:%M", "20.11.2026 10:00", "2026-11-20T15:00:00Z"),
        ("%m/%d/%y %I:%M %p", "11/20/26 1:05 PM", "2026-11-20T18:05:00Z"),
        ("%Y-%m-%dT%H:%M:%S.%f%z", "2026-11-20T10:00:00.25Z", "2026-11-20T10:00:00Z"),
        ("%Y-%m-%d %H:%M:%S%z", "2026-11-20 10:00:00+0200", "2026-11-20T08:00:00Z"),
        ("%d %b %Y", "20 Nov 2026", "2026-11-20T05:00:00Z"),
        ("%Y%m%d", "20261120", "2026-11-20T05:00:00Z"),
    ],
)
def test_declared_formats(form, text, instant):
    assert seconds(pa.array([text]), NEW_YORK._replace(formats=(form,))) == [utc(instant)]


def test_formats_are_tried_in_turn_and_nothing_else_is():
    """``%Y-%d-%m`` makes 2026-10-13 a mistake, not the thirteenth of October; ``iso`` must be asked for."""
    text = pa.array(["2026-13-10", "2026-10-13", "13.10.2026"])

    assert [t is not None for t in seconds(text, TimeRule(("%Y-%d-%m", "%d.%m.%Y")))] == [True, False, True]
    assert seconds(pa.array(["2026-10-13"]), TimeRule(("%d.%m.%Y", "iso"))) == [utc("2026-10-13T00:00:00Z")]


def test_two_digits_are_no_four_digit_year():
    assert seconds(pa.array(["20/11/26"]), TimeRule(("%d/%m/%Y",))) == [None]


def test_numbers_of_a_declared_format_are_read_as_text():
    assert seconds(pa.array([20261120]), TimeRule(("%Y%m%d",))) == [utc("2026-11-20T00:00:00Z")]


@pytest.mark.parametrize("form", ["%H:%M", "%d.%m.", "%Y-%m", "%d.%m.%Y %Z", "%Q", "%d.%m.%Y %H"])
def test_a_format_that_cannot_name_a_moment_is_the_fault_of_the_yaml(form):
    with pytest.raises(ConfigError, match=r"event\.time: "):
        mapped(
            source(),
            event={"name": "P", "id": "{id}", "action_source": "other"} | {"time": {"column": "at", "format": form}},
        )


@pytest.mark.parametrize(
    ("values", "instant"),
    [
        (pa.array([-1500], pa.timestamp("ms", "Asia/Tokyo")), -2),
        (pa.array([-1500], pa.timestamp("ms")), -2 + 5 * 3600),
        (pa.array([1_500_000_000], pa.timestamp("ns")), 1 + 5 * 3600),
        (pa.array([dt.date(1970, 1, 2)]), 86_400 + 5 * 3600),
    ],
)
def test_arrow_times_are_floored_and_placed(values, instant):
    assert seconds(values, NEW_YORK) == [instant]


@pytest.mark.parametrize(
    ("values", "rule", "day"),
    [
        (pa.array(["2026-11-20T23:00:00-05:00"]), TimeRule(), "2026-11-20"),
        (pa.array(["16.02.1997"]), TimeRule(("%d.%m.%Y",)), "1997-02-16"),
        (pa.array([856_134_000], pa.timestamp("s")), TimeRule(zone="Asia/Tokyo"), "1997-02-16"),
        (pa.array([0], pa.timestamp("s", "UTC")), TimeRule(zone="America/New_York"), "1969-12-31"),
        (pa.array([dt.date(1997, 2, 16)]), TimeRule(), "1997-02-16"),
    ],
)
def test_a_day_is_the_one_written_or_that_of_the_zone(values, rule, day):
    assert [str(value) for value in read_dates(values, rule).to_pylist()] == [day]


def test_a_time_that_is_the_windows_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no row lies outside; an event's own column is another one."""
    read = list[int]()

    def count(values: pa.Array, rule: TimeRule) -> pa.Array:
        read.append(len(values))
        return read_instants(values, rule)

    monkeypatch.setattr("offline_capi.mapping.casts.read_instants", count)
    rows = source(at=["2026-11-20T10:00:00Z"] * 3, paid_at=["2026-11-20T11:00:00Z"] * 3)
    day, later = Window.of_day(dt.date(2026, 11, 20), "UTC"), Window.of_day(dt.date(2026, 11, 21), "UTC")

    whose = map_rows(rows, mapping(), day).event["event_time"].to_pylist()
    own = map_rows(rows, mapping(event={**LEAST["event"], "time": "paid_at"}), day).event["event_time"].to_pylist()

    assert (whose, own) == ([utc("2026-11-20T10:00:00Z")] * 3, [utc("2026-11-20T11:00:00Z")] * 3)
    assert read == [3, 3, 3]
    assert len(map_rows(rows, mapping(), later)) == 0


def test_a_missing_time_and_an_unreadable_one_are_different_faults():
    rows = mapped(source(at=["2026-11-20 10:00:00", " ", "soon"]))

    assert rows.event["event_time"].to_pylist() == [utc("2026-11-20T10:00:00Z"), None, None]
    assert faults(rows) == [("unreadable_time", "window.column", [3]), ("missing_time", "window.column", [2])]


@pytest.mark.parametrize(
    ("time", "instant"),
    [
        ("at", "2026-11-20T09:00:00Z"),
        ({"column": "at", "timezone": "America/New_York"}, "2026-11-20T15:00:00Z"),
        ({"coalesce": ["none", "at"], "timezone": "America/New_York"}, "2026-11-20T15:00:00Z"),
    ],
)
def test_the_time_has_the_windows_zone_unless_it_names_its_own(time, instant):
    event = {"name": "P", "id": "{id}", "action_source": "other", "time": time}

    rows = mapped(
        source(at=["2026-11-20 10:00:00"], none=[""]), event=event, window={"column": "at", "timezone": "Europe/Berlin"}
    )

    assert rows.event["event_time"].to_pylist() == [utc(instant)]


def test_a_date_column_and_a_time_column_make_one_time():
    event = {"name": "P", "id": "{id}", "action_source": "other", "time": "{day} {clock}"}

    rows = mapped(source(day=["2026-11-20"], clock=["10:00"]), event=event)

    assert rows.event["event_time"].to_pylist() == [utc("2026-11-20T10:00:00Z")]
