"""Find what must never be sent in the texts that go out (Business Tools Terms §1.h, meta-capi.md section 10.3).

Four shapes: e-mail addresses, phone numbers, payment cards, social security numbers. One regular expression scans a
whole column and seldom finds anything; what it finds is then decided text by text. So that order numbers, ids and
prices are not taken for any of them:

- ids (item, content, and what ``screening.ids`` names) are searched for e-mail addresses and for phone numbers with
  their plus; those of events and orders also for phone numbers that are written in groups, and for mobile numbers that
  begin with 00; bare digits are an id, of any length, and numbers, flags, constants and the values of a ``map``
  are not searched at all;
- a phone number is a valid one with its plus, or of the ten digits of North America in groups (``415-555-2671``, and
  not ``4155552671``); in an address only after ``?`` or ``#``, or in a parameter that is called like one;
- a card has the digits that its issuer gives, bare or in groups, and their check digit; one bare number of 16 digits in
  ten that begins like a card has it by chance, hence ``screening.ids``;
- a social security number has its dashes, and could have been given out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import unquote

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneNumberType

from offline_capi.runtime.column_bytes import WINDOW_BYTES, bytes_of, find_parts, holds

__all__ = ["CARD", "EMAIL", "PHONE", "SOCIAL_SECURITY", "Find", "Searched", "find_personal", "find_unsendable"]

#: By these a column's values are taken to repeat. Telling values apart takes a third of the time of a search.
SAMPLE_ROWS, ROWS_PER_VALUE = 1_024, 4

EMAIL, PHONE, CARD, SOCIAL_SECURITY = "email_address", "phone_number", "card_number", "social_security_number"


class Searched(Enum):
    """How a field is read: what it may hold without being suspicious."""

    TEXT = "text"
    ADDRESS = "address"
    ITEMS = "items"
    IDS = "ids"
    EVENT_IDS = "event ids"


class Find(NamedTuple):
    """Rows whose text holds ``shape``; a row with several has the first."""

    shape: str
    where: pa.BooleanArray


def find_personal(values: pa.StringArray) -> pa.BooleanArray:
    """Where any of these patterns occurs, in any kind of text."""
    found = pa.repeat(pa.scalar(False), len(values))
    for searched in (Searched.TEXT, Searched.ADDRESS, Searched.IDS):
        for find in find_unsendable(values, searched):
            found = pc.or_(found, find.where)
    return found


def find_unsendable(values: pa.StringArray, searched: Searched) -> list[Find]:
    """Where ``values`` hold what must never be sent; nothing for nearly every column."""
    loose = _LOOSE[searched]
    # Nearly all columns of ids are skipped after one scan of their bytes.
    if searched in (Searched.IDS, Searched.EVENT_IDS) and not holds(values, "@", "+", "%"):
        if searched is Searched.IDS or not _may_be_grouped(values):
            return []
        loose = _LOOSE_GROUPED
    if _has_repeats(values):
        words = values.dictionary_encode()
        return [
            Find(shape, pc.fill_null(where.take(words.indices), False))
            for shape, where in find_unsendable(words.dictionary, searched)
        ]
    suspects = pc.fill_null(pc.match_substring_regex(values, loose), False)
    if not pc.any(suspects).as_py():
        return []
    distinct = pc.if_else(suspects, values, pa.scalar(None, pa.string())).dictionary_encode()
    shapes = [None if text is None else _SHAPE_IN[searched](text) for text in distinct.dictionary.to_pylist()]
    found = pa.array(shapes, pa.string()).take(distinct.indices)
    return [Find(shape, pc.fill_null(pc.equal(found, shape), False)) for shape in dict.fromkeys(filter(None, shapes))]


def _has_repeats(values: pa.StringArray) -> bool:
    """Whether the first values repeat so often that telling all of them apart costs less than searching each."""
    sample = values.slice(0, SAMPLE_ROWS)
    return len(values) > SAMPLE_ROWS and pc.count_distinct(sample).as_py() * ROWS_PER_VALUE < SAMPLE_ROWS


def _may_be_grouped(values: pa.StringArray) -> bool:
    """Whether any value may be a phone number in groups: whether the column has what no way to write one lacks.

    These are ``tel:``, parentheses or a blank, a full stop behind a digit, eleven digits in a row, or two dashes around
    three characters. A fifth of the cost of a search for the patterns themselves.
    """
    found = find_parts(values, "(", ")", " ", ":")
    if found - {":"} or (found and holds(values, "l:", "L:")):
        return True
    _, content = bytes_of(values)
    for start in range(0, len(content), WINDOW_BYTES):
        window = content[start : start + WINDOW_BYTES + _LONGEST_MARK - 1]
        digits, dashes, stops = window - ord("0") < 10, window == ord("-"), window == ord(".")
        two = digits[:-1] & digits[1:]
        four = two[:-2] & two[2:]
        eight = four[:-4] & four[4:]
        if (eight[:-3] & eight[3:]).any() or (dashes[:-4] & dashes[4:]).any() or (digits[:-1] & stops[1:]).any():
            return True
    return False


# ---------------------------------------------------------------------------------------------- at a glance

_LOOSE_EMAIL = r"\S(?:@|%40)\S"
_LOOSE_DIGITS = (
    r"(?:^|[^0-9A-Za-z])\d{3}-\d{2}-\d{4}"  # social security
    r"|(?:\+|%2[Bb]|(?i:tel:))\(?[0-9]"  # phone
    r"|[2-9]\d\d(?:\) ?|[-.])[2-9]\d\d[-.]\d{4}"
    r"|[2-6]\d{3}(?:(?:[ -]|%20)?\d){10}"  # card
)
_LOOSE_PLUS = r"(?:\+|%2[Bb])\(?[0-9]"
# What may stand before the number in an id of an event: the upload's own prefix, as in "order-".
_ID_PREFIX = r"^(?:[A-Za-z]{1,20}[-_:#/. ]{1,2})?"
_LOOSE_GROUPED = (
    _ID_PREFIX
    + r"(?:(?i:tel:)|00[1-9][0-9]{8}|\(?0[0-9]{1,5}[)/ .]|\([2-9]|(?:1[-. ])?[2-9][0-9]{2}[-.][2-9][0-9]{2}[-.])"
)
#: Bytes of what ``_may_be_grouped`` looks for: 00 and nine digits.
_LONGEST_MARK = 11
_PHONE_NAMES = r"(?:phone|mobile|msisdn|whatsapp|telephone|tel|cell)(?:_?(?:number|no|nr))?"
_LOOSE: dict[Searched, str] = {
    Searched.TEXT: f"{_LOOSE_EMAIL}|{_LOOSE_DIGITS}",
    Searched.ADDRESS: rf"{_LOOSE_EMAIL}|{_LOOSE_DIGITS}|[?&#;](?i:{_PHONE_NAMES})=",
    Searched.ITEMS: f"{_LOOSE_EMAIL}|{_LOOSE_DIGITS}",
    Searched.IDS: rf"{_LOOSE_EMAIL}|{_LOOSE_PLUS}",
    Searched.EVENT_IDS: rf"{_LOOSE_EMAIL}|{_LOOSE_PLUS}|{_LOOSE_GROUPED}",
}

# ---------------------------------------------------------------------------------------------- for certain


def _find_in_text(text: str) -> str | None:
    return next((shape for shape, holds in _SHAPES.items() if holds(text)), None)


def _find_in_ids(text: str) -> str | None:
    """An id is often put together, so that something may stand before and behind what must not be sent."""
    if _holds_email(text, _EMAIL_IN_ID):
        return EMAIL
    written = (match[0] for match in _PLUS_IN_ID.finditer(unquote(text)))
    return PHONE if any(_is_phone(number) for one in written for number in _list_beginnings(one)) else None


def _list_beginnings(written: str) -> Iterator[str]:
    """``+1 415 555 2671-1`` by the ends of its groups, as far as a phone number can be long."""
    for end in re.finditer(r"(?<=\d)(?!\d)", written):
        if _LEAST_DIGITS <= sum(map(str.isdigit, written[: end.start()])) <= _MOST_DIGITS:
            yield written[: end.start()]


def _find_in_event_ids(text: str) -> str | None:
    number = _PREFIX_OF_ID.sub("", text.strip())
    without_line = _SUFFIX_OF_ID.sub("", number)
    found = (_holds_phone(one) or _is_grouped(one) or _is_mobile(one) for one in dict.fromkeys((number, without_line)))
    return _find_in_ids(text) or (PHONE if any(found) else None)


_EMAIL_IN_ID = re.compile(r"\w(?:@|%40)(?:[\w-]+\.)+([^\W\d_]{2,24})")
_PREFIX_OF_ID = re.compile(_ID_PREFIX)
#: The number of a line or a part, as in "{key}-{line}".
_SUFFIX_OF_ID = re.compile(r"[-_:#/.](?:\d{1,3}|[A-Za-z]{1,12})$")
_PLUS_IN_ID = re.compile(r"(?<![A-Za-z0-9+])\+\(?[1-9][0-9 ().\-/]{6,30}")
#: E.164 has 15 digits at most; fewer than 8 with the country's code are services' numbers.
_LEAST_DIGITS, _MOST_DIGITS = 8, 15
_NATIONAL = re.compile(r"\(?0[0-9(][0-9()./\- ]{7,20}")
_GROUPS = re.compile(r"[ ()]")
_DATE = re.compile(r"\d{1,2}[./ -]\d{1,2}[./ -]\d{4}\b|(?:.*\D)?(?:19|20)\d\d\b")
_MOBILE = re.compile(r"00[1-9]\d{9,13}")
#: Of a number with its area code, in groups, and without the plus.
_NATIONAL_DIGITS = 9


def _is_grouped(text: str) -> bool:
    """Whether it is written as a national number: 0170 1234567, (030) 901 820; slashes and dashes alone are of ids."""
    digits = sum(map(str.isdigit, text))
    is_shaped = _NATIONAL.fullmatch(text) is not None and _GROUPS.search(text) is not None
    return is_shaped and digits >= _NATIONAL_DIGITS and _DATE.match(text) is None


def _is_mobile(text: str) -> bool:
    """Whether 00 stands for the plus of a mobile number; ids that are filled up with zeros seldom read so."""
    if not _MOBILE.fullmatch(text):
        return False
    try:
        number = phonenumbers.parse(f"+{text[2:]}")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(number) in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def _find_in_address(address: str) -> str | None:
    """Its path may resemble a phone number; what follows it is what people filled in."""
    plain = unquote(address)
    filled_in = "".join(_AFTER_PATH.findall(plain))
    if _PHONE_PARAMETER.search(filled_in) or _holds_phone(filled_in):
        return PHONE
    return next((shape for shape, holds in _SHAPES.items() if shape != PHONE and holds(plain)), None)


_AFTER_PATH = re.compile(r"(?s)[?#].*")


def _find_in_items(items: str) -> str | None:
    """Their ids are read as ids, all others as plain text: also those in lists, in objects and as names of members."""
    try:
        found = json.loads(items)
    except (ValueError, RecursionError):
        return _find_in_text(items)
    return next(
        filter(None, (_find_in_ids(text) if is_id else _find_in_text(text) for text, is_id in _list_texts(found))), None
    )


def _list_texts(value: Any, *, is_id: bool = False) -> Iterator[tuple[str, bool]]:
    if isinstance(value, str):
        yield value, is_id
    elif isinstance(value, list):
        for part in value:
            yield from _list_texts(part, is_id=is_id)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key, False
            yield from _list_texts(part, is_id=key == "id" or key.endswith("_id"))


_SHAPE_IN = {
    Searched.TEXT: _find_in_text,
    Searched.ADDRESS: _find_in_address,
    Searched.ITEMS: _find_in_items,
    Searched.IDS: _find_in_ids,
    Searched.EVENT_IDS: _find_in_event_ids,
}

_EMAIL = re.compile(r"\w(?:@|%40)(?:[\w-]+\.)+([^\W\d_]{2,24})(?![\w-])")
# ``logo@2x.png`` is a picture for fine displays.
_FILE_SUFFIXES = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "ico", "bmp", "css", "js"})


def _holds_email(text: str, pattern: re.Pattern[str] = _EMAIL) -> bool:
    return any(match[1].lower() not in _FILE_SUFFIXES for match in pattern.finditer(text))


_PLUS_NUMBER = re.compile(r"(?<![\w+])\+\(?[1-9](?:[ ().\-/]{0,2}\d){7,14}(?!\d)")
_NORTH_AMERICAN = re.compile(r"(?<![\w.-])(?:1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}(?![\w-]|\.\d)")
_TEL = re.compile(r"(?i)\btel:\+?\d[\d().-]{5,}")
_PHONE_PARAMETER = re.compile(rf"(?i)[?&#;]{_PHONE_NAMES}=\+?\(?\d(?:[ ().-]{{0,2}}\d){{6,14}}(?!\d)")


def _holds_phone(text: str) -> bool:
    if _TEL.search(text):
        return True
    written = [match[0] for match in _PLUS_NUMBER.finditer(text)]
    written += [f"+1{match[0].removeprefix('1')}" for match in _NORTH_AMERICAN.finditer(text)]
    return any(map(_is_phone, written))


def _is_phone(written: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(written))
    except phonenumbers.NumberParseException:
        return False


_CARD_DIGITS = re.compile(r"(?<![\w.+-])[2-6]\d{3}(?:[ -]?\d){10,12}(?![\w-]|\.\d)")
# First digits and lengths by issuer, ISO/IEC 7812: Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay.
_ISSUED = re.compile(
    r"4\d{15}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14}"
)


def _holds_card(text: str) -> bool:
    return any(_is_card(re.sub(r"\D", "", match[0])) for match in _CARD_DIGITS.finditer(text))


def _is_card(digits: str) -> bool:
    """Of an issuer, and with the right check digit (Luhn)."""
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)
    return _ISSUED.fullmatch(digits) is not None and total % 10 == 0


# Area, group and serial that were never given out are none (SSA, since 2011); 9xx is a taxpayer's number, as secret.
_SOCIAL_SECURITY = re.compile(r"(?<![\w.-])(?!000|666)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-]|\.\d)")


def _holds_social_security(text: str) -> bool:
    return _SOCIAL_SECURITY.search(text) is not None


_SHAPES = {EMAIL: _holds_email, SOCIAL_SECURITY: _holds_social_security, CARD: _holds_card, PHONE: _holds_phone}
