"""Staged files of a run: hashed events and rejects as Parquet, on a local path or any fsspec URL.

Nothing readable about a person stands in them. Files are written under another name and renamed when whole, so that a
reader never meets half of one; writing again replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_capi.model import (
    FORMER_FATES,
    MAX_IN_MEMORY_PARTS,
    EventBatch,
    EventPart,
    Fate,
    Spool,
    WantedRows,
    join_event_parts,
)
from offline_capi.storage.filesystem import open_stage_filesystem, replace_json
from offline_capi.storage.piece_files import PieceManifest, read_piece_events, read_piece_keys
from offline_capi.storage.private_files import PRIVATE, FileAccess

__all__ = ["GROUP_ROWS", "EventStage", "PieceStage", "Stage", "StagedEvents"]

#: Rows of a file read at once.
BATCH_ROWS = 8_192
#: Events of a client that are written at once, as one row group.
GROUP_ROWS = 1_024
#: How the id of a run begins, in UTC: see ``RunStore.begin``.
RUN_ID_TIME = "%Y%m%dT%H%M%S"
#: Between a client and a part in a file's name: no client's name has it there, for it is quoted.
_PART_MARK = ","
#: What names the files of a run that was prepared in pieces.
_MANIFEST = "events-pieces.json"
#: Of an event id that is kept with a reject.
MAX_ID_CHARS = 1_000
_NOT_SENT = pa.schema(
    [
        ("row", pa.int64()),
        *((name, pa.string()) for name in ("origin", "client", "event_id", "fate", "reason", "field")),
    ]
)


@dataclass(frozen=True, slots=True)
class StagedEvents:
    """One client's share of a run, as a task receives it: its files by part, and how many events are in them."""

    run_id: str
    client: str
    paths: tuple[str, ...]
    events: int

    def to_json(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "client": self.client, "paths": list(self.paths), "events": self.events}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StagedEvents:
        """Earlier versions wrote one ``path``."""
        paths = data["paths"] if "paths" in data else [data["path"]]
        return cls(data["run_id"], data["client"], tuple(paths), data["events"])


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


class PieceStage:
    """Writes the file of one piece, one row group a call; a context manager that keeps the file or nothing."""

    def __init__(self, stage: Stage, path: str) -> None:
        self._file = _ParquetFile(stage.filesystem, path)

    def write(self, events: pa.RecordBatch) -> None:
        self._file.write(events)

    def __enter__(self) -> PieceStage:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close(keep=kind is None)


class EventStage:
    """Writes one part of a run's events, one file a client; a context manager that keeps all files or none.

    Events of one client wait for others of it, so that a row group is worth its name and, with thousands of clients,
    few files are open at once.
    """

    def __init__(self, stage: Stage, run_id: str, part: int) -> None:
        self._stage, self._run_id, self._part = stage, run_id, part
        self._files: dict[str, _ParquetFile] = {}
        self._waiting: dict[str, list[EventPart]] = {}
        self._spool = Spool()

    def write(self, events: EventBatch) -> None:
        parts = list(events.partition_by("client"))
        if together := len(parts) > MAX_IN_MEMORY_PARTS:
            keys, pieces = zip(*parts, strict=True)
            parts = list(zip(keys, self._spool.put_parts(pieces), strict=True))
        for (client,), own in parts:
            if client not in self._files:
                path = self._stage.events_path(self._run_id, client, self._part)
                self._files[client] = _ParquetFile(self._stage.filesystem, path)
            self._waiting.setdefault(client, []).append(own)
            if sum(part.rows for part in self._waiting[client]) >= GROUP_ROWS:
                self._write_waiting(client)
            elif not together:  # a few rows would hold all others of the batch in memory
                self._waiting[client][-1] = EventPart.whole(self._spool.put(own.events))

    def _write_waiting(self, client: str) -> None:
        if waiting := self._waiting.pop(client, None):
            self._files[client].write(join_event_parts(waiting).table)

    def _finish(self, client: str, *, keep: bool) -> None:
        if keep:
            self._write_waiting(client)
        self._files[client].close(keep=keep)

    @property
    def units(self) -> list[StagedEvents]:
        """What lies there, once the block has ended."""
        return [
            StagedEvents(self._run_id, client, (file.path,), file.rows) for client, file in sorted(self._files.items())
        ]

    def __enter__(self) -> EventStage:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with ExitStack() as stack:
            for client in self._files:
                stack.callback(self._finish, client, keep=kind is None)


