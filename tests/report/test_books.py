"""The books of a run while it goes on: each event once, under the reason that the report shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from offline_capi.model import Fate, Outcome, Reason, Request
from offline_capi.report import Books
from tests.delivery.sending import ACME, PIXEL, batch

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fate", "told", "reason"),
    [
        (Fate.REJECTED_BY_META, {"code": 100, "subcode": 2804003}, "100/2804003"),
        (Fate.REJECTED_BY_META, {"code": 100}, "100"),
        (Fate.DEFERRED, {"reason": Reason.CLIENT_STOPPED, "code": 190, "subcode": 463}, "client_stopped"),
        (Fate.DEFERRED, {"reason": Reason.UNREACHABLE}, "unreachable"),
        (Fate.UNCONFIRMED, {"reason": Reason.LOST_ANSWER}, "lost_answer"),
        (Fate.SENT, {}, None),
    ],
)
def test_an_outcome_is_booked_under_our_reason_or_metas_code(
    fate: Fate, told: dict[str, int | Reason], reason: str | None
) -> None:
    """Meta's subcode stands after its code where there is one; what is kept to be sent again has the same reason."""
    kept: list[dict[str, object]] = []
    books = Books(keep_undelivered=lambda losses: kept.extend(losses.to_pylist()))
    request = Request("r-1", ACME, PIXEL, batch(["e-1", "e-2", "e-3"]))

    books.enter_outcome(Outcome(request, fate, NOW, tries=2, **told))  # type: ignore[arg-type]  # fields by name

    booked = [(count.fate, count.client, count.reason, rows) for count, rows in books.tally.fates.items()]
    assert booked == [(fate, ACME, reason, 3)]
    lost = [] if fate is Fate.SENT else [("e-1", fate, reason), ("e-2", fate, reason), ("e-3", fate, reason)]
    assert [(row["event_id"], row["fate"], row["reason"]) for row in kept] == lost
    assert (books.tally.requests, books.tally.tries, books.tally.traffic[ACME, "tries"]) == (1, 2, 2)
    assert (books.tally.sent_bytes > 0) == (fate is Fate.SENT)
