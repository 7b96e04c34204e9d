"""How old an event may be when it leaves: Meta refuses a whole request for one event that is older."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.config.client import Client
from offline_capi.events.standard import PHYSICAL_STORE
from offline_capi.meta.limits import MAX_EVENT_AGE
from offline_capi.model import EventBatch
from offline_capi.runtime.column_bytes import encode_distinct

__all__ = ["compute_max_ages", "split_by_age"]


def compute_max_ages(action_source: Any, client: Any, clients: Mapping[str, Client]) -> NDArray[np.float64]:
    """Seconds per row: Meta's seven days, or the client's limit for physical_store; NaN for unknown clients."""
    general = np.full(len(client), MAX_EVENT_AGE.total_seconds())
    in_store = pc.fill_null(pc.equal(action_source, PHYSICAL_STORE), False)
    if not in_store.true_count:
        return general
    names = encode_distinct(client)
    stores = [clients.get(name) for name in names.dictionary.to_pylist()]
    limits = np.array([one.physical_store_max_age.total_seconds() if one else np.nan for one in [*stores, None]])
    own = limits[pc.fill_null(names.indices, len(stores)).to_numpy()]
    return np.where(in_store.to_numpy(zero_copy_only=False), own, general)


def _find_least_max_age(events: EventBatch, clients: Mapping[str, Client]) -> timedelta:
    common = events.find_common("client")
    names = events.table.column("client").unique().to_pylist() if common is None else [common]
    return min([MAX_EVENT_AGE, *(clients[name].physical_store_max_age for name in names if name in clients)])


def split_by_age(
    events: EventBatch, *, clients: Mapping[str, Client], now: datetime, margin: timedelta
) -> tuple[EventBatch, EventBatch]:
    """Events that will still be fresh ``margin`` after ``now``, and those that have expired since they were built.

    For what waited, in a stage or behind a slow upload. Events of clients that are no longer known stay with the first.
    """
    table, nothing = events.table, events.slice(0, 0)
    earliest = events.find_earliest()
    least = _find_least_max_age(events, clients) - margin
    if earliest is None or now.timestamp() - earliest <= least.total_seconds():  # nearly always
        return events, nothing
    greatest = compute_max_ages(table.column("action_source"), table.column("client"), clients)
    expired = now.timestamp() - table.column("event_time").to_numpy() > greatest - margin.total_seconds()
    if not expired.any():
        return events, nothing
    return events.filter(pa.array(~expired)), events.filter(pa.array(expired))
