"""Rows whose loss was told before, and events that were owed and have left the source."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.guards.past_losses import KnownLosses, OwedEvents
from offline_capi.model import EventBatch

LOSS = {
    "fate": "invalid",
    "reason": "unreadable_value",
    "field": "value",
    "client": "shop",
    "event_id": "a",
    "origin": "sales.csv",
    "row": 7,
}


def losses(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([LOSS | row for row in rows])


def find(known: KnownLosses, *rows: dict[str, Any]) -> list[str | None]:
    (batch,) = losses(*rows).to_batches()
    return known.find(batch).to_pylist()


# ---------------------------------------------------------------------------------------------- known losses


@pytest.mark.parametrize(
    "other",
    [
        {"fate": "rejected_by_meta"},
        {"reason": "missing_value"},
        {"field": "em"},
        {"client": "outlet"},
        {"event_id": "b"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_loss_is_known_by_its_row_fate_reason_and_field(other: dict[str, Any]) -> None:
    known = KnownLosses([(losses({}), "2026-11-20")])

    assert find(known, {}, other) == ["2026-11-20", None]


def test_a_row_with_an_event_id_is_known_wherever_it_stands_and_one_without_by_its_place() -> None:
    moved = {"origin": "late.csv", "row": 8}
    nameless = {"event_id": None}
    known = KnownLosses([(losses({}, nameless), "2026-11-20")])

    assert find(known, moved, nameless, nameless | moved, nameless | {"row": 8}, nameless | {"origin": "x"}) == [
        "2026-11-20",
        "2026-11-20",
        None,
        None,
        None,
    ]


def test_a_loss_is_known_since_it_was_first_told() -> None:
    """The newest run says since when; a run that told it itself is the first."""
    newest = losses({}, {"event_id": "b"}).append_column("known_since", pa.array(["2026-11-18", None]))
    known = KnownLosses([(newest, "2026-11-20"), (losses({}, {"event_id": "c"}), "2026-11-19")])

    assert find(known, {}, {"event_id": "b"}, {"event_id": "c"}) == ["2026-11-18", "2026-11-20", "2026-11-19"]


def test_columns_of_dictionaries_and_columns_that_are_not_there_are_read_alike() -> None:
    """Staged tables encode what repeats; a row of no client or field has no such column."""
    encoded = pa.table(
        {
            name: pa.array([value]).dictionary_encode() if isinstance(value, str) else pa.array([value])
            for name, value in LOSS.items()
            if name not in ("field", "client")
        }
    )
    known = KnownLosses([(encoded, "2026-11-20")])

    assert find(known, {"field": None, "client": ""}, {}) == ["2026-11-20", None]


def test_where_no_run_told_of_anything_every_loss_is_new() -> None:
    assert find(KnownLosses([]), {}, {"event_id": "b"}) == [None, None]


# ---------------------------------------------------------------------------------------------- owed events


def key(number: int, tail: int = 0) -> bytes:
    return number.to_bytes(8, "big") + tail.to_bytes(8, "big")


def owed(*events: tuple[bytes, str]) -> pa.Table:
    keys, fates = zip(*events, strict=True) if events else ((), ())
    return pa.table({"key": pa.array(keys, pa.binary(16)), "fate": pa.array(fates, pa.string())})


def batch(*keys: bytes) -> EventBatch:
    return EventBatch(pa.RecordBatch.from_pydict({"key": pa.array(keys, pa.binary(16))}))


def test_owed_events_that_are_read_again_are_met_and_the_batches_go_on_unchanged() -> None:
    events = OwedEvents([owed((key(1), "deferred"), (key(2**63), "unconfirmed"), (key(3), "deferred"))])
    batches = [batch(key(9), key(3)), batch(key(0)), batch(key(2**64 - 1), key(2**63))]

    assert list(events.watch(batches)) == batches
    assert events.unmet == Counter({"deferred": 1})


def test_what_is_owed_stands_as_the_newest_run_left_it_and_counts_once() -> None:
    events = OwedEvents([owed((key(1), "unconfirmed")), owed((key(1), "deferred"), (key(2), "deferred"))])

    assert events.unmet == Counter({"unconfirmed": 1, "deferred": 1})


def test_keys_that_begin_alike_are_told_apart() -> None:
    """Both orders, each met alone; zero bytes at the end belong to a key."""
    pair = owed((key(5, 0), "deferred"), (key(5, 256), "unconfirmed"))

    for met, left in ((key(5, 0), "unconfirmed"), (key(5, 256), "deferred")):
        events = OwedEvents([pair, owed((key(4), "deferred"), (key(6), "deferred"))])
        list(events.watch([batch(met, key(4), key(6))]))
        assert events.unmet == Counter({left: 1})


def test_where_nothing_is_owed_nothing_is_unmet() -> None:
    events, batches = OwedEvents([]), [batch(key(1))]

    assert list(events.watch(batches)) == batches
    assert events.unmet == Counter()
