"""Values of a source → Arrow columns of seven kinds: string, int64, float64, decimal128, bool, date32, timestamp[us].

Text is the kind that always fits: a column of several types becomes text, not an error.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.errors import SourceSchemaError
from offline_capi.runtime.border import column_names, is_name, list_columns
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["Unreadable", "as_text", "check_names", "column_of", "plain", "select"]

NAIVE = pa.timestamp("us")
AWARE = pa.timestamp("us", tz="UTC")
#: Room for the decimals of any database: one type, so that batches of a query agree. What does not fit becomes text.
DECIMAL, WIDE_DECIMAL = pa.decimal128(38, 18), pa.decimal256(76, 38)


# ---------------------------------------------------------------------------------------------- names


def check_names(names: Sequence[str], wanted: Sequence[str] | None, where: str, *, is_schema: bool = False) -> None:
    """Refuse a source that lacks a wanted column, or that has one name twice.

    ``is_schema`` says that the names are declared apart from the rows, and are not the first line of a text.
    """
    twice = [name for name, n in Counter(names).items() if n > 1 and (wanted is None or name in wanted)]
    if twice:
        repeated = _repeated(twice, names, is_name if is_schema else (wanted or ()).__contains__)
        raise SourceSchemaError(
            f"{where}: the column {repeated} is there more than once, so it is unclear which one is meant.\n"
            "Give each its own name in the source. Nothing was sent from it; repeating is safe."
        )
    missing = [name for name in wanted or () if name not in names]
    if missing:
        near = column_names(names, wanted or (), is_schema=is_schema)
        problems = "\n".join(f'  "{name}"{did_you_mean(name, near)}' for name in missing)
        raise SourceSchemaError(
            f"{where}: columns that the upload names are missing:\n{problems}\n"
            f"{list_columns(names, wanted or (), is_schema=is_schema)}\n"
            "Correct the names in the upload, or the source. Nothing was sent from it; repeating is safe."
        )


def select(batch: pa.RecordBatch, wanted: Sequence[str] | None) -> pa.RecordBatch:
    return batch if wanted is None else batch.select(list(wanted))


def _repeated(twice: Sequence[str], names: Sequence[str], may_name: Callable[[str], bool]) -> str:
    """Which columns have one name: by the name where it may be shown, else by their places."""
    places = (", ".join(str(at) for at, name in enumerate(names, 1) if name == one) for one in twice)
    told = [f'"{one}"' if may_name(one) else f"that stands in {at}" for one, at in zip(twice, places, strict=True)]
    return ", ".join(told)


# ---------------------------------------------------------------------------------------------- Python values → Arrow


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that Python cannot hold: as the database writes it, or ``None`` where even that is not to be had."""

    text: str | None

    def __str__(self) -> str:
        return self.text or ""


def column_of(values: Sequence[Any], known: pa.DataType | None = None) -> pa.Array:
    """An Arrow column of a database driver's values, in the kind they all share, else as text.

    ``known`` is the kind that the column had before: values that no longer fit it become text, so that a column has
    at most two kinds in one run. Beside an ``Unreadable`` value, the others become the text that they would become
    later.
    """
    kinds = set(map(type, values)) - {NoneType}
    if Unreadable in kinds:
        return _beside_unreadable(values)
    if not kinds:
        return pa.nulls(len(values), known or pa.string())
    found = _kind_of(kinds, values)
    if found == DECIMAL and known == WIDE_DECIMAL:
        found = known
    if found is None or known not in (None, found):
        return _texts(values)
    for kind in (DECIMAL, WIDE_DECIMAL) if found == DECIMAL else (found,):
        try:
            return pa.array(values, kind)
        except (pa.ArrowInvalid, OverflowError):  # an integer beyond 64 bits, a lone surrogate, a longer decimal
            continue
    return _texts(values)


KINDS: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    Decimal: DECIMAL,
}


def _kind_of(kinds: set[type], values: Sequence[Any]) -> pa.DataType | None:
    if len(kinds) > 1:
        return None
    (kind,) = kinds
    return _timestamp_kind(values) if kind is datetime else KINDS.get(kind)


def _timestamp_kind(values: Sequence[Any]) -> pa.DataType | None:
    """Naive and aware values do not mix: as instants they could not be compared."""
    naive = {value.tzinfo is None for value in values if value is not None}
    return {frozenset({True}): NAIVE, frozenset({False}): AWARE}.get(frozenset(naive))


def _beside_unreadable(values: Sequence[Any]) -> pa.Array:
    readable = column_of([None if isinstance(value, Unreadable) else value for value in values])
    if pa.types.is_timestamp(readable.type):
        # As mapping.text writes times: a neighbour must not change what a row sends.
        wall = pc.replace_substring(pc.cast(readable.view(NAIVE), pa.string()), " ", "T")
        wall = pc.replace_substring_regex(wall, r"\.?0{1,6}$|(\.\d*?)0+$", r"\1")
        readable = pc.binary_join_element_wise(wall, "Z", "") if readable.type.tz else wall
    texts = [value.text if isinstance(value, Unreadable) else None for value in values]
    return pc.coalesce(pc.cast(readable, pa.string()), pa.array(texts, pa.string()))


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=as_text)


# Exactly what the value says, in the form in which files usually hold it; bytes as databases print them.
TEXTS: dict[type, Callable[[Any], str]] = {
    str: lambda value: value.encode("utf-8", "replace").decode(),
    bool: lambda value: "true" if value else "false",
    float: repr,
    Decimal: lambda value: format(value, "f"),
    datetime: lambda value: value.isoformat(" "),
    date: lambda value: value.isoformat(),
    bytes: lambda value: value.hex(),
    bytearray: lambda value: value.hex(),
    memoryview: lambda value: value.hex(),
    dict: _json,
    list: _json,
    tuple: _json,
}


def as_text(value: Any) -> str:
    """The value as text without loss; deterministic."""
    return TEXTS.get(type(value), str)(value)


# ---------------------------------------------------------------------------------------------- Arrow → Arrow


def plain(column: pa.Array) -> pa.Array:
    """The same values in one of the seven kinds."""
    for is_kind, convert in CONVERSIONS:
        if is_kind(column.type):
            return convert(column)
    return _texts(column.to_pylist())


def _to(target: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda column: column if column.type == target else pc.cast(column, target)


def _integers(column: pa.Array) -> pa.Array:
    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:  # unsigned, and too large
        return pc.cast(column, pa.string())


def _floats(column: pa.Array) -> pa.Array:
    """A narrow float by its shortest text: 9.99 of 32 bits is 9.99, and not 9.989999771."""
    if pa.types.is_float64(column.type):
        return column
    return pc.cast(pc.cast(pc.cast(column, pa.float32()), pa.string()), pa.float64())


def _timestamps(column: pa.Array) -> pa.Array:
    """Microseconds; nanoseconds are cut, as no clock of ours uses them. Arrow's aware values are UTC already."""
    return pc.cast(column, NAIVE if column.type.tz is None else AWARE, safe=False)


def _binaries(column: pa.Array) -> pa.Array:
    """Old Parquet writers store text as bytes; what is not text is shown as databases show it, in hexadecimal."""
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid:
        return _texts(column.to_pylist())


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_string, _to(pa.string())),
    (pa.types.is_dictionary, lambda column: plain(column.dictionary_decode())),
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, _floats),
    (pa.types.is_boolean, lambda column: column),
    (pa.types.is_date, _to(pa.date32())),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_decimal, lambda column: column),
    (pa.types.is_null, _to(pa.string())),
    (_is_binary, _binaries),
)
