"""SHA-256 of whole columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import polars_hash as plh
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.text import as_text, frame, strings

__all__ = ["digest", "digests", "spread"]


def digest(values: Any) -> pa.Array:
    """SHA-256 of the UTF-8 bytes of each value, 64 lower-case hex; null stays null. Nothing is normalised here."""
    return digests(as_text(values))


def spread(values: pa.Array, rows: pa.Array) -> pa.Array:
    """``values.take(rows)`` for digests: all are 64 bytes long, so that rows of bytes can be copied."""
    if values.null_count or not len(values) or len(rows) * _LENGTH > _INT32:
        return values.take(rows)
    words = np.frombuffer(values.buffers()[2], np.uint64, len(values) * _WORDS, values.offset * _LENGTH)
    chosen = words.reshape(-1, _WORDS).take(pc.fill_null(rows, 0).to_numpy(), axis=0)
    offsets = np.arange(0, (len(rows) + 1) * _LENGTH, _LENGTH, dtype=np.int32)
    valid = pc.is_valid(rows).buffers()[1] if rows.null_count else None
    parts = [valid, pa.py_buffer(offsets), pa.py_buffer(chosen.reshape(-1))]
    return pa.Array.from_buffers(pa.string(), len(rows), parts)


_LENGTH = 64
_WORDS = _LENGTH // 8
_INT32 = 2**31 - 1  # Arrow's plain strings count bytes so far; longer ones do not occur in batches


def digests(text: pa.Array) -> pa.Array:
    return strings(frame(text=text).select(plh.col("text").chash.sha2_256()).to_series().cast(pl.String))
