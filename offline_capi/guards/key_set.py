"""A set of keys of two 64-bit halves: which of a batch are new, exactly, with two and a half bytes of memory a key.

The last keys stand in a hash table, which becomes sorted runs once it is full. Keys are digests or hashes, hence evenly
spread: their first bits choose a shard, and each shard holds a few runs that are merged as they grow (a log-structured
merge). Of a run in a file only a fence stays in memory, 18 to 20 bits a key: where each bucket of keys with the same
next bits begins, and 16 further bits of each key. The keys and their positions lie in a temporary file, which is read
where the fence says that a key may be there.

Hash table and search are in the compiled module ``_keys``, where it could be built. Without it each batch is sorted and
becomes runs at once: the answers are the same, in nearly twice the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offline_capi.runtime.compiled import load_compiled

__all__ = ["NO_POSITION", "KeySet", "Uint64Array"]

_keys = load_compiled("_keys")

#: Keys of the largest run that stays in memory by default: 0.8 MB.
MAX_IN_MEMORY_KEYS = 32_768
#: Keys of the hash table, in such runs: four batches, 4.2 MB. Half as many runs to search and to merge as with two.
_RECENT_RUNS = 4
#: Shards are merged one after the other: a quarter of the fences, at most, is in memory twice meanwhile.
_SHARD_BITS = 2
#: Keys of a bucket, eight at least: of 4,000 or more that are not in a run one is taken for one that is.
_BUCKET_KEYS = 16
_REST_BITS = 16
#: Keys that are merged at a time: some copies of them come and go.
_MERGE_STEP_KEYS = 16_384
#: The position of a key that was not there before.
NO_POSITION = np.uint64(np.iinfo(np.uint64).max)
_RECORD_BYTES = 24  # in a file: two halves, and the position

Uint64Array = NDArray[np.uint64]
Rests = NDArray[np.uint16]
Positions = NDArray[np.intp]


class _PlacedKeys(NamedTuple):
    """Keys as two halves each, and the position of their row."""

    high: Uint64Array
    low: Uint64Array
    position: Uint64Array


@dataclass(frozen=True, slots=True)
class _Fence:
    """What is known in memory of keys in ascending order: those of bucket ``b`` stand from ``starts[b]`` on.

    ``rests`` has the bits of each key that follow those of its bucket.
    """

    starts: NDArray[np.uint32]
    rests: Rests

    @classmethod
    def create(cls, number: int) -> _Fence:
        """For so many keys; ``note`` all of them, from the first on, and ``settle`` it."""
        buckets = 2 ** max(1, (number // _BUCKET_KEYS).bit_length())
        return cls(np.zeros(buckets + 1, np.uint32), np.empty(number, np.uint16))

    @property
    def buckets(self) -> int:
        """How many, a power of two."""
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.rests.nbytes

    def note(self, at: int, high: Uint64Array) -> None:
        """The keys that stand from ``at`` on."""
        buckets, self.rests[at : at + len(high)] = self._locate(high)
        first = int(buckets[0])
        counts = np.bincount(buckets - first)
        self.starts[first + 1 : first + 1 + len(counts)] += counts.astype(np.uint32)

    def settle(self) -> None:
        """All keys are noted: what was counted becomes where each bucket begins."""
        np.cumsum(self.starts, out=self.starts)

    def find(self, high: Uint64Array) -> tuple[Positions, Positions]:
        """Which keys may be there, and where the first one stands that has the rest of each."""
        if _keys is not None:
            found = np.empty((2, len(high)), np.int32)
            number = _keys.search(self.starts, self.rests, _SHARD_BITS, high, *found)
            return found[0, :number].astype(np.intp), found[1, :number].astype(np.intp)
        buckets, rests = self._locate(high)
        start, stop = self.starts[buckets].astype(np.intp), self.starts[buckets + 1].astype(np.intp)
        low, up = start, stop
        for _ in range(int((stop - start).max(initial=0)).bit_length()):  # a binary search in all buckets at once
            middle = (low + up) >> 1
            below = (low < up) & (self.rests.take(middle, mode="clip") < rests)
            low, up = np.where(below, middle + 1, low), np.where(below, up, middle)
        rows = np.flatnonzero((low < stop) & (self.rests.take(low, mode="clip") == rests))
        return rows, low[rows]

    def find_alike(self, places: Positions, high: Uint64Array) -> NDArray[np.bool_]:
        """Where a place still is one of the bucket of its key, and has its rest."""
        buckets, rests = self._locate(high)
        alike: NDArray[np.bool_] = self.rests.take(places, mode="clip") == rests
        return alike & (places < self.starts[buckets + 1])

    def find_span(self, number: int, parts: int) -> slice:
        """Where the keys stand of one of so many equal parts of all there can be: a power of two, a bucket or more."""
        width = self.buckets // parts
        return slice(int(self.starts[number * width]), int(self.starts[(number + 1) * width]))

    def _locate(self, high: Uint64Array) -> tuple[Positions, Rests]:
        """The bucket of each key, and its rest."""
        bits = _REST_BITS + self.buckets.bit_length() - 1
        seen = high << np.uint64(_SHARD_BITS) >> np.uint64(64 - bits)
        return (seen >> np.uint64(_REST_BITS)).astype(np.intp), seen.astype(np.uint16)


@dataclass(frozen=True, slots=True)
class _Run:
    """Distinct keys of one shard in ascending order of ``high``: in memory, or in a file, 24 bytes a key.

    The file has no name: it goes with its run, also where the process is killed.
    """

    fence: _Fence
    stored: _PlacedKeys | BinaryIO

    def __len__(self) -> int:
        return len(self.fence.rests)

    @property
    def nbytes(self) -> int:
        kept = self.stored if isinstance(self.stored, _PlacedKeys) else ()
        return self.fence.nbytes + sum(column.nbytes for column in kept)

    def read_at(self, positions: Positions) -> _PlacedKeys:
        """The keys that stand there. A file is read for each: mapped, each read would load sixteen pages."""
        if isinstance(self.stored, _PlacedKeys):
            return _pick(self.stored, positions)
        file = self.stored.fileno()
        return _read_records(
            b"".join([os.pread(file, _RECORD_BYTES, _RECORD_BYTES * position) for position in positions.tolist()])
        )

    def read_span(self, positions: slice) -> _PlacedKeys:
        """The keys of a span."""
        if isinstance(self.stored, _PlacedKeys):
            return _pick(self.stored, positions)
        number = positions.stop - positions.start
        return _read_records(os.pread(self.stored.fileno(), _RECORD_BYTES * number, _RECORD_BYTES * positions.start))

    def close(self) -> None:
        """Release its file; its keys are gone."""
        if not isinstance(self.stored, _PlacedKeys):
            self.stored.close()


class _RecentKeys:
    """The keys that came last, in the order in which they came: a hash table with room for ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.used = capacity, 0
        self._columns = _PlacedKeys(*np.empty((3, capacity), np.uint64))
        self._slots = np.zeros(2 << (capacity - 1).bit_length(), np.uint32)
        self._known = np.zeros(capacity, bool)

    def __len__(self) -> int:
        return self.used - int(np.count_nonzero(self._known[: self.used]))

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes + self._known.nbytes + sum(column.nbytes for column in self._columns)

    def add(self, keys: _PlacedKeys, find_earlier: Callable[[_PlacedKeys], Uint64Array]) -> Uint64Array:
        """For each key the position where it first occurred, here or as ``find_earlier`` says of those new here."""
        places, rows = np.empty((2, len(keys.high)), np.int32)
        first, high, low = self.used, self._columns.high, self._columns.low
        fresh = _keys.add(self._slots, high, low, first, keys.high, keys.low, places, rows)
        rows, added = rows[:fresh], slice(first, first + fresh)
        self.used += fresh
        self._columns.position[added] = keys.position[rows]
        known = find_earlier(_pick(self._columns, added))
        self._known[added] = again = known != NO_POSITION
        if again.any():
            self._columns.position[first + np.flatnonzero(again)] = known[again]
        earlier: Uint64Array = self._columns.position[places]
        earlier[rows] = known
        return earlier

    def take_sorted(self) -> _PlacedKeys:
        """All that were new, in ascending order of ``high``; there are none then."""
        fresh = _pick(self._columns, np.flatnonzero(~self._known[: self.used]))
        self.used = 0
        self._slots.fill(0)
        return _pick(fresh, np.argsort(fresh.high))


