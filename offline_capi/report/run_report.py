"""The report of one run: numbers that balance, and what each of them asks of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from offline_capi.config.settings import Limits
from offline_capi.errors import BalanceError, PartialLossError, UsageError
from offline_capi.model import REASONS, WARNING_TEXTS, Fate, GateFinding, Reason, ReasonText, Tally, Window

__all__ = ["NOT_SENT", "KeyLine", "ReasonLine", "RunReport", "Status", "explain_reason", "judge", "make_report"]

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
class KeyLine:
    """How many of the sendable events carry a usable value of a mapped key of user_data."""

    key: str
    events: int
    share: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "share": round(self.share, 4)}


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

    def identity_lines(self) -> list[str]:
        """What is worth knowing of identity values that went out: how many came hashed, letters with two meanings."""
        noted, lines = self.tally.noted, []
        for (key, column, what), count in sorted(noted.items()):
            if what == "came_hashed":
                lines.append(f"{key}: {count:,} of {column} came hashed and went out as they are")
            elif what == "written_h" and noted[key, column, "written_m"]:
                lines.append(
                    f"{key}: {column} holds both H and M. Both were sent as male; where M is Mujer or Madame, "
                    f"write map: {{H: m, M: f}} for the column"
                )
        return lines

    @property
    def complete(self) -> bool:
        """Whether every row read, and every copy for a further pixel, has exactly one fate."""
        return self.tally.complete

    @property
    def gates(self) -> tuple[GateFinding, ...]:
        """The gates that the run did not pass, those that stopped it first."""
        return tuple(sorted(self.tally.gates or (), key=lambda finding: not finding.stops))

    @property
    def balance(self) -> str:
        """The identity as one line: ``260 read = 250 sent + 8 rejected + 2 expired``.

        Where clients have several pixels: ``100 read + 100 copies for further pixels = 199 sent + 1 refused``.
        """
        parts = [f"{n:,} {fate.words}" for fate, n in self.tally.by_fate().items() if n]
        sign = "=" if self.complete else "≠"
        return f"{self.tally.read:,} read{_copies(self.tally)} {sign} {' + '.join(parts) or '0'}"

    def of_client(self, client: str) -> RunReport:
        """The report of one client alone, which can be given to that client: nothing in it is of others.

        What is not counted by client is left out: notices, gates, warnings, values that were left out. Raises
        ``UsageError`` where the run read nothing of the client, ``BalanceError`` where its books do not balance.
        """
        tally = self.tally.of_client(client)
        if not tally.read:
            raise UsageError(f'run {self.run_id} read no row of a configured client "{client}"')
        status, problems = judge(tally, Limits(max_rejected=1.0), excused=frozenset())
        return replace(self, status=status, problems=problems, tally=tally)

    def reasons(self) -> list[ReasonLine]:
        """Why rows were not sent, most rows first within each fate."""
        return [line for fate in NOT_SENT for line in _reason_lines(self.tally, fate)]

    def warnings(self) -> list[tuple[int, ReasonText]]:
        """How many events were sent with a warning, and which; most events first."""
        counted = sorted(self.tally.warnings.items(), key=lambda item: (-item[1], item[0]))
        return [(events, WARNING_TEXTS.get(code, ReasonText(code.replace("_", " "), ""))) for code, events in counted]

    def key_lines(self) -> list[KeyLine]:
        """What the events are matched by, in the order of the YAML; nothing where no event could be sent."""
        sendable = self.tally.sendable
        return [KeyLine(key, n, n / sendable) for key, n in self.tally.keys.items()] if sendable else []

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
            "rows": _rows(self.tally),
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
        )


_CLIENTLESS = frozenset({Reason.UNKNOWN_CLIENT, Reason.PAUSED_CLIENT})


def judge(tally: Tally, limits: Limits, *, excused: Collection[Reason] = _CLIENTLESS) -> tuple[Status, tuple[str, ...]]:
    """Whether the books are those of a complete run, and if not, what is wrong with them.

    Refused, in-doubt and held rows are a loss at any number; rejected and expired rows beyond the upload's limits. Rows
    that are held for an ``excused`` reason, their client being unknown or paused, count as rejected ones: one client of
    many that is not there fails no night of the others, and has no excuse in a report of its own. A gate that stopped
    the run is a problem even where it had no row to hold.
    Raises ``BalanceError`` when rows and fates do not add up.
    """
    if not tally.complete:
        due = f"{tally.read:,} rows were read{_copies(tally)}"
        raise BalanceError(f"{due} but {tally.accounted:,} have a fate. Please report this.")
    problems = [f"gate {gate.gate} stopped the run" for gate in tally.gates or () if gate.stops]
    clientless = sum(n for (reason, _), n in tally.reasons(Fate.HELD).items() if reason in excused)
    lost = {fate: tally.of(fate) for fate in (Fate.REFUSED, Fate.IN_DOUBT, Fate.HELD)}
    lost[Fate.HELD] -= clientless
    problems += [f"{n:,} {fate.words}" for fate, n in lost.items() if n]
    problems += _beyond("rejected", tally.of(Fate.REJECTED), tally.read, limits.max_rejected, held=clientless)
    problems += _beyond("expired", tally.of(Fate.EXPIRED), tally.read, limits.max_expired)
    return (Status.PARTIAL if problems else Status.COMPLETE), tuple(problems)


def _beyond(name: str, rows: int, read: int, limit: float, held: int = 0) -> list[str]:
    """The problem with so many rows, those included that are held for their client; none within the limit."""
    total = rows + held
    if total <= limit * read:
        return []
    counted = [f"{rows:,} {name}"] * bool(rows) + [f"{held:,} held"] * bool(held)
    return [f"{' and '.join(counted)} ({total / read:.1%}; limits.max_{name} is {limit:.1%})"]


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


def _rows(tally: Tally) -> dict[str, int]:
    copies = {"copies": tally.copied} if tally.copied else {}
    return {"read": tally.read, **copies, **_plain(tally.by_fate())}


def _copies(tally: Tally) -> str:
    noun = "copy" if tally.copied == 1 else "copies"
    return f" + {tally.copied:,} {noun} for further pixels" if tally.copied else ""


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
