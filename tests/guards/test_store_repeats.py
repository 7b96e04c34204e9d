"""Events of stores that Meta counts as one though their ids differ: counted in the run, and sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_capi.events.keys import store_keys
from offline_capi.guards.duplicates import SeenKeys, StoreRepeats

PERSON, OTHER = "a" * 64, "b" * 64
TIME = 1_795_000_000


def _warnings(build: Any, rows_of: Any, columns: dict[str, list[Any]], batches: int = 1) -> dict[str, int]:
    """What a run warns of, its rows in so many batches."""
    event = {
        "event_time": [TIME] * 2,
        "event_name": ["Lead"] * 2,
        "action_source": ["physical_store"] * 2,
        **{name: values for name, values in columns.items() if name.startswith("event_") or name == "action_source"},
    }
    people = {"em": [columns.get("em", [PERSON] * 2)]}
    custom = {name: columns[name] for name in ("order_id", "item_number") if name in columns}
    rows = rows_of(event, people, custom, client=columns.get("client"))
    repeats, counted = StoreRepeats(), {}
    for part in rows.split(len(rows) // batches):
        for code, number in repeats.add_warnings(build(part, now=_now())).warnings.items():
            counted[code] = counted.get(code, 0) + number
    return counted


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(TIME + 3600, UTC)


SAME_PERSON, SAME_ORDER = {"store_event_of_same_person": 1}, {"store_event_of_same_order": 1}

# D:offline-events: pixel, second, name, item number, and the order id or else everything that says who it was.
CASES: list[tuple[str, dict[str, list[Any]], dict[str, int]]] = [
    ("the same person at the same second", {}, SAME_PERSON),
    ("another second", {"event_time": [TIME, TIME + 1]}, {}),
    ("another name", {"event_name": ["Lead", "Contact"]}, {}),
    ("one name in two cases", {"event_name": ["Lead", "LEAD"]}, {"event_name_case": 1, **SAME_PERSON}),
    ("another person", {"em": [PERSON, OTHER]}, {}),
    ("another pixel", {"client": ["acme", "beta"]}, {}),
    ("events of no store", {"action_source": ["phone_call"] * 2}, {}),
    ("one of them of no store", {"action_source": ["physical_store", "phone_call"]}, {}),
    ("two orders", {"order_id": ["1", "2"]}, {}),
    ("one order", {"order_id": ["1", "1"]}, SAME_ORDER),
    ("one order of two people", {"order_id": ["1", "1"], "em": [PERSON, OTHER]}, SAME_ORDER),
    ("two lines of an order", {"order_id": ["1", "1"], "item_number": ["1", "2"]}, {}),
    ("an order and none", {"order_id": ["1", None]}, {}),
    ("two lines of no order", {"item_number": ["1", "2"]}, {}),
    ("the same event id", {"event_id": ["x", "x"]}, SAME_PERSON),
]


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize(("columns", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_meta_counts_as_one_is_counted_and_sent(rows_of, build, columns, expected, batches) -> None:
    assert _warnings(build, rows_of, columns, batches) == expected


def test_repeated_events_leave_the_others_of_their_batch_comparable(rows_of, build) -> None:
    """A batch of which one row repeats an event id loses that row, not what Meta counts as one among the others."""
    same = {"event_time": [TIME] * 3, "event_id": ["x", "x", "y"], "action_source": ["physical_store"] * 3}
    built = SeenKeys().reject_repeats(build(rows_of(same, {"em": [[PERSON] * 3]}), now=_now()))

    assert len(built.events) == 2
    assert StoreRepeats().add_warnings(built).warnings == SAME_PERSON


def test_a_row_that_stays_leaves_the_people_of_the_others_theirs(rows_of, build) -> None:
    """The first row is invalid: it has no id. Who the others are is read from their own digests."""
    same = {"event_time": [TIME] * 3, "event_id": [None, "x", "y"], "action_source": ["physical_store"] * 3}
    different = build(rows_of(same, {"em": [[PERSON, PERSON, OTHER]]}), now=_now())
    equal = build(rows_of(same, {"em": [[OTHER, PERSON, PERSON]]}), now=_now())

    assert StoreRepeats().add_warnings(different).warnings == {}
    assert StoreRepeats().add_warnings(equal).warnings == SAME_PERSON


SAME_START = "c" * 40
PEOPLE = st.tuples(
    st.sampled_from([None, PERSON, OTHER, "d" * 32, "e" * 32]),  # 32: an MD5, which the SDK's profile passes on
    st.sampled_from([None, PERSON, OTHER]),
    st.sampled_from([None, "7", SAME_START + "1" * 24, SAME_START + "2" * 24]),
    st.sampled_from([None, None, "1", "2"]),
)


@settings(deadline=None)
@given(st.lists(PEOPLE, min_size=1, max_size=12), st.integers(1, 3))
def test_who_a_store_event_is_depends_on_its_row_alone(rows_of, people, rows_a_batch) -> None:
    """And two are the same one just where all is the same, the order id alone where there is one."""
    em, ph, external_id, order_id = zip(*people, strict=True)
    same = {"event_time": [TIME] * len(people), "action_source": ["physical_store"] * len(people)}
    rows = rows_of(same, {"em": [em], "ph": [ph], "external_id": [external_id]}, {"order_id": order_id})

    def keys_of(some: Any) -> list[tuple[int, int]]:
        keys = store_keys(some, pa.repeat("1234567890", len(some)), some.identity, np.arange(len(some), dtype=np.int32))
        return list(zip(keys["high"].to_pylist(), keys["low"].to_pylist(), strict=True))

    keys = keys_of(rows)

    assert [key for batch in rows.split(rows_a_batch) for key in keys_of(batch)] == keys
    expected = [order if order else person for *person, order in people]
    assert [keys.index(key) for key in keys] == [expected.index(one) for one in expected]
