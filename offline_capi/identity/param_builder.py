"""Profile ``param_builder``: what Meta's parameter builder for Node 1.2.1 makes of a value, without its suffix.

A port of the browser pixel's normaliser; meta-capi.md 12 (CPB) states its rules. It loses accented letters of cities,
cuts every state to two letters and reads ambiguous dates month first: use it to compare, not to send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

import pyarrow as pa
import pycountry

from offline_capi.identity.countries import subdivisions, words_of
from offline_capi.identity.distinct import Reading, one_by_one
from offline_capi.identity.raw import RAW, untouched
from offline_capi.identity.sdk import SDK
from offline_capi.identity.text import matches
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable

__all__ = ["PARAM_BUILDER"]

Normalizer = Callable[[str], str | None]

_DIGEST = re.compile(r"[a-f0-9]{32}|[A-Fa-f0-9]{64}")
_EMAIL = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
)
_BLANKS_AND_PUNCTUATION = re.compile(r"[\s!-/:-@\[-`{-~]+")


def _email(text: str) -> str | None:
    tidy = text.lower().strip()
    return tidy if _EMAIL.fullmatch(tidy) else None


def _phone(text: str) -> str | None:
    return re.sub(r"[^0-9]", "", text).lstrip("0") or None


def _name(text: str) -> str | None:
    return _BLANKS_AND_PUNCTUATION.sub("", text).lower() or None


def _city(text: str) -> str | None:
    latin = re.sub(r"[^a-zA-Z0-9]", "", text).lower()
    return latin if latin[:1].isalpha() else None


def _two_letters(names: Callable[[], Mapping[str, str]]) -> Normalizer:
    """A name that is, or contains, a known one gives its code; anything else is cut to two letters."""

    def normalize(text: str) -> str | None:
        letters = re.sub(r"[^a-z]", "", text.lower())
        if len(letters) <= 2:
            return letters or None
        known = names()
        inside = (code for word, code in known.items() if word in letters)
        return (known.get(letters) or next(inside, letters))[:2]

    return normalize


@cache
def _states() -> Mapping[str, str]:
    """Provinces of Canada, then the fifty states."""
    kinds = {"CA": ("Province", "Territory"), "US": ("State",)}
    return {
        words_of(state.name): state.code[-2:].lower()
        for country, types in kinds.items()
        for state in sorted(subdivisions(country), key=lambda one: one.name)
        if state.type in types
    }


@cache
def _countries() -> Mapping[str, str]:
    named = sorted(pycountry.countries, key=lambda one: one.name)
    table = {"unitedstates": "us", "usa": "us", "unitedstatesofamerica": "us"}
    for country in named:
        code = country.alpha_2.lower()
        short = country.name.partition(",")[0]
        known = (getattr(country, "common_name", ""), country.name, short if short not in _SHARED else "")
        table |= {words_of(name): code for name in known if name and words_of(name) not in table}
    return table | {country.alpha_3.lower(): country.alpha_2.lower() for country in named}


_SHARED = frozenset({"Congo", "Korea", "Virgin Islands", "Saint Martin (French part)"})


def _zip(text: str) -> str | None:
    front = text.lower().partition("-")[0].strip()
    return front if len(front) >= 2 else None


def _birth_date(text: str) -> str | None:
    groups = re.findall(r"[0-9]+", text)
    if len(groups) >= 3:
        found = _year_month_day(*(int(group) for group in groups[:3]))
        if found is not None:
            return found
    return groups[0] if len(groups) == 1 and len(groups[0]) == 8 else None


def _year_month_day(first: int, second: int, third: int) -> str | None:
    """The year is the number above 31, else the last; of the other two the month comes first if it can."""
    if first > 31:
        year, one, two = first, second, third
    elif second > 31:
        year, one, two = second, third, first
    else:
        year, one, two = third, first, second
    month, day = (two, one) if one > 12 else (one, two)
    return f"{year:04}{month:02}{day:02}" if _plausible(year, month, day) else None


def _plausible(year: int, month: int, day: int) -> bool:
    return 1800 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31


_WORDS = {
    "m": "man male boy gentleman guy sir mister mr son father dad daddy papa uncle nephew brother husband boyfriend "
    "groom widower king prince duke count emperor god lord lad fellow chap bloke dude he him his himself m",
    "f": "woman female girl lady miss ms mrs madam ma'am daughter mother mom mama mommy aunt niece sister wife "
    "girlfriend bride widow queen princess duchess countess empress goddess maiden lass gal chick dame belle she her "
    "hers herself f",
}
_GENDERS = {word: code for code, words in _WORDS.items() for word in words.split()}


def _gender(text: str) -> str | None:
    return _GENDERS.get(text.lower().strip())


def _external_id(text: str) -> str | None:
    return re.sub(r"\s+", "", text).lower() or None


_NORMALIZERS: Mapping[str, Normalizer] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "ge": _gender,
    "db": _birth_date,
    "ct": _city,
    "st": _two_letters(_states),
    "zp": _zip,
    "country": _two_letters(_countries),
    "external_id": _external_id,
}


def _rule(normalize: Normalizer) -> Rule:
    def read(text: str, _: str | None) -> Reading:
        if not text:
            return None, None
        normal = text if _DIGEST.fullmatch(text) and normalize is not _email else normalize(text)
        return normal, (Cause.REFUSED_BY_BUILDER if normal is None else None)

    def rule(readable: Readable) -> Usable:
        usable = one_by_one(Readable(readable.text, pa.nulls(len(readable), pa.string())), read)
        return Usable(usable.text, usable.cause, matches(readable.text, "^(?:[a-f0-9]{32}|[A-Fa-f0-9]{64})$"))

    return rule


# The builder does not know the legacy parts: the SDK beside it does.
_LEGACY = {key: SDK[key] for key in ("f5first", "f5last", "fi", "dobd", "dobm", "doby")}

PARAM_BUILDER: Profile = {
    **{key: _rule(normalize) for key, normalize in _NORMALIZERS.items()},
    **_LEGACY,
    **dict.fromkeys(RAW, untouched),
}
