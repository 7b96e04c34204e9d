"""Tables joined to the source's rows by a key: read once a run, then joined a column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config import MappingSpec
from offline_capi.config.columns import list_lookup_columns
from offline_capi.config.source import Lookup
from offline_capi.errors import SourceError
from offline_capi.mapping.casts import Manner, cast
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import ID_KIND
from offline_capi.model import DroppedValues, SourceRows

__all__ = ["MAX_LOOKUP_ROWS", "LookupTable", "join_lookups", "list_table_columns", "read_table"]

#: More rows than this belong into a join of the warehouse: the key and the columns in use are held in memory.
MAX_LOOKUP_ROWS = 5_000_000
NOT_FOUND = "not_found"
_ADVICE = "Nothing was sent; correct the table and run again."


class LookupTable:
    """Distinct keys and their columns, **readable**: it stays in memory, and no part of it is printed.

    Keys are found by their hash in a sorted array and then compared, so that a batch does not index the table anew.
    """

    def __init__(self, keys: pa.StringArray, columns: Mapping[str, pa.Array]) -> None:
        self._keys, self._columns = keys, dict(columns)
        hashes = pl.Series(keys).hash(1).to_numpy()
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> tuple[Any, ...]:
        """Hashes are made anew: polars does not promise them to be those of another machine."""
        return (LookupTable, (self._keys, self._columns))

    def find(self, keys: pa.StringArray) -> pa.Int64Array:
        """The row of each key in the table; null where the table lacks it."""
        if not len(self):
            return pa.nulls(len(keys), pa.int64())
        sought = pl.Series(keys).hash(1).to_numpy()
        found = np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self._hashes, sought)
        open_ = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
        while len(open_):  # once, unless two keys of the table share their hash
            open_ = open_[at[open_] < len(self)]
            open_ = open_[self._hashes[at[open_]] == sought[open_]]
            positions = self._order[at[open_]]
            same = pc.equal(self._keys.take(pa.array(positions)), keys.take(pa.array(open_)))
            equal = same.to_numpy(zero_copy_only=False).astype(bool)
            found[open_[equal]] = positions[equal]
            open_ = open_[~equal]
            at[open_] += 1
        return pa.array(found, mask=found < 0)

    def take(self, positions: pa.Int64Array) -> dict[str, pa.Array]:
        """The columns at these rows of the table; null where there is none."""
        return {name: column.take(positions) for name, column in self._columns.items()}


def list_table_columns(mapping: MappingSpec, name: str) -> tuple[str, ...]:
    """The columns to read of a lookup's table: the key and those that the mapping names."""
    return tuple(dict.fromkeys([mapping.lookups[name].key, *list_lookup_columns(mapping, name)]))


def read_table(name: str, lookup: Lookup, batches: Iterable[SourceRows], zone: str) -> LookupTable:
    """The table whose rows are ``batches``. Raises ``SourceError`` where it cannot be trusted: without any value.

    A row without a key is left out: nothing can ask for it.
    """
    keys: list[pa.StringArray] = []
    parts: list[dict[str, pa.Array]] = []
    rows = 0
    for batch in batches:
        columns = SourceColumns(batch.batch, batch.origin, zone)
        rows += len(columns)
        _refuse(
            sum(pc.sum(fault.where).as_py() for fault in batch.faults),
            "rows of the table that cannot be read",
        )
        if rows > MAX_LOOKUP_ROWS:
            raise SourceError(
                f"the table has more than {MAX_LOOKUP_ROWS:,} rows, which are held in memory. "
                f"Join it in the source's query, or let the lookup's query select fewer. {_ADVICE}"
            )
        with columns.read_for(f"lookups.{name}.key", lookup.key):
            key = cast(columns.get_values(lookup.key), ID_KIND, Manner())
        there = key.is_valid()
        keys.append(key.filter(there))
        parts.append({column: columns.get_values(column).filter(there) for column in batch.batch.schema.names})
    joined = pa.concat_arrays(keys) if keys else pa.array([], pa.string())
    repeated = len(joined) - pc.count_distinct(joined).as_py()
    _refuse(repeated, f"rows of the table that repeat the key of another ({lookup.key})")
    return LookupTable(joined, {column: _join_parts([part[column] for part in parts]) for column in (parts or [{}])[0]})


def _refuse(rows: int, words: str) -> None:
    if rows:
        raise SourceError(f"{words}: {rows:,}. {_ADVICE}")


def _join_parts(parts: Sequence[pa.Array]) -> pa.Array:
    """One array; of parts that a file or driver typed differently, the text."""
    kinds = {part.type for part in parts}
    return pa.concat_arrays(parts if len(kinds) == 1 else [cast(part, "string", Manner()) for part in parts])


def join_lookups(
    columns: SourceColumns, mapping: MappingSpec, tables: Mapping[str, LookupTable]
) -> tuple[pa.RecordBatch, dict[str, pa.BooleanArray]]:
    """The batch with the columns ``NAME.COLUMN`` of each lookup, null where its key is not in the table.

    And, by lookup, where a row has a key that the table lacks.
    """
    batch, absent = columns.batch, {}
    for name, lookup in mapping.lookups.items():
        by = lookup.by or lookup.key
        with columns.read_for(f"lookups.{name}.by", by):
            keys = cast(columns.get_values(by), ID_KIND, Manner())
        positions = tables[name].find(keys)
        found = tables[name].take(positions)
        absent[name] = pc.and_(columns.get_values(by).is_valid(), positions.is_null())
        for column in list_lookup_columns(mapping, name):
            values = found.get(column, pa.nulls(len(columns), pa.string()))
            batch = _add_column(batch, f"{name}.{column}", values)
    return batch, absent


def _add_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """A column of the source with that name is covered by the lookup's."""
    kept = {one: batch.column(at) for at, one in enumerate(batch.schema.names) if one != name}
    return pa.RecordBatch.from_arrays([*kept.values(), values], [*kept, name])


def count_absent_keys(
    mapping: MappingSpec, absent: Mapping[str, pa.BooleanArray], excused: pa.BooleanArray
) -> Iterable[DroppedValues]:
    """Keys that no table has, counted."""
    for name, where in absent.items():
        count = pc.sum(pc.and_not(where, excused)).as_py()
        if count:
            lookup = mapping.lookups[name]
            yield DroppedValues(f"lookups.{name}", lookup.by or lookup.key, NOT_FOUND, count)
