"""What became of one event: by its id, or by the row that it came from.

The ledger knows the last request that had it, for each pixel; staged files, rejects and undelivered events say what a
run did with its row, for as long as they are kept. A row leads to its event through those files, or through the source,
which is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.errors import UsageError
from offline_capi.events.keys import event_key_of
from offline_capi.ledger.lookup import EventDelivery, find_deliveries, find_oldest_request
from offline_capi.model import HashedRows
from offline_capi.model.recipients import client_of
from offline_capi.pipeline import Services
from offline_capi.pipeline.rereading import (
    PastRead,
    UnreadSource,
    event_names,
    past_reads,
    pixels_sent_for,
    reread_each,
)

__all__ = ["EventTrace", "TracedDelivery", "TracedRow", "event_ids_of_row", "trace_event"]


@dataclass(frozen=True, slots=True)
class TracedDelivery:
    """The last request that an event went out in, to one pixel, under one name; ``window`` is that of its run."""

    event_name: str
    window: str | None
    delivery: EventDelivery

    def to_json(self) -> dict[str, Any]:
        return {"event_name": self.event_name, "window": self.window, **self.delivery.to_json()}


@dataclass(frozen=True, slots=True)
class TracedRow:
    """What a file of a run says of the event: where its row stands, and its fate where it was not sent.

    ``fate`` is ``None`` for a staged event, which the run was to send.
    """

    run_id: str
    file: str
    origin: str
    row: int
    client: str | None
    day: str | None
    fate: str | None
    reason: str | None
    field: str | None

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class EventTrace:
    """Everything that is known of one event; ``remembered_since`` is how far back the ledger goes."""

    event_id: str
    deliveries: list[TracedDelivery] = field(default_factory=list)
    rows: list[TracedRow] = field(default_factory=list)
    remembered_since: datetime | None = None

    @property
    def known(self) -> bool:
        return bool(self.deliveries or self.rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "event_id": self.event_id,
            "known": self.known,
            "deliveries": [one.to_json() for one in self.deliveries],
            "rows": [one.to_json() for one in self.rows],
            "remembered_since": self.remembered_since.isoformat() if self.remembered_since else None,
        }


def trace_event(
    event_id: str, services: Services, *, clients: Collection[str] = (), names: Collection[str] = ()
) -> EventTrace:
    """Look for an event of any client, or of these, under every name that the YAML or a run knows, and ``names``."""
    wanted = pixels_sent_for(services)
    pixels = {pixel for name, own in wanted.items() if not clients or name in clients for pixel in own}
    every_name = {*names, *event_names(services)}
    keys = {event_key_of(pixel, name, event_id): name for pixel in pixels for name in every_name}
    windows = {run.id: str(run.window) for run in services.ledger.runs.list_past()}
    found = sorted(find_deliveries(services.ledger, list(keys)), key=lambda one: one.request_id)
    rows = (_traced(*found) for found in _found_in_files(services, lambda rows: pc.equal(rows["event_id"], event_id)))
    return EventTrace(
        event_id,
        [TracedDelivery(keys[one.key], windows.get(one.run_id), one) for one in found],
        [row for row in rows if not clients or client_of(row.client or "") in clients],
        find_oldest_request(services.ledger),
    )


def event_ids_of_row(
    row: int, services: Services, *, origin: str | None = None, run_id: str | None = None
) -> tuple[list[str], list[UnreadSource]]:
    """The ids of the events that row ``row`` of a file, or of a run's query, became; and what could not be read.

    ``origin`` is the file as reports name it, or its end. What runs staged is looked at first; then the sources are
    read again.
    """
    if origin is None and run_id is None:
        raise UsageError("a row of a query has a number within its run alone: give --run as well, or --row FILE:ROW")
    past = [services.ledger.runs.get(run_id)] if run_id else services.ledger.runs.list_past()

    def matches(rows: pa.RecordBatch) -> pa.BooleanArray:
        named = pc.ends_with(rows["origin"], origin) if origin else pa.repeat(pa.scalar(True), rows.num_rows)
        return pc.and_(pc.equal(rows["row"], row), named)

    hits = (hit for of_run, _, hit in _found_in_files(services, matches) if run_id in (None, of_run))
    ids = {str(hit["event_id"]): None for hit in hits if hit["event_id"] is not None}
    if ids:
        return list(ids), []

    def look(_: PastRead, rows: HashedRows) -> None:
        if "event_id" in rows.event and (origin is None or rows.origin.endswith(origin)):
            chosen = rows.event["event_id"].filter(pc.equal(rows.row, row))
            ids.update(dict.fromkeys(str(one) for one in chosen.to_pylist() if one is not None))

    reads, unread = past_reads(past, services)
    unread += reread_each(reads, services, look)
    return list(ids), unread


def _found_in_files(
    services: Services, matches: Callable[[pa.RecordBatch], Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The rows of staged files, rejects and undelivered events that match: run, name of the file, columns."""
    for path in services.stage.list_files():
        folder, file = path.rsplit("/", 2)[1:]
        for rows in services.stage.read_batches(path):
            hits = rows.filter(matches(rows))
            wanted = [name for name in hits.schema.names if name != "body"]
            yield from ((unquote(folder), file, hit) for hit in hits.select(wanted).to_pylist())


def _traced(run_id: str, file: str, hit: Mapping[str, Any]) -> TracedRow:
    day = hit["day"].isoformat() if hit["day"] else None
    fate, reason, where = (hit.get(name) for name in ("fate", "reason", "field"))
    return TracedRow(run_id, file, hit["origin"], hit["row"], hit["client"], day, fate, reason, where)
