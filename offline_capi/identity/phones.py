"""Phones → country code and national number, digits only, as phonenumbers (libphonenumber) reads them.

A number that carries its country code needs to be *possible*: nothing was guessed. A number that we complete with a
country must be *valid* there, or a wrong country column would silently hash strangers. Bare digits that begin with the
country's calling code and go on as a valid number are that number; those that are too long to be national, or that
come without any country, are taken for international if that makes them valid.

Common shapes are recognised by ``phone_plans``; the library itself decides the rest, once for each distinct number and
country.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from traceback import clear_frames
from typing import NamedTuple

import phonenumbers
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberDesc, ValidationResult

from offline_capi.identity import placeholders
from offline_capi.identity.distinct import Reading, read_one_by_one
from offline_capi.identity.phone_plans import KINDS, list_lengths, load_regions, recognise_phones
from offline_capi.identity.text import fold_digits, strip_zero_fraction, trim_text
from offline_capi.identity.verdict import Cause, Readable, Usable

__all__ = ["normalize_phone", "read_phone"]

_SCIENTIFIC = re.compile(r"\d[.,]?\d*e\+?\d+", re.IGNORECASE)
_EXIT_CODE = re.compile(r"^(?:0011|011|00)(?=[1-9])")  # Australia, North America, everywhere else
_MIN_DIGITS = 3  # with fewer, the library finds no number at all
_INTERNATIONAL_DIGITS = range(11, 16)  # below 11, national numbers of one country are valid numbers of another


def normalize_phone(readable: Readable) -> Usable:
    """Common shapes by their automata, the rest by the library; both give the same answer."""
    text = strip_zero_fraction(fold_digits(trim_text(readable.text)))
    quick = recognise_phones(text, readable.country)
    rest = pc.and_(pc.is_valid(text), pc.is_null(quick))
    if not pc.any(rest).as_py():
        return Usable(quick)
    read = read_one_by_one(replace(readable, text=text).select(rest), read_phone)
    return Usable(quick).patch(rest, read)


def read_phone(text: str, country: str | None) -> Reading:
    """One number, by the library: as written with ``+``, else in its country, else as bare international digits."""
    if _SCIENTIFIC.fullmatch(text):
        return None, Cause.NOT_A_NUMBER
    digits = _strip_separators(text)
    if country is not None and _is_surely_too_short(digits, country):
        return None, Cause.PLACEHOLDER if digits in placeholders.DIGITS else Cause.TOO_SHORT
    text = _strip_mobile_mark(text, country)
    number = _parse(text, country)
    if number is not None and text.lstrip("( ")[:1] in ("+", "＋"):
        return _judge(number, _is_possible(number))
    whole = _own_code(text, country)
    if whole is not None:
        return _judge(whole, usable=True)
    if number is not None and _is_valid(number):
        return _judge(number, usable=True)
    foreign = _read_international(text, country, number)
    if foreign is not None:
        return _judge(foreign, usable=True)
    return None, _find_cause(text, country, number)


def _is_surely_too_short(digits: str, country: str) -> bool:
    """Bare digits, fewer than any number of the country has: found in a tenth of the library's time, which says so too.

    Columns of phones hold extensions, door numbers and years. Not where the digits may begin with an exit code.
    """
    shortest, exit_code = _find_shortest(country)
    return (
        _MIN_DIGITS <= len(digits) < shortest
        and digits.isascii()
        and digits.isdecimal()
        and exit_code.match(digits) is None
    )


@cache
def _find_shortest(country: str) -> tuple[int, re.Pattern[str]]:
    """The digits of the shortest number where the country's calling code leads, and what may be an exit code."""
    own = PhoneMetadata.metadata_for_region(country.upper())
    if own is None or own.national_prefix_transform_rule:  # Antigua's 462 1234 is completed with its area code
        return 0, _EXIT_CODE
    home = PhoneMetadata.metadata_for_region(load_regions()[int(own.country_code or 0)][0])
    shortest = min((min(list_lengths(one), default=0) for one in (own, home) if one), default=0)
    return shortest, re.compile(f"{own.international_prefix or '$'}|0011|011|00")


_MEXICO = re.compile(r"(?P<code>\+|00|011)?\s*52[\s().-]*1[\s().-]*(?P<national>(?:[0-9][\s().-]*){10})")
_MEXICO_HOME = re.compile(r"(?:01|04[45])[\s().-]*(?P<national>(?:[0-9][\s().-]*){10})")


def _strip_mobile_mark(text: str, country: str | None) -> str:
    """Mexico's numbers as they have been since August 2019: without the 1 for mobiles behind 52, without 01, 044, 045.

    WhatsApp still writes the 1. libphonenumber knows no number with it any more. (Argentina's 9 behind 54 belongs to
    the number to this day, and stays.)
    """
    text = text.strip()
    marked = _MEXICO.fullmatch(text)
    if marked and (marked["code"] or country in ("mx", None)):
        return f"+52{_strip_separators(marked['national'])}"
    home = _MEXICO_HOME.fullmatch(text) if country == "mx" else None
    return f"+52{_strip_separators(home['national'])}" if home else text


