"""Events that wait for others of their client: their bodies on disk, all else in memory, some 70 bytes an event."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any, cast

from offline_capi.model.batch import EventBatch, EventPart, get_ends

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from offline_capi.runtime.lookup import TextIndex

__all__ = ["MAX_IN_MEMORY_PARTS", "Spool", "SpooledEvents", "join_event_parts"]

#: A file takes no more bodies from this size on: its space is free again when the last of its events has been read.
MAX_FILE_BYTES = 64 << 20
#: So many parts of a batch may wait for others in memory: to write it to disk takes ten times as long as to copy it.
MAX_IN_MEMORY_PARTS = 64
#: Texts of which nearly every event has one of its own.
OWN_TEXTS = ("event_id",)


@dataclass(frozen=True, slots=True)
class SpooledEvents:
    """Events without their bodies, and where in a file these are: ``ends`` has one position more than there are events.

    Texts that many events have in common (client, pixel, name) are numbers in ``rest``, which ``texts`` knows. What all
    have of a column stands in ``same`` and nowhere else.

    Read, not mapped: each read of a mapped page maps 15 pages around it, so that what is read of a thousand clients,
    a few events at a time, soon takes as much memory as all of it.
    """

    rest: pa.RecordBatch
    ends: NDArray[np.uint32]
    file: IO[bytes]
    texts: SharedTexts
    same: Mapping[str, int]

    def __len__(self) -> int:
        return int(self.rest.num_rows)

    @property
    def body_bytes(self) -> int:
        return int(self.ends[-1] - self.ends[0])

    def slice(self, start: int, length: int) -> EventBatch:
        """Read these events, into memory of their own. Raises ``OSError`` where the file cannot be read."""
        ends = self.ends[start : start + length + 1]
        return _read([EventPart(self, start, len(ends) - 1, int(ends[-1] - ends[0]))], self.texts)

    def slice_rest(self, start: int, length: int, same: Mapping[str, int]) -> pa.RecordBatch:
        """All columns of some events but their bodies and those in ``same``; texts as numbers."""
        import numpy as np
        import pyarrow as pa

        some = self.rest.slice(start, length)
        if self.same.keys() == same.keys():
            return some
        columns = {
            name: pa.array(np.full(len(some), self.same[name], np.int32)) if name in self.same else some[name]
            for name in self.texts.schema.names[:-1]
            if name not in same
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def join_event_parts(parts: Sequence[EventPart]) -> EventBatch:
    """The events of all parts in one batch, in their order; there has to be one part at least.

    Copied, unless they stand together in one batch in memory.
    """
    batches = list[EventBatch]()
    for texts, run in groupby(parts, key=lambda part: getattr(part.batch, "texts", None)):
        own = list(run)
        runs = _find_neighbours(own)
        batches += [_read(own, texts)] if texts else [events.slice(start, rows) for events, start, rows in runs]
    return batches[0] if len(batches) == 1 else EventBatch.join(batches)


def _read(parts: Sequence[EventPart], texts: SharedTexts) -> EventBatch:
    """Events on disk in one batch, each body read into its place.

    What stands together in a file is one piece of all columns, whichever parts it belongs to: of a thousand clients a
    few events each are in every batch.
    """
    import numpy as np
    import pyarrow as pa

    sizes = np.array([part.body_bytes for part in parts])
    as_stored = sorted(range(len(parts)), key=lambda at: (id(parts[at].batch), parts[at].start))
    stored = [parts[at] for at in as_stored]
    runs = [(cast("SpooledEvents", events), start, rows) for events, start, rows in _find_neighbours(stored)]
    same = dict(set[tuple[str, int]].intersection(*(set(events.same.items()) for events, _, _ in runs)))
    rest = pa.concat_batches([events.slice_rest(start, rows, same) for events, start, rows in runs])
    lengths = np.concatenate([np.diff(events.ends[start : start + rows + 1]) for events, start, rows in runs])
    if as_stored != list(range(len(parts))):
        rows_of = np.array([part.rows for part in parts])
        starts = np.empty(len(parts), np.int64)  # of each part, among the events as they are stored
        starts[as_stored] = np.cumsum(rows_of[as_stored]) - rows_of[as_stored]
        order = np.repeat(starts - (np.cumsum(rows_of) - rows_of), rows_of) + np.arange(rows_of.sum())
        rest, lengths = rest.take(pa.array(order)), lengths[order]
    out = pa.allocate_buffer(int(sizes.sum()))
    _read_bodies(stored, (np.cumsum(sizes) - sizes)[as_stored], out)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    bodies = pa.Array.from_buffers(pa.binary(), len(rest), [None, pa.py_buffer(offsets), out], 0)
    return EventBatch(pa.RecordBatch.from_arrays([*texts.put_back(rest, same), bodies], schema=texts.schema))


def _read_bodies(parts: Sequence[EventPart], places: NDArray[np.int64], out: pa.Buffer) -> None:
    """The bodies of each part, from where they are in its file into their place in ``out``.

    One call for all: with a thousand clients there are a thousand pieces, and a thread that gives the interpreter away
    for each waits for it longer than for the file. Raises ``OSError`` where a file cannot be read.
    """
    import numpy as np

    from offline_capi.runtime.compiled import load_compiled

    batches = [cast("SpooledEvents", part.batch) for part in parts]
    files = [events.file.fileno() for events in batches]
    starts = [int(events.ends[part.start]) for events, part in zip(batches, parts, strict=True)]
    pieces = np.array([files, starts, [part.body_bytes for part in parts], places], np.int64).T
    if compiled := load_compiled("_join"):
        read = compiled.read_pieces(np.ascontiguousarray(pieces), out)
    else:
        into = memoryview(out).cast("B")
        read = sum(os.preadv(file, [into[at : at + size]], start) for file, start, size, at in pieces.tolist())
    if read != len(out):
        raise OSError(f"a temporary file ends {len(out) - read} bytes too early")


def _find_neighbours(parts: Iterable[EventPart]) -> list[tuple[EventBatch | SpooledEvents, int, int]]:
    """Runs of events that stand together: in what, from where on, and how many."""
    runs: list[tuple[EventBatch | SpooledEvents, int, int]] = []
    for part in parts:
        start, rows = part.start, part.rows
        if runs and runs[-1][0] is part.batch and sum(runs[-1][1:]) == start:
            _, start, before = runs.pop()
            rows += before
        runs.append((part.batch, start, rows))
    return runs


class SharedTexts:
    """Columns of texts that many events share, as numbers, the same for all batches: 4 bytes instead of some twenty.

    ``schema`` is that of the events, their body included.
    """

    schema: pa.Schema

    def __init__(self) -> None:
        self._known: dict[str, TextIndex] = {}

    def take_out(self, table: pa.RecordBatch) -> tuple[pa.RecordBatch, Mapping[str, int]]:
        """All but the bodies in memory of its own, with numbers instead of texts; apart what all have of a column.

        A slice would keep all of its batch in memory.
        """
        import numpy as np
        import pyarrow as pa

        self.schema = table.schema
        kept, same, every = dict[str, pa.Array](), dict[str, int](), pa.array(np.arange(len(table)))
        for field, column in zip([*table.schema][:-1], table.columns, strict=False):
            if field.type != pa.string() or field.name in OWN_TEXTS:
                kept[field.name] = column.take(every)
                continue
            encoded = column.dictionary_encode()
            places = self._number(field.name, encoded.dictionary)
            if len(places) == 1 and not encoded.null_count:
                same[field.name] = places[0].as_py()
            else:
                kept[field.name] = places.take(encoded.indices)
        return pa.RecordBatch.from_arrays(list(kept.values()), names=list(kept)), same

    def put_back(self, rest: pa.RecordBatch, same: Mapping[str, int]) -> list[pa.Array]:
        """All columns but the bodies, with texts again; of those in ``same`` all events have one."""
        import pyarrow as pa

        columns = []
        for name in self.schema.names[:-1]:
            known = self._known.get(name)
            if name in same:
                columns.append(pa.repeat(self._known[name].texts[same[name]], len(rest)))
            else:
                columns.append(rest[name] if known is None else known.texts.take(rest[name]))
        return columns

    def _number(self, name: str, distinct: pa.StringArray) -> pa.Int32Array:
        from offline_capi.runtime.lookup import TextIndex

        known = self._known.setdefault(name, TextIndex())
        places, unknown = known.find(distinct)
        if unknown:
            known.add(distinct.filter(places.is_null()))
            places, _ = known.find(distinct)
        return places


class Spool:
    """Files in which bodies wait, one after the other. They have no names and end with the last event in them."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._size = 0
        self._texts = SharedTexts()

    def put(self, events: EventBatch) -> EventBatch | SpooledEvents:
        """The same events, on disk; as they are where there is no room. ``body`` is their last column."""
        import numpy as np

        table: Any = events.table
        body = table.column("body")
        ends = get_ends(body)
        try:
            if self._file is None or self._size >= MAX_FILE_BYTES:
                self._file, self._size = _open_file(), 0
            written, bodies = 0, events.get_bytes("body")
            while written < len(bodies):
                written += os.pwrite(self._file.fileno(), bodies[written:], self._size + written)
        except OSError:
            self._file = None
            return events
        rest, same = self._texts.take_out(table)
        ends = (ends.astype(np.int64) - ends[0] + self._size).astype(np.uint32)
        spooled = SpooledEvents(rest, ends, self._file, self._texts, same)
        self._size += written
        return spooled

    def put_parts(self, parts: Sequence[EventPart]) -> list[EventPart]:
        """The same parts, of one batch on disk."""
        put, start, moved = self.put(join_event_parts(parts)), 0, []
        for part in parts:
            moved.append(EventPart(put, start, part.rows, part.body_bytes))
            start += part.rows
        return moved


def _open_file() -> IO[bytes]:
    from tempfile import TemporaryFile

    return TemporaryFile(prefix="offline_capi-", buffering=0)
