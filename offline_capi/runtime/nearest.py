"""The nearest of the names that would have been right, for people who mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name most like ``name``, whatever its case, or ``None`` where none is near."""
    by_folded = {known.casefold(): known for known in names}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], *, otherwise: str = "") -> str:
    """``; did you mean "…"?`` to end a sentence with, or ``otherwise``."""
    close = nearest(name, names)
    return f'; did you mean "{close}"?' if close else otherwise
