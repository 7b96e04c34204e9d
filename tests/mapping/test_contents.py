"""``contents`` and ``content_ids``."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from offline_capi.errors import SourceSchemaError
from tests.mapping.mapped import faults, mapped, source


def contents(rows, **spec):
    """What is written, and what of it was left out: cause and count."""
    read = mapped(rows, custom_data={"contents": spec})
    assert faults(read) == []
    return read.custom["contents"].to_pylist(), [(one.cause, one.count) for one in read.dropped]


def test_columns_make_one_item_a_row_in_the_order_of_the_documentation():
    rows = source(sku=["A1", None, 'q"\\\nz'], n=["2", "1", "3.0"], price=["1,234.50", "1", None], brand=["Ö", "", "b"])

    made, wrong = contents(rows, id="sku", quantity="n", item_price={"column": "price"}, brand="brand")

    assert made == [
        '[{"id":"A1","quantity":2,"item_price":1234.5,"brand":"Ö"}]',
        None,
        '[{"id":"q\\"\\\\\\nz","quantity":3,"brand":"b"}]',
    ]
    assert wrong == []


@pytest.mark.parametrize(("quantity", "price"), [("", "5"), ("0", "5"), ("-1", "5"), ("2 pcs", "5"), ("1", "$5")])
def test_an_item_that_cannot_be_read_is_left_out_and_counted(quantity, price):
    rows = source(sku=["A", "B"], n=[quantity, "2"], price=[price, "7"])

    assert contents(rows, id="sku", quantity="n", item_price="price") == (
        [None, '[{"id":"B","quantity":2,"item_price":7}]'],
        [("unreadable", 1)],
    )


def test_an_upload_may_reject_the_row_of_an_item_that_cannot_be_read():
    rows = source(sku=["A", "B"], n=["", "2"], items=['[{"id":"a","quantity":1},{}]', '[{"id":"a","quantity":1}]'])

    built = mapped(rows, custom_data={"contents": {"id": "sku", "quantity": "n", "on_error": "reject"}})
    listed = mapped(rows, custom_data={"contents": {"json_column": "items", "on_error": "reject"}})

    assert faults(built) == faults(listed) == [("unreadable_value", "custom_data.contents", [1])]


def test_goods_by_weight_are_rounded_to_whole_articles():
    rows = source(sku=list("ABCDE"), n=["0.455", "1.49", "1.5", "2.0", "2"])

    assert contents(rows, id="sku", quantity="n") == (
        [f'[{{"id":"{sku}","quantity":{n}}}]' for sku, n in zip("ABCDE", [1, 1, 2, 2, 2], strict=True)],
        [("in part", 3)],
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('[{"quantity": 2.0, "id": 5, "item_price": "9.90"}]', '[{"id":"5","quantity":2,"item_price":9.9}]'),
        ('[{"id":"a","quantity":"1"},{"id":"b","quantity":1}]', '[{"id":"a","quantity":1},{"id":"b","quantity":1}]'),
        ('[{"z":1,"y":{"b":1,"a":2},"quantity":1,"id":"é"}]', '[{"id":"é","quantity":1,"y":{"a":2,"b":1},"z":1}]'),
        ('[{"id":9007199254740993,"quantity":1}]', '[{"id":"9007199254740993","quantity":1}]'),
        ('[{"id":"a","quantity":1,"title":null}]', '[{"id":"a","quantity":1}]'),
        ("[{'id': 'A1', 'quantity': 1, 'ok': True, 'x': None}]", '[{"id":"A1","quantity":1,"ok":true}]'),
        ('[{"sku":"A1","qty":1,"price":10}]', '[{"id":"A1","quantity":1,"item_price":10}]'),
        ('[{"item_id":"A1","item_name":"Tee","quantity":1}]', '[{"id":"A1","quantity":1,"title":"Tee"}]'),
        ('[{"id":"7","sku":"A1","quantity":1}]', '[{"id":"7","quantity":1,"sku":"A1"}]'),
        ('{"id":"a","quantity":1}', '[{"id":"a","quantity":1}]'),
        ('"[{\\"id\\":\\"A1\\",\\"quantity\\":1}]"', '[{"id":"A1","quantity":1}]'),
        ('[{"id":"A1","quantity":1,"item_price":"1,234.50"}]', '[{"id":"A1","quantity":1,"item_price":1234.5}]'),
        ('[{"id":"101.0","quantity":1}]', '[{"id":"101","quantity":1}]'),
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
        "[1]",
        "[{}]",
        '[{"id":"a"}]',
        '[{"id":" ","quantity":1}]',
        '[{"id":true,"quantity":1}]',
        '[{"id":"1.18E+15","quantity":1}]',
        '[{"id":"a","quantity":0}]',
        "[{'id': __import__('os'), 'quantity': 1}]",
        '[{"id":"a","quantity":"１"}]',
        '[{"id":"a","quantity":1,"item_price":NaN}]',
        '[{"id":"a","quantity":1,"item_price":1e999}]',
        '[{"id":"a","quantity":1,"item_price":"1_0"}]',
        '[{"id":"\\ud800","quantity":1}]',
        '[{"id":"a","quantity":1,"x":' + "[" * 100_000 + "]" * 100_000 + "}]",
        "[" * 100_000,
    ],
    ids=range(17),
)
def test_items_that_cannot_be_read_are_left_out_of_their_row_only(text):
    good = '[{"id":"a","quantity":1}]'

    assert contents(source(items=[good, text, None]), json_column="items") == ([good, None, None], [("unreadable", 1)])


@pytest.mark.parametrize(
    ("text", "kept", "cause"),
    [
        ('[{"id":"","quantity":1},{"id":"B2","quantity":1}]', '[{"id":"B2","quantity":1}]', "in part"),
        ('[{"id":null,"quantity":1},{"id":"B2","quantity":1}]', '[{"id":"B2","quantity":1}]', "in part"),
        ('[{"id":"a","quantity":-1},{"id":"B2","quantity":0.3}]', '[{"id":"B2","quantity":1}]', "in part"),
        ('[{"id":"a","quantity":1,"x":NaN},{"id":"B2","quantity":1}]', None, "unreadable"),
    ],
)
def test_a_bad_item_costs_itself_alone(text, kept, cause):
    assert contents(source(items=[text]), json_column="items") == ([kept], [(cause, 1)])


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


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A1", ["A1"]),
        ("A1|B2", ["A1", "B2"]),
        ("A1,B2", ["A1", "B2"]),
        ("A1; B2", ["A1", "B2"]),
        ("{A1,B2}", ["A1", "B2"]),
        ('{"A1","B2"}', ["A1", "B2"]),
        ('["A1","B2"]', ["A1", "B2"]),
        ("['A1', 'B2']", ["A1", "B2"]),
        ("[101, 102.0]", ["101", "102"]),
        ("101.0", ["101"]),
        ("A 1,", ["A 1"]),
    ],
)
def test_several_ids_in_one_text_are_several(text, ids):
    read = mapped(source(a=[text]), custom_data={"content_ids": "a"}).custom["content_ids"].to_pylist()

    assert json.loads(read[0]) == ids


def test_an_id_with_a_comma_is_one_where_the_upload_says_that_it_is_text():
    spec = {"content_ids": {"column": "a", "type": "string"}}

    assert mapped(source(a=["A,1"]), custom_data=spec).custom["content_ids"].to_pylist() == ['["A,1"]']


def test_content_ids_of_a_list_column_and_of_broken_json():
    lists = mapped(source(a=pa.array([["x", None, "y"], []])), custom_data={"content_ids": "a"})
    broken = mapped(source(a=["[1", "[]"]), custom_data={"content_ids": "a"})

    assert lists.custom["content_ids"].to_pylist() == ['["x","y"]', None]
    assert broken.custom["content_ids"].to_pylist() == [None, None]
    assert [(one.key, one.cause, one.count) for one in broken.dropped] == [("custom_data.content_ids", "unreadable", 1)]
