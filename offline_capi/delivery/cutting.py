"""Events → requests: one client and pixel each, bounded by count and by bytes, full across batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.model import EventBatch, Request

__all__ = ["MAX_PENDING", "cut_requests"]

#: Events kept back for a fuller request, over all clients; the oldest go out first when there are more.
MAX_PENDING = 200_000

#: Bytes that JSON needs around the events: brackets, partner_agent, test_event_code; one more an event for its comma.
ENVELOPE = 512

_Key = tuple[str, str]


def cut_requests(
    batches: Iterable[EventBatch], *, max_events: int, max_bytes: int, max_pending: int = MAX_PENDING
) -> Iterator[Request]:
    """Cut events into requests of at most ``max_events`` and ``max_bytes``, none mixed from two clients or pixels.

    Order is kept within a client. What does not fill a request waits for the next batch, ``max_pending`` events at
    most; an event larger than ``max_bytes`` goes alone. The requests carry no id yet: the ledger gives one.
    """
    pending: dict[_Key, EventBatch] = {}
    for batch in batches:
        for key, events in _by_client(batch):
            *full, rest = _filled(pending.pop(key, None), events, max_events, max_bytes)
            yield from (Request("", *key, piece) for piece in full)
            if len(rest):
                pending[key] = rest
        while sum(map(len, pending.values())) > max_pending:
            oldest = next(iter(pending))
            yield Request("", *oldest, pending.pop(oldest))
    yield from (Request("", *key, rest) for key, rest in pending.items())


def _filled(waiting: EventBatch | None, events: EventBatch, max_events: int, max_bytes: int) -> Iterator[EventBatch]:
    """Full pieces and what is left, in order. Only the piece that bridges two batches is copied."""
    while waiting is not None and len(events):
        room = max_events - len(waiting)
        if not room:
            yield waiting
            waiting = None
            continue
        *full, waiting = _pieces(_joined(waiting, events.slice(0, room)), max_events, max_bytes)
        events = events.slice(room, len(events))
        yield from full
    yield from _pieces(events, max_events, max_bytes) if waiting is None else (waiting,)


def _by_client(batch: EventBatch) -> Iterator[tuple[_Key, EventBatch]]:
    """The batch apart by client and pixel, in the order in which they first appear."""
    if not len(batch):
        return
    clients, pixels = (batch.table.column(name).dictionary_encode() for name in ("client", "pixel"))
    pairs = clients.indices.to_numpy().astype(np.int64) << 32 | pixels.indices.to_numpy()
    distinct, firsts = np.unique(pairs, return_index=True)
    for pair in distinct[np.argsort(firsts)]:
        key = clients.dictionary[int(pair) >> 32].as_py(), pixels.dictionary[int(pair) & 0xFFFFFFFF].as_py()
        yield key, batch if len(distinct) == 1 else batch.filter(pa.array(pairs == pair))


def _pieces(events: EventBatch, max_events: int, max_bytes: int) -> list[EventBatch]:
    """Greedy cuts; the last piece may be short of both limits."""
    if not len(events):
        return [events]
    ends = np.cumsum(pc.binary_length(events.table.column("body")).to_numpy() + 1)
    pieces, start, budget = [], 0, max_bytes - ENVELOPE
    while len(events) - start > max_events or ends[-1] - (ends[start - 1] if start else 0) > budget:
        used = ends[start - 1] if start else 0
        fits = int(np.searchsorted(ends, used + budget, side="right")) - start
        size = max(1, min(max_events, fits))
        pieces.append(events.slice(start, size))
        start += size
        if start == len(events):
            break
    return [*pieces, events.slice(start, len(events) - start)]


def _joined(first: EventBatch, second: EventBatch) -> EventBatch:
    return EventBatch(pa.concat_batches([first.table, second.table]))
