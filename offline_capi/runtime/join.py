"""Columns of texts made of others: joined row by row, as the JSON of events is, rearranged, without some of the bytes.

The compiled module ``_join`` copies each byte once, where it could be built; Arrow makes a column of each value with
its literals first, and then one of them all. Both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, reduce
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.runtime.column_bytes import bytes_of, describe_column
from offline_capi.runtime.compiled import load_compiled

__all__ = ["Framed", "join_columns", "join_pieces", "join_texts", "remove_bytes", "take_texts", "write_integers"]

_join = load_compiled("_join")

#: Bytes that the compiled module may write beyond the last row.
SLACK_BYTES = 32
MAX_BYTES = 2**31 - 1
#: Of a 64-bit number: 19 digits and a sign.
INTEGER_CHARS = 20


class Framed(NamedTuple):
    """Literals around each value of a column; nothing at all where the value is null."""

    before: str
    column: pa.StringArray
    after: str

    def take(self, rows: NDArray[np.int32]) -> Framed:
        """The same of these rows."""
        return self._replace(column=self.column.take(pa.array(rows)))


def join_pieces(pieces: Iterable[str | Framed], rows: int, chosen: NDArray[np.int32] | None = None) -> pa.BinaryArray:
    """The pieces of each row, one after the other, as UTF-8; no row is null.

    ``chosen`` are the positions of the rows to join, each once; without it, all are joined. Raises ``ArrowInvalid``
    where that is more than 2 GiB.
    """
    merged, wanted = _merge_literals(pieces), rows if chosen is None else len(chosen)
    given = tuple(_describe(piece) for piece in merged)
    size = sum(wanted * (len(before) + len(after)) for before, after, *_ in given)
    size += sum(len(bytes_of(piece.column)[1]) for piece in merged if isinstance(piece, Framed))
    if _join is None or size + SLACK_BYTES > MAX_BYTES:
        if chosen is not None:
            merged = [piece if isinstance(piece, str) else piece.take(chosen) for piece in merged]
        return _join_with_arrow(merged).cast(pa.binary()) if wanted else pa.array([], pa.binary())
    offsets, out = np.empty(wanted + 1, np.int32), pa.allocate_buffer(size + SLACK_BYTES, resizable=True)
    out.resize(_join.join(given, wanted, b"" if chosen is None else chosen, offsets, out))
    return pa.Array.from_buffers(pa.binary(), wanted, [None, pa.py_buffer(offsets), out], null_count=0)


def join_columns(*pieces: str | pa.StringArray) -> pa.StringArray:
    """The pieces of each row, one after the other; null where a column is. One piece at least is a column.

    What Arrow's join gives, in a third to a sixth of its time.
    """
    columns = [piece for piece in pieces if not isinstance(piece, str)]
    framed = [piece if isinstance(piece, str) else Framed("", piece, "") for piece in pieces]
    joined = join_pieces(framed, len(columns[0])).cast(pa.string())
    known = [column.is_valid() for column in columns if column.null_count]
    return pc.if_else(reduce(pc.and_, known), joined, pa.scalar(None, pa.string())) if known else joined


def join_texts(column: pa.BinaryArray, before: bytes, between: bytes, after: bytes) -> memoryview:
    """``before``, the values (none is null) with ``between`` them, and ``after``, in one piece of memory."""
    rows, size = len(column), len(bytes_of(column)[1])
    bound = len(before) + size + rows * len(between) + len(after) + SLACK_BYTES
    if _join is None or not rows or bound > MAX_BYTES:
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, rows], pa.int32()), column), between)
        return memoryview(before + bytes(joined.buffers()[2] or b"") + after)
    out = memoryview(pa.allocate_buffer(bound)).cast("B")
    out[: len(before)] = before
    pieces = ((b"", between, *describe_column(column)),)
    end = len(before) + _join.join(pieces, rows, b"", np.empty(rows + 1, np.int32), out[len(before) :]) - len(between)
    out[end : end + len(after)] = after
    return out[: end + len(after)]


def take_texts(column: pa.BinaryArray, indices: NDArray[np.int64]) -> pa.BinaryArray:
    """The values at ``indices``, none of them null. Raises ``IndexError`` for one that lies outside of the column.

    Arrow does not add up what the values take before it copies them: it moves them each time that its memory is too
    small, half a microsecond for an event.
    """
    sizes = np.diff(bytes_of(column)[0])
    if _join is None or not len(sizes) or (size := int(sizes.take(indices).sum(dtype=np.int64))) > MAX_BYTES:
        return column.take(pa.array(indices))
    offsets, data, _, first, count = describe_column(column)
    ends, out = np.empty(len(indices) + 1, np.int32), pa.allocate_buffer(size)
    _join.take(offsets, data, first, count, np.ascontiguousarray(indices), ends, out)
    return pa.Array.from_buffers(column.type, len(indices), [None, pa.py_buffer(ends), out], null_count=0)


def write_integers(values: pa.Int64Array) -> pa.StringArray:
    """Each number in decimal, null where it is null: what Arrow's cast gives, in a fifth of its time."""
    rows = len(values)
    if _join is None or not rows or rows * INTEGER_CHARS > MAX_BYTES:
        return values.cast(pa.string())
    numbers = np.frombuffer(values.buffers()[1], np.int64, rows, values.offset * 8)
    offsets, out = np.empty(rows + 1, np.int32), pa.allocate_buffer(rows * INTEGER_CHARS, resizable=True)
    out.resize(_join.write_integers(numbers, offsets, out))
    valid = values.is_valid().buffers()[1] if values.null_count else None
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), out, valid, values.null_count)


