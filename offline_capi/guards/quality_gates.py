"""Gates: is the input of this run like that of earlier runs? Evaluated before the first POST.

A **rate** gate limits a share of the rows read (invalid, expired, suppressed, duplicate), a **trailing** gate
compares the run's volume and value with the median of the same upload's days before it. Each warns or stops, as the
YAML says. The **rows** gate asks whether a run without any row is an empty export or a quiet day: it is what
``_quiet`` says.

When they are asked: a gate that only warns changes nothing, so it is judged from the run's own figures and costs
nothing. A gate that stops has to know the whole run before anything is sent, and a run does not fit into memory:
where a gate of the upload stops, ``run_upload`` reads the source twice, first to judge and then to send; not for the
rows gate, which has nothing to hold. Staged runs are judged between their first task and the second, where the rows
lie on disk anyway.

Where an upload has rows of several clients, each client is judged by its own rows as well, and a gate that stops holds
only the clients that are beyond it: no client's bad export, or bad will, holds another's events. The upload as a whole
is judged too, and deferred where what is left without those clients is still beyond the gate.

Pure functions: figures in, findings out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from statistics import median
from typing import Any, NamedTuple

from offline_capi.config.fields import Expectation
from offline_capi.config.upload import Gates, RateGate, RowsGate, TrailingGate
from offline_capi.model import Fate, GateFinding, Reason, Tally, Window

__all__ = ["can_stop", "find_shares_beyond", "force_findings", "judge_gates", "list_trailing_days"]

#: Fewer days say nothing of what is usual. With as many of the same weekday, only those are compared with.
MIN_DAYS = 3
#: A run of these is no night of its own: test events go again, a replay holds what was left over.
_EXCLUDED_TRIGGERS = frozenset({"test", "plan", "replay"})
_RATE_NAMES = ("invalid", "expired", "suppressed", "duplicate")
#: Where more of the days compared with had no row, an empty day is nothing unusual.
MAX_EMPTY_SHARE = 0.25
#: Rows of one client of several below which its own figures say too little, unless the whole run is beyond the gate.
MIN_ROWS_OF_CLIENT = 100


class Day(NamedTuple):
    """An earlier run of the upload over a window of the same length."""

    start: date
    tally: Tally


def can_stop(gates: Gates, expectations: Iterable[Expectation] = ()) -> bool:
    """Whether a gate or an expectation may hold a run, so that it has to be judged before anything is sent."""
    found = (getattr(gates, name) for name in ("volume", "value", *_RATE_NAMES))
    return any(one.action == "stop" for one in (*found, *expectations))


def force_findings(findings: Iterable[GateFinding]) -> tuple[GateFinding, ...]:
    """The same findings, let through by an operator."""
    return tuple(replace(one, action="forced") if one.stops else one for one in findings)


def judge_gates(
    gates: Gates, tally: Tally, window: Window, days: Sequence[Day], active: Collection[str] | None = None
) -> tuple[GateFinding, ...]:
    """The gates that ``tally`` does not pass; ``days`` are those of ``list_trailing_days``.

    ``active`` are the clients that are configured and not paused, the only ones that are compared with their own days;
    ``None`` stands for all. Books of some clients only are not compared with whole days, and a figure with too little
    behind it passes.
    """
    findings = [*_check_rates(gates, tally)]
    if not tally.narrowed:
        alike = _select_similar(window, days)
        own = _group_days_by_client(tally, alike, active)
        compared = _compare(gates.volume, _make_rows_figure(), tally, alike, own)
        for currency in _list_currencies(alike):
            compared += _compare(gates.value, _make_value_figure(currency), tally, alike, own)
        stopping = {finding.client for finding in compared if finding.stops}
        empty = [one for one in _check_rows(gates.rows, tally, window, days, own) if one.client not in stopping]
        # Of an empty run, a trailing gate that stops has said all, and one that warns would say the same again.
        repeated = {one.client for one in empty}
        findings += [one for one in compared if one.client not in repeated]
        findings += [] if None in stopping else empty
    return tuple(findings)


# ---------------------------------------------------------------------------------------------- what is compared with


def list_trailing_days(reports: Iterable[Mapping[str, Any]], window: Window, days: int) -> list[Day]:
    """The ``days`` before ``window`` for which there is a report, newest first; of several runs of one day the last.

    ``reports`` come newest first, as the ledger has them. Left out are windows of another length, runs of some clients
    only, tests, replays, and runs that a gate stopped or that lacked a file: a faulty run must not become what is
    usual. Where a gate deferred some clients, the day counts for the others.
    """
    found: dict[date, Day] = {}
    for report in reports:
        tally = Tally.from_json(report["tally"])
        other = Window.from_json(report["window"])
        if _counts(report, tally) and _is_before(other, window, days):
            found.setdefault(other.since.date(), Day(other.since.date(), tally))
    return [found[start] for start in sorted(found, reverse=True)]


def _counts(report: Mapping[str, Any], tally: Tally) -> bool:
    return not (tally.stopped or tally.missing or tally.narrowed or report["trigger"] in _EXCLUDED_TRIGGERS)


def _is_before(other: Window, window: Window, days: int) -> bool:
    """Wall time, so that the day on which the clocks change is a day."""
    same_length = _measure_length(other) == _measure_length(window)
    return same_length and timedelta(0) < window.since - other.since <= timedelta(days=days)


def _measure_length(window: Window) -> timedelta:
    return window.until.replace(tzinfo=None) - window.since.replace(tzinfo=None)


def _select_similar(window: Window, days: Sequence[Day]) -> Sequence[Day]:
    """Days of the same weekday where there are enough: a shop that is closed on Sundays sells nothing on Sundays."""
    weekday = _select_weekday(window, days)
    return weekday if len(weekday) >= MIN_DAYS else days


def _select_weekday(window: Window, days: Sequence[Day]) -> list[Day]:
    """Those of the window's weekday; none where the window is not one day."""
    one_day = _measure_length(window) == timedelta(days=1)
    return [day for day in days if day.start.weekday() == window.since.weekday()] if one_day else []


