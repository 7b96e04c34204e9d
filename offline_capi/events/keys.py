"""Who an event is: 16 bytes that the ledger keeps, and nothing readable.

The key is the first half of SHA-256 over ``<n>:<pixel><n>:<event_name><event_id>``, where ``n`` is the length in UTF-8
bytes of what follows the colon. The lengths make the join unambiguous for any parts. Pixel and name belong
to it because Meta distinguishes events by ``event_name`` and ``event_id`` within one pixel (D:parameters/server-event).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.events.facts import Mask, mask_of
from offline_capi.events.payload import as_text
from offline_capi.events.standard import PHYSICAL_STORE
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import KEY_BYTES, HashedRows
from offline_capi.runtime.column_bytes import bytes_of, encode_distinct
from offline_capi.runtime.join import join_columns
from offline_capi.runtime.sha256 import HEX_DIGITS, hash_to_keys

__all__ = ["make_event_key", "make_event_keys", "store_keys"]


def make_event_key(pixel: str, event_name: str, event_id: str) -> bytes:
    """The key of one event, equal to what ``make_event_keys`` gives for a row that holds the same three strings."""
    joined = b"".join(b"%d:%b" % (len(part), part) for part in (pixel.encode(), event_name.encode()))
    return hashlib.sha256(joined + event_id.encode()).digest()[:KEY_BYTES]


def make_event_keys(pixel: Any, event_name: Any, event_id: Any) -> Any:
    """The keys of many events: three string arrays in, ``fixed_size_binary(16)`` out, null where a part is null.

    ``pixel`` may be encoded by its distinct values.
    """
    return hash_to_keys(join_columns(_prefix_length(pixel), _prefix_length(event_name), event_id))


def store_keys(rows: HashedRows, pixel: Any, identity: Mapping[str, Sequence[Any]], chosen: NDArray[np.int32]) -> Any:
    """By what Meta distinguishes events of stores, where it is not the event id (D:offline-events; meta-capi.md 4).

    Pixel, second, name and item number, with the order id where there is one, else with everything that says who it
    was: the columns of ``identity``, which have more rows, those of ``rows`` at ``chosen``. A batch aligned with the
    rows: ``high`` and ``low`` (uint64, 128 bits, valid within this process; null for events of other sources) and
    ``ordered`` (whether the order id is among them). ``None`` where no row is of a store.
    """
    in_store = pc.fill_null(pc.equal(as_text(rows.event["action_source"]), PHYSICAL_STORE), False)
    if not in_store.true_count:
        return None
    nothing = pa.nulls(len(rows), pa.string())
    order, item = (as_text(rows.custom.get(name, nothing)) for name in ("order_id", "item_number"))
    words = _RowHashes([np.zeros(len(rows), np.uint64) for _ in range(2)])
    words.add(_hash_distinct(pixel))
    words.add(_hash_distinct(as_text(rows.event["event_name"])))
    words.add(_split_numbers(rows.event["event_time"]))
    words.add(_hash_values(item))
    words.add(_hash_values(order))
    if order.null_count:  # what is hashed of a row with an order must not depend on its neighbours
        people = words if order.null_count == len(order) else words.copy()
        for key, columns in identity.items():
            split = _split_digests if USER_DATA_KEYS[key].hashing == "always" else _hash_values
            for column in columns:
                people.add(split(as_text(column))[chosen])
        words.use_where(mask_of(order.is_null()), people)
    high, low = (pc.if_else(in_store, pa.array(word), None) for word in words.halves)
    return pa.RecordBatch.from_arrays([high, low, order.is_valid()], names=["high", "low", "ordered"])


#: Words of a column that has one value, and after them those of null.
ONE_AND_NULL = 2
#: Of a digest: eight for each word.
SPLIT_DIGITS = 16
Words = NDArray[np.uint64]
"""A row for each row, two of 64 bits in each: the first for ``high``, the second for ``low``."""


class _RowHashes:
    """128 bits of each row, made of what was added, in its order."""

    _MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two words become the same one

    def __init__(self, halves: list[NDArray[np.uint64]]) -> None:
        self.halves = halves

    def copy(self) -> _RowHashes:
        return _RowHashes([half.copy() for half in self.halves])

    def add(self, words: Words) -> None:
        """A column. What a row has afterwards depends on its words alone."""
        for half, own in zip(self.halves, words.T, strict=True):
            half ^= own
            half *= self._MULTIPLIER
            half ^= half >> 32

    def use_where(self, where: Mask, other: _RowHashes) -> None:
        for half, theirs in zip(self.halves, other.halves, strict=True):
            np.copyto(half, theirs, where=where)


def _hash_values(column: pa.StringArray) -> Words:
    """Null is 0."""
    words = np.zeros((len(column), 2), np.uint64)
    if column.null_count < len(column):
        series, valid = pl.DataFrame({"column": pl.from_arrow(column)}), mask_of(column.is_valid())
        for half, seed in enumerate((1, 2)):
            np.copyto(words[:, half], series.hash_rows(seed).to_numpy(), where=valid)
    return words


def _hash_distinct(column: pa.StringArray) -> Words:
    """The same for few values. Null is 0."""
    encoded = encode_distinct(column)
    keys = hash_to_keys(pa.concat_arrays([encoded.dictionary, pa.nulls(1, pa.string())]))
    words: Words = np.frombuffer(pc.fill_null(keys, bytes(KEY_BYTES)).buffers()[1], np.uint64).reshape(-1, 2)
    if len(words) == ONE_AND_NULL and not encoded.null_count:
        return np.broadcast_to(words[0], (len(column), 2))
    codes: NDArray[np.int32] = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()
    return words[codes]


def _split_numbers(column: pa.Int64Array) -> Words:
    """Of a column without nulls."""
    words: NDArray[np.uint64] = column.to_numpy().view(np.uint64)
    return np.stack([words, words], axis=1)


def _split_digests(column: pa.StringArray) -> Words:
    """The first 64 bits of each SHA-256 as 16 hex digits are written, which need no hashing again. Null is 0.

    Two people would have to share those of every key. What is shorter (a profile may pass an MD5 on) is hashed. A
    value's words depend on the value alone.
    """
    offsets, content = bytes_of(column)
    long = np.diff(offsets) == HEX_DIGITS
    if column.null_count:
        long &= mask_of(column.is_valid())
    digests = np.count_nonzero(long)
    if digests == len(column):
        return content.view(np.uint64).reshape(-1, 8)[:, :2]
    words = np.zeros((len(column), 2), np.uint64)
    if len(content) == digests * HEX_DIGITS:
        words[long] = content.view(np.uint64).reshape(-1, 8)[:, :2]
        return words
    where = (offsets[:-1][long] - offsets[0])[:, np.newaxis] + np.arange(SPLIT_DIGITS)
    words[long] = content[where].view(np.uint64)
    words[~long] = _hash_values(column)[~long]
    return words


def _prefix_length(part: Any) -> Any:
    """``<n>:<part>``, worked out once a distinct value: pixels and names are few."""
    encoded = encode_distinct(part)
    lengths = pc.binary_length(encoded.dictionary).cast(pa.string())
    return pc.binary_join_element_wise(lengths, encoded.dictionary, ":").take(encoded.indices)
