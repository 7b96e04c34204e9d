"""What an upload owes for each calendar day: nothing, something that a later run settles, or a loss that is final.

A run leaves **debts**: rows that it did not deliver and that a later run may. A day is judged from the runs that
covered it, see ``judge_day``. Pure: records in, states out; no clock and no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from offline_capi.model.fates import Fate, Reason
from offline_capi.model.tally import Tally
from offline_capi.model.window import Window

__all__ = [
    "DAY_REASONS",
    "Calendar",
    "DayReason",
    "DayState",
    "Debt",
    "PastRun",
    "UploadDay",
    "judge_day",
    "list_debts",
]


class DayState(StrEnum):
    """What is owed for a day."""

    COMPLETE = "complete"  # every row of it has a fate that no later run changes
    OPEN = "open"  # something is owed, and Meta still takes it
    CLOSED = "closed"  # something was owed when the day became too old for Meta: the loss is final


class DayReason(StrEnum):
    """Why a day is open that no run has left debts for; debts carry a ``Reason``."""

    NEVER_RAN = "never_ran"
    RUN_FAILED = "run_failed"
    RUN_KILLED = "run_killed"
    RUNNING = "running"
    SOURCE_MISSING = "source_missing"


#: Why a day is open, as it stands after "open since": reasons of rows and of whole days.
DAY_REASONS: Mapping[str, str] = {
    DayReason.NEVER_RAN: "no run covered it",
    DayReason.RUN_FAILED: "its run failed",
    DayReason.RUN_KILLED: "its run was killed",
    DayReason.RUNNING: "a run is under way",
    DayReason.SOURCE_MISSING: "its source was missing",
    Reason.LOST_ANSWER: "an answer of Meta was lost (unconfirmed)",
    Reason.CLIENT_STOPPED: "a token or permission was refused (client stopped)",
    Reason.OVER_LIMIT: "events are above limits.events_per_run",
    Reason.GATE_CLOSED: "a gate stopped it",
    Reason.UNKNOWN_CLIENT: "a client is not configured",
    Reason.PAUSED_CLIENT: "a client is paused",
    Reason.UNREACHABLE: "Meta could not be reached",
    Reason.THROTTLED: "Meta asked to wait",
    Reason.OTHER_RUN: "another run was sending",
    Reason.NOT_SENT: "a task did not get to it",
    Reason.WRONG_CLOCK: "the clock of the machine was wrong",
}

#: Rows that wait for somebody to configure or activate their client: reading them again before that changes nothing.
_WAITS_FOR_CLIENT = frozenset({Reason.UNKNOWN_CLIENT, Reason.PAUSED_CLIENT})

_OWED_BY_SCHEDULED_RUNS_ONLY = frozenset({DayReason.RUN_FAILED, DayReason.SOURCE_MISSING})


class Debt(NamedTuple):
    """Rows that a run did not deliver and a later one may; ``day`` is None where it may be any day of the window.

    ``client`` is named only where the rows wait for that client to be configured or activated.
    """

    day: date | None
    reason: str
    client: str | None
    rows: int

    def to_json(self) -> list[Any]:
        return [self.day.isoformat() if self.day else None, self.reason, self.client, self.rows]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Debt:
        day, reason, client, rows = data
        return cls(date.fromisoformat(day) if day else None, reason, client, rows)


def list_debts(tally: Tally, *, by_event_day: bool) -> tuple[Debt, ...]:
    """The debts that the books of a run leave.

    ``by_event_day`` says that the day of an event is the day of the window that its row was read in, so that a debt
    belongs to that day; else it may be of any day that the run covered.
    """
    found: Counter[tuple[date | None, str, str | None]] = Counter()
    for count, rows in tally.fates.items():
        unconfirmed = count.fate is Fate.UNCONFIRMED and count.reason != Reason.UNSETTLED
        if rows and (unconfirmed or count.fate is Fate.DEFERRED):
            client = count.client if count.reason in _WAITS_FOR_CLIENT else None
            found[count.day if by_event_day else None, str(count.reason), client] += rows
    missing = [Debt(file.day, DayReason.SOURCE_MISSING, None, 0) for file in tally.missing]
    owed = [Debt(*key, rows) for key, rows in sorted(found.items(), key=lambda item: tuple(map(str, item[0])))]
    return (*missing, *owed)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as the calendar needs it.

    ``covered`` is the range of source time that it read for all clients, its look-back included; None for a replay or a
    run of some clients, which can leave debts and settle none. ``debts`` is None for a run without books: it failed,
    was killed, or is ``alive``. ``reads_late``: it read rows that came late besides, of days before those covered.
    """

    id: str
    window: Window
    covered: Window | None
    started_at: datetime
    debts: tuple[Debt, ...] | None
    status: str
    alive: bool
    reads_late: bool = False

    @property
    def is_nightly(self) -> bool:
        """Whether it covers the last day that was over when it began: a backfill of older days is none."""
        return self.covered is not None and self.window.reaches_last_day(self.started_at)

    def concerns(self, day: Window) -> bool:
        """Whether it read rows of a day, all of them or late ones, or should have."""
        return (self.covered or self.window).overlaps(day) or self.speaks_of_late_rows(day)

    def speaks_of_late_rows(self, day: Window) -> bool:
        """Whether its books say what became of the late rows of a day that it did not read as a whole."""
        return (
            self.reads_late and self.debts is not None and self.covered is not None and day.until <= self.covered.since
        )

    def list_debts_for(self, day: Window) -> tuple[Debt, ...]:
        """What it left for a day that it read."""
        if self.debts is None:
            reason = DayReason.RUNNING if self.alive else DayReason.RUN_FAILED
            if not self.alive and self.status == "running":
                reason = DayReason.RUN_KILLED
            return (Debt(day.since.date(), reason, None, 0),)
        days = (day.since.date(),) if self.speaks_of_late_rows(day) else (None, day.since.date())
        return tuple(debt for debt in self.debts if debt.day in days)


