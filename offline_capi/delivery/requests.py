"""Events → requests: one client and pixel each, bounded by count and by bytes, full across batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

import numpy as np
import pyarrow.compute as pc

from offline_capi.meta.limits import ENVELOPE_BYTES
from offline_capi.model import MAX_IN_MEMORY_PARTS, EventBatch, EventPart, Request, Spool, join_event_parts
from offline_capi.runtime.prefetch import prefetch_batches

__all__ = ["MAX_PENDING_EVENTS", "OnCut", "cut_requests"]

#: What is begun of a request as soon as it is cut; the request to go on with.
OnCut = Callable[[Request], Request]

#: Events of all clients that may come before one that waits for a fuller request goes out without it. As many may wait
#: where the rows of many clients are mixed: 600 MB on disk and 70 in memory, and full requests of 1,000 clients.
MAX_PENDING_EVENTS = 1_000_000

#: One of many clients whose events come from more batches than so many is not cut when its request is full, but with
#: the others when their time has come: by itself it would be read from as many places.
MAX_BATCHES_CUT_AT_ONCE = 8
#: Events that may wait in memory; those that come to more are put on disk.
MAX_ROWS_IN_MEMORY = 65_536
#: Events that have waited and are read at once, some 5 MB: requests that wait for their turn may keep eight times it.
MAX_ROWS_CUT_TOGETHER = 8_192


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
    batches: Iterable[EventBatch],
    *,
    max_events: int,
    max_bytes: int,
    max_pending: int = MAX_PENDING_EVENTS,
    on_cut: OnCut = lambda request: request,
) -> Generator[Request]:
    """Cut events into requests of at most ``max_events`` and ``max_bytes``, none mixed from two clients or pixels.

    They come as soon as they are full, or once ``max_pending`` events have come after the first that waits, if those of
    many clients are mixed. What does not fill a request waits as long. Order is kept within a client; an event larger
    than ``max_bytes`` goes alone. The requests carry no id yet: the ledger gives one. ``on_cut`` gets each request
    before those that are cut with it are taken, perhaps in another thread, and returns it.
    """
    waiting: dict[tuple[str, str], _PendingRequest] = {}  # longest waiting first
    events_seen, spool, budget = 0, Spool(), max_bytes - ENVELOPE_BYTES
    for batch in batches:
        came = list[_PendingRequest]()
        for (client, pixel), part in batch.partition_by("client", "pixel"):
            own = waiting.get((client, pixel)) or _PendingRequest(client, pixel, since=events_seen)
            fits = own.rows + part.rows < max_events and own.bytes + part.body_bytes + part.rows < budget
            scattered = len(waiting) > MAX_IN_MEMORY_PARTS and len(own.parts) >= MAX_BATCHES_CUT_AT_ONCE
            if fits or (scattered and part.rows < max_events):
                own.add(part)
            else:
                cut = [*_fill(own, part, max_events, budget)]
                yield from [on_cut(_make_request(client, pixel, piece)) for piece in cut]
                waiting.pop((client, pixel), None)
                own.since = events_seen
            if own.rows:
                waiting[client, pixel] = own
                came.append(own)
        _detach(came, waiting.values(), spool)
        events_seen += len(batch)
        overdue = _pop_overdue(waiting, events_seen - max_pending)
        for requests, left in _cut_ahead(overdue, max_events, budget, on_cut, last=False):
            yield from requests
            for own in left:
                own.since = events_seen
                waiting[own.client, own.pixel] = own
            _detach(left, waiting.values(), spool)
    for requests, _ in _cut_ahead([*waiting.values()], max_events, budget, on_cut, last=True):
        yield from requests


def _pop_overdue(waiting: dict[tuple[str, str], _PendingRequest], since: int) -> list[_PendingRequest]:
    """Remove and return what has waited since before ``since``."""
    overdue = [*takewhile(lambda own: own.since < since, waiting.values())]
    for own in overdue:
        del waiting[own.client, own.pixel]
    return overdue


def _cut_ahead(
    several: list[_PendingRequest], max_events: int, budget: int, on_cut: OnCut, *, last: bool
) -> Iterator[tuple[list[Request], list[_PendingRequest]]]:
    """The requests of some at a time, and those of which events still wait; many are read from disk in advance."""
    cut = (_cut_group(group, max_events, budget, on_cut, last=last) for group in _group_by_name(several))
    return prefetch_batches(cut, depth=0) if len(several) > MAX_IN_MEMORY_PARTS else cut


def _group_by_name(several: Iterable[_PendingRequest]) -> Iterator[list[_PendingRequest]]:
    """As many as are read together, in the order of their names, as batches of many clients have them."""
    group, rows = list[_PendingRequest](), 0
    for own in sorted(several, key=lambda own: (own.client, own.pixel)):
        if group and rows + own.rows > MAX_ROWS_CUT_TOGETHER:
            yield group
            group, rows = [], 0
        group.append(own)
        rows += own.rows
    if group:
        yield group


def _cut_group(
    group: Sequence[_PendingRequest], max_events: int, budget: int, on_cut: OnCut, *, last: bool
) -> tuple[list[Request], list[_PendingRequest]]:
    """The requests of all, cut from one batch: what is worked out for it is worked out once for all of them.

    What is short of a request goes out too where it is all there is, or the ``last``; it waits otherwise.
    """
    requests, sizes = list[Request](), [own.rows for own in group]
    whole = join_event_parts([part for own in group for part in own.release()])
    for own, start, rows in zip(group, accumulate(sizes, initial=0), sizes, strict=False):
        *pieces, rest = _cut_pieces(whole.slice(start, rows), max_events, budget)
        if len(rest) and (last or not pieces):
            pieces.append(rest)
        else:
            own.add(EventPart.whole(rest))
        requests += [on_cut(_make_request(own.client, own.pixel, piece)) for piece in pieces]
    return requests, [own for own in group if own.rows]


def _make_request(client: str, pixel: str, events: EventBatch) -> Request:
    events.remember_common("client", client)
    events.remember_common("pixel", pixel)
    return Request("", client, pixel, events)


def _detach(came: Sequence[_PendingRequest], waiting: Iterable[_PendingRequest], spool: Spool) -> None:
    """What waits of a batch, without it: a few rows must not keep the whole batch in memory."""
    parts = [own.parts[-1] for own in came]
    if len(came) > MAX_IN_MEMORY_PARTS or sum(own.rows for own in waiting) >= MAX_ROWS_IN_MEMORY:
        parts = spool.put_parts(parts) if parts else []
    else:
        parts = [EventPart.whole(part.events.copy()) for part in parts]
    for own, part in zip(came, parts, strict=True):
        own.parts[-1] = part


def _fill(waiting: _PendingRequest, part: EventPart, max_events: int, budget: int) -> Iterator[EventBatch]:
    """Full pieces, in order; the rest waits."""
    events = part.events
    while waiting.rows and len(events):
        room = max(1, max_events - waiting.rows)
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
