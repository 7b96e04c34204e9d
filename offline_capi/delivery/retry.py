"""The retry policy: when a request is tried again, after how long, and when it is given up.

The only place that decides it, for the tries of a run and for the runs that follow a failed one. It imports nothing
heavy: Airflow's retries are derived from it in every DAG file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from offline_capi import errors

if TYPE_CHECKING:
    from offline_capi.delivery.attempts import PostResult

__all__ = ["RetryPolicy", "RunRetry"]


@dataclass(frozen=True, slots=True)
class RunRetry:
    """After a run that failed with ``error``: start another after ``delay``, or none where that is ``None``."""

    error: type[errors.OfflineCapiError]
    delay: timedelta | None
    reason: str


_AFTER_RUN = (
    RunRetry(errors.TemporaryError, timedelta(minutes=2), "a transient fault: only what is missing is sent again"),
    RunRetry(errors.LedgerBusyError, timedelta(seconds=30), "another process held the ledger"),
    RunRetry(errors.ConfigError, None, "the configuration or the trigger form has to be corrected first"),
    RunRetry(errors.SourceSchemaError, None, "the source has other columns than the upload names"),
    RunRetry(errors.AccessDeniedError, None, "the token or the pixel's permission has to be renewed first"),
    RunRetry(errors.PartialLossError, None, "what was lost is known, and repeating does not change it"),
    RunRetry(errors.BalanceError, None, "a bug in offline_capi: please report it"),
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one request is tried, and what follows a failed run.

    ``max_wait_s`` includes the time that a request waits to leave: no try begins later. ``max_backoff_s`` bounds the
    backoff that we choose ourselves; Meta may ask for longer (Retry-After, time to regain access). ``slow_down`` has
    the percentages of a rate limit from which requests are held back, highest first, and for how many seconds
    (meta-capi.md 5.5). ``after_run`` has the errors of a run; any other is retried after the scheduler's usual delay.
    """

    max_tries: int = 6
    max_wait_s: float = 600.0
    max_backoff_s: float = 60.0
    slow_down: tuple[tuple[float, float], ...] = ((90, 30.0), (75, 2.0))
    after_run: tuple[RunRetry, ...] = _AFTER_RUN

    def choose_backoff_s(self, tries: int, jitter: float) -> float:
        """Exponential backoff with full jitter; ``jitter`` is between 0 and 1."""
        return jitter * min(self.max_backoff_s, 2.0**tries)

    def choose_slow_down_s(self, usage: float) -> float:
        """How long to hold requests back at ``usage`` per cent of a rate limit."""
        return next((seconds for least, seconds in self.slow_down if usage >= least), 0.0)

    def is_final(self, result: PostResult, *, time_left_s: float) -> bool:
        """Whether ``result`` is the end: final, hopeless, or out of tries or time. ``time_left_s`` is what would be
        left of ``max_wait_s`` when the next try began.
        """
        return result.is_final or result.lasting or result.tries >= self.max_tries or time_left_s < 0
