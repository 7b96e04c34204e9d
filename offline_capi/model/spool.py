"""Events that wait for others of their client: their bodies on disk, all else in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from offline_capi.model.batch import EventBatch, EventPart, get_ends

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Spool", "SpooledEvents", "join_event_parts"]

#: A file takes no more bodies from this size on: its space is free again when the last of its events has been read.
MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SpooledEvents:
    """Events without their bodies, and where in a file these are: ``ends`` has one position more than there are events.

    Read, not mapped: each read of a mapped page maps 15 pages around it, so that what is read of a thousand clients,
    a few events at a time, soon takes as much memory as all of it.
    """

    rest: pa.RecordBatch
    ends: NDArray[np.int64]
    file: IO[bytes]

    def __len__(self) -> int:
        return int(self.rest.num_rows)

    @property
    def body_bytes(self) -> int:
        return int(self.ends[-1] - self.ends[0])

    def slice(self, start: int, length: int) -> EventBatch:
        """Read these events, into memory of their own. Raises ``OSError`` where the file cannot be read."""
        return _read([(self, start, length)])


def join_event_parts(parts: Sequence[EventPart]) -> EventBatch:
    """The events of all parts in one batch, copied; there has to be one part at least."""
    spooled = [(part.batch, part.start, part.rows) for part in parts if isinstance(part.batch, SpooledEvents)]
    return _read(spooled) if len(spooled) == len(parts) else EventBatch.join(part.events for part in parts)


def _read(wanted: Sequence[tuple[SpooledEvents, int, int]]) -> EventBatch:
    """Events of one or several files, by start and length, with their bodies in one piece of memory."""
    import numpy as np
    import pyarrow as pa

    ends = [events.ends[start : start + length + 1] for events, start, length in wanted]
    spans = [(int(own[0]), int(own[-1])) for own in ends]
    bodies = memoryview(bytearray(sum(last - first for first, last in spans)))
    offsets, filled = [np.zeros(1, np.int64)], 0
    for (events, _, _), own, (first, last) in zip(wanted, ends, spans, strict=True):
        size = last - first
        read = os.preadv(events.file.fileno(), [bodies[filled : filled + size]], first) if size else 0
        if read != size:
            raise OSError(f"a temporary file ends {size - read} bytes too early")
        offsets.append(own[1:] + (filled - first))
        filled += size
    rest = pa.concat_batches([events.rest.slice(start, length) for events, start, length in wanted])
    ended = np.concatenate(offsets).astype(np.int32)
    column = pa.Array.from_buffers(pa.binary(), len(rest), [None, pa.py_buffer(ended), pa.py_buffer(bodies)], 0)
    return EventBatch(rest.append_column(pa.field("body", pa.binary(), nullable=False), column))


class Spool:
    """Files in which bodies wait, one after the other. They have no names and end with the last event in them."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._size = 0

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
        spooled = SpooledEvents(table.drop_columns(["body"]), ends - ends[0] + self._size, self._file)
        self._size += written
        return spooled


def _open_file() -> IO[bytes]:
    from tempfile import TemporaryFile

    return TemporaryFile(prefix="offline_capi-", buffering=0)
