"""Who an event is."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.events import make_event_key, make_event_keys

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _strings(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def test_the_key_is_half_a_sha256_over_a_documented_join() -> None:
    expected = hashlib.sha256("10:12345678908:Purchaseorder-é".encode()).digest()[:16]

    assert make_event_key("1234567890", "Purchase", "order-é") == expected


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=20))
def test_columns_and_single_events_give_the_same_keys(events: list[tuple[str, str, str]]) -> None:
    columns = [_strings(*(event[part] for event in events)) for part in range(3)]

    keys = make_event_keys(*columns)

    assert keys.type == pa.binary(16)
    assert keys.to_pylist() == [make_event_key(*event) for event in events]


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_different_events_have_different_keys(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (make_event_key(*one) == make_event_key(*other)) == (one == other)


def test_no_shift_between_the_parts_makes_two_events_equal() -> None:
    shifted = [
        ("1", "ab", "c"),
        ("1", "a", "bc"),
        ("1", "abc", ""),
        ("1a", "b", "c"),
        ("1", "a1:b", "c"),
        ("1", "a", "1:bc"),
    ]

    assert len({make_event_key(*parts) for parts in shifted}) == len(shifted)


def test_a_key_needs_all_its_parts() -> None:
    keys = make_event_keys(_strings("1", None, "1"), _strings("a", "a", None), _strings("x", "x", "x"))

    assert keys.to_pylist() == [make_event_key("1", "a", "x"), None, None]


def test_a_slice_has_the_keys_of_its_rows() -> None:
    columns = [_strings(*(f"{part}{i}" for i in range(9))) for part in "abc"]

    assert make_event_keys(*(column.slice(3, 4) for column in columns)).equals(make_event_keys(*columns).slice(3, 4))
