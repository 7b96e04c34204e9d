"""Ids as the system wrote them that made them: what a spreadsheet or a float added is undone, or reported.

Undone, because it is certain: ``="1001"`` and ``'1002`` (marks by which a spreadsheet keeps text as text), and ``3.0``
(a whole number that went through a column of floats: the same number is ``3`` in every other source). Never undone:
``1.18E+15``, of which digits are gone. The letters that Meta's Lead Ads export puts before ids, phone numbers and
postal codes (``l:1180…``, ``p:+49…``, ``z:02134``) are undone like a spreadsheet's marks.

``count_rounded_to_15`` finds what no single value shows: a column of which every long number ends in zeros where a
spreadsheet keeps no digits.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.runtime.column_bytes import bytes_of, find_parts, holds, where_ends, where_only

__all__ = [
    "count_rounded_to_15",
    "find_damaged",
    "is_damaged",
    "strip_decoration",
    "strip_one_zero_fraction",
    "strip_zero_fraction",
]

_FORMULA = r'^\s*="([^"]*)"\s*$'
# Only before what is a number, a date or a phone number as a whole: names begin with an apostrophe, too ('t Hart).
_APOSTROPHE = r"^\s*'(\+?\d[\d.,:/+\- ]*)$"
_WHOLE = r"^(-?(?:0|[1-9]\d{0,17}))\.0+$"
#: Meta's Lead Ads export (meta-capi.md 15, on 4): a letter or two and a colon, so that a spreadsheet reads text.
_META_MARK = (
    r"^(?:(?:l|f|c|ag|as):([0-9]{10,20}|<test lead.*)|p:(\+?[0-9() ./-]{7,}|<test lead.*)"
    r"|z:([0-9A-Za-z][0-9A-Za-z -]{2,9}|<test lead.*))$"
)
_EXPONENT = r"^\s*[+-]?\d(?:[.,]\d+)?[eE]\+\d{2,3}\s*$"


def strip_decoration(text: pa.StringArray) -> pa.StringArray:
    """Without the marks of a spreadsheet, or of Meta's Lead Ads export, that say "this is text"."""
    found = find_parts(text, *(mark for mark, *_ in _MARKS))
    # Nearly all columns that hold a mark hold it elsewhere than where values begin.
    for mark, positions, shape, kept in _MARKS:
        if mark in found and _begin_with(mark, text, positions):
            text = pc.replace_substring_regex(text, shape, kept)
    return text


def _begin_with(mark: str, text: pa.StringArray, positions: tuple[int, ...]) -> bool:
    """Whether a mark may stand at one of the ``positions`` of any value; at the first, also behind blanks."""
    offsets, stored = bytes_of(text)
    starts = (offsets[:-1] - offsets[0]).astype(np.intp)
    for position in positions:
        found = stored.take(starts + position, mode="clip")
        if (found == ord(mark)).any() or (position == 0 and (found <= ord(" ")).any()):
            return True
    return False


#: A mark, at which bytes of a value it may stand, the whole shape, and what is kept of it.
_MARKS = (
    ("=", (0,), _FORMULA, r"\1"),
    ("'", (0,), _APOSTROPHE, r"\1"),
    (":", (1, 2), _META_MARK, r"\1\2\3"),
)


#: So many digits a spreadsheet keeps of a number (IEEE 754, as Excel shows it); the rest become zeros.
KEPT_DIGITS = 15
#: Zeros at the end that chance does not explain: one in a million.
CERTAIN_ZEROS = 6
_SAMPLE_VALUES = 64


def count_rounded_to_15(text: pa.StringArray) -> int:
    """How many values are numbers that a spreadsheet seems to have rounded to 15 digits; 0 unless all long ones are.

    A number of 16 to 25 digits is long. One id may well end in zeros, so all of a column's together have to have more
    zeros there than chance explains.
    """
    is_long, is_cut = rf"^[0-9]{{{KEPT_DIGITS + 1},25}}$", rf"^[0-9]{{{KEPT_DIGITS}}}0+$"
    head = text[:_SAMPLE_VALUES]
    seen = pc.match_substring_regex(head, is_long)
    if not pc.any(seen).as_py() or pc.any(pc.and_not(seen, pc.match_substring_regex(head, is_cut))).as_py():
        return 0  # nearly always
    long = text.filter(pc.fill_null(pc.match_substring_regex(text, is_long), False))
    cut = pc.utf8_slice_codeunits(long, KEPT_DIGITS, 25)
    if not len(long) or not pc.all(pc.match_substring_regex(cut, "^0+$")).as_py():
        return 0
    zeros = pc.sum(pc.binary_length(pc.utf8_slice_codeunits(long.unique(), KEPT_DIGITS, 25))).as_py()
    return len(long) if zeros >= CERTAIN_ZEROS else 0


def strip_zero_fraction(text: pa.StringArray) -> pa.StringArray:
    """``3.0`` as ``3``, all other text as it is."""
    where = where_ends(text, b"0") if holds(text, ".0") else None
    return text if where is None else where_only(text, where, _strip_fraction)


def _strip_fraction(text: pa.StringArray) -> pa.StringArray:
    is_whole = pc.match_substring_regex(text, _WHOLE)
    return pc.replace_substring_regex(text, _WHOLE, r"\1") if pc.any(is_whole).as_py() else text


def strip_one_zero_fraction(text: str) -> str:
    """The same of one text."""
    found = _ONE_WHOLE.fullmatch(text)
    return found[1] if found else text


def find_damaged(text: pa.StringArray) -> pa.BooleanArray | None:
    """Where digits of an id are gone; ``None``: nowhere."""
    if not holds(text, "+") or not holds(text, "E+", "e+"):  # two bytes are searched slowly
        return None
    found = pc.match_substring_regex(text, _EXPONENT)
    return pc.fill_null(found, False) if pc.any(found).as_py() else None


def is_damaged(text: str) -> bool:
    """The same of one text."""
    return _ONE_EXPONENT.match(text) is not None


# As RE2 reads them, which knows ASCII alone.
_ONE_WHOLE, _ONE_EXPONENT = re.compile(_WHOLE.rstrip("$"), re.ASCII), re.compile(_EXPONENT, re.ASCII)