@dataclass(frozen=True, slots=True)
class UploadDay:
    """One calendar day of an upload, in the upload's zone."""

    day: date
    state: DayState
    debts: tuple[Debt, ...] = ()
    #: When the first of the runs began that left it open without a break; the day's end where none ran.
    open_since: datetime | None = None
    #: Until when Meta takes its events.
    closes_at: datetime | None = None
    #: The runs whose debts these are.
    run_ids: tuple[str, ...] = ()
    #: For a closed day: whether its loss was reported.
    told: bool = False

    @property
    def rows(self) -> int:
        """Rows owed, as far as a run has counted them."""
        return sum(debt.rows for debt in self.debts)

    @property
    def reasons(self) -> dict[str, int]:
        """Rows by reason, most first; 0 where nobody counted."""
        found: Counter[str] = Counter()
        for debt in self.debts:
            found[debt.reason] += debt.rows
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def why(self) -> str:
        """``a token or permission was refused (client stopped): 64 rows, a client is paused: 2 rows``."""
        counts = (f": {rows:,} {'row' if rows == 1 else 'rows'}" if rows else "" for rows in self.reasons.values())
        return ", ".join(f"{words}{count}" for words, count in zip(self.causes, counts, strict=True))

    @property
    def causes(self) -> list[str]:
        """Why it is open or closed, as text, without the rows; the cause of most rows first."""
        return [DAY_REASONS.get(reason, reason.replace("_", " ")) for reason in self.reasons]

    def is_due(self, clients: Iterable[str]) -> bool:
        """Whether reading the day again may settle something; ``clients`` are those that can be sent for now.

        Rows of a client that is still unknown or paused stay where they are, and a day that a living run reads is left
        to that run.
        """
        if self.state is not DayState.OPEN or any(debt.reason == DayReason.RUNNING for debt in self.debts):
            return False
        ready = set(clients)
        return any(debt.reason not in _WAITS_FOR_CLIENT or debt.client in ready for debt in self.debts)

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "state": self.state.value,
            "reasons": self.reasons,
            "why": self.why,
            "open_since": self.open_since.isoformat() if self.open_since else None,
            "closes_at": self.closes_at.isoformat() if self.closes_at else None,
            "runs": list(self.run_ids),
            "told": self.told,
        }


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of an upload from ``first`` to ``last``, both included; ``days`` has those since its first known run.

    ``first_known`` is the first day that any run of the upload read; None where it never ran.
    """

    upload: str
    zone: str
    first: date
    last: date
    first_known: date | None
    days: tuple[UploadDay, ...]

    @property
    def remark(self) -> str:
        """What a reader has to know of the days that are asked for and not there; empty where all are."""
        if self.first_known is None:
            return f"no run of {self.upload} is known yet"
        if self.first < self.first_known:
            return f"no run of {self.upload} before {self.first_known} is known"
        return ""

    def list_in_state(self, *states: DayState) -> list[UploadDay]:
        return [day for day in self.days if day.state in states]

    def list_owed(self) -> list[UploadDay]:
        """The days that are not complete, oldest first."""
        return self.list_in_state(DayState.OPEN, DayState.CLOSED)

    def list_weeks(self) -> Iterator[tuple[date, list[tuple[date | None, UploadDay | None]]]]:
        """Each Monday with the seven days of its week; no date outside the calendar, no state where no run is known."""
        by_day = {day.day: day for day in self.days}
        monday = self.first - timedelta(days=self.first.weekday())
        while monday <= self.last:
            days = (monday + timedelta(days=offset) for offset in range(7))
            yield monday, [(day, by_day.get(day)) if self.first <= day <= self.last else (None, None) for day in days]
            monday += timedelta(days=7)

    def to_json(self) -> dict[str, Any]:
        return {
            "upload": self.upload,
            "zone": self.zone,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "first_known": self.first_known.isoformat() if self.first_known else None,
            "remark": self.remark,
            "days": [day.to_json() for day in self.days],
        }


def judge_day(
    day: Window, runs: Iterable[PastRun], *, now: datetime, closes_at: datetime, told: bool, expected: bool
) -> UploadDay:
    """The state of a calendar day from the runs of its upload, oldest first.

    The last run that covered a part of the day speaks for that part; a run that settles nothing only adds debts. A part
    that no run covered is a debt where the upload was ``expected`` to run on that day. Where it was not, as for a
    backfill of days before the first scheduled run, a run that failed or found no source owes nothing either: its user
    saw the error.
    """
    spans = _Spans(day, () if expected else _OWED_BY_SCHEDULED_RUNS_ONLY)
    open_since: datetime | None = None
    for run in runs:
        spans.enter(run)
        open_since = (open_since or run.started_at) if spans.owing else None
    debts, run_ids = spans.collect_debts()
    if expected and spans.has_gap:
        debts = (*debts, Debt(day.since.date(), DayReason.NEVER_RAN, None, 0))
        open_since = min(open_since or day.until, day.until)
    if not debts:
        return UploadDay(day.since.date(), DayState.COMPLETE, closes_at=closes_at)
    state = DayState.OPEN if now < closes_at else DayState.CLOSED
    return UploadDay(day.since.date(), state, debts, open_since, closes_at, run_ids, told)


@dataclass(slots=True)
class _Span:
    """A part of a day and the runs that speak for it: the last that covered it, and those after it that only add."""

    since: datetime
    until: datetime
    speakers: list[PastRun] = field(default_factory=list)
    covered: bool = False


class _Spans:
    """A day cut at the ends of the windows that cover it."""

    def __init__(self, day: Window, excused: Collection[str]) -> None:
        self._day, self._excused = day, excused
        self._spans = [_Span(day.since, day.until)]

    def enter(self, run: PastRun) -> None:
        if run.speaks_of_late_rows(self._day):
            # It read what the last of these read, and more: the mark does not move from what is owed.
            for span in self._spans:
                others = [one for one in span.speakers if not one.speaks_of_late_rows(self._day)]
                span.speakers = [*others, run]
            return
        window = run.covered or run.window
        for end in (window.since, window.until):
            self._cut(end)
        for span in self._spans:
            if window.since <= span.since and span.until <= window.until:
                settles = run.covered is not None and run.debts is not None  # a run without books adds a debt
                span.speakers = [run] if settles else [*span.speakers, run]
                span.covered = span.covered or run.covered is not None

    def _cut(self, at: datetime) -> None:
        for index, span in enumerate(self._spans):
            if span.since < at < span.until:
                self._spans[index : index + 1] = [
                    _Span(span.since, at, list(span.speakers), span.covered),
                    _Span(at, span.until, list(span.speakers), span.covered),
                ]
                return

    @property
    def owing(self) -> bool:
        return bool(self.collect_debts()[0])

    @property
    def has_gap(self) -> bool:
        return not all(span.covered for span in self._spans)

    def collect_debts(self) -> tuple[tuple[Debt, ...], tuple[str, ...]]:
        """The debts of all parts, each run's counted once, and the runs that left them."""
        owing = {
            run.id: debts
            for span in self._spans
            for run in span.speakers
            if (debts := tuple(debt for debt in run.list_debts_for(self._day) if debt.reason not in self._excused))
        }
        return tuple(debt for debts in owing.values() for debt in debts), tuple(owing)
