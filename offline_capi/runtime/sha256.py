"""SHA-256 of every value of a string column: to 64 hex digits, or to the first 16 bytes.

The compiled module ``_sha256`` does it where it could be built (``pip install`` builds it if there is a C compiler and
goes on without it if there is none), polars-hash otherwise; both give the same bytes. ``KERNEL`` says which is used.
"""

from __future__ import annotations

from binascii import unhexlify

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.runtime.column_bytes import describe_column
from offline_capi.runtime.compiled import load_compiled

__all__ = ["KERNEL", "hash_to_hex", "hash_to_keys"]

HEX_DIGITS = 64
KEY_BYTES = 16

_sha256 = load_compiled("_sha256")

#: What computes SHA-256 in this process: ``sha-ni``, ``armv8``, ``portable``, or ``polars-hash``.
KERNEL: str = _sha256.choose_kernel() if _sha256 is not None else "polars-hash"


def hash_to_hex(text: pa.StringArray) -> pa.StringArray:
    """The digest of the UTF-8 bytes of each value, lower-case hex; null stays null."""
    if _sha256 is None:
        return _hash_with_polars(text)
    offsets, out = np.empty(len(text) + 1, np.int32), np.empty(len(text) * HEX_DIGITS, np.uint8)
    written = _sha256.hash_to_hex(*describe_column(text), offsets, out)
    valid = text.is_valid().buffers()[1] if text.null_count else None
    return pa.StringArray.from_buffers(
        len(text), pa.py_buffer(offsets), pa.py_buffer(out).slice(0, written), valid, text.null_count
    )


def hash_to_keys(text: pa.StringArray) -> pa.FixedSizeBinaryArray:
    """The first 16 bytes of the digest of each value, as ``fixed_size_binary(16)``; null stays null."""
    if _sha256 is None:
        hexed = _hash_with_polars(text)
        hexed = hexed.fill_null("0" * HEX_DIGITS) if hexed.null_count else hexed
        first, length = hexed.offset * HEX_DIGITS, len(hexed) * HEX_DIGITS
        whole = np.frombuffer(unhexlify(hexed.buffers()[2].slice(first, length) if length else b""), np.uint8)
        keys = np.ascontiguousarray(whole.reshape(-1, HEX_DIGITS // 2)[:, :KEY_BYTES])
    else:
        keys = np.zeros((len(text), KEY_BYTES), np.uint8)
        _sha256.hash_to_keys(*describe_column(text), keys.reshape(-1))
    made = pa.Array.from_buffers(pa.binary(KEY_BYTES), len(text), [None, pa.py_buffer(keys)])
    return pc.if_else(text.is_valid(), made, None) if text.null_count else made


def _hash_with_polars(text: pa.StringArray) -> pa.StringArray:
    import polars as pl
    import polars_hash as plh

    column = pl.DataFrame({"text": pl.from_arrow(text)}).select(plh.col("text").chash.sha2_256()).to_series()
    return column.to_arrow().cast(pa.string())
