"""Events ready to be sent, and how they are identified, copied and joined without a Python object each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from offline_capi.model.spool import SpooledEvents

__all__ = [
    "KEY_BYTES",
    "EventBatch",
    "EventPart",
    "get_bytes",
    "get_ends",
    "get_numbers",
    "list_keys",
]

#: Bytes of an event's key: a collision among a hundred million is one in 10**22.
KEY_BYTES = 16
_KEY_TYPE = f"fixed_size_binary[{KEY_BYTES}]"


class _Sliceable(Protocol):
    def __getitem__(self, rows: slice, /) -> Self: ...


T = TypeVar("T")
#: One item an event, in their order.
Rows = TypeVar("Rows", bound=_Sliceable)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events ready to be sent; what is staged as Parquet.

    Columns of ``table`` (``events.EVENT_SCHEMA``): ``origin`` and ``row`` (where it came from), ``client``, ``pixel``,
    ``event_name``, ``event_id``, ``event_time`` (UTC seconds), ``day`` (date32, in the upload's zone),
    ``action_source``, ``value``, ``currency``, ``key`` (16 bytes: who this event is, in the ledger) and ``body`` (the
    event's JSON, UTF-8 bytes).
    """

    table: pa.RecordBatch
    #: The batch that these were cut from, and where they begin in it: what is worked out for a batch is worked out once
    #: for all requests that are cut from it, since a call of numpy or Arrow costs more than the thousand events.
    _whole: EventBatch | None = field(default=None, repr=False, compare=False)
    _start: int = field(default=0, repr=False, compare=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def keys(self) -> list[bytes]:
        """The events' keys."""
        return list_keys(self.key_bytes)

    @property
    def key_bytes(self) -> bytes:
        """The events' keys one after the other, 16 bytes each; ``TypeError`` where the column holds anything else.

        Of a column of another type these bytes would be offsets, and the ledger would take them for keys.
        """
        column = self.table.column("key")
        if str(column.type) != _KEY_TYPE:
            raise TypeError(f"the column of keys is of type {column.type}")
        stored = memoryview(column.buffers()[1] or b"").cast("B")
        return bytes(stored[KEY_BYTES * column.offset : KEY_BYTES * (column.offset + len(column))])

    @property
    def body_bytes(self) -> int:
        """Bytes of all bodies together."""
        ends = get_ends(self.table.column("body"))
        return int(ends[-1] - ends[0])

    def get_bytes(self, name: str) -> memoryview:
        """The values of a column, see ``get_bytes``."""
        return get_bytes(self.table.column(name))

    def digest(self) -> bytes:
        """SHA-256 over the bodies, in order: what was sent can be recognised later without keeping it."""
        return hashlib.sha256(self.get_bytes("body")).digest()

    def __reduce__(self) -> tuple[type[EventBatch], tuple[pa.RecordBatch]]:
        return EventBatch, (self.table,)  # a slice goes without the batch that it was cut from

    def work_out(self, compute: Callable[[EventBatch], T]) -> T:
        """``compute(events)``, computed once for these events."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        worked_out: T = self._known[compute]
        return worked_out

    def derive(self, compute: Callable[[EventBatch], Rows]) -> Rows:
        """``compute(events)``, one item an event: computed once, for the batch that these were cut from."""
        if self._whole is None:
            return self.work_out(compute)
        return self._whole.work_out(compute)[self._start : self._start + len(self)]

    def find_earliest(self) -> int | None:
        """The time of the earliest event in the batch that these were cut from, in UTC seconds: none is older."""
        whole = self if self._whole is None else self._whole
        if "earliest" not in whole._known:
            times = whole.table.column("event_time").to_numpy()
            whole._known["earliest"] = int(times.min()) if len(times) else None
        earliest: int | None = whole._known["earliest"]
        return earliest

    def find_common(self, name: str) -> str | None:
        """The text that every event has in a column; ``None`` where they differ, one has none, or there is none."""
        if self._whole is not None and len(self) and (common := self._whole.find_common(name)) is not None:
            return common
        if name not in self._known:
            column, rows = self.table.column(name), len(self)
            ends, values = get_ends(column), bytes(get_bytes(column))
            length = int(ends[1] - ends[0]) if rows else 0
            alike = rows > 0 and values == values[:length] * rows and not column.null_count
            alike = alike and bool((ends[1:] - ends[:-1] == length).all())
            self._known[name] = values[:length].decode() if alike else None
        found: str | None = self._known[name]
        return found

    def remember_common(self, name: str, text: str) -> None:
        """What the caller knows that every event has in a column: ``find_common`` need not look."""
        self._known[name] = text

    def partition_by(self, *names: str) -> Iterator[tuple[tuple[str, ...], EventPart]]:
        """The events by what they have in these columns: in the order of the texts, unless each stands together.

        However many parts there are, the events are copied once: the parts are slices of one batch.
        """
        import numpy as np

        alike = [self.find_common(name) for name in names]
        if None not in alike:  # nearly always: a source of one client
            yield tuple(map(str, alike)), EventPart.whole(self)
            return
        columns = [_number_texts(self.table.column(name)) for name in names]
        shape = tuple(max(len(texts), 1) for texts, _ in columns)
        codes = np.ravel_multi_index([places for _, places in columns], shape)
        order = _find_order(codes)
        grouped, codes = (self, codes) if order is None else (self.take(order), codes[order])
        starts = _find_starts(codes)
        positions = np.unravel_index(codes[starts], shape)
        keys = ([texts[at] for at in own.tolist()] for (texts, _), own in zip(columns, positions, strict=True))
        bounds = [*starts.tolist(), len(self)]
        ends = get_ends(grouped.table.column("body"))[bounds].tolist()
        for number, key in enumerate(zip(*keys, strict=True)):
            start, stop = bounds[number : number + 2]
            yield key, EventPart(grouped, start, stop - start, ends[number + 1] - ends[number])

    def find_order_by(self, name: str) -> NDArray[np.int64] | None:
        """The places of all events by the text in a column, those with the same text in the order in which they stand.

        ``None``: those with the same text stand together already.
        """
        if self.find_common(name) is not None:
            return None
        return _find_order(_number_texts(self.table.column(name))[1])

    def copy(self) -> EventBatch:
        """The same events without the larger batch of which they are a slice."""
        import numpy as np

        return self.take(np.arange(len(self)))

    @classmethod
    def join(cls, batches: Iterable[EventBatch]) -> EventBatch:
        """All of them in one, copied; there has to be one at least."""
        import pyarrow as pa

        return cls(pa.concat_batches([batch.table for batch in batches]))

    def take(self, indices: NDArray[np.int64]) -> EventBatch:
        """The events at these places; ``body`` is their last column."""
        import pyarrow as pa

        from offline_capi.runtime.join import take_texts

        rest: Any = self.table.drop_columns(["body"])
        body = take_texts(self.table.column("body"), indices)
        return EventBatch(rest.take(pa.array(indices)).append_column(self.table.schema.field("body"), body))

    def filter(self, mask: pa.Array) -> EventBatch:
        return EventBatch(self.table.filter(mask))

    def slice(self, start: int, length: int) -> EventBatch:
        whole = self if self._whole is None else self._whole
        return EventBatch(self.table.slice(start, length), whole, self._start + start)


@dataclass(frozen=True, slots=True)
class EventPart:
    """Events that stand together in a batch: a slice that costs next to nothing until it is asked for."""

    batch: EventBatch | SpooledEvents
    start: int
    rows: int
    body_bytes: int

    @classmethod
    def whole(cls, batch: EventBatch | SpooledEvents) -> EventPart:
        return cls(batch, 0, len(batch), batch.body_bytes)

    @property
    def events(self) -> EventBatch:
        return self.batch.slice(self.start, self.rows)


def _number_texts(column: pa.StringArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts of a column in their order, and for each of its rows which one stands there."""
    import numpy as np

    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    ranks = np.empty(len(texts), np.int64)
    ranks[order] = np.arange(len(texts))
    return [texts[at] for at in order], ranks[encoded.indices.to_numpy()]


def _find_order(codes: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """See ``EventBatch.find_order_by``; of texts as numbers in the order of the texts."""
    import numpy as np

    starts = _find_starts(codes)
    if len(np.unique(codes[starts])) == len(starts):
        return None
    return np.argsort(codes.astype(np.uint16) if codes.max() < 2**16 else codes, kind="stable")  # 16 bits: by radix


def _find_starts(codes: NDArray[Any]) -> NDArray[np.intp]:
    """Where a code differs from the one before it."""
    import numpy as np

    return np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))


def list_keys(blob: bytes) -> list[bytes]:
    """The keys of a blob, one by one; twenty times as fast as Arrow's ``to_pylist``."""
    import numpy as np

    return cast("list[bytes]", np.frombuffer(blob, f"V{KEY_BYTES}").tolist())


def get_bytes(column: pa.StringArray | pa.BinaryArray) -> memoryview:
    """The values of a column one after the other, as they lie in memory; those that a slice leaves out are not there.

    Kernels of Arrow let go of the interpreter, and a busy process makes them wait a millisecond to get it back.
    """
    ends, values = get_ends(column), column.buffers()[2]
    return memoryview(values or b"").cast("B")[int(ends[0]) : int(ends[-1])]


def get_numbers(column: pa.Array, kind: type[Any]) -> NDArray[Any]:
    """A column of numbers as it lies in memory; whatever stands there where one is null."""
    import numpy as np

    return np.frombuffer(column.buffers()[1] or b"", kind)[column.offset : column.offset + len(column)]


def get_ends(column: pa.StringArray | pa.BinaryArray) -> Any:
    """Where each value ends in the column's bytes, and before it where the first begins."""
    import numpy as np

    if not len(column):
        return np.zeros(1, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
