"""The report of one run: numbers that balance, and what each of them asks of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from offline_capi.config.settings import Limits
from offline_capi.errors import BalanceError, PartialLossError
from offline_capi.model import REASONS, WARNING_TEXTS, Fate, GateFinding, Reason, ReasonText, Tally, Window

__all__ = ["NOT_SENT", "ReasonLine", "RunReport", "Status", "explain_reason", "judge", "make_report"]

#: Fates whose rows carry a reason, in the order in which a reader wants them.
NOT_SENT = (Fate.REJECTED, Fate.EXPIRED, Fate.REFUSED, Fate.IN_DOUBT, Fate.HELD)


class Status(StrEnum):
    """How a run ended. Only ``COMPLETE`` is a green task and exit code 0."""

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
class RunReport:
    """What happened in one run. ``problems`` is empty when the run is complete.

    ``planned`` marks a plan: its "sent" are rows that *would* be sent.
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

    @property
    def complete(self) -> bool:
        """Whether every row read has exactly one fate."""
        return self.tally.complete

    @property
    def gates(self) -> tuple[GateFinding, ...]:
        """The gates that the run did not pass, those that stopped it first."""
        return tuple(sorted(self.tally.gates or (), key=lambda finding: not finding.stops))

    @property
    def balance(self) -> str:
        """The identity as one line: ``260 read = 250 sent + 8 rejected + 2 expired``."""
        parts = [f"{n:,} {fate.value.replace('_', ' ')}" for fate, n in self.tally.by_fate().items() if n]
        sign = "=" if self.complete else "≠"
        return f"{self.tally.read:,} read {sign} {' + '.join(parts) or '0'}"

    def reasons(self) -> list[ReasonLine]:
        """Why rows were not sent, most rows first within each fate."""
        return [line for fate in NOT_SENT for line in _reason_lines(self.tally, fate)]

    def warnings(self) -> list[tuple[int, ReasonText]]:
        """How many events were sent with a warning, and which; most events first."""
        counted = sorted(self.tally.warnings.items(), key=lambda item: (-item[1], item[0]))
        return [(events, WARNING_TEXTS.get(code, ReasonText(code.replace("_", " "), ""))) for code, events in counted]

    def gate_lines(self) -> list[str]:
        """What each gate found; after one that stops, how to let the run pass once."""
        lines = [f"gate ({finding.action}) {finding.sentence}" for finding in self.gates]
        if self.tally.stopped:
            verb = "Nothing would be sent" if self.planned else "Nothing was sent"
            lines.append(f"{verb}. Look at the source; if the figures are right, upload once more with --force-gates")
        return lines

    def by_client(self) -> dict[str, dict[Fate, int]]:
        return _grouped(self.tally, lambda client, _: client or "(no client)")

    def by_day(self) -> dict[str, dict[Fate, int]]:
        return _grouped(self.tally, lambda _, day: day.isoformat() if day else "(no date)")

    def raise_for_loss(self) -> None:
        """Raise ``PartialLossError`` unless the run is complete: a partial loss is never a green task (P14)."""
        if self.status is not Status.COMPLETE:
            raise PartialLossError(
                f"{self.upload}: run {self.run_id} is {self.status.value}: {'; '.join(self.problems)}. "
                f"{self.balance}. Everything sent is recorded; running again is safe and sends only what is missing."
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run_id,
            "upload": self.upload,
            "window": self.window.to_json(),
            "trigger": self.trigger,
            "planned": self.planned,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "status": self.status.value,
            "problems": list(self.problems),
            "gates": [finding.to_json() for finding in self.gates],
            "balance": self.balance,
            "rows": {"read": self.tally.read, **{fate.value: n for fate, n in self.tally.by_fate().items()}},
            "reasons": [line.to_json() for line in self.reasons()],
            "clients": {name: _plain(fates) for name, fates in self.by_client().items()},
            "days": {day: _plain(fates) for day, fates in self.by_day().items()},
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
        )


def judge(tally: Tally, limits: Limits) -> tuple[Status, tuple[str, ...]]:
    """Whether the books are those of a complete run, and if not, what is wrong with them.

    Refused, in-doubt and held rows are a loss at any number; rejected and expired rows beyond the upload's limits. A
    gate that stopped the run is a problem even where it had no row to hold.
    Raises ``BalanceError`` when rows and fates do not add up.
    """
    if not tally.complete:
        raise BalanceError(f"{tally.read:,} rows were read but {tally.accounted:,} have a fate. Please report this.")
    problems = [f"gate {gate.gate} stopped the run" for gate in tally.gates or () if gate.stops]
    problems += [
        f"{tally.of(fate):,} {fate.value.replace('_', ' ')}"
        for fate in (Fate.REFUSED, Fate.IN_DOUBT, Fate.HELD)
        if tally.of(fate)
    ]
    for fate, limit in ((Fate.REJECTED, limits.max_rejected), (Fate.EXPIRED, limits.max_expired)):
        if tally.of(fate) > limit * tally.read:
            share = tally.of(fate) / tally.read
            problems.append(f"{tally.of(fate):,} {fate.value} ({share:.1%}; limits.max_{fate.value} is {limit:.1%})")
    return (Status.PARTIAL if problems else Status.COMPLETE), tuple(problems)


def make_report(
    *,
    run_id: str,
    upload: str,
    window: Window,
    trigger: str,
    started_at: datetime,
    ended_at: datetime,
    tally: Tally,
    limits: Limits,
    planned: bool = False,
) -> RunReport:
    """Close the books of a run; raises ``BalanceError`` when they do not balance."""
    status, problems = judge(tally, limits)
    return RunReport(run_id, upload, window, trigger, started_at, ended_at, status, problems, tally, planned)


def _reason_lines(tally: Tally, fate: Fate) -> list[ReasonLine]:
    return [
        ReasonLine(fate, reason, field, rows, *explain_reason(reason))
        for (reason, field), rows in sorted(tally.reasons(fate).items(), key=lambda item: (-item[1], item[0]))
    ]


def explain_reason(reason: str) -> tuple[str, str]:
    """Our sentence for a reason; Meta's codes (``100/2804003``) are explained by ``offline-capi explain``."""
    try:
        text = REASONS[Reason(reason)]
    except ValueError:
        return (f"Meta answered {reason}" if reason else "no reason was recorded", f"offline-capi explain {reason}")
    return text.what, text.fix


def _grouped(tally: Tally, name: Any) -> dict[str, dict[Fate, int]]:
    groups: dict[str, Counter[Fate]] = {}
    for count, rows in tally.fates.items():
        groups.setdefault(name(count.client, count.day), Counter())[count.fate] += rows
    return {key: dict(groups[key]) for key in sorted(groups)}


def _plain(fates: Mapping[Fate, int]) -> dict[str, int]:
    return {fate.value: n for fate, n in fates.items()}