class KeySet:
    """Distinct keys, each with the position where it first occurred.

    ``len(keys)`` is their number, ``keys.nbytes`` the memory that they take. Runs of more than ``max_in_memory_keys``
    go to temporary files (in ``folder``, else the system's) that no other process can open.
    """

    def __init__(self, max_in_memory_keys: int = MAX_IN_MEMORY_KEYS, folder: Path | None = None) -> None:
        self._shards: list[list[_Run]] = [[] for _ in range(1 << _SHARD_BITS)]
        self._max_in_memory_keys = max_in_memory_keys
        self._folder = folder
        self._recent = _RecentKeys(_RECENT_RUNS * max_in_memory_keys) if _keys and max_in_memory_keys else None

    def __len__(self) -> int:
        return sum(len(run) for shard in self._shards for run in shard) + len(self._recent or ())

    @property
    def nbytes(self) -> int:
        runs = sum(run.nbytes for shard in self._shards for run in shard)
        return runs + (0 if self._recent is None else self._recent.nbytes)

    def find_repeats(self, high: Uint64Array, low: Uint64Array) -> NDArray[np.bool_]:
        """Where a key repeats an earlier one, of these or of those given before; all are added."""
        repeats: NDArray[np.bool_] = self.find_first_positions(high, low, np.zeros_like(high)) != NO_POSITION
        return repeats

    def find_first_positions(self, high: Uint64Array, low: Uint64Array, position: Uint64Array) -> Uint64Array:
        """For each key the position of its first occurrence, ``NO_POSITION`` where this is it; all are added."""
        keys = _PlacedKeys(high, low, position)
        if self._recent is None:
            return self._sort_in(keys)
        starts = range(0, max(len(high), 1), self._recent.capacity)
        parts = [self._add_recent(_pick(keys, slice(start, start + starts.step)), self._recent) for start in starts]
        return np.concatenate(parts)

    def _add_recent(self, keys: _PlacedKeys, recent: _RecentKeys) -> Uint64Array:
        if recent.used + len(keys.high) > recent.capacity:
            for shard, part in zip(self._shards, _split_by_shard(recent.take_sorted()), strict=True):
                self._add_fresh(shard, part)
        return recent.add(keys, self._find_in_runs)

    def _find_in_runs(self, keys: _PlacedKeys) -> Uint64Array:
        """For each key its position in a run, ``NO_POSITION`` where it is in none."""
        found = np.full(len(keys.high), NO_POSITION)
        if any(self._shards):
            order = np.argsort(_find_shards(keys.high), kind="stable")
            parts = map(_find_in_shard, self._shards, _split_by_shard(_pick(keys, order)))
            found[order] = np.concatenate([*parts])
        return found

    def _sort_in(self, keys: _PlacedKeys) -> Uint64Array:
        """Without a table of recent keys."""
        order = _sort_order(keys)
        ordered = _pick(keys, order)
        leads = ~_find_adjacent_repeats(ordered)
        leaders = _pick(ordered, leads)
        parts = [
            self._add_to_shard(shard, part) for shard, part in zip(self._shards, _split_by_shard(leaders), strict=True)
        ]
        known = np.concatenate(parts)
        group = np.cumsum(leads) - 1
        within = np.where(leads, NO_POSITION, leaders.position[group])
        earlier = np.empty_like(within)
        earlier[order] = np.where(known[group] != NO_POSITION, known[group], within)
        return earlier

    def _add_to_shard(self, shard: list[_Run], keys: _PlacedKeys) -> Uint64Array:
        """Find distinct keys, in ascending order of ``high``, and keep those that are new."""
        known = _find_in_shard(shard, keys)
        self._add_fresh(shard, _pick(keys, known == NO_POSITION))
        return known

    def _add_fresh(self, shard: list[_Run], keys: _PlacedKeys) -> None:
        if len(keys.high):
            self._add_run(shard, self._make_run(len(keys.high), iter([keys])))

    def _add_run(self, shard: list[_Run], run: _Run) -> None:
        """Add a run; runs of like size are merged, so that a shard holds few: each more than twice the next."""
        while shard and len(shard[-1]) <= 2 * len(run):
            other = shard.pop()
            merged = self._make_run(len(other) + len(run), _merge(other, run))
            other.close()
            run.close()
            run = merged
        shard.append(run)

    def _make_run(self, number: int, parts: Iterator[_PlacedKeys]) -> _Run:
        """A run of so many keys, which come in ascending order and some at a time."""
        fence = _Fence.create(number)
        if number <= self._max_in_memory_keys:
            keys = _PlacedKeys(*map(np.concatenate, zip(*parts, strict=True)))
            fence.note(0, keys.high)
            fence.settle()
            return _Run(fence, keys)
        file, at = TemporaryFile(dir=self._folder), 0  # noqa: SIM115  it is closed with its run
        for keys in parts:
            fence.note(at, keys.high)
            file.write(np.stack(keys, axis=1).data)
            at += len(keys.high)
        file.flush()
        fence.settle()
        return _Run(fence, file)


