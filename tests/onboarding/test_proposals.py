"""What rows show of themselves, and what they leave open."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.errors import UsageError
from offline_capi.model import SourceRows
from offline_capi.onboarding import Answers, Confidence, Origin, Proposal, propose
from offline_capi.onboarding.exports import EXPORTS
from offline_capi.onboarding.files import generalise_path
from offline_capi.onboarding.sample import Sample

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
SAID = {"client": "acme", "event": "Purchase", "action_source": "physical_store", "timezone": "Europe/Berlin"}
ROWS = 40


def table(**columns: Any) -> dict[str, Any]:
    """Forty rows of a person, a time and an id, with these columns beside or instead."""
    usual = {
        "order_id": [f"o-{at}" for at in range(ROWS)],
        "sold_at": [f"2026-11-23 10:{at:02}:00" for at in range(ROWS)],
        "email": [f"p{at}@example.com" for at in range(ROWS)],
        "amount": [f"{at}.50" for at in range(ROWS)],
        "currency": ["EUR"] * ROWS,
    }
    return {name: values for name, values in {**usual, **columns}.items() if values is not None}


def proposal(columns: dict[str, Any], **said: Any) -> Proposal:
    batch = pa.RecordBatch.from_pydict(columns)
    origin = Origin("sales", "rows", {"path": "sales.csv"}, {}, Sample.collect([SourceRows(batch, "sales", 1)]))
    return propose(origin, Answers(**{**SAID, **said}), NOW)


def lines(found: Proposal, place: str) -> list[tuple[Any, Confidence]]:
    return [(line.node, line.confidence) for line in found.lines if line.place == place]


TAKEN, UNSURE, OPEN = Confidence.TAKEN, Confidence.UNSURE, Confidence.OPEN


# ---------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("values", "node"),
    [
        (["2026-11-23T10:00:00"] * ROWS, None),
        ([1795500000 + at for at in range(ROWS)], None),
        (["23.11.2026 10:00"] * ROWS, "%d.%m.%Y %H:%M"),
        (["11/23/2026 10:00:00 PM"] * ROWS, "%m/%d/%Y %I:%M:%S %p"),
        (["20261123"] * ROWS, "%Y%m%d"),
        ([NOW.replace(tzinfo=None)] * ROWS, None),
        ([date(2026, 11, 23)] * ROWS, None),
    ],
)
def test_times_are_found_in_the_spellings_of_exports(values: list[Any], node: str | None) -> None:
    found = proposal(table(sold_at=values))

    time = {"column": "sold_at", "type": "timestamp", "format": node}
    assert lines(found, "window.column") == [("sold_at", TAKEN)]
    assert lines(found, "event.time") == ([(time, TAKEN)] if node else [])


def test_a_day_that_may_be_a_month_is_left_open() -> None:
    found = proposal(table(sold_at=["03/04/2026"] * ROWS))

    assert lines(found, "event.time") == [({"column": "sold_at", "type": "timestamp", "format": None}, OPEN)]


def test_the_event_is_told_from_what_happened_to_its_row() -> None:
    """``updated_at`` is never taken, not even where it is alone; two that are as likely are asked about."""
    beside = proposal(table(updated_at=["2026-11-23 11:00:00"] * ROWS))
    alone = proposal(table(sold_at=None, updated_at=["2026-11-23 11:00:00"] * ROWS))
    two = proposal(table(paid_at=["2026-11-23 11:00:00"] * ROWS))

    assert lines(beside, "window.column") == [("sold_at", TAKEN)]
    assert lines(alone, "window.column") == lines(two, "window.column") == [(None, OPEN)]
    assert lines(proposal(table(paid_at=["2026-11-23"] * ROWS), time="paid_at"), "window.column") == [
        ("paid_at", TAKEN)
    ]


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        (["2026-11-23 10:00:00"] * ROWS, (None, OPEN)),
        (["2026-11-23T10:00:00Z"] * ROWS, ("UTC", TAKEN)),
        ([1795500000] * ROWS, ("UTC", TAKEN)),
        ([datetime(2026, 11, 23, 10, tzinfo=UTC)] * ROWS, ("UTC", TAKEN)),
    ],
)
def test_a_zone_is_asked_for_only_where_values_have_none(values: list[Any], zone: tuple[Any, Confidence]) -> None:
    assert lines(proposal(table(sold_at=values), timezone=None), "window.timezone") == [zone]


def test_the_first_night_is_the_last_day_with_rows_and_never_one_to_come() -> None:
    days = ["2026-11-21 10:00:00"] * (ROWS - 1) + ["2027-11-23 10:00:00"]

    assert proposal(table(sold_at=days)).first_night == date(2026, 11, 21)


# ---------------------------------------------------------------------------------------------- which event


@pytest.mark.parametrize(
    ("columns", "node"),
    [
        ({}, "order_id"),
        ({"order_id": [1234567.0 + at for at in range(ROWS)]}, "{order_id:integer}"),
        ({"order_id": [f"{1234567 + at}.0" for at in range(ROWS)]}, "{order_id:integer}"),
        (
            {
                "order_id": None,
                "receipt_no": [f"r{at // 2}" for at in range(ROWS)],
                "line_no": [at % 2 for at in range(ROWS)],
            },
            "{receipt_no}-{line_no}",
        ),
    ],
)
def test_ids_are_columns_that_tell_every_row_apart(columns: dict[str, Any], node: str) -> None:
    assert lines(proposal(table(**columns)), "event.id") == [(node, TAKEN)]


@pytest.mark.parametrize(
    "ids",
    [
        None,
        ["1.23457E+11"] * ROWS,
        [f"o-{at // 3}" for at in range(ROWS)],
        [at + 0.5 for at in range(ROWS)],
    ],
)
def test_what_does_not_tell_rows_apart_is_no_id(ids: list[Any] | None) -> None:
    """No column, digits that a spreadsheet took, repeats, fractions: a person has to say."""
    assert lines(proposal(table(order_id=ids)), "event.id") == [(None, OPEN)]


def test_a_customer_or_a_row_number_is_no_event() -> None:
    columns = {"order_id": None, "customer_id": [f"c{at}" for at in range(ROWS)], "row_no": list(range(ROWS))}
    found = proposal(table(**columns))

    assert lines(found, "event.id") == [(None, OPEN)]
    assert lines(found, "user_data.external_id") == [("customer_id", TAKEN)]


def test_one_number_in_two_spellings_is_one_id() -> None:
    ids = [*(f"{1234567 + at}" for at in range(ROWS - 1)), "1234567.0"]

    assert lines(proposal(table(order_id=ids)), "event.id") == [("{order_id:integer}", UNSURE), (None, OPEN)]


def test_rows_exported_twice_do_not_hide_the_id() -> None:
    """Equal in every column, they are one event; equal in the id alone, they are two, and the id is only near."""
    doubled = {name: [*values, *values[:4]] for name, values in table().items()}
    clashing = {**doubled, "amount": [f"{at}.25" for at in range(ROWS + 4)]}

    assert lines(proposal(doubled), "event.id") == [("order_id", TAKEN)]
    assert lines(proposal(clashing), "event.id") == [("order_id", UNSURE), (None, OPEN)]


# ---------------------------------------------------------------------------------------------- who


@pytest.mark.parametrize(
    ("columns", "country", "expected"),
    [
        ({"phone": ["+49 30 901820"] * ROWS}, None, [("phone", TAKEN)]),
        ({"phone": ["030 901820"] * ROWS}, "DE", [("phone", TAKEN)]),
        ({"phone": ["030 901820"] * ROWS}, None, [("phone", UNSURE)]),
        (
            {"phone": ["030 901820", "020 7946 0958"] * (ROWS // 2), "country": ["Germany", "GB"] * (ROWS // 2)},
            None,
            [({"column": "phone", "country": "country"}, TAKEN)],
        ),
    ],
)
def test_phones_are_read_in_the_country_that_makes_them_numbers(
    columns: dict[str, Any], country: str | None, expected: list[Any]
) -> None:
    found = proposal(table(**columns), country=country)

    assert lines(found, "user_data.ph") == expected
    assert found.needs_country == (expected[0][1] is UNSURE)


@pytest.mark.parametrize(
    ("births", "expected"),
    [
        (["1980-02-16"] * ROWS, ("born", TAKEN)),
        (["16.02.1980"] * ROWS, ("born", TAKEN)),
        (["02/03/1980", "02/16/1980"] * (ROWS // 2), ({"column": "born", "format": "%m/%d/%Y"}, TAKEN)),
        (["16/02/1980", "02/03/1980"] * (ROWS // 2), ({"column": "born", "format": "%d/%m/%Y"}, TAKEN)),
    ],
)
def test_births_get_the_format_that_their_rows_prove(births: list[str], expected: Any) -> None:
    columns = {"birth_date": births}
    node = expected[0]
    renamed = "birth_date" if node == "born" else {**node, "column": "birth_date"}

    assert lines(proposal(table(**columns)), "user_data.db") == [(renamed, expected[1])]


def test_births_that_can_be_read_in_two_ways_are_unsure() -> None:
    found = proposal(table(birth_date=["02/03/1980"] * ROWS))

    assert [confidence for _, confidence in lines(found, "user_data.db")] == [UNSURE]


def test_several_addresses_of_a_person_are_taken_and_several_cities_are_not() -> None:
    second = [f"q{at}@example.com" for at in range(ROWS)]
    found = proposal(table(work_email=second, city=["Berlin"] * ROWS, billing_city=["Bonn"] * ROWS))

    assert lines(found, "user_data.em") == [("email", TAKEN), ("work_email", TAKEN)]
    assert lines(found, "user_data.ct") == [("city", TAKEN), ("billing_city", UNSURE)]


def test_digests_are_declared_and_a_value_of_everybody_is_doubted() -> None:
    found = proposal(table(email_sha256=["ab" * 32] * 20 + ["cd" * 32] * 20, phone=["+493090182000"] * ROWS,
                           customer_id=["walk-in"] * ROWS))  # fmt: skip

    assert ({"column": "email_sha256", "hashed": True}, TAKEN) in lines(found, "user_data.em")
    assert lines(found, "user_data.external_id") == [("customer_id", UNSURE)]


def test_without_a_person_there_is_no_event() -> None:
    with pytest.raises(UsageError, match=r"e-mail address, a phone number or a customer id.*\n.*order_id"):
        proposal(table(email=None, city=["Berlin"] * ROWS))


def test_a_person_may_name_a_column_that_looks_like_nothing() -> None:
    found = proposal(table(email=None, kontakt=["p@example.com"] * ROWS), keys={"kontakt": "em"})

    assert lines(found, "user_data.em") == [("kontakt", TAKEN)]


# ---------------------------------------------------------------------------------------------- what


@pytest.mark.parametrize(
    ("values", "node", "confidence"),
    [
        (["12.50", "1,234.00"] * 20, {}, TAKEN),
        (["12,50", "1.234,00"] * 20, {"decimal": ","}, TAKEN),
        (["1,234", "5,678"] * 20, {}, UNSURE),
        (["12,50", "12.50"] * 20, {}, UNSURE),
        (["EUR 12"] * 40, {"type": "money"}, TAKEN),
        (["$1,012.50", "($12.50)"] * 20, {"type": "money"}, TAKEN),
        (["12,50 €", "1.234,00 €"] * 20, {"type": "money", "decimal": ","}, TAKEN),
        (["twelve", "free"] * 20, {}, UNSURE),
        ([12.5] * 40, {}, TAKEN),
    ],
)
def test_a_value_is_taken_where_its_decimal_mark_is_certain(
    values: list[Any], node: dict[str, str], confidence: Confidence
) -> None:
    found = lines(proposal(table(amount=values)), "custom_data.value")

    assert found[0] == ({"column": "amount", "type": "number", **node}, confidence)
    assert [confidence for _, confidence in found[1:]] == ([] if confidence is TAKEN else [OPEN])


def test_two_amounts_are_a_persons_to_choose() -> None:
    found = lines(proposal(table(total=["99.00"] * ROWS)), "custom_data.value")
    told = lines(proposal(table(total=["99.00"] * ROWS), value="total"), "custom_data.value")

    assert [confidence for _, confidence in found] == [UNSURE, UNSURE, OPEN]
    assert told == [({"column": "total", "type": "number"}, TAKEN)]


@pytest.mark.parametrize(
    ("values", "said", "expected"),
    [
        (["EUR", "gbp"] * 20, None, ("currency", TAKEN)),
        (["euro"] * 40, None, ({"column": "currency", "map": {"euro": "EUR"}}, TAKEN)),
        (["dollars"] * 40, None, ({"column": None}, OPEN)),
        (None, None, ({"column": None}, OPEN)),
        (None, "EUR", ("EUR", TAKEN)),
    ],
)
def test_a_value_without_a_currency_is_never_sent(values: list[str] | None, said: str | None, expected: Any) -> None:
    assert lines(proposal(table(currency=values), currency=said), "custom_data.currency") == [expected]


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        (["1.299,90 €", "12,50 €"], ("EUR", TAKEN)),
        (["12.50 USD", "12.50 USD"], ("USD", TAKEN)),
        (["12,50 €", "12,50 £"], ({"column": None}, OPEN)),
        (["$12.50", "$12.50"], ({"column": None}, OPEN)),
        (["12,50 €", "12,50"], ({"column": None}, OPEN)),
    ],
)
def test_a_currency_that_every_amount_says_is_written(amounts: list[str], expected: Any) -> None:
    found = proposal(table(currency=None, amount=amounts * (ROWS // 2)))

    assert lines(found, "custom_data.currency") == [expected]


def test_consent_is_never_overlooked() -> None:
    """Words for yes and no are read; others are for a person to explain."""
    known = proposal(table(marketing_consent=["yes", "N"] * (ROWS // 2)))
    other = proposal(table(marketing_consent=["granted", "no"] * (ROWS // 2)))

    assert lines(known, "consent") == [({"column": "marketing_consent", "equals": True}, TAKEN)]
    assert lines(other, "consent") == [({"column": "marketing_consent", "equals": None}, OPEN)]


@pytest.mark.parametrize(
    ("name", "values", "equals", "how"),
    [
        ("Marketing OK?", ["Yes", "No"], True, TAKEN),
        ("Marketing", ["Yes", "No"], True, TAKEN),
        ("Einwilligung", ["ja", "nein"], "ja", TAKEN),
        ("consentement", ["OUI", "non"], "OUI", TAKEN),
        ("Einwilligung", ["nein", "nein"], None, OPEN),
        ("Email Opt Out", ["Yes", "No"], False, TAKEN),
        ("do_not_contact", ["1", "0"], False, TAKEN),
        ("unsubscribed", ["true", None], None, OPEN),
        ("Newsletter", ["ja", "nein"], "ja", UNSURE),
        ("Newsletter", ["J", "N"], "J", UNSURE),
        ("Accepts Marketing", ["yes", "no"], True, TAKEN),
    ],
)
def test_consent_is_found_as_people_ask_for_it(name: str, values: list[Any], equals: Any, how: Confidence) -> None:
    """A yes to a refusal is a no, and an empty refusal is a person's to explain."""
    found = proposal(table(**{name: values * (ROWS // 2)}))

    assert lines(found, "consent") == [({"column": name, "equals": equals}, how)]


def test_who_agreed_to_a_shops_mails_is_asked_about() -> None:
    """The same header of a file of one's own asks for marketing, ads included; Shopify's means its mails."""
    marks = next(one for one in EXPORTS if one.title.startswith("Shopify")).marks
    shopify = dict.fromkeys(marks, ["1"] * ROWS) | table(**{"Accepts Marketing": ["yes", "no"] * (ROWS // 2)})
    shopify |= {"Created at": shopify["sold_at"], "Name": shopify["order_id"], "Email": shopify["email"]}

    (line,) = proposal(shopify).list_section("consent")

    assert (line.columns, line.confidence) == (("Accepts Marketing",), UNSURE)
    assert "or to ads too?" in line.because
    assert "never sent" not in line.because  # a comment holds nothing back


def test_a_channel_of_marketing_is_no_consent() -> None:
    assert lines(proposal(table(marketing_channel=["mail", "web"] * (ROWS // 2))), "consent") == []


def test_rows_of_several_clients_are_noticed() -> None:
    found = lines(proposal(table(store_brand=["North", "South"] * (ROWS // 2))), "client")

    assert found == [("acme", TAKEN), ({"column": "store_brand", "map": {}}, UNSURE)]


def test_nothing_said_is_nothing_made_up() -> None:
    found = proposal(table(), event=None, action_source=None, timezone=None)

    assert {line.place for line in found.list_lines(OPEN)} == {"event.name", "event.action_source", "window.timezone"}


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("sales_2026-11-23.csv", "sales_{date}.csv"),
        ("in/20261123/sales.csv.gz", "in/{date:%Y%m%d}/sales.csv.gz"),
        ("2026_11_23-sales-2026_11_23.parquet", "{date:%Y_%m_%d}-sales-{date:%Y_%m_%d}.parquet"),
        ("sales_20261123_0430.csv", "sales_{date:%Y%m%d}*.csv"),
        ("Umsätze 23.11.2026.csv", "Umsätze {date:%d.%m.%Y}.csv"),
        ("sales_11-23-2026.csv", "sales_11-23-2026.csv"),
        ("v1234567890/sales_2026-13-23.csv", "v1234567890/sales_2026-13-23.csv"),
    ],
)
def test_the_day_in_a_name_becomes_every_day(path: str, written: str) -> None:
    assert generalise_path(path)[0] == written


@given(st.dates(date(2001, 1, 1), date(2099, 12, 31)), st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%d.%m.%Y"]))
def test_a_day_is_found_however_it_is_written(day: date, form: str) -> None:
    """The path of that day is the path that it was read from."""
    path = f"in/sales-{day.strftime(form)}-x.csv"
    written, found = generalise_path(path)

    assert found == day
    assert "{date" in written
    assert written.replace("{date}", "{date:%Y-%m-%d}").replace(f"{{date:{form}}}", day.strftime(form)) == path


# ---------------------------------------------------------------------------------------------- headers as people write


def test_headers_as_people_write_them() -> None:
    """First, Last, Ctry and Loyalty No are the commonest headers of a CRM."""
    found = proposal(
        table(
            First=["Ana"] * ROWS,
            Last=["Li"] * ROWS,
            Ctry=["US"] * ROWS,
            **{"Loyalty No": [f"L{n % 7}" for n in range(ROWS)]},
        )
    )

    keys = {line.columns[0]: line.key for line in found.list_section("user_data") if line.columns}
    assert {"First": "fn", "Last": "ln", "Ctry": "country", "Loyalty No": "external_id"}.items() <= keys.items()


def test_headers_that_say_who_they_are_about() -> None:
    """A lease's export: the tenant's names, and a rent that only its signs tell to be money; a visit is no name."""
    found = proposal(
        table(
            amount=None,
            currency=None,
            **{
                "Tenant First": ["Ana"] * ROWS,
                "Tenant Last": ["Li"] * ROWS,
                "Member Last Visit": ["Li"] * ROWS,
                "Agreed": ["$1,299.00"] * ROWS,
                "VAT": ["$9.00"] * ROWS,
            },
        ),
        event="Lease",
    )

    keys = {line.columns[0]: line.key for line in found.list_section("user_data") if line.columns}
    assert {"Tenant First": "fn", "Tenant Last": "ln"}.items() <= keys.items()
    assert "Member Last Visit" not in keys
    assert lines(found, "custom_data.value") == [({"column": "Agreed", "type": "money"}, UNSURE)]
    rent = proposal(table(amount=None, **{"Monthly Rent": ["1299.00"] * ROWS}))
    assert lines(rent, "custom_data.value") == [({"column": "Monthly Rent", "type": "number"}, TAKEN)]


@pytest.mark.parametrize(
    ("name", "first", "last"), [("Garc\u00eda, Kwame", (",", 2), (",", 1)), ("Kwame Garc\u00eda", (" ", 1), (" ", -1))]
)
def test_a_full_name_is_split(name: str, first: tuple[str, int], last: tuple[str, int]) -> None:
    found = proposal(table(**{"Full Name": [name] * ROWS}))

    for key, (by, part) in (("fn", first), ("ln", last)):
        ((node, how),) = lines(found, f"user_data.{key}")
        assert (node["text"], how) == ([{"split": {"by": by, "part": part}}, "trim"], TAKEN)


def test_cents_are_divided_and_other_whole_numbers_are_not() -> None:
    cents = proposal(table(amount=None, amount_cents=[14475] * ROWS), currency="USD")
    whole = proposal(table(amount=[14475] * ROWS), currency="USD")

    ((node, _),) = lines(cents, "custom_data.value")
    assert node == {"column": "amount_cents", "type": "number", "divide": 100}
    assert "divide" not in lines(whole, "custom_data.value")[0][0]


def test_rows_that_are_no_conversions_are_left_out() -> None:
    """A refunded row never goes out as a Purchase; a stage whose words are not known is asked about."""
    status = proposal(table(Status=["completed", "refunded", "Cancelled", "completed"] * (ROWS // 4)))
    stage = proposal(table(Stage=["New", "Won"] * (ROWS // 2)))

    assert lines(status, "filter") == [({"column": "Status", "not_equals": ["Cancelled", "refunded"]}, TAKEN)]
    assert [how for _, how in lines(stage, "filter")] == [UNSURE]


@pytest.mark.parametrize(
    ("name", "values", "left_out"),
    [
        ("Outcome", ["Completed", "No show"], "No show"),
        ("Stage", ["Closed Won", "Closed Lost"], "Closed Lost"),
        ("Zahlungsstatus", ["bezahlt", "storniert"], "storniert"),
        ("state", ["active", "refunded"], "refunded"),
        ("Booking", ["kept", "Cancelled"], "Cancelled"),
    ],
)
def test_an_outcome_is_found_in_the_words_and_under_the_names_that_people_use(
    name: str, values: list[str], left_out: str
) -> None:
    """Also under a name that could mean something else: an active member is in no state of the USA."""
    found = proposal(table(**{name: values * (ROWS // 2)}, country=["US"] * ROWS))

    assert lines(found, "filter") == [({"column": name, "not_equals": left_out}, TAKEN)]
    assert [line for line in found.list_section("user_data") if line.columns == (name,)] == []


def test_a_column_of_prose_is_no_outcome() -> None:
    found = proposal(table(Treatment=["test", "Massage"] * (ROWS // 2), note=["was cancelled, then 2 more"] * ROWS))

    assert lines(found, "filter") == []


def test_a_state_is_read_in_the_country_of_the_rows() -> None:
    """Words that a run would drop are no states, and the evidence says so."""
    found = proposal(table(state=["active", "paused"] * (ROWS // 2), country=["US"] * ROWS, zip=["60601"] * ROWS))

    (line,) = (line for line in found.list_section("user_data") if line.columns == ("state",))
    assert (line.confidence, "only 0% of 40 values are usable as states" in line.because) == (UNSURE, True)


def test_german_headers_are_read_by_their_parts() -> None:
    found = proposal(
        {
            "Bestellnr.": [f"2026{at}" for at in range(ROWS)],
            "Bestelldatum": [f"23.11.2026 10:{at:02}:00" for at in range(ROWS)],
            "Versanddatum": ["24.11.2026"] * ROWS,
            "Gesamtsumme": [f"1.{at + 100},90 €" for at in range(ROWS)],
            "Versandkosten": ["4,90 €"] * ROWS,
            "Währung": ["€"] * ROWS,
            "E-Mail": [f"p{at}@example.com" for at in range(ROWS)],
            "Kundennummer": [f"K{at % 7}" for at in range(ROWS)],
        }
    )

    assert lines(found, "window.column") == [("Bestelldatum", TAKEN)]
    assert lines(found, "event.id") == [("Bestellnr.", TAKEN)]
    assert lines(found, "custom_data.value") == [({"column": "Gesamtsumme", "type": "money", "decimal": ","}, TAKEN)]
    assert lines(found, "user_data.external_id") == [("Kundennummer", TAKEN)]
    assert next(line.because for line in found.lines if line.place == "custom_data.currency").endswith(": € as EUR")


def test_a_clock_in_a_column_of_its_own_belongs_to_its_day() -> None:
    day, clock = ["23/11/2026"] * ROWS, [f"10:{at:02}" for at in range(ROWS)]
    one = proposal(table(sold_at=None, **{"Visit Date": day, "Visit Time": clock, "Staff": ["Jo"] * ROWS}))
    two = proposal(table(sold_at=None, **{"Visit Date": day, "Visit Time": clock, "Shift Time": clock}))
    unclear = proposal(table(sold_at=None, **{"Date": day, "Open Time": clock, "Shut Time": clock}))

    for found in (one, two):
        assert lines(found, "window.template") == [("{Visit Date} {Visit Time}", TAKEN)]
        assert lines(found, "window.format") == [(["%d/%m/%Y %H:%M"], TAKEN)]
    assert lines(unclear, "window.column") == [("Date", TAKEN)]


def test_a_guest_is_a_person_and_perhaps_a_company() -> None:
    sure = proposal(table(Guest=["Garc\u00eda, Kwame"] * ROWS))
    unsure = proposal(table(Guest=["Acme Holding"] * ROWS))

    assert [how for _, how in lines(sure, "user_data.ln")] == [TAKEN]
    assert [how for _, how in lines(unsure, "user_data.ln")] == [UNSURE]


@pytest.mark.parametrize(
    ("values", "node"),
    [
        (["GBP"] * (ROWS - 1) + ["Pound"], {"column": "currency", "map": {"Pound": "GBP"}}),
        (["CAD"] * (ROWS - 1) + ["dollars"], {"column": "currency", "map": {"dollars": "CAD"}}),
        (["EUR"] * (ROWS - 1) + ["Pound"], "currency"),  # the pound of no other row: it is reported, not guessed
        (["GBP", "EUR"] * (ROWS // 2 - 1) + ["GBP", "Pound"], "currency"),
    ],
)
def test_a_word_of_several_currencies_is_the_only_one_of_the_other_rows(values: list[str], node: Any) -> None:
    assert lines(proposal(table(currency=values)), "custom_data.currency") == [(node, TAKEN)]


def test_an_id_that_exists_is_never_denied() -> None:
    """A lead's id that is none of Meta's, and a member with a time, tell events apart."""
    lead = proposal(table(order_id=None, **{"Lead ID": [f"Q-{n}" for n in range(ROWS)]}))
    member = proposal(table(order_id=None, member_id=[f"m{n % 7}" for n in range(ROWS)]))
    told = proposal(table(member_id=[f"m{n % 7}" for n in range(ROWS)]), id="{member_id}-{order_id}")

    assert lines(lead, "event.id") == [("Lead ID", TAKEN)]
    ((node, how),) = lines(member, "event.id")
    assert (node.startswith("{member_id}-"), how) == (True, TAKEN)
    assert ("member_id", TAKEN) in lines(told, "user_data.external_id")


def test_what_a_row_is_worth_or_when_it_was_is_no_id() -> None:
    """That all differ is chance, and the next export would repeat one."""
    measures = {
        "Est. Deal Size": [f"${1000 + at}" for at in range(ROWS)],
        "Order Total": [f"{at}.25" for at in range(ROWS)],
        "Payment Date": [f"2026-11-22 09:{at:02}:00" for at in range(ROWS)],
    }
    lead = {"Lead ID": [f"Q-{at}" for at in range(ROWS)]}

    assert lines(proposal(table(order_id=None, **measures, **lead)), "event.id") == [("Lead ID", TAKEN)]
    assert lines(proposal(table(order_id=None, **measures)), "event.id") == [(None, OPEN)]


def test_prices_under_any_name_are_offered_where_a_value_is_needed() -> None:
    prices = {"Zahlbar": [f"{at + 1},50" for at in range(ROWS)], "Stück": list(range(ROWS))}
    needed = lines(proposal(table(amount=None, **prices)), "custom_data.value")
    lead = lines(proposal(table(amount=None, **prices), event="Lead"), "custom_data.value")
    gross = lines(proposal(table(amount=None, Brutto=prices["Zahlbar"])), "custom_data.value")

    assert needed[0] == ({"column": "Zahlbar", "type": "number", "decimal": ","}, UNSURE)
    assert [how for _, how in needed] == [UNSURE, OPEN]
    assert lead == []
    assert gross == [({"column": "Brutto", "type": "number", "decimal": ","}, TAKEN)]


def test_every_column_left_aside_has_its_reason() -> None:
    some = ["x", *[None] * (ROWS - 1)]
    found = proposal(table(Notes=["x"] * ROWS, Voucher=some, Empty=[None] * ROWS, fbclid=["IwAR" + "x" * 30] * ROWS))

    assert found.aside["Notes"] == "one value in every row"
    assert found.aside["Voucher"] == "one value wherever it has one"
    assert found.aside["Empty"] == "empty in every row"
    assert all(found.aside.values())
    assert "fb.1." in next(line.because for line in found.lines if "fbclid" in line.columns)