def remove_bytes(text: pa.StringArray, unwanted: bytes) -> pa.StringArray:
    """The text without the ASCII characters in ``unwanted``: one pass over the bytes of the whole column."""
    offsets, content = bytes_of(text)
    stays = _list_kept(unwanted)
    if _join is None:
        written = content.tobytes()
        left: Any = written.translate(None, unwanted)
        before = np.zeros(len(content) + 1, np.int32)
        np.cumsum(np.frombuffer(written.translate(stays), np.uint8), out=before[1:])
        ends = before[offsets - offsets[0]]
    else:
        ends, left = np.empty(len(text) + 1, np.int32), np.empty(len(content), np.uint8)
        left = left[: _join.keep_bytes(*describe_column(text), stays, ends, left)]
    if len(left) == len(content):
        return text
    valid = pc.is_valid(text).buffers()[1] if text.null_count else None
    return pa.Array.from_buffers(pa.string(), len(text), [valid, pa.py_buffer(ends), pa.py_buffer(left)])


@cache
def _list_kept(unwanted: bytes) -> bytes:
    """1 for each of 256 bytes that stays."""
    return bytes(byte not in unwanted for byte in range(256))


def _merge_literals(pieces: Iterable[str | Framed]) -> list[str | Framed]:
    """The same with neighbouring literals as one; those around a column without nulls are their neighbours'."""
    apart: list[str | Framed] = []
    for piece in pieces:
        if isinstance(piece, str) or piece.column.null_count:
            apart.append(piece)
        else:
            apart += [piece.before, Framed("", piece.column, ""), piece.after]
    runs = groupby(apart, key=lambda piece: isinstance(piece, str))
    return [piece for literal, run in runs for piece in (_join_literals(run) if literal else run)]


def _join_literals(literals: Iterable[Any]) -> list[str]:
    whole = "".join(literals)
    return [whole] if whole else []


def _describe(piece: str | Framed) -> tuple[Any, ...]:
    """As ``_join.join`` takes it."""
    if isinstance(piece, str):
        return piece.encode(), b"", b"", b"", b"", 0, 0
    return piece.before.encode(), piece.after.encode(), *describe_column(piece.column)


def _join_with_arrow(pieces: Sequence[str | Framed]) -> pa.StringArray:
    texts = [piece if isinstance(piece, str) else _frame(piece) for piece in pieces]
    return pc.binary_join_element_wise(*texts, "", null_handling="replace", null_replacement="")


def _frame(piece: Framed) -> pa.StringArray:
    literals = [one for one in (piece.before, piece.after) if one]
    if not literals:
        return piece.column
    parts = [one for one in (piece.before, piece.column, piece.after) if not isinstance(one, str) or one]
    return pc.binary_join_element_wise(*parts, "")
