"""Values that come again in later batches: read and hashed once a run.

Names, places, postal codes and dates of birth repeat over a run, though hardly within one batch. Their results
are cached, one table per cache key (the key, its rule and everything the rule reads), so that no result
depends on the batch. In memory only, for as long as its owner holds the ``HashCache``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.distinct import find_distinct
from offline_capi.identity.verdict import Readable

__all__ = ["HashCache", "HashCacheTable", "HashedValues"]

#: Bytes of a table: some 65,000 digests with what they were made of. Above that looking up costs as much as hashing.
MAX_TABLE_BYTES = 6 * 2**20


class HashedValues(NamedTuple):
    """What goes out for each value, and the cause where nothing does; ``None``: every value goes out."""

    values: pa.Array
    cause: pa.Array | None

    def take(self, rows: pa.Array) -> HashedValues:
        """The results at these positions; a null position gives a null."""
        cause = self.cause if self.cause is not None and self.cause.null_count < len(self.cause) else None
        return HashedValues(self.values.take(rows), None if cause is None else cause.take(rows))


def _make_empty() -> pa.Array:
    return pa.array([], pa.string())


@dataclass(slots=True)
class HashCacheTable:
    """Distinct values as they were written, and the result of each."""

    written: pa.Array = field(default_factory=_make_empty)
    values: pa.Array = field(default_factory=_make_empty)
    cause: pa.Array = field(default_factory=_make_empty)

    def find_or_compute(
        self, readable: Readable, *, by_country: bool, compute: Callable[[Readable], HashedValues]
    ) -> HashedValues:
        """The answer for each row; only values never seen are asked for, once each, and kept while there is room."""
        written, known = _make_cache_keys(readable, by_country=by_country), self
        position = pc.index_in(written, value_set=self.written)
        new = pc.and_(position.is_null(), written.is_valid())
        if pc.any(new).as_py():
            few = find_distinct(readable.select(new), by_country=by_country)
            known = self._extend(_make_cache_keys(few.values, by_country=by_country), compute(few.values))
            position = pc.replace_with_mask(position, new, pc.add(few.rows, pa.scalar(len(self.written), pa.int32())))
            if known.nbytes <= MAX_TABLE_BYTES:
                self.written, self.values, self.cause = known.written, known.values, known.cause
        return HashedValues(known.values, known.cause).take(position)

    def _extend(self, written: pa.Array, results: HashedValues) -> HashCacheTable:
        cause = pa.nulls(len(written), pa.string()) if results.cause is None else results.cause
        added = ((self.written, written), (self.values, results.values), (self.cause, cause))
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


def _make_cache_keys(readable: Readable, *, by_country: bool) -> pa.Array:
    """``12345``, or ``us 12345``: codes are two letters, so that no other pair is written alike."""
    if not by_country:
        return readable.text
    return pc.binary_join_element_wise(pc.fill_null(readable.country, ""), readable.text, " ")
