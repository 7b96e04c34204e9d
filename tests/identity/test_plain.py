"""What is written plainly is recognised without its rule, which would answer the same."""

from __future__ import annotations

from datetime import date

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat as Form
from phonenumbers import PhoneNumberType as Kind

from offline_capi.identity import normalize, phone_plans, placeholders
from offline_capi.identity.birth_dates import recognise_birth_dates
from offline_capi.identity.columns import get_default_rule
from offline_capi.identity.emails import recognise_emails
from offline_capi.identity.meta import PLAIN
from offline_capi.identity.phone_plans import recognise_phones
from offline_capi.identity.verdict import Readable

TODAY = date(2026, 11, 24)
BLANKS = st.sampled_from(["", "", " ", "\t", "\n ", "\u00a0"])
MARKS = st.sampled_from(["", "", "'", "=", '"', '="', "&amp;", "#", "<", "\x1f", "a"])
NOBODY = st.sampled_from(sorted(placeholders.EMAILS | placeholders.TEST_LEAD_EMAILS))
LOCAL = st.one_of(st.text("aZ09.+-_'=&!#;\"é", min_size=1, max_size=8), st.just("x" * 250))
DOMAIN = st.one_of(st.text("aZ0-_.é", min_size=1, max_size=10), st.sampled_from(["a.de", "Mail.Example.COM", "b-.de"]))
EMAILS = st.one_of(
    st.tuples(BLANKS, MARKS, LOCAL, DOMAIN, MARKS, BLANKS).map(lambda p: f"{p[0]}{p[1]}{p[2]}@{p[3]}.co{p[4]}{p[5]}"),
    st.tuples(BLANKS, NOBODY, BLANKS).map("".join),
    NOBODY.map(str.upper),
    st.text(max_size=12),
)
DATES = st.one_of(
    st.dates(date(1898, 1, 1), date(2028, 1, 1)).map(date.isoformat),
    st.tuples(st.integers(1899, 2027), st.integers(0, 13), st.integers(0, 32)).map("{0[0]}-{0[1]:02}-{0[2]:02}".format),
    st.text("0123456789-/. ", max_size=11),
)
PHONES = st.one_of(
    st.text("0123456789+ ().-/", max_size=16),
    st.text("0123456789", min_size=7, max_size=12).map("{}.0".format),
    st.tuples(st.sampled_from(["", "1", "+1", "+1 1", "001", "011 44", "00", "+44 (0)", "'", "="]), st.sampled_from(
        ["212-555-2345", "(415) 555.0123", "20 7946 0958", "7400123456", "2222222222", "1234567890", "3101234"]
    ), st.sampled_from(["", "", ".0", ".0 ", " ", "\t", "x5", "٣"])).map("".join),
)  # fmt: skip


def check_agreement(key: str, values: list[str], country: str | None = None, formats: tuple[str, ...] = ()) -> None:
    """Each value that is recognised is what the rule of the column makes of it."""
    text = pa.array(values, pa.string())
    readable = Readable(text, pa.repeat(pa.scalar(country, pa.string()), len(text)), formats, TODAY)
    found = PLAIN[key](readable)
    if found is None:
        return
    expected = get_default_rule(key, "meta")(readable)
    causes = [None] * len(values) if expected.cause is None else expected.cause.to_pylist()
    assert expected.final is None or not any(expected.final.to_pylist())
    for value, one, other, cause in zip(values, found.to_pylist(), expected.text.to_pylist(), causes, strict=True):
        assert one is None or (one, None) == (other, cause), value


@given(st.lists(EMAILS, max_size=20))
@example(["'o@b.de", "=o@b.de", " 'o@b.de' ", "o'h@b.de", "TEST@fb.com", "a&amp;b@c.de", "x" * 250 + "@b.de"])
def test_p10_an_email_that_is_recognised_is_what_its_rule_says(values: list[str]) -> None:
    check_agreement("em", values)


@given(st.lists(DATES, max_size=20), st.sampled_from([(), ("%Y-%m-%d", "%d/%m/%Y"), ("%Y-%d-%m",), ("%d.%m.%Y",)]))
@example(["1900-01-01", "2026-11-24", "2026-12-25", "2025-12-31", "2023-02-29", "2024-02-29", "1980-04-31"], ())
def test_p10_a_date_that_is_recognised_is_what_its_rule_says(values: list[str], formats: tuple[str, ...]) -> None:
    check_agreement("db", values, formats=formats)


@given(st.lists(PHONES, max_size=20), st.sampled_from(["us", "gb", "de", "ca", "it", "bb", "gg", "mx", "zz", None]))
def test_p10_a_phone_that_is_recognised_is_what_its_rule_says(values: list[str], country: str | None) -> None:
    check_agreement("ph", values, country)


def test_what_is_common_is_recognised() -> None:
    """Or each value would take the long way, rightly and slowly."""
    emails = ["Ada.Lovelace+x@Mail.Example.co.uk ", "o'hara@example.com", "A_B@1x.de"]
    assert recognise_emails(pa.array(emails)).to_pylist() == [one.strip().lower() for one in emails]

    days = pa.array(["1980-04-05", "2025-12-31", "1999-02-28"])
    readable = Readable(days, pa.nulls(3, pa.string()), ("%Y-%m-%d",), TODAY)
    assert recognise_birth_dates(readable).to_pylist() == ["19800405", "20251231", "19990228"]

    numbers = ["(212) 456-7890", "+1 212.456.7890", "1-212-456-7890", "001 44 20 7946 0958", "+49 30 901820"]
    expected = ["12124567890"] * 3 + [None, "4930901820"]
    assert recognise_phones(pa.array(numbers), pa.repeat("us", 5)).to_pylist() == expected


def test_numbers_of_every_country_are_recognised() -> None:
    """As one writes them at home, and as E.164; islands within +1 and a few whose numbers change, only the library."""
    missed = {form: set[str]() for form in (Form.E164, Form.NATIONAL)}
    for region in phonenumbers.SUPPORTED_REGIONS:
        examples = [phonenumbers.example_number_for_type(region, kind) for kind in (Kind.MOBILE, Kind.FIXED_LINE)]
        for form, without in missed.items():
            numbers = [phonenumbers.format_number(one, form) for one in examples if one]
            found = recognise_phones(pa.array(numbers, pa.string()), pa.repeat(region.lower(), len(numbers)))
            if found.null_count == len(numbers):
                without.add(region)

    assert len(missed[Form.E164]) < 30, missed
    assert len(missed[Form.NATIONAL]) < 3, missed


def test_a_country_whose_expressions_are_not_known_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a newer one may have them."""
    numbering = phone_plans._load_numbering("fr")
    assert numbering is not None
    monkeypatch.setattr(phone_plans, "_load_numbering", lambda _: numbering._replace(kinds="(?=1).*"))
    phone_plans._load_rewriter.cache_clear()

    assert recognise_phones(pa.array(["06 12 34 56 78"]), pa.array(["fr"])).to_pylist() == [None]
    assert normalize("ph", pa.array(["06 12 34 56 78"]), country="FR").to_pylist() == ["33612345678"]

    monkeypatch.undo()
    phone_plans._load_rewriter.cache_clear()
    assert recognise_phones(pa.array(["06 12 34 56 78"]), pa.array(["fr"])).to_pylist() == ["33612345678"]
