"""``contents`` and ``content_ids``: strings that hold JSON arrays, put together column by column.

A JSON column is parsed once a distinct value: an item must be an object with an id and a quantity above zero
(D:parameters/custom-data, meta-capi.md section 3.1), its numbers may be texts, and it is written again compactly with
the known keys in one order and all others after them by name. What shops call the keys (``sku``, ``qty``, ``price``) is
understood, and so are one object without brackets, JSON inside a JSON text, and lists as Python prints them.

An item that cannot be read is left out, and its neighbours stay. Meta takes whole quantities: others are rounded to the
nearest, to 1 at least (0.455 kg are one article of that id); a quantity of zero or less is no purchase of it.

Several ids in one text (``A1,B2``, ``A1|B2``, ``{A1,B2}``) are several ids, unless the field is declared
``type: string``.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.fields import FieldSpec
from offline_capi.config.mapping import Contents
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import ID_KIND, Reading, combine_masks, read_field
from offline_capi.mapping.ids import is_damaged, strip_one_zero_fraction
from offline_capi.mapping.json_text import (
    MalformedError,
    build_json_object,
    dump_compact,
    is_list,
    parse_json,
    quote_text,
    render_json_lists,
    rewrite_distinct,
)
from offline_capi.mapping.numerals import read_numbers
from offline_capi.mapping.objects import Member, read_members
from offline_capi.mapping.text import EXACT_FLOAT
from offline_capi.runtime.join import join_columns

__all__ = ["read_content_ids", "read_contents"]

# D:parameters/custom-data, SDK content.py: the order in which an item's keys are written.
ITEM_KINDS = {
    "id": "string",
    "quantity": "integer",
    "item_price": "number",
    "title": "string",
    "description": "string",
    "brand": "string",
    "category": "string",
    "delivery_category": "string",
}
ITEM = tuple(Member(key, key, {"id": ID_KIND, "quantity": "number"}.get(key, kind)) for key, kind in ITEM_KINDS.items())
_ITEM_KEYS = tuple(member.key for member in ITEM)
# What exports of shops call the keys, the first that is there: WooCommerce, Shopify, Square, GA4 (item_id, item_name).
OTHER_NAMES = {
    "id": ("sku", "item_id", "product_id", "content_id", "variant_id", "product_sku"),
    "quantity": ("qty", "count", "units"),
    "item_price": ("price", "unit_price", "itemPrice"),
    "title": ("name", "item_name", "product_name"),
    "brand": ("item_brand",),
    "category": ("item_category",),
}


# ---------------------------------------------------------------------------------------------- from columns


def read_contents(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One array of items a row, null where there is none."""
    if spec.json_column is not None:
        with columns.read_for(path, spec.json_column):
            return _rewrite_items(render_json_lists(columns.get_values(spec.json_column)))
    return _build_items(columns, spec, path)


