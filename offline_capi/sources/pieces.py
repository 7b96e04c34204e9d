"""A piece of a file: rows, and which of them could not be split into columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

__all__ = ["Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a file in their order. ``malformed`` holds the positions of lines that came as rows of nulls."""

    batch: pa.RecordBatch
    malformed: Sequence[int] = ()

    @classmethod
    def with_gaps(cls, batch: pa.RecordBatch, gaps: Sequence[int]) -> Piece:
        """``batch`` with a row of nulls put in at each position of ``gaps`` (ascending, counted in the result)."""
        if not gaps:
            return cls(batch)
        if not batch.num_rows:  # Arrow takes nothing from nothing, not even nulls
            nulls = [pa.nulls(len(gaps), kind) for kind in batch.schema.types]
            return cls(pa.RecordBatch.from_arrays(nulls, schema=batch.schema), tuple(gaps))
        taken = np.full(batch.num_rows + len(gaps), -1)
        is_gap = np.zeros(len(taken), dtype=bool)
        is_gap[list(gaps)] = True
        taken[~is_gap] = np.arange(batch.num_rows)
        return cls(batch.take(pa.array(taken, mask=is_gap)), tuple(gaps))

    def parts(self, rows: int) -> Iterator[Piece]:
        """The same in parts of at most ``rows`` rows; none where there is no row."""
        for start in range(0, self.batch.num_rows, rows):
            inside = tuple(gap - start for gap in self.malformed if start <= gap < start + rows)
            yield Piece(self.batch.slice(start, rows), inside)
