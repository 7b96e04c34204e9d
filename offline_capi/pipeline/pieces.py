"""A window in pieces that are prepared apart from each other, in any process and on any machine.

``prepare_piece`` is all that an engine runs: it reads one piece, writes its events as one hashed Parquet file under a
name that no other attempt has, and returns what it counted. What it is given can be pickled and holds neither
environment nor secret; this module imports neither the ledger nor what sends. ``joining`` puts the pieces together.
"""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.source import FileSource
from offline_capi.events import EVENT_SCHEMA, REJECTION_SCHEMA, copy_for_pixels
from offline_capi.events.facts import counts_of
from offline_capi.identity import HashCache
from offline_capi.mapping import list_columns_needed
from offline_capi.model import BuiltEvents, DroppedValues, EventBatch, ExpectationCount, NotedValues, Rejections
from offline_capi.pipeline.recipe import BATCH_ROWS, Recipe
from offline_capi.runtime.bugs import as_internal
from offline_capi.sources import FilePart
from offline_capi.sources.files import read_part
from offline_capi.storage.filesystem import translate_storage_errors
from offline_capi.storage.piece_files import PREPARATION, split_by_recipient
from offline_capi.storage.private_files import FileAccess
from offline_capi.storage.staging import GROUP_ROWS, PieceStage, Stage

__all__ = [
    "PIECE_ROWS",
    "MapPieces",
    "Piece",
    "PieceResult",
    "PieceTask",
    "answer_packed",
    "prepare_as_text",
    "prepare_here",
    "prepare_piece",
    "restore_built",
    "write_probe",
]

#: Rows of a piece, where a file can be cut: some seconds of work, so that the start of a task does not matter.
PIECE_ROWS = 262_144

#: What is known of an event beside it until repeats are found: which keys it carries, and who it is to Meta in a store.
_CARRIED, _STORE = f"{PREPARATION}carried ", f"{PREPARATION}store "
_STORE_KEYS = {"high": pa.uint64(), "low": pa.uint64(), "ordered": pa.bool_()}
_NO_EVENTS = pa.RecordBatch.from_arrays([pa.array([], one.type) for one in EVENT_SCHEMA], schema=EVENT_SCHEMA)
_NO_REJECTIONS = pa.RecordBatch.from_pylist([], REJECTION_SCHEMA)


