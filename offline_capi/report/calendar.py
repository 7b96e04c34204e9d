"""The calendar of an upload for a terminal: a row a week, then each day that is not complete and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from offline_capi.model import Calendar, DayState, UploadDay, in_utc

__all__ = ["print_calendar"]

_MARKS = {DayState.COMPLETE: ("✓", "green"), DayState.OPEN: ("!", "yellow"), DayState.CLOSED: ("✗", "red")}
_NOT_KNOWN = ("·", "dim")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def print_calendar(calendar: Calendar, console: Console) -> None:
    """Print what is owed for each day, weeks as rows; the reasons stand below, oldest first."""
    counts = ", ".join(f"{len(days)} {state.value}" for state in DayState if (days := calendar.of_state(state)))
    console.print(Text.assemble((calendar.upload, "bold"), f"  {calendar.zone}  {counts or 'no days'}"))
    if calendar.days:
        console.print(Text("  " + " " * 10 + "".join(f"{name:>6}" for name in _WEEKDAYS), style="dim"))
        for line in _weeks(calendar):
            console.print(line)
    for day in calendar.of_state(DayState.OPEN, DayState.CLOSED):
        console.print(Padding(_explain(day), (0, 0, 0, 2)))
    if calendar.remark:
        console.print(Padding(Text(calendar.remark, style="dim"), (0, 0, 0, 2)))


def _weeks(calendar: Calendar) -> Iterator[Text]:
    by_day = {day.day: day for day in calendar.days}
    monday = calendar.first - timedelta(days=calendar.first.weekday())
    while monday <= calendar.last:
        week = Text(f"  {monday.isoformat()}")
        for offset in range(7):
            week.append_text(_cell(monday + timedelta(days=offset), calendar, by_day))
        yield week
        monday += timedelta(days=7)


def _cell(day: date, calendar: Calendar, by_day: dict[date, UploadDay]) -> Text:
    if not calendar.first <= day <= calendar.last:
        return Text(" " * 6)
    mark, style = _MARKS[by_day[day].state] if day in by_day else _NOT_KNOWN
    return Text.assemble(f"{day.day:>4} ", (mark, style))


def _explain(day: UploadDay) -> Text:
    mark, style = _MARKS[day.state]
    if day.state is DayState.CLOSED:
        end = f"too old for Meta since {in_utc(day.closes_at)}" if day.closes_at else "too old for Meta"
        end += ", told" if day.told else ", not told yet"
    else:
        end = f"Meta takes it until {in_utc(day.closes_at)}" if day.closes_at else ""
    return Text.assemble((f"{mark} {day.day}  ", style), f"{day.state.value}: {day.why}; {end}")
