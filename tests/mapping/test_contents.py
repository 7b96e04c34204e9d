"""``contents`` and ``content_ids``."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from offline_capi.errors import SourceSchemaError
from tests.mapping.mapped import faults, mapped, source


def contents(rows, **spec):
    read = mapped(rows, custom_data={"contents": spec})
    return read.custom["contents"].to_pylist(), faults(read)


def test_columns_make_one_item_a_row_in_the_order_of_the_documentation():
    rows = source(sku=["A1", None, 'q"\\\nz'], n=["2", "1", "3.0"], price=["1,234.50", "1", None], brand=["Ö", "", "b"])

    made, wrong = contents(rows, id="sku", quantity="n", item_price={"column": "price"}, brand="brand")

    assert made == [
        '[{"id":"A1","quantity":2,"item_price":1234.5,"brand":"Ö"}]',
        None,
        '[{"id":"q\\"\\\\\\nz","quantity":3,"brand":"b"}]',
    ]
    assert wrong == []


def test_an_empty_quantity_is_a_fault():
    rows = source(sku=["A", "B"], n=["", "2"])

    assert contents(rows, id="sku", quantity="n")[1] == [("unreadable_value", "custom_data.contents", [1])]


def test_an_unreadable_price_is_a_fault_and_not_a_hole():
    assert contents(source(sku=["A"], n=[1], price=["$5"]), id="sku", quantity="n", item_price="price")[1] == [
        ("unreadable_value", "custom_data.contents", [1])
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('[{"quantity": 2.0, "id": 5, "item_price": "9.90"}]', '[{"id":"5","quantity":2,"item_price":9.9}]'),
        ('[{"id":"a","quantity":"1"},{"id":"b","quantity":1}]', '[{"id":"a","quantity":1},{"id":"b","quantity":1}]'),
        ('[{"z":1,"y":{"b":1,"a":2},"quantity":1,"id":"é"}]', '[{"id":"é","quantity":1,"y":{"a":2,"b":1},"z":1}]'),
        ('[{"id":9007199254740993,"quantity":1}]', '[{"id":"9007199254740993","quantity":1}]'),
        ('[{"id":"a","quantity":1,"title":null}]', '[{"id":"a","quantity":1}]'),
        ("[]", None),
        ("  ", None),
    ],
)
def test_json_is_written_again_compactly_in_one_order(text, written):
    assert contents(source(items=[text]), json_column="items") == ([written], [])


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{}",
        '{"id":"a","quantity":1}',
        "[1]",
        "[{}]",
        '[{"id":"a"}]',
        '[{"id":" ","quantity":1}]',
        '[{"id":true,"quantity":1}]',
        '[{"id":"a","quantity":1.5}]',
        '[{"id":"a","quantity":"１"}]',
        '[{"id":"a","quantity":1,"item_price":NaN}]',
        '[{"id":"a","quantity":1,"item_price":1e999}]',
        '[{"id":"a","quantity":1,"item_price":"1_0"}]',
        '[{"id":"\\ud800","quantity":1}]',
        '[{"id":"a","quantity":1,"x":' + "[" * 100_000 + "]" * 100_000 + "}]",
        "[" * 100_000,
    ],
    ids=range(16),
)
def test_malformed_json_is_a_fault_of_its_row_only(text):
    good = '[{"id":"a","quantity":1}]'

    made, wrong = contents(source(items=[good, text, None]), json_column="items")

    assert made == [good, None, None]
    assert wrong == [("unreadable_value", "custom_data.contents", [2])]


def test_lists_of_a_typed_source_are_items_too():
    items = pa.array([[{"id": "a", "quantity": 2, "item_price": 1.5}], None, []])

    assert contents(source(items=items), json_column="items")[0] == [
        '[{"id":"a","quantity":2,"item_price":1.5}]',
        None,
        None,
    ]


def test_items_of_a_column_of_bytes_are_refused_with_its_type():
    with pytest.raises(SourceSchemaError, match=r'custom_data\.contents cannot be read from "items": binary'):
        contents(source(items=[b"[]"]), json_column="items")


def test_content_ids_of_all_columns_stand_in_one_array():
    rows = source(a=["1", None, '["x", 7.0]', None], b=[10.0, 20.0, None, None])

    ids = mapped(rows, custom_data={"content_ids": ["a", "b"]}).custom["content_ids"].to_pylist()

    assert ids == ['["1","10"]', '["20"]', '["x","7"]', None]
    assert [json.loads(text) for text in ids if text] == [["1", "10"], ["20"], ["x", "7"]]


def test_content_ids_of_a_list_column_and_of_broken_json():
    lists = mapped(source(a=pa.array([["x", None, "y"], []])), custom_data={"content_ids": "a"})
    broken = mapped(source(a=["[1", "[]"]), custom_data={"content_ids": "a"})

    assert lists.custom["content_ids"].to_pylist() == ['["x","y"]', None]
    assert broken.custom["content_ids"].to_pylist() == [None, None]
    assert faults(broken) == [("unreadable_value", "custom_data.content_ids", [1])]
