"""Profile ``meta``: what Meta's documentation asks for, and the pixel's own reading where the page is silent.

One small function a key; the canonical column of meta-capi.md 2.3. D:parameters/customer-information-parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.birth_dates import FIRST_YEAR, normalize_birth_date, recognise_birth_dates
from offline_capi.identity.countries import read_country, read_state
from offline_capi.identity.distinct import Reading, read_one_by_one
from offline_capi.identity.emails import normalize_email, recognise_emails
from offline_capi.identity.phone_plans import recognise_phones
from offline_capi.identity.phones import normalize_phone
from offline_capi.identity.postal import normalize_postal_code
from offline_capi.identity.raw import RAW
from offline_capi.identity.repair import is_broken, repair_encoding, strip_decoration, strip_id_decoration
from offline_capi.identity.text import (
    as_strings,
    blank_where,
    find_matches,
    fold_digits,
    is_ascii,
    is_one_of,
    lower_text,
    make_frame,
    remove_matches,
    strip_zero_fraction,
    trim_text,
)
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable
from offline_capi.meta.catalogue import USER_DATA_KEYS, Kind
from offline_capi.runtime.automaton import is_compiled
from offline_capi.runtime.column_bytes import holds, where_begins

__all__ = ["META", "PLAIN"]

# Blanks, punctuation, symbols and control characters of every script (D: "no punctuation"). Blanks go too, as in the
# pixel's own normaliser (CPB): the page is silent, and the server must match the browser.
_NOT_IN_A_NAME = r"[\s\p{P}\p{S}\p{Cc}\p{Cf}]+"


def _normalize_bare_name(readable: Readable) -> Usable:
    text = lower_text(readable.text)
    usable = Usable(text).refuse(Cause.PLACEHOLDER, _is_no_name(text))
    bare = remove_matches(usable.text, _NOT_IN_A_NAME)
    usable = usable.become(lower_text(bare), Cause.NO_LETTERS)
    return usable.keep(Cause.NO_LETTERS, find_matches(usable.text, r"\p{L}"))


def _is_no_name(text: pa.Array) -> pa.BooleanArray:
    return is_one_of(text, placeholders.TEXTS | placeholders.NAMES)


def normalize_name(readable: Readable) -> Usable:
    """Lower-case letters of any script, no blanks, no punctuation; titles and accents stay."""
    usable = _normalize_bare_name(readable)
    return usable.refuse(Cause.PLACEHOLDER, _is_no_name(usable.text))


def _take_first_letters(count: int) -> Callable[[Readable], Usable]:
    def apply_rule(readable: Readable) -> Usable:
        whole = normalize_name(readable)
        usable = Usable(lower_text(pc.utf8_slice_codeunits(whole.text, 0, count)), whole.cause)
        usable = usable.keep(Cause.NO_LETTERS, find_matches(usable.text, r"\p{L}"))
        return usable.refuse(Cause.PLACEHOLDER, _is_no_name(usable.text))

    return apply_rule


def normalize_gender(readable: Readable) -> Usable:
    """``f`` or ``m``, from a table of words."""
    return read_one_by_one(Readable(lower_text(readable.text), pa.nulls(len(readable), pa.string())), _read_gender)


def _read_gender(text: str, _: str | None) -> Reading:
    found = _GENDERS.get(text.strip(" ."))
    if found is None and placeholders.is_placeholder(text):
        return None, Cause.PLACEHOLDER
    return (found, None) if found else (None, Cause.UNKNOWN_WORD)


_GENDER_NAMES = {
    "f": "f female woman girl lady she her mrs ms miss madam "
    "w weiblich frau femme féminin feminin mme mujer femenino femenina feminino feminina mulher sra "
    "femmina femminile donna vrouw vrouwelijk kvinna kvinne kvinde nainen kobieta žena nő kadın kadin "
    "женщина женский ж жен γυναίκα أنثى امرأة אישה נקבה महिला 女 女性 여 여자 여성 หญิง nữ perempuan wanita",
    "m": "m male man boy gentleman he him mr "
    "männlich maennlich mann herr homme masculin h hombre masculino sr homem maschio maschile uomo man mannelijk "
    "mand mies mężczyzna muž férfi erkek мужчина мужской муж άνδρας ذكر رجل גבר זכר पुरुष 男 男性 남 남자 남성 "
    "ชาย nam laki-laki pria",
}
_GENDERS = {word: code for code, words in _GENDER_NAMES.items() for word in words.split()}


def normalize_country(readable: Readable) -> Usable:
    """ISO 3166-1 alpha-2, from codes, numbers and names."""
    return read_one_by_one(Readable(lower_text(readable.text), pa.nulls(len(readable), pa.string())), read_country)


def normalize_state(readable: Readable) -> Usable:
    """US and Canadian codes; elsewhere letters only, lower-case."""
    text = lower_text(readable.text)
    usable = Usable(text).refuse(Cause.PLACEHOLDER, _is_no_name(text))
    read = read_one_by_one(Readable(usable.text, readable.country), read_state)
    merged = Usable(read.text, read.cause if usable.cause is None else pc.coalesce(usable.cause, read.cause))
    merged = merged.become(lower_text(read.text), Cause.NO_LETTERS)
    merged = merged.refuse(Cause.PLACEHOLDER, _is_no_name(merged.text))
    return merged.keep(Cause.NO_LETTERS, find_matches(merged.text, r"\p{L}"))


def normalize_external_id(readable: Readable) -> Usable:
    """By the client's one policy, and nothing beyond it: the id must equal what its browser pixel sends."""
    policy = readable.policy
    written = strip_id_decoration(readable.text)
    text = pc.utf8_trim_whitespace(written) if policy.trim else written
    text = make_frame(text=text)["text"].str.to_lowercase() if policy.lower else text
    text = as_strings(text) if policy.lower else text
    usable = Usable(blank_where(text, pc.equal(text if policy.trim else pc.utf8_trim_whitespace(text), "")))
    broken = None if is_ascii(usable.text) else find_matches(usable.text, r"[\u{80}-\u{84}\u{86}-\u{9F}\u{FFFD}]")
    usable = usable if broken is None else usable.refuse(Cause.BROKEN_TEXT, broken)
    usable = usable.refuse(Cause.PLACEHOLDER, is_one_of(lower_text(usable.text), placeholders.TEXTS))
    return replace(usable, final=pa.repeat(pa.scalar(policy.send == "raw"), len(readable)))


