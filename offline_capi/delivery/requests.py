"""Events → requests: one client and pixel each, bounded by count and by bytes, full across batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import pyarrow.compute as pc

from offline_capi.meta.limits import ENVELOPE_BYTES
from offline_capi.model import MAX_IN_MEMORY_PARTS, EventBatch, EventPart, Request, Spool, join_event_parts

__all__ = ["MAX_PENDING_EVENTS", "cut_requests"]

#: Events of all clients that may come before one that waits for a fuller request goes out without it. As many may wait
#: where the rows of many clients are mixed: 400 MB on disk and 90 in memory, and requests of 500 events where there are
#: 1,000 clients.
MAX_PENDING_EVENTS = 500_000

#: Events that may wait in memory; those that come to more are put on disk.
MAX_ROWS_IN_MEMORY = 65_536
#: Events that have waited and are read at once, some 10 MB: as many as a long run builds at a time.
MAX_ROWS_CUT_TOGETHER = 16_384


@dataclass(slots=True)
class _PendingRequest:
    """Events of one client and pixel, short of a full request; ``bytes`` are those of their bodies and commas.

    ``since`` is how many events had come, of all clients, when the first of these did.
    """

    client: str
    pixel: str
    since: int
    parts: list[EventPart] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def add(self, part: EventPart) -> None:
        if part.rows:
            self.parts.append(part)
            self.rows += part.rows
            self.bytes += part.body_bytes + part.rows

    def release(self) -> list[EventPart]:
        """All that waits; nothing does afterwards, and what has been read leaves memory and disk."""
        released, self.parts, self.rows = self.parts, [], 0
        self.bytes = 0
        return released


def cut_requests(
    batches: Iterable[EventBatch], *, max_events: int, max_bytes: int, max_pending: int = MAX_PENDING_EVENTS
) -> Iterator[list[Request]]:
    """Cut events into requests of at most ``max_events`` and ``max_bytes``, none mixed from two clients or pixels.

    They come as soon as they are full, in lists of what is cut at once.
    Order is kept within a client. What does not fill a request waits, until ``max_pending`` events have come after it;
    an event larger than ``max_bytes`` goes alone. The requests carry no id yet: the ledger gives one.
    """
    waiting: dict[tuple[str, str], _PendingRequest] = {}  # longest waiting first
    events_seen, spool = 0, Spool()
    for batch in batches:
        came = list[_PendingRequest]()
        for (client, pixel), part in batch.partition_by("client", "pixel"):
            own = waiting.get((client, pixel)) or _PendingRequest(client, pixel, since=events_seen)
            full = [*_fill(own, part, max_events, max_bytes - ENVELOPE_BYTES)]
            if full:
                yield [Request("", client, pixel, piece) for piece in full]
                waiting.pop((client, pixel), None)
                own.since = events_seen
            if own.rows:
                waiting[client, pixel] = own
                came.append(own)
        _detach(came, sum(own.rows for own in waiting.values()), spool)
        events_seen += len(batch)
        yield from _cut_together([*_pop_overdue(waiting, events_seen - max_pending)])
    yield from _cut_together(waiting.values())


def _pop_overdue(waiting: dict[tuple[str, str], _PendingRequest], since: int) -> Iterator[_PendingRequest]:
    """Remove and return what has waited since before ``since``."""
    while waiting and next(iter(waiting.values())).since < since:
        yield waiting.pop(next(iter(waiting)))


def _cut_together(overdue: Iterable[_PendingRequest]) -> Iterator[list[Request]]:
    """A request of each, many cut from one batch: what is worked out for it is worked out once for all of them.

    Batches of many clients have these in the order of their names. So have the requests: of each batch, what several
    of them need stands together.
    """
    group, rows = list[_PendingRequest](), 0
    for own in sorted(overdue, key=lambda own: (own.client, own.pixel)):
        if group and rows + own.rows > MAX_ROWS_CUT_TOGETHER:
            yield _cut_group(group)
            group, rows = [], 0
        group.append(own)
        rows += own.rows
    if group:
        yield _cut_group(group)


def _cut_group(group: Sequence[_PendingRequest]) -> list[Request]:
    sizes = [own.rows for own in group]
    whole = join_event_parts([part for own in group for part in own.release()])
    return [
        Request("", own.client, own.pixel, whole.slice(start, rows))
        for own, start, rows in zip(group, accumulate(sizes, initial=0), sizes, strict=False)
    ]


def _detach(came: Sequence[_PendingRequest], rows: int, spool: Spool) -> None:
    """What waits of a batch, without it: a few rows must not keep the whole batch in memory."""
    waiting = [own.parts[-1] for own in came]
    if len(came) > MAX_IN_MEMORY_PARTS:
        parts = spool.put_parts(waiting)
    else:
        move = EventBatch.copy if rows < MAX_ROWS_IN_MEMORY else spool.put
        parts = [EventPart.whole(move(part.events)) for part in waiting]
    for own, part in zip(came, parts, strict=True):
        own.parts[-1] = part


def _fill(waiting: _PendingRequest, part: EventPart, max_events: int, budget: int) -> Iterator[EventBatch]:
    """Full pieces, in order; the rest waits."""
    if waiting.rows + part.rows < max_events and waiting.bytes + part.body_bytes + part.rows < budget:
        waiting.add(part)
        return
    events = part.events
    while waiting.rows and len(events):
        room = max_events - waiting.rows
        waiting.add(EventPart.whole(events.slice(0, room)))
        events = events.slice(room, len(events))
        *full, rest = _cut_pieces(join_event_parts(waiting.release()), max_events, budget)
        waiting.add(EventPart.whole(rest))
        yield from full
    *full, rest = _cut_pieces(events, max_events, budget)
    waiting.add(EventPart.whole(rest))
    yield from full


def _cut_pieces(events: EventBatch, max_events: int, budget: int) -> list[EventBatch]:
    """Greedy cuts; the last piece is short of both limits, and may be empty."""
    ends = np.cumsum(pc.binary_length(events.table.column("body")).to_numpy() + 1)
    pieces, start, used = [], 0, 0
    while len(events) - start >= max_events or (start < len(events) and ends[-1] - used >= budget):
        fits = int(np.searchsorted(ends, used + budget, side="right")) - start
        size = max(1, min(max_events, fits))
        pieces.append(events.slice(start, size))
        start += size
        used = ends[start - 1]
    return [*pieces, events.slice(start, len(events) - start)]
