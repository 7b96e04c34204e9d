"""What a run sends twice: rows with the same event, and events of stores that Meta takes for one.

Both are known of a whole run, so no stage of one batch can find them. Keys and the positions of their rows are kept
in a ``KeySet``, whose temporary files hold digests and row numbers, nothing about a person.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.events.facts import counts_of
from offline_capi.events.schema import UNSENT_SCHEMA
from offline_capi.guards.key_set import MAX_IN_MEMORY_KEYS, NO_POSITION, KeySet, Uint64Array
from offline_capi.model import BuiltEvents, EventBatch, Fate, Reason, UnsentRows

__all__ = ["SeenKeys", "StoreRepeats"]

_ROW_BITS = 40  # rows of one origin; the bits above number the origins


class SeenKeys:
    """The keys of a run's events so far. The first row with a key goes on, every later one is a rejection.

    ``len(seen)`` is the number of distinct keys, ``seen.nbytes`` the memory that they take.
    """

    def __init__(self, max_in_memory_keys: int = MAX_IN_MEMORY_KEYS, folder: Path | None = None) -> None:
        self._origins: dict[str, int] = {}
        self._keys = KeySet(max_in_memory_keys, folder)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes

    def reject_repeats(self, built: BuiltEvents, *, by_client: bool = False) -> BuiltEvents:
        """The same rows, with events that repeat an earlier one of this run among the unsent rows.

        With ``by_client`` the events of a client stand together, those of each in the order of the source: they are
        copied once for both, and requests are cut from them as they lie.

        Clients may share a pixel: to it, an event of one may be that of another. So events and their copies for further
        pixels are looked at together, row by row, and of a row its own event first: which of two goes depends on where
        their rows stand, and not on how many rows a batch has. A copy that repeats is a rejection too, unless the
        row's own event is one already: then the row as a whole was there before.
        """
        events, copies = built.events, built.copies
        if copies is None:
            again, theirs = self._find_repeats(events)
            return _leave_out(built, again, [theirs], by_client)
        both = pa.concat_batches([events.table, copies.table])
        order = np.argsort(both.column("row").to_numpy(), kind="stable")
        earlier = np.empty(len(order), np.uint64)
        earlier[order] = self._find_earlier_positions(EventBatch(both.take(pa.array(order))))
        own, further = earlier[: len(events)], earlier[len(events) :]
        again, copied_again = own != NO_POSITION, further != NO_POSITION
        if not again.any() and not copied_again.any():
            return _leave_out(built, again, [], by_client)
        gone = pc.is_in(copies.table.column("row"), value_set=events.table.column("row").filter(pa.array(again)))
        counted = copied_again & ~gone.to_numpy(zero_copy_only=False)
        repeats = [
            self._make_unsent(batch.filter(pa.array(chosen)), positions[chosen])
            for batch, chosen, positions in ((events, again, own), (copies, counted, further))
        ]
        left = copies.filter(pa.array(~copied_again))
        booked = copies.table.column("client").filter(pa.array(~copied_again | counted))
        return replace(_leave_out(built, again, repeats, by_client), copies=left, copied=counts_of(booked))

    def split(self, events: EventBatch) -> tuple[EventBatch, UnsentRows]:
        """The events whose key is new, and the others as unsent rows that name the row they repeat.

        Rows of equal key are distinguished by order alone: the first one seen goes on. The events given are remembered,
        so give each batch once.
        """
        again, repeats = self._find_repeats(events)
        return (events.filter(pa.array(~again)) if len(repeats) else events), repeats

    def _find_repeats(self, events: EventBatch) -> tuple[NDArray[np.bool_], UnsentRows]:
        """Where an event repeats an earlier one, and those events as unsent rows."""
        earlier = self._find_earlier_positions(events)
        again = earlier != NO_POSITION
        if not again.any():
            return again, UnsentRows(pa.RecordBatch.from_pylist([], UNSENT_SCHEMA))
        return again, self._make_unsent(events.filter(pa.array(again)), earlier[again])

    def _find_earlier_positions(self, events: EventBatch) -> Uint64Array:
        """For each event the position of the first row with its key, ``NO_POSITION`` where this is the first."""
        words = np.frombuffer(events.key_bytes, ">u8").reshape(-1, 2).astype(np.uint64)
        return self._keys.find_first_positions(words[:, 0].copy(), words[:, 1].copy(), self._number_rows(events))

    def _number_rows(self, events: EventBatch) -> Uint64Array:
        encoded = events.table["origin"].dictionary_encode()
        numbers = [self._origins.setdefault(name, len(self._origins)) for name in encoded.dictionary.to_pylist()]
        origins = np.array(numbers, np.uint64)[encoded.indices.to_numpy()]
        positions: Uint64Array = (origins << np.uint64(_ROW_BITS)) | events.table["row"].to_numpy().astype(np.uint64)
        return positions

    def _make_unsent(self, events: EventBatch, earlier: Uint64Array) -> UnsentRows:
        names = pa.array(list(self._origins), pa.string())
        columns = {
            **{name: events.table[name] for name in ("origin", "row", "client", "event_id", "day")},
            "fate": pa.repeat(pa.scalar(str(Fate.INVALID)), len(events)),
            "reason": pa.repeat(pa.scalar(str(Reason.DUPLICATE_EVENT_ID)), len(events)),
            "field": pa.repeat(pa.scalar("event.id"), len(events)),
            "earlier_origin": names.take(pa.array(earlier >> np.uint64(_ROW_BITS))),
            "earlier_row": pa.array((earlier & np.uint64(2**_ROW_BITS - 1)).astype(np.int64)),
        }
        return UnsentRows(pa.RecordBatch.from_arrays([columns[f.name] for f in UNSENT_SCHEMA], schema=UNSENT_SCHEMA))


def _leave_out(built: BuiltEvents, again: NDArray[np.bool_], repeats: list[UnsentRows], by_client: bool) -> BuiltEvents:
    """The same without the events that are there ``again``, and with the unsent rows of repeats."""
    order = built.events.find_order_by("client") if by_client else None
    if order is None and not any(map(len, repeats)):
        return built
    places = np.flatnonzero(~again) if order is None else order[~again[order]]
    first, chosen = pa.array(~again), pa.array(places)
    return replace(
        built,
        events=built.events.take(places),
        unsent=UnsentRows(pa.concat_batches([built.unsent.table, *(one.table for one in repeats)])),
        carried={key: carried.take(chosen) for key, carried in built.carried.items()},
        store_keys=None if built.store_keys is None else built.store_keys.filter(first),
    )


class StoreRepeats:
    """Events of stores that Meta will count as one with an earlier one of the run, though their ids differ.

    They are counted as warnings and sent: Meta keeps the first, and only the upload can distinguish them.
    """

    WARNINGS = ("store_event_of_same_person", "store_event_of_same_order")

    def __init__(self) -> None:
        self._seen = KeySet()

    def add_warnings(self, built: BuiltEvents) -> BuiltEvents:
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
