"""SHA-256 of whole columns."""

from __future__ import annotations

from typing import Any

import polars_hash as plh
import pyarrow as pa

from offline_capi.identity.text import as_text, frame, strings

__all__ = ["digest", "digests"]


def digest(values: Any) -> pa.Array:
    """SHA-256 of the UTF-8 bytes of each value, 64 lower-case hex; null stays null. Nothing is normalised here."""
    return digests(as_text(values))


def digests(text: pa.Array) -> pa.Array:
    return strings(frame(text=text).select(plh.col("text").chash.sha2_256()).to_series())
