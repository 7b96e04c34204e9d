"""Time as delivery sees it, and whether this machine's clock is right by Meta's ``Date`` header."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from offline_capi.errors import ConfigError, TemporaryError, WrongClockError
from offline_capi.meta.graph.response import parse_date
from offline_capi.runtime.http import HttpClient

__all__ = ["MAX_CLOCK_SKEW", "Clock", "ClockWitness", "find_clock_fault"]

#: How far the clocks may be apart. A clock under NTP is off by less than a second, and an answer is a minute old at
#: most (``delivery.timeout``); events are kept an hour younger than Meta takes them (``platform.age_margin``), so that
#: a clock within this costs no event.
MAX_CLOCK_SKEW = timedelta(minutes=5)
#: Time limit of asking Meta for its date; a run that gets no answer goes on.
DATE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as an argument, so that tests need not wait. ``jitter`` gives a number between 0 and 1."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


def find_clock_fault(ours: datetime, theirs: float) -> str | None:
    """What is wrong with our clock if Meta's is ``theirs`` (Unix seconds); ``None`` where they agree."""
    meta = datetime.fromtimestamp(theirs, UTC)
    skew = ours.astimezone(UTC) - meta
    if abs(skew) <= MAX_CLOCK_SKEW:
        return None
    format_time = "{:%Y-%m-%d %H:%M:%S} UTC".format
    return (
        f"this machine's clock says {format_time(ours.astimezone(UTC))}, Meta's says {format_time(meta)}: it is "
        f"{_format_skew(abs(skew))} {'ahead' if skew > timedelta() else 'behind'}"
    )


def _format_skew(skew: timedelta) -> str:
    """``3 days``, ``5 hours``, ``12 minutes``."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours")):
        if skew >= 2 * unit:
            return f"{skew // unit} {name}"
    return f"{skew // timedelta(minutes=1)} minutes"


@dataclass(slots=True)
class ClockWitness:
    """Asks Meta for the time, once, when it first matters: before the first POST, or before rows are called expired.

    ``now`` is the clock that ages are judged by. Without an answer there is nothing to compare.
    """

    graph_url: str
    now: Callable[[], datetime]
    _fault: str | None = None
    _asked: bool = field(default=False)

    def check(self) -> None:
        """Raise ``WrongClockError`` where our clock is wrong."""
        if not self._asked:
            self._asked = True
            theirs = self._fetch_date()
            self._fault = find_clock_fault(self.now(), theirs) if theirs is not None else None
        if self._fault:
            raise WrongClockError(
                f"{self._fault}. Ages of events would be judged wrongly, so the run stopped: nothing more is sent or "
                "called expired, and what was sent is recorded. Set the clock (NTP; in a container, the host's) and "
                "run again: repeating is safe"
            )

    def _fetch_date(self) -> float | None:
        """Meta's clock, from a HEAD request without a token."""
        try:
            http = HttpClient(self.graph_url, timeout=DATE_TIMEOUT_S, connections=1)
        except ConfigError:  # raised again when the run sends
            return None
        try:
            return parse_date(http.head("").headers)
        except TemporaryError:
            return None
        finally:
            http.close()
