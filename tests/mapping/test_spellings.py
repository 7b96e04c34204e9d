"""Spellings of money, times and ids as sources write them: each with the value it means, and where it was seen.

``None`` is a value that is refused. Sources: [1] sharetribe/ftw-daily#568, [2] logly/mureo#372, [3] Square's
transactions export, [4] SAP's trailing minus, [5] Unicode CLDR number patterns, [6] ISO 4217, [7] ISO 8601, [8] RFC
3339, [9] Lingtai-AI/lingtai-kernel#729 and BigQuery's timestamps, [10] pandas-dev/pandas#46038, [11] Excel's text
marks, [12] pulibrary/orangelight#2695, [13] pandas' floats of whole numbers, [14] price-format/Jquery-Price-Format#64.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from offline_capi.config.formats import find_format_problem
from offline_capi.mapping.numerals import money_sign, read_money, read_numbers
from offline_capi.mapping.times import TimeRule, read_instants
from tests.mapping.mapped import faults, mapped, source

# ---------------------------------------------------------------------------------------------- money

#: text, what it is with a decimal point, what it is with a decimal comma, the sign that a message names
MONEY = [
    ("$12.50", 12.5, 12.5, "$"),  # [3]
    ("$1,012.50", 1012.5, 1012.5, "$"),  # [3]
    ("-$12.50", -12.5, -12.5, "$"),  # [3]
    ("$-12.50", -12.5, -12.5, "$"),
    ("($12.50)", -12.5, -12.5, "$"),  # [3]
    ("$ (12.50)", -12.5, -12.5, "$"),
    ("(12.50)", -12.5, -12.5, "( )"),  # accountants
    ("(1,234.50)", -1234.5, -1234.5, "( )"),
    ("(12.50) USD", -12.5, -12.5, "USD"),
    ("12.50-", -12.5, -12.5, "-"),  # [4]
    ("1.234,56-", -1234.56, -1234.56, "-"),  # [4]
    ("\u221212.50", -12.5, -12.5, "\u2212"),  # [5] U+2212
    ("\u2212$5", -5.0, -5.0, None),
    ("\uff0d5", -5.0, -5.0, "\u2212"),
    ("12.50 €", 12.5, 12.5, "€"),  # [1]
    ("12,50 €", 12.5, 12.5, "€"),
    ("12,50\u00a0€", 12.5, 12.5, "€"),  # [5] a no-break space before the sign
    ("12,50\u202f€", 12.5, 12.5, "€"),  # [5] French
    ("1\u202f234,56 €", 1234.56, 1234.56, "€"),
    ("1.234,56 €", 1234.56, 1234.56, "€"),
    ("€ 1.234,56", 1234.56, 1234.56, "€"),  # [5] Dutch
    ("€-5", -5.0, -5.0, "€"),
    ("€ -5", -5.0, -5.0, "€"),
    ("EUR 12.50", 12.5, 12.5, "EUR"),  # [6]
    ("12.50 EUR", 12.5, 12.5, "EUR"),
    ("12.50EUR", 12.5, 12.5, "EUR"),
    ("USD12.50", 12.5, 12.5, "USD"),
    ("CHF 1'234.50", 1234.5, 1234.5, "CHF"),  # [5] Swiss
    ("CHF 1\u2019234.50", 1234.5, 1234.5, "CHF"),
    ("R$ 1.234,56", 1234.56, 1234.56, "R$"),  # [5] Brazil
    ("R$1.234,56", 1234.56, 1234.56, "R$"),
    ("US$5", 5.0, 5.0, "US$"),
    ("A$5.00", 5.0, 5.0, "A$"),
    ("£.50", 0.5, None, "£"),
    ("£1,234", 1234.0, 1.234, "£"),  # the declared mark decides what is open
    ("¥1,200", 1200.0, 1.2, "¥"),
    ("¥1200", 1200.0, 1200.0, "¥"),
    ("￥1200", 1200.0, 1200.0, "￥"),
    ("₩12,000", 12000.0, 12.0, "₩"),
    ("₹ 1,00,000.00", 100000.0, 100000.0, "₹"),  # [5] India
    ("1,23,456.78", 123456.78, 123456.78, "1,23,456"),  # [5] India
    ("12,34,567", 1234567.0, 1234567.0, "1,23,456"),
    ("-1,23,456.78", -123456.78, -123456.78, "1,23,456"),
    ("Rs. 1,23,456", 123456.0, 123456.0, "Rs."),
    ("kr 12,50", 12.5, 12.5, "kr"),
    ("12,50 kr", 12.5, 12.5, "kr"),
    ("12,50 kr.", 12.5, 12.5, "kr."),
    ("5 zł", 5.0, 5.0, "zł"),
    ("12 Kč", 12.0, 12.0, "Kč"),
    ("1 234,50 Ft", 1234.5, 1234.5, "Ft"),
    ("RM 12.50", 12.5, 12.5, "RM"),
    ("Rp 12.500", 12.5, 12500.0, "Rp"),
    ("S/ 12.50", 12.5, 12.5, "S/"),
    ("₺12,50", 12.5, 12.5, "₺"),
    ("12,50 TL", 12.5, 12.5, "TL"),
    ("\u0661\u0662\u066b\u0665\u0660", 12.5, 12.5, "digits"),  # [5] Arabic-Indic, with U+066B
    ("\u0661\u0662\u066b\u0665\u0660\u0660", 12.5, 12.5, "digits"),
    ("\u0661\u066c\u0662\u0663\u0664", 1234.0, 1234.0, "digits"),
    ("\u06f1\u06f2\u06f3", 123.0, 123.0, "digits"),  # [5] Persian
    ("１２．５０", 12.5, 12.5, "digits"),  # full width
    ("１,２３４", 1234.0, 1.234, "digits"),
    # As numbers are read: no word is needed.
    ("12.50", 12.5, 12.5, None),
    ("1'234.50", 1234.5, 1234.5, None),
    ("1 234,50", 1234.5, 1234.5, None),
    ("1.234.567,89", 1234567.89, 1234567.89, None),
    ("0", 0.0, 0.0, None),
    ("1e3", 1000.0, 1000.0, None),
    # Refused rather than guessed.
    ("12.50.", None, None, None),
    ("NaN", None, None, None),
    ("inf", None, None, None),
    ("-", None, None, None),
    ("$", None, None, None),
    ("USD", None, None, None),
    ("QTY 5", None, None, None),  # three capitals that are no currency
    ("(5", None, None, None),
    ("5)", None, None, None),
    ("(-5)", None, None, None),  # minus times minus, or a slip
    ("--5", None, None, None),
    ("-5-", None, None, None),
    ("12.50 CR", None, None, None),
    ("12 50", None, None, None),
    ("1.5 %", None, None, None),
    ("$12.50 / month", None, None, None),
    ("12.50 foo", None, None, None),
    ("1,23,45", None, None, None),
    ("$1,23.50", None, None, None),
    ("from $5", None, None, None),
    ("$5-$9", None, None, None),
]


@pytest.mark.parametrize(("text", "with_point", "with_comma", "sign"), MONEY)
def test_money_is_read_where_it_is_declared(text, with_point, with_comma, sign):
    values = pa.array([text])

    assert read_money(values, ".").to_pylist() == [with_point]
    assert read_money(values, ",").to_pylist() == [with_comma]
    plain = read_numbers(values, ".").to_pylist()[0]
    assert plain in (None, with_point)
    if plain is None and with_point is not None and sign is not None:
        assert money_sign(values).to_pylist() == [sign]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([12.345, 1000.5]),
        pa.array([Decimal("12.345"), Decimal("1000.5")]),
        pa.array([12.345, 1000.5], pa.float32()),
    ],
)
@pytest.mark.parametrize("kind", ["number", "money"])
def test_a_decimal_mark_speaks_of_text_alone(values, kind):  # [14]
    rows = mapped(source(v=values), custom_data={"value": {"column": "v", "decimal": ",", "type": kind}})

    assert rows.custom["value"].to_pylist() == [12.345, 1000.5]


def test_a_sign_that_is_not_declared_is_named():
    rows = source(v=["$5", "6.50 €", "7", "12.50 foo"])

    assert faults(mapped(rows, custom_data={"value": "v"})) == [
        ("money_sign", 'custom_data.value with "$"', [1]),
        ("money_sign", 'custom_data.value with "€"', [2]),
        ("unreadable_value", "custom_data.value", [1, 2, 4]),
    ]


def test_a_sign_of_another_currency_is_a_fault():
    rows = source(v=["$5", "6.50 €", "7", "USD 8", "CHF 9", "£1"], c=["USD", "USD", "EUR", "usd", "USD", "EUR"])

    read = mapped(rows, custom_data={"value": {"column": "v", "type": "money"}, "currency": {"column": "c"}})

    assert read.custom["value"].to_pylist() == [5.0, 6.5, 7.0, 8.0, 9.0, 1.0]
    assert faults(read) == [("other_currency", "custom_data.value", [2, 5])]


# ---------------------------------------------------------------------------------------------- times

NEW_YORK = "America/New_York"  # five hours behind UTC in November
AT_TEN = datetime(2026, 11, 27, 10, tzinfo=UTC)
AT_TEN_THERE = datetime(2026, 11, 27, 15, tzinfo=UTC)

#: text, format, the instant where naive times stand in New York
TIMES = [
    ("2026-11-27T10:00:00Z", None, AT_TEN),  # [8]
    ("2026-11-27T10:00:00z", None, AT_TEN),
    ("2026-11-27 10:00:00+00:00", None, AT_TEN),
    ("2026-11-27T05:00:00-05:00", None, AT_TEN),
    ("2026-11-27 10:00:00 UTC", None, AT_TEN),  # [9]
    ("2026-11-27T10:00:00", None, AT_TEN_THERE),  # [7]
    ("2026-11-27 10:00", None, AT_TEN_THERE),
    ("1795773600", None, AT_TEN),
    ("1795773600000", None, AT_TEN),
    # A zone in the format itself is kept.
    ("2026-11-27T10:00:00Z", "%Y-%m-%dT%H:%M:%SZ", AT_TEN),  # [9]
    ("2026-11-27T10:00:00.123Z", "%Y-%m-%dT%H:%M:%S.%fZ", AT_TEN),
    ("2026-11-27 10:00:00 UTC", "%Y-%m-%d %H:%M:%S UTC", AT_TEN),  # [9]
    ("2026-11-27 10:00:00UTC", "%Y-%m-%d %H:%M:%SUTC", AT_TEN),
    ("Fri, 27 Nov 2026 10:00:00 GMT", "%a, %d %b %Y %H:%M:%S GMT", AT_TEN),
    ("2026-11-27 10:00:00+00:00", "%Y-%m-%d %H:%M:%S+00:00", AT_TEN),
    ("2026-11-27 10:00:00 +0000", "%Y-%m-%d %H:%M:%S +0000", AT_TEN),
    ("2026-11-27 12:00:00+02:00", "%Y-%m-%d %H:%M:%S+02:00", AT_TEN),
    ("2026-11-27 05:00:00-0500", "%Y-%m-%d %H:%M:%S-0500", AT_TEN),
    ("27.11.2026 10:00Z", "%d.%m.%Y %H:%MZ", AT_TEN),
    ("Z 27.11.2026 10:00", "Z %d.%m.%Y %H:%M", AT_TEN),
    # Offsets in the values are kept.
    ("2026-11-27 12:00:00+0200", "%Y-%m-%d %H:%M:%S%z", AT_TEN),
    ("2026-11-27 10:00:00Z", "%Y-%m-%d %H:%M:%S%z", AT_TEN),
    # All else stands in the zone.
    ("11/27/2026 10:00:00", "%m/%d/%Y %H:%M:%S", AT_TEN_THERE),
    ("11/27/2026 10:00:00 AM", "%m/%d/%Y %I:%M:%S %p", AT_TEN_THERE),
    ("11/27/2026 10:00 am", "%m/%d/%Y %I:%M %p", AT_TEN_THERE),
    ("27.11.2026 10:00 Uhr", "%d.%m.%Y %H:%M Uhr", AT_TEN_THERE),
    ("20261127 100000", "%Y%m%d %H%M%S", AT_TEN_THERE),
    ("27-Nov-2026 10:00", "%d-%b-%Y %H:%M", AT_TEN_THERE),
    ("2026-11-27T10:00:00", "%Y-%m-%dT%H:%M:%S", AT_TEN_THERE),
    ("2026-11-27", "%Y-%m-%d", datetime(2026, 11, 27, 5, tzinfo=UTC)),
    ("2026-11-27Z", "%Y-%m-%dZ", datetime(2026, 11, 27, tzinfo=UTC)),
    # Refused rather than guessed.
    ("11/27/2026", None, None),
    ("27.11.2026 10:00", None, None),
    ("2026-11-27T10:00:00 EST", None, None),
    ("2026-02-30", None, None),
    ("2026-11-27T24:30:00", None, None),
    ("26-11-27", "%Y-%m-%d", None),
    ("2026-11-27 10:00:00", "%Y-%m-%d %H:%M:%SZ", None),
    ("1795773", None, None),
    ("yesterday", None, None),
]


@pytest.mark.parametrize(("text", "form", "instant"), TIMES)
def test_times_are_the_instants_that_they_say(text, form, instant):
    rule = TimeRule((form,) if form else (), zone=NEW_YORK)

    assert read_instants(pa.array([text]), rule).to_pylist() == [instant]


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("%m/%d/%Y %H:%M:%S %p", "write %I"),  # [10]
        ("%m/%d/%Y %T %p", "write %I"),
        ("%m/%d/%Y %I:%M", "without %p"),
        ("%Y-%m-%d %H", "without minutes"),
        ("%Y-%m-%d %H:%M:%S %Z", '"%Z" cannot be read'),
        ("%Y-%m-%d %H:%M:%S EST", '"EST" in'),
        ("%Y-%m-%d %H:%M CET", '"CET" in'),
        ("%Y-%m-%d %H:%M PDT", '"PDT" in'),
        ("%H:%M", "does not name a year"),
        ("%Y-%m", "does not name a year and a day"),
    ],
)
def test_a_format_that_loses_something_is_a_problem_of_the_configuration(form, problem):
    assert problem in (find_format_problem(form) or "")


# ---------------------------------------------------------------------------------------------- ids

#: what the column holds, the id in a template, or the reason why there is none
IDS = [
    ("1001", "o-1001"),
    ("A-1001", "o-A-1001"),
    ("#1004", "o-#1004"),
    ("1,005", "o-1,005"),
    ('="1001"', "o-1001"),  # [11]
    ('="00123"', "o-00123"),
    ('="A-7"', "o-A-7"),
    ("'1002", "o-1002"),  # [11]
    ("'02134", "o-02134"),
    ("'+49151", "o-+49151"),
    ("'2026-11-27", "o-2026-11-27"),
    ("'t Hart", "o-'t Hart"),  # a name, and no mark
    ("'90s", "o-'90s"),
    ('=A1&"x"', 'o-=A1&"x"'),
    ("1003.0", "o-1003"),  # [13]
    ("1003.00", "o-1003"),
    ("-7.0", "o--7"),
    ("1003.5", "o-1003.5"),
    ("1.0.0", "o-1.0.0"),
    ("007", "o-007"),
    ("007.0", "o-007.0"),
    ("1180000000000101", "o-1180000000000101"),
    ("1.18E+15", "damaged_id"),  # [12]
    ("1,18E+15", "damaged_id"),
    ("1.18e+15", "damaged_id"),
    ("5.51235E+12", "damaged_id"),
    ("1E+20", "damaged_id"),
    ("1E5", "o-1E5"),  # an id as it may be
    ("E+15", "o-E+15"),
    (3, "o-3"),
    (3.0, "o-3"),
    (3.5, "o-3.5"),
    (Decimal("3.00"), "o-3"),
    (Decimal("3.50"), "o-3.5"),
    (2.0**53 + 2, "damaged_id"),
    (9007199254740993, "o-9007199254740993"),
]


@pytest.mark.parametrize(("value", "expected"), IDS, ids=[str(value) for value, _ in IDS])
def test_an_id_is_what_its_system_wrote(value, expected):
    rows = mapped(source(key=[value]), event={"name": "Lead", "id": "o-{key}", "action_source": "other"})

    if expected == "damaged_id":
        assert (rows.event["event_id"].to_pylist(), faults(rows)) == ([None], [("damaged_id", "event.id", [1])])
    else:
        assert (rows.event["event_id"].to_pylist(), faults(rows)) == ([expected], [])


@pytest.mark.parametrize(("value", "expected"), IDS, ids=[str(value) for value, _ in IDS])
def test_ids_of_orders_and_people_are_what_their_systems_wrote(value, expected):
    rows = mapped(
        source(key=[value]),
        custom_data={"order_id": "key", "content_ids": {"column": "key", "type": "string"}},
        user_data={"em": "email", "external_id": "key"},
    )
    wanted = None if expected == "damaged_id" else expected.removeprefix("o-")

    assert rows.custom["order_id"].to_pylist() == [wanted]
    assert rows.identity["external_id"][0].values.to_pylist() == [wanted]
    assert faults(rows) == []
    assert {(one.key, one.cause) for one in rows.dropped} == (
        {("custom_data.order_id", "damaged"), ("custom_data.content_ids", "damaged"), ("external_id", "damaged")}
        if wanted is None
        else set()
    )
