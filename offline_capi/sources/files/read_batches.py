"""A piece of a file: rows, and which of them could not be split into columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from offline_capi.sources.base import MAX_JOINED_BYTES, RowSpan

__all__ = ["FileCut", "ReadBatch"]


class FileCut(NamedTuple):
    """A part of a file: the fields of ``FilePart`` that differ between the parts of one file."""

    first_row: int
    rows: int
    groups: tuple[int, ...] | None = None
    span: RowSpan | None = None


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Rows of a file in their order. ``malformed`` holds the positions of lines that came as rows of nulls.

    ``width`` is how many columns the file has; see ``SourceRows``.
    """

    batch: pa.RecordBatch
    malformed: Sequence[int] = ()
    width: int = 0

    @classmethod
    def with_gaps(cls, batch: pa.RecordBatch, gaps: Sequence[int], width: int = 0) -> ReadBatch:
        """``batch`` with a row of nulls put in at each position of ``gaps`` (ascending, counted in the result)."""
        if not gaps:
            return cls(batch, (), width)
        if not batch.num_rows:  # Arrow takes nothing from nothing, not even nulls
            nulls = [pa.nulls(len(gaps), kind) for kind in batch.schema.types]
            return cls(pa.RecordBatch.from_arrays(nulls, schema=batch.schema), tuple(gaps), width)
        taken = np.full(batch.num_rows + len(gaps), -1)
        is_gap = np.zeros(len(taken), dtype=bool)
        is_gap[list(gaps)] = True
        taken[~is_gap] = np.arange(batch.num_rows)
        return cls(batch.take(pa.array(taken, mask=is_gap)), tuple(gaps), width)

    @classmethod
    def gathered(cls, pieces: Iterable[ReadBatch], rows: int) -> Iterator[ReadBatch]:
        """The same rows in pieces of exactly ``rows``, and a last one of what is left; fewer where they are large."""
        waiting: list[ReadBatch] = []
        waiting_bytes = waiting_rows = 0
        for piece in pieces:
            size = piece.batch.nbytes
            is_full = waiting_bytes + size > MAX_JOINED_BYTES
            if waiting and (is_full or piece.batch.schema != waiting[0].batch.schema):
                yield from cls._joined(waiting).parts(rows)
                waiting, waiting_bytes, waiting_rows = [], 0, 0
            waiting.append(piece)
            waiting_bytes += size
            waiting_rows += piece.batch.num_rows
            while waiting_rows >= rows:
                first, *rest = cls._joined(waiting).parts(rows)
                yield first
                waiting, waiting_bytes = rest, sum(each.batch.nbytes for each in rest)
                waiting_rows -= rows
        if waiting:
            yield from cls._joined(waiting).parts(rows)

    @classmethod
    def _joined(cls, pieces: Sequence[ReadBatch]) -> ReadBatch:
        if len(pieces) == 1:
            return pieces[0]
        starts = accumulate((piece.batch.num_rows for piece in pieces), initial=0)
        malformed = [start + at for start, piece in zip(starts, pieces, strict=False) for at in piece.malformed]
        return cls(pa.concat_batches([piece.batch for piece in pieces]), tuple(malformed), pieces[0].width)

    def parts(self, rows: int) -> Iterator[ReadBatch]:
        """The same in parts of at most ``rows`` rows; none where there is no row."""
        for start in range(0, self.batch.num_rows, rows):
            inside = tuple(gap - start for gap in self.malformed if start <= gap < start + rows)
            yield ReadBatch(self.batch.slice(start, rows), inside, self.width)
