"""Airflow's retries of a task, derived from delivery's retry policy.

Errors are named by dotted path, so that a DAG file loads nothing for them.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from offline_capi.delivery.retry import RetryPolicy, RunRetry

__all__ = ["upload_retry_policy"]


def upload_retry_policy(usual: timedelta = timedelta(minutes=5)) -> ExceptionRetryPolicy:
    """Retry transient faults, fail at once where a person has to act; any other error is retried as usual.

    A transient fault is waited for as long as the policy says, but not longer than the ``usual`` delay.
    """
    return ExceptionRetryPolicy(rules=[_make_rule(after, usual) for after in RetryPolicy().after_run])


def _make_rule(after: RunRetry, usual: timedelta) -> RetryRule:
    path = f"{after.error.__module__}.{after.error.__qualname__}"
    if after.delay is None:
        return RetryRule(path, RetryAction.FAIL, reason=after.reason)
    return RetryRule(path, RetryAction.RETRY, retry_delay=min(after.delay, usual), reason=after.reason)