def _list_currencies(days: Sequence[Day]) -> list[str]:
    """The currencies that no day lacks."""
    return sorted(set.intersection(*(set(day.tally.value) for day in days))) if days else []


def _group_days_by_client(tally: Tally, days: Sequence[Day], active: Collection[str] | None) -> dict[str, list[Day]]:
    """By client, the days that it is compared with; empty for an upload with rows of one client only.

    They begin with the client's first rows, and those on which a gate held it are left out.
    """
    days = [day for day in days if _is_by_client(day)]
    names = {*tally.read_of, *(name for day in days for name in day.tally.read_of)}
    first = {name: min((day.start for day in days if day.tally.read_of[name]), default=date.max) for name in names}
    return {
        name: [
            day
            for day in days
            if day.start >= first[name] and not any(one.stops and one.client == name for one in day.tally.gates or ())
        ]
        for name in sorted(names)
        if len(names) > 1 and (active is None or name in active)
    }


def _is_by_client(day: Day) -> bool:
    """Whether the books of a day were counted by client: those of earlier versions were not."""
    return bool(day.tally.read_of) or not day.tally.read


# ---------------------------------------------------------------------------------------------- trailing gates


class Figure(NamedTuple):
    """What a trailing gate compares: of a run as a whole, and of one client, ``None`` where that is not known."""

    name: str
    unit: str
    of_all: Callable[[Tally], float]
    of_client: Callable[[Tally, str], float | None]


def _make_rows_figure() -> Figure:
    """Rows that came late are of other days."""
    return Figure(
        "volume",
        "rows read",
        lambda tally: tally.punctual,
        lambda tally, client: tally.read_of[client] - tally.late_of[client],
    )


def _make_value_figure(currency: str) -> Figure:
    return Figure(
        f"value {currency}",
        currency,
        lambda tally: _take_late(tally, tally.value.get(currency, 0.0), currency),
        lambda tally, client: _take_late(tally, tally.value_of.get((client, currency)), currency, client),
    )


def _take_late(tally: Tally, value: Any, currency: str, client: str | None = None) -> Any:
    """The value without that of rows that came late."""
    late = [amount for key, amount in tally.late_value_of.items() if key[1] == currency and client in (None, key[0])]
    return value - sum(late) if late and value is not None else value