@dataclass(frozen=True, slots=True)
class PieceTask:
    """What is the same for all pieces of a run: how rows become events, as of when, and where their files go.

    ``recipe.today`` is set: a piece that is prepared again tomorrow, on another machine, is the same.
    """

    recipe: Recipe
    now: datetime
    run_id: str
    stage: str
    access: FileAccess


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the source, and its number in the order of the source."""

    number: int
    part: FilePart


@dataclass(slots=True)
class PieceResult:
    """What became of a piece: its file, how many events that has by recipient, what was counted, what was rejected.

    The other fields are those of ``BuiltEvents`` that are no rows, added up. Repeats are still among the events: they
    are only known of all pieces together. ``name`` is empty where there is no event.
    """

    number: int
    name: str = ""
    events: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    rows_of: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    suppressed: Counter[tuple[str | None, date | None]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    noted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    expected: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    carried: dict[str, None] = field(default_factory=dict)
    profiles: set[str] = field(default_factory=set)
    rejections: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, built: BuiltEvents) -> None:
        self.rows.update(read=built.rows, outside=built.outside, filtered=built.filtered)
        self.rows_of.update(built.rows_of)
        self.warnings.update(built.warnings)
        self.suppressed.update(built.suppressed)
        for drop in built.dropped:
            self.dropped[drop.key, drop.column, drop.cause] += drop.count
        for note in built.noted:
            self.noted[note.key, note.column, note.what] += note.count
        for one in built.expected:
            self.expected[one.label, one.client] += one.rows
        self.carried.update(dict.fromkeys(built.carried))
        self.profiles.update(built.profiles)
        if len(built.rejections):
            self.rejections.append(built.rejections.table)

    def as_built(self) -> BuiltEvents:
        """All that is no event: the counts, and the rows that were rejected."""
        return BuiltEvents(
            rows=self.rows["read"],
            events=EventBatch(_NO_EVENTS),
            rejections=Rejections(pa.concat_batches([_NO_REJECTIONS, *self.rejections])),
            suppressed=self.suppressed,
            dropped=tuple(DroppedValues(*key, n) for key, n in self.dropped.items()),
            warnings=self.warnings,
            outside=self.rows["outside"],
            carried={key: pa.array([], pa.bool_()) for key in self.carried},
            rows_of=self.rows_of,
            noted=tuple(NotedValues(*key, n) for key, n in self.noted.items()),
            profiles=tuple(sorted(self.profiles)),
            filtered=self.rows["filtered"],
            expected=tuple(ExpectationCount(*key, n) for key, n in self.expected.items()),
        )

    def to_text(self) -> str:
        """As one text, for engines that move columns."""
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, REJECTION_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            for batch in self.rejections:
                stream.write_batch(batch)
        return json.dumps(
            {
                "number": self.number,
                "name": self.name,
                "events": self.events,
                "rows": self.rows,
                "rows_of": self.rows_of,
                "warnings": self.warnings,
                "suppressed": [[client, day and day.isoformat(), n] for (client, day), n in self.suppressed.items()],
                "dropped": [[*key, n] for key, n in self.dropped.items()],
                "noted": [[*key, n] for key, n in self.noted.items()],
                "expected": [[*key, n] for key, n in self.expected.items()],
                "carried": [*self.carried],
                "profiles": sorted(self.profiles),
                "rejections": base64.b64encode(buffer.getvalue()).decode(),
            }
        )

    @classmethod
    def from_text(cls, text: str) -> PieceResult:
        data = json.loads(text)
        with pa.ipc.open_stream(base64.b64decode(data["rejections"])) as stream:
            rejections = list(stream)
        counters = {name: Counter(data[name]) for name in ("events", "rows", "rows_of", "warnings")}
        return cls(
            data["number"],
            data["name"],
            **counters,
            suppressed=Counter({(client, day and date.fromisoformat(day)): n for client, day, n in data["suppressed"]}),
            dropped=Counter({(key, column, cause): n for key, column, cause, n in data["dropped"]}),
            noted=Counter({(key, column, what): n for key, column, what, n in data["noted"]}),
            expected=Counter({(label, client): n for label, client, n in data["expected"]}),
            carried=dict.fromkeys(data["carried"]),
            profiles=set(data["profiles"]),
            rejections=rejections,
        )


#: An engine: results of all pieces, in any order. A piece may be prepared several times; one result of it counts.
MapPieces = Callable[[PieceTask, Sequence[Piece]], Iterable[PieceResult]]


def prepare_here(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
    """The engine that needs nothing: one piece after the other, in this process."""
    for piece in pieces:
        yield prepare_piece(task, piece)


def prepare_piece(task: PieceTask, piece: Piece) -> PieceResult:
    """Read, map, hash, build and check one piece; its events are in the file that the result names."""
    recipe, upload = task.recipe, task.recipe.upload
    assert isinstance(upload.source, FileSource)  # noqa: S101  mypy; nothing else is cut
    stage, cache = Stage(task.stage, task.access), HashCache()
    path, result = stage.piece_path(task.run_id, piece.number, uuid.uuid4().hex), PieceResult(piece.number)
    with stage.write_piece(path) as file:
        for rows in read_part(piece.part, upload.source, list_columns_needed(upload), BATCH_ROWS):
            stretch: list[pa.RecordBatch] = []
            for built in recipe.prepare_batch(rows, task.now, cache=cache):
                copied = copy_for_pixels(built, recipe.clients)
                result.add(copied)
                stretch += _flatten(copied, [*upload.user_data])
                if _is_worth_groups(stretch):
                    _write_stretch(stretch, file, result)
            _write_stretch(stretch, file, result)
    result.name = path.rsplit("/", 1)[1] if result.events else ""
    return result


def _is_worth_groups(stretch: Sequence[pa.RecordBatch]) -> bool:
    """Whether each recipient has enough rows for a row group: what waits takes memory."""
    recipients = {name for events in stretch for name in pc.unique(events.column("client")).to_pylist()}
    return bool(sum(events.num_rows for events in stretch) >= GROUP_ROWS * len(recipients))


def _write_stretch(stretch: list[pa.RecordBatch], file: PieceStage, result: PieceResult) -> None:
    if stretch:
        for events in split_by_recipient(pa.concat_batches(stretch)):
            result.events[events.column("client")[0].as_py()] += events.num_rows
            file.write(events)
    stretch.clear()


def prepare_as_text(task: PieceTask, piece: Piece) -> str:
    """The same for engines that move texts: ``PieceResult.from_text`` reads it."""
    return prepare_piece(task, piece).to_text()


def answer_packed(packed: bytes, numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """What a function makes of some of its items; ``packed`` is the function, what all items share, and the items.

    An answer is ``("", text)``, or the kind and the text of an error of ours. No other error leaves this function: an
    engine would write its text, which may quote a row, into its logs.
    """
    function, common, items = pickle.loads(packed)  # noqa: S301  from our own process, over the engine
    for number in numbers:
        try:
            with translate_storage_errors():
                answer = ("", function(common, items[number]))
        except Exception as error:  # noqa: BLE001
            ours = as_internal(error)
            answer = (type(ours).__name__, str(ours))
        yield answer


def write_probe(stage: tuple[str, FileAccess, str], number: int) -> str:
    """Write a small file into a run's folder, as pieces are written; returns its name."""
    root, access, run_id = stage
    name = f"events-probe-{number}-{uuid.uuid4().hex}.json"
    there = Stage(root, access)
    there.write_json(there.path(run_id, name), number)
    return name


