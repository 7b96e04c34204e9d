"""Profile ``meta``: what Meta's documentation asks for, and the pixel's own reading where the page is silent.

One small function a key; the canonical column of meta-capi.md 2.3. D:parameters/customer-information-parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.birth_dates import FIRST_YEAR, birth_date
from offline_capi.identity.countries import read_country, read_state
from offline_capi.identity.distinct import Reading, one_by_one
from offline_capi.identity.mending import is_broken, mended, undecorated, undecorated_id
from offline_capi.identity.phones import phone
from offline_capi.identity.postal import postal_code
from offline_capi.identity.raw import RAW
from offline_capi.identity.text import (
    ascii_digits,
    blank_where,
    frame,
    is_ascii,
    is_one_of,
    lowered,
    matches,
    strings,
    trimmed,
    whole_numbers,
    without,
)
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable
from offline_capi.meta.catalogue import USER_DATA_KEYS, Kind
from offline_capi.runtime.column_bytes import holds, where_begins

__all__ = ["META"]

_EMAIL = (
    r"^[^\s\p{C}\u{FFFD}@,;:<>()\[\]\x22\\]+"
    r"@(?:[\p{L}\p{N}_](?:[\p{L}\p{N}\p{M}_-]*[\p{L}\p{N}\p{M}_])?\.)+[\p{L}\p{M}][\p{L}\p{N}\p{M}-]*[\p{L}\p{N}\p{M}]$"
)
_ASCII_EMAIL = r"^[!#-'*+./0-9=?A-Z^-~-]+@(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]$"
_LONGEST_EMAIL = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


def email(readable: Readable) -> Usable:
    """Trimmed, lower-case. Dots and ``+tag`` stay: no rule of one provider is Meta's rule."""
    usable = Usable(lowered(readable.text))
    unusual = pc.fill_null(pc.invert(matches(usable.text, _ASCII_EMAIL)), False)
    if pc.any(unusual).as_py():
        usable = usable.patched(unusual, _unusual_email(usable.text.filter(unusual)))
    nobodys = pc.fill_null(is_one_of(usable.text, placeholders.EMAILS | placeholders.TEST_LEAD_EMAILS), False)
    if pc.any(nobodys).as_py():
        usable = usable.patched(nobodys, _nobodys_email(usable.text.filter(nobodys)))
    return usable.keep(Cause.NOT_AN_EMAIL, pc.less_equal(pc.binary_length(usable.text), _LONGEST_EMAIL))


def _nobodys_email(text: pa.Array) -> Usable:
    usable = Usable(text).refuse(Cause.TEST_LEAD, is_one_of(text, placeholders.TEST_LEAD_EMAILS))
    return usable.keep(Cause.PLACEHOLDER, pc.is_null(text))


def _unusual_email(text: pa.Array) -> Usable:
    """Addresses in other scripts, and what is no address."""
    usable = Usable(text).refuse(Cause.PLACEHOLDER, is_one_of(text, placeholders.WORDS))
    return usable.keep(Cause.NOT_AN_EMAIL, matches(text, _EMAIL))


# Blanks, punctuation, symbols and control characters of every script (D: "no punctuation"). Blanks go too, as in the
# pixel's own normaliser (CPB): the page is silent, and the server must match the browser.
_NOT_IN_A_NAME = r"[\s\p{P}\p{S}\p{Cc}\p{Cf}]+"


def _bare_name(readable: Readable) -> Usable:
    text = lowered(readable.text)
    usable = Usable(text).refuse(Cause.PLACEHOLDER, _is_no_name(text))
    bare = without(usable.text, _NOT_IN_A_NAME)
    usable = usable.become(lowered(bare), Cause.NO_LETTERS)
    return usable.keep(Cause.NO_LETTERS, matches(usable.text, r"\p{L}"))


def _is_no_name(text: pa.Array) -> pa.BooleanArray:
    return is_one_of(text, placeholders.WORDS | placeholders.NAMES)


def name(readable: Readable) -> Usable:
    """Lower-case letters of any script, no blanks, no punctuation; titles and accents stay."""
    usable = _bare_name(readable)
    return usable.refuse(Cause.PLACEHOLDER, _is_no_name(usable.text))


def _first_letters(count: int) -> Callable[[Readable], Usable]:
    def rule(readable: Readable) -> Usable:
        whole = name(readable)
        usable = Usable(lowered(pc.utf8_slice_codeunits(whole.text, 0, count)), whole.cause)
        usable = usable.keep(Cause.NO_LETTERS, matches(usable.text, r"\p{L}"))
        return usable.refuse(Cause.PLACEHOLDER, _is_no_name(usable.text))

    return rule


def gender(readable: Readable) -> Usable:
    """``f`` or ``m``, from a table of words."""
    return one_by_one(Readable(lowered(readable.text), pa.nulls(len(readable), pa.string())), _read_gender)


def _read_gender(text: str, _: str | None) -> Reading:
    found = _GENDERS.get(text.strip(" ."))
    if found is None and placeholders.is_placeholder(text):
        return None, Cause.PLACEHOLDER
    return (found, None) if found else (None, Cause.UNKNOWN_WORD)


