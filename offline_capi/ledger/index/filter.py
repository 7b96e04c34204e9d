"""Event keys in numpy: sorted, compared and filtered. 16 bytes each, as random as digests are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from offline_capi.model import KEY_BYTES

__all__ = ["KeyFilter", "Keys", "Probe", "argsort_keys", "split_halves", "split_keys"]

#: Compared byte by byte. Numpy takes zero bytes at the end for padding, which changes nothing among equally long ones.
Keys = NDArray[np.bytes_]

#: Bits of a filter for each key, and how many of them it marks: of a thousand keys that are not there, two seem to be.
_BITS_PER_KEY = 16
_WORD_BITS = 64
#: The marks of a key by two of its bytes, in one step: numpy makes way for other threads at each, and may have to wait.
#: Six bits each of a product that spreads over all of them; filters on disk hold them, so they may never change.
_SPREAD = np.arange(2**16, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
_MARKS = np.bitwise_or.reduce(
    [np.uint64(1) << (_SPREAD >> np.uint64(shift) & np.uint64(63)) for shift in range(58, 27, -6)]
)


def split_keys(blob: bytes) -> Keys:
    """The keys that stand one after the other in ``blob``."""
    return np.frombuffer(blob, f"S{KEY_BYTES}")


def split_halves(keys: Keys) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and the last eight bytes of each key, as numbers that sort as the bytes do."""
    pairs = np.ascontiguousarray(keys).view(">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def argsort_keys(keys: Keys) -> NDArray[np.intp]:
    """The places of the keys in their order; equal ones keep theirs.

    By their first halves, which takes a tenth of the time: those are equal where keys are, and nearly nowhere else.
    """
    high, low = split_halves(keys)
    order = np.argsort(high)
    ranked = high[order]
    return order if (ranked[1:] > ranked[:-1]).all() else np.lexsort((low, high))


class Probe(NamedTuple):
    """Keys as filters see them: where in a filter each has its marks, as a share of 2**32, and the marks."""

    place: NDArray[np.uint64]
    marks: NDArray[np.uint64]

    @classmethod
    def of(cls, keys: Keys) -> Probe:
        keys = np.ascontiguousarray(keys)
        return cls(keys.view(">u4")[::4].astype(np.uint64), _MARKS.take(keys.view("<u2")[7::8]))


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """A Bloom filter whose marks for one key all stand in one word: one read from memory shows that it is not there."""

    words: NDArray[np.uint64]

    @classmethod
    def for_keys(cls, count: int, *, bits: int = _BITS_PER_KEY) -> KeyFilter:
        """An empty one that ``count`` keys will be added to, with so many bits for each."""
        return cls(np.zeros(max(1, -(-count * bits // _WORD_BITS)), np.uint64))

    def add(self, keys: Keys) -> None:
        probe = Probe.of(keys)
        places, marks = self._find_words(probe), probe.marks
        while len(places):  # of keys that share a word, one is marked each time; ufunc.at takes twice as long
            self.words[places] |= marks
            missing = self.words[places] & marks != marks
            places, marks = places[missing], marks[missing]

    def may_hold(self, probe: Probe) -> NDArray[np.intp]:
        """Places of the keys that may have been added; the others certainly were not."""
        return np.flatnonzero(self.words[self._find_words(probe)] & probe.marks == probe.marks)

    def _find_words(self, probe: Probe) -> NDArray[np.int64]:
        """In the order of the keys, so that those that come in order are looked up in order."""
        return (probe.place * np.uint64(len(self.words)) >> np.uint64(32)).astype(np.int64)
