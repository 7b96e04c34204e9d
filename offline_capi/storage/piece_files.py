"""Files of a run that was prepared in pieces: one hashed Parquet file each, and a manifest of those that count.

Several processes may write one piece: one that was taken for dead goes on, or the same work is done twice to be done
sooner. Each writes under a name of its own, and what counts is what the manifest names, which is written last. Any
other file is an orphan: nobody reads it, and it goes with the run.

A file holds its events in stretches, in the order of the source; within a stretch each client has a row group of its
own, so that the events of one client are read without those of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_capi.model import KEY_BYTES, EventBatch

__all__ = [
    "PREPARATION",
    "PieceFile",
    "PieceManifest",
    "read_piece_events",
    "read_piece_keys",
    "split_by_recipient",
]

_VERSION = 1
#: Columns that only preparing needs, and no event that is sent, have names that begin with it.
PREPARATION = "~"
#: The column that only sending needs, and most of a file.
_BODY = "body"


@dataclass(frozen=True, slots=True)
class PieceFile:
    """A file that counts: how many events it has by recipient, and which rows of theirs repeat an earlier event."""

    name: str
    events: Mapping[str, int]
    repeats: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PieceManifest:
    """The files of a run in the order of its source."""

    files: tuple[PieceFile, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "files": [
                {
                    "name": one.name,
                    "events": dict(one.events),
                    "repeats": {name: list(rows) for name, rows in one.repeats.items()},
                }
                for one in self.files
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PieceManifest:
        return cls(tuple(PieceFile(one["name"], one["events"], one["repeats"]) for one in data["files"]))

    def count_events(self) -> dict[str, int]:
        """How many events there are to send, by recipient in the order of their names."""
        counts: dict[str, int] = {}
        for one in self.files:
            for name, events in one.events.items():
                counts[name] = counts.get(name, 0) + events - len(one.repeats.get(name, ()))
        return {name: counts[name] for name in sorted(counts) if counts[name]}


def split_by_recipient(events: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows of each recipient, in their order: one row group each."""
    if not events.num_rows:
        return
    encoded = events.column("client").dictionary_encode()
    if len(encoded.dictionary) == 1:
        yield events
        return
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    grouped, start = events.take(pa.array(order)), 0
    for size in np.bincount(codes).tolist():
        yield grouped.slice(start, size)
        start += size


def read_piece_keys(file: Any) -> Iterator[pa.RecordBatch]:
    """All columns but the body, a stretch at a time, each in the order of the source."""
    parquet = pq.ParquetFile(file)
    names = [name for name in parquet.schema_arrow.names if name != _BODY]
    for groups in _find_stretches(parquet):
        stretch = parquet.read_row_groups(groups, columns=names).combine_chunks()
        order = np.argsort(stretch.column("row").to_numpy(), kind="stable")
        in_order = stretch.take(pa.array(order)).combine_chunks()
        yield from in_order.to_batches()


def _find_stretches(parquet: pq.ParquetFile) -> Iterator[list[int]]:
    """Row groups whose rows lie between each other's; the rows of each stretch come before those of the next."""
    groups: list[int] = []
    last = -1
    for group, (low, high) in enumerate(_list_bounds(parquet, "row")):
        if groups and (low is None or low > last):
            yield groups
            groups = []
        groups.append(group)
        last = max(last, high if high is not None else last)
    if groups:
        yield groups


def _list_bounds(parquet: pq.ParquetFile, name: str) -> Iterator[tuple[Any, Any]]:
    """The smallest and the largest value of a column in each row group."""
    at = parquet.schema_arrow.names.index(name)
    for group in range(parquet.metadata.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(at).statistics
        known = statistics is not None and statistics.has_min_max
        yield (statistics.min, statistics.max) if known else (None, None)


def read_piece_events(file: Any, one: PieceFile, recipient: str | None, batch_rows: int) -> Iterator[EventBatch]:
    """The events of a file that are to be sent, of one recipient or of all, without those that repeat others."""
    parquet = pq.ParquetFile(file)
    names = [name for name in parquet.schema_arrow.names if not name.startswith(PREPARATION)]
    groups = [
        group
        for group, (low, high) in enumerate(_list_bounds(parquet, "client"))
        if recipient is None or low is None or low <= recipient <= high
    ]
    for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups, columns=names):
        batch = _restore_keys(batch)
        if recipient is not None:
            batch = batch.filter(pc.equal(batch.column("client"), recipient))
        events = EventBatch(_leave_out_repeats(batch, one.repeats))
        if len(events):
            yield events


def _leave_out_repeats(batch: pa.RecordBatch, repeats: Mapping[str, Sequence[int]]) -> pa.RecordBatch:
    for name, rows in repeats.items():
        again = pc.is_in(batch.column("row"), value_set=pa.array(rows, pa.int64()))
        if again.true_count:
            batch = batch.filter(pc.invert(pc.and_(again, pc.equal(batch.column("client"), name))))
    return batch


def _restore_keys(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keys of a fixed size: engines that write Parquet themselves make binaries of them."""
    at = batch.schema.get_field_index("key")
    wanted = pa.binary(KEY_BYTES)
    if batch.schema.field(at).type == wanted:
        return batch
    return batch.set_column(at, pa.field("key", wanted, nullable=False), pc.cast(batch.column(at), wanted))
