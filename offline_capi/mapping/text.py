"""Any source column as text: what ids, templates, names and map keys are made of.

The text of a value depends on the value alone, never on its neighbours, its batch or the way Arrow stores it: ``5.0``
in a float column is ``5``, ``12.50`` in a decimal column is ``12.5`` (trailing zeros are scale, not value), a naive
timestamp is ISO 8601, an aware one is ISO 8601 in UTC. NaN and infinities have no text: they are null.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.runtime.column_bytes import BLANK_STARTS, count_empty, needs_trim, where_begins

__all__ = ["EXACT_FLOAT", "UnfitSettingError", "UnfitTypeError", "as_text", "is_text", "keep_verbatim", "trim_text"]

EXACT_FLOAT = float(2**53 - 1)  # from 2^53 on, a whole number shares its float with a neighbour


class UnfitTypeError(TypeError):
    """A column whose Arrow type can never hold what is asked of it."""


class UnfitSettingError(Exception):
    """The YAML asks for something impossible, for any rows. Its message names settings only, never a value."""


def is_text(values: pa.Array) -> bool:
    kind = values.type
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def trim_text(values: pa.Array) -> pa.StringArray:
    """Text without the white space around it, null where nothing is left."""
    text = pc.cast(values, pa.string())
    trimmed = pc.utf8_trim_whitespace(text) if needs_trim(text) else text
    # Arrow gives the nulls of what it has made no bytes.
    if count_empty(trimmed) == trimmed.null_count:
        return trimmed
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def keep_verbatim(values: pa.Array) -> pa.StringArray:
    """Text as the source wrote it, null where it is blank."""
    text = pc.cast(values, pa.string())
    if count_empty(text):
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    where = where_begins(text, BLANK_STARTS)  # few values, at a third of the cost of trimming all
    if where is None:
        return text
    blank = pc.equal(pc.utf8_trim_whitespace(text.filter(where)), "")
    if not pc.any(blank).as_py():
        return text
    return pc.if_else(pc.replace_with_mask(where, where, blank), pa.scalar(None, pa.string()), text)


def as_text(values: pa.Array) -> pa.StringArray:
    """Every value as text; raises ``UnfitTypeError`` for columns of lists, structs or bytes."""
    for fits, render in _RENDERERS:
        if fits(values.type):
            return render(values)
    raise UnfitTypeError(f"{values.type} has no text form")


def _cast(values: pa.Array) -> pa.StringArray:
    return pc.cast(values, pa.string())


def _render_floats(values: pa.Array) -> pa.StringArray:
    exact = pc.cast(values, pa.float64())
    whole = pc.and_(pc.equal(exact, pc.trunc(exact)), pc.less_equal(pc.abs(exact), EXACT_FLOAT))
    digits = pc.cast(pc.cast(pc.if_else(whole, exact, None), pa.int64()), pa.string())
    if values.null_count == digits.null_count:
        return digits
    finite = pc.if_else(pc.is_finite(values), values, None)
    return pc.coalesce(digits, pc.cast(finite, pa.string()))


def _render_decimals(values: pa.Array) -> pa.StringArray:
    text = _remove_exponents(pc.cast(values, pa.string()))
    if values.type.scale <= 0:
        return text
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1"), r"\.$", "")


def _remove_exponents(text: pa.StringArray) -> pa.StringArray:
    """Arrow writes very small decimals, zero among them, as ``1E-7``: the same number must have one text."""
    short = pc.fill_null(pc.match_substring(text, "E"), False)
    if not pc.any(short).as_py():
        return text
    long = [format(Decimal(value), "f") for value in text.filter(short).to_pylist()]
    return pc.replace_with_mask(text, short, pa.array(long, pa.string()))


def _render_timestamps(values: pa.Array) -> pa.StringArray:
    wall = pc.cast(values.view(pa.timestamp(values.type.unit)), pa.timestamp("us"), safe=False)
    text = pc.replace_substring(pc.cast(wall, pa.string()), " ", "T")
    text = (
        pc.replace_substring_regex(text, r"\.?0{1,6}$|(\.\d*?)0+$", r"\1")
        if _has_fraction(wall)
        else pc.utf8_slice_codeunits(text, 0, len("2026-11-20T10:00:00"))
    )
    return pc.binary_join_element_wise(text, "Z", "") if values.type.tz else text


def _has_fraction(wall: pa.Array) -> bool:
    whole = pc.equal(wall, pc.cast(pc.cast(wall, pa.timestamp("s"), safe=False), pa.timestamp("us")))
    return pc.all(whole).as_py() is False


def _render_uuids(values: pa.Array) -> pa.StringArray:
    digits = pl.Series(values.storage.cast(pa.binary())).bin.encode("hex").to_arrow().cast(pa.string())
    cuts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return pc.binary_join_element_wise(*(pc.utf8_slice_codeunits(digits, *cut) for cut in cuts), "-")


def _is_any_text(kind: pa.DataType) -> bool:
    return bool(kinds.is_large_string(kind) or kinds.is_string_view(kind))


def _is_cast_cleanly(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) or kinds.is_boolean(kind) or kinds.is_date(kind) or kinds.is_time(kind))


def _is_uuid(kind: pa.DataType) -> bool:
    return bool(kind == pa.uuid())


_RENDERERS: tuple[tuple[Callable[[pa.DataType], Any], Callable[[pa.Array], pa.StringArray]], ...] = (
    (kinds.is_string, lambda values: values),
    (_is_any_text, _cast),
    (kinds.is_null, _cast),
    (kinds.is_date64, lambda values: _cast(pc.cast(values, pa.date32()))),
    (_is_cast_cleanly, _cast),
    (kinds.is_floating, _render_floats),
    (kinds.is_decimal, _render_decimals),
    (kinds.is_timestamp, _render_timestamps),
    (_is_uuid, _render_uuids),
)