def _is_piece(path: str) -> bool:
    return path.rsplit("/", 1)[1].startswith(f"events-{_PART_MARK}")


def _read_client_and_part(path: str) -> tuple[str, int]:
    client, _, part = path.rsplit("/", 1)[1].removesuffix(".parquet").partition(_PART_MARK)
    return client, int(part or 0)


def _drop_long_ids(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without ids that are none: a row's value may have megabytes. ``replay`` finds such a row by its place."""
    at = batch.schema.get_field_index("event_id")
    too_long = pc.fill_null(pc.greater(pc.utf8_length(batch.column(at)), MAX_ID_CHARS), False)
    if not pc.any(too_long).as_py():
        return batch
    return batch.set_column(at, batch.schema.field(at), pc.if_else(too_long, None, batch.column(at)))


class RejectStage:
    """Writes what a run did not send: rows that were invalid and events that did not arrive, one file each.

    A file exists only when it has rows. Neither holds personal data: business keys, places and reasons.
    """

    def __init__(self, stage: Stage, run_id: str) -> None:
        self._rejects = _ParquetFile(stage.filesystem, stage.rejects_path(run_id))
        self._undelivered = _ParquetFile(stage.filesystem, stage.undelivered_path(run_id))

    def write(self, invalid: pa.RecordBatch) -> None:
        """Rows that did not become events."""
        self._rejects.write(_drop_long_ids(invalid))

    def write_undelivered(self, events: pa.RecordBatch) -> None:
        """Rejected by Meta, unconfirmed or deferred: what ``replay --undelivered`` takes up again."""
        self._undelivered.write(_drop_long_ids(events))

    def __enter__(self) -> RejectStage:
        return self

    def __exit__(self, *_: object) -> None:
        self._rejects.close(keep=True)
        self._undelivered.close(keep=True)


class Stage:
    """The folder of staged files, one subfolder a run."""

    def __init__(self, root: str, access: FileAccess = PRIVATE) -> None:
        self.filesystem, path = open_stage_filesystem(root, access)
        self._root = path.rstrip("/")

    def path(self, run_id: str, name: str) -> str:
        return f"{self._root}/{quote(run_id, safe='')}/{name}"

    def address(self, run_id: str, name: str, root: str) -> str:
        """The same for other programs, which know the stage as ``root``: a URL."""
        if "://" not in root:
            return self.filesystem.unstrip_protocol(self.path(run_id, name))  # type: ignore[no-any-return]
        return f"{root.rstrip('/')}/{quote(run_id, safe='')}/{name}"

    def rejects_path(self, run_id: str) -> str:
        return self.path(run_id, "rejects.parquet")

    def undelivered_path(self, run_id: str) -> str:
        return self.path(run_id, "undelivered.parquet")

    def events_path(self, run_id: str, client: str, part: int) -> str:
        """Part 0 has no number: earlier versions named their only file so, and a repeated task replaces it."""
        number = f"{_PART_MARK}{part}" if part else ""
        return self.path(run_id, f"events-{quote(client, safe='')}{number}.parquet")

    def find_event_files(self, run_id: str) -> list[str]:
        """The files of a run's events, by client and part; not those of pieces."""
        files = self.filesystem.glob(self.path(run_id, "events-*.parquet"))
        return sorted((path for path in files if not _is_piece(path)), key=_read_client_and_part)

    def piece_path(self, run_id: str, number: int, attempt: str) -> str:
        """The file of an attempt at a piece. No client's events have such a name."""
        return self.path(run_id, f"events-{_PART_MARK}{number:06}-{attempt}.parquet")

    def list_piece_names(self, run_id: str) -> set[str]:
        """The names of the files of pieces that can be seen from here: one request, however many there are."""
        self.filesystem.invalidate_cache()
        found = self.filesystem.glob(self.path(run_id, f"events-{_PART_MARK}*.parquet"))
        return {path.rsplit("/", 1)[1] for path in found}

    def manifest_path(self, run_id: str) -> str:
        return self.path(run_id, _MANIFEST)

    def write_piece(self, path: str) -> PieceStage:
        return PieceStage(self, path)

    def read_piece_keys(self, path: str) -> Iterator[pa.RecordBatch]:
        """The events of a piece without their bodies, in the order of the source, some at a time."""
        with self.filesystem.open(path, "rb") as file:
            yield from read_piece_keys(file)

    def commit_pieces(self, run_id: str, manifest: PieceManifest) -> None:
        """From now on the files of a run are those that the manifest names; all other files of its events go."""
        self.write_json(self.manifest_path(run_id), manifest.to_json())
        self.purge_events(run_id, keep={_MANIFEST, *(one.name for one in manifest.files)})

    def read_manifest(self, run_id: str) -> PieceManifest | None:
        """What a run in pieces committed; ``None`` where it committed nothing, or was no such run."""
        try:
            return PieceManifest.from_json(json.loads(self.filesystem.cat_file(self.manifest_path(run_id))))
        except FileNotFoundError:
            return None

    def read_pieces(
        self, run_id: str, manifest: PieceManifest, batch_rows: int, recipient: str | None = None
    ) -> Iterator[EventBatch]:
        """The events that a manifest names, piece after piece; of one recipient in the order of the source."""
        for one in manifest.files:
            if one.events and (recipient is None or recipient in one.events):
                with self.filesystem.open(self.path(run_id, one.name), "rb") as file:
                    yield from read_piece_events(file, one, recipient, batch_rows)

    def write_events(self, run_id: str, part: int = 0) -> EventStage:
        """Writers of several parts do not know of each other: each has a number of its own."""
        return EventStage(self, run_id, part)

    def write_rejects(self, run_id: str) -> RejectStage:
        return RejectStage(self, run_id)

    def read_events(self, unit: StagedEvents, batch_rows: int) -> Iterator[EventBatch]:
        """The events of a client, part after part, each in the order in which it was written."""
        for path in unit.paths:
            if path.endswith(f"/{_MANIFEST}"):
                manifest = PieceManifest.from_json(json.loads(self.filesystem.cat_file(path)))
                yield from self.read_pieces(unit.run_id, manifest, batch_rows, unit.client)
            else:
                yield from map(EventBatch, self.read_batches(path, batch_rows))

    def read_all_events(self, run_id: str, batch_rows: int = BATCH_ROWS) -> Iterator[EventBatch]:
        """Every event that a run staged: client after client, or piece after piece."""
        manifest = self.read_manifest(run_id)
        if manifest is not None:
            yield from self.read_pieces(run_id, manifest, batch_rows)
            return
        for path in self.find_event_files(run_id):
            yield from map(EventBatch, self.read_batches(path, batch_rows))

    def read_rejects(self, run_id: str) -> pa.Table | None:
        """All rejects of a run, or ``None`` where it had none."""
        return self._read_table(self.rejects_path(run_id))

    def read_undelivered(self, run_id: str) -> pa.Table | None:
        """All events of a run that did not arrive, or ``None`` where it had none."""
        return self._read_table(self.undelivered_path(run_id))

    def find_wanted_rows(self, run_id: str, *, undelivered: bool, by_place: bool) -> WantedRows:
        """The rows of a run that a replay takes up: its rejects, with ``undelivered`` also events that did not arrive.

        Business keys tell rows apart. Those without one are found by their place, and all of them with ``by_place``:
        safe where a row keeps its place, as in a file, and needed where a fix changes the business keys themselves.
        """
        found = (self.read_rejects(run_id), self.read_undelivered(run_id) if undelivered else None)
        rows = [table.select(["origin", "row", "event_id"]) for table in found if table is not None]
        if not rows:
            return WantedRows(pa.array([], pa.string()), {})
        table = pa.concat_tables(rows, promote_options="permissive").combine_chunks()
        placed = table if by_place else table.filter(pc.is_null(table["event_id"]))
        places = {
            origin: placed.filter(pc.equal(placed["origin"], origin))["row"].combine_chunks()
            for origin in pc.unique(placed["origin"]).to_pylist()
        }
        return WantedRows(pc.unique(table["event_id"].drop_null()), places)

    def read_unsent(self, run_id: str) -> tuple[pa.Table, list[str]]:
        """Rejects and undelivered events of a run in one table, and the files that they stand in."""
        paths = (self.rejects_path(run_id), self.undelivered_path(run_id))
        tables = {path: table for path in paths if (table := self._read_table(path)) is not None}
        return pa.concat_tables([_NOT_SENT.empty_table(), *tables.values()], promote_options="permissive"), list(tables)

    def find_rejected_keys(self, run_id: str) -> list[bytes]:
        """The ledger's keys of the events that Meta rejected in a run."""
        table = self.read_undelivered(run_id)
        if table is None:
            return []
        rejected: list[bytes] = table.filter(pc.equal(table["fate"], Fate.REJECTED_BY_META.value))["key"].to_pylist()
        return rejected

    def _read_table(self, path: str) -> pa.Table | None:
        if not self.filesystem.exists(path):
            return None
        with self.filesystem.open(path, "rb") as file:
            table = pq.read_table(file)
        if "fate" not in table.schema.names:
            return table
        place, fates = table.schema.get_field_index("fate"), table["fate"]
        for former, fate in FORMER_FATES.items():
            fates = pc.if_else(pc.equal(fates, former), fate.value, fates)
        return table.set_column(place, table.schema.field(place), fates)

    def list_files(self) -> list[str]:
        """Every whole Parquet file of every run."""
        return sorted(self.filesystem.glob(f"{self._root}/*/*.parquet"))

    def list_run_files(self) -> list[tuple[str, str]]:
        """The files of every run, half-written ones and lists of files included: the run's id, and the path."""
        patterns = (f"{self._root}/*/*.parquet*", f"{self._root}/*/events-*.json")
        paths = sorted(path for pattern in patterns for path in self.filesystem.glob(pattern))
        return [(unquote(path.rsplit("/", 2)[1]), path) for path in paths]

    def find_run_start(self, run_id: str, path: str) -> datetime:
        """When a run began, by its id; where that says nothing, when this file of it was written."""
        with suppress(ValueError):
            return datetime.strptime(run_id.split("-")[0], RUN_ID_TIME).replace(tzinfo=UTC)
        written_at: datetime = self.filesystem.modified(path)  # of webhdfs local time, without a zone
        return written_at.astimezone(UTC)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder of Spark's, and the run's with the last one; another process may have done it."""
        with suppress(FileNotFoundError):
            self.filesystem.rm(path, recursive=True)
        with suppress(OSError):  # not empty, or no folder at all on an object store
            self.filesystem.rmdir(path.rsplit("/", 1)[0])

    def list_status_files(self) -> list[str]:
        """What is known of each client's access: see ``clients.status``."""
        return sorted(self.filesystem.glob(f"{self._root}/clients/*.json"))

    def write_json(self, path: str, value: Any) -> None:
        """Replace a file by the JSON of ``value``, whole or not at all."""
        replace_json(self.filesystem, path, value)

    def rewrite_json(self, path: str, change: Callable[[Any], Any]) -> bool:
        """Replace a file by what ``change`` makes of its JSON, unless that is ``None``; whether it was replaced."""
        try:
            document = change(json.loads(self.filesystem.cat_file(path)))
        except (FileNotFoundError, ValueError):  # a check writes it anew
            return False
        if document is not None:
            self.write_json(path, document)
        return document is not None

    def list_torn_files(self) -> list[str]:
        """Files that a process is writing, or was when it died: nobody can read them.

        ``erase`` removes those of a finished run.
        """
        return sorted(self.filesystem.glob(f"{self._root}/*/*.part"))

    def read_batches(self, path: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows of a file."""
        with self.filesystem.open(path, "rb") as file:
            yield from pq.ParquetFile(file).iter_batches(batch_size=rows)

    def rewrite(self, path: str, leaving: Callable[[pa.RecordBatch], pa.BooleanArray]) -> int:
        """Write a file anew without the rows of ``leaving``, under another name first; returns how many left.

        A file that loses its last row stays, empty: a task that got its path still finds it.
        """
        fresh, left = _ParquetFile(self.filesystem, path), 0
        for batch in self.read_batches(path):
            kept = batch.filter(pc.invert(leaving(batch)))
            left += batch.num_rows - kept.num_rows
            fresh.write(kept)
        fresh.close(keep=left > 0)
        return left

    def purge_events(self, run_id: str, *, keep: Collection[str] = ()) -> None:
        """Remove the staged events of a run, except files of these names; its rejects stay until they are replayed."""
        for path in self.filesystem.glob(self.path(run_id, "events-*")):
            if path.rsplit("/", 1)[1] not in keep:
                self.remove(path)
