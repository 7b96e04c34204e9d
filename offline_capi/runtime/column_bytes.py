"""A column of text as its bytes: whether, and where, a mark stands in it, at a fraction of a regular expression's cost.

Most columns hold none of the marks that normalising and mapping look for, and only the values that do are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["bytes_of", "holds", "where_begins", "where_only"]


def bytes_of(text: pa.Array) -> tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Where each value begins, and the bytes of all values: of this slice, not of the column it was cut from."""
    _, starts, data = text.buffers()
    if starts is None or not len(text):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    offsets = np.frombuffer(starts, np.int32, len(text) + 1, text.offset * 4)
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return offsets, content[offsets[0] : offsets[-1]]


def where_begins(text: pa.Array, marks: bytes) -> pa.BooleanArray | None:
    """Where a value may begin with one of ``marks``: looked for in the bytes of the column, never missed.

    ``None``: nowhere.
    """
    offsets, content = bytes_of(text)
    if not len(content):
        return None
    is_mark = np.zeros(256, bool)
    is_mark[list(marks)] = True
    where = is_mark[content.take((offsets[:-1] - offsets[0]).astype(np.intp), mode="clip")]
    return pa.array(where) if where.any() else None


def holds(text: pa.Array, *parts: str) -> bool:
    """Whether one of ``parts`` stands anywhere in the column."""
    _, content = bytes_of(text)
    written = content.tobytes()
    return any(part.encode() in written for part in parts)


def where_only(text: pa.Array, where: pa.BooleanArray, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The text, with ``change`` made to the values at ``where`` alone."""
    return pc.replace_with_mask(text, where, change(text.filter(where)))
