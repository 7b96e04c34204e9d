"""Time, as a run sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Window", "in_utc", "yesterday"]


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open range of source time, ``since <= t < until``; both ends are aware datetimes in the upload's zone."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("a window needs aware datetimes")
        if self.since >= self.until:
            raise ValueError("a window needs since < until")

    @classmethod
    def of_day(cls, day: date, zone: str) -> Window:
        """The calendar day ``day`` in ``zone``: 23 or 25 hours long where the clocks change."""
        return cls.of_day_at(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)))

    @classmethod
    def of_day_at(cls, moment: datetime) -> Window:
        """The calendar day that begins at or before ``moment``, in the moment's own zone."""
        start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        after = start.date() + timedelta(days=1)
        return cls(start, start.replace(year=after.year, month=after.month, day=after.day))

    def reaches_last_day(self, now: datetime) -> bool:
        """Whether it covers the end of the last day that is over at ``now``: a backfill of older days does not."""
        return self.until >= Window.of_day_at(now.astimezone(self.since.tzinfo)).since

    def looking_back(self, lookback: timedelta) -> Window:
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
        return cls(*(datetime.fromisoformat(data[end]).astimezone(zone) for end in ("since", "until")))

    def __str__(self) -> str:
        """``2026-11-23`` for a whole day in its zone, else both ends."""
        if self == Window.of_day_at(self.since):
            return f"{self.since.date()} ({self.since.tzinfo})"
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} ({self.since.tzinfo})"


def yesterday(zone: str, now: datetime) -> date:
    """The last calendar day that is over in ``zone``, whatever day it is where the caller sits."""
    return now.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


def in_utc(moment: datetime) -> str:
    """A moment as people read it: ``2026-11-24 03:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
