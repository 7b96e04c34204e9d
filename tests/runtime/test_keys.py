"""What the compiled search for keys refuses; what it finds: tests/guards/test_duplicates.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offline_capi.runtime.compiled import load_compiled

KEYS = load_compiled("_keys")


def _words(*values: int) -> Any:
    return np.array(values, np.uint64)


def _table(slots: int = 8, room: int = 3, low: int | None = None) -> tuple[Any, Any, Any]:
    return np.zeros(slots, np.uint32), np.zeros(room, np.uint64), np.zeros(room if low is None else low, np.uint64)


def test_a_table_that_does_not_fit_is_refused() -> None:
    if KEYS is None:
        return
    places, rows = np.empty(3, np.int32), np.empty(3, np.int32)
    three, table = (_words(1, 2, 1), _words(7, 7, 7)), _table()
    assert KEYS.add(*table, 0, *three, places, rows) == 2
    assert (places.tolist(), rows[:2].tolist()) == ([0, 1, 0], [0, 1])
    assert KEYS.add(*table, 2, _words(2), _words(8), places, rows) == 1

    for bad, used, keys, out in (
        (_table(7), 0, three, (places, rows)),
        (_table(2), 0, three, (places, rows)),
        (_table(0), 0, three, (places, rows)),
        (_table(room=2), 0, three, (places, rows)),
        (_table(low=2), 0, three, (places, rows)),
        (_table(), 1, three, (places, rows)),
        (_table(), -1, three, (places, rows)),
        (_table(), 0, (three[0], _words(1)), (places, rows)),
        (_table(), 0, three, (places[:2], rows)),
        (_table(), 0, three, (places, rows[:2])),
    ):
        with pytest.raises(ValueError, match=r"room|slots|too short"):
            KEYS.add(*bad, used, *keys, *out)


def test_a_fence_that_does_not_fit_is_refused() -> None:
    if KEYS is None:
        return
    starts, rests = np.array([0, 1, 2], np.uint32), np.array([5, 9], np.uint16)
    rows, places, high = np.empty(2, np.int32), np.empty(2, np.int32), _words((1 << 63) | (9 << 47), 5 << 47)
    assert KEYS.search(starts, rests, 0, high, rows, places) == 2
    assert places.tolist() == [1, 0]
    assert KEYS.search(np.array([0, 9, 9], np.uint32), rests, 0, high, rows, places) == 0  # beyond its keys

    for bad, skipped, out in (
        (starts[:2], 0, (rows, places)),
        (np.zeros(4, np.uint32), 0, (rows, places)),
        (starts[:0], 0, (rows, places)),
        (starts, 48, (rows, places)),
        (starts, -1, (rows, places)),
        (starts, 0, (rows[:1], places)),
        (starts, 0, (rows, places[:1])),
    ):
        with pytest.raises(ValueError, match=r"fence|too short"):
            KEYS.search(bad, rests, skipped, high, *out)