def _compare(
    gate: TrailingGate, figure: Figure, tally: Tally, days: Sequence[Day], own: Mapping[str, Sequence[Day]]
) -> list[GateFinding]:
    """What a trailing gate finds: the clients beyond it, or the upload where it is beyond the gate without them too.

    While the upload passes, a client is judged if it usually has ``MIN_ROWS_OF_CLIENT``; else all are, new ones too.
    """
    current, before = figure.of_all(tally), [figure.of_all(day.tally) for day in days]
    whole = [*_check_trailing(gate, figure, current, before, days, whose=_find_most_changed(tally, days))]
    found: list[GateFinding] = []
    for least in (MIN_ROWS_OF_CLIENT, 0):
        found = [
            finding
            for client, its_days in own.items()
            if _compute_usual_rows(client, its_days) >= least
            for finding in _compare_client(gate, figure, tally, client, its_days, is_new_judged=least == 0)
        ]
        if not whole:
            return found
        names = [finding.client for finding in found if finding.client]
        rest = [day for day in days if _is_by_client(day)]
        left = [figure.of_all(one) - _sum_of(figure, one, names) for one in (tally, *(day.tally for day in rest))]
        if names and not [*_check_trailing(gate, figure, left[0], left[1:], rest)]:
            return found
    return whole


def _sum_of(figure: Figure, tally: Tally, clients: Iterable[str]) -> float:
    return sum(filter(None, (figure.of_client(tally, client) for client in clients)))


def _compute_usual_rows(client: str, days: Sequence[Day]) -> float:
    return median(day.tally.read_of[client] for day in days) if len(days) >= MIN_DAYS else 0.0


def _compare_client(
    gate: TrailingGate, figure: Figure, tally: Tally, client: str, days: Sequence[Day], *, is_new_judged: bool
) -> Iterator[GateFinding]:
    current = figure.of_client(tally, client) or 0.0
    before = [amount for day in days if (amount := figure.of_client(day.tally, client)) is not None]
    if len(before) == len(days):
        yield from _check_trailing(gate, figure, current, before, days, client=client)
    if is_new_judged and len(days) < MIN_DAYS and current and gate.action != "off":
        sentence = f"{figure.name}: {current:,.0f} {figure.unit} of {client}, which is new, and too much for the upload"
        yield GateFinding(figure.name, gate.action, current, 0.0, sentence, client)


def _check_trailing(
    gate: TrailingGate,
    figure: Figure,
    current: float,
    before: Sequence[float],
    days: Sequence[Day],
    *,
    client: str | None = None,
    whose: str = "",
) -> Iterator[GateFinding]:
    usual = median(before) if len(before) >= MIN_DAYS else 0.0
    if gate.action == "off" or not usual or gate.min * usual <= current <= gate.max * usual:
        return
    past = ", ".join(f"{day.start:%a %d %b} {amount:,.0f}" for day, amount in zip(days, before, strict=True))
    of_whom, name = f" of {client}" if client else "", figure.name
    sentence = (
        f"{name}: {current:,.0f} {figure.unit}{of_whom}, usual are {usual:,.0f} (median of {past}); "
        f"gates.{name.split()[0]} allows {gate.min:.0%} to {gate.max:.0%}{whose if name == 'volume' else ''}"
    )
    yield GateFinding(name, gate.action, current, usual, sentence, client)


def _find_most_changed(tally: Tally, days: Sequence[Day]) -> str:
    """Of several clients, the one whose rows differ most from what is usual for it."""
    names = sorted({*tally.read_of, *(name for day in days for name in day.tally.read_of)})
    if len(names) < 2 or not days:
        return ""
    usual = {name: median(day.tally.read_of[name] for day in days) for name in names}
    name = max(names, key=lambda one: abs(tally.read_of[one] - usual[one]))
    return f"; most of it by {name}: {tally.read_of[name]:,} rows, usual are {usual[name]:,.0f}"


# ---------------------------------------------------------------------------------------------- the rows gate


def _check_rows(
    gate: RowsGate, tally: Tally, window: Window, days: Sequence[Day], own: Mapping[str, Sequence[Day]]
) -> Iterator[GateFinding]:
    """A run without a row, meant or not, or one client without any; where a file is absent, that is reported instead.

    Of a client only the rows that are meant are counted: which ones a filter left out is not known by client.
    """
    if gate.action == "off" or tally.absent:
        return
    if not (tally.punctual or tally.filtered):
        alike = _select_similar(window, days)
        if not _is_quiet(window, days, alike, lambda one: one.punctual + one.filtered, None):
            yield _empty(gate, [day.tally.punctual for day in alike], alike)
        return
    for client, its_days in own.items():
        is_usual = _compute_usual_rows(client, its_days) >= MIN_ROWS_OF_CLIENT
        if (
            is_usual
            and not tally.read_of[client]
            and not _is_quiet(window, days, its_days, _make_row_counter(client), client)
        ):
            yield _empty(gate, [day.tally.read_of[client] for day in its_days], its_days, client)


