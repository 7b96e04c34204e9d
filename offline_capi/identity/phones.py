"""Phones → country code and national number, digits only, as phonenumbers (libphonenumber) reads them.

A number that carries its country code needs to be *possible*: nothing was guessed. A number that we complete with a
country must be *valid* there, or a wrong country column would silently hash strangers. Bare digits that begin with the
country's calling code and go on as a valid number are that number; those that are too long to be national, or that
come without any country, are taken for international if that makes them valid.

Common shapes (digits, blanks, ``+ ( ) - . /``) are decided by expressions taken from the library's own metadata; the
library itself decides the rest, once for each distinct number and country. The expressions only ever accept: what they
do not recognise goes to the library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from traceback import clear_frames
from typing import NamedTuple

import phonenumbers
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberDesc, ValidationResult

from offline_capi.identity import placeholders
from offline_capi.identity.distinct import Reading, read_one_by_one
from offline_capi.identity.text import (
    as_strings,
    fold_digits,
    keep_ascii,
    list_codes,
    make_frame,
    make_value_list,
    strip_zero_fraction,
    trim_text,
)
from offline_capi.identity.verdict import Cause, Readable, Usable
from offline_capi.runtime.join import remove_bytes

__all__ = ["normalize_phone", "read_phone"]

_SEPARATORS = b" ().-/"
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_SCIENTIFIC = re.compile(r"\d[.,]?\d*e\+?\d+", re.IGNORECASE)
_EXIT_CODE = re.compile(r"^(?:0011|011|00)(?=[1-9])")  # Australia, North America, everywhere else
_MIN_DIGITS = 3  # with fewer, the library finds no number at all
_INTERNATIONAL_DIGITS = range(11, 16)  # below 11, national numbers of one country are valid numbers of another


def normalize_phone(readable: Readable) -> Usable:
    """The vectorised way for what it recognises, the library for the rest; both give the same answer."""
    text = strip_zero_fraction(fold_digits(trim_text(readable.text)))
    quick = _recognise(text, readable.country)
    rest = pc.and_(pc.is_valid(text), pc.is_null(quick))
    if not pc.any(rest).as_py():
        return Usable(quick)
    read = read_one_by_one(replace(readable, text=text).select(rest), read_phone)
    return Usable(quick).patch(rest, read)


# ---------------------------------------------------------------------------------------------- the library's way


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
    home = PhoneMetadata.metadata_for_region(_load_regions()[int(own.country_code or 0)][0])
    shortest = min((min(_list_lengths(one), default=0) for one in (own, home) if one), default=0)
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
    for region in _load_regions().get(code, ()):
        home = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if home is None or not (general := _read_shapes(home, "general_desc")):
            continue
        leading = re.compile(home.leading_digits) if home.leading_digits else None
        plans.append(_Plan(leading, general[0], tuple(_read_shapes(home, *_KINDS))))
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


# ---------------------------------------------------------------------------------------------- the vectorised way


class _Numbering(NamedTuple):
    """How numbers are written where one reads them: a country, or ``+`` and a calling code.

    ``main``: what stands behind ``+`` and the calling code is read in this country.
    """

    code: str
    main: bool
    trunk: str
    prefix: str | None  # an expression, where more than the trunk prefix may stand in front
    exit_code: str | None
    national: str
    general: str | None


def _recognise(text: pa.Array, country: pa.Array) -> pa.Array:
    """Normal forms of the common shapes; null where the library has to decide."""
    # Expressions take digits of every script for digits, those too that only the next Python will know.
    compact = _add_plus(remove_bytes(keep_ascii(text), _SEPARATORS), country)
    area = _choose_regions(compact, country)
    known = list_codes(area)
    if len(known) == 1:
        return _accept(compact, known[0])
    found = pa.nulls(len(text), pa.string())
    for one in filter(None, known):
        where = pc.fill_null(pc.equal(area, one), False)
        found = pc.replace_with_mask(found, where, _accept(compact.filter(where), one))
    return found


def _add_plus(compact: pa.Array, country: pa.Array) -> pa.Array:
    """``+44…`` for ``0044…`` or ``01144…``, in countries where no national number begins like that."""
    zero = pc.fill_null(pc.starts_with(compact, "0"), False)
    if not pc.any(zero).as_py():
        return compact
    return pc.replace_with_mask(compact, zero, _exit_code_as_plus(compact.filter(zero), country.filter(zero)))


def _exit_code_as_plus(compact: pa.Array, country: pa.Array) -> pa.Array:
    codes: dict[str | None, list[str]] = {}
    for one in filter(None, list_codes(country)):
        codes.setdefault(_exit_codes(one), []).append(one)
    for code, countries in codes.items():
        if code is not None:
            plus = pc.replace_substring_regex(compact, f"^(?:{code})([1-9])", r"+\1")
            there = pc.fill_null(pc.is_in(country, value_set=pa.array(countries, pa.string())), False)
            compact = pc.if_else(there, plus, compact)
    return compact


@cache
def _exit_codes(country: str) -> str | None:
    """What stands for ``+`` beyond doubt: the country's own ``00``; in North America, where no number has a zero in
    front, what others write as well."""
    home = PhoneMetadata.metadata_for_region(country.upper())
    if home is None:
        return None
    if home.country_code == 1:
        return "0011|011|00"
    return "00" if home.international_prefix == "00" else None


def _choose_regions(compact: pa.Array, country: pa.Array) -> pa.Array:
    """Where each number is read: in its country, or under ``+44`` where it says so; null: nowhere."""
    plus = pc.fill_null(pc.starts_with(compact, "+"), False)
    countries = list_codes(country)
    own = _load_numbering(countries[0]) if len(countries) == 1 and countries[0] else None
    if own is not None and own.main:
        plus = pc.and_(plus, pc.invert(pc.starts_with(compact, f"+{own.code}")))
    if not pc.any(plus).as_py():
        return country
    return pc.replace_with_mask(country, plus, _find_calling_codes(compact.filter(plus)))


def _find_calling_codes(compact: pa.Array) -> pa.Array:
    """``+44`` for ``+442079460958``; null where no calling code stands."""
    words = pc.utf8_slice_codeunits(compact, 1, 4).dictionary_encode()
    codes = pa.array([_find_calling_code(head) for head in words.dictionary.to_pylist()], pa.string())
    return codes.take(words.indices)


@cache
def _find_calling_code(head: str) -> str | None:
    known = (head[:length] for length in (1, 2, 3))
    return next((f"+{code}" for code in known if code.isdecimal() and int(code) in _load_regions()), None)


def _accept(compact: pa.Array, area: str | None) -> pa.Array:
    numbering = _load_numbering(area) if area else None
    if numbering is None:
        return pa.nulls(len(compact), pa.string())
    frame = make_frame(text=compact).lazy()
    frame = frame.with_columns(rest=_cut_calling_code(numbering))
    frame = frame.with_columns(national=pl.col("rest").str.strip_prefix(numbering.trunk))
    sure = pl.when(_is_sure(numbering)).then(pl.concat_str(pl.lit(numbering.code), "national"))
    return as_strings(frame.select(sure).collect().to_series())


def _cut_calling_code(numbering: _Numbering) -> pl.Expr:
    text, code = pl.col("text"), numbering.code
    rest = text.str.strip_prefix(f"+{code}")
    if code == numbering.trunk:
        return rest
    return pl.when(text.str.starts_with(code)).then(text.str.strip_prefix(code)).otherwise(rest)


def _is_sure(numbering: _Numbering) -> pl.Expr:
    """Whether ``rest``, behind the calling code, and ``national``, without its trunk prefix, are a number."""
    rest, national = pl.col("rest"), pl.col("national")
    sure = national.str.contains(f"^(?:{numbering.national})$")
    sure &= ~national.is_in(make_value_list(placeholders.DIGITS))
    if numbering.general:
        sure &= national.str.contains(f"^(?:{numbering.general})$")
    if numbering.exit_code:
        sure &= ~rest.str.contains(f"^(?:{numbering.exit_code})")
    if numbering.prefix:
        before = rest.str.extract(f"^({numbering.prefix})", 1)
        sure &= before.is_null() | (before == numbering.trunk)
    return sure


@cache
def _load_regions() -> dict[int, tuple[str, ...]]:
    return dict(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@cache
def _load_numbering(area: str) -> _Numbering | None:
    """The library's metadata of a region as expressions; ``None`` where it has none."""
    written_out = area[0] == "+"
    region = _load_regions()[int(area[1:])][0] if written_out else area.upper()
    home = PhoneMetadata.metadata_for_region(region)
    if home is None:
        return None
    prefix = home.national_prefix_for_parsing or ""
    trunk = home.national_prefix or "" if prefix else ""
    return _Numbering(
        code=str(home.country_code),
        main=_load_regions()[int(home.country_code or 0)][0] == region,
        trunk=trunk,
        prefix=None if prefix == trunk else prefix,
        exit_code=None if written_out or home.country_code == 1 else home.international_prefix,
        national="|".join(_list_patterns(home, _KINDS)),
        # In North America every kind lies inside the general pattern; elsewhere (Germany's 49…) the library needs both.
        general=None if home.country_code == 1 else "|".join(_list_patterns(home, ("general_desc",))),
    )


def _list_patterns(home: PhoneMetadata, kinds: tuple[str, ...]) -> Iterator[str]:
    """Of every country that shares the calling code, unless leading digits pick it: the library tries them in turn.

    Kinds with lengths that home or the main country does not have (Canada's 310-1234) are left out: whether a prefix
    is cut off those, only the library knows.
    """
    regions = _load_regions().get(home.country_code or 0, ())
    lengths = _list_lengths(home) & _list_lengths(PhoneMetadata.metadata_for_region(regions[0]) if regions else None)
    for region in regions:
        shared = PhoneMetadata.metadata_for_region(region)
        if shared is None or (shared.leading_digits and region != home.id):
            continue
        described: Iterator[PhoneNumberDesc | None] = (getattr(shared, kind) for kind in kinds)
        yield from (
            kind.national_number_pattern
            for kind in described
            if kind and kind.national_number_pattern and set(kind.possible_length) <= lengths
        )


def _list_lengths(home: PhoneMetadata | None) -> set[int]:
    return set(home.general_desc.possible_length) if home and home.general_desc else set()
