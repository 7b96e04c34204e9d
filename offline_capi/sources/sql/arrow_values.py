"""Columns as Arrow drivers give them → what SQLAlchemy's driver makes of the same values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.sources.columns import DECIMAL

__all__ = [
    "WHOLE_DIGITS",
    "Convert",
    "NotArrowError",
    "Opened",
    "Values",
    "as_objects",
    "cast_to",
    "choose_converters",
    "convert_decimals",
    "convert_times",
    "decode_texts",
    "write_wide_time",
]

Values: TypeAlias = "pa.Array | Sequence[Any]"
Convert = Callable[[pa.Array], Values]
#: What the driver may raise while rows are read, the columns' names, batches of any size, a converter for each column.
Opened = tuple[tuple[type[Exception], ...], list[str], Iterator[pa.RecordBatch], list[Convert]]


class NotArrowError(Exception):
    """The query is not read as Arrow. ``is_notice``: although a driver that could is installed."""

    def __init__(self, why: str = "", *, is_notice: bool = False) -> None:
        super().__init__(why)
        self.is_notice = is_notice


def choose_converters(fields: Sequence[tuple[str, str]], known: Callable[[str], Convert | None]) -> list[Convert]:
    """A converter for each (name, type of the database)."""
    chosen = [known(kind) for _, kind in fields]
    unknown = sorted({kind for (_, kind), convert in zip(fields, chosen, strict=True) if convert is None})
    if unknown:
        raise NotArrowError(f"it has columns of the types {', '.join(unknown)}", is_notice=True)
    return [convert for convert in chosen if convert is not None]


def cast_to(kind: pa.DataType) -> Convert:
    return lambda column: column if column.type == kind else pc.cast(column, kind)


def as_objects(make: Callable[[Any], Any] = lambda value: value) -> Convert:
    return lambda column: [None if value is None else make(value) for value in column.to_pylist()]


def decode_texts(column: pa.Array, decode: Callable[[bytes], Any]) -> Values:
    """Texts; where one is not UTF-8, all as ``decode`` gives them. Drivers check nothing."""
    if not _is_ascii(column):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return [None if value is None else decode(value) for value in column.view(pa.binary()).to_pylist()]
    return column


def _is_ascii(column: pa.Array) -> bool:
    """Of the buffer as a whole, which also holds the values of neighbouring rows."""
    content = column.buffers()[2]
    return content is None or not content.size or int(np.frombuffer(content, np.int8).min()) >= 0


#: Digits before the point for which ``DECIMAL`` has room.
WHOLE_DIGITS = DECIMAL.precision - DECIMAL.scale


def convert_decimals(column: pa.Array) -> Values:
    """Only what fits for certain is cast: Arrow's cast overflows in silence."""
    kind = column.type
    if kind.precision - kind.scale <= WHOLE_DIGITS and kind.scale <= DECIMAL.scale:
        return pc.cast(column, DECIMAL)
    return column.to_pylist()


#: What Python's dates and times can hold, in days and microseconds since 1970.
_DAYS, _MICROSECONDS = (-719_162, 2_932_896), (-62_135_596_800_000_000, 253_402_300_799_999_999)


def convert_times(kind: pa.DataType, beyond: Callable[[int, pa.DataType], Any]) -> Convert:
    """Dates or timestamps; values outside Python's years become ``beyond`` of their number."""
    is_date = pa.types.is_date(kind)
    (low, high), plain = (_DAYS, pa.int32()) if is_date else (_MICROSECONDS, pa.int64())

    def convert(column: pa.Array) -> Values:
        column = column if column.type == kind else pc.cast(column, kind)
        numbers = column.view(plain)
        ends = pc.min_max(numbers)
        first, last = ends["min"].as_py(), ends["max"].as_py()
        if first is None or (first >= low and last <= high):
            return column
        inside = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
        found = pc.if_else(inside, column, pa.scalar(None, kind)).to_pylist()
        return [
            beyond(number, kind) if value is None and number is not None else value
            for value, number in zip(found, numbers.to_pylist(), strict=True)
        ]

    return convert


def write_wide_time(number: int, kind: pa.DataType) -> str:
    """A date or timestamp as DuckDB writes it in UTC, whatever its year."""
    text = str(np.datetime64(number, "D" if pa.types.is_date(kind) else "us"))
    date, _, time = text.partition("T")
    year, rest = date[:-6], date[-6:]
    time = re.sub(r"\.?0{6}$|(\.\d*?)0+$", r"\1", time)
    before = int(year) <= 0
    shown = f"{1 - int(year) if before else int(year):04d}{rest}"
    zone = "+00" if getattr(kind, "tz", None) else ""
    return f"{shown}{' ' if time else ''}{time}{zone}{' (BC)' if before else ''}"
