"""Who an event is: 16 bytes that the ledger keeps, and nothing readable.

The key is the first half of SHA-256 over ``<n>:<pixel><n>:<event_name><event_id>``, where ``n`` is the length in UTF-8
bytes of what follows the colon. The lengths make the join unambiguous for any parts. Pixel and name belong
to it because Meta distinguishes events by ``event_name`` and ``event_id`` within one pixel (D:parameters/server-event).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.events.payload import as_text
from offline_capi.events.standard import PHYSICAL_STORE
from offline_capi.model import KEY_BYTES, HashedRows
from offline_capi.runtime.sha256 import hash_to_keys

__all__ = ["make_event_key", "make_event_keys", "store_keys"]


def make_event_key(pixel: str, event_name: str, event_id: str) -> bytes:
    """The key of one event, equal to what ``make_event_keys`` gives for a row that holds the same three strings."""
    joined = b"".join(b"%d:%b" % (len(part), part) for part in (pixel.encode(), event_name.encode()))
    return hashlib.sha256(joined + event_id.encode()).digest()[:KEY_BYTES]


def make_event_keys(pixel: Any, event_name: Any, event_id: Any) -> Any:
    """The keys of many events: three string arrays in, ``fixed_size_binary(16)`` out, null where a part is null."""
    return hash_to_keys(pc.binary_join_element_wise(_prefix_length(pixel), _prefix_length(event_name), event_id, ""))


def store_keys(rows: HashedRows, pixel: Any) -> Any:
    """By what Meta distinguishes events of stores, where it is not the event id (D:offline-events; meta-capi.md 4).

    Pixel, second, name and item number, with the order id where there is one, else with everything that says who it
    was. A batch aligned with the rows: ``high`` and ``low`` (uint64, 128 bits, valid within this process; null for
    events of other sources) and ``ordered`` (whether the order id is among them). ``None`` where no row is of a store.
    """
    in_store = pc.fill_null(pc.equal(as_text(rows.event["action_source"]), PHYSICAL_STORE), False)
    if not in_store.true_count:
        return None
    nothing = pa.nulls(len(rows), pa.string())
    order, item = (as_text(rows.custom.get(name, nothing)) for name in ("order_id", "item_number"))
    parts = [pixel, rows.event["event_time"], as_text(rows.event["event_name"]), item, order]
    words = _hash_rows(parts)
    if order.null_count:  # apart: what is hashed of a row with an order must not depend on its neighbours
        people = [as_text(one) for columns in rows.identity.values() for one in columns]
        words = [pc.if_else(order.is_valid(), *both) for both in zip(words, _hash_rows([*parts, *people]), strict=True)]
    high, low = (pc.if_else(in_store, word, None) for word in words)
    return pa.RecordBatch.from_arrays([high, low, order.is_valid()], names=["high", "low", "ordered"])


def _hash_rows(columns: Sequence[Any]) -> list[Any]:
    frame = pl.DataFrame({str(index): pl.from_arrow(column) for index, column in enumerate(columns)})
    return [frame.hash_rows(seed).to_arrow() for seed in (1, 2)]


def _prefix_length(part: Any) -> Any:
    """``<n>:<part>``, worked out once a distinct value: pixels and names are few."""
    encoded = part.dictionary_encode()
    lengths = pc.binary_length(encoded.dictionary).cast(pa.string())
    return pc.binary_join_element_wise(lengths, encoded.dictionary, ":").take(encoded.indices)
