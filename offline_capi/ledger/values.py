"""The value of an event when it was sent, in three bytes, to detect later that its row has another value now.

A request keeps one mark for each of its events, in no order that matters: 24 bits of the event's key, value and
currency together. An unchanged event finds its mark again, always. A changed one does not, but for one in 16,000 where
the request had a thousand events (1,000 / 2**24): it goes uncounted, and no unchanged event is ever counted.

A mark for each key in the index would be as large and would have to be carried through every merge. A mark
reveals no value without the event's key, and none for certain with it.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.model import EventBatch

__all__ = ["MARK_BYTES", "compute_value_marks", "have_changed", "pack_marks"]

MARK_BYTES = 3
_SHIFT_BITS = np.uint64(64 - 8 * MARK_BYTES)
#: splitmix64's constants: every bit of what goes in changes half of those that come out. Marks are kept: never change.
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def compute_value_marks(events: EventBatch) -> NDArray[np.uint32]:
    """The mark of each event; a missing value or currency is one of its own."""
    keys: NDArray[np.uint64] = np.frombuffer(events.key_bytes, np.uint64)[::2]
    mixed = _mix_bits(keys ^ _mix_bits(_read_bits(events.table.column("value"))) + _hash_currencies(events) * _STEP)
    return (mixed >> _SHIFT_BITS).astype(np.uint32)


def pack_marks(events: EventBatch) -> bytes:
    """The marks as a request keeps them."""
    return events.derive(_pack_value_marks).tobytes()


def _pack_value_marks(events: EventBatch) -> NDArray[np.uint8]:
    marks = compute_value_marks(events).astype("<u4")
    return np.ascontiguousarray(marks.view(np.uint8).reshape(-1, 4)[:, :MARK_BYTES])


def have_changed(marks: NDArray[np.uint32], kept: bytes) -> NDArray[np.bool_]:
    """Which of the events, all of one request, are not worth what they were when it was sent."""
    packed = np.frombuffer(kept, np.uint8).reshape(-1, MARK_BYTES)
    known = np.zeros((len(packed), 4), np.uint8)
    known[:, :MARK_BYTES] = packed
    return ~np.isin(marks, known.view("<u4").ravel(), kind="sort")  # a table of 2**24 places would take 16 MiB


def _read_bits(values: pa.Array) -> NDArray[np.uint64]:
    """As they lie in memory: a kernel of Arrow's takes longer than all else here, and releases the GIL."""
    stored = np.frombuffer(values.buffers()[1] or bytes(8 * (values.offset + len(values))), np.float64)
    exact = stored[values.offset : values.offset + len(values)] + 0.0  # -0.0 is 0.0
    if values.null_count:
        exact[pc.is_null(values).to_numpy(zero_copy_only=False)] = np.nan
    return exact.view(np.uint64)


def _hash_currencies(events: EventBatch) -> NDArray[np.uint64]:
    column = events.table.column("currency")
    common = events.find_common("currency")
    if common is not None:
        return np.full(len(events), crc32(common.encode()), np.uint64)
    encoded = column.dictionary_encode(null_encoding="encode")
    codes = [crc32((text or "").encode()) for text in encoded.dictionary.to_pylist()]
    return np.array(codes, np.uint64)[encoded.indices.to_numpy()] if codes else np.zeros(0, np.uint64)


def _mix_bits(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))
