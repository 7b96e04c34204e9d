"""What earlier runs of an upload owe: its calendar of days, what of it a run takes up, and what it says of it.

Functions of an upload, its deployment, the ledger and a moment; ``pipeline`` and ``nightly`` call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from offline_capi.events.standard import PHYSICAL_STORE
from offline_capi.guards.past_losses import KnownLosses, OwedEvents
from offline_capi.ledger import build_calendar, list_past_runs
from offline_capi.meta.limits import MAX_EVENT_AGE
from offline_capi.model import (
    Calendar,
    DayReason,
    DayState,
    Fate,
    PastRun,
    Reason,
    UploadDay,
    Window,
    find_yesterday,
    judge_day,
)

if TYPE_CHECKING:
    from offline_capi.config import Deployment, Upload
    from offline_capi.ledger import Ledger, RunRecord
    from offline_capi.storage.staging import Stage

__all__ = [
    "EarlierRuns",
    "describe_due_days",
    "find_covered_window",
    "find_due_days",
    "find_newly_closed_days",
    "is_nightly",
    "judge_days",
    "list_days",
    "read_calendar",
    "read_earlier_runs",
]

#: Runs with these triggers are about some rows or about nothing that stays: no day is settled by them.
_SETTLES_NOTHING = frozenset({"replay", "test", "plan"})
#: Days that are looked at to find those that closed: two of Meta's longest windows, should no run have come in between.
CLOSED_DAYS_LOOKED_AT = 130
#: Earlier runs whose losses are read; the newest ones also say what still older runs told.
RUNS_LOOKED_AT = 12
#: Days that a calendar shows unless it is asked for others.
CALENDAR_DAYS = 30
#: Days named one by one in a sentence.
DAYS_NAMED = 8


def find_covered_window(upload: Upload, window: Window, trigger: str, *, narrowed: bool) -> Window | None:
    """What a run reads for all clients, its look-back included; None for a run that settles no day."""
    if narrowed or trigger in _SETTLES_NOTHING:
        return None
    return window.extend_back(upload.window.lookback)


def find_max_age(upload: Upload, deployment: Deployment) -> timedelta:
    """How old an event of this upload may be at most, the platform's margin taken off."""
    ages = [MAX_EVENT_AGE]
    source = upload.event.action_source
    if getattr(source, "constant", None) in (None, PHYSICAL_STORE):
        name = upload.client.constant
        clients = [deployment.clients[name]] if name in deployment.clients else list(deployment.clients.values())
        ages += [client.physical_store_max_age for client in clients]
    longest = max(ages)
    return min(longest, upload.max_age or longest) - deployment.platform.age_margin


def list_days(
    upload: Upload,
    deployment: Deployment,
    ledger: Ledger,
    now: datetime,
    days: Iterable[date] | None = None,
    *,
    runs: Sequence[PastRun] | None = None,
) -> list[UploadDay]:
    """The calendar of an upload, oldest first: ``days``, or all since the first night that Meta may still take.

    Days that are not over yet are left out, and so are days before the first run of the upload. ``runs``: what
    ``list_past_runs`` gave, where the caller has it already.
    """
    zone, max_age = upload.window.timezone, find_max_age(upload, deployment)
    runs = list_past_runs(ledger, upload.name, now) if runs is None else runs
    first = _find_first_covered_day(runs, zone)
    if first is None:
        return []
    last = find_yesterday(zone, now)
    wanted = list(days) if days is not None else list(_list_days_between(last - max_age, last))
    return build_calendar(
        ledger,
        upload.name,
        [day for day in wanted if first <= day <= last],
        runs=runs,
        zone=zone,
        max_age=max_age,
        now=now,
        expects_every_day=upload.schedule != "none",
    )


def read_calendar(
    upload: Upload,
    deployment: Deployment,
    ledger: Ledger,
    now: datetime,
    *,
    first: date | None = None,
    end: date | None = None,
) -> Calendar:
    """The days from ``first`` to before ``end``, by default the last ``CALENDAR_DAYS``, as far as they are over."""
    zone = upload.window.timezone
    last = find_yesterday(zone, now)
    last = min(last, end - timedelta(days=1)) if end else last
    first = first or last - timedelta(days=CALENDAR_DAYS - 1)
    runs = list_past_runs(ledger, upload.name, now)
    days = list_days(upload, deployment, ledger, now, _list_days_between(first, last), runs=runs)
    return Calendar(upload.name, zone, first, last, _find_first_covered_day(runs, zone), tuple(days))


