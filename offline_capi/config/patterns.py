"""Regular expressions that an upload may hold: RE2's, which reads any text in linear time.

RE2 itself comes with pyarrow, which is too heavy for reading a configuration. What people write most that RE2 lacks is
found here; the rest is refused by ``check`` and by a run before anything is sent.
"""

from __future__ import annotations

import re

__all__ = ["MAX_PATTERN_CHARS", "find_pattern_problem", "name_group"]

MAX_PATTERN_CHARS = 500

_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?P?<(?![=!])\w*>|\(\?|\(|.", re.DOTALL
)
_FOREIGN = (
    (re.compile(r"\(\?(?:=|!|<=|<!)"), "looks ahead or behind"),
    (re.compile(r"\(\?P=|(?:^|[^\\])(?:\\\\)*\\[1-9]"), "refers back to a group"),
    (re.compile(r"\(\?[>(]|[*+?}]\+"), "has an atomic group, a condition or a possessive repeat"),
)


def find_pattern_problem(pattern: str, *, one_group: bool = False) -> str | None:
    """Why a pattern cannot be used; ``None`` where nothing is known against it."""
    if not pattern:
        return "is empty"
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"is longer than {MAX_PATTERN_CHARS} characters"
    plain = re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "", pattern)
    for shape, what in _FOREIGN:
        if shape.search(plain):
            return f"{what}, which RE2 does not know: see github.com/google/re2/wiki/Syntax"
    if one_group and len(_find_groups(pattern)) > 1:
        return "has several groups; write (?:…) for all but the one to keep"
    return None


def name_group(pattern: str, name: str) -> str:
    """The pattern with its one group named ``name``; around the whole where it has none."""
    groups = _find_groups(pattern)
    if not groups:
        return f"(?P<{name}>{pattern})"
    start, end = groups[0]
    return f"{pattern[:start]}(?P<{name}>{pattern[end:]}"


def _find_groups(pattern: str) -> list[tuple[int, int]]:
    """Where capturing groups begin: the span of what opens each."""
    opening = (match for match in _TOKEN.finditer(pattern) if match[0] == "(" or re.match(r"\(\?P?<", match[0]))
    return [match.span() for match in opening]
