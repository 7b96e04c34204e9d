"""One event for several pixels of its client: a copy for each further one, under a name and a key of its own.

To all that comes after, a copy is an event like any other: it is claimed, sent, repeated and counted for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from offline_capi.config.client import Client, Pixel
from offline_capi.events.facts import counts_of
from offline_capi.events.keys import make_event_keys
from offline_capi.events.schema import EVENT_SCHEMA
from offline_capi.model import BuiltEvents, EventBatch
from offline_capi.model.recipients import make_recipient_name

__all__ = ["copy_for_pixels"]


def copy_for_pixels(built: BuiltEvents, clients: Mapping[str, Client]) -> BuiltEvents:
    """The same rows, with their events once more for each further pixel of their clients."""
    copies = [*_copy_by_place(built.events.table, clients)]
    if not copies:
        return built
    every = EventBatch(pa.concat_batches(copies))
    return replace(built, copies=every, copied=counts_of(every.table.column("client")))


def _copy_by_place(events: pa.RecordBatch, clients: Mapping[str, Client]) -> Iterator[pa.RecordBatch]:
    """The events for their clients' second pixels, then for their third ones, and so on."""
    encoded = events.column("client").dictionary_encode()
    names = encoded.dictionary.to_pylist()
    further = [clients[name].pixel_ids[1:] for name in names]
    for index in range(max(map(len, further), default=0)):
        pixels = [theirs[index] if index < len(theirs) else None for theirs in further]
        yield _copy_events(events, names, pixels, encoded.indices)


def _copy_events(events: pa.RecordBatch, names: list[str], pixels: list[Pixel | None], owners: Any) -> pa.RecordBatch:
    """Those of the events whose client has such a pixel, for that pixel; ``owners`` are indices into ``names``."""
    ids = pa.array([pixel and pixel.id for pixel in pixels], pa.string())
    recipients = pa.array(
        [pixel and make_recipient_name(name, pixel.id) for name, pixel in zip(names, pixels, strict=True)], pa.string()
    )
    theirs = ids.take(owners)
    chosen = theirs.is_valid()
    kept, pixel = events.filter(chosen), theirs.filter(chosen)
    columns = {name: kept.column(name) for name in EVENT_SCHEMA.names} | {
        "client": recipients.take(owners).filter(chosen),
        "pixel": pixel,
        "key": make_event_keys(pixel, kept.column("event_name"), kept.column("event_id")),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA)
