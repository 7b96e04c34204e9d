"""What Airflow does after each kind of failure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from airflow.sdk import RetryAction

from offline_capi import errors
from offline_capi.airflow_provider.operators.failures import raise_for_undelivered
from offline_capi.airflow_provider.operators.retries import upload_retry_policy
from offline_capi.model import Count, Fate, Reason, Tally

RETRY, FAIL, USUAL = RetryAction.RETRY, RetryAction.FAIL, RetryAction.DEFAULT


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (errors.TemporaryError("x"), RETRY),
        (errors.SourceUnavailableError("x"), RETRY),
        (errors.LedgerBusyError("x"), RETRY),
        (errors.ConfigError("x"), FAIL),
        (errors.UsageError("x"), FAIL),
        (errors.SourceSchemaError("x"), FAIL),
        (errors.AccessDeniedError("x"), FAIL),
        (errors.PartialLossError("x"), FAIL),
        (errors.BalanceError("x"), FAIL),
        (errors.SourceError("x"), USUAL),
        (errors.LedgerError("x"), USUAL),
        (OSError("x"), USUAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_kind_of_error_decides(error, action):
    assert upload_retry_policy().evaluate(error, 1, 3).action is action


def test_nothing_waits_longer_than_the_uploads_own_delay():
    usual = upload_retry_policy().evaluate(errors.TemporaryError("x"), 1, 3)
    short = upload_retry_policy(timedelta(seconds=1)).evaluate(errors.TemporaryError("x"), 1, 3)

    busy = upload_retry_policy().evaluate(errors.LedgerBusyError("x"), 1, 3)
    assert (usual.retry_delay, short.retry_delay) == (timedelta(minutes=2), timedelta(seconds=1))
    assert busy.retry_delay == timedelta(seconds=30)


def test_every_error_that_is_named_exists():
    """A dotted name with a typo would only be a warning in a log."""
    for rule in upload_retry_policy().rules:
        assert hasattr(errors, rule.exception_path.removeprefix("offline_capi.errors."))


@pytest.mark.parametrize(
    ("fate", "reason", "error"),
    [
        (Fate.DEFERRED, Reason.CLIENT_STOPPED, errors.AccessDeniedError),
        (Fate.DEFERRED, Reason.UNREACHABLE, errors.TemporaryError),
        (Fate.DEFERRED, Reason.THROTTLED, errors.TemporaryError),
        (Fate.DEFERRED, Reason.OTHER_RUN, errors.TemporaryError),
        (Fate.UNCONFIRMED, Reason.LOST_ANSWER, errors.TemporaryError),
        (Fate.DEFERRED, Reason.OVER_LIMIT, errors.PartialLossError),
        (Fate.REJECTED_BY_META, "100/2804050", errors.PartialLossError),
    ],
)
def test_a_client_whose_events_did_not_all_arrive_fails_by_what_has_to_be_done(fate, reason, error):
    tally = Tally(read=5)
    tally.fates.update({Count(Fate.SENT, "acme", None): 3, Count(fate, "acme", None, reason): 2})

    with pytest.raises(error, match="acme: 2 events were not delivered"):
        raise_for_undelivered("acme", tally)


def test_whoever_has_to_act_is_told_before_anybody_waits():
    tally = Tally(read=2)
    tally.fates.update({
        Count(Fate.DEFERRED, "acme", None, Reason.UNREACHABLE): 1,
        Count(Fate.DEFERRED, "acme", None, Reason.CLIENT_STOPPED): 1,
    })  # fmt: skip

    with pytest.raises(errors.AccessDeniedError):
        raise_for_undelivered("acme", tally)


def test_what_the_next_run_sends_is_not_said_to_be_lost():
    tally = Tally(read=1, fates=Counter({Count(Fate.DEFERRED, "acme", None, Reason.OVER_LIMIT): 1}))

    with pytest.raises(errors.PartialLossError, match="the next run goes on where this one stopped"):
        raise_for_undelivered("acme", tally)


def test_what_was_sent_expired_or_already_there_is_no_failure():
    tally = Tally(read=3)
    tally.fates.update({Count(fate, "acme", None): 1 for fate in (Fate.SENT, Fate.ALREADY_SENT, Fate.EXPIRED)})

    raise_for_undelivered("acme", tally)
