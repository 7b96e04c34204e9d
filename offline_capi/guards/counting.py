"""How often values were seen in a stream of batches: eight bytes per distinct value, of any length."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

__all__ = ["Counted", "compute_marks"]

_FEW = 100_000


def compute_marks(values: pa.Array) -> pl.Series:
    """A 64-bit mark for each text, null where it is null: equal texts have equal marks, in this process."""
    text = pl.Series(values).cast(pl.String)
    return pl.select(pl.when(text.is_not_null()).then(text.hash())).to_series()


@dataclass(slots=True)
class Counted:
    """How many rows each distinct row of the frames added stands for. The order of frames makes no difference."""

    _parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, seen: pl.DataFrame) -> None:
        self._parts.append(seen.group_by(seen.columns).len("rows"))
        merged, *waiting = self._parts
        if sum(map(len, waiting)) > len(merged) + _FEW:
            self.counts()

    def counts(self) -> pl.DataFrame:
        """The distinct rows with their number under ``rows``; empty, and without columns, where nothing was added."""
        if len(self._parts) > 1:
            together = pl.concat(self._parts)
            names = [name for name in together.columns if name != "rows"]
            self._parts = [together.group_by(names).agg(pl.col("rows").sum())]
        return self._parts[0] if self._parts else pl.DataFrame()