def _flatten(built: BuiltEvents, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The events, and then their copies, with what is known beside them as further columns; nothing of copies is."""
    for events in built.outgoing:
        nothing = events is not built.events
        columns = {
            **{_CARRIED + key: (built.carried.get(key), pa.bool_()) for key in keys},
            **{
                _STORE + name: (built.store_keys and built.store_keys[name], kind) for name, kind in _STORE_KEYS.items()
            },
        }
        arrays = [
            pa.nulls(len(events), kind) if nothing or values is None else values for values, kind in columns.values()
        ]
        names = [*EVENT_SCHEMA.names, *columns]
        yield pa.RecordBatch.from_arrays([*events.table.columns, *arrays], names=names)


def restore_built(rows: pa.RecordBatch, carried: Sequence[str]) -> BuiltEvents:
    """Events of a piece without their bodies, as they were before they were written; ``carried`` as in the result."""
    copies = pc.match_substring(rows.column("client"), "@")
    own = rows.filter(pc.invert(copies)) if copies.true_count else rows
    has_stores = own.column(_STORE + "high").null_count < own.num_rows
    return BuiltEvents(
        rows=0,
        events=_select_events(own),
        rejections=Rejections(_NO_REJECTIONS),
        carried={key: own.column(_CARRIED + key) for key in carried},
        copies=_select_events(rows.filter(copies)) if copies.true_count else None,
        copied=counts_of(rows.column("client").filter(copies)),
        store_keys=own.select([_STORE + name for name in _STORE_KEYS]).rename_columns([*_STORE_KEYS])
        if has_stores
        else None,
    )


def _select_events(rows: pa.RecordBatch) -> EventBatch:
    """As events whose bodies are empty."""
    columns = {**{name: rows.column(name) for name in rows.schema.names}, "body": pa.repeat(b"", rows.num_rows)}
    return EventBatch(
        pa.RecordBatch.from_arrays([columns[one.name].cast(one.type) for one in EVENT_SCHEMA], schema=EVENT_SCHEMA)
    )
