"""Whether this machine's clock is right. Meta's ``Date`` header is the witness: ages are judged by it in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from offline_capi.errors import ConfigError, TemporaryError, WrongClockError
from offline_capi.meta.graph.response import parse_date
from offline_capi.runtime.http import HttpClient

__all__ = ["MAX_CLOCK_SKEW", "ClockWitness", "clock_fault"]

#: How far the clocks may be apart. A clock under NTP is off by less than a second, and an answer is a minute old at
#: most (``delivery.timeout``); events are kept an hour younger than Meta takes them (``platform.age_margin``), so that
#: a clock within this costs no event.
MAX_CLOCK_SKEW = timedelta(minutes=5)
#: Seconds in which Meta has to say what time it is; a run that cannot ask goes on.
ASK_WITHIN_S = 5.0


def clock_fault(ours: datetime, theirs: float) -> str | None:
    """What is wrong with our clock where Meta's says ``theirs``, in Unix seconds; ``None`` where they agree."""
    meta = datetime.fromtimestamp(theirs, UTC)
    skew = ours.astimezone(UTC) - meta
    if abs(skew) <= MAX_CLOCK_SKEW:
        return None
    told = "{:%Y-%m-%d %H:%M:%S} UTC".format
    return (
        f"this machine's clock says {told(ours.astimezone(UTC))}, Meta's says {told(meta)}: it is "
        f"{_words(abs(skew))} {'ahead' if skew > timedelta() else 'behind'}"
    )


def _words(skew: timedelta) -> str:
    """``3 days``, ``5 hours``, ``12 minutes``."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours")):
        if skew >= 2 * unit:
            return f"{skew // unit} {name}"
    return f"{skew // timedelta(minutes=1)} minutes"


@dataclass(slots=True)
class ClockWitness:
    """Asks Meta for the time, once, when it first matters: before the first POST, or before rows are called expired.

    ``now`` is the clock that ages are judged by. Where nobody answers there is nothing to compare, and nothing is said.
    """

    graph_url: str
    now: Callable[[], datetime]
    _fault: str | None = None
    _asked: bool = field(default=False)

    def check(self) -> None:
        """Raise ``WrongClockError`` where our clock is wrong."""
        if not self._asked:
            self._asked = True
            theirs = self._ask()
            self._fault = clock_fault(self.now(), theirs) if theirs is not None else None
        if self._fault:
            raise WrongClockError(
                f"{self._fault}. Ages of events would be judged wrongly, so the run stopped: nothing more is sent or "
                "called expired, and what was sent is recorded. Set the clock (NTP; in a container, the host's) and "
                "run again: repeating is safe"
            )

    def _ask(self) -> float | None:
        """Meta's time, by an answer to nothing: no token, no row."""
        try:
            http = HttpClient(self.graph_url, timeout=ASK_WITHIN_S, connections=1)
        except ConfigError:  # told when the run sends
            return None
        try:
            return parse_date(http.head("", timeout=ASK_WITHIN_S).headers)
        except TemporaryError:
            return None
        finally:
            http.close()
