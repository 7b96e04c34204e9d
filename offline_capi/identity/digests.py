"""SHA-256 of whole columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from offline_capi.identity.text import as_text
from offline_capi.runtime.sha256 import hash_to_hex

__all__ = ["digest"]


def digest(values: Any) -> pa.Array:
    """SHA-256 of the UTF-8 bytes of each value, 64 lower-case hex; null stays null. Nothing is normalised here."""
    return hash_to_hex(as_text(values))
