"""What the checks of ``expect`` count in a batch, by check and client; ``guards.expectations`` judges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.fields import Expectation, FieldSpec
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import read_field
from offline_capi.mapping.filtering import FirstRows, find_matching, read_keys
from offline_capi.mapping.objects import as_wire_values
from offline_capi.model import ExpectationCount

__all__ = ["count_expectations"]


def count_expectations(
    columns: SourceColumns,
    expectations: Sequence[Expectation],
    clients: pa.StringArray,
    malformed: pa.BooleanArray,
    *,
    firsts: FirstRows,
    until: datetime | None = None,
) -> Iterator[ExpectationCount]:
    """The rows that fail each check, by client; of ``fresh_within`` those that are fresh, where ``until`` is given.

    ``malformed`` lines have no values and fail nothing. ``until`` is the end of the run's window. The second row of two
    alike fails ``unique``; ``firsts`` remembers the rows of earlier batches.
    """
    for index, one in enumerate(expectations):
        path = f"expect[{index}]"
        if one.unique is not None:
            keys = read_keys(columns, one.unique, f"{path}.unique")
            found = pc.invert(pa.array(firsts.find_new(keys, path)))
        elif one.fresh_within is not None and until is not None:
            found = _find_since(columns, one, f"{path}.column", int((until - one.fresh_within).timestamp()))
        elif one.column is not None and one.fresh_within is None:
            met, unreadable = find_matching(columns, one, f"{path}.column")
            found = pc.invert(met) if unreadable is None else pc.or_(pc.invert(met), unreadable)
            if one.is_ is None:
                found = pc.and_(found, columns.get_values(one.column).is_valid())
        else:
            continue
        owners = pc.value_counts(clients.filter(pc.and_not(found, malformed)))
        yield from (ExpectationCount(one.label, owner["values"], owner["counts"]) for owner in owners.to_pylist())


def _find_since(columns: SourceColumns, one: Expectation, path: str, start: int) -> pa.BooleanArray:
    spec = FieldSpec(column=one.column, text=one.text, format=one.format, unit=one.unit, timezone=one.timezone)
    times = as_wire_values(read_field(columns, spec, path, "timestamp").values)
    return pc.fill_null(pc.greater_equal(times, start), False)
