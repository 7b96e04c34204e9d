"""Where texts stand in a list of distinct texts, which grows: how values that were hashed before are found again.

The compiled module ``_lookup`` keeps a hash table between calls, where it could be built; Arrow makes one anew for each
call. Both give the same positions.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.runtime.column_bytes import describe_column
from offline_capi.runtime.compiled import load_compiled

__all__ = ["TextIndex"]

_lookup = load_compiled("_lookup")

MIN_SLOTS = 1 << 4


class TextIndex:
    """Distinct texts in the order in which they came. In memory only."""

    __slots__ = ("_slots", "texts")

    def __init__(self) -> None:
        self.texts: pa.StringArray = pa.array([], pa.string())
        self._slots = np.zeros(MIN_SLOTS, np.uint64)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.texts.nbytes + self._slots.nbytes)

    def find(self, texts: pa.StringArray) -> tuple[pa.Int32Array, int]:
        """The position of each text, null where it is null or unknown; and how many are unknown."""
        if _lookup is None:
            positions = pc.index_in(texts, value_set=self.texts)
            return positions, int(positions.null_count - texts.null_count)
        found = np.empty(len(texts), np.int32)
        unknown = _lookup.find(self._slots, describe_column(self.texts), describe_column(texts), found)
        nulls = unknown + texts.null_count
        valid = pa.py_buffer(np.packbits(found >= 0, bitorder="little")) if nulls else None
        return pa.Array.from_buffers(pa.int32(), len(texts), [valid, pa.py_buffer(found)], nulls), unknown

    def add(self, texts: pa.StringArray) -> None:
        """Texts that are distinct and not known yet, without nulls; their positions follow those of the others."""
        start = len(self.texts)
        self.texts = pa.concat_arrays([self.texts, texts])
        if _lookup is None:
            return
        if 2 * len(self.texts) > len(self._slots):
            start, self._slots = 0, np.zeros(2 << len(self.texts).bit_length(), np.uint64)
        _lookup.add(self._slots, describe_column(self.texts), start)