_GENDER_WORDS = {
    "f": "f female woman girl lady she her mrs ms miss madam "
    "w weiblich frau femme féminin feminin mme mujer femenino femenina feminino feminina mulher sra "
    "femmina femminile donna vrouw vrouwelijk kvinna kvinne kvinde nainen kobieta žena nő kadın kadin "
    "женщина женский ж жен γυναίκα أنثى امرأة אישה נקבה महिला 女 女性 여 여자 여성 หญิง nữ perempuan wanita",
    "m": "m male man boy gentleman he him mr "
    "männlich maennlich mann herr homme masculin h hombre masculino sr homem maschio maschile uomo man mannelijk "
    "mand mies mężczyzna muž férfi erkek мужчина мужской муж άνδρας ذكر رجل גבר זכר पुरुष 男 男性 남 남자 남성 "
    "ชาย nam laki-laki pria",
}
_GENDERS = {word: code for code, words in _GENDER_WORDS.items() for word in words.split()}


def country(readable: Readable) -> Usable:
    """ISO 3166-1 alpha-2, from codes, numbers and names."""
    return one_by_one(Readable(lowered(readable.text), pa.nulls(len(readable), pa.string())), read_country)


def state(readable: Readable) -> Usable:
    """US and Canadian codes; elsewhere letters only, lower-case."""
    text = lowered(readable.text)
    usable = Usable(text).refuse(Cause.PLACEHOLDER, _is_no_name(text))
    read = one_by_one(Readable(usable.text, readable.country), read_state)
    merged = Usable(read.text, read.cause if usable.cause is None else pc.coalesce(usable.cause, read.cause))
    merged = merged.become(lowered(read.text), Cause.NO_LETTERS)
    merged = merged.refuse(Cause.PLACEHOLDER, _is_no_name(merged.text))
    return merged.keep(Cause.NO_LETTERS, matches(merged.text, r"\p{L}"))


def external_id(readable: Readable) -> Usable:
    """By the client's one policy, and nothing beyond it: the id must equal what its browser pixel sends."""
    policy = readable.policy
    written = undecorated_id(readable.text)
    text = pc.utf8_trim_whitespace(written) if policy.trim else written
    text = frame(text=text)["text"].str.to_lowercase() if policy.lower else text
    usable = Usable(_unless_blank(strings(text) if policy.lower else text))
    broken = None if is_ascii(usable.text) else matches(usable.text, r"[\u{80}-\u{84}\u{86}-\u{9F}\u{FFFD}]")
    usable = usable if broken is None else usable.refuse(Cause.BROKEN_TEXT, broken)
    usable = usable.refuse(Cause.PLACEHOLDER, is_one_of(lowered(usable.text), placeholders.WORDS))
    return replace(usable, final=pa.repeat(pa.scalar(policy.send == "raw"), len(readable)))


def _unless_blank(text: pa.Array) -> pa.Array:
    return blank_where(text, pc.equal(pc.utf8_trim_whitespace(text), ""))


def _number_between(first: int, last: int | None, digits: int) -> Callable[[Readable], Usable]:
    """A legacy part of a birth date, padded to ``digits``; ``last`` is this year where it is ``None``."""

    def rule(readable: Readable) -> Usable:
        text = whole_numbers(ascii_digits(trimmed(readable.text)))
        usable = Usable(text).keep(Cause.WRONG_SHAPE, matches(text, rf"^[0-9]{{{1 if digits < 4 else 4},{digits}}}$"))
        number = usable.text.cast(pa.int32())
        upper = readable.today.year if last is None else last
        fits = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, upper))
        padded = Usable(pc.utf8_lpad(usable.text, digits, "0"), usable.cause)
        return padded.keep(Cause.OUT_OF_RANGE, pc.fill_null(fits, True))

    return rule


_RULES: Mapping[Kind, Callable[[Readable], Usable]] = {
    "email": email,
    "phone": phone,
    "name": name,
    "gender": gender,
    "birth_date": birth_date,
    "city": name,
    "state": state,
    "postal_code": postal_code,
    "country": country,
    "external_id": external_id,
    "first_letters": _first_letters(5),
    "first_letter": _first_letters(1),
    "birth_day": _number_between(1, 31, 2),
    "birth_month": _number_between(1, 12, 2),
    "birth_year": _number_between(FIRST_YEAR, None, 4),
}


def _as_meant(rule: Rule) -> Rule:
    """``rule`` of the texts as they were before a spreadsheet, a shop or an encoding wrote them."""

    def meant(readable: Readable) -> Usable:
        text = mended(undecorated(readable.text))
        gone = [(Cause.BROKEN_TEXT, is_broken(text))]
        likely = where_begins(text, b"<# \t")
        few = None if likely is None else text.filter(likely)
        if few is not None and holds(few, "<", "#"):
            lead, error = (
                pc.replace_with_mask(likely, likely, matches(few, pattern))
                for pattern in (placeholders.TEST_LEAD, r"^\s*#\S*[!?]\s*$")
            )
            gone = [(Cause.TEST_LEAD, lead), *gone, (Cause.PLACEHOLDER, error)]
        tidy = Usable(text)
        for cause, where in gone:
            tidy = tidy if where is None else tidy.refuse(cause, where)
        usable = rule(replace(readable, text=tidy.text))
        return usable if tidy.cause is None else usable.also(tidy.cause)

    return meant


META: Profile = {
    **{
        key: _RULES[facts.kind] if key == "external_id" else _as_meant(_RULES[facts.kind])
        for key, facts in USER_DATA_KEYS.items()
        if facts.hashable and facts.kind in _RULES
    },
    **RAW,
}
