"""Numbers as people write them, read exactly or not at all.

The declared decimal mark decides only what the digits leave open:

- groups of three (``1,234,567.5``, ``1 234``, ``1'234``) are thousands, a first group never starts with a zero;
- ``1,234`` alone is open: with ``decimal: "."`` it is 1234, with ``decimal: ","`` it is 1.234;
- the other mark before one or two digits cannot be a thousands separator, so it is a decimal mark (``12,50``, and
  ``0,125``): one column may mix them;
- everything else is refused: currency signs, percent signs, brackets, words, NaN and infinity, groups of other sizes.

Money (``type: money``) is read in the manners of people as well: the sign or the code of a currency before or after the
number, brackets or a minus after it for what is below zero, the true minus sign (U+2212), Indian groups
(``1,23,456.78``), digits of other scripts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.mapping.text import EXACT_FLOAT, as_text, is_text
from offline_capi.runtime.column_bytes import compute_once_each

__all__ = ["find_money_signs", "read_currencies", "read_integers", "read_money", "read_numbers"]

_GROUP_SPACES = " \u00a0\u202f\u2009'\u2019"
_BLANK = "[ \u00a0\u202f\u2009]*"
_BRACKETS = rf"^{_BLANK}\(([^()+-]*)\){_BLANK}$"
_MINUS_AFTER = r"^([^+-]*[\d.,])-$"
_INDIAN = r"^([+-]?[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d*)?)$"
#: How shops write what has no sign of its own, and whose currency a sign is where only one has it. A dollar, a pound, a
#: krone or a rupee alone may be of several.
CURRENCY_SIGNS = {
    "€": "EUR", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY", "₴": "UAH", "₪": "ILS", "₫": "VND", "₱": "PHP",
    "₦": "NGN", "฿": "THB", "₸": "KZT", "₡": "CRC", "₲": "PYG", "₵": "GHS", "₾": "GEL", "₼": "AZN", "₮": "MNT",
    "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD",
    "S$": "SGD", "R$": "BRL", "MX$": "MXN", "NT$": "TWD", "zł": "PLN", "Kč": "CZK", "kč": "CZK", "Ft": "HUF",
    "RM": "MYR", "лв": "BGN", "лв.": "BGN", "руб": "RUB", "руб.": "RUB", "р.": "RUB", "ден": "MKD",
    "ден.": "MKD", "SFr": "CHF", "SFr.": "CHF", "Rp": "IDR", "Rp.": "IDR", "TL": "TRY", "S/": "PEN",
    "د.إ": "AED", "ر.س": "SAR", "د.ك": "KWD", "د.ب": "BHD", "ج.م": "EGP", "Fr": "", "Fr.": "", "kr": "",
    "kr.": "", "Kr": "", "Kr.": "", "KR": "", "Rs": "", "Rs.": "", "lei": "", "Lei": "", "Bs": "", "Bs.": "",
}  # fmt: skip


class _MoneyShapes(NamedTuple):
    """What stands before a number, after it, and either."""

    before: str
    after: str
    sign: str


@cache
def _build_money_shapes() -> _MoneyShapes:
    from pycountry import currencies  # only where an upload reads money

    words = sorted({*CURRENCY_SIGNS, *(one.alpha_3 for one in currencies)}, key=len, reverse=True)
    currency = rf"(?:{'|'.join(map(re.escape, words))}|\p{{Sc}})"
    return _MoneyShapes(
        rf"^{_BLANK}([+-]?){_BLANK}{currency}{_BLANK}([+-]?){_BLANK}([\d.,].*)$",
        rf"^(.*[\d.,)-]){_BLANK}{currency}{_BLANK}$",
        rf"^{_BLANK}[+(-]?{_BLANK}(?P<before>{currency}){_BLANK}[+(-]?[.,]?\d"
        rf"|\d[\d.,]*[)-]?{_BLANK}(?P<after>{currency}){_BLANK}\)?$",
    )


class _Spelling(NamedTuple):
    """One way to write a number: its shape, the characters that fall away, and its decimal mark."""

    shape: str
    separators: str
    mark: str


@cache
def _list_spellings(decimal: str) -> tuple[_Spelling, ...]:
    foreign = "," if decimal == "." else "."
    d, g, spaces = re.escape(decimal), re.escape(foreign), f"[{_GROUP_SPACES}]"
    return (
        _Spelling(rf"^[+-]?(?:\d+(?:{d}\d*)?|{d}\d+)$", "", decimal),
        _Spelling(rf"^[+-]?[1-9]\d{{0,2}}(?:{g}\d{{3}})+(?:{d}\d*)?$", foreign, decimal),
        _Spelling(rf"^[+-]?[1-9]\d{{0,2}}(?:{spaces}\d{{3}})+(?:{d}\d*)?$", _GROUP_SPACES, decimal),
        _Spelling(rf"^[+-]?[1-9]\d{{0,2}}(?:{spaces}\d{{3}})+{g}\d{{1,2}}$", _GROUP_SPACES, foreign),
        _Spelling(rf"^[+-]?(?:\d+|[1-9]\d{{0,2}}(?:{d}\d{{3}})+){g}\d{{1,2}}$", decimal, foreign),
        _Spelling(rf"^[+-]?0{g}\d+$", "", foreign),
        _Spelling(rf"^[+-]?[1-9]\d{{0,2}}(?:{d}\d{{3}}){{2,}}$", decimal, decimal),
    )


def _canonicalise(text: pa.StringArray, decimal: str) -> pa.StringArray:
    """The same numbers with a point and without separators; null where the text is no number."""
    found, nothing = pa.nulls(len(text), pa.string()), pa.scalar(None, pa.string())
    for spelling in _list_spellings(decimal):
        fits = pc.match_substring_regex(text, spelling.shape)
        if not fits.true_count:
            continue
        own = pc.if_else(fits, text, nothing)
        found = pc.coalesce(found, _point(own, spelling))
        text = pc.if_else(fits, nothing, text)  # the first spelling that fits decides
        if text.null_count == len(text):
            break
    return found


def _point(text: pa.StringArray, spelling: _Spelling) -> pa.StringArray:
    """Numbers of one spelling with a point and without separators."""
    if len(spelling.separators) == 1:
        text = pc.replace_substring(text, spelling.separators, "")
    elif spelling.separators:
        text = pc.replace_substring_regex(text, f"[{spelling.separators}]", "")
    return text if spelling.mark == "." else pc.replace_substring(text, spelling.mark, ".")


def _parse(text: pa.StringArray, kind: pl.DataType | type[pl.DataType]) -> pa.Array:
    """What a machine would write, null for the rest. One value at a time: neighbours play no part."""
    return pl.Series(pl.from_arrow(text)).cast(kind, strict=False).to_arrow()


def _fill_rest(text: pa.StringArray, known: pa.Array, rest: pa.Array) -> pa.Array:
    """``known``, completed where it is null although there is text."""
    return pc.replace_with_mask(known, _open(text, known), rest)


def _open(text: pa.StringArray, known: pa.Array) -> pa.BooleanArray:
    return pc.and_(text.is_valid(), known.is_null())


def read_numbers(values: pa.Array, decimal: str) -> pa.DoubleArray:
    """Finite float64, null where there is no number. Takes text, or any column of numbers."""
    if is_text(values):
        numbers = compute_once_each(as_text(values), lambda texts: _read_numbers_of_text(texts, decimal))
    else:
        numbers = _as_floats(values)
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _as_floats(values: pa.Array) -> pa.DoubleArray:
    # A float32 of 9.99 means 9.99, not 9.989999771: its shortest text is what the source wrote. The float nearest to a
    # decimal is that of its text, too: Arrow's own cast does not promise it.
    if pa.types.is_float32(values.type) or pa.types.is_decimal(values.type):
        return _parse(as_text(values), pl.Float64)
    return pc.cast(values, pa.float64(), safe=False)


def _read_numbers_of_text(text: pa.StringArray, decimal: str) -> pa.DoubleArray:
    quick = _parse(_rewrite_for_machine(text, decimal), pl.Float64)
    if quick.null_count == text.null_count:
        return quick
    rest = text.filter(_open(text, quick))
    return _fill_rest(text, quick, _parse(_canonicalise(rest, decimal), pl.Float64))


def _rewrite_for_machine(text: pa.StringArray, decimal: str) -> pa.StringArray:
    """For a decimal comma: commas as points, and nothing for texts whose points may separate thousands."""
    if decimal == ".":
        return text
    pointed = pc.if_else(pc.match_substring(text, "."), pa.scalar(None, pa.string()), text)
    return pc.replace_substring(pointed, ",", ".")


def read_integers(values: pa.Array, decimal: str) -> pa.Int64Array:
    """Exact int64, null where there is no whole number of 64 bits. ``1234567.0`` is whole; ``1e6`` is refused.

    Spreadsheets write long ids as ``1.23457E+11``: the digits are gone, so exponents are refused. For the same reason
    float columns must stay below 2^53.
    """
    if is_text(values):
        return compute_once_each(as_text(values), lambda texts: _read_integers_of_text(texts, decimal))
    if pa.types.is_decimal(values.type):
        return _read_integers_of_text(as_text(values), ".")
    return _parse(_keep_whole(values), pl.Int64)


def _keep_whole(values: pa.Array) -> pa.Array:
    """A column of numbers, null where a float may have lost digits or has a fraction."""
    if not pa.types.is_floating(values.type):
        return values
    exact = pc.cast(values, pa.float64())
    fits = pc.and_(pc.equal(exact, pc.trunc(exact)), pc.less_equal(pc.abs(exact), EXACT_FLOAT))
    return pc.if_else(fits, exact, None)


def _read_integers_of_text(text: pa.StringArray, decimal: str) -> pa.Int64Array:
    quick = _parse(text, pl.Int64)
    if quick.null_count == text.null_count:
        return quick
    rest = _canonicalise(text.filter(_open(text, quick)), decimal)
    digits = pc.replace_substring_regex(rest, r"\.0*$", "")
    return _fill_rest(text, quick, _parse(digits, pl.Int64))


# ---------------------------------------------------------------------------------------------- money


def read_money(values: pa.Array, decimal: str) -> pa.DoubleArray:
    """``read_numbers``, and of text also what people write of money. Null where there is no number."""
    numbers = read_numbers(values, decimal)
    if not is_text(values) or numbers.null_count == values.null_count:
        return numbers
    rest = values.filter(_open(values, numbers))
    return _fill_rest(values, numbers, read_numbers(_strip_currency(rest, decimal), decimal))


def _strip_currency(text: pa.StringArray, decimal: str) -> pa.StringArray:
    """The number alone, below zero with a minus before it."""
    text, shapes = _fold_digits(text, decimal), _build_money_shapes()
    for sign in "\u2212\ufe63\uff0d":
        text = pc.replace_substring(text, sign, "-")
    bracketed = pc.fill_null(pc.match_substring_regex(text, r"\(.*\d.*\)"), False)
    inner = pc.replace_substring_regex(text, r"[()]", "")
    text = pc.if_else(pc.and_(bracketed, pc.invert(pc.match_substring_regex(text, "[+-]"))), inner, text)
    text = pc.replace_substring_regex(text, shapes.before, r"\1\2\3")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, shapes.after, r"\1"))
    text = pc.replace_substring_regex(text, _MINUS_AFTER, r"-\1")
    text = pc.if_else(bracketed, pc.binary_join_element_wise("-", text, ""), text)
    indian = pc.match_substring_regex(text, _INDIAN)
    return pc.if_else(indian, pc.replace_substring(text, ",", ""), text)


def _fold_digits(text: pa.StringArray, decimal: str = ".") -> pa.StringArray:
    """Decimal digits of any script, and the marks that go with them, as ASCII has them.

    The Arabic decimal separator (U+066B) is a decimal mark, independent of ``decimal``.
    """
    if pc.all(pc.string_is_ascii(text)).as_py() is not False:
        return text
    return pa.array(
        [None if value is None else _fold_digits_of(value, decimal) for value in text.to_pylist()], pa.string()
    )


def _fold_digits_of(value: str, decimal: str) -> str:
    marks = _MARKS | {"\u066b": decimal}
    return "".join(marks.get(char, char) if not char.isdecimal() else str(unicodedata.decimal(char)) for char in value)


_MARKS = {
    "\u066c": "",
    "\uff0e": ".",
    "\uff0c": ",",
    "\uff0b": "+",
    "\u200e": "",
    "\u200f": "",
    "\u061c": "",
}


def read_currencies(text: pa.StringArray) -> pa.StringArray:
    """The ISO 4217 code that an amount says itself, ``12,50 €``; null where it says none, or one of several."""
    signs = find_money_signs(text).dictionary_encode()
    codes = [
        CURRENCY_SIGNS.get(sign, sign if len(sign) == 3 and sign.isalpha() else "") or None
        for sign in signs.dictionary.to_pylist()
    ]
    return pa.array(codes, pa.string()).take(signs.indices)


def find_money_signs(text: pa.StringArray) -> pa.StringArray:
    """What ``read_money`` reads of a number and ``read_numbers`` does not; null where it is nothing of this.

    A sign, a code, ``( )``, a minus after it, the true minus, ``1,23,456`` for Indian groups, ``digits`` for those of
    another script.
    """
    if not pc.any(pc.match_substring_regex(text, r"[0-9.,(]|[^\x00-\x7F]")).as_py():
        return pa.nulls(len(text), pa.string())  # words alone: the shapes take a millisecond to begin with
    folded = _fold_digits(text)
    found = pc.extract_regex(folded, _build_money_shapes().sign)
    signs = [pc.struct_field(found, name) for name in ("before", "after")]
    sign = pc.coalesce(*(pc.if_else(pc.equal(each, ""), pa.scalar(None, pa.string()), each) for each in signs))
    brackets = pc.if_else(pc.match_substring_regex(folded, _BRACKETS), "( )", pa.scalar(None, pa.string()))
    minus = pc.if_else(pc.match_substring_regex(folded, _MINUS_AFTER), "-", pa.scalar(None, pa.string()))
    nothing = pa.scalar(None, pa.string())
    true_minus = pc.if_else(pc.match_substring_regex(folded, "^[\u2212\ufe63\uff0d]"), "\u2212", nothing)
    groups = pc.if_else(pc.match_substring_regex(folded, _INDIAN), "1,23,456", nothing)
    digits = pc.if_else(
        pc.and_(pc.not_equal(folded, text), pc.match_substring_regex(folded, "[0-9]")), "digits", nothing
    )
    return pc.coalesce(sign, brackets, minus, true_minus, groups, digits)
