"""Events that wait for others of their client: their bodies on disk, all else in memory, some 70 bytes an event."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any

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
#: Pieces of memory that one system call reads into (IOV_MAX of Linux).
MAX_PIECES_PER_READ = 1024


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

    def read_bodies(self, start: int, length: int, into: Sequence[memoryview]) -> None:
        """The bodies of some that stand together, in several pieces of memory."""
        end, expected = int(self.ends[start]), int(self.ends[start + length])
        for first in range(0, len(into), MAX_PIECES_PER_READ):
            end += os.preadv(self.file.fileno(), into[first : first + MAX_PIECES_PER_READ], end)
        if end != expected:
            raise OSError(f"a temporary file ends {expected - end} bytes too early")

    def take_rest(self, rows: NDArray[np.int64]) -> tuple[pa.RecordBatch, NDArray[np.uint32]]:
        """All columns but the bodies of the events at these places, in ascending order: texts as numbers. And how long
        each body is.
        """
        import numpy as np
        import pyarrow as pa

        together = len(rows) > 0 and int(rows[-1]) - int(rows[0]) + 1 == len(rows)
        some = self.rest.slice(int(rows[0]), len(rows)) if together else self.rest.take(pa.array(rows))
        columns = [
            pa.array(np.full(len(rows), self.same[name], np.int32)) if name in self.same else some[name]
            for name in self.texts.schema.names[:-1]
        ]
        whole = pa.RecordBatch.from_arrays(columns, names=self.texts.schema.names[:-1])
        return whole, self.ends[rows + 1] - self.ends[rows]


def join_event_parts(parts: Sequence[EventPart]) -> EventBatch:
    """The events of all parts in one batch, in their order; there has to be one part at least.

    Copied, unless they stand together in one batch in memory.
    """
    batches = list[EventBatch]()
    for texts, run in groupby(parts, key=lambda part: getattr(part.batch, "texts", None)):
        own = list(run)
        runs = _find_neighbours(own, range(len(own)))
        batches += [_read(own, texts)] if texts else [events.slice(start, rows) for events, start, rows, _ in runs]
    return batches[0] if len(batches) == 1 else EventBatch.join(batches)


def _read(parts: Sequence[EventPart], texts: SharedTexts) -> EventBatch:
    """Events on disk in one batch, each body read into its place.

    What stands together in a file is read in one go, whichever parts it belongs to: of a thousand clients a few events
    each are in every batch.
    """
    import numpy as np
    import pyarrow as pa

    sizes = np.array([part.body_bytes for part in parts])
    places = np.cumsum(sizes) - sizes  # of each part's bodies
    out = pa.allocate_buffer(int(sizes.sum()))
    bodies = memoryview(out).cast("B")
    as_stored = sorted(range(len(parts)), key=lambda at: (id(parts[at].batch), parts[at].start))
    chosen: dict[int, tuple[SpooledEvents, list[NDArray[np.int64]]]] = {}  # by the batch on disk
    for events, start, length, ats in _find_neighbours(parts, as_stored):
        assert isinstance(events, SpooledEvents)  # noqa: S101  mypy
        events.read_bodies(start, length, [bodies[places[at] : places[at] + sizes[at]] for at in ats])
        chosen.setdefault(id(events), (events, []))[1].append(np.arange(start, start + length))
    rests, lengths = zip(*(own.take_rest(np.concatenate(rows)) for own, rows in chosen.values()), strict=True)
    rest, lengths_of = pa.concat_batches(rests), np.concatenate(lengths)
    if as_stored != list(range(len(parts))):
        rows = np.array([part.rows for part in parts])
        starts = np.empty(len(parts), np.int64)  # of each part, among the events as they are stored
        starts[as_stored] = np.cumsum(rows[as_stored]) - rows[as_stored]
        order = np.repeat(starts - (np.cumsum(rows) - rows), rows) + np.arange(rows.sum())
        rest, lengths_of = rest.take(pa.array(order)), lengths_of[order]
    offsets = np.concatenate([[0], np.cumsum(lengths_of)]).astype(np.int32)
    column = pa.Array.from_buffers(pa.binary(), len(rest), [None, pa.py_buffer(offsets), out], 0)
    return EventBatch(pa.RecordBatch.from_arrays([*texts.put_back(rest), column], schema=texts.schema))


def _find_neighbours(
    parts: Sequence[EventPart], order: Sequence[int]
) -> Iterator[tuple[EventBatch | SpooledEvents, int, int, list[int]]]:
    """Runs of events that stand together: in what, from where on, how many, and the parts that they are."""
    run: list[int] = []
    for at in [*order, None]:
        if run:
            first, last = parts[run[0]], parts[run[-1]]
            end = last.start + last.rows
            if at is None or parts[at].batch is not first.batch or parts[at].start != end:
                yield first.batch, first.start, end - first.start, run
                run = []
        if at is not None:
            run.append(at)


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

    def put_back(self, rest: pa.RecordBatch) -> list[pa.Array]:
        """The columns, with texts again."""
        known = [self._known.get(name) for name in rest.schema.names]
        return [
            column if texts is None else texts.texts.take(column)
            for texts, column in zip(known, rest.columns, strict=True)
        ]

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
