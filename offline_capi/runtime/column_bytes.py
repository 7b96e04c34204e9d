"""A column of text as its bytes: whether, and where, a mark stands in it, at a fraction of a regular expression's cost.

Most columns hold none of the marks that normalising and mapping look for, and only the values that do are changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "BLANK_STARTS",
    "bytes_of",
    "compute_once_each",
    "count_empty",
    "describe_column",
    "encode_distinct",
    "find_parts",
    "holds",
    "needs_escape",
    "needs_trim",
    "where_begins",
    "where_ends",
    "where_not_ascii",
    "where_only",
]

#: Searched at once: a copy of this size stays in the processor's cache.
WINDOW_BYTES = 1 << 16
FIRST_PRINTABLE = 0x20
#: Of so many values it is seen whether they repeat.
SAMPLE_ROWS = 512
#: First bytes of white space: ASCII's, and that of other scripts (U+0085, 00A0, 1680, 2000 to 205F, 3000).
BLANK_STARTS = bytes([*range(0x21), 0xC2, 0xE1, 0xE2, 0xE3])


def bytes_of(text: pa.Array) -> tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Where each value begins, and the bytes of all values: of this slice, not of the column it was cut from."""
    _, starts, data = text.buffers()
    if starts is None or not len(text):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    offsets = np.frombuffer(starts, np.int32, len(text) + 1, text.offset * 4)
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return offsets, content[offsets[0] : offsets[-1]]


def describe_column(text: pa.StringArray) -> tuple[Any, Any, Any, int, int]:
    """As compiled modules take a column (``_columns.h``): offsets, data, validity, and which values are meant."""
    validity, offsets, data = text.buffers()
    if offsets is None:  # Arrow allows an empty column without buffers
        return bytes(4), b"", b"", 0, 0
    return offsets, data or b"", (validity if text.null_count else None) or b"", text.offset, len(text)


def where_begins(text: pa.Array, marks: bytes) -> pa.BooleanArray | None:
    """Where a value may begin with one of ``marks``: looked for in the bytes of the column, never missed.

    ``None``: nowhere.
    """
    offsets, content = bytes_of(text)
    return _marked(content, offsets[:-1] - offsets[0], marks)


def where_ends(text: pa.Array, marks: bytes) -> pa.BooleanArray | None:
    """The same for the end of a value."""
    offsets, content = bytes_of(text)
    return _marked(content, offsets[1:] - offsets[0] - 1, marks)


def _marked(
    content: np.ndarray[Any, np.dtype[np.uint8]], at: np.ndarray[Any, np.dtype[np.int32]], marks: bytes
) -> pa.BooleanArray | None:
    if not len(content) or not _may_hold(content, marks):
        return None
    is_mark = np.zeros(256, bool)
    is_mark[list(marks)] = True
    where = is_mark[content.take(at.astype(np.intp), mode="clip")]
    return pa.array(where) if where.any() else None


def _may_hold(content: np.ndarray[Any, np.dtype[np.uint8]], marks: bytes) -> bool:
    """Whether one of the marks lies between the least and the greatest byte: a column of ids or codes has no blank."""
    least, greatest = int(content.min()), int(content.max())
    return any(least <= mark <= greatest for mark in marks)


def needs_trim(text: pa.Array) -> bool:
    """Whether white space of any script may stand anywhere in the column.

    Also where the column begins within its buffer, as a cast slice does, so that trimming copies it: of such a column
    ``ascii_lower`` cuts off the first bytes (pyarrow 26).
    """
    offsets, content = bytes_of(text)
    return len(content) > 0 and (offsets[0] > 0 or _may_hold(content, BLANK_STARTS))


def count_empty(text: pa.Array) -> int:
    """How many values have no bytes; nulls count where they have none."""
    offsets, _ = bytes_of(text)
    return int(np.count_nonzero(offsets[1:] == offsets[:-1])) if len(offsets) == len(text) + 1 else len(text)


def encode_distinct(text: pa.StringArray | pa.DictionaryArray) -> pa.DictionaryArray:
    """The distinct values and which of them each row has; a column of one value is recognised by its bytes."""
    if isinstance(text, pa.DictionaryArray):
        return text
    if _has_one_value(text):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(text), np.int32)), text.slice(0, 1))
    return text.dictionary_encode()


def compute_once_each(values: pa.Array, compute: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """``compute(values)``, once for each distinct value where a sample says that they repeat, as amounts do.

    What it makes of a value must depend on that value alone.
    """
    sample = values.slice(0, SAMPLE_ROWS)
    if len(sample.unique()) * 2 > len(sample):
        return compute(values)
    encoded = values.dictionary_encode()
    return compute(encoded.dictionary).take(encoded.indices)


def _has_one_value(text: pa.StringArray) -> bool:
    """Whether all rows have the same, and none is null: each value is then equal to the next one."""
    offsets, content = bytes_of(text)
    if not len(text) or text.null_count:
        return False
    width = int(offsets[1] - offsets[0])
    if width * len(text) != len(content) or not np.array_equal(content[:width], content[width : 2 * width][:width]):
        return len(text) == 1
    return bool((np.diff(offsets) == width).all()) and np.array_equal(content[width:], content[: len(content) - width])


def where_not_ascii(text: pa.Array) -> pa.BooleanArray | None:
    """Where a value has a byte above 127; false where it is null. ``None``: nowhere."""
    offsets, content = bytes_of(text)
    if not len(content) or content.max() < 128:
        return None
    windows = range(0, len(content), WINDOW_BYTES)
    at = np.concatenate([(content[start : start + WINDOW_BYTES] > 127).nonzero()[0] + start for start in windows])
    where = np.zeros(len(text), bool)
    where[np.searchsorted(offsets, at + offsets[0], side="right") - 1] = True
    return pa.array(where) if text.null_count == 0 else pc.and_(pa.array(where), pc.is_valid(text))


def holds(text: pa.Array, *parts: str) -> bool:
    """Whether one of ``parts`` stands anywhere in the column."""
    return any(True for _ in _found(text, parts))


def needs_escape(text: pa.Array) -> bool:
    """Whether JSON would escape a character of the column: one below U+0020, a quote or a backslash (RFC 8259, 7)."""
    _, content = bytes_of(text)
    if not len(content):
        return False
    least = int(content.min())
    return least < FIRST_PRINTABLE or holds(text, *('"' if least <= ord('"') else ""), "\\")


def find_parts(text: pa.Array, *parts: str) -> frozenset[str]:
    """Those of ``parts`` that stand anywhere in the column, found in one pass over its bytes."""
    return frozenset(_found(text, parts))


def _found(text: pa.Array, parts: tuple[str, ...]) -> Iterator[str]:
    """Each part once, as soon as it is met."""
    _, content = bytes_of(text)
    wanted = {part: part.encode() for part in parts}
    longest = max(map(len, wanted.values()))
    for start in range(0, len(content), WINDOW_BYTES):
        window = content[start : start + WINDOW_BYTES + longest - 1].tobytes()
        for part, sought in list(wanted.items()):
            # Python looks for one byte with memchr, for several byte by byte.
            if sought[:1] in window and (len(sought) == 1 or sought in window):
                del wanted[part]
                yield part


def where_only(text: pa.Array, where: pa.BooleanArray, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The text, with ``change`` made to the values at ``where`` alone."""
    chosen = text.filter(where)
    changed = change(chosen)
    return text if changed is chosen else pc.replace_with_mask(text, where, changed)
