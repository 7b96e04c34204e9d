"""Which column says when it happened, and how its values are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.audit.names import find_key
from offline_capi.mapping.times import TimeRule, read_instants
from offline_capi.onboarding.sample import Column, Sample, build_vocabulary

__all__ = [
    "TimeColumn",
    "find_clock_column",
    "find_latest_day",
    "find_time_columns",
    "find_time_formats",
    "list_day_formats",
]

MIN_FITTING_SHARE = 0.95
EARLIEST_TIME = datetime(2001, 9, 9, tzinfo=UTC)  # what has fewer than ten digits is no time of ours
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
#: Written with the day before the month, and the same the other way round.
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_DATED = r"^(\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{8})(\D|$)"
_CLOCK_ALONE = r"^\d{1,2}:\d\d(:\d\d)?( ?[AaPp][Mm])?$"
_WHEN_IT_HAPPENED = build_vocabulary(
    "event sold sale purchase purchased order ordered paid payment transaction booking booked approved "
    "signed completed converted conversion occurred happened receipt closed won kauf "
    "bestell bestellt verkauf verkauft gekauft zahlung bezahlt compra fecha achat visit"
)
_A_TIME = build_vocabulary("at on time timestamp date datetime day datum zeit uhrzeit zeitpunkt ts hour heure hora ora")
_WHEN_ELSE = build_vocabulary(
    "updated modified changed loaded inserted exported imported synced created registered due valid expires expiry "
    "until deleted birth last first signup shipped delivered refunded liefer versand storno geändert erstellt angelegt"
)


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column of times. ``zone_matters`` where values carry no zone; ``formats`` where they are not ISO 8601."""

    name: str
    readable: int
    filled: int
    zone_matters: bool
    has_clock: bool
    formats: tuple[str, ...]
    other_reading: bool
    score: int

    def read_instants(self, column: Column, zone: str) -> pa.TimestampArray:
        return read_instants(_read_values(column), TimeRule(self.formats, zone=zone))


def find_time_columns(sample: Sample, now: datetime) -> list[TimeColumn]:
    """Columns whose values are moments of the past, the likeliest to be the event's first."""
    found = (find_time_formats(column, now) for column in sample.columns.values() if not _is_birth_column(column.name))
    return sorted(filter(None, found), key=lambda one: -one.score)


def find_time_formats(column: Column, now: datetime, known: tuple[str, ...] = ()) -> TimeColumn | None:
    """How the column's values are read as times; ``None`` where they are none. ``known`` formats need no proof."""
    if not column.filled or kinds.is_boolean(column.values.type):
        return None
    readings = sorted(_try_formats(column, now), key=lambda one: (-one[1], not set(one[0]) <= set(known)))
    if not readings or readings[0][1] < MIN_FITTING_SHARE * column.filled:
        return None
    formats, readable = readings[0]
    rule = TimeRule(formats)
    east = read_instants(_read_values(column), rule._replace(zone="Asia/Tokyo"))
    found = read_instants(_read_values(column), rule)
    clock = bool(pc.any(pc.not_equal(_read_clock(column, formats), 0)).as_py())
    return TimeColumn(
        name=column.name,
        readable=readable,
        filled=column.filled,
        zone_matters=bool(pc.any(pc.not_equal(found, east)).as_py()),
        has_clock=clock,
        formats=formats,
        other_reading=len(readings) > 1 and readings[1][1] == readable and not (known and set(formats) <= set(known)),
        score=_score_column(column) + clock,
    )


def find_clock_column(sample: Sample, day: TimeColumn) -> str | None:
    """The one column that holds the clock to a day without one: ``Visit Time`` to ``Visit Date``."""
    found = [
        column
        for name, column in sample.columns.items()
        if name != day.name
        and column.words & _A_TIME
        and column.filled
        and column.count_matching(_CLOCK_ALONE) == column.filled
    ]
    beside = [column for column in found if column.words & sample.columns[day.name].words - _A_TIME]
    chosen = beside if len(found) > 1 else found
    return chosen[0].name if len(chosen) == 1 else None


def find_latest_day(instants: pa.TimestampArray, zone: str, now: datetime) -> date | None:
    """The last day that has a row; what lies in the future is a mistake and no day of ours."""
    past = pc.max(instants.filter(pc.less_equal(instants, pa.scalar(now, instants.type)))).as_py()
    return None if past is None else past.astimezone(ZoneInfo(zone)).date()


def list_day_formats() -> tuple[str, ...]:
    """How people write a day, ISO 8601 apart."""
    return _DAYS


def _read_values(column: Column) -> pa.Array:
    return column.text if kinds.is_string(column.values.type) else column.values


def _try_formats(column: Column, now: datetime) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each way to read the column, and how many values it reads; the standard way alone where it reads enough."""
    plain = _count_plausible(column, TimeRule(), now)
    yield (), plain
    if plain < MIN_FITTING_SHARE * column.filled <= column.count_matching(_DATED):
        for form in (day + clock for day in _DAYS for clock in _CLOCKS):
            yield (form,), _count_plausible(column, TimeRule((form,)), now)


def _count_plausible(column: Column, rule: TimeRule, now: datetime) -> int:
    if not _can_be_time(column.values.type):
        return 0
    found = read_instants(_read_values(column), rule)
    low, high = (pa.scalar(end, found.type) for end in (EARLIEST_TIME, now + timedelta(days=2)))
    return int(pc.sum(pc.and_(pc.greater_equal(found, low), pc.less(found, high))).as_py() or 0)


def _can_be_time(kind: pa.DataType) -> bool:
    tests = (kinds.is_string, kinds.is_integer, kinds.is_floating, kinds.is_timestamp, kinds.is_date)
    return any(fits(kind) for fits in tests)


def _read_clock(column: Column, formats: tuple[str, ...]) -> pa.Array:
    return pc.subtract(
        (seconds := pc.cast(read_instants(_read_values(column), TimeRule(formats)), pa.int64())),
        pc.multiply(pc.divide(seconds, 86_400), 86_400),
    )


def _is_birth_column(name: str) -> bool:
    named = find_key(name)
    return named is not None and named.key == "db"


def _score_column(column: Column) -> int:
    return (
        4 * bool(column.words & _WHEN_IT_HAPPENED)
        + 2 * bool(column.words & _A_TIME)
        - 6 * bool(column.words & _WHEN_ELSE)
    )
