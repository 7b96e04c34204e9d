"""``contents`` and ``content_ids``: strings that hold JSON arrays, put together column by column.

A JSON column is parsed once a distinct value: an item must be an object with an id and a whole quantity
(D:parameters/custom-data, meta-capi.md section 3.1), its numbers may be texts, and it is written again compactly with
the known keys in one order and all others after them by name. Anything else is unreadable, whole.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.settings import Contents, FieldSpec
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import Reading, either, read_field
from offline_capi.mapping.json_text import (
    MalformedError,
    compact,
    is_list,
    json_array,
    json_object,
    json_of_lists,
    quoted,
    rewritten,
)
from offline_capi.mapping.objects import Member, read_members
from offline_capi.mapping.text import EXACT_FLOAT

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
ITEM = tuple(Member(key, key, kind) for key, kind in ITEM_KINDS.items())


# ---------------------------------------------------------------------------------------------- from columns


def read_contents(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One array of items a row, null where there is none."""
    if spec.json_column is not None:
        with columns.read_for(path, spec.json_column):
            return rewritten(json_of_lists(columns.values(spec.json_column)), _items)
    return _built(columns, spec, path)


def _built(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One item a row, made of columns; no item where the id is empty. An empty quantity is unreadable."""
    read = read_members(columns, spec, ITEM, path)
    there = read["id"].values.is_valid()
    item = json_object({key: found.values for key, found in read.items()})
    item = pc.if_else(there, item, None) if read["id"].values.null_count else item
    unreadable = either(*(found.unreadable for found in read.values()), pc.and_(there, read["quantity"].missing))
    unknown = either(*(found.unknown for found in read.values()))
    return Reading(pc.binary_join_element_wise("[", item, "]", ""), unreadable, unknown)


# ---------------------------------------------------------------------------------------------- ids


def read_content_ids(columns: SourceColumns, specs: Iterable[FieldSpec], path: str) -> Reading:
    """The ids of all columns in one array a row; a text that begins with ``[`` is a JSON array of ids itself."""
    found = [_ids(columns, spec, path) for spec in specs]
    # Not null_handling="skip": pyarrow 26 returns fewer rows than it was given where a row is all null.
    ended = [pc.fill_null(pc.binary_join_element_wise(part.values, ",", ""), "") for part in found]
    joined = pc.utf8_rtrim(pc.binary_join_element_wise(*ended, ""), characters=",")
    filled = pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
    return Reading(
        pc.binary_join_element_wise("[", filled, "]", ""),
        either(*(part.unreadable for part in found)),
        either(*(part.unknown for part in found)),
    )


def _ids(columns: SourceColumns, spec: FieldSpec, path: str) -> Reading:
    """The members of the array, without its brackets."""
    if spec.column is not None and is_list(columns.values(spec.column).type):
        return rewritten(json_of_lists(columns.values(spec.column)), _members)
    found = read_field(columns, spec, path, "string")
    arrays = pc.fill_null(pc.starts_with(found.values, "["), False)
    if not pc.any(arrays).as_py():
        return found._replace(values=quoted(found.values))
    read = rewritten(pc.if_else(arrays, found.values, None), _members)
    values = pc.if_else(arrays, read.values, quoted(found.values))
    return Reading(values, either(found.unreadable, read.unreadable), found.unknown)


# ---------------------------------------------------------------------------------------------- JSON in the source


def _items(text: str) -> str | None:
    items = [_item(item) for item in json_array(text)]
    return compact(items) if items else None


def _members(text: str) -> str | None:
    ids = [_id(value) for value in json_array(text) if value is not None]
    return compact(ids)[1:-1] if ids else None


def _item(item: object) -> dict[str, object]:
    if not isinstance(item, dict) or item.get("id") is None or item.get("quantity") is None:
        raise MalformedError("no object with id and quantity")
    known = {key: _VALUE[kind](item[key]) for key, kind in ITEM_KINDS.items() if item.get(key) is not None}
    known["id"] = _id(item["id"])
    others = {key: _sorted(item[key]) for key in sorted(item) if key not in ITEM_KINDS and item[key] is not None}
    return known | others


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list) else value


def _id(value: object) -> str:
    """Texts trimmed, whole numbers without ``.0``; nothing else is an id."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise MalformedError("no id")
    text = value.strip() if isinstance(value, str) else str(value if isinstance(value, int) else _whole(value))
    if not text:
        raise MalformedError("an empty id")
    return text


def _text(value: object) -> str:
    if isinstance(value, (dict, list)):
        raise MalformedError("no text")
    return value if isinstance(value, str) else json.dumps(value)


def _whole(value: object) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise MalformedError("no whole number")
    return number


def _number(value: object) -> int | float:
    """Exact and finite; whole numbers without ``.0``, as they are in columns."""
    if isinstance(value, str) and _NUMERAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MalformedError("no number")
    return int(value) if value == int(value) and abs(value) <= EXACT_FLOAT else value


_NUMERAL = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)
_VALUE: dict[str, Callable[[object], object]] = {"string": _text, "integer": _whole, "number": _number}
