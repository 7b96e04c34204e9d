"""Profile ``meta``, key by key, beyond the documentation's own examples."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from offline_capi.identity import normalize
from offline_capi.identity.columns import get_rule
from offline_capi.identity.countries import _load_translations, find_standard_code, fold_name
from offline_capi.identity.verdict import Cause, Readable
from tools.country_names import translate_countries


def _normal(key: str, *values: str | None, country: str | None = None, formats: Sequence[str] = ()) -> list[str | None]:
    found: list[str | None] = normalize(
        key, pa.array(values, pa.string()), country=country, formats=formats
    ).to_pylist()
    return found


@pytest.mark.parametrize(
    "value",
    ["", " ", "x", "@b.co", "a@b", "a@@b.co", "a@b@c.co", "a@b..co", "a@.co", "a@b.co.", "<a@b.co>",
        "a@b.co,c@d.co", "a@b.c",
     "a\x00@b.co", "a\tb@c.de", "test@test.com", "n/a", "NULL", "a" * 250 + "@b.co", "a@-b.co",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
)  # fmt: skip
def test_no_email(value: str) -> None:
    """What is not one address is dropped."""
    assert _normal("em", value) == [None]


def test_email_keeps_what_identifies() -> None:
    """Dots, tags and other scripts stay; case, blanks and invisible marks go."""
    assert _normal("em", "J.Doe+X@Mail.Example.COM\u200b", "\ufeffMÜLLER@Exämple.DE", "o'brien@x-y.co.uk") == [
        "j.doe+x@mail.example.com",
        "müller@exämple.de",
        "o'brien@x-y.co.uk",
    ]


def test_names_in_every_script() -> None:
    """Lower-case as JavaScript does it: ß stays, a final sigma is final, İ keeps its dot."""
    assert _normal("ln", "GROẞ", "Groß", "ΟΔΥΣΣΕΥΣ", "İnce", "O’Neill", "Đặng", "王 小明", "d'Ávila-Núñez",
    "Иванов.") == [
        "groß", "groß", "οδυσσευς", "i̇nce", "oneill", "đặng", "王小明", "dávilanúñez", "иванов",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["", "-", "123", "!!!", "😀", "NULL", "Unknown", "xxx", "n/a", "\u200b\u200e", "N.A."]
)
def test_no_name(value: str) -> None:
    """Nothing with letters in it, or a word that means nothing."""
    assert _normal("fn", value) == [None]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("us", "us"), ("U.S.A.", "us"), ("United States of America", "us"), ("840", "us"), ("Deutschland", "de"),
        ("DEU", "de"), ("Österreich", "at"), ("ÖSTERREICH", "at"), ("España", "es"), ("Espana", "es"), ("日本", "jp"),
        ("대한민국", "kr"), ("South Korea", "kr"), ("Россия", "ru"), ("المغرب", "ma"), ("Maroc", "ma"), ("Ελλάδα",
        "gr"),
        ("Côte d’Ivoire", "ci"), ("XK", "xk"), ("Kosovo", "xk"), ("England", "gb"), ("Great Britain", "gb"),
        ("GBR", "gb"),
        ("Northern Ireland", "gb"), ("Ireland", "ie"), ("Schweiz", "ch"), ("Suisse", "ch"), ("Brasil", "br"),
        ("Türkiye", "tr"),
        ("Turkey", "tr"), ("Nederland", "nl"), ("The Netherlands", "nl"), ("Namibia", "na"), ("NA", "na"),
        ("Narnia", None),
        ("??", None), ("", None), ("unknown", None), ("Taiwan", "tw"), ("Hong Kong", "hk"), ("Viet Nam", "vn"),
        ("Vietnam", "vn"),
        ("zz", None),
    ],
)  # fmt: skip
def test_countries(written: str, code: str | None) -> None:
    """Codes and names, in English and in a language of the country."""
    assert _normal("country", written) == [code]


def test_names_of_countries_are_those_of_cldr() -> None:
    """``tools/country_names.py`` has written what babel of ``constraints.txt`` gives."""
    assert _load_translations() == translate_countries()
    assert {find_standard_code(fold_name(word)) for word in ("Germany", "Deutschland", "ドイツ", "Niemcy")} == {"de"}


@pytest.mark.parametrize(
    ("written", "country", "state"),
    [
        ("N.Y.", "US", "ny"), ("new york", "USA", "ny"), ("D.C.", "US", "dc"), ("District of Columbia", "US", "dc"),
        ("Washington D.C.", "US", "dc"), ("US-CA", "US", "ca"), ("AE", "US", "ae"), ("Puerto Rico", "US", "pr"),
        ("Kalifornien", "US", None), ("Québec", "CA", "qc"), ("Ontario", "CA", "on"), ("ON", "CA", "on"),
        ("Ontario", None, "on"),
        ("Georgia", "US", "ga"), ("Georgia", "GE", "georgia"), ("Nordrhein-Westfalen", "DE", "nordrheinwestfalen"),
        ("São Paulo", "BR", "sãopaulo"), ("東京都", "JP", "東京都"), ("n/a", "DE", None), ("12", "FR", None),
    ],
)  # fmt: skip
def test_states(written: str, country: str | None, state: str | None) -> None:
    """USPS and Canada Post codes for their countries, the docs' rule elsewhere."""
    assert _normal("st", written, country=country) == [state]


