"""Profile ``sdk``: what the official ``facebook_business`` 26.0.3 gives, bit for bit, for those who migrate from it.

Its rules are stated in meta-capi.md 2.2 and tested against the SDK itself. They are weaker than Meta's documentation:
use this profile to compare, not to send. Values on which the SDK raises are null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

import pyarrow as pa
import pycountry

from offline_capi.identity.distinct import Reading, read_one_by_one
from offline_capi.identity.raw import RAW, keep_untouched
from offline_capi.identity.text import find_matches
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable

__all__ = ["SDK"]

Normalizer = Callable[[str], str | None]

_DIGEST = re.compile(r"[a-f0-9]{32}|[a-f0-9]{64}")
_EMAIL = re.compile(r".+@.+\..+")  # "." stops at a line break, and only the front must match
_PLACE_NOISE = re.compile(r"[0-9.\s\-()]")
_PHONE_NOISE = re.compile(r"[\s\-()]")
_EXIT_CODE = re.compile(r"\+?0{0,2}")
_PHONE = re.compile(r"\d{1,4}\(?\d{2,3}\)?\d{4,}")  # \d takes digits of every script here


def _as_is(text: str) -> str | None:
    return text


def _normalize_email(text: str) -> str | None:
    return text if _EMAIL.match(text) else None


def _normalize_phone(text: str) -> str | None:
    compact = _PHONE_NOISE.sub("", text)
    for _ in range(2):  # the SDK strips "+" and "00" in two steps, one after the other
        compact = _EXIT_CODE.sub("", compact, count=1)
    return compact if compact[:1] != "0" and _PHONE.fullmatch(compact) else None


def _normalize_region(text: str) -> str | None:
    return _PLACE_NOISE.sub("", text)


def _normalize_zip(text: str) -> str | None:
    return re.sub(r"\s", "", text).partition("-")[0]


def _normalize_country(text: str) -> str | None:
    letters = re.sub(r"[^a-z]", "", text)
    return letters if letters in _list_alpha_2() else None


@cache
def _list_alpha_2() -> frozenset[str]:
    return frozenset(country.alpha_2.lower() for country in pycountry.countries)


def _make_range_rule(first: int, last: int) -> Normalizer:
    def normalize(text: str) -> str | None:
        padded = "0" + text if len(text) == 1 else text
        try:
            return padded if first <= int(padded) <= last else None
        except ValueError:
            return None  # the SDK raises: not a number

    return normalize


def _normalize_year(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9]{4}", text) else None


def _make_prefix_rule(count: int) -> Normalizer:
    return lambda text: text[:count]


_NORMALIZERS: Mapping[str, Normalizer] = {
    "em": _normalize_email,
    "ph": _normalize_phone,
    "fn": _as_is,
    "ln": _as_is,
    "ge": _as_is,
    "db": _as_is,
    "ct": _normalize_region,
    "st": _normalize_region,
    "zp": _normalize_zip,
    "country": _normalize_country,
    "f5first": _make_prefix_rule(5),
    "f5last": _make_prefix_rule(5),
    "fi": _make_prefix_rule(1),
    "dobd": _make_range_rule(1, 31),
    "dobm": _make_range_rule(1, 12),
    "doby": _normalize_year,
}


def _make_rule(normalize: Normalizer) -> Rule:
    def read(text: str, _: str | None) -> Reading:
        if not text:
            return None, None
        tidy = text.lower().strip()
        normal = tidy if _DIGEST.fullmatch(tidy) else normalize(tidy)
        return normal, (Cause.REFUSED_BY_SDK if normal is None else None)

    def apply_rule(readable: Readable) -> Usable:
        usable = read_one_by_one(Readable(readable.text, pa.nulls(len(readable), pa.string())), read)
        return Usable(usable.text, usable.cause, _is_taken_for_digest(readable.text))

    return apply_rule


def _is_taken_for_digest(text: pa.Array) -> pa.BooleanArray:
    """Values that go out as they are: any 32 or 64 hex characters, so MD5 too."""
    return find_matches(text, r"^[\s\x1c-\x1f]*(?:[A-Fa-f0-9]{32}|[A-Fa-f0-9]{64})[\s\x1c-\x1f]*$")


def _pass_external_id(readable: Readable) -> Usable:
    return Usable(readable.text, final=pa.repeat(pa.scalar(value=True), len(readable)))


_UNTOUCHED: Mapping[str, Rule] = dict.fromkeys(RAW, keep_untouched)

SDK: Profile = {
    **{key: _make_rule(normalize) for key, normalize in _NORMALIZERS.items()},
    "external_id": _pass_external_id,
    **_UNTOUCHED,
}
