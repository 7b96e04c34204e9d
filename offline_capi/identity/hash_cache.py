"""Values that come again in later batches: read and hashed once a run.

Names, places, postal codes and dates of birth repeat over a night, though hardly within one batch. What became of them
is kept, a table for each way of reading (a way is the key, its rule and all that the rule looks at), so that no answer
depends on the batch. In memory only, for as long as whoever made the ``HashCache`` holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.distinct import distinct
from offline_capi.identity.verdict import Readable

__all__ = ["HashCache", "HashCacheTable", "HashedValues"]

#: Bytes of a table: some 65,000 digests with what they were made of. Above that looking up costs as much as hashing.
MAX_TABLE_BYTES = 6 * 2**20


class HashedValues(NamedTuple):
    """What goes out beside each value, and the cause where nothing does; ``None``: every value goes out."""

    values: pa.Array
    cause: pa.Array | None

    def take(self, rows: pa.Array) -> HashedValues:
        """The answers at these places; a null place gives a null."""
        cause = self.cause if self.cause is not None and self.cause.null_count < len(self.cause) else None
        return HashedValues(self.values.take(rows), None if cause is None else cause.take(rows))


def _none() -> pa.Array:
    return pa.array([], pa.string())


@dataclass(slots=True)
class HashCacheTable:
    """Distinct values as they were written, and beside each its answer."""

    written: pa.Array = field(default_factory=_none)
    values: pa.Array = field(default_factory=_none)
    cause: pa.Array = field(default_factory=_none)

    def find_or_compute(
        self, readable: Readable, *, by_country: bool, compute: Callable[[Readable], HashedValues]
    ) -> HashedValues:
        """The answer for each row; only values never seen are asked for, once each, and kept while there is room."""
        written, known = _written(readable, by_country=by_country), self
        place = pc.index_in(written, value_set=self.written)
        new = pc.and_(place.is_null(), written.is_valid())
        if pc.any(new).as_py():
            few = distinct(readable.at(new), by_country=by_country)
            known = self._with(_written(few.values, by_country=by_country), compute(few.values))
            place = pc.replace_with_mask(place, new, pc.add(few.rows, pa.scalar(len(self.written), pa.int32())))
            if known.nbytes <= MAX_TABLE_BYTES:
                self.written, self.values, self.cause = known.written, known.values, known.cause
        return HashedValues(known.values, known.cause).take(place)

    def _with(self, written: pa.Array, told: HashedValues) -> HashCacheTable:
        cause = pa.nulls(len(written), pa.string()) if told.cause is None else told.cause
        added = ((self.written, written), (self.values, told.values), (self.cause, cause))
        return HashCacheTable(*map(pa.concat_arrays, added))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.nbytes for column in (self.written, self.values, self.cause))


class HashCache:
    """The tables of one run."""

    def __init__(self) -> None:
        self._tables: dict[Hashable, HashCacheTable] = {}

    def get_table(self, cache_key: Hashable) -> HashCacheTable:
        """The table of one way of reading."""
        return self._tables.setdefault(cache_key, HashCacheTable())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(table.nbytes for table in self._tables.values())


def _written(readable: Readable, *, by_country: bool) -> pa.Array:
    """``12345``, or ``us 12345``: codes are two letters, so that no other pair is written alike."""
    if not by_country:
        return readable.text
    return pc.binary_join_element_wise(pc.fill_null(readable.country, ""), readable.text, " ")
