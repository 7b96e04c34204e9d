"""Coordinates of small plots: the share of an upload's events that carries each key, by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from offline_capi.guards.quality_gates import Day

__all__ = ["FRAME", "Dot", "Frame", "KeyPlot", "make_key_plots"]


class Frame(NamedTuple):
    """The size of a plot, and the area in it for 0 to 100% and for the days."""

    width: int = 320
    height: int = 130
    left: int = 58
    right: int = 312
    top: int = 8
    bottom: int = 102

    def x(self, day: date, first: date, last: date) -> float:
        """A single day is centred."""
        along = (day - first).days / (last - first).days if last > first else 0.5
        return round(self.left + along * (self.right - self.left), 1)

    def y(self, share: float) -> float:
        return round(self.bottom - share * (self.bottom - self.top), 1)


FRAME = Frame()


class Dot(NamedTuple):
    """One day."""

    day: date
    share: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class KeyPlot:
    """The days on which a key of user_data was mapped, oldest first."""

    key: str
    dots: tuple[Dot, ...]

    @property
    def last(self) -> Dot:
        return self.dots[-1]

    @property
    def lines(self) -> list[list[Dot]]:
        """Runs of consecutive days: no line is drawn across a day without figures."""
        lines: list[list[Dot]] = []
        for dot in self.dots:
            if lines and (dot.day - lines[-1][-1].day).days == 1:
                lines[-1].append(dot)
            else:
                lines.append([dot])
        return lines


def make_key_plots(days: Sequence[Day]) -> list[KeyPlot]:
    """A plot for each key that was mapped on any of the ``days``, which come oldest first and have sendable events."""
    keys = dict.fromkeys(key for day in reversed(days) for key in day.tally.keys)
    return [KeyPlot(key, tuple(_make_dot(day, key, days) for day in days if key in day.tally.keys)) for key in keys]


def _make_dot(day: Day, key: str, days: Sequence[Day]) -> Dot:
    share = day.tally.keys[key] / day.tally.sendable
    return Dot(day.start, share, FRAME.x(day.start, days[0].start, days[-1].start), FRAME.y(share))