def _parse(text: str, country: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country.upper() if country else None)
    except phonenumbers.NumberParseException as error:
        # The library keeps its error in a variable: a cycle that would hold all callers' frames, and their columns.
        clear_frames(error.__traceback__)
        return None


def _is_possible(number: PhoneNumber) -> bool:
    """Long enough to be called from abroad; short ones only where the country's plan has them, as Canada's 310-1234."""
    reason = phonenumbers.is_possible_number_with_reason(number)
    return reason == ValidationResult.IS_POSSIBLE or _is_valid(number)


def _is_valid(number: PhoneNumber) -> bool:
    """What ``phonenumbers.is_valid_number`` says, in half of its time: it looks each expression up anew for each kind.

    The first country of the calling code whose leading digits or kinds fit decides.
    """
    national = phonenumbers.national_significant_number(number)
    for plan in _list_plans(number.country_code or 0):
        if plan.leading is not None and plan.leading.match(national):
            return plan.has_kind(national)
        if plan.leading is None and plan.has_kind(national):
            return True
    return False


class _Plan(NamedTuple):
    """The numbers of one country: how all of them look, and those of each kind, with the lengths that each has."""

    leading: re.Pattern[str] | None
    general: _Shape
    kinds: tuple[_Shape, ...]

    def has_kind(self, national: str) -> bool:
        return _fits(national, self.general) and any(_fits(national, kind) for kind in self.kinds)


_Shape = tuple[frozenset[int], re.Pattern[str]]


def _fits(national: str, shape: _Shape) -> bool:
    lengths, pattern = shape
    return (not lengths or len(national) in lengths) and pattern.fullmatch(national) is not None


@cache
def _list_plans(code: int) -> tuple[_Plan, ...]:
    """Of the countries that share a calling code, in the library's order; the main one is first."""
    plans = []
    for region in load_regions().get(code, ()):
        home = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if home is None or not (general := _read_shapes(home, "general_desc")):
            continue
        leading = re.compile(home.leading_digits) if home.leading_digits else None
        plans.append(_Plan(leading, general[0], tuple(_read_shapes(home, *KINDS))))
    return tuple(plans)


def _read_shapes(home: PhoneMetadata, *kinds: str) -> list[_Shape]:
    described: Iterator[PhoneNumberDesc | None] = (getattr(home, kind) for kind in kinds)
    return [
        (frozenset(one.possible_length), re.compile(one.national_number_pattern))
        for one in described
        if one and one.national_number_pattern
    ]


def _judge(number: PhoneNumber, usable: bool) -> Reading:
    national = phonenumbers.national_significant_number(number)
    if national in placeholders.DIGITS:
        return None, Cause.PLACEHOLDER
    return (f"{number.country_code}{national}", None) if usable else (None, _find_length_cause(number))


def _own_code(text: str, country: str | None) -> PhoneNumber | None:
    """Bare digits that begin with the country's own calling code and go on as a valid number.

    Here we part from the library, which may read Germany's 49 151 23456789 as a number in the area 04915: a national
    number is hardly ever written without its zero, an international one very often without its plus.
    """
    digits = _strip_separators(text)
    code = str(phonenumbers.country_code_for_region(country.upper())) if country else ""
    if not (digits.isdecimal() and code and digits.startswith(code)):
        return None
    number = _parse("+" + digits, None)
    return number if number is not None and _is_valid(number) else None


def _strip_separators(text: str) -> str:
    return re.sub(r"[ ().\-/]", "", text)


def _read_international(text: str, country: str | None, national: PhoneNumber | None) -> PhoneNumber | None:
    """Bare digits read as if a ``+`` stood before them."""
    digits = _strip_separators(text)
    bare = _EXIT_CODE.sub("", digits)
    may_be = (
        bare != digits
        or country is None
        or national is None
        or phonenumbers.is_possible_number_with_reason(national) == ValidationResult.TOO_LONG
    )
    if not (may_be and bare.isdecimal() and bare.isascii() and len(bare) <= _INTERNATIONAL_DIGITS[-1]):
        return None
    if bare == digits and len(bare) not in _INTERNATIONAL_DIGITS:
        return None
    number = _parse(_strip_mobile_mark("+" + bare, None), None)
    return number if number is not None and _is_valid(number) else None


def _find_cause(text: str, country: str | None, number: PhoneNumber | None) -> Cause:
    digits = re.sub(r"\D", "", text)
    if digits in placeholders.DIGITS:
        return Cause.PLACEHOLDER
    if number is not None:
        return _find_length_cause(number)
    national = country is None and "+" not in text and len(digits) > 4
    return Cause.NO_COUNTRY if national else Cause.NOT_A_NUMBER


_LENGTHS = {
    ValidationResult.TOO_SHORT: Cause.TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: Cause.TOO_SHORT,
    ValidationResult.TOO_LONG: Cause.TOO_LONG,
}


def _find_length_cause(number: PhoneNumber) -> Cause:
    return _LENGTHS.get(phonenumbers.is_possible_number_with_reason(number), Cause.NOT_VALID)
