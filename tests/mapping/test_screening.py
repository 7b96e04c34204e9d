"""What must never be sent: found in texts and addresses, and never seen in order numbers, ids and prices."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offline_capi.mapping.screening import CARD, EMAIL, PHONE, SOCIAL_SECURITY, Searched, find_unsendable
from offline_capi.runtime.column_bytes import WINDOW_BYTES
from tests.mapping.mapped import faults, mapped, source

# Card numbers are the issuers' own published test numbers; phone numbers are reserved for fiction or examples.
TEXTS = [
    ("write to jane.doe+tag@example.co.uk today", EMAIL),
    ("JANE@EXAMPLE.COM", EMAIL),
    ("jürgen@müller.example", EMAIL),
    ("jane%40example.com", EMAIL),
    ("call +44 20 7946 0958", PHONE),
    ("+16502530000", PHONE),
    ("+49 (0) 30 901820", PHONE),
    ("(650) 253-0000", PHONE),
    ("(650)253-0000", PHONE),
    ("650-253-0000", PHONE),
    ("1-650-253-0000", PHONE),
    ("650.253.0000", PHONE),
    ("tel:030123456", PHONE),
    ("paid with 4111 1111 1111 1111", CARD),
    ("4111-1111-1111-1111", CARD),
    ("4111111111111111", CARD),
    ("5555555555554444", CARD),
    ("2223003122003222", CARD),
    ("378282246310005", CARD),
    ("3782 822463 10005", CARD),
    ("6011111111111117", CARD),
    ("3530111333300000", CARD),
    ("30569309025904", CARD),
    ("SSN 078-05-1120.", SOCIAL_SECURITY),
    ("923-45-6789", SOCIAL_SECURITY),
]
INNOCENT = [
    "", "19.99", "1,234,567.89", "12.345,67 EUR", "4111111111111111.50", "-4111111111111111",
    "R-2026-000123", "order-000012345", "4155552671", "6502530000", "016502530000", "123456789", "123456789012345678",
    "4111111111111112", "1111111111111111", "9999888877776666", "4006381333931", "04006381333931",
    "356938035643809", "1795489200", "1795489200000", "20261123100000", "2026-11-23 10:00:00", "23/11/2026",
    "550e8400-e29b-41d4-a716-446655440000", "AB123-45-6789", "000-12-3456", "123-00-4567", "123-45-0000", "123-456-789",
    "123-45-67890", "12-3456789", "203.0.113.7", "2001:db8::1", "v1.650.253", "555-555-5555", "200-300-400",
    "800x600", "+1 year", "+20 %", "C++ 11", "3 @ 4.50", "@handle", "me@home", "logo@2x.png", "npm i pkg@1.2.3",
    "1200000000000001", "fb.1.1554763741205.AbCd", "Größe 42", "M&M's 250 300 1200",
]  # fmt: skip
ADDRESSES = [
    ("https://shop.example/?email=jane%40example.com", EMAIL),
    ("https://shop.example/u/jane@example.com/orders", EMAIL),
    ("https://jane:secret@shop.example/", EMAIL),
    ("https://shop.example/?p=%2B16502530000", PHONE),
    ("https://shop.example/#tel=650-253-0000", PHONE),
    ("https://shop.example/?a=1&phone=6502530000", PHONE),
    ("https://shop.example/?mobile_number=07700900123", PHONE),
    ("https://shop.example/pay?pan=4111111111111111", CARD),
    ("https://shop.example/pay?pan=4111%201111%201111%201111", CARD),
    ("https://shop.example/?q=078-05-1120", SOCIAL_SECURITY),
]
INNOCENT_ADDRESSES = [
    "https://shop.example/",
    "https://shop.example/650-253-0000/filter",
    "https://shop.example/?utm_id=120210123456789012&utm_source=fb&t=1795489200000",
    "https://shop.example/?fbclid=IwAR2_4111111111111111_x&gclid=Cj0KCQiA4111111111111111",
    "https://shop.example/?_ga=2.123456789.987654321.1795489200",
    "https://maps.example/@52.5200,13.4050,12z",
    "https://shop.example/img/logo@2x.png?v=3",
    "https://shop.example/?phone=iphone-15",
    "https://shop.example/?order=4111111111111112",
    "https://social.example/@handle",
]


def _shapes(text: str, searched: Searched) -> list[str]:
    return [find.shape for find in find_unsendable(pa.array([text]), searched)]


@pytest.mark.parametrize(("text", "shape"), TEXTS)
def test_a_text_with_something_forbidden_is_found(text, shape):
    assert _shapes(text, Searched.TEXT) == [shape]


@pytest.mark.parametrize("text", INNOCENT)
def test_order_numbers_ids_prices_and_dates_are_not_taken_for_people(text):
    assert _shapes(text, Searched.TEXT) == []


@pytest.mark.parametrize(("address", "shape"), ADDRESSES)
def test_an_address_is_read_as_a_browser_reads_it(address, shape):
    assert _shapes(address, Searched.ADDRESS) == [shape]


@pytest.mark.parametrize("address", INNOCENT_ADDRESSES)
def test_an_address_with_ids_is_let_go(address):
    assert _shapes(address, Searched.ADDRESS) == []


@pytest.mark.parametrize("text", ["4111111111111111", "078-05-1120", "16502530000", "0012345678905", "00491701234567"])
def test_ids_are_searched_for_e_mail_addresses_and_numbers_with_their_plus(text):
    """A GTIN is an id, and so is everything that has digits alone."""
    assert _shapes(text, Searched.IDS) == []
    assert _shapes(f"{text}/jane@example.com", Searched.IDS) == [EMAIL]
    assert _shapes(f"{text}/+16502530000", Searched.IDS) == [PHONE]


@pytest.mark.parametrize("prefix", ["", "o-", "order_", "Sale: ", "inv#"])
@pytest.mark.parametrize(
    "number",
    ["+14155552600", "+1 415 555 2600", "+49 (170) 1234567", "415-555-2600", "(415) 555-2600", "1-415-555-2600",
     "tel:+14155552600", "0170 1234567", "(030) 901 8200", "01 23 45 67 89", "00491701234567", "0014155552600"],
)  # fmt: skip
def test_p09_an_event_id_made_of_a_phone_number_is_found(prefix, number):
    """Was: `o-+14155552600` went to Meta and into staged files."""
    assert _shapes(prefix + number, Searched.EVENT_IDS) == [PHONE]


@given(
    st.lists(st.from_regex(r"(o-|Tel:|a/)?0{0,2}[0-9]{0,4}([-./ ()]{0,2}[0-9]{1,4}){2,5}", fullmatch=True), max_size=9)
)
@example(["030/ 911820"]).via("missed by a search of the whole column")
@example(["415-555.2600"])
def test_p09_a_column_of_ids_is_searched_where_one_value_is(texts):
    """A parenthesis in another row has every value of the column searched by itself."""
    found = find_unsendable(pa.array(texts, pa.string()), Searched.EVENT_IDS)

    thorough = find_unsendable(pa.array([*texts, "("]), Searched.EVENT_IDS)
    assert [one.where.to_pylist() for one in found] == [one.where.to_pylist()[:-1] for one in thorough]


@pytest.mark.parametrize("cut", range(WINDOW_BYTES - 12, WINDOW_BYTES + 2))
@pytest.mark.parametrize(
    "number", ["415-555-2600", "00491701234567", "(030) 901 8200", "tel:14155552600", "0170.1234567"]
)
def test_p09_no_number_is_missed_where_two_windows_meet(cut, number):
    ids = pa.array(["A" * cut, number])

    assert [one.where.to_pylist() for one in find_unsendable(ids, Searched.EVENT_IDS)] == (
        [[False, True]] if _shapes(number, Searched.EVENT_IDS) else []
    )


@pytest.mark.parametrize("suffix", ["-1", "_2", "-07", "/3", ":a"])
@pytest.mark.parametrize(("held", "shape"), [("+14155552600", PHONE), ("415-555-2600", PHONE), ("0170 1234567", PHONE),
                                             ("00491701234567", PHONE), ("jane@example.com", EMAIL)])  # fmt: skip
def test_p09_what_an_id_ends_with_hides_nothing(held, shape, suffix):
    """Was: `receipt-jane@example.com-1`, of the template `receipt-{receipt}-{line}`, went out."""
    assert _shapes(f"receipt-{held}{suffix}", Searched.EVENT_IDS) == [shape]


@pytest.mark.parametrize(
    "text",
    ["4155552600", "14155552600", "491701234567", "o-4155552600", "0000123456", "0045123456", "000123456789",
     "2026-11-28-1234567", "28.11.2026 1234567", "113-1234567-1234567", "550e8400-e29b-41d4-a716-446655440000",
     "a+b", "+1", "AB+123456789", "12+34567890123", "SO-2026-000123", "A 0045 17", "01/2026/000123",
     "X+1", "0-123-456-789", "012/3456789", "01 2026 000123"],
)  # fmt: skip
def test_an_order_number_is_no_phone_number(text):
    assert _shapes(text, Searched.EVENT_IDS) == []


@pytest.mark.parametrize(
    "items",
    ['[{"id":"1","quantity":1,"phone":["+1 415 555 2671"]}]',
     '[{"id":"1","quantity":1,"by":{"who":[["+14155552671"]]}}]', '[{"id":"1","quantity":1,"+14155552671":1}]',
     '[{"id":"+14155552671","quantity":1}]',
     '[{"id":"1","quantity":1,"note":"+1\\u0020415 555 2671"}]'],
)  # fmt: skip
def test_p09_a_phone_number_is_found_wherever_it_stands_in_an_item(items):
    """Was: one in a list passed."""
    assert _shapes(items, Searched.ITEMS) == [PHONE]


def test_items_are_searched_in_their_words_and_not_in_their_ids():
    ids = '[{"id":"4111111111111111","quantity":1,"item_price":4111111111111111,"parent_id":"078-05-1120"}]'
    words = '[{"id":"1","quantity":1,"title":"for \\"Jane\\", 078-05-1120"}]'

    assert _shapes(ids, Searched.ITEMS) == []
    assert _shapes(words, Searched.ITEMS) == [SOCIAL_SECURITY]
    assert _shapes('[{"id":"jane@example.com","quantity":1}]', Searched.ITEMS) == [EMAIL]


@given(st.lists(st.none() | st.text(max_size=40) | st.from_regex(r"[+@%0-9 ().-]{0,30}"), max_size=8))
def test_a_row_is_judged_alone_and_nothing_is_too_odd(texts):
    for searched in Searched:
        together = {
            (find.shape, row)
            for find in find_unsendable(pa.array(texts, pa.string()), searched)
            for row, found in enumerate(find.where.to_pylist())
            if found
        }
        alone = {
            (find.shape, row)
            for row, text in enumerate(texts)
            for find in find_unsendable(pa.array([text], pa.string()), searched)
        }
        assert together == alone


# ---------------------------------------------------------------------------------------------- in the mapping

CARD_NUMBER = "4111111111111111"


def _dropped(rows):
    return [(drop.key, drop.column, drop.cause, drop.count) for drop in rows.dropped]


@pytest.mark.parametrize("searched", list(Searched))
def test_values_that_repeat_are_judged_as_each_alone(searched):
    few = ["gold", None, "", "+1 415 555 2671", "anna@example.com", "078-05-1120", "4111111111111111", "12.50"]
    texts = few * 200 + ["order-+14155552671", "late@example.org"]

    found = find_unsendable(pa.array(texts), searched)

    alone = {text: [find.shape for find in find_unsendable(pa.array([text], pa.string()), searched)] for text in texts}
    assert [[find.shape for find in found if find.where[row].as_py()] for row in range(len(texts))] == [
        alone[text] for text in texts
    ]


def test_a_forbidden_text_is_left_out_and_counted_while_its_row_goes_on():
    rows = mapped(
        source(note=["gift", "for jane@example.com", CARD_NUMBER, None]),
        custom_data={"properties": {"note": "note"}, "content_name": "note"},
    )

    assert rows.custom["note"].to_pylist() == ["gift", None, None, None]
    assert rows.custom["content_name"].to_pylist() == ["gift", None, None, None]
    assert faults(rows) == []
    assert _dropped(rows) == [
        ("custom_data.content_name", "note", EMAIL, 1),
        ("custom_data.content_name", "note", CARD, 1),
        ("custom_data.properties.note", "note", EMAIL, 1),
        ("custom_data.properties.note", "note", CARD, 1),
    ]


def test_the_row_is_rejected_where_the_upload_says_so():
    rows = mapped(source(note=["gift", "078-05-1120"]), custom_data={"content_name": "note"}, screening="reject")

    assert faults(rows) == [("forbidden_data", "custom_data.content_name", [2])]
    assert rows.custom["content_name"].to_pylist() == ["gift", None]


def test_of_an_address_the_domain_is_kept():
    urls = ["https://a.example/p?id=1", "https://a.example/p?e=x%40y.de#top", "http://u@b.example:80/", "mailto:x@y.de"]
    event = {"name": "Lead", "id": "{id}", "action_source": "website", "source_url": "url"}

    rows = mapped(source(url=urls), event=event)

    assert rows.event["event_source_url"].to_pylist() == [urls[0], "https://a.example/", "http://b.example:80/", None]
    assert _dropped(rows) == [("event.source_url", "url", EMAIL, 3)]


def test_ids_numbers_constants_and_maps_are_the_authors_own():
    rows = mapped(
        source(number=[CARD_NUMBER]),
        custom_data={
            "order_id": "number",
            "content_ids": "number",
            "properties": {
                "declared": "number",
                "typed": {"column": "number", "type": "integer"},
                "fixed": {"constant": "078-05-1120"},
                "worded": {"column": "number", "map": {CARD_NUMBER: "+16502530000"}},
            },
        },
        screening={"ids": ["declared"]},
    )

    assert rows.dropped == ()
    assert rows.custom["declared"].to_pylist() == [CARD_NUMBER]
    assert rows.custom["worded"].to_pylist() == ["+16502530000"]


def test_an_event_id_with_an_address_in_it_is_always_rejected_and_never_kept():
    """A rejection keeps the event id: it may not be a person's."""
    rows = mapped(
        source(id=["7", "jane@example.com"]), event={"name": "Lead", "id": "lead-{id}", "action_source": "other"}
    )

    assert faults(rows) == [("forbidden_data", "event.id", [2])]
    assert rows.event["event_id"].to_pylist() == ["lead-7", None]


def test_rows_without_consent_are_not_counted():
    rows = mapped(
        source(note=["jane@example.com"] * 2, ok=["yes", "no"]),
        custom_data={"content_name": "note"},
        consent={"column": "ok", "equals": "yes"},
    )

    assert [drop.count for drop in rows.dropped] == [1]
    assert rows.custom["content_name"].null_count == 2


def test_a_list_of_contents_names_its_column():
    items = '[{"id":"a","quantity":1,"title":"jane@example.com"}]'

    rows = mapped(source(items=[items]), custom_data={"contents": {"json_column": "items"}})

    assert rows.custom["contents"].to_pylist() == [None]
    assert _dropped(rows) == [("custom_data.contents", "items", EMAIL, 1)]