# ---------------------------------------------------------------------------------------------- sorted runs


def _pick(keys: _PlacedKeys, chosen: Any) -> _PlacedKeys:
    """The keys chosen by a slice, a mask or an order."""
    return _PlacedKeys(keys.high[chosen], keys.low[chosen], keys.position[chosen])


def _sort_order(keys: _PlacedKeys) -> Positions:
    """An order of ascending ``high`` in which equal keys stand together, the earliest row first."""
    order = np.argsort(keys.high)
    high = keys.high[order]
    return np.lexsort((keys.low, keys.high)) if (high[1:] == high[:-1]).any() else order


def _find_adjacent_repeats(ordered: _PlacedKeys) -> NDArray[np.bool_]:
    """True where a key equals the one before it."""
    same = np.zeros(len(ordered.high), bool)
    same[1:] = (ordered.high[1:] == ordered.high[:-1]) & (ordered.low[1:] == ordered.low[:-1])
    return same


def _find_shards(high: Uint64Array) -> NDArray[np.uint8]:
    """The shard of each key: eight bits are sorted by radix."""
    return (high >> np.uint64(64 - _SHARD_BITS)).astype(np.uint8)


def _split_by_shard(keys: _PlacedKeys) -> Iterator[_PlacedKeys]:
    """The keys of each shard; those of one stand together, in the order of the shards."""
    bounds = [0, *np.cumsum(np.bincount(_find_shards(keys.high), minlength=1 << _SHARD_BITS)).tolist()]
    return (_pick(keys, slice(start, stop)) for start, stop in pairwise(bounds))