def _make_row_counter(client: str) -> Callable[[Tally], int]:
    return lambda tally: tally.read_of[client]


def _empty(gate: RowsGate, before: Sequence[int], days: Sequence[Day], client: str | None = None) -> GateFinding:
    past = ", ".join(f"{day.start:%a %d %b} {rows:,}" for day, rows in zip(days, before, strict=True))
    usual, of_whom = median(before), f" of {client}" if client else ""
    sentence = (
        f"rows: no row{of_whom} was read, usual are {usual:,.0f} (median of {past}); check whether the export or the "
        "query ran. If there was nothing to send, gates.rows: warn lets such days pass"
    )
    return GateFinding("rows", gate.action, 0, usual, sentence, client)


def _is_quiet(
    window: Window, days: Sequence[Day], alike: Sequence[Day], rows_of: Callable[[Tally], int], client: str | None
) -> bool:
    """Whether a day without a row is nothing unusual, as far as ``alike``, the days compared with, show.

    So it is where there are too few of them to decide, where more than ``MAX_EMPTY_SHARE`` of them had no row, or where
    none of the same weekday had one and this gate was let pass on it: one approved Sunday is enough for the next one.
    """
    weekday = _select_weekday(window, days)
    empty = sum(not rows_of(day.tally) for day in alike)
    findings = [one for day in weekday for one in day.tally.gates or () if one.gate == "rows"]
    looked_at = any(one.client == client and not one.stops for one in findings)
    never = looked_at and not any(rows_of(day.tally) for day in weekday)
    return never or len(alike) < MIN_DAYS or empty > MAX_EMPTY_SHARE * len(alike)


# ---------------------------------------------------------------------------------------------- rate gates


def _check_rates(gates: Gates, tally: Tally) -> Iterator[GateFinding]:
    for name in _RATE_NAMES:
        gate: RateGate = getattr(gates, name)
        if gate.action == "off":
            continue
        for client, rows, read in find_shares_beyond(gate.max, gate.action, _count_lost(name, tally), tally):
            yield _rate(name, gate, rows, read, client)


def find_shares_beyond(
    max_share: float, action: str, lost: Counter[str | None], tally: Tally
) -> list[tuple[str | None, int, int]]:
    """Who is beyond a share of the rows read: client, rows lost, rows read; ``None`` for the upload as a whole.

    ``lost`` has the rows by client. Of several clients each is judged by its own rows where the action is ``stop``.
    """
    rows, several = sum(lost.values()), len(tally.read_of) > 1
    is_beyond = rows > max_share * tally.read
    own = [
        (client, lost[client], read)
        for client, read in sorted(tally.read_of.items())
        if lost[client] > max_share * read and (is_beyond or read >= MIN_ROWS_OF_CLIENT)
    ]
    if several and own and action == "stop":
        return [*own]
    return [(None, rows, tally.read)] if is_beyond else []


def _rate(name: str, gate: RateGate, rows: int, read: int, client: str | None = None) -> GateFinding:
    share, whose = rows / read, f" of {client}" if client else ""
    sentence = f"{name}: {share:.1%} of the rows{whose} ({rows:,} of {read:,}); gates.{name} allows {gate.max:.1%}"
    return GateFinding(name, gate.action, share, None, sentence, client)


def _count_lost(name: str, tally: Tally) -> Counter[str | None]:
    """Rows by client that a rate gate counts; those of nobody's under ``None``."""
    fate = {"expired": Fate.EXPIRED, "suppressed": Fate.SUPPRESSED}.get(name, Fate.INVALID)
    lost: Counter[str | None] = Counter()
    for count, rows in tally.fates.items():
        if count.fate is fate and (name != "duplicate" or count.reason == Reason.DUPLICATE_EVENT_ID):
            lost[count.client] += rows
    return lost
