"""Ids as the system wrote them that made them: what a spreadsheet or a float added is undone, or told.

Undone, because it is certain: ``="1001"`` and ``'1002`` (marks by which a spreadsheet keeps text as text), and ``3.0``
(a whole number that went through a column of floats: the same number is ``3`` in every other source). Never undone:
``1.18E+15``, of which digits are gone.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["damaged", "undecorated", "whole_numbers"]

_FORMULA = r'^\s*="([^"]*)"\s*$'
# Only before what is a number, a date or a phone number as a whole: names begin with an apostrophe, too ('t Hart).
_APOSTROPHE = r"^\s*'(\+?\d[\d.,:/+\- ]*)$"
_WHOLE = r"^(-?(?:0|[1-9]\d{0,17}))\.0+$"
_EXPONENT = r"^\s*[+-]?\d(?:[.,]\d+)?[eE]\+\d{2,3}\s*$"


def undecorated(text: pa.StringArray) -> pa.StringArray:
    """Without the marks of a spreadsheet that say "this is text"."""
    for mark, shape in (("=", _FORMULA), ("'", _APOSTROPHE)):
        if pc.any(pc.starts_with(pc.utf8_ltrim_whitespace(text) if mark == "=" else text, mark)).as_py():
            text = pc.replace_substring_regex(text, shape, r"\1")
    return text


def whole_numbers(text: pa.StringArray) -> pa.StringArray:
    """``3.0`` as ``3``, all other text as it is."""
    if not pc.any(pc.ends_with(text, "0")).as_py():
        return text
    return pc.replace_substring_regex(text, _WHOLE, r"\1")


def damaged(text: pa.StringArray) -> pa.BooleanArray | None:
    """Where digits of an id are gone; ``None``: nowhere."""
    found = pc.match_substring_regex(text, _EXPONENT)
    return pc.fill_null(found, False) if pc.any(found).as_py() else None