@pytest.mark.parametrize(
    ("written", "country", "code"),
    [
        ("501", "US", "00501"), ("2138", "US", "02138"), ("2138-1234", "US", "02138"), ("21381234", "US", "02138"),
        ("2138.0", "US", "02138"), ("94035 1234", "US", "94035"), ("K1A 0B1", "US", None), ("12", "US", None),
        ("00000", "US", None), ("2138", "DE", "02138"), ("K1A 0B1", "CA", "k1a0b1"), ("12345-678", "BR", "12345678"),
        ("１００−０００１", "JP", "1000001"), ("D-80331", "DE", "80331"), ("110001", "IN", "110001"), ("n/a",
        "GB", None),
        ("London", "GB", None), ("00907", "PR", "00907"), ("00907-1234", "PR", "00907"), ("99999", "US", None),
        ("sw1a1aa", "GB", "sw1a1aa"), ("12345 - 6789", "US", "12345"),
    ],
)  # fmt: skip
def test_postal_codes(written: str, country: str, code: str | None) -> None:
    """Lost zeros come back where the format of the country makes them certain."""
    assert _normal("zp", written, country=country) == [code]


@pytest.mark.parametrize(
    ("written", "formats", "normal"),
    [
        ("19970216", (), "19970216"), ("1997/2/6", (), "19970206"), ("1997-02-16T00:00:00Z", (), "19970216"),
        ("1997-02-16 00:00:00.000", (), "19970216"), ("16.2.1997", (), "19970216"), ("4/4/1997", (), "19970404"),
        ("19970216.0", (), "19970216"), ("13/13/1997", (), None), ("3/4/97", (), None), ("30/2/1997", (), None),
        ("1899-12-31", (), None), ("2999-01-01", (), None), ("1900-01-01", (), None), ("0000-00-00", (), None),
        ("n/a", (), None),
        ("3/4/1997", ("%d/%m/%Y",), "19970403"), ("3/4/1997", ("%m/%d/%Y",), "19970304"), ("16/2/1997",
        ("%m/%d/%Y",), None),
        ("03.04.97", ("%d.%m.%y",), "19970403"), ("03.04.45", ("%d.%m.%y",), "19450403"), ("16 Feb 1997",
        ("%d %b %Y",), "19970216"),
        ("1997-02-16", ("%d/%m/%Y",), "19970216"), ("3/4/1997 10:30", ("%d/%m/%Y %H:%M",), "19970403"),
        ("February 16, 1997", ("%d/%m/%Y", "%B %d, %Y"), "19970216"), ("１９９７０２１６", (), "19970216"),
    ],
)  # fmt: skip
def test_birth_dates(written: str, formats: tuple[str, ...], normal: str | None) -> None:
    """A date is read in a declared format, as ISO, or where one reading is possible; never guessed."""
    assert _normal("db", written, formats=formats) == [normal]