def _build_items(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One item a row, made of columns; no item where the id is empty. An empty quantity is unreadable."""
    others = read_members(columns, spec, [member for member in ITEM if member.key != "quantity"], path)
    assert spec.quantity is not None  # noqa: S101  mypy; ``Contents`` demands it beside an id
    counted = read_field(columns, spec.quantity, f"{path}.quantity", "number")
    quantity, rounded = _round_quantities(counted.values)
    found = {**others, "quantity": counted._replace(values=quantity)}
    read = {key: found[key] for key in _ITEM_KEYS if key in found}
    there = read["id"].values.is_valid()
    unreadable = combine_masks(*(one.unreadable for one in read.values()), pc.and_(there, quantity.is_null()))
    unknown = combine_masks(*(one.unknown for one in read.values()))
    whole = there if unreadable is None else pc.and_not(there, unreadable)
    item = pc.if_else(
        whole, build_json_object({key: one.values for key, one in read.items()}), pa.scalar(None, pa.string())
    )
    reduced = pc.and_(rounded, whole) if pc.any(rounded).as_py() else None
    return Reading(join_columns("[", item, "]"), unreadable, unknown, read["id"].damaged, reduced)


def _round_quantities(values: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray]:
    """Quantities above zero as whole numbers of at least 1, and which of them were rounded."""
    numbers = pc.cast(values, pa.float64())
    is_whole = pc.and_(pc.greater_equal(numbers, 1), pc.equal(numbers, pc.floor(numbers)))
    if pc.all(is_whole, min_count=0).as_py():  # nulls aside; so it is nearly everywhere
        none = pa.repeat(pa.scalar(False), len(values))
        return pc.cast(pc.cast(numbers, pa.int64(), safe=False), pa.string()), none
    above = pc.if_else(pc.greater(numbers, 0), numbers, pa.scalar(None, pa.float64()))
    whole = pc.max_element_wise(pc.floor(pc.add(above, 0.5)), pc.if_else(above.is_valid(), 1.0, None))
    rounded = pc.fill_null(pc.not_equal(whole, above), False)
    return pc.cast(pc.cast(whole, pa.int64(), safe=False), pa.string()), rounded


# ---------------------------------------------------------------------------------------------- ids


def read_content_ids(columns: SourceColumns, specs: Iterable[FieldSpec], path: str) -> Reading:
    """The ids of all columns in one array a row; a text that begins with ``[`` is a JSON array of ids itself."""
    found = [_read_ids(columns, spec, path) for spec in specs]
    # Not null_handling="skip": pyarrow 26 returns fewer rows than it was given where a row is all null.
    ended = [pc.fill_null(pc.binary_join_element_wise(part.values, ",", ""), "") for part in found]
    joined = pc.utf8_rtrim(pc.binary_join_element_wise(*ended, ""), characters=",")
    filled = pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
    return Reading(
        join_columns("[", filled, "]"),
        combine_masks(*(part.unreadable for part in found)),
        combine_masks(*(part.unknown for part in found)),
        combine_masks(*(part.damaged for part in found)),
    )


def _read_ids(columns: SourceColumns, spec: FieldSpec, path: str) -> Reading:
    """The members of the array, without its brackets."""
    if spec.column is not None and is_list(columns.get_values(spec.column).type):
        return rewrite_distinct(render_json_lists(columns.get_values(spec.column)), _render_members)
    found = read_field(columns, spec, path, ID_KIND)
    if spec.type == "string" or spec.constant is not None:
        return found._replace(values=quote_text(found.values))
    several = pc.fill_null(pc.match_substring_regex(found.values, r"^[\[{]|[,;|\n]"), False)
    if not pc.any(several).as_py():
        return found._replace(values=quote_text(found.values))
    read = rewrite_distinct(pc.if_else(several, found.values, pa.scalar(None, pa.string())), _render_members)
    values = pc.if_else(several, read.values, quote_text(found.values))
    return found._replace(values=values, unreadable=combine_masks(found.unreadable, read.unreadable))


# ---------------------------------------------------------------------------------------------- JSON in the source


#: Of one run: what items of so few characters become is kept, for shops sell the same again; 4 MiB together.
MAX_KEPT_ITEMS, MAX_KEPT_CHARS = 4_096, 512


def _rewrite_items(text: pa.StringArray) -> Reading:
    """The items of each row, and where a part is missing or rounded."""
    partial: list[bool] = []

    def write_items(value: str) -> str | None:
        partial.append(False)
        found, partial[-1] = _read_items_cached(value) if len(value) <= MAX_KEPT_CHARS else _read_items(value)
        return found

    distinct = text.dictionary_encode()
    found = rewrite_distinct(distinct, write_items)
    if not any(partial):
        return found
    reduced = pa.array(partial, pa.bool_()).take(distinct.indices)
    return found._replace(reduced=pc.fill_null(reduced, False))


@lru_cache(MAX_KEPT_ITEMS)
def _read_items_cached(text: str) -> tuple[str | None, bool]:
    return _read_items(text)


def _read_items(text: str) -> tuple[str | None, bool]:
    """The items that can be read, and whether one was left out or rounded; refused where none can be."""
    items, lost = [], 0
    found = _parse_array(text)
    for item in found:
        try:
            items.append(_read_item(item))
        except (ValueError, OverflowError, RecursionError):
            lost += 1
    if found and not items:
        raise MalformedError("no item that can be read")
    is_rounded = any(rounded for _, rounded in items)
    return (dump_compact([item for item, _ in items]) if items else None), bool(lost) or is_rounded


def _parse_array(text: str) -> list[object]:
    """The array, from JSON, from JSON inside a JSON text, or as Python prints it; one object is an array of one."""
    try:
        value = parse_json(text)
        value = parse_json(value) if isinstance(value, str) else value
    except ValueError:
        value = _parse_printed(text)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise MalformedError("no array")
    return value


MAX_PRINTED_CHARS = 100_000


def _parse_printed(text: str) -> object:
    r"""``[{'id': 'A1'}]``, and what two rounds of escaping left: ``"[{\"id\":1}]"`` without its outer quotes."""
    if len(text) > MAX_PRINTED_CHARS:
        raise MalformedError("too long to be read as Python prints it")
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, MemoryError, TypeError) as no_literal:
        raise MalformedError("neither JSON nor a printed list") from no_literal


def _render_members(text: str) -> str | None:
    if text.startswith("["):
        found = [_read_id(value) for value in _parse_array(text) if value is not None]
    else:
        inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
        found = [_read_id(part.strip().strip("\"'")) for part in re.split(r"[,;|\n]", inner) if part.strip()]
    return dump_compact(found)[1:-1] if found else None


def _read_item(item: object) -> tuple[dict[str, object], bool]:
    if not isinstance(item, dict):
        raise MalformedError("no object")
    item = {str(key): value for key, value in item.items()}
    for key, names in OTHER_NAMES.items():
        other = next((name for name in names if item.get(name) is not None), None)
        if item.get(key) is None and other is not None:
            item[key] = item.pop(other)
    if item.get("id") is None or item.get("quantity") is None:
        raise MalformedError("no id, or no quantity")
    quantity = _read_number(item["quantity"])
    if quantity <= 0:
        raise MalformedError("a quantity of zero or less")
    whole = max(1, math.floor(quantity + 0.5))
    known = {key: _VALUE[kind](item[key]) for key, kind in ITEM_KINDS.items() if item.get(key) is not None}
    known |= {"id": _read_id(item["id"]), "quantity": whole}
    others = {key: _sort_keys(item[key]) for key in sorted(item) if key not in ITEM_KINDS and item[key] is not None}
    dump_compact(others)  # what is no JSON costs its item, not the others
    return {key: known[key] for key in ITEM_KINDS if key in known} | others, whole != quantity


def _sort_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sort_keys(value[key]) for key in sorted(value)}
    return [_sort_keys(part) for part in value] if isinstance(value, list) else value


def _read_id(value: object) -> str:
    """Texts trimmed, whole numbers without ``.0``; nothing else is an id."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise MalformedError("no id")
    if isinstance(value, float):
        if not (value.is_integer() and abs(value) <= EXACT_FLOAT):
            raise MalformedError("no whole number")
        value = int(value)
    text = str(value).strip()
    if not text or is_damaged(text):
        raise MalformedError("an empty id, or one whose digits are gone")
    return strip_one_zero_fraction(text)


def _read_text(value: object) -> str:
    if isinstance(value, (dict, list)):
        raise MalformedError("no text")
    text = value if isinstance(value, str) else json.dumps(value)
    text.encode()  # a lone surrogate costs its item
    return text


def _read_number(value: object) -> int | float:
    """Exact and finite; whole numbers without ``.0``, as they are in columns."""
    if isinstance(value, str):
        value = read_numbers(pa.array([value.strip()]), ".")[0].as_py() if value.isascii() else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MalformedError("no number")
    return int(value) if value == int(value) and abs(value) <= EXACT_FLOAT else value


_VALUE: dict[str, Callable[[object], object]] = {"string": _read_text, "integer": _read_number, "number": _read_number}
