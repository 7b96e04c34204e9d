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
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.settings import Contents, FieldSpec
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import Reading, either, read_field
from offline_capi.mapping.text import EXACT_FLOAT, as_text, is_text, plain

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


# ---------------------------------------------------------------------------------------------- from columns


def read_contents(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One array of items a row, null where there is none."""
    if spec.json_column is not None:
        with columns.read_for(path, spec.json_column):
            return _rewritten(_json_text(columns.values(spec.json_column)), _items)
    return _built(columns, spec, path)


def _built(columns: SourceColumns, spec: Contents, path: str) -> Reading:
    """One item a row, made of columns; no item where the id is empty. An empty quantity is unreadable."""
    members = [(name, getattr(spec, name, None)) for name in ITEM_KINDS]
    read = {n: read_field(columns, member, f"{path}.{n}", ITEM_KINDS[n]) for n, member in members if member}
    rest = [_member(name, found.values) for name, found in read.items() if name != "id"]
    items = pc.binary_join_element_wise('[{"id":', _json(read["id"].values), *rest, "}]", "", null_handling="emit_null")
    without_quantity = pc.and_(read["id"].values.is_valid(), read["quantity"].missing)
    unreadable = either(*(found.unreadable for found in read.values()), without_quantity)
    return Reading(items, unreadable, either(*(found.unknown for found in read.values())))


def _member(name: str, values: pa.Array) -> pa.StringArray:
    return pc.fill_null(pc.binary_join_element_wise(f',"{name}":', _json(values), ""), "")


def _json(values: pa.Array) -> pa.StringArray:
    """Text quoted, numbers as they are."""
    return _quoted(values) if is_text(values) else as_text(values)


def _quoted(text: pa.StringArray) -> pa.StringArray:
    if pc.any(pc.match_substring_regex(text, r'[\x00-\x1f"\\]')).as_py():
        return _of_distinct(text, lambda value: json.dumps(value, ensure_ascii=False))
    return pc.binary_join_element_wise('"', text, '"', "")


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
    if spec.column is not None and _is_list(columns.values(spec.column).type):
        return _rewritten(_json_text(columns.values(spec.column)), _members)
    found = read_field(columns, spec, path, "string")
    arrays = pc.fill_null(pc.starts_with(found.values, "["), False)
    if not pc.any(arrays).as_py():
        return found._replace(values=_quoted(found.values))
    read = _rewritten(pc.if_else(arrays, found.values, None), _members)
    values = pc.if_else(arrays, read.values, _quoted(found.values))
    return Reading(values, either(found.unreadable, read.unreadable), found.unknown)


# ---------------------------------------------------------------------------------------------- JSON in the source


def _is_list(kind: pa.DataType) -> bool:
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _json_text(values: pa.Array) -> pa.StringArray:
    """Lists of a typed source (Parquet) as JSON; text as it is."""
    if not _is_list(values.type):
        return plain(as_text(values))
    return pa.array([None if row is None else json.dumps(row, default=str) for row in values.to_pylist()], pa.string())


def _rewritten(text: pa.StringArray, write: Callable[[str], str | None]) -> Reading:
    """Each distinct text once; unreadable where ``write`` refuses, null where it finds nothing."""
    distinct = text.dictionary_encode()
    written = [_attempt(value, write) for value in distinct.dictionary.to_pylist()]
    values = pa.array([new for new, _ in written], pa.string()).take(distinct.indices)
    if all(readable for _, readable in written):
        return Reading(values)
    refused = pa.array([not readable for _, readable in written], pa.bool_()).take(distinct.indices)
    return Reading(values, pc.fill_null(refused, False))


def _attempt(value: str, write: Callable[[str], str | None]) -> tuple[str | None, bool]:
    try:
        return write(value), True
    except (ValueError, OverflowError, RecursionError):
        return None, False


def _of_distinct(text: pa.StringArray, write: Callable[[str], str]) -> pa.StringArray:
    distinct = text.dictionary_encode()
    return pa.array([write(value) for value in distinct.dictionary.to_pylist()], pa.string()).take(distinct.indices)


class _MalformedError(ValueError):
    """JSON, but not the JSON of items or ids."""


def _refuse(_: str) -> NoReturn:
    raise _MalformedError("NaN and Infinity are no JSON")


def _array(text: str) -> list[Any]:
    value = json.loads(text, parse_constant=_refuse)
    if not isinstance(value, list):
        raise _MalformedError("no array")
    return value


def _compact(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text.encode()  # lone surrogates are legal in JSON and not in UTF-8: refused here, as one
    return text


def _items(text: str) -> str | None:
    items = [_item(item) for item in _array(text)]
    return _compact(items) if items else None


def _members(text: str) -> str | None:
    ids = [_id(value) for value in _array(text) if value is not None]
    return _compact(ids)[1:-1] if ids else None


def _item(item: object) -> dict[str, object]:
    if not isinstance(item, dict) or item.get("id") is None or item.get("quantity") is None:
        raise _MalformedError("no object with id and quantity")
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
        raise _MalformedError("no id")
    text = value.strip() if isinstance(value, str) else str(value if isinstance(value, int) else _whole(value))
    if not text:
        raise _MalformedError("an empty id")
    return text


def _text(value: object) -> str:
    if isinstance(value, (dict, list)):
        raise _MalformedError("no text")
    return value if isinstance(value, str) else json.dumps(value)


def _whole(value: object) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise _MalformedError("no whole number")
    return number


def _number(value: object) -> int | float:
    """Exact and finite; whole numbers without ``.0``, as they are in columns."""
    if isinstance(value, str) and _NUMERAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _MalformedError("no number")
    return int(value) if value == int(value) and abs(value) <= EXACT_FLOAT else value


_NUMERAL = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)
_VALUE: dict[str, Callable[[object], object]] = {"string": _text, "integer": _whole, "number": _number}
