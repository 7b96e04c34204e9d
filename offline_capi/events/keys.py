"""Who an event is: 16 bytes that the ledger keeps, and nothing readable.

The key is the first half of SHA-256 over ``<n>:<pixel><n>:<event_name><event_id>``, where ``n`` is the length in UTF-8
bytes of what follows the colon. The lengths make the join unambiguous for any parts. Pixel and name belong
to it because Meta distinguishes events by ``event_name`` and ``event_id`` within one pixel (D:parameters/server-event).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.events.facts import mask_of
from offline_capi.events.payload import as_text
from offline_capi.events.standard import PHYSICAL_STORE
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import KEY_BYTES, HashedRows
from offline_capi.runtime.column_bytes import bytes_of
from offline_capi.runtime.sha256 import HEX_DIGITS, hash_to_keys

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
    words = _HashedRows(len(rows))
    words.add(*_hash_rows([pixel, rows.event["event_time"], as_text(rows.event["event_name"]), item, order]))
    if order.null_count:  # what is hashed of a row with an order must not depend on its neighbours
        people = words if order.null_count == len(order) else words.copy()
        digests: list[Any] = []
        others: list[Any] = []
        for key, columns in rows.identity.items():
            (digests if USER_DATA_KEYS[key].hashing == "always" else others).extend(map(as_text, columns))
        if others:
            people.add(*_hash_rows(others))
        for column in digests:
            people.add(*_split_digests(column))
        words.use_where(mask_of(order.is_null()), people)
    high, low = (pc.if_else(in_store, pa.array(word), None) for word in words.words)
    return pa.RecordBatch.from_arrays([high, low, order.is_valid()], names=["high", "low", "ordered"])


Words = Sequence[NDArray[np.uint64]]


class _HashedRows:
    """128 bits of each row, made of what was added, in its order."""

    _MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two words become the same one

    def __init__(self, rows: int) -> None:
        self.words = [np.zeros(rows, np.uint64) for _ in range(2)]

    def copy(self) -> _HashedRows:
        other = _HashedRows(0)
        other.words = [word.copy() for word in self.words]
        return other

    def add(self, high: Words, low: Words) -> None:
        """Words of 64 bits of each row, for either half."""
        for word, added in zip(self.words, (high, low), strict=True):
            for one in added:
                word ^= one
                word *= self._MULTIPLIER
                word ^= word >> 32

    def use_where(self, where: NDArray[np.bool_], other: _HashedRows) -> None:
        for word, theirs in zip(self.words, other.words, strict=True):
            np.copyto(word, theirs, where=where)


def _hash_rows(columns: Sequence[Any]) -> tuple[Words, Words]:
    frame = pl.DataFrame({str(index): pl.from_arrow(column) for index, column in enumerate(columns)})
    return [frame.hash_rows(1).to_numpy()], [frame.hash_rows(2).to_numpy()]


def _split_digests(column: pa.StringArray) -> tuple[Words, Words]:
    """The first half of each SHA-256 as it is written, in words: it needs no hashing again. Null is 0.

    What is shorter (a profile may pass an MD5 on) is hashed. A value's words depend on the value alone.
    """
    offsets, content = bytes_of(column)
    long = np.diff(offsets) == HEX_DIGITS
    if column.null_count:
        long &= mask_of(column.is_valid())
    words = np.zeros((len(column), 4), np.uint64)
    if len(content) == len(column) * HEX_DIGITS and long.all():
        words = content.view(np.uint64).reshape(-1, 8)
    elif len(content) == np.count_nonzero(long) * HEX_DIGITS:
        words[long] = content.view(np.uint64).reshape(-1, 8)[:, :4]
    else:
        where = (offsets[:-1][long] - offsets[0])[:, np.newaxis] + np.arange(HEX_DIGITS // 2)
        words[long] = content[where].view(np.uint64)
        short = ~long & mask_of(column.is_valid())
        for at, (hashed,) in zip((0, 2), _hash_rows([column]), strict=True):
            words[short, at] = hashed[short]
    return [words[:, 0], words[:, 1]], [words[:, 2], words[:, 3]]


def _prefix_length(part: Any) -> Any:
    """``<n>:<part>``, worked out once a distinct value: pixels and names are few."""
    encoded = part.dictionary_encode()
    lengths = pc.binary_length(encoded.dictionary).cast(pa.string())
    return pc.binary_join_element_wise(lengths, encoded.dictionary, ":").take(encoded.indices)
