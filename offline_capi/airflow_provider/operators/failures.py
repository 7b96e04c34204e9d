"""Which error a client's task ends with when something of it did not arrive: the retry policy acts on its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offline_capi.errors import AccessDeniedError, OfflineCapiError, PartialLossError, TemporaryError
from offline_capi.model import Fate, Reason

if TYPE_CHECKING:
    from offline_capi.model import Tally
    from offline_capi.pipeline.settle import SettlementResult

__all__ = ["raise_for_undelivered", "raise_for_unsettled"]


@dataclass(frozen=True, slots=True)
class _FateError:
    """Which error a fate ends a client's task with; Airflow's retry policy acts on its kind."""

    fates: tuple[Fate, ...]
    reasons: tuple[str, ...]
    error: type[OfflineCapiError]
    advice: str


#: First match wins: an action by a person before a retry, a retry before a final loss.
_FATE_ERRORS = (
    _FateError(
        (Fate.DEFERRED,), (Reason.CLIENT_STOPPED,), AccessDeniedError,
        "Meta refused the token or the pixel. Renew its permission, then clear this task or run again: "
        "only what is missing is sent",
    ),
    _FateError(
        (Fate.DEFERRED,), (Reason.UNREACHABLE, Reason.THROTTLED, Reason.OTHER_RUN, Reason.NOT_SENT), TemporaryError,
        "They wait; repeating sends only them",
    ),
    _FateError((Fate.UNCONFIRMED,), (), TemporaryError,
             "No answer came; repeating uses the same event ids, so Meta counts each once"),
    _FateError(
        (Fate.DEFERRED,), (Reason.OVER_LIMIT,), PartialLossError,
        "They are above limits.events_per_run; the next run goes on where this one stopped",
    ),
    _FateError(
        (Fate.REJECTED_BY_META, Fate.DEFERRED), (), PartialLossError,
        "Repeating does not change it: see the report for the reasons"
    ),
)  # fmt: skip


def raise_for_unsettled(upload: str, settled: SettlementResult) -> None:
    """Raise ``PartialLossError`` while a day that earlier runs left open is not delivered, or was closed just now."""
    found = [
        f"{report.window}: run {report.run_id}, {', '.join(report.problems)}"
        for report in settled.reports
        if report.problems
    ]
    found += [f"{day}: {type(error).__name__}: {error}" for day, error in settled.failures.items()]
    found += [f"{day.day} became too old for Meta with something owed ({day.why})" for day in settled.closed]
    if found:
        raise PartialLossError(
            f"{upload}: {'; '.join(found)}. What is open is taken up again; repeating is safe and sends only that."
        )


def raise_for_undelivered(client: str, tally: Tally) -> None:
    """Raise the error that fits the worst of what did not arrive; return when everything did."""
    for rule in _FATE_ERRORS:
        rows = sum(
            rows
            for count, rows in tally.fates.items()
            if count.fate in rule.fates and (not rule.reasons or count.reason in rule.reasons)
        )
        if rows:
            raise rule.error(f"{client}: {rows:,} events were not delivered. {rule.advice}.")
