"""Texts found in a list: compiled or by Arrow, the positions are those of Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.runtime import lookup
from offline_capi.runtime.lookup import TextIndex

#: Around the lengths that are read at once, 4 and 8 bytes, and texts that differ in one place.
TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers(0, 40).map("x".__mul__),
    st.tuples(st.integers(0, 18), st.integers(0, 18)).map(lambda at: "a" * at[0] + "b" + "a" * at[1]),
)


@pytest.fixture(params=["compiled", "arrow"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "arrow":
        monkeypatch.setattr(lookup, "_lookup", None)


@given(
    known=st.lists(st.lists(TEXTS, max_size=8), max_size=4),
    sought=st.lists(st.one_of(st.none(), TEXTS), max_size=20),
    start=st.integers(0, 4),
)
def test_positions_are_those_of_a_dictionary(known: list[list[str]], sought: list[str | None], start: int) -> None:
    index, expected = TextIndex(), {}
    for texts in known:
        fresh = [text for text in dict.fromkeys(texts) if text not in expected]
        expected |= {text: len(expected) + at for at, text in enumerate(fresh)}
        index.add(pa.array(["", *fresh], pa.string())[1:])
    asked = sought[start:]

    positions, unknown = index.find(pa.array(sought, pa.string()).slice(start))

    positions.validate(full=True)
    assert positions.to_pylist() == [None if text is None else expected.get(text) for text in asked]
    assert unknown == sum(text is not None and text not in expected for text in asked)
    assert index.texts.to_pylist() == list(expected)


def test_a_list_grows_beyond_its_first_table() -> None:
    index, count = TextIndex(), 5_000
    texts = pa.array([f"text {number}" for number in range(count)])
    for at in range(0, count, 700):
        index.add(texts.slice(at, 700))

    assert index.find(texts)[0].to_pylist() == list(range(count))
    assert index.find(pa.array(["text", f"text {count}"]))[1] == 2
    assert index.nbytes >= texts.nbytes


def test_buffers_that_do_not_fit_are_refused() -> None:
    if lookup._lookup is None:
        return
    _, offsets, data = pa.array(["abc", "d"]).buffers()
    good, slots, out = (offsets, data, b"", 0, 2), np.zeros(4, np.uint64), np.zeros(2, np.int32)
    lookup._lookup.add(slots, good, 0)
    assert lookup._lookup.find(slots, good, good, out) == 0
    assert out.tolist() == [0, 1]

    for listed, asked, table, room in (
        ((offsets, data, b"", 1, 2), good, slots, out),
        (good, (offsets, data, b"", -1, 2), slots, out),
        (good, (offsets, b"abc", b"", 0, 2), slots, out),
        (good, good, np.zeros(3, np.uint64), out),
        (good, good, np.zeros(2, np.uint64), out),
        (good, good, np.zeros(0, np.uint64), out),
        (good, good, slots, np.zeros(1, np.int32)),
    ):
        with pytest.raises(ValueError, match=r"buffer|offset|table|output"):
            lookup._lookup.find(table, listed, asked, room)
    with pytest.raises(ValueError, match="position"):
        lookup._lookup.add(slots, good, -1)


def test_a_table_without_an_empty_slot_or_with_wrong_positions_ends() -> None:
    if lookup._lookup is None:
        return
    _, offsets, data = pa.array(["abc", "d"]).buffers()
    full, out = np.full(4, np.iinfo(np.uint64).max), np.zeros(2, np.int32)

    assert lookup._lookup.find(full, (offsets, data, b"", 0, 2), (offsets, data, b"", 0, 2), out) == 2