def test_genders() -> None:
    """Words of common languages; what is neither is dropped."""
    assert _normal("ge", "F", "m", "Female", "MÄNNLICH", "Mujer", "女性", "X", "diverse", "", None, "Mme.", "0") == [
        "f", "m", "f", "m", "f", "f", None, None, None, None, "f", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("fbc", "fb.1.1554763741205.AbCdEfGh-_", "fb.1.1554763741.AbC"),
        ("fbp", "fb.1.1596403881668.1116446470", "fb.1.1596403881.11"),
        ("fbc", "fb.2.1554763741205.AbC.AQMBAQEB", "1554763741205.AbC"),
        ("lead_id", "123456789012345", "1.2345678901234567E15"),
        ("lead_id", "12345678901234567", "123456789012345.0"),
        ("client_ip_address", "2001:db8::1", "999.1.1.1"),
        ("client_ip_address", "198.51.100.7", "fe80::1%eth0"),
        ("madid", "38400000-8cf0-11bd-b23e-10b96e40000d", "00000000-0000-0000-0000-000000000000"),
        ("client_user_agent", "Mozilla/5.0 (X11; Linux)", "null"),
        ("ctwa_clid", "ARAkLkA8rmlFeiCktEJQ-QTwRiyYHAFDLMNDBH0CD3q", "two words"),
        ("page_id", "123456789", "page"),
        ("fb_login_id", "1023456789", "1.02e9"),
        ("subscription_id", "sub_1Nv", "none"),
        ("anon_id", "XZ-1", ""),
        ("ig_sid", "1234567", "-1"),
        ("ig_account_id", "1784", "x"),
        ("page_scoped_user_id", "5551234", "5.5"),
        ("whatsapp_business_account_id", "102290129340398", "0"),
    ],
)
def test_raw_keys_keep_their_bytes(key: str, good: str, bad: str) -> None:
    """Raw keys are never changed, only looked at."""
    assert _normal(key, f" {good} ", bad) == [good, None]


def test_legacy_parts() -> None:
    """Parts of names and birth dates, in the digits the SDK gives them."""
    assert _normal("dobd", "1", "31", "32", "x") == ["01", "31", None, None]
    assert _normal("dobm", "7", "12", "0") == ["07", "12", None]
    assert _normal("doby", "1997", "97", "1899") == ["1997", None, None]
    assert _normal("f5first", "Mary-Ann", "Jo") == ["marya", "jo"]
    assert _normal("fi", "Élodie", "?") == ["é", None]


def test_other_arrow_types_are_read_as_text() -> None:
    """Ids and ZIPs arrive as numbers, dictionaries or chunks."""
    assert normalize("zp", pa.array([501.0, None, 94035.0]), country="US").to_pylist() == ["00501", None, "94035"]
    assert normalize("ph", pa.array([6505551212]), country="US").to_pylist() == ["16505551212"]
    assert normalize("fn", pa.chunked_array([["Mary"], ["Ann"]])).to_pylist() == ["mary", "ann"]
    assert normalize("fn", pa.array(["Mary", None]).dictionary_encode()).to_pylist() == ["mary", None]
    assert normalize("fn", pa.array(["x", "Mary"], pa.large_string()).slice(1)).to_pylist() == ["mary"]
    assert normalize("fn", pa.nulls(2)).to_pylist() == [None, None]


def test_country_beside_each_value() -> None:
    """``country`` may be an array, in any spelling."""
    values = pa.array(["020 7946 0958", "(650) 555-1212", "030 901820", "030 901820"])
    countries = pa.array(["United Kingdom", "USA", "de", None])

    assert normalize("ph", values, country=countries).to_pylist() == ["442079460958", "16505551212", "4930901820", None]


@pytest.mark.parametrize("key", ["fn", "ln"])
@pytest.mark.parametrize(
    ("value", "cause"),
    [("***", Cause.PLACEHOLDER), ("+!+", Cause.NO_LETTERS), ("123", Cause.NO_LETTERS), ("Unknown", Cause.PLACEHOLDER)],
)
def test_a_name_that_is_none_is_counted_under_its_cause(key: str, value: str, cause: Cause) -> None:
    written = Readable(pa.array([value], pa.string()), pa.nulls(1, pa.string()))

    usable = get_rule(key, "meta")(written)

    assert (usable.text.to_pylist(), usable.cause.to_pylist()) == ([None], [cause])