def _make_number_rule(first: int, last: int | None, digits: int) -> Callable[[Readable], Usable]:
    """A legacy part of a birth date, padded to ``digits``; ``last`` is this year where it is ``None``."""

    def apply_rule(readable: Readable) -> Usable:
        text = strip_zero_fraction(fold_digits(trim_text(readable.text)))
        usable = Usable(text).keep(
            Cause.WRONG_SHAPE, find_matches(text, rf"^[0-9]{{{1 if digits < 4 else 4},{digits}}}$")
        )
        number = usable.text.cast(pa.int32())
        upper = readable.today.year if last is None else last
        fits = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, upper))
        padded = Usable(pc.utf8_lpad(usable.text, digits, "0"), usable.cause)
        return padded.keep(Cause.OUT_OF_RANGE, pc.fill_null(fits, True))

    return apply_rule


_RULES: Mapping[Kind, Callable[[Readable], Usable]] = {
    "email": normalize_email,
    "phone": normalize_phone,
    "name": normalize_name,
    "gender": normalize_gender,
    "birth_date": normalize_birth_date,
    "city": normalize_name,
    "state": normalize_state,
    "postal_code": normalize_postal_code,
    "country": normalize_country,
    "external_id": normalize_external_id,
    "first_letters": _take_first_letters(5),
    "first_letter": _take_first_letters(1),
    "birth_day": _make_number_rule(1, 31, 2),
    "birth_month": _make_number_rule(1, 12, 2),
    "birth_year": _make_number_rule(FIRST_YEAR, None, 4),
}


def _as_meant(rule: Rule) -> Rule:
    """``rule`` of the texts as they were before a spreadsheet, a shop or an encoding wrote them."""

    def apply_rule(readable: Readable) -> Usable:
        text = repair_encoding(strip_decoration(readable.text))
        gone = [(Cause.BROKEN_TEXT, is_broken(text))]
        likely = where_begins(text, b"<# \t")
        few = None if likely is None else text.filter(likely)
        if few is not None and holds(few, "<", "#"):
            lead, error = (
                pc.replace_with_mask(likely, likely, find_matches(few, pattern))
                for pattern in (placeholders.TEST_LEAD, r"^\s*#\S*[!?]\s*$")
            )
            gone = [(Cause.TEST_LEAD, lead), *gone, (Cause.PLACEHOLDER, error)]
        tidy = Usable(text)
        for cause, where in gone:
            tidy = tidy if where is None else tidy.refuse(cause, where)
        usable = rule(replace(readable, text=tidy.text))
        if not is_ascii(usable.text):  # "´ß²" is "ß²" by the rule, which would be read as one letter the next time
            usable = usable.refuse(Cause.BROKEN_TEXT, pc.not_equal(repair_encoding(usable.text), usable.text))
        return usable if tidy.cause is None else usable.add_causes(tidy.cause)

    return apply_rule


META: Profile = {
    **{
        key: _RULES[facts.kind] if key == "external_id" else _as_meant(_RULES[facts.kind])
        for key, facts in USER_DATA_KEYS.items()
        if facts.hashable and facts.kind in _RULES
    },
    **RAW,
}

#: Of keys whose values hardly repeat: the normal forms of those that are written plainly, null where the rule decides;
#: ``None`` where it decides everywhere. The rule of phone numbers uses the same automata itself.
PLAIN: Mapping[str, Callable[[Readable], pa.Array | None]] = {
    "db": lambda readable: recognise_birth_dates(readable) if is_compiled() else None,
    "em": lambda readable: recognise_emails(readable.text) if is_compiled() else None,
    "ph": lambda readable: recognise_phones(readable.text, readable.country),
}