def judge_days(
    upload: Upload, deployment: Deployment, ledger: Ledger, now: datetime, days: Iterable[date]
) -> list[UploadDay]:
    """Each of ``days`` that is over, judged as a day on which a run was expected, in the order of ``days``.

    Stricter than the calendar for days before the first night: one that no run has read, or whose run failed or found
    no source, is not complete.
    """
    runs, max_age = list_past_runs(ledger, upload.name, now), find_max_age(upload, deployment)
    windows = (Window.of_day(day, upload.window.timezone) for day in days)
    return [
        judge_day(
            window,
            [one for one in runs if one.concerns(window)],
            now=now,
            closes_at=window.until + max_age,
            told=False,
            expected=True,
        )
        for window in windows
        if window.until <= now
    ]


def _find_first_covered_day(runs: Sequence[PastRun], zone: str) -> date | None:
    """The oldest day that any run read, or left late rows of."""
    days = [(one.covered or one.window).since.astimezone(ZoneInfo(zone)).date() for one in runs]
    days += [debt.day for one in runs if one.reads_late for debt in one.debts or () if debt.day]
    return min(days, default=None)


def find_due_days(
    upload: Upload, deployment: Deployment, ledger: Ledger, now: datetime, *, besides: Window | None = None
) -> list[UploadDay]:
    """The open days that are worth reading again now, oldest first; not those that a run of ``besides`` reads."""
    active = [name for name, client in deployment.clients.items() if client.active]
    read_anyway = besides.extend_back(upload.window.lookback) if besides else None
    due = [day for day in list_days(upload, deployment, ledger, now) if day.is_due(active)]
    if read_anyway is None:
        return due
    return [day for day in due if not _contains(read_anyway, Window.of_day(day.day, upload.window.timezone))]


def find_newly_closed_days(upload: Upload, deployment: Deployment, ledger: Ledger, now: datetime) -> list[UploadDay]:
    """The days that became too old for Meta with something owed, and of which nobody has been told.

    Not those that a run is reading, this one above all: what it leaves of them is known when it has ended.
    """
    last = find_yesterday(upload.window.timezone, now)
    days = list_days(
        upload, deployment, ledger, now, _list_days_between(last - timedelta(days=CLOSED_DAYS_LOOKED_AT), last)
    )
    closed = [day for day in days if day.state is DayState.CLOSED and not day.told]
    return [day for day in closed if DayReason.RUNNING not in day.reasons]


def is_nightly(run: RunRecord) -> bool:
    """Whether a run is one of the upload's nights: see ``Window.reaches_last_day``."""
    return run.trigger not in _SETTLES_NOTHING and run.window.reaches_last_day(run.started_at)


def describe_due_days(days: Iterable[UploadDay]) -> list[str]:
    """One sentence a reason: ``also 2026-11-25 and 2026-11-26, open: a token was refused (64 rows)``."""
    by_reason: dict[tuple[str, ...], list[UploadDay]] = {}
    for day in days:
        by_reason.setdefault(tuple(day.reasons), []).append(day)
    sentences = []
    for some in by_reason.values():
        rows = sum(day.rows for day in some)
        counted = f" ({rows:,} {'row' if rows == 1 else 'rows'})" if rows else ""
        sentences.append(f"also {_name_days(some)}, open: {', '.join(some[0].causes)}{counted}")
    return sentences


