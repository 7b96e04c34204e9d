"""The types a field can be declared as, and how a column of any type becomes one of them.

Each cast gives null where a value cannot be read for certain; whether that is a fault is decided by who asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.fields import FieldSpec
from offline_capi.mapping.ids import find_damaged, strip_zero_fraction
from offline_capi.mapping.numerals import read_integers, read_money, read_numbers
from offline_capi.mapping.text import UnfitTypeError, as_text, is_text
from offline_capi.mapping.times import TimeRule, read_dates, read_instants

__all__ = ["CASTS", "TRUE_TEXTS", "Manner", "cast", "read_booleans"]

# Compared without case. Other languages: declare them with ``map``.
TRUE_TEXTS = ("true", "t", "yes", "y", "on", "1")
FALSE_TEXTS = ("false", "f", "no", "n", "off", "0")
#: The last of each is a single byte, as which some databases keep booleans.
_TRUTHS = dict.fromkeys((*TRUE_TEXTS, "01"), True) | dict.fromkeys((*FALSE_TEXTS, "00"), False)


class Manner(NamedTuple):
    """How values are written in the source."""

    time: TimeRule = TimeRule()
    decimal: str = "."

    @classmethod
    def from_spec(cls, spec: FieldSpec, zone: str) -> Manner:
        """As ``spec`` says; naive times stand in ``zone`` where it names none."""
        return cls(TimeRule(spec.format, spec.unit, spec.timezone or zone), spec.decimal)

    @property
    def ours(self) -> Manner:
        """The same for values that stand in the YAML: its numbers have a point."""
        return self._replace(decimal=".")


def _read_number(values: pa.Array, manner: Manner) -> pa.Array:
    return read_numbers(_require_numeric(values), manner.decimal)


def _read_integer(values: pa.Array, manner: Manner) -> pa.Array:
    return read_integers(_require_numeric(values), manner.decimal)


def _require_numeric(values: pa.Array) -> pa.Array:
    kind = values.type
    if is_text(values) or kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
        return values
    raise UnfitTypeError(f"{kind} is no number")


def _read_money(values: pa.Array, manner: Manner) -> pa.Array:
    return read_money(_require_numeric(values), manner.decimal)


def _read_id(values: pa.Array, _: Manner) -> pa.Array:
    """Text of which no digit is gone; a whole number has no fraction, in any source type."""
    text = as_text(values)
    where = find_damaged(text)
    return strip_zero_fraction(text if where is None else pc.if_else(where, pa.scalar(None, pa.string()), text))


def read_booleans(values: pa.Array) -> pa.BooleanArray:
    """Booleans as they are; ``TRUE_TEXTS``, ``FALSE_TEXTS``, 1 and 0 as what they mean; null for everything else."""
    if kinds.is_boolean(values.type):
        return values
    if kinds.is_temporal(values.type):
        raise UnfitTypeError(f"{values.type} is no boolean")
    # Not made while this is imported: to look at a list, Arrow imports pandas.
    texts, meanings = pa.array([*_TRUTHS]), pa.array([*_TRUTHS.values()])
    return meanings.take(pc.index_in(pc.utf8_lower(as_text(values)), value_set=texts))


CASTS: dict[str, Callable[[pa.Array, Manner], pa.Array]] = {
    "string": lambda values, _: as_text(values),
    "number": _read_number,
    "integer": _read_integer,
    "money": _read_money,
    "id": _read_id,
    "boolean": lambda values, _: read_booleans(values),
    "timestamp": lambda values, manner: read_instants(values, manner.time),
    "date": lambda values, manner: read_dates(values, manner.time),
}


def cast(values: pa.Array, kind: str, manner: Manner) -> pa.Array:
    return CASTS[kind](values, manner)
