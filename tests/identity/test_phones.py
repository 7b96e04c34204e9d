"""Phones: libphonenumber's semantics, whichever of the two ways a number takes."""

from __future__ import annotations

import gc
import os
import random
import re
from collections.abc import Iterator

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from phonenumbers import PhoneNumber
from phonenumbers import PhoneNumberFormat as Form
from phonenumbers import PhoneNumberType as Kind

from offline_capi.identity import normalize, phones
from offline_capi.identity.phones import _is_surely_too_short, _is_valid, normalize_phone, read_phone
from offline_capi.identity.verdict import Cause, Readable

EACH = int(os.environ.get("OFFLINE_CAPI_PHONES_EACH", "4"))
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = (
    Kind.FIXED_LINE, Kind.MOBILE, Kind.TOLL_FREE, Kind.PREMIUM_RATE,
    Kind.SHARED_COST, Kind.VOIP, Kind.UAN, Kind.PAGER, Kind.PERSONAL_NUMBER,
)  # fmt: skip


def _examples(region: str) -> list[phonenumbers.PhoneNumber]:
    found = (phonenumbers.example_number_for_type(region, kind) for kind in KINDS)
    return [number for number in found if number is not None]


def _spellings(number: phonenumbers.PhoneNumber) -> list[str]:
    national = phonenumbers.national_significant_number(number)
    forms = [phonenumbers.format_number(number, form) for form in (Form.E164, Form.INTERNATIONAL, Form.NATIONAL)]
    code = number.country_code
    return [*forms, national, f"0{national}", f"1{national}", f"8{national}", f"00{code}{national}",
        f"+{code}0{national}",
            f"+{code} (0){national}", f"{code}{national}", f"{forms[1]}.0", f"+{national}"]  # fmt: skip


def _noisy(rng: random.Random, text: str) -> str:
    """One digit changed, dropped or doubled: near misses are where two readers part."""
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(["", text[at] * 2, str(rng.randint(0, 9)), "-", " "]) + text[at + 1 :]


def _whole(text: str) -> str:
    """Without the ``.0`` that both ways cut off first."""
    return text.removesuffix(".0") if re.fullmatch(r"\d+\.0", text) else text


def _compared(texts: list[str], countries: list[str | None]) -> list[int]:
    """Rows for which the room's way and the library's way differ."""
    text, country = pa.array(texts, pa.string()), pa.array(countries, pa.string())
    both = normalize_phone(Readable(text, country)).text.to_pylist()
    plain = [read_phone(_whole(number.strip()), place)[0] for number, place in zip(texts, countries, strict=True)]
    return [n for n in range(len(texts)) if both[n] != plain[n]]


def test_p10_both_ways_agree_on_numbers_of_every_country() -> None:
    """Recognised by an automaton or read by the library: one answer, for every region, kind and spelling."""
    rng = random.Random("phones")
    texts, countries = [], []
    for region in REGIONS:
        spellings = [text for number in _examples(region) for text in _spellings(number)]
        spellings += [_noisy(rng, rng.choice(spellings)) for _ in range(EACH)]
        for text in spellings:
            texts.append(text)
            countries.append(rng.choice([region.lower(), region.lower(), region.lower(), "us", None]))

    assert [(texts[n], countries[n]) for n in _compared(texts, countries)] == []


def test_p10_both_ways_agree_on_any_digits() -> None:
    """Random digits in random countries: the automata never accept what the library does not."""
    rng = random.Random("digits")
    texts = [
        rng.choice(["", "+", "0", "1", "49", "46", "44"]) + "".join(rng.choices("0123456789", k=rng.randint(6, 11)))
        for _ in range(EACH * 400)
    ]
    countries = [rng.choice(REGIONS).lower() for _ in texts]

    texts += ["+113109512", "+13101234", "3101234", "13101234", "1 310 1234"] * 2
    countries += ["tm", "ca", "ca", "ca", "ca", "us", "us", "us", "us", "us"]
    texts += ["03011234567", "044111234567", "0 301 1234567"]  # in Colombia a carrier may stand behind the 0
    countries += ["co"] * 3

    assert [(texts[n], countries[n]) for n in _compared(texts, countries)] == []


def test_p10_one_country_a_column_agrees_too() -> None:
    """A column of one country, with numbers of others in it, takes a shorter way to the same answer."""
    rng = random.Random("one country")
    for place in ("us", "gb", "de", "it", "ca", "gg", "br", "fr"):
        texts = [
            text for region in (place.upper(), "US", "DE") for one in _examples(region) for text in _spellings(one)
        ]
        texts += [_noisy(rng, rng.choice(texts)) for _ in range(20)]

        assert [texts[n] for n in _compared(texts, [place] * len(texts))] == []


def _all_examples() -> tuple[pa.Array, pa.Array]:
    """E.164 of every example, and its region. Ascension and Tristan da Cunha have no country code of their own."""
    pairs = [(one, region) for region in REGIONS if region not in ("AC", "TA") for one in _examples(region)]
    numbers, regions = zip(*pairs, strict=True)
    return pa.array([phonenumbers.format_number(one, Form.E164) for one in numbers]), pa.array(regions)


def test_the_normal_form_is_the_whole_number() -> None:
    """With its plus back in front, a normal form is its own normal form, wherever it is read."""
    once = normalize("ph", _all_examples()[0])

    again = normalize("ph", pc.binary_join_element_wise("+", once, ""), country="US")

    assert once.null_count < len(once) / 20  # some examples are keypad sequences, which nobody owns
    assert again.to_pylist() == once.to_pylist()


