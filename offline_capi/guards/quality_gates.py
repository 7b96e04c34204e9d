"""Gates: is this night's input like that of the nights before it? Asked before the first POST.

A **rate** gate looks at a share of the rows read (invalid, expired, suppressed, duplicate), a **trailing** gate
compares the run's volume and value with the median of the same upload's days before it. Each warns or stops, as the
YAML says. The **rows** gate asks whether a run without any row is an empty export or a quiet day: it is what
``_quiet`` says.

When they are asked: a gate that only warns changes nothing, so it is judged from the run's own figures and costs
nothing. A gate that stops has to know the whole night before anything leaves, and the night does not fit into memory:
where a gate of the upload stops, ``run_upload`` reads the source twice, first to judge and then to send; not for the
rows gate, which has nothing to hold. Staged nights are judged between their first task and the second, where the rows
lie on disk anyway.

Where an upload has rows of several clients, a rate gate that stops holds those clients alone whose own rows are beyond
it, and the others go: no client's bad export, or bad will, holds another's events. What is compared with earlier days
(volume, value, rows) is the upload's as a whole.

Pure functions: figures in, findings out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from statistics import median
from typing import Any, NamedTuple

from offline_capi.config.upload import Gates, RateGate, RowsGate, TrailingGate
from offline_capi.model import Fate, GateFinding, Reason, Tally, Window

__all__ = ["can_stop", "forced", "judge_gates", "trailing_days"]

#: Fewer days say nothing of what is usual. With as many of the same weekday, only those are compared with.
LEAST_DAYS = 3
#: A run of these is no night of its own: test events go again, a replay holds what was left over.
_NO_NIGHTS = frozenset({"test", "replay"})
_RATES = ("invalid", "expired", "suppressed", "duplicate")
#: Where more of the days compared with had no row, an empty day is nothing unusual.
MAX_EMPTY_SHARE = 0.25


class Day(NamedTuple):
    """An earlier run of the upload over a window of the same length."""

    start: date
    tally: Tally


def can_stop(gates: Gates) -> bool:
    """Whether a gate of the upload may hold a run, so that it has to be judged before anything is sent."""
    return any(getattr(gates, name).action == "stop" for name in ("volume", "value", *_RATES))


def forced(findings: Iterable[GateFinding]) -> tuple[GateFinding, ...]:
    """The same findings, let through by whoever looked at them."""
    return tuple(replace(one, action="forced") if one.stops else one for one in findings)


def judge_gates(gates: Gates, tally: Tally, window: Window, days: Sequence[Day]) -> tuple[GateFinding, ...]:
    """The gates that ``tally`` does not pass; ``days`` are those of ``trailing_days``.

    Books of some clients only are not compared with whole days, and a figure with too little behind it passes.
    """
    findings = [*_rates(gates, tally)]
    if not tally.narrowed:
        alike = _like(window, days)
        before, whose = [day.tally.read for day in alike], _moved_most(tally, alike)
        compared = [*_trailing(gates.volume, "volume", "rows read", tally.read, before, alike, whose)]
        for currency, amounts in _values(alike).items():
            figure = tally.value.get(currency, 0.0)
            compared += _trailing(gates.value, f"value {currency}", currency, figure, amounts, alike)
        stopping = [finding for finding in compared if finding.stops]
        # Of an empty run, a trailing gate that stops has said all, and one that warns would say the same again.
        empty = [] if stopping else [*_no_rows(gates.rows, tally, window, days)]
        findings += empty or compared
    return tuple(findings)


# ---------------------------------------------------------------------------------------------- what is compared with


def trailing_days(reports: Iterable[Mapping[str, Any]], window: Window, days: int) -> list[Day]:
    """The ``days`` before ``window`` for which there is a report, newest first; of several runs of one day the last.

    ``reports`` come newest first, as the ledger has them. Left out are windows of another length, runs of some clients
    only, tests, replays, and runs that a gate stopped or that lacked a file: a faulty night must not become what is
    usual.
    """
    found: dict[date, Day] = {}
    for report in reports:
        tally = Tally.from_json(report["tally"])
        other = Window.from_json(report["window"])
        if _counts(report, tally) and _precedes(other, window, days):
            found.setdefault(other.since.date(), Day(other.since.date(), tally))
    return [found[start] for start in sorted(found, reverse=True)]


def _counts(report: Mapping[str, Any], tally: Tally) -> bool:
    is_stopped = any(finding.stops for finding in tally.gates or ())
    return not (is_stopped or tally.missing or tally.narrowed or report["trigger"] in _NO_NIGHTS)


def _precedes(other: Window, window: Window, days: int) -> bool:
    """Wall time, so that the day on which the clocks change is a day."""
    same_length = _length(other) == _length(window)
    return same_length and timedelta(0) < window.since - other.since <= timedelta(days=days)


def _length(window: Window) -> timedelta:
    return window.until.replace(tzinfo=None) - window.since.replace(tzinfo=None)


def _like(window: Window, days: Sequence[Day]) -> Sequence[Day]:
    """Days of the same weekday where there are enough: a shop that is closed on Sundays sells nothing on Sundays."""
    weekday = _of_weekday(window, days)
    return weekday if len(weekday) >= LEAST_DAYS else days


def _of_weekday(window: Window, days: Sequence[Day]) -> list[Day]:
    """Those of the window's weekday; none where the window is not one day."""
    one_day = _length(window) == timedelta(days=1)
    return [day for day in days if day.start.weekday() == window.since.weekday()] if one_day else []


