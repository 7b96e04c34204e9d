"""Staged files of a run: hashed events and rejects as Parquet, on a local path or any fsspec URL.

Nothing readable about a person stands in them. Files are written under another name and renamed when whole, so that a
reader never meets half of one; writing again replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_capi.model import EventBatch, Rejections

__all__ = ["EventStage", "Stage", "StagedEvents"]


@dataclass(frozen=True, slots=True)
class StagedEvents:
    """One client's share of a run, as a task receives it: where the file is and how much is in it."""

    run_id: str
    client: str
    path: str
    events: int

    def to_json(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "client": self.client, "path": self.path, "events": self.events}


class _ParquetFile:
    """A Parquet file that appears when it is closed without an error."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.path = path
        self.rows = 0
        self._filesystem = filesystem
        self._writer: Any = None
        self._file: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._filesystem.makedirs(self.path.rsplit("/", 1)[0], exist_ok=True)
            self._file = self._filesystem.open(self.path + ".part", "wb")
            self._writer = pq.ParquetWriter(self._file, batch.schema, compression="zstd")
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def close(self, *, keep: bool) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._file.close()
        if keep:
            self._filesystem.mv(self.path + ".part", self.path)
        else:
            self._filesystem.rm(self.path + ".part")


class EventStage:
    """Writes a run's events, one file a client; a context manager that keeps all files or none."""

    def __init__(self, stage: Stage, run_id: str) -> None:
        self._stage, self._run_id = stage, run_id
        self._files: dict[str, _ParquetFile] = {}

    def write(self, events: EventBatch) -> None:
        clients = events.table.column("client")
        for client in pc.unique(clients).to_pylist():
            if client not in self._files:
                path = self._stage.path(self._run_id, f"events-{quote(client, safe='')}.parquet")
                self._files[client] = _ParquetFile(self._stage.filesystem, path)
            self._files[client].write(events.table.filter(pc.equal(clients, client)))

    @property
    def units(self) -> list[StagedEvents]:
        return [
            StagedEvents(self._run_id, client, file.path, file.rows) for client, file in sorted(self._files.items())
        ]

    def __enter__(self) -> EventStage:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close, keep=kind is None)


class RejectStage:
    """Writes a run's rejects; the file exists only when there are some."""

    def __init__(self, stage: Stage, run_id: str) -> None:
        self._file = _ParquetFile(stage.filesystem, stage.rejects_path(run_id))

    def write(self, rejections: Rejections) -> None:
        if len(rejections):
            self._file.write(rejections.table)

    def __enter__(self) -> RejectStage:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close(keep=True)


class Stage:
    """The folder of staged files, one subfolder a run."""

    def __init__(self, root: str) -> None:
        self.filesystem, self._root = fsspec.core.url_to_fs(root)

    def path(self, run_id: str, name: str) -> str:
        return f"{self._root.rstrip('/')}/{quote(run_id, safe='')}/{name}"

    def rejects_path(self, run_id: str) -> str:
        return self.path(run_id, "rejects.parquet")

    def events(self, run_id: str) -> EventStage:
        return EventStage(self, run_id)

    def rejects(self, run_id: str) -> RejectStage:
        return RejectStage(self, run_id)

    def read_events(self, unit: StagedEvents, batch_rows: int) -> Iterator[EventBatch]:
        """The events of one unit, in the order in which they were written."""
        return self._events_in(unit.path, batch_rows)

    def read_all_events(self, run_id: str, batch_rows: int) -> Iterator[EventBatch]:
        """Every event that a run staged."""
        for path in sorted(self.filesystem.glob(self.path(run_id, "events-*.parquet"))):
            yield from self._events_in(path, batch_rows)

    def _events_in(self, path: str, batch_rows: int) -> Iterator[EventBatch]:
        with self.filesystem.open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=batch_rows):
                yield EventBatch(batch)

    def read_rejects(self, run_id: str) -> pa.Table | None:
        """All rejects of a run, or ``None`` where it had none."""
        path = self.rejects_path(run_id)
        if not self.filesystem.exists(path):
            return None
        with self.filesystem.open(path, "rb") as file:
            return pq.read_table(file)

    def purge_events(self, run_id: str) -> None:
        """Remove the staged events of a run; its rejects stay until they are replayed or erased."""
        for path in self.filesystem.glob(self.path(run_id, "events-*")):
            self.filesystem.rm(path)
