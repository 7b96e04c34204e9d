"""Formats of times: which directives are read, and what zone a format itself names."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["ISO_FORMAT", "find_format_problem", "find_named_offset"]

ISO_FORMAT = "iso"
# Python's directives that polars reads alike. %Z is not among them: it would be skipped and its zone lost.
_DIRECTIVES = frozenset("YymdbBaAHIMSpfzjTFDR%")
_DAYS = frozenset({frozenset("d"), frozenset("j"), frozenset("F"), frozenset("D")})
#: Words that end a time and are UTC; an offset in digits names itself.
_UTC = re.compile(r"(?<![A-Za-z])(?:Z|UTC|GMT)(?![A-Za-z])")
_OFFSET = re.compile(r"([+-])([01]\d):?([0-5]\d)(?!\d)")
#: Abbreviations that several zones share, or that say summer time of a date in winter: no offset can be made of them.
_ABBREVIATIONS = re.compile(
    r"(?<![A-Za-z])(?:[ECMP][SD]T|AK[SD]T|HST|CEST|CET|EEST|EET|WEST|WET|BST|IST|JST|KST|MSK|SGT|AE[SD]T|AW[SD]T|NZ[SD]T)"
    r"(?![A-Za-z])"
)


def find_format_problem(form: str) -> str | None:
    """Why a format cannot name one moment or one day, for the author of the YAML; ``None`` where it can."""
    if form == ISO_FORMAT:
        return None
    directives = set(re.findall(r"%[-_0]?(.)", form))
    if odd := sorted(directives - _DIRECTIVES):
        return f'"%{odd[0]}" cannot be read; use %z for offsets, and numbers or month names for the rest'
    if not directives & set("YyFD") or not any(day <= directives for day in _DAYS):
        return f'"{form}" does not name a year and a day'
    if directives & set("HTR") and "p" in directives:
        return f'"{form}" has hours of 24 together with %p; write %I for hours of 12'
    if "I" in directives and "p" not in directives:
        return f'"{form}" has hours of 12 without %p for the half of the day; write %H for hours of 24'
    if directives & set("HI") and "M" not in directives:
        return f'"{form}" has hours without minutes (%M)'
    if found := _ABBREVIATIONS.search(_remove_directives(form)):
        return (
            f'"{found[0]}" in "{form}" is text, and its zone would be lost; cut it off in the source and set timezone,'
            " or export an offset and write %z"
        )
    return None


def find_named_offset(form: str) -> timedelta | None:
    """The offset that stands in the format itself, as ``Z`` or ``+00:00``; ``None`` where none does."""
    literal = _remove_directives(form)
    if _UTC.search(literal):
        return timedelta(0)
    if found := _OFFSET.search(literal):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return -offset if found[1] == "-" else offset
    return None


def _remove_directives(form: str) -> str:
    return re.sub(r"%[-_0]?.", "\0", form)
