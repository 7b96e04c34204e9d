"""The calendar of an upload for a terminal: a row a week, then each day that is not complete and why."""

from __future__ import annotations

from datetime import date

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from offline_capi.model import Calendar, DayState, UploadDay, format_utc

__all__ = ["print_calendar"]

_MARKS = {DayState.COMPLETE: ("✓", "green"), DayState.OPEN: ("!", "yellow"), DayState.CLOSED: ("✗", "red")}
_NOT_KNOWN = ("·", "dim")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def print_calendar(calendar: Calendar, console: Console) -> None:
    """Print what is owed for each day, weeks as rows; the reasons stand below, oldest first."""
    counts = ", ".join(f"{len(days)} {state.value}" for state in DayState if (days := calendar.list_in_state(state)))
    console.print(Text.assemble((calendar.upload, "bold"), f"  {calendar.zone}  {counts or 'no days'}"))
    if calendar.days:
        console.print(Text("  " + " " * 10 + "".join(f"{name:>6}" for name in _WEEKDAYS), style="dim"))
        for monday, week in calendar.list_weeks():
            console.print(_line(monday, week))
    for day in calendar.list_owed():
        console.print(Padding(_explain(day), (0, 0, 0, 2)))
    if calendar.remark:
        console.print(Padding(Text(calendar.remark, style="dim"), (0, 0, 0, 2)))


def _line(monday: date, week: list[tuple[date | None, UploadDay | None]]) -> Text:
    line = Text(f"  {monday.isoformat()}")
    for day, known in week:
        mark, style = _MARKS[known.state] if known else _NOT_KNOWN
        line.append_text(Text.assemble(f"{day.day:>4} ", (mark, style)) if day else Text(" " * 6))
    return line


def _explain(day: UploadDay) -> Text:
    mark, style = _MARKS[day.state]
    if day.state is DayState.CLOSED:
        end = f"too old for Meta since {format_utc(day.closes_at)}" if day.closes_at else "too old for Meta"
        end += ", told" if day.told else ", not told yet"
    else:
        end = f"Meta takes it until {format_utc(day.closes_at)}" if day.closes_at else ""
    return Text.assemble((f"{mark} {day.day}  ", style), f"{day.state.value}: {day.why}; {end}")
