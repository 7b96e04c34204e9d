"""Events that wait for others of their client: their bodies on disk, all else in memory, 80 bytes an event."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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

    Texts that many events have in common (client, pixel, name) are numbers in ``rest``, the same in all of a spool.

    Read, not mapped: each read of a mapped page maps 15 pages around it, so that what is read of a thousand clients,
    a few events at a time, soon takes as much memory as all of it.
    """

    rest: pa.RecordBatch
    ends: NDArray[np.int64]
    file: IO[bytes]
    texts: SharedTexts

    def __len__(self) -> int:
        return int(self.rest.num_rows)

    @property
    def body_bytes(self) -> int:
        return int(self.ends[-1] - self.ends[0])

    def slice(self, start: int, length: int) -> EventBatch:
        """Read these events, into memory of their own. Raises ``OSError`` where the file cannot be read."""
        ends = self.ends[start : start + length + 1]
        return _read([EventPart(self, start, len(ends) - 1, int(ends[-1] - ends[0]))], self.texts)


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
    rests, lengths = [], []
    for _, runs in groupby(_find_neighbours(parts, as_stored), key=lambda run: id(run[0])):
        rows: list[NDArray[np.int64]] = []
        for events, start, length, ats in runs:
            assert isinstance(events, SpooledEvents)  # noqa: S101  mypy
            pieces = [bodies[places[at] : places[at] + sizes[at]] for at in ats]
            end, expected = int(events.ends[start]), int(events.ends[start + length])
            for first in range(0, len(pieces), MAX_PIECES_PER_READ):
                end += os.preadv(events.file.fileno(), pieces[first : first + MAX_PIECES_PER_READ], end)
            if end != expected:
                raise OSError(f"a temporary file ends {expected - end} bytes too early")
            rows.append(np.arange(start, start + length))
        chosen = np.concatenate(rows)
        in_one = len(rows) == 1
        rests.append(events.rest.slice(start, length) if in_one else events.rest.take(pa.array(chosen)))
        lengths.append(events.ends[chosen + 1] - events.ends[chosen])
    rest, lengths_of = pa.concat_batches(rests), np.concatenate(lengths)
    if as_stored != list(range(len(parts))):
        rows = np.array([part.rows for part in parts])
        starts = np.empty(len(parts), np.int64)  # of each part, among the events as they are stored
        starts[as_stored] = np.cumsum(rows[as_stored]) - rows[as_stored]
        order = np.repeat(starts - (np.cumsum(rows) - rows), rows) + np.arange(rows.sum())
        rest, lengths_of = rest.take(pa.array(order)), lengths_of[order]
    offsets = np.concatenate([[0], np.cumsum(lengths_of)]).astype(np.int32)
    column = pa.Array.from_buffers(pa.binary(), len(rest), [None, pa.py_buffer(offsets), out], 0)
    return EventBatch(texts.put_back(rest).append_column(pa.field("body", pa.binary(), nullable=False), column))


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
    """Columns of texts that many events share, as numbers, the same for all batches: 4 bytes instead of some twenty."""

    def __init__(self) -> None:
        self._known: dict[str, TextIndex] = {}

    def take_out(self, rest: pa.RecordBatch) -> pa.RecordBatch:
        """The same in memory of its own, with numbers instead of texts: a slice would keep all of its batch."""
        import numpy as np
        import pyarrow as pa

        every = pa.array(np.arange(len(rest)))
        columns = [
            self._number(field.name, column)
            if field.type == pa.string() and field.name not in OWN_TEXTS
            else column.take(every)
            for field, column in zip(rest.schema, rest.columns, strict=True)
        ]
        return _replace_columns(rest, columns)

    def put_back(self, rest: pa.RecordBatch) -> pa.RecordBatch:
        """The texts again."""
        known = [self._known.get(name) for name in rest.schema.names]
        columns = [
            column if texts is None else texts.texts.take(column)
            for texts, column in zip(known, rest.columns, strict=True)
        ]
        return _replace_columns(rest, columns)

    def _number(self, name: str, column: pa.StringArray) -> pa.Int32Array:
        from offline_capi.runtime.lookup import TextIndex

        known, encoded = self._known.setdefault(name, TextIndex()), column.dictionary_encode()
        places, unknown = known.find(encoded.dictionary)
        if unknown:
            known.add(encoded.dictionary.filter(places.is_null()))
            places, _ = known.find(encoded.dictionary)
        return places.take(encoded.indices)


def _replace_columns(batch: pa.RecordBatch, columns: Sequence[pa.Array]) -> pa.RecordBatch:
    import pyarrow as pa

    fields = [field.with_type(column.type) for field, column in zip(batch.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


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
        ends = get_ends(body).astype(np.int64)
        try:
            if self._file is None or self._size >= MAX_FILE_BYTES:
                self._file, self._size = _open_file(), 0
            written, bodies = 0, events.get_bytes("body")
            while written < len(bodies):
                written += os.pwrite(self._file.fileno(), bodies[written:], self._size + written)
        except OSError:
            self._file = None
            return events
        rest = self._texts.take_out(table.drop_columns(["body"]))
        spooled = SpooledEvents(rest, ends - ends[0] + self._size, self._file, self._texts)
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
