"""A nightly run and what earlier runs owe: the open days, oldest first, each as a run of its own, then the window.

One run per day, not one window back to the oldest of them: the days between are not read again, each day is judged
by its own gates and limits, and a day that still cannot be delivered does not delay the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from offline_capi.config.upload import Upload
from offline_capi.errors import LedgerError, OfflineCapiError
from offline_capi.guards.quotas import Quotas
from offline_capi.ledger import record_announced_losses
from offline_capi.model import UploadDay, Window
from offline_capi.pipeline.context import OnProgress, ignore_progress
from offline_capi.pipeline.open_days import describe_due_days, find_due_days, find_newly_closed_days
from offline_capi.pipeline.run import run_upload
from offline_capi.pipeline.services import Services
from offline_capi.report import RunReport, Status

__all__ = ["NightlyResult", "SettlementResult", "plan_settling", "run_nightly", "settle_days", "settle_upload"]


@dataclass(slots=True)
class SettlementResult:
    """What became of the days that earlier runs left open."""

    reports: list[RunReport] = field(default_factory=list)
    #: Days whose run ended in an error, with its message: they stay open.
    failures: dict[date, OfflineCapiError] = field(default_factory=dict)
    #: Days that became too old for Meta with something owed, told by this very call.
    closed: list[UploadDay] = field(default_factory=list)

    @property
    def touched(self) -> bool:
        """Whether there was anything to settle or to tell."""
        return bool(self.reports or self.failures or self.closed)

    @property
    def complete(self) -> bool:
        return not self.failures and not self.closed and all(one.status is Status.COMPLETE for one in self.reports)

    def to_json(self) -> dict[str, Any]:
        return {
            "settled": [one.to_json() for one in self.reports],
            "failed": {day.isoformat(): f"{type(error).__name__}: {error}" for day, error in self.failures.items()},
            "closed": [day.to_json() for day in self.closed],
        }


@dataclass(frozen=True, slots=True)
class NightlyResult:
    """A night's own report, and what became of the days before it."""

    report: RunReport
    settled: SettlementResult

    @property
    def complete(self) -> bool:
        return self.report.status is Status.COMPLETE and self.settled.complete


def run_nightly(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    trigger: str = "manual",
    force_gates: bool = False,
    announce: Callable[[str], None] = lambda _: None,
    on_progress: OnProgress = ignore_progress,
) -> NightlyResult:
    """Settle what earlier runs owe, as far as Meta still takes it, then send the window's own rows.

    ``announce`` hears first which days are taken up and why. A client's ``limits.events_per_run`` holds for the whole
    night, the oldest events first. An error over an earlier day keeps no other day from its turn; an error over the
    window itself is raised, as ``run_upload`` raises it.
    """
    due = plan_settling(upload, services, besides=window, announce=announce)
    quotas = Quotas(services.deployment.recipients)
    settled = settle_days(upload, due, services, quotas=quotas)
    report = run_upload(
        upload,
        window,
        services,
        trigger=trigger,
        force_gates=force_gates,
        quotas=quotas,
        on_progress=on_progress,
    )
    return NightlyResult(report, settled)


def settle_upload(
    upload: Upload,
    services: Services,
    *,
    force_gates: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> SettlementResult:
    """Take up what earlier runs of an upload owe, and nothing else; tell once what has become too old for Meta."""
    due = plan_settling(upload, services, announce=announce)
    settled = settle_days(upload, due, services, force_gates=force_gates)
    now = services.clock()
    settled.closed = find_newly_closed_days(upload, services.deployment, services.ledger, now)
    record_announced_losses(services.ledger, upload.name, settled.closed, run_id=None, now=now)
    return settled


def plan_settling(
    upload: Upload,
    services: Services,
    *,
    besides: Window | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> list[Window]:
    """The windows of the days to take up now, oldest first; ``announce`` hears which they are and why they are open."""
    due = find_due_days(upload, services.deployment, services.ledger, services.clock(), besides=besides)
    for sentence in describe_due_days(due):
        announce(sentence)
    return [Window.of_day(day.day, upload.window.timezone) for day in due]


def settle_days(
    upload: Upload,
    windows: Sequence[Window],
    services: Services,
    *,
    quotas: Quotas | None = None,
    force_gates: bool = False,
) -> SettlementResult:
    """Run each of these days again. Raises ``LedgerError``: without the ledger no day can be settled."""
    settled = SettlementResult()
    quotas = quotas or Quotas(services.deployment.recipients)
    for window in windows:
        try:
            report = run_upload(upload, window, services, trigger="settle", force_gates=force_gates, quotas=quotas)
        except LedgerError:
            raise
        except OfflineCapiError as error:
            settled.failures[window.since.date()] = error
        else:
            settled.reports.append(report)
    return settled
