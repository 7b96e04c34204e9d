"""What Airflow does after a failure: decided by the kind of error, within the task's count of retries.

Errors are named by dotted path, so that a DAG file loads nothing for them.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

__all__ = ["upload_retry_policy"]

_RETRY = {
    "TemporaryError": (timedelta(minutes=2), "a fault that passes: only what is missing is sent again"),
    "LedgerBusyError": (timedelta(seconds=30), "another process held the ledger"),
}
_FAIL = {
    "ConfigError": "the configuration or the trigger form has to be put right first",
    "SourceSchemaError": "the source has other columns than the upload names",
    "AccessDeniedError": "the token or the pixel's permission has to be renewed first",
    "PartialLossError": "what was lost is known, and repeating does not change it",
    "BalanceError": "a bug in offline_capi: please report it",
}


def upload_retry_policy(usual: timedelta = timedelta(minutes=5)) -> ExceptionRetryPolicy:
    """Wait and repeat what passes, fail at once what somebody has to mend; anything else is repeated as usual.

    What passes is waited for as long as such faults take, but not longer than the ``usual`` delay.
    """
    retry = [
        RetryRule(f"offline_capi.errors.{name}", RetryAction.RETRY, retry_delay=min(delay, usual), reason=reason)
        for name, (delay, reason) in _RETRY.items()
    ]
    fail = [RetryRule(f"offline_capi.errors.{name}", RetryAction.FAIL, reason=reason) for name, reason in _FAIL.items()]
    return ExceptionRetryPolicy(rules=[*retry, *fail])
