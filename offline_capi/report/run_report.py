"""The report of one run: numbers that balance, and what each of them asks of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from offline_capi.config.upload import LossLimits, Upload
from offline_capi.errors import BalanceError, OfflineCapiError, PartialLossError, UsageError
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import (
    REASONS,
    WARNING_TEXTS,
    AbsentFile,
    Fate,
    GateFinding,
    Reason,
    ReasonText,
    TableRead,
    Tally,
    Window,
    format_utc,
)
from offline_capi.runtime.border import visible
from offline_capi.runtime.currency_words import find_currency_code

__all__ = [
    "NOT_SENT",
    "KeyLine",
    "ReasonLine",
    "RunReport",
    "Status",
    "explain_reason",
    "judge",
    "make_failure_report",
    "make_report",
]

#: Fates whose rows carry a reason.
NOT_SENT = (Fate.REJECTED_BY_META, Fate.UNCONFIRMED, Fate.DEFERRED, Fate.INVALID, Fate.EXPIRED)
#: Those of them of events that were good to go: at any number a loss, and shown before rows that could not become one.
UNDELIVERED = NOT_SENT[:3]


#: From so many hours on, an age is given in days.
_HOURS_AS_DAYS = 72
#: Days that became too old for Meta and are named one by one.
CLOSED_DAYS_NAMED = 7


class Status(StrEnum):
    """How a run ended. Only ``COMPLETE`` is a green task and exit code 0.

    ``FAILED`` is a run that could not go on: its report holds the error alone.
    """

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReasonLine:
    """Rows that share a fate, a reason and a field."""

    fate: Fate
    reason: str
    field: str
    rows: int
    what: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fate": self.fate.value}


@dataclass(frozen=True, slots=True)
class KeyLine:
    """How many of the sendable events carry a usable value of a mapped key of user_data."""

    key: str
    events: int
    share: float

    @property
    def meaning(self) -> str:
        """``email`` for ``em``; empty where the name says it."""
        found = USER_DATA_KEYS.get(self.key)
        return found.meaning if found and found.meaning != self.key else ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "share": round(self.share, 4)}


@dataclass(frozen=True, slots=True)
class RunReport:
    """What happened in one run. ``problems`` is empty when the run is complete.

    ``planned`` marks a plan: its "sent" are rows that *would* be sent. ``ledger`` is the URL of the ledger, without
    what may be secret, and ``new_ledger`` says that it knew of no run before. ``environment`` is that of the run.
    ``table_read`` says what was read of a table besides the window.
    """

    run_id: str
    upload: str
    window: Window
    trigger: str
    started_at: datetime
    ended_at: datetime
    status: Status
    problems: tuple[str, ...]
    tally: Tally
    planned: bool = False
    ledger: str = ""
    new_ledger: bool = False
    environment: str = ""
    table_read: TableRead | None = None

    def identity_lines(self) -> list[str]:
        """What is worth knowing of values that went out: how many came hashed, letters with two meanings, ids that a
        spreadsheet has rounded."""
        noted, lines = self.tally.noted, []
        for (key, column, what), count in sorted(noted.items()):
            if what == "came_hashed":
                lines.append(f"{key}: {count:,} of {column} came hashed and went out as they are")
            elif what == "written_h" and noted[key, column, "written_m"]:
                lines.append(
                    f"{key}: {column} holds both H and M. Both were sent as male; where M is Mujer or Madame, "
                    f"write map: {{H: m, M: f}} for the column"
                )
            elif what == "rounded_15":
                lines.append(
                    f"{key}: all {count:,} long numbers of {column} end in zeros where a spreadsheet keeps no digits "
                    "(it rounds to 15), so they are probably not the ids; export the column as text"
                )
        return lines

    @property
    def profiles(self) -> str:
        """By which versions of the identity profiles the rows were read: ``meta@2026-11``; empty where none was."""
        return ", ".join(self.tally.profiles)

    @property
    def client(self) -> str:
        """The client that a report of one client is about; empty for the report of a run."""
        own = self.tally.read_of
        return next(iter(own)) if self.tally.narrowed and len(own) == 1 else ""

    @property
    def complete(self) -> bool:
        """Whether every row read, and every copy for a further pixel, has exactly one fate."""
        return self.tally.complete

    @property
    def gates(self) -> tuple[GateFinding, ...]:
        """The gates that the run did not pass, those that stopped it first."""
        return tuple(sorted(self.tally.gates or (), key=lambda finding: not finding.stops))

    @property
    def stopped_by_gate(self) -> bool:
        """Whether a gate stopped the run, or a client of it."""
        return any(finding.stops for finding in self.gates)

    @property
    def balance(self) -> str:
        """The identity as one line: ``260 read = 250 sent + 8 invalid + 2 expired``.

        Where clients have several pixels: ``100 read + 100 copies for further pixels = 199 sent + 1 rejected by Meta``.
        A failed run has none.
        """
        if self.status is Status.FAILED:
            return "failed before its books were closed; what was sent is recorded: running again sends nothing twice"
        parts = [f"{n:,} {fate.words}" for fate, n in self.tally.count_by_fate().items() if n]
        sign = "=" if self.complete else "≠"
        return f"{self.tally.read:,} read{_describe_copies(self.tally)} {sign} {' + '.join(parts) or '0'}"

    def of_client(self, client: str) -> RunReport:
        """The report of one client alone, which can be given to that client: nothing in it is of others.

        What is not counted by client is left out: notices, gates, warnings, values that were left out, files that were
        absent; so is the ledger. Raises
        ``UsageError`` where the run read nothing of the client, ``BalanceError`` where its books do not balance.
        """
        tally = self.tally.select_client(client)
        if not tally.read:
            raise UsageError(f'run {self.run_id} read no row of a configured client "{client}"')
        limits = LossLimits(max_invalid=1.0, max_expired=1.0, max_suppressed=1.0)
        status, problems = judge(tally, limits, excused=frozenset())
        return replace(
            self, status=status, problems=problems, tally=tally, ledger="", new_ledger=False, table_read=None
        )

    def reasons(self) -> list[ReasonLine]:
        """Why rows were not sent, by harm: undelivered events before rows that became none, most rows first in each."""
        lines = [line for fate in NOT_SENT for line in _build_reason_lines(self.tally, fate)]
        return sorted(lines, key=lambda line: (line.fate not in UNDELIVERED, -line.rows))

    def warnings(self) -> list[tuple[int, ReasonText]]:
        """How many events were sent with a warning, and which; most events first."""
        counted = sorted(self.tally.warnings.items(), key=lambda item: (-item[1], item[0]))
        return [(events, WARNING_TEXTS.get(code, ReasonText(code.replace("_", " "), ""))) for code, events in counted]

    def key_lines(self) -> list[KeyLine]:
        """What the events are matched by, in the order of the YAML; nothing where no event could be sent."""
        sendable = self.tally.sendable
        return [KeyLine(key, n, n / sendable) for key, n in self.tally.keys.items()] if sendable else []

    def value_line(self) -> str:
        """``EUR 3,448.77 and USD 12.00 sent``: what the events sent are worth; empty where none has a value."""
        worth = _sum_by_currency(self.tally.sent_value)
        verb = "would be sent" if self.planned else "sent"
        return f"{' and '.join(f'{name} {amount:,.2f}' for name, amount in worth.items())} {verb}" if worth else ""

    def freshness_line(self) -> str:
        """When the newest event sent happened, and how long that was before the end of the run; empty without one."""
        if not self.tally.newest_sent:
            return ""
        newest = datetime.fromtimestamp(max(self.tally.newest_sent.values()), UTC)
        age = self.ended_at - newest
        hours = age / timedelta(hours=1)
        old = f"{hours:,.0f} hours" if hours < _HOURS_AS_DAYS else f"{age.days:,} days"
        since = "before now" if self.planned else "before the run ended"
        return f"newest event: {format_utc(newest)}, {old if hours >= 1 else 'less than an hour'} {since}"

    def gate_lines(self) -> list[str]:
        """What each gate found; after one that stops, how to let the run pass once."""
        lines = [f"gate ({finding.action}) {finding.sentence}" for finding in self.gates]
        whose = sorted({finding.client or "" for finding in self.gates if finding.stops})
        if whose:
            verb = "Nothing would be sent" if self.planned else "Nothing was sent"
            of_whom = "" if self.tally.stopped else f" of {', '.join(whose)}"
            lines.append(f"{verb}{of_whom}. Look at the source; if it is right, upload once more with --force-gates")
        return lines

    def known_lines(self) -> list[str]:
        """``7 invalid rows are known since 2026-11-26: they make no later night red``, one a fate and day."""
        counted: Counter[tuple[str, str]] = Counter()
        for (fate, _, _, since), rows in self.tally.known.items():
            counted[since, fate] += rows
        return [
            f"{rows:,} {Fate(fate).words} known since {since}: told then, and they make no later run red"
            for (since, fate), rows in sorted(counted.items())
        ]

    def by_client(self) -> dict[str, dict[Fate, int]]:
        return _group_tally(self.tally, lambda client, _: client or "(no client)")

    def by_day(self) -> dict[str, dict[Fate, int]]:
        return _group_tally(self.tally, lambda _, day: day.isoformat() if day else "(no date)")

    def notices(self) -> list[str]:
        """What is worth a look and no problem."""
        told = [*self.tally.notices]
        told += [
            f"no file for {file.day or 'the window'} ({file.pattern})" for file in self.tally.absent if file.optional
        ]
        if not (self.tally.read or self.tally.filtered or self.tally.absent or self.problems):
            told.append(f"no row was read; {self.tally.outside:,} rows of the source are of other days")
        return told

    def table_line(self) -> str:
        """``table read at version 14, with 3 files added since version 12: 40 late rows``; empty for other sources."""
        late = self.tally.late_rows
        counted = f": {late:,} late {'row' if late == 1 else 'rows'}" if late else ""
        return f"{self.table_read.describe()}{counted}" if self.table_read else ""

    def filtered_line(self) -> str:
        """``40 rows left out by filter``: they are not among the rows read; empty where none was."""
        filtered = self.tally.filtered
        return f"{filtered:,} {'row' if filtered == 1 else 'rows'} left out by filter, not counted as read" * bool(
            filtered
        )

    def raise_for_loss(self) -> None:
        """Raise ``PartialLossError`` unless the run is complete: a partial loss is never a green task (P14)."""
        if self.status is not Status.COMPLETE:
            gates = [finding.sentence for finding in self.gates if finding.stops]
            raise PartialLossError(
                f"{self.upload}: run {self.run_id} is {self.status.value}: {'; '.join([*self.problems, *gates])}. "
                f"{self.balance}. Everything sent is recorded; running again is safe and sends only what is missing."
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run_id,
            "upload": self.upload,
            "window": self.window.to_json(),
            "trigger": self.trigger,
            "planned": self.planned,
            **({"environment": self.environment} if self.environment else {}),
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "status": self.status.value,
            "problems": list(self.problems),
            **({"table_read": self.table_read.to_json()} if self.table_read else {}),
            "notices": [*self.notices(), *([_describe_new_ledger(self.ledger)] if self.new_ledger else [])],
            "ledger": self.ledger,
            "new_ledger": self.new_ledger,
            "missing": [file.to_json() for file in self.tally.missing],
            "gates": [finding.to_json() for finding in self.gates],
            "balance": self.balance,
            "rows": _count_rows(self.tally),
            "value_sent": _sum_by_currency(self.tally.sent_value),
            "newest_sent": _format_newest(self.tally.newest_sent),
            "changed_since_sent": self.tally.changed,
            "reasons": [line.to_json() for line in self.reasons()],
            "keys": [line.to_json() for line in self.key_lines()],
            "clients": {name: _plain(fates) for name, fates in self.by_client().items()},
            "days": {day: _plain(fates) for day, fates in self.by_day().items()},
            "profiles": list(self.tally.profiles),
            "tally": self.tally.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunReport:
        """The report as it was stored in the ledger."""
        return cls(
            run_id=data["run"],
            upload=data["upload"],
            window=Window.from_json(data["window"]),
            trigger=data["trigger"],
            started_at=datetime.fromisoformat(data["started_at"]),
            ended_at=datetime.fromisoformat(data["ended_at"]),
            status=Status(data["status"]),
            problems=tuple(data["problems"]),
            tally=Tally.from_json(data["tally"]),
            planned=data["planned"],
            ledger=data.get("ledger", ""),  # reports of earlier versions have neither
            new_ledger=data.get("new_ledger", False),
            environment=data.get("environment", ""),
            table_read=TableRead.from_json(data["table_read"]) if data.get("table_read") else None,
        )


_CLIENTLESS = frozenset({Reason.UNKNOWN_CLIENT, Reason.PAUSED_CLIENT})


def judge(
    tally: Tally, limits: LossLimits, *, excused: Collection[Reason] = _CLIENTLESS, days: Collection[date] = ()
) -> tuple[Status, tuple[str, ...]]:
    """Whether the books are those of a complete run, and if not, what is wrong with them.

    Rows rejected by Meta, unconfirmed or deferred are a loss at any number; invalid, expired and suppressed rows beyond
    the upload's limits. Rows deferred for an ``excused`` reason (an unknown or paused client) count as invalid: one
    missing client does not fail the run of the others, but is not excused in a report of its own. A gate that stopped
    the run is a problem even if it had no row to defer, and so is a missing file. Rows that an earlier run reported
    for the same reason are left out: they failed that run.
    A run that delivered nothing of what it read is never complete, unless all of it was lost in ways that a limit of
    100% allows (P21), and neither is a run with a day in ``days`` that has rows and delivered none.
    Raises ``BalanceError`` when rows and fates do not add up.
    """
    if not tally.complete:
        due = f"{tally.read:,} rows were read{_describe_copies(tally)}"
        raise BalanceError(f"{due} but {tally.accounted:,} have a fate. Please report this.")
    problems = _describe_missing_files(tally.missing)
    problems += [f"gate {gate.gate} stopped {gate.client or 'the run'}" for gate in tally.gates or () if gate.stops]
    problems += _describe_closed_days(tally.closed)
    problems += [
        f"{n:,} {Fate(fate).words} of earlier runs not in the source any more: they are not sent"
        for fate, n in sorted(tally.vanished.items())
    ]
    clientless = _count_clientless(tally, excused)
    lost = {fate: tally.count(fate) for fate in UNDELIVERED}
    lost[Fate.DEFERRED] -= clientless
    problems += [f"{n:,} {fate.words}" for fate, total in lost.items() if (n := total - tally.count_known(fate))]
    invalid, expired = (tally.count(fate) - tally.count_known(fate) for fate in (Fate.INVALID, Fate.EXPIRED))
    problems += _find_excess("invalid", invalid, tally.read, limits.max_invalid, deferred=clientless)
    problems += _find_excess("expired", expired, tally.read, limits.max_expired)
    problems += _find_excess("suppressed", tally.count(Fate.SUPPRESSED), tally.read, limits.max_suppressed)
    problems += [] if problems else _find_nothing_delivered(tally, limits, excused)
    problems += [] if problems else _find_days_without_delivery(tally, limits, excused, days)
    return (Status.PARTIAL if problems else Status.COMPLETE), tuple(problems)


def _describe_closed_days(closed: Mapping[str, str]) -> list[str]:
    """What this run tells of days that became too old for Meta with something owed: this once."""
    if len(closed) > CLOSED_DAYS_NAMED:
        return [f"{len(closed)} days from {min(closed)} to {max(closed)} became too old for Meta with something owed"]
    return [f"{day} became too old for Meta with something owed ({why})" for day, why in sorted(closed.items())]


def _find_excess(name: str, rows: int, read: int, limit: float, deferred: int = 0) -> list[str]:
    """The problem with so many rows, those included that are held for their client; none within the limit."""
    total = rows + deferred
    if total <= limit * read:
        return []
    counted = [f"{rows:,} {name}"] * bool(rows) + [f"{deferred:,} deferred"] * bool(deferred)
    return [f"{' and '.join(counted)} ({total / read:.1%}; limits.max_{name} is {limit:.1%}){_ADVICE.get(name, '')}"]


#: What to look at, of rows that have no reason with advice of its own, and how to say that it may be.
_ADVICE = {
    "expired": (
        "; look at the time column, its zone, and how late rows come. Where so many may expire, raise that limit"
    ),
    "suppressed": (
        "; look whether the consent column has words that consent.equals lacks. Where so many may be without consent, "
        "raise that limit"
    ),
}

#: Missing files that are named one by one.
_NAMED_FILES = 5


def _describe_missing_files(files: Sequence[AbsentFile]) -> list[str]:
    """The problem with files that were not there."""
    if not files:
        return []
    named = [f"{file.day or 'the whole window'} ({file.pattern})" for file in files[:_NAMED_FILES]]
    more = f" and {len(files) - _NAMED_FILES:,} more" if len(files) > _NAMED_FILES else ""
    return [
        f"source missing: no file for {', '.join(named)}{more}; look whether the export has run, then run again. "
        "Where a file may be missing, set source.optional: true"
    ]


def _find_nothing_delivered(tally: Tally, limits: LossLimits, excused: Collection[Reason]) -> list[str]:
    """The problem where rows were read, none was sent now or before, and no limit of 100% covers them all."""
    lost = {
        Fate.INVALID: (tally.count(Fate.INVALID) + _count_clientless(tally, excused), limits.max_invalid),
        Fate.EXPIRED: (tally.count(Fate.EXPIRED), limits.max_expired),
        Fate.SUPPRESSED: (tally.count(Fate.SUPPRESSED), limits.max_suppressed),
    }
    covered = sum(rows for rows, limit in lost.values() if limit >= 1)
    told_before = tally.known.total() == tally.accounted
    if tally.count(Fate.SENT) or tally.count(Fate.ALREADY_SENT) or tally.accounted == covered or told_before:
        return []
    counted = " and ".join(f"{rows:,} {fate.words}" for fate, (rows, _) in lost.items() if rows)
    settings = " or ".join(f"limits.max_{fate.value}" for fate, (rows, limit) in lost.items() if rows and limit < 1)
    noun = "the 1 row" if tally.accounted == 1 else f"the {tally.accounted:,} rows"
    advice = f"the reasons are in the report. Where that may be, set {settings}: 100%"
    return [f"none of {noun} read was delivered: {counted}; {advice}"]


def _find_days_without_delivery(
    tally: Tally, limits: LossLimits, excused: Collection[Reason], days: Collection[date]
) -> list[str]:
    """The same for single days, which others of the run would hide."""
    found: list[str] = []
    for day in sorted(days):
        of_day = Tally(fates=Counter({count: rows for count, rows in tally.fates.items() if count.day == day}))
        found += [
            f"{day}: {problem}" for problem in _find_nothing_delivered(of_day, limits, excused) if of_day.accounted
        ]
    return found


def _count_clientless(tally: Tally, excused: Collection[Reason]) -> int:
    return sum(rows for (reason, _), rows in tally.count_reasons(Fate.DEFERRED).items() if reason in excused)


def days_to_judge(upload: Upload, window: Window, *, oldest: datetime | None = None) -> list[date]:
    """The days of a run of which each has to deliver something if it has rows, in the upload's zone.

    Those of a window of several days, and the one beside a look-back: the rows of the other days were sent before. None
    where the days of the events are not those by which the window places rows. Days that ended before ``oldest``, the
    first moment that Meta accepts, are left to the limits: whoever chose the window knew that they were too old.
    """
    zone, time = ZoneInfo(upload.window.timezone), upload.event.time
    if time is not None and time.column != upload.window.column:
        return []
    first = window.since.astimezone(zone).date()
    last = (window.until - timedelta(microseconds=1)).astimezone(zone).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    judged = days if len(days) > 1 or upload.window.lookback else []
    return [day for day in judged if oldest is None or day >= oldest.astimezone(zone).date()]


def make_report(
    *,
    run_id: str,
    upload: str,
    window: Window,
    trigger: str,
    started_at: datetime,
    ended_at: datetime,
    tally: Tally,
    limits: LossLimits,
    days: Collection[date] = (),
    planned: bool = False,
    ledger: str = "",
    new_ledger: bool = False,
    environment: str = "",
    table_read: TableRead | None = None,
) -> RunReport:
    """Close the books of a run; raises ``BalanceError`` when they do not balance."""
    status, problems = judge(tally, limits, days=days)
    return RunReport(
        run_id,
        upload,
        window,
        trigger,
        started_at,
        ended_at,
        status,
        problems,
        tally,
        planned,
        ledger,
        new_ledger,
        environment,
        table_read,
    )


def _sum_by_currency(values: Mapping[tuple[str, str], float]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for (_, currency), amount in values.items():
        sums[currency] = sums.get(currency, 0.0) + amount
    return {currency: round(amount, 2) for currency, amount in sorted(sums.items())}


def _format_newest(newest: Mapping[str, int]) -> str | None:
    return datetime.fromtimestamp(max(newest.values()), UTC).isoformat() if newest else None


#: Of the message of an error, what a report keeps.
MAX_ERROR_CHARS = 4_000


def make_failure_report(
    error: OfflineCapiError,
    *,
    run_id: str,
    upload: str,
    window: Window,
    trigger: str,
    started_at: datetime,
    ended_at: datetime,
    ledger: str = "",
    environment: str = "",
) -> RunReport:
    """The report of a run that ended with ``error``, whose message is its only problem.

    The message is bounded, and its control characters are made visible.
    """
    text = visible(f"{type(error).__name__}: {error}", keep="\n")
    problem = text if len(text) <= MAX_ERROR_CHARS else f"{text[: MAX_ERROR_CHARS - 1]}…"
    return RunReport(
        run_id,
        upload,
        window,
        trigger,
        started_at,
        ended_at,
        Status.FAILED,
        (problem,),
        Tally(),
        ledger=ledger,
        environment=environment,
    )


def _describe_new_ledger(ledger: str) -> str:
    return f"the ledger {ledger} is new: what was sent before it was made would be sent again"


def _count_rows(tally: Tally) -> dict[str, int]:
    copies = {"copies": tally.copied} if tally.copied else {}
    filtered = {"filtered": tally.filtered} if tally.filtered else {}
    return {"read": tally.read, **copies, **_plain(tally.count_by_fate()), **filtered}


def _describe_copies(tally: Tally) -> str:
    noun = "copy" if tally.copied == 1 else "copies"
    return f" + {tally.copied:,} {noun} for further pixels" if tally.copied else ""


def _build_reason_lines(tally: Tally, fate: Fate) -> list[ReasonLine]:
    return [
        ReasonLine(fate, reason, field, rows, *explain_reason(reason, field))
        for (reason, field), rows in sorted(tally.count_reasons(fate).items(), key=lambda item: (-item[1], item[0]))
    ]


def explain_reason(reason: str, field: str = "") -> tuple[str, str]:
    """Our sentence for a reason; Meta's codes (``100/2804003``) are explained by ``offline-capi explain``.

    ``field`` may name a value of a column of codes (``custom_data.currency with "Euro"``): then the advice is the line
    of YAML to write.
    """
    try:
        text = REASONS[Reason(reason)]
    except ValueError:
        if not reason:
            return "no reason was recorded", "look at the run's notices, and report this to us if they do not say it"
        return f"Meta answered {reason}", f"offline-capi explain {reason}"
    path, _, value = field.partition(" with ")
    if value and reason == Reason.BAD_CURRENCY:
        code = find_currency_code(value.strip('"')) or "CODE"
        return text.what, f"under {path}, write map: {{{value}: {code}}}; codes such as EUR stay as they are"
    if value and reason == Reason.UNKNOWN_VALUE:
        return text.what, f"add to the map of {path}: {value}: what to send in its place; or give a default"
    return text.what, text.fix


def _group_tally(tally: Tally, name: Any) -> dict[str, dict[Fate, int]]:
    groups: dict[str, Counter[Fate]] = {}
    for count, rows in tally.fates.items():
        groups.setdefault(name(count.client, count.day), Counter())[count.fate] += rows
    return {key: dict(groups[key]) for key in sorted(groups)}


def _plain(fates: Mapping[Fate, int]) -> dict[str, int]:
    return {fate.value: n for fate, n in fates.items()}
