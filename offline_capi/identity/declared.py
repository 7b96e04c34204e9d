"""Columns declared as SHA-256 already: checked, never guessed."""

from __future__ import annotations

import pyarrow as pa

from offline_capi.identity import placeholders
from offline_capi.identity.text import is_one_of, lowered, matches
from offline_capi.identity.verdict import Cause, Readable, Usable

__all__ = ["declared_digest"]


def declared_digest(readable: Readable) -> Usable:
    """64 hex digits in lower case; MD5, SHA-1 and the digest of a placeholder are dropped by name."""
    usable = Usable(lowered(readable.text))
    usable = usable.refuse(Cause.PLACEHOLDER, is_one_of(usable.text, placeholders.WORDS))
    usable = usable.refuse(Cause.MD5, matches(usable.text, "^[0-9a-f]{32}$"))
    usable = usable.refuse(Cause.SHA1, matches(usable.text, "^[0-9a-f]{40}$"))
    usable = usable.keep(Cause.NOT_SHA256, matches(usable.text, "^[0-9a-f]{64}$"))
    usable = usable.refuse(Cause.HASH_OF_PLACEHOLDER, is_one_of(usable.text, placeholders.HASHES))
    return Usable(usable.text, usable.cause, pa.repeat(pa.scalar(value=True), len(readable)))