def _values(days: Sequence[Day]) -> dict[str, list[float]]:
    """Each day's value by currency, for the currencies that no day lacks."""
    every = set.intersection(*(set(day.tally.value) for day in days)) if days else set()
    return {currency: [day.tally.value[currency] for day in days] for currency in sorted(every)}


# ---------------------------------------------------------------------------------------------- one gate


def _trailing(
    gate: TrailingGate,
    name: str,
    unit: str,
    figure: float,
    before: Sequence[float],
    days: Sequence[Day],
    whose: str = "",
) -> Iterator[GateFinding]:
    usual = median(before) if len(before) >= LEAST_DAYS else 0.0
    if gate.action == "off" or not usual or gate.min * usual <= figure <= gate.max * usual:
        return
    past = ", ".join(f"{day.start:%a %d %b} {amount:,.0f}" for day, amount in zip(days, before, strict=True))
    sentence = (
        f"{name}: {figure:,.0f} {unit}, usual are {usual:,.0f} (median of {past}); "
        f"gates.{name.split()[0]} allows {gate.min:.0%} to {gate.max:.0%}{whose}"
    )
    yield GateFinding(name, gate.action, figure, usual, sentence)


def _moved_most(tally: Tally, days: Sequence[Day]) -> str:
    """Of several clients, the one whose rows differ most from what is usual for it."""
    names = sorted({*tally.read_of, *(name for day in days for name in day.tally.read_of)})
    if len(names) < 2 or not days:
        return ""
    usual = {name: median(day.tally.read_of[name] for day in days) for name in names}
    name = max(names, key=lambda one: abs(tally.read_of[one] - usual[one]))
    return f"; most of it by {name}: {tally.read_of[name]:,} rows, usual are {usual[name]:,.0f}"


def _no_rows(gate: RowsGate, tally: Tally, window: Window, days: Sequence[Day]) -> Iterator[GateFinding]:
    """A run without a row, meant or not; of one that lacks a file, the file is what is told of."""
    if gate.action == "off" or tally.read or tally.filtered or tally.absent or _quiet(window, days):
        return
    alike = _like(window, days)
    before = [day.tally.read for day in alike]
    past = ", ".join(f"{day.start:%a %d %b} {rows:,}" for day, rows in zip(alike, before, strict=True))
    usual = median(before)
    sentence = (
        f"rows: no row was read, usual are {usual:,.0f} (median of {past}); look whether the export or the query ran. "
        "If there was nothing to send, gates.rows: warn lets such days pass"
    )
    yield GateFinding("rows", gate.action, 0, usual, sentence)


def _quiet(window: Window, days: Sequence[Day]) -> bool:
    """Whether a day without a row is nothing unusual, as far as the days before it tell.

    So it is where there are too few of them to tell, where more than ``MAX_EMPTY_SHARE`` of them had no row, or where
    none of the same weekday had one and this gate was let pass on it: one Sunday looked at is enough for the next one.
    """
    weekday, alike = _of_weekday(window, days), _like(window, days)
    empty = sum(not (day.tally.read or day.tally.filtered) for day in alike)
    looked_at = any(finding.gate == "rows" for day in weekday for finding in day.tally.gates or ())
    never = looked_at and not any(day.tally.read for day in weekday)
    return never or len(alike) < LEAST_DAYS or empty > MAX_EMPTY_SHARE * len(alike)


#: Rows of one client of several below which its own share says too little, unless the whole run is beyond the gate.
MIN_ROWS_OF_CLIENT = 100


def _rates(gates: Gates, tally: Tally) -> Iterator[GateFinding]:
    for name in _RATES:
        gate: RateGate = getattr(gates, name)
        if gate.action == "off":
            continue
        lost = _lost(name, tally)
        rows, several = sum(lost.values()), len(tally.read_of) > 1
        is_beyond = rows > gate.max * tally.read
        own = [
            (client, lost[client], read)
            for client, read in sorted(tally.read_of.items())
            if lost[client] > gate.max * read and (is_beyond or read >= MIN_ROWS_OF_CLIENT)
        ]
        if several and own and gate.action == "stop":
            yield from (_rate(name, gate, rows, read, client) for client, rows, read in own)
        elif is_beyond:
            yield _rate(name, gate, rows, tally.read)


def _rate(name: str, gate: RateGate, rows: int, read: int, client: str | None = None) -> GateFinding:
    share, whose = rows / read, f" of {client}" if client else ""
    sentence = f"{name}: {share:.1%} of the rows{whose} ({rows:,} of {read:,}); gates.{name} allows {gate.max:.1%}"
    return GateFinding(name, gate.action, share, None, sentence, client)


def _lost(name: str, tally: Tally) -> Counter[str | None]:
    """Rows by client that a rate gate counts; those of nobody's under ``None``."""
    fate = {"expired": Fate.EXPIRED, "suppressed": Fate.SUPPRESSED}.get(name, Fate.INVALID)
    lost: Counter[str | None] = Counter()
    for count, rows in tally.fates.items():
        if count.fate is fate and (name != "duplicate" or count.reason == Reason.DUPLICATE_EVENT_ID):
            lost[count.client] += rows
    return lost
