"""Time, as a run sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Window", "convert_to_zone", "find_yesterday", "format_utc", "start_of_day"]


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open range of source time, ``since <= t < until``; both ends are aware datetimes in the upload's zone.

    The ends of a day are midnights, also where the clocks skip that midnight: as an instant, a skipped midnight is the
    one at which they go forward, and as a wall-clock time it is what a naive column is compared with.
    """

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("a window needs aware datetimes")
        if self.since.astimezone(UTC) >= self.until.astimezone(UTC):  # of one zone, Python compares wall clocks
            raise ValueError("a window needs since < until")

    @classmethod
    def of_day(cls, day: date, zone: str) -> Window:
        """The calendar day ``day`` in ``zone``: 23 or 25 hours long where the clocks change.

        Raises ``ValueError`` for a day that the zone skipped, as Samoa did 2011-12-30.
        """
        start = start_of_day(day, ZoneInfo(zone))
        if start.astimezone(UTC).astimezone(start.tzinfo).date() != day:
            raise ValueError(f"there was no {day} in {zone}: its calendar skipped that day")
        return cls(start, start_of_day(day + timedelta(days=1), ZoneInfo(zone)))

    @classmethod
    def of_day_at(cls, moment: datetime) -> Window:
        """The calendar day that begins at or before ``moment``, in the moment's own zone."""
        zone = moment.tzinfo or UTC
        return cls(start_of_day(moment.date(), zone), start_of_day(moment.date() + timedelta(days=1), zone))

    def reaches_last_day(self, now: datetime) -> bool:
        """Whether it covers the end of the last day that is over at ``now``: a backfill of older days does not."""
        return self.until >= Window.of_day_at(now.astimezone(self.since.tzinfo)).since

    def overlaps(self, other: Window) -> bool:
        return self.since < other.until and other.since < self.until

    def extend_back(self, lookback: timedelta) -> Window:
        """The same window, begun earlier by ``lookback`` of wall time, for rows that arrive late."""
        return Window(self.since - lookback, self.until)

    def to_json(self) -> dict[str, str]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat(), "zone": str(self.since.tzinfo)}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Window:
        """The window that ``to_json`` wrote; UTC where its zone was a bare offset, which has no name."""
        try:
            zone: tzinfo = ZoneInfo(data["zone"])
        except (ZoneInfoNotFoundError, ValueError):
            zone = UTC
        return cls(*(convert_to_zone(datetime.fromisoformat(data[end]), zone) for end in ("since", "until")))

    def __str__(self) -> str:
        """``2026-11-23`` for a whole day in its zone, else both ends."""
        if self == Window.of_day_at(self.since):
            return f"{self.since.date()} ({self.since.tzinfo})"
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} ({self.since.tzinfo})"


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """The first instant of a calendar day in ``zone``.

    The earlier midnight where there are two. Where there is none: that midnight all the same, which stands for the
    instant at which the clocks go forward, or the time to which they go if they do so before midnight.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    before, after = (midnight.replace(fold=fold).astimezone(UTC) for fold in (1, 0))
    if _find_local_date(after - timedelta(microseconds=1), zone) < day:
        return midnight
    while after - before > timedelta(seconds=1):  # the clocks skip this midnight and some of the evening before it
        middle = before + (after - before) // 2
        before, after = (middle, after) if _find_local_date(middle, zone) < day else (before, middle)
    return after.replace(microsecond=0).astimezone(zone)


def convert_to_zone(moment: datetime, zone: tzinfo) -> datetime:
    """The same instant in ``zone``; the first one of a day as ``start_of_day`` has it."""
    local = moment.astimezone(UTC).astimezone(zone)
    start = start_of_day(local.date(), zone)
    return start if start.astimezone(UTC) == moment.astimezone(UTC) else local


def find_yesterday(zone: str, now: datetime) -> date:
    """The last calendar day that is over in ``zone``, independent of the caller's own zone."""
    local = ZoneInfo(zone)
    today = start_of_day(_find_local_date(now, local), local)
    return _find_local_date(today.astimezone(UTC) - timedelta(microseconds=1), local)


def _find_local_date(moment: datetime, zone: tzinfo) -> date:
    return moment.astimezone(UTC).astimezone(zone).date()


def format_utc(moment: datetime) -> str:
    """A moment as people read it: ``2026-11-24 03:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
