"""The same event twice in one run: found exactly, by its key, with four bytes of memory an event.

Keys are digests, hence evenly spread: their first bits choose a shard, and each shard holds a few sorted runs that are
merged as they grow (a log-structured merge). Of a long run only a fence stays in memory, 32 bits a key; the keys and
the places of their rows lie in a temporary file, which is looked at where the fence says that a key may be there. The
file holds digests and row numbers, nothing about a person.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline_capi.events.schema import REJECTION_SCHEMA
from offline_capi.model import BuiltEvents, EventBatch, Fate, Reason, Rejections

__all__ = ["SeenKeys"]

_SHARD_BITS = 5
_FENCE_BITS = 32
_ROW_BITS = 40  # rows of one origin; the bits above number the origins
_NOWHERE = np.uint64(2**64 - 1)

Words = NDArray[np.uint64]
Fence = NDArray[np.uint32]
Positions = NDArray[np.intp]


class _Keys(NamedTuple):
    """Keys as two words each, and the place of the row that has them."""

    high: Words
    low: Words
    place: Words


class _Run(NamedTuple):
    """Distinct keys of one shard in ascending order of ``high``: in memory, or in a file of three columns."""

    fence: Fence
    stored: _Keys | Path

    def keys(self) -> _Keys:
        """The keys; of a file only what is looked at, and only while it is looked at, takes memory."""
        if isinstance(self.stored, _Keys):
            return self.stored
        return _Keys(*np.memmap(self.stored, np.uint64, "r", shape=(3, len(self.fence))))

    def discard(self) -> None:
        if not isinstance(self.stored, _Keys):
            self.stored.unlink()


class SeenKeys:
    """The keys of a run's events so far. The first row with a key goes on, every later one is a rejection.

    ``len(seen)`` is the number of distinct keys, ``seen.nbytes`` the memory that they take. Runs of more than
    ``in_memory`` keys go to a temporary folder (inside ``folder``, else the system's), which goes when this object
    does.
    """

    def __init__(self, in_memory: int = 4096, folder: Path | None = None) -> None:
        self._origins: dict[str, int] = {}
        self._shards: list[list[_Run]] = [[] for _ in range(1 << _SHARD_BITS)]
        self._in_memory = in_memory
        self._folder = TemporaryDirectory(prefix="offline_capi_seen_", dir=folder)
        self._files = count()

    def __len__(self) -> int:
        return sum(len(run.fence) for shard in self._shards for run in shard)

    @property
    def nbytes(self) -> int:
        runs = [run for shard in self._shards for run in shard]
        kept = [run.stored for run in runs if isinstance(run.stored, _Keys)]
        return sum(run.fence.nbytes for run in runs) + sum(column.nbytes for keys in kept for column in keys)

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
        )

    def split(self, events: EventBatch) -> tuple[EventBatch, Rejections]:
        """The events whose key is new, and the others as rejections that name the row they repeat.

        Rows of equal key are told apart by order alone: the first one seen goes on. The events given are remembered,
        so give each batch once.
        """
        again, repeats = self._repeats_among(events)
        return (events.filter(pa.array(~again)) if len(repeats) else events), repeats

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
            self._add(shard, self._run(fresh))
        return known

    def _add(self, shard: list[_Run], run: _Run) -> None:
        """Add a run; runs of like size are merged, so that a shard holds few: each more than twice the next."""
        while shard and len(shard[-1].fence) <= 2 * len(run.fence):
            other = shard.pop()
            merged = self._run(_merged(other.keys(), run.keys()))
            other.discard()
            run.discard()
            run = merged
        shard.append(run)

    def _run(self, keys: _Keys) -> _Run:
        if len(keys.high) <= self._in_memory:
            return _Run(_fence(keys), keys)
        path = Path(self._folder.name, str(next(self._files)))
        with path.open("wb") as file:
            for column in keys:
                column.tofile(file)
        return _Run(_fence(keys), path)

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
            "fate": pa.repeat(pa.scalar(str(Fate.REJECTED)), len(events)),
            "reason": pa.repeat(pa.scalar(str(Reason.DUPLICATE_EVENT_ID)), len(events)),
            "field": pa.repeat(pa.scalar("event.id"), len(events)),
            "earlier_origin": names.take(pa.array(earlier >> np.uint64(_ROW_BITS))),
            "earlier_row": pa.array((earlier & np.uint64(2**_ROW_BITS - 1)).astype(np.int64)),
        }
        return Rejections(
            pa.RecordBatch.from_arrays([columns[f.name] for f in REJECTION_SCHEMA], schema=REJECTION_SCHEMA)
        )


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


def _fence(keys: _Keys) -> Fence:
    """The bits after those that chose the shard: in the same order as the keys, and seldom equal by chance."""
    return (keys.high >> np.uint64(64 - _SHARD_BITS - _FENCE_BITS)).astype(np.uint32)


def _look_up(run: _Run, keys: _Keys) -> Words:
    """For each key its place in ``run``, ``_NOWHERE`` where the run has none."""
    found = np.full(len(keys.high), _NOWHERE)
    fence = _fence(keys)
    at = np.searchsorted(run.fence, fence)
    asked = _still_equal(run.fence, fence, at, np.arange(len(at)))
    while len(asked):
        there = _pick(run.keys(), at[asked])
        same = (there.high == keys.high[asked]) & (there.low == keys.low[asked])
        found[asked[same]] = there.place[same]
        # Several keys may stand behind one fence: the one sought may be the next of the run.
        at[asked] += 1
        asked = _still_equal(run.fence, fence, at, asked[~same])
    return found


def _still_equal(held: Fence, sought: Fence, at: Positions, asked: Positions) -> Positions:
    """Those of ``asked`` for which ``held`` has the value sought where they look."""
    inside = asked[at[asked] < len(held)]
    equal: Positions = inside[held[at[inside]] == sought[inside]]
    return equal


def _merged(one: _Keys, other: _Keys) -> _Keys:
    both = _Keys(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))
    return _pick(both, np.argsort(both.high, kind="stable"))
