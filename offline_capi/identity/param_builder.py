"""Profile ``param_builder``: what Meta's parameter builder for Node 1.3.2 makes of a value, without its suffix.

A port of the browser pixel's normaliser (CPB src/piiUtil), measured by the builder's own published test pairs
(``offline-capi profile conformance``). It loses accented letters of cities, cuts every state to two letters and reads
ambiguous dates month first: use it to compare, not to send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from pathlib import Path

import pyarrow as pa

from offline_capi.identity.distinct import Reading, one_by_one
from offline_capi.identity.raw import RAW, untouched
from offline_capi.identity.sdk import SDK
from offline_capi.identity.text import matches
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable

__all__ = ["PARAM_BUILDER"]

Normalizer = Callable[[str, date], str | None]

# JavaScript's \s and trim(): the byte-order mark is a blank, the separators U+001C to U+001F and U+0085 are none.
_BLANK = "\\t\\n\\v\\f\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"
_BLANKS = re.compile(f"[{_BLANK}]+")
_OUTER_BLANKS = re.compile(f"^[{_BLANK}]+|[{_BLANK}]+$(?!\n)")
# PIIUtil.js, SHA_256_OR_MD5_REGEX and isAlreadyNormalizedAndHashedByParamBuilder.
_DIGEST = rf"^[{_BLANK}]*([A-Fa-f0-9]{{64}}|[A-Fa-f0-9]{{32}})(?:\.(?:AQ|Ag|Aw|BA|BQ|Bg|[^.]{{8}}))?[{_BLANK}]*$"
_LOOKS_HASHED = re.compile(r"[A-Fa-f0-9]{64}")
_LOCAL = r"[0-9A-Za-z_!#$%&'*+/=?^`{|}~-]+"
_EMAIL = re.compile(  # the "(:?" is theirs: a colon may stand before a dot
    rf"{_LOCAL}(:?\.{_LOCAL})*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
)
_BLANKS_AND_PUNCTUATION = re.compile(rf"[{_BLANK}!-/:-@\[-`{{-~]+")
_NAMES_FILE = Path(__file__).parent / "data" / "param_builder_names.txt"


def _trim(text: str) -> str:
    return _OUTER_BLANKS.sub("", text)


def _email(text: str, _: date) -> str | None:
    tidy = _trim(text.lower())
    return tidy if _EMAIL.fullmatch(tidy) else None


def _phone(text: str, _: date) -> str | None:
    return re.sub(r"[^0-9]", "", text).lstrip("0") or None


def _name(text: str, _: date) -> str | None:
    return _BLANKS_AND_PUNCTUATION.sub("", text).lower() or None


def _city(text: str, _: date) -> str | None:
    latin = re.sub(r"[^a-zA-Z0-9]", "", text).lower()
    return latin if latin[:1].isalpha() else None


def _two_letters(section: str) -> Normalizer:
    """A name that is, or contains, a known one gives its code; anything else is cut to two letters."""

    def normalize(text: str, _: date) -> str | None:
        letters = re.sub(r"[^a-z]", "", text.lower())
        if len(letters) <= 2:
            return letters or None
        known = _names()[section]
        inside = (code for word, code in known.items() if word in letters)
        return (known.get(letters) or next(inside, letters))[:2]

    return normalize


@cache
def _names() -> Mapping[str, Mapping[str, str]]:
    """The tables ``state`` (provinces of Canada, then the fifty states) and ``country``."""
    sections: dict[str, dict[str, str]] = {}
    for line in _NAMES_FILE.read_text(encoding="ascii").splitlines():
        name, code, *more = line.split()
        if name == "#" and not more:
            table = sections.setdefault(code, {})
        elif name != "#":
            table[name] = code
    return sections


def _zip(text: str, _: date) -> str | None:
    front = _trim(text.lower().partition("-")[0])
    return front if _units(front) >= 2 else None


def _units(text: str) -> int:
    """JavaScript's length: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _birth_date(text: str, today: date) -> str | None:
    groups = re.findall(r"[0-9]+", text)
    if len(groups) >= 3:
        first, second, third = (int(group) for group in groups[:3])
        found = _year_month_day(first, second, third, today)
        if found is not None:
            return found
    return groups[0] if len(groups) == 1 and len(groups[0]) == 8 else None


def _year_month_day(first: int, second: int, third: int, today: date) -> str | None:
    """The year is the number above 31, else the last; of the other two the month comes first if it can."""
    if first > 31:
        year, one, two = first, second, third
    elif second > 31:
        year, one, two = second, third, first
    else:
        year, one, two = third, first, second
    month, day = (two, one) if one > 12 else (one, two)
    plausible = 1800 <= year <= today.year + 1 and 1 <= month <= 12 and 1 <= day <= 31
    return f"{year:04}{month:02}{day:02}" if plausible else None


_WORDS = {
    "m": "man male boy gentleman guy sir mister mr son father dad daddy papa uncle nephew brother husband boyfriend "
    "groom widower king prince duke count emperor god lord lad fellow chap bloke dude he him his himself m",
    "f": "woman female girl lady miss ms mrs madam ma'am daughter mother mom mama mommy aunt niece sister wife "
    "girlfriend bride widow queen princess duchess countess empress goddess maiden lass gal chick dame belle she her "
    "hers herself f",
}
_GENDERS = {word: code for code, words in _WORDS.items() for word in words.split()}


def _gender(text: str, _: date) -> str | None:
    return _GENDERS.get(_trim(text.lower()))


def _external_id(text: str, _: date) -> str | None:
    return _BLANKS.sub("", text).lower() or None


_NORMALIZERS: Mapping[str, Normalizer] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "ge": _gender,
    "db": _birth_date,
    "ct": _city,
    "st": _two_letters("state"),
    "zp": _zip,
    "country": _two_letters("country"),
    "external_id": _external_id,
}


def _rule(normalize: Normalizer) -> Rule:
    def rule(readable: Readable) -> Usable:
        def read(text: str, _: str | None) -> Reading:
            if not text:
                return None, None
            digest = re.fullmatch(_DIGEST, text)
            normal = digest[1].lower() if digest else normalize(text, readable.today)
            return normal, (Cause.REFUSED_BY_BUILDER if normal is None else None)

        usable = one_by_one(Readable(readable.text, pa.nulls(len(readable), pa.string())), read)
        return Usable(usable.text, usable.cause, matches(readable.text, _DIGEST))

    return rule


# The builder does not know the legacy parts: the SDK beside it does.
_LEGACY = {key: rule for key, rule in SDK.items() if key not in _NORMALIZERS and key not in RAW}

PARAM_BUILDER: Profile = {
    **{key: _rule(normalize) for key, normalize in _NORMALIZERS.items()},
    **_LEGACY,
    **dict.fromkeys(RAW, untouched),
}
