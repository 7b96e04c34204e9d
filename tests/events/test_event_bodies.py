"""What an event looks like when it goes out. The files in ``golden/`` hold whole events, one a line, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.events.payload import as_text
from offline_capi.model import BuiltEvents, HashedRows

Rows = Callable[..., HashedRows]
Build = Callable[..., BuiltEvents]
Bodies = Callable[[BuiltEvents], list[Any]]

GOLDEN = Path(__file__).parent / "golden"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
OTHER = "8101946a0077cd088acbd285eee6dc951bdceb074b6fe136427a1a8768760d33"

CASES: dict[str, dict[str, Any]] = {
    "credit_approvals": {
        "event": {
            "event_name": ["CreditApproval"] * 2,
            "event_id": ["approval-1", "approval-2"],
        },
        "identity": {
            "external_id": [["c-1", "c-2"]],
            "country": [["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"] * 2],
            "em": [[DIGEST, None], [OTHER, OTHER]],
            "ph": [["e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176", None]],
        },
        "custom": {"predicted_ltv": [1234.5, None], "currency": ["USD"] * 2, "value": [15000.0, 0.1]},
    },
    "store_purchases": {
        "event": {"event_name": ["Purchase"] * 2, "action_source": ["physical_store"] * 2, "opt_out": [None, True]},
        "custom": {
            "value": [19.99, 50.0],
            "currency": ["EUR", "eur"],
            "order_id": ["R-1", "R-2"],
            "item_number": [None, "2"],
            "contents": ['[{"id":"sku \\"1\\"","quantity":1,"item_price":19.99}]', None],
            "content_ids": ['["sku 1"]', "[7,8]"],
            "num_items": [1, None],
            "member": [True, False],
            "Größe": ["XL", None],
        },
    },
    "website_lead": {
        "event": {
            "event_name": ["Lead"],
            "action_source": ["website"],
            "event_source_url": ["https://shop.example/a?b=c&d=%22"],
            "referrer_url": ["https://search.example/"],
        },
        "identity": {
            "fbp": [["fb.1.1596403881668.1116446470"]],
            "fbc": [["fb.1.1554763741205.AbCdEfGhIjKlMnOpQrStUvWxYz1234567890"]],
            "client_user_agent": [['Mozilla/5.0 (X11; "Q\\uotes"; Linux)\t']],
            "client_ip_address": [["2001:db8::1"]],
        },
    },
    "crm_lead": {
        "event": {"event_name": ["Qualified"] * 2},
        "identity": {"lead_id": [["1234567890123456", None]], "fb_login_id": [[None, "0123"]], "em": [[None, DIGEST]]},
        "custom": {"lead_event_source": ["CRM"] * 2, "event_source": ["crm"] * 2},
    },
    "appended_value": {
        "event": {
            "event_name": ["AppendValue"] * 2,
            "original_event_data": [
                '{"event_name":"Purchase","event_id":"o-1"}',
                '{"event_name":"Lead","order_id":"7"}',
            ],
            "attribution_data": [None, '{"ad_id":"1","attribution_share":0.5}'],
            "customer_segmentation": ["customer_in_loyalty_program", None],
            "data_processing_options": ['["LDU"]', "[]"],
            "data_processing_options_country": [1, None],
            "data_processing_options_state": [1000, None],
        },
        "custom": {"predicted_ltv": [99.5, 1.0], "currency": ["USD"] * 2, "net_revenue": [None, 0.25]},
    },
    "app_and_store": {
        "event": {
            "event_name": ["ViewContent", "LeadSubmitted"],
            "action_source": ["app", "business_messaging"],
            "messaging_channel": [None, "whatsapp"],
            "app_data": ['{"advertiser_tracking_enabled":true,"extinfo":["i2","a"]}', None],
            "advanced_measurement_table": [None, "t"],
        },
        "custom": {"store_data": ['{"store_page_id":"1","store_code":"B7"}', None], "event_source": [None, "crm"]},
    },
    "bare": {"custom": {"note": [None, "a"], "score": [None, None]}, "event": {"event_id": ["a", "b"]}},
}


@pytest.mark.parametrize("name", CASES)
def test_events_look_as_the_golden_files_say(rows_of: Rows, build: Build, name: str) -> None:
    built = build(rows_of(**CASES[name]))

    lines = b"".join(body + b"\n" for body in built.events.table["body"].to_pylist())
    assert lines.decode() == (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------- laws


@given(data=st.data())
def test_any_text_in_any_place_comes_back_as_it_was(
    rows_of: Rows, build: Build, bodies: Bodies, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 6))
    texts = st.lists(TEXTS, min_size=count, max_size=count)
    some = st.lists(st.none() | TEXTS, min_size=count, max_size=count)
    event = {"event_name": [f"n{name}" for name in data.draw(texts)], "event_id": [f"i{i}" for i in data.draw(texts)]}
    urls, agents, ids, more_ids = (data.draw(some) for _ in range(4))
    custom = {name: data.draw(some) for name in data.draw(st.sets(TEXTS.map(lambda name: f"x{name}"), max_size=3))}
    people = {"em": [[DIGEST] * count], "client_user_agent": [agents], "external_id": [ids, more_ids]}

    events = bodies(build(rows_of({**event, "referrer_url": urls}, people, custom)))

    assert [got["event_name"] for got in events] == event["event_name"]
    assert [got["event_id"] for got in events] == event["event_id"]
    assert [got.get("referrer_url") for got in events] == urls
    assert [got["user_data"].get("client_user_agent") for got in events] == agents
    lists = [list(dict.fromkeys(v for v in pair if v is not None)) for pair in zip(ids, more_ids, strict=True)]
    assert [got["user_data"].get("external_id", []) for got in events] == lists
    for place, got in enumerate(events):
        kept = {name: values[place] for name, values in custom.items() if values[place] is not None}
        assert got.get("custom_data", {}) == kept


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_come_back_to_the_last_bit(rows_of: Rows, build: Build, bodies: Bodies, values: list[float]) -> None:
    events = bodies(build(rows_of(custom={"score": values})))

    assert [float(event["custom_data"]["score"]) for event in events] == values


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_integers_stay_integers(rows_of: Rows, build: Build, bodies: Bodies, values: list[int]) -> None:
    assert [event["custom_data"]["n"] for event in bodies(build(rows_of(custom={"n": values})))] == values


@pytest.mark.parametrize(("value", "written"), [(50.0, "50"), (0.1, "0.1"), (1e21, "1e+21"), (19.99, "19.99")])
def test_numbers_are_written_short(rows_of: Rows, build: Build, value: float, written: str) -> None:
    built = build(rows_of(custom={"score": [value]}))

    assert built.events.table["body"][0].as_py().endswith(f'"custom_data":{{"score":{written}}}}}'.encode())


def test_every_control_character_is_escaped(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    text = "".join(map(chr, range(0x20))) + '"\\\x7f\u2028\U0001f600'

    built = build(rows_of(custom={"note": [text]}))

    assert bodies(built)[0]["custom_data"]["note"] == text
    assert min(built.events.table["body"][0].as_py()) >= 0x20


def test_a_list_key_is_an_array_where_several_columns_feed_it(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    """Each value once, in the order of the YAML; a single column gives a string."""
    people = {"em": [[DIGEST, None, DIGEST], [DIGEST, OTHER, OTHER]], "ph": [[OTHER] * 3]}

    users = [event["user_data"] for event in bodies(build(rows_of(identity=people)))]

    assert [user["em"] for user in users] == [[DIGEST], [OTHER], [DIGEST, OTHER]]
    assert {user["ph"] for user in users} == {OTHER}


def test_a_single_key_takes_the_first_column_that_has_a_value(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    people = {"em": [[DIGEST] * 3], "fbp": [[None, "fb.1.1.2", None], ["fb.1.1.1", "fb.1.1.3", None]]}

    users = [event["user_data"] for event in bodies(build(rows_of(identity=people)))]

    assert [user.get("fbp") for user in users] == ["fb.1.1.1", "fb.1.1.2", None]


def test_ids_that_meta_types_as_integers_are_integers(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    """Whatever is not written as one stays a string: JSON knows no leading zeros."""
    people = {"lead_id": [["1234567890123456", "0123", "12.0", "0", None]], "em": [[DIGEST] * 5]}

    users = [event["user_data"] for event in bodies(build(rows_of(identity=people)))]

    assert [user.get("lead_id") for user in users] == [1234567890123456, "0123", "12.0", 0, None]


@pytest.mark.parametrize(
    "layout", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_bytes_do_not_depend_on_the_layout_of_strings(rows_of: Rows, build: Build, layout: Any) -> None:
    """pandas, polars and Parquet readers bring strings in layouts of their own."""
    rows = rows_of(**CASES["store_purchases"])

    def other(column: Any) -> Any:
        return column.cast(layout) if column.type == pa.string() else column

    changed = replace(
        rows,
        client=other(rows.client),
        event={name: other(column) for name, column in rows.event.items()},
        identity={key: [other(column) for column in columns] for key, columns in rows.identity.items()},
        custom={name: other(column) for name, column in rows.custom.items()},
    )

    assert build(changed).events.table.equals(build(rows).events.table)


@given(st.lists(st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 9.99, None]), max_size=20), st.integers(1, 40))
def test_amounts_that_repeat_are_written_as_each_of_them(amounts: list[float | None], times: int) -> None:
    column = pa.array(amounts * times, pa.float64())

    written = pa.array(amounts, pa.float64()).cast(pa.string()).to_pylist()
    assert as_text(column).to_pylist() == written * times
