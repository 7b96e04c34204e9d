"""Which rows are meant: the conditions of ``filter``, all of which have to hold.

A value that is there and cannot be compared (``12,50 €`` with ``above: 0``) says nothing about whether its row is
meant: such a row is invalid, unless another condition leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.config.fields import Condition, FieldSpec
from offline_capi.errors import ConfigError
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.consent import equals_any
from offline_capi.mapping.fields import ID_KIND, read_field
from offline_capi.mapping.text import UnfitSettingError, as_text
from offline_capi.mapping.text_steps import find_pattern
from offline_capi.model import Reason, RowFault

__all__ = ["FirstRows", "MeantRows", "find_matching", "find_meant_rows", "read_keys"]

_COMPARE = {"above": pc.greater, "at_least": pc.greater_equal, "below": pc.less, "at_most": pc.less_equal}


class MeantRows(NamedTuple):
    """``where`` aligned with the rows; a fault for each condition that cannot be evaluated for some rows."""

    where: pa.BooleanArray
    faults: tuple[RowFault, ...] = ()


class _Keys(NamedTuple):
    """Hashes of keys, two 64-bit halves each, in ascending order of ``high``."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def select(self, chosen: NDArray[Any]) -> _Keys:
        return _Keys(self.high[chosen], self.low[chosen])

    def holds(self, keys: _Keys) -> NDArray[np.bool_]:
        """Whether each of ``keys`` is among these."""
        found = np.zeros(len(keys.high), bool)
        at = np.searchsorted(self.high, keys.high)
        open_ = np.arange(len(at))
        while len(open_):  # once, unless two keys share a half
            open_ = open_[at[open_] < len(self.high)]
            open_ = open_[self.high[at[open_]] == keys.high[open_]]
            same = self.low[at[open_]] == keys.low[open_]
            found[open_[same]] = True
            open_ = open_[~same]
            at[open_] += 1
        return found


class FirstRows:
    """The keys that ``first_of`` and ``unique`` have seen in a run, 16 bytes each. One for each pass over a window."""

    def __init__(self) -> None:
        self._runs: dict[str, list[_Keys]] = {}

    def find_new(self, keys: pa.StringArray, path: str) -> NDArray[np.bool_]:
        """Where a key stands for the first time in this run; true as well where there is none. It is remembered.

        Keys of another ``path`` of the YAML are other keys.
        """
        runs = self._runs.setdefault(path, [])
        series = pl.Series(keys)
        there = keys.is_valid().to_numpy(zero_copy_only=False)
        first = np.flatnonzero(series.is_first_distinct().to_numpy() & there)
        words = _Keys(*(series.gather(first).hash(seed).to_numpy() for seed in (1, 2)))
        order = np.argsort(words.high)
        words, first = words.select(order), first[order]
        fresh = ~reduce(np.logical_or, [run.holds(words) for run in runs], np.zeros(len(first), bool))
        new: NDArray[np.bool_] = ~there
        new[first[fresh]] = True
        _add_run(runs, words.select(fresh))
        return new


def _add_run(runs: list[_Keys], fresh: _Keys) -> None:
    """Runs of like size are merged, so that there are few."""
    while runs and len(runs[-1].high) <= 2 * len(fresh.high):
        both = _Keys(*map(np.concatenate, zip(runs.pop(), fresh, strict=True)))
        fresh = both.select(np.argsort(both.high))
    if len(fresh.high):
        runs.append(fresh)


def find_meant_rows(
    columns: SourceColumns, conditions: Sequence[Condition], excused: pa.BooleanArray, firsts: FirstRows
) -> MeantRows:
    """The rows that all conditions keep. ``excused`` rows are always kept, and never count as a first row."""
    where, faults = columns.repeat_value(True), []
    for index, condition in enumerate(conditions):
        if condition.column is not None:
            path = f"filter[{index}].column"
            kept, unreadable = find_matching(columns, condition, path)
            where = pc.and_(where, kept)
            if unreadable is not None:
                faults.append(RowFault(Reason.UNREADABLE_VALUE, path, unreadable))
    where = pc.or_(where, excused)
    for index, condition in enumerate(conditions):
        if condition.first_of is not None:
            path = f"filter[{index}].first_of"
            keys = read_keys(columns, condition.columns, path)
            candidates = pc.and_not(where, excused)
            new = firsts.find_new(pc.if_else(candidates, keys, pa.scalar(None, pa.string())), path)
            where = pc.and_(where, pa.array(new))
    return MeantRows(where, tuple(faults))


def find_matching(
    columns: SourceColumns, condition: Condition, path: str
) -> tuple[pa.BooleanArray, pa.BooleanArray | None]:
    """The rows that meet one condition, undecidable ones included; and which those are."""
    name, tests = condition.column or "", []
    if condition.text:
        values = read_field(columns, FieldSpec(column=name, text=condition.text), path, "string").values
    else:
        values = columns.get_values(name)
    try:
        with columns.read_for(path, name):
            if condition.equals is not None:
                tests.append(equals_any(values, condition.equals))
            if condition.not_equals is not None:
                tests.append(pc.invert(equals_any(values, condition.not_equals)))
            if condition.matches is not None:
                tests.append(pc.fill_null(find_pattern(as_text(values), condition.matches), False))
    except UnfitSettingError as wrong:
        raise ConfigError(f"{path.removesuffix('column')}matches: {wrong}") from None
    if condition.is_ is not None:
        empty = pc.is_null(values, nan_is_null=True)
        tests.append(empty if condition.is_ == "empty" else pc.invert(empty))
    unreadable = None
    if condition.bounds:
        within, unreadable = _compare_bounds(columns, condition, path)
        tests.append(within)
    return reduce(pc.and_, tests), unreadable


def _compare_bounds(
    columns: SourceColumns, condition: Condition, path: str
) -> tuple[pa.BooleanArray, pa.BooleanArray | None]:
    """Where the value lies within the bounds, or cannot be compared; and where it cannot."""
    is_time = isinstance(condition.bounds[0][1], str)
    how = {name: getattr(condition, name) for name in ("text", "format", "unit", "timezone", "decimal")}
    reading = read_field(columns, FieldSpec(column=condition.column, **how), path, "timestamp" if is_time else "number")
    zone = ZoneInfo(condition.timezone or columns.zone)
    tests = [
        _COMPARE[name](reading.values, _make_scalar(bound, zone, reading.values.type))
        for name, bound in condition.bounds
    ]
    within = pc.fill_null(reduce(pc.and_, tests), False)
    return (within if reading.unreadable is None else pc.or_(within, reading.unreadable)), reading.unreadable


def _make_scalar(bound: str | float, zone: ZoneInfo, kind: pa.DataType) -> pa.Scalar:
    if not isinstance(bound, str):
        return pa.scalar(float(bound))
    moment = datetime.fromisoformat(bound)
    return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=zone)).cast(kind)


def read_keys(columns: SourceColumns, names: Sequence[str], path: str) -> pa.StringArray:
    """The values of these columns as one text; null where a part is empty: nobody knows which row is the first then."""
    parts = [read_field(columns, FieldSpec(column=name), path, ID_KIND).values for name in names]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "\x1f", null_handling="emit_null")
