"""The same event twice in one run: found exactly, by its key, with two and a half bytes of memory an event.

Keys are digests, hence evenly spread: their first bits choose a shard, and each shard holds a few sorted runs that are
merged as they grow (a log-structured merge). Of a run in a file only a fence stays in memory, 18 to 20 bits a key:
where each bucket of keys with the same next bits begins, and 16 further bits of each key. The keys and the places of
their rows lie in a temporary file, which is looked at where the fence says that a key may be there. The file holds
digests and row numbers, nothing about a person.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline_capi.events.schema import REJECTION_SCHEMA
from offline_capi.model import BuiltEvents, EventBatch, Fate, Reason, Rejections

__all__ = ["SeenKeys", "StoreRepeats"]

#: Shards are merged one after the other: a quarter of the fences, at most, is in memory twice meanwhile.
_SHARD_BITS = 2
#: Keys of a bucket, eight at least: of 4,000 or more that are not in a run one looks like one that is.
_BUCKET = 16
_REST_BITS = 16
#: Keys that are merged at a time: some copies of them come and go.
_STEP = 16_384
_ROW_BITS = 40  # rows of one origin; the bits above number the origins
_NOWHERE = np.uint64(2**64 - 1)
_RECORD_BYTES = 24  # in a file: two words, and the place

Words = NDArray[np.uint64]
Rests = NDArray[np.uint16]
Positions = NDArray[np.intp]


class _Keys(NamedTuple):
    """Keys as two words each, and the place of the row that has them."""

    high: Words
    low: Words
    place: Words


@dataclass(frozen=True, slots=True)
class _Fence:
    """What is known in memory of keys in ascending order: those of bucket ``b`` stand from ``starts[b]`` on.

    ``rests`` has the bits of each key that follow those of its bucket.
    """

    starts: NDArray[np.uint32]
    rests: Rests

    @classmethod
    def for_keys(cls, number: int) -> _Fence:
        """For so many keys; ``note`` all of them, from the first on, and ``settle`` it."""
        buckets = 2 ** max(1, (number // _BUCKET).bit_length())
        return cls(np.zeros(buckets + 1, np.uint32), np.empty(number, np.uint16))

    @property
    def buckets(self) -> int:
        """How many, a power of two."""
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.rests.nbytes

    def note(self, at: int, high: Words) -> None:
        """The keys that stand from ``at`` on."""
        buckets, self.rests[at : at + len(high)] = self._seen(high)
        first = int(buckets[0])
        counts = np.bincount(buckets - first)
        self.starts[first + 1 : first + 1 + len(counts)] += counts.astype(np.uint32)

    def settle(self) -> None:
        """All keys are noted: what was counted becomes where each bucket begins."""
        np.cumsum(self.starts, out=self.starts)

    def find(self, high: Words) -> tuple[Positions, Positions, Rests]:
        """For each key where the first may stand that looks like it, where its bucket ends, and its rest."""
        buckets, rests = self._seen(high)
        start, stop = self.starts[buckets].astype(np.intp), self.starts[buckets + 1].astype(np.intp)
        low, up = start, stop
        for _ in range(int((stop - start).max(initial=0)).bit_length()):  # a binary search in all buckets at once
            middle = (low + up) >> 1
            below = (low < up) & (self.rests.take(middle, mode="clip") < rests)
            low, up = np.where(below, middle + 1, low), np.where(below, up, middle)
        return low, stop, rests

    def part(self, number: int, parts: int) -> slice:
        """Where the keys stand of one of so many equal parts of all there can be: a power of two, a bucket or more."""
        width = self.buckets // parts
        return slice(int(self.starts[number * width]), int(self.starts[(number + 1) * width]))

    def _seen(self, high: Words) -> tuple[Positions, Rests]:
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
    stored: _Keys | BinaryIO

    def __len__(self) -> int:
        return len(self.fence.rests)

    @property
    def nbytes(self) -> int:
        kept = self.stored if isinstance(self.stored, _Keys) else ()
        return self.fence.nbytes + sum(column.nbytes for column in kept)

    def at(self, places: Positions) -> _Keys:
        """The keys that stand there. A file is read for each: mapped, each look would bring sixteen pages in."""
        if isinstance(self.stored, _Keys):
            return _pick(self.stored, places)
        file = self.stored.fileno()
        return _columns(b"".join([os.pread(file, _RECORD_BYTES, _RECORD_BYTES * place) for place in places.tolist()]))

    def between(self, places: slice) -> _Keys:
        """The keys of a span."""
        if isinstance(self.stored, _Keys):
            return _pick(self.stored, places)
        number = places.stop - places.start
        return _columns(os.pread(self.stored.fileno(), _RECORD_BYTES * number, _RECORD_BYTES * places.start))

    def discard(self) -> None:
        if not isinstance(self.stored, _Keys):
            self.stored.close()


class SeenKeys:
    """The keys of a run's events so far. The first row with a key goes on, every later one is a rejection.

    ``len(seen)`` is the number of distinct keys, ``seen.nbytes`` the memory that they take. Runs of more than
    ``in_memory`` keys go to temporary files (in ``folder``, else the system's) that nobody else can open.
    """

    def __init__(self, in_memory: int = 32_768, folder: Path | None = None) -> None:
        self._origins: dict[str, int] = {}
        self._shards: list[list[_Run]] = [[] for _ in range(1 << _SHARD_BITS)]
        self._in_memory = in_memory
        self._folder = folder

    def __len__(self) -> int:
        return sum(len(run) for shard in self._shards for run in shard)

    @property
    def nbytes(self) -> int:
        return sum(run.nbytes for shard in self._shards for run in shard)

    def first_only(self, built: BuiltEvents) -> BuiltEvents:
        """The same rows, with events that repeat an earlier one of this run among the rejections."""
        again, repeats = self._repeats_among(built.events)
        if not len(repeats):
            return built
        first, tables = pa.array(~again), [built.rejections.table, repeats.table]
        return replace(
            built,
            events=built.events.filter(first),
            rejections=Rejections(pa.concat_batches(tables)),
            carried={key: carried.filter(first) for key, carried in built.carried.items()},
            store_keys=None if built.store_keys is None else built.store_keys.filter(first),
        )

    def split(self, events: EventBatch) -> tuple[EventBatch, Rejections]:
        """The events whose key is new, and the others as rejections that name the row they repeat.

        Rows of equal key are told apart by order alone: the first one seen goes on. The events given are remembered,
        so give each batch once.
        """
        again, repeats = self._repeats_among(events)
        return (events.filter(pa.array(~again)) if len(repeats) else events), repeats

    def find_repeats(self, high: Words, low: Words) -> NDArray[np.bool_]:
        """Where a key of two words repeats an earlier one, of these or of those given before; all are remembered."""
        repeats: NDArray[np.bool_] = self._earlier_places(_Keys(high, low, np.zeros_like(high))) != _NOWHERE
        return repeats

    def _repeats_among(self, events: EventBatch) -> tuple[NDArray[np.bool_], Rejections]:
        """Where an event repeats an earlier one, and those events as rejections."""
        earlier = self._earlier_places(self._keys_of(events))
        again = earlier != _NOWHERE
        if not again.any():
            return again, Rejections(pa.RecordBatch.from_pylist([], REJECTION_SCHEMA))
        return again, self._rejections(events.filter(pa.array(again)), earlier[again])

    def _earlier_places(self, keys: _Keys) -> Words:
        """For each key the place of the first row that had it, ``_NOWHERE`` where this is the first."""
        order = _order(keys)
        ordered = _pick(keys, order)
        leads = ~_repeats(ordered)
        leaders = _pick(ordered, leads)
        known = self._remember(leaders)
        group = np.cumsum(leads) - 1
        within = np.where(leads, _NOWHERE, leaders.place[group])
        earlier = np.empty_like(within)
        earlier[order] = np.where(known[group] != _NOWHERE, known[group], within)
        return earlier

    def _remember(self, keys: _Keys) -> Words:
        """Look distinct keys up, in ascending order of ``high``, and keep those that are new."""
        bounds = np.arange(len(self._shards), dtype=np.uint64) << np.uint64(64 - _SHARD_BITS)
        starts = [*np.searchsorted(keys.high, bounds), len(keys.high)]
        parts = [
            self._remember_in(shard, _pick(keys, slice(start, stop)))
            for shard, start, stop in zip(self._shards, starts, starts[1:], strict=False)
        ]
        return np.concatenate(parts)

    def _remember_in(self, shard: list[_Run], keys: _Keys) -> Words:
        known = reduce(np.minimum, [_look_up(run, keys) for run in shard], np.full(len(keys.high), _NOWHERE))
        fresh = _pick(keys, known == _NOWHERE)
        if len(fresh.high):
            self._add(shard, self._run(len(fresh.high), iter([fresh])))
        return known

    def _add(self, shard: list[_Run], run: _Run) -> None:
        """Add a run; runs of like size are merged, so that a shard holds few: each more than twice the next."""
        while shard and len(shard[-1]) <= 2 * len(run):
            other = shard.pop()
            merged = self._run(len(other) + len(run), _merged(other, run))
            other.discard()
            run.discard()
            run = merged
        shard.append(run)

    def _run(self, number: int, parts: Iterator[_Keys]) -> _Run:
        """A run of so many keys, which come in ascending order and some at a time."""
        fence = _Fence.for_keys(number)
        if number <= self._in_memory:
            keys = _Keys(*map(np.concatenate, zip(*parts, strict=True)))
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

    # ------------------------------------------------------------------------------------------ places

    def _keys_of(self, events: EventBatch) -> _Keys:
        words = np.frombuffer(events.key_bytes, ">u8").reshape(-1, 2).astype(np.uint64)
        return _Keys(words[:, 0].copy(), words[:, 1].copy(), self._places_of(events))

    def _places_of(self, events: EventBatch) -> Words:
        encoded = events.table["origin"].dictionary_encode()
        numbers = [self._origins.setdefault(name, len(self._origins)) for name in encoded.dictionary.to_pylist()]
        origins = np.array(numbers, np.uint64)[encoded.indices.to_numpy()]
        places: Words = (origins << np.uint64(_ROW_BITS)) | events.table["row"].to_numpy().astype(np.uint64)
        return places

    def _rejections(self, events: EventBatch, earlier: Words) -> Rejections:
        names = pa.array(list(self._origins), pa.string())
        columns = {
            **{name: events.table[name] for name in ("origin", "row", "client", "event_id", "day")},
            "fate": pa.repeat(pa.scalar(str(Fate.INVALID)), len(events)),
            "reason": pa.repeat(pa.scalar(str(Reason.DUPLICATE_EVENT_ID)), len(events)),
            "field": pa.repeat(pa.scalar("event.id"), len(events)),
            "earlier_origin": names.take(pa.array(earlier >> np.uint64(_ROW_BITS))),
            "earlier_row": pa.array((earlier & np.uint64(2**_ROW_BITS - 1)).astype(np.int64)),
        }
        return Rejections(
            pa.RecordBatch.from_arrays([columns[f.name] for f in REJECTION_SCHEMA], schema=REJECTION_SCHEMA)
        )


class StoreRepeats:
    """Events of stores that Meta will count as one with an earlier one of the run, though their ids differ.

    They are counted as warnings and sent: Meta keeps the first, and only the upload can tell them apart.
    """

    WARNINGS = ("store_event_of_same_person", "store_event_of_same_order")

    def __init__(self) -> None:
        self._seen = SeenKeys()

    @property
    def nbytes(self) -> int:
        """The memory that what was seen takes."""
        return self._seen.nbytes

    def warned(self, built: BuiltEvents) -> BuiltEvents:
        """The same events, with those that repeat an earlier one among the warnings."""
        if built.store_keys is None:
            return built
        keys = built.store_keys.filter(built.store_keys["high"].is_valid())
        repeats = self._seen.find_repeats(keys["high"].to_numpy(), keys["low"].to_numpy())
        if not repeats.any():
            return built
        ordered = keys["ordered"].to_numpy(zero_copy_only=False)
        counts = dict(
            zip(self.WARNINGS, (int((repeats & ~ordered).sum()), int((repeats & ordered).sum())), strict=True)
        )
        return replace(built, warnings={**built.warnings, **{code: n for code, n in counts.items() if n}})


# ---------------------------------------------------------------------------------------------- sorted runs


def _pick(keys: _Keys, chosen: Any) -> _Keys:
    """The keys chosen by a slice, a mask or an order."""
    return _Keys(keys.high[chosen], keys.low[chosen], keys.place[chosen])


def _order(keys: _Keys) -> Positions:
    """An order of ascending ``high`` in which equal keys stand together, the earliest row first."""
    order = np.argsort(keys.high)
    high = keys.high[order]
    return np.lexsort((keys.low, keys.high)) if (high[1:] == high[:-1]).any() else order


def _repeats(ordered: _Keys) -> NDArray[np.bool_]:
    """True where a key equals the one before it."""
    same = np.zeros(len(ordered.high), bool)
    same[1:] = (ordered.high[1:] == ordered.high[:-1]) & (ordered.low[1:] == ordered.low[:-1])
    return same


def _look_up(run: _Run, keys: _Keys) -> Words:
    """For each key its place in ``run``, ``_NOWHERE`` where the run has none."""
    found = np.full(len(keys.high), _NOWHERE)
    at, stop, rests = run.fence.find(keys.high)
    asked = np.arange(len(at))
    while True:
        asked = asked[at[asked] < stop[asked]]
        asked = asked[run.fence.rests[at[asked]] == rests[asked]]
        if not len(asked):
            return found
        there = run.at(at[asked])
        same = (there.high == keys.high[asked]) & (there.low == keys.low[asked])
        found[asked[same]] = there.place[same]
        # Several keys of a bucket may look alike: the one sought may be the next.
        asked = asked[~same]
        at[asked] += 1


def _merged(one: _Run, other: _Run) -> Iterator[_Keys]:
    """The keys of both in ascending order of ``high``, some at a time."""
    parts = 2 ** ((len(one) + len(other)) // _STEP).bit_length()
    parts = min(parts, one.fence.buckets, other.fence.buckets)
    for number in range(parts):
        both = [run.between(run.fence.part(number, parts)) for run in (one, other)]
        keys = _Keys(*map(np.concatenate, zip(*both, strict=True)))
        if len(keys.high):
            yield _pick(keys, np.argsort(keys.high, kind="stable"))


def _columns(records: bytes) -> _Keys:
    return _Keys(*np.frombuffer(records, np.uint64).reshape(-1, 3).T.copy())
