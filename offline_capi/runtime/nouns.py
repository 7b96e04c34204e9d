"""Numbers with their nouns."""

from __future__ import annotations

__all__ = ["count_noun"]


def count_noun(number: int, noun: str) -> str:
    """``1 upload``, ``2 uploads``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