def _name_days(days: list[UploadDay]) -> str:
    names = [day.day.isoformat() for day in days]
    if len(names) > DAYS_NAMED:
        return f"{len(names)} days from {names[0]} to {names[-1]}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# ---------------------------------------------------------------------------------------------- what a run looks into


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What earlier runs left that matters to this one: losses already reported, and events still owed."""

    known: KnownLosses
    owed: OwedEvents


def read_earlier_runs(
    upload: Upload,
    window: Window,
    covered: Window | None,
    ledger: Ledger,
    stage: Stage,
    now: datetime,
    *,
    trigger: str,
    run_id: str | None = None,
    late_since: datetime | None = None,
) -> EarlierRuns:
    """The losses that earlier runs reported, and the events that runs over the same rows owe.

    A lost row fails one run: a later run that reads it again counts it as known. A second run of the same window is no
    later run, so that repeating a failed run does not make it succeed; a settling run is one. ``late_since`` is for a
    run that reads late rows: the first moment of those that it reads.
    """
    if trigger in _SETTLES_NOTHING - {"plan"}:
        return EarlierRuns(KnownLosses(()), OwedEvents(()))
    reach = covered or window.extend_back(upload.window.lookback)
    earlier = [one for one in list_past_runs(ledger, upload.name, now) if one.id != run_id]
    same = [one for one in earlier if (one.covered or one.window).overlaps(reach) or (late_since and one.reads_late)]
    told = [one for one in same if trigger == "settle" or one.window.until < window.until]
    known = KnownLosses(_read_reported_losses(told[-RUNS_LOOKED_AT:], stage))
    owing = [one for one in earlier if (one.covered or one.window).overlaps(reach) or one.reads_late]
    owed = OwedEvents(_find_owed_events(upload, reach, owing, stage, late_since) if covered else ())
    return EarlierRuns(known, owed)


def _read_reported_losses(runs: list[PastRun], stage: Stage) -> Iterator[tuple[Any, str]]:
    for one in reversed(runs):
        day = one.started_at.astimezone(one.window.since.tzinfo).date().isoformat()
        for table in (stage.read_rejects(one.id), stage.read_undelivered(one.id)):
            if table is not None:
                yield table, day


def _find_owed_events(
    upload: Upload, reach: Window, earlier: list[PastRun], stage: Stage, late_since: datetime | None
) -> Iterator[Any]:
    """Deferred and unconfirmed events of the runs that cover a part of ``reach``, if this run has to read them again.

    That is so if all that the earlier run covered is read again, or if each event stays in its day; a newer run over
    the day has then reported which of them left the source. Of late rows the newest run that read any speaks: they are
    read again with their day, or by a run that reads late rows itself, from ``late_since`` on.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    covered_later: list[Window] = []
    late_later = False
    for one in reversed(earlier):
        span = one.covered or one.window
        read_whole = _contains(reach, span)
        told_whole = any(_contains(newer, span) for newer in covered_later)
        if one.debts and (one.reads_late or not told_whole):
            table = stage.read_undelivered(one.id)
            if table is not None:
                owed = pc.and_(
                    pc.is_in(table["fate"], pa.array([Fate.DEFERRED.value, Fate.UNCONFIRMED.value])),
                    pc.fill_null(pc.not_equal(table["reason"], Reason.UNSETTLED.value), True),
                )
                if upload.keeps_events_in_their_day:
                    told = [day for newer in covered_later for day in _list_whole_days(newer)]
                    owed = pc.and_(owed, pc.invert(pc.is_in(table["day"], pa.array(told, pa.date32()))))
                    inside = pc.is_in(table["day"], pa.array(list(_list_whole_days(reach)), pa.date32()))
                    late = pc.less(table["day"], pa.scalar(span.since.date(), pa.date32()))
                    late_again = pc.and_(inside, not (one.reads_late and late_later))
                    if one.reads_late and not late_later and late_since is not None:
                        whole = pc.greater(table["day"], pa.scalar(late_since.date(), pa.date32()))
                        late_again = pc.or_(inside, whole)
                    own_again = True if read_whole and not told_whole else inside
                    owed = pc.and_(owed, pc.if_else(late, late_again, own_again))
                elif not read_whole:
                    continue
                yield table.filter(owed)
        if one.covered is not None and one.debts is not None:
            covered_later.append(span)
            late_later = late_later or one.reads_late


def _list_whole_days(window: Window) -> Iterator[date]:
    for day in _list_days_between(window.since.date(), window.until.date()):
        if _contains(window, Window.of_day(day, str(window.since.tzinfo))):
            yield day


def _list_days_between(first: date, last: date) -> Iterator[date]:
    """Both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _contains(outer: Window, inner: Window) -> bool:
    return outer.since <= inner.since and inner.until <= outer.until