def _find_in_shard(shard: list[_Run], keys: _PlacedKeys) -> Uint64Array:
    found = [_find_in_run(run, keys) for run in shard]
    return reduce(np.minimum, found, np.full(len(keys.high), NO_POSITION))


def _find_in_run(run: _Run, keys: _PlacedKeys) -> Uint64Array:
    """For each key its position in ``run``, ``NO_POSITION`` where the run has none."""
    found = np.full(len(keys.high), NO_POSITION)
    rows, places = run.fence.find(keys.high)
    while len(rows):
        there = run.read_at(places)
        same = (there.high == keys.high[rows]) & (there.low == keys.low[rows])
        found[rows[same]] = there.position[same]
        # Several keys of a bucket may have equal rests: the one sought may be the next.
        rows, places = rows[~same], places[~same] + 1
        alike = run.fence.find_alike(places, keys.high[rows])
        rows, places = rows[alike], places[alike]
    return found


def _merge(one: _Run, other: _Run) -> Iterator[_PlacedKeys]:
    """The keys of both in ascending order of ``high``, some at a time."""
    parts = 2 ** ((len(one) + len(other)) // _MERGE_STEP_KEYS).bit_length()
    parts = min(parts, one.fence.buckets, other.fence.buckets)
    for number in range(parts):
        both = [run.read_span(run.fence.find_span(number, parts)) for run in (one, other)]
        keys = _PlacedKeys(*map(np.concatenate, zip(*both, strict=True)))
        if len(keys.high):
            yield _pick(keys, np.argsort(keys.high, kind="stable"))


def _read_records(records: bytes) -> _PlacedKeys:
    return _PlacedKeys(*np.frombuffer(records, np.uint64).reshape(-1, 3).T.copy())
