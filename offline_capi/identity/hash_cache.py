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

from offline_capi.identity.distinct import find_distinct, has_repeats
from offline_capi.identity.verdict import Readable
from offline_capi.runtime.join import join_columns
from offline_capi.runtime.lookup import TextIndex

__all__ = ["HashCache", "HashCacheTable", "HashedValues"]

#: Bytes of a table: some 55,000 digests with what they were made of, and where each stands.
MAX_TABLE_BYTES = 6 * 2**20
#: A column hardly changes within a run, and a sample costs a tenth of looking up.
BATCHES_AN_ESTIMATE = 8


class HashedValues(NamedTuple):
    """What goes out for each value, and the cause where nothing does; ``None``: every value goes out."""

    values: pa.Array
    cause: pa.Array | None

    def take(self, rows: pa.Array) -> HashedValues:
        """The results at these positions; a null position gives a null."""
        cause = self.cause if self.cause is not None and self.cause.null_count < len(self.cause) else None
        return HashedValues(self.values.take(rows), None if cause is None else cause.take(rows))

    def patch(self, where: pa.BooleanArray, part: HashedValues) -> HashedValues:
        """Take the results of ``part`` for the rows at ``where``."""
        values, cause = pc.replace_with_mask(self.values, where, part.values), self.cause
        if part.cause is not None:
            cause = pa.nulls(len(values), pa.string()) if cause is None else cause
            cause = pc.replace_with_mask(cause, where, part.cause)
        return HashedValues(values, cause)

    def extend(self, more: HashedValues) -> HashedValues:
        """These results, and then the others."""
        values = pa.concat_arrays([self.values, more.values])
        if self.cause is None and more.cause is None:
            return HashedValues(values, None)
        return HashedValues(
            values,
            pa.concat_arrays(
                [pa.nulls(len(one.values), pa.string()) if one.cause is None else one.cause for one in (self, more)]
            ),
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.values.nbytes + (self.cause.nbytes if self.cause is not None else 0))


@dataclass(slots=True)
class HashCacheTable:
    """Distinct values as they were written, and the result of each."""

    written: TextIndex = field(default_factory=TextIndex)
    results: HashedValues = field(default_factory=lambda: HashedValues(pa.array([], pa.string()), None))
    _batches: int = 0
    _repeats: bool = False

    def has_repeats(self, text: pa.Array) -> bool:
        """Whether looking values up is cheaper than hashing them: asked of every eighth batch, as a sample tells it."""
        if self._batches % BATCHES_AN_ESTIMATE == 0:
            self._repeats = has_repeats(text, over_batches=True)
        self._batches += 1
        return self._repeats

    def find_or_compute(
        self, readable: Readable, *, by_country: bool, compute: Callable[[Readable], HashedValues]
    ) -> HashedValues:
        """The answer for each row; only values never seen are asked for, once each, and kept while there is room."""
        written = _make_cache_keys(readable, by_country=by_country)
        position, unknown = self.written.find(written)
        if not unknown:
            return self.results.take(position)
        new = pc.and_(position.is_null(), written.is_valid())
        few = find_distinct(readable.select(new), by_country=by_country)
        results = self.results.extend(compute(few.values))
        position = pc.replace_with_mask(position, new, pc.add(few.rows, pa.scalar(len(self.written), pa.int32())))
        added = _make_cache_keys(few.values, by_country=by_country)
        if self.written.nbytes + added.nbytes + results.nbytes <= MAX_TABLE_BYTES:
            self.written.add(added)
            self.results = results
        return results.take(position)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.written.nbytes + self.results.nbytes


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
    return join_columns(pc.fill_null(readable.country, ""), " ", readable.text)
