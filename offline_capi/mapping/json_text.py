"""JSON as text: written column by column, read once a distinct value.

JSON from a source is read and written again compactly, so that the same meaning has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.mapping.fields import Reading
from offline_capi.mapping.text import as_text, is_text
from offline_capi.runtime.column_bytes import needs_escape
from offline_capi.runtime.join import Framed, join_columns, join_pieces

__all__ = [
    "MalformedError",
    "build_json_object",
    "dump_compact",
    "is_list",
    "map_distinct",
    "parse_json",
    "parse_json_array",
    "quote_text",
    "render_json_lists",
    "render_json_values",
    "rewrite_distinct",
]


class MalformedError(ValueError):
    """JSON, but not of the shape that is wanted."""


# ---------------------------------------------------------------------------------------------- written


def build_json_object(members: Mapping[str, pa.Array]) -> pa.StringArray:
    """``{"key":value,…}`` of the members (JSON text each) that have a value, null where none has."""
    if members and not any(values.null_count for values in members.values()):
        starts = [f',"{key}":' for key in members]
        starts[0] = "{" + starts[0][1:]
        pairs = [piece for pair in zip(starts, members.values(), strict=True) for piece in pair]
        return join_columns(*pairs, "}")
    pieces = [Framed(f',"{key}":', values, "") for key, values in members.items()]
    rows = len(pieces[0].column) if pieces else 0
    joined = pc.ascii_ltrim(join_pieces(pieces, rows).cast(pa.string()), characters=",")
    filled = pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
    return join_columns("{", filled, "}")


def render_json_values(values: pa.Array) -> pa.StringArray:
    """Text quoted, numbers and flags as they are."""
    return quote_text(values) if is_text(values) else as_text(values)


def quote_text(text: pa.StringArray) -> pa.StringArray:
    if needs_escape(text):
        return map_distinct(text, lambda value: json.dumps(value, ensure_ascii=False))
    return join_columns('"', text, '"')


def dump_compact(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text.encode()  # lone surrogates are legal in JSON and not in UTF-8: refused here, as one
    return text


# ---------------------------------------------------------------------------------------------- read


def is_list(kind: pa.DataType) -> bool:
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def render_json_lists(values: pa.Array) -> pa.StringArray:
    """Lists of a typed source (Parquet) as JSON; text, which ``get_values`` has trimmed, as it is."""
    if not is_list(values.type):
        return as_text(values)
    return pa.array([None if row is None else json.dumps(row, default=str) for row in values.to_pylist()], pa.string())


def parse_json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def parse_json_array(text: str) -> list[Any]:
    value = parse_json(text)
    if not isinstance(value, list):
        raise MalformedError("no array")
    return value


def _refuse(_: str) -> NoReturn:
    raise MalformedError("NaN and Infinity are no JSON")


def rewrite_distinct(text: pa.StringArray | pa.DictionaryArray, write: Callable[[str], str | None]) -> Reading:
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


def map_distinct(text: pa.StringArray, write: Callable[[str], str]) -> pa.StringArray:
    distinct = text.dictionary_encode()
    return pa.array([write(value) for value in distinct.dictionary.to_pylist()], pa.string()).take(distinct.indices)
