"""Marks of values are kept for weeks: a version that computes them otherwise calls every event changed."""

from __future__ import annotations

from datetime import date

import pyarrow as pa

from offline_capi.events import EVENT_SCHEMA
from offline_capi.ledger.values import compute_value_marks, have_changed, pack_marks
from offline_capi.model import EventBatch

WORTH = [(50.0, "EUR"), (50.0, "USD"), (12.5, "EUR"), (0.0, "EUR"), (-3.0, "EUR"), (None, "EUR"), (50.0, None)]


def make_events(*worth: tuple[float | None, str | None]) -> EventBatch:
    """Each of these for the same key."""
    fixed = {"origin": "a.csv", "row": 1, "client": "acme", "pixel": "1", "event_name": "Lead", "event_time": 1}
    fixed |= {
        "day": date(2026, 11, 23),
        "action_source": "chat",
        "body": b"{}",
        "event_id": "e",
        "key": bytes(range(16)),
    }
    rows = [{**fixed, "value": value, "currency": currency} for value, currency in worth]
    return EventBatch(pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA))


def test_a_mark_is_the_same_in_every_version_and_another_for_every_worth() -> None:
    events = make_events(*WORTH)

    assert pack_marks(events).hex(" ", 3) == "e53eb8 ada4f9 363466 b6dae2 74e5c5 5b0deb 3b0cc2"
    assert len(set(compute_value_marks(events).tolist())) == len(WORTH)
    assert compute_value_marks(make_events((-0.0, "EUR"))).tolist() == compute_value_marks(events)[3:4].tolist()


def test_only_what_another_mark_was_kept_for_has_changed() -> None:
    kept = pack_marks(make_events(*WORTH[:3]))

    assert have_changed(compute_value_marks(make_events(*WORTH)), kept).tolist() == [False] * 3 + [True] * 4