def test_p10_idempotent_in_the_country_of_the_number() -> None:
    """Normalising twice changes nothing, in every country, without a plus too."""
    numbers, regions = _all_examples()
    once = normalize("ph", numbers)

    again = normalize("ph", once, country=regions)

    assert again.to_pylist() == once.to_pylist()


@pytest.mark.parametrize(
    ("written", "country", "normal"),
    [
        ("1-800-FLOWERS", "US", "18003569377"),
        ("００４４ ２０ ７９４６ ０９５８", "DE", "442079460958"),
        ("＋４４２０７９４６０９５８", None, "442079460958"),
        ("٠٥٠ ١٢٣ ٤٥٦٧", "AE", "971501234567"),
        ("0011 44 20 7946 0958", "AU", "442079460958"),
        ("0011 44 20 7946 0958", None, "442079460958"),
        ("6505551212.0", "US", "16505551212"),
        ("tel:+1-650-555-1212", None, "16505551212"),
        ("030 / 901820", "Germany", "4930901820"),
        ("06 6982 1234", "IT", "390669821234"),
        ("442079460958", None, "442079460958"),
        ("442079460958", "US", "442079460958"),
        ("\u202a+1 650 555 1212\u202c", None, "16505551212"),
        ("650\u00a0555\u20111212", "US", "16505551212"),
        ("+1 650 555 1212 x89", None, "16505551212"),
    ],
)
def test_spellings(written: str, country: str | None, normal: str) -> None:
    """Trunk zeros, exit codes, extensions, letters, other scripts' digits, invisible marks."""
    assert normalize("ph", pa.array([written]), country=country).to_pylist() == [normal]


@pytest.mark.parametrize(
    ("written", "country", "cause"),
    [
        ("650 555 1212", None, Cause.NO_COUNTRY),
        ("0000000000", "us", Cause.PLACEHOLDER),
        ("+1 000 000 0000", None, Cause.PLACEHOLDER),
        ("1234567890", "us", Cause.PLACEHOLDER),
        ("none", "us", Cause.NOT_A_NUMBER),
        ("555-1212", "us", Cause.TOO_SHORT),
        ("+1 650 555 12123", None, Cause.TOO_LONG),
        ("112 555 1212", "us", Cause.NOT_VALID),
        ("6.505551212E9", "us", Cause.NOT_A_NUMBER),
        ("+999 1234567", None, Cause.NOT_A_NUMBER),
    ],
)
def test_unusable_numbers_have_a_cause(written: str, country: str | None, cause: Cause) -> None:
    """Never hashed as they are, and counted by what is wrong."""
    usable = normalize_phone(Readable(pa.array([written]), pa.array([country], pa.string())))

    assert (usable.text.to_pylist(), usable.cause.to_pylist()) == ([None], [cause])


def test_numbers_that_the_library_refuses_leave_no_column_in_memory():
    """The library keeps its errors in cycles; with the frames of its callers they would hold whole batches."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        normalize("ph", pa.array([f"+0{i} call me" for i in range(50)]))
        gc.collect()
        kept = [one for one in gc.garbage if isinstance(one, pa.Array)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert kept == []


def _vary(number: PhoneNumber, chance: random.Random) -> PhoneNumber:
    """Some digits changed, one more or one less."""
    digits = [*phonenumbers.national_significant_number(number)]
    for _ in range(chance.randint(0, 2)):
        digits[chance.randrange(len(digits))] = str(chance.randrange(10))
    digits = [digits[1:], digits, [*digits, "7"]][chance.randrange(3)] or ["0"]
    text = "".join(digits)
    zeros = len(text) - len(text.lstrip("0"))
    return PhoneNumber(
        number.country_code, int(text), italian_leading_zero=zeros > 0, number_of_leading_zeros=zeros or None
    )


def test_a_number_is_valid_where_the_library_says_so() -> None:
    """Of every calling code and kind the library's own examples, and numbers that look like them."""
    chance, examples = random.Random(47), [PhoneNumber(code, 12345678) for code in (0, 999, 1234)]
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        if regions == ("001",):
            examples.append(phonenumbers.example_number_for_non_geo_entity(code))
        else:
            examples += [phonenumbers.example_number_for_type(region, kind) for region in regions for kind in range(11)]
    numbers = [number for number in examples if number is not None]
    numbers += [_vary(number, chance) for number in numbers for _ in range(4)]

    wanted = [phonenumbers.is_valid_number(number) for number in numbers]

    assert [_is_valid(number) for number in numbers] == wanted
    assert 1_000 < sum(wanted) < len(numbers) - 1_000


def _some_short_numbers(chance: random.Random, region: str) -> Iterator[str]:
    for length in range(1, 12):
        for _ in range(6):
            start = chance.choice(["", "", "0", "00", "1", "011", "8", "810"])
            digits = (start + "".join(chance.choices("0123456789", k=length)))[:length]
            at = chance.randrange(length)
            yield digits
            yield digits[:at] + chance.choice([" ", "-", ".", "/", ") "]) + digits[at:]
    own = str(phonenumbers.country_code_for_region(region))
    yield from (own, own + "12", own + "12345", "000", "11111", "12345")


def test_digits_that_are_surely_too_short_are_what_the_library_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every region, with the digits in front that mean something to the library; Antigua completes what is short."""
    chance = random.Random(13)
    cases = [(text, region.lower()) for region in REGIONS for text in _some_short_numbers(chance, region)]
    short = sum(_is_surely_too_short(re.sub(r"\D", "", text), country) for text, country in cases)

    read = [read_phone(*case) for case in cases]
    monkeypatch.setattr(phones, "_is_surely_too_short", lambda *_: False)

    assert read == [read_phone(*case) for case in cases]
    assert len(cases) // 4 < short < len(cases)
    assert read_phone("462 1234", "ag") == ("12684621234", None)
