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
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_capi.config.source import FileSource
from offline_capi.events import EVENT_SCHEMA, UNSENT_SCHEMA, copy_for_pixels
from offline_capi.events.facts import counts_of
from offline_capi.identity import HashCache
from offline_capi.mapping import list_columns_needed
from offline_capi.model import (
    BuiltEvents,
    DroppedValues,
    EventBatch,
    ExpectationCount,
    NotedValues,
    SourceRows,
    UnsentRows,
)
from offline_capi.pipeline.recipe import BATCH_ROWS, Recipe
from offline_capi.runtime.bugs import as_internal
from offline_capi.sources import FilePart
from offline_capi.sources.files import read_part
from offline_capi.sources.spark_table import TableLayout, split_table
from offline_capi.storage.filesystem import translate_storage_errors
from offline_capi.storage.piece_files import PREPARATION, split_by_recipient
from offline_capi.storage.private_files import FileAccess
from offline_capi.storage.staging import GROUP_ROWS, PieceStage, Stage

__all__ = [
    "PIECE_ROWS",
    "ExecutorTask",
    "MapPieces",
    "Piece",
    "PieceResult",
    "PieceTask",
    "answer_packed",
    "list_answer_fields",
    "prepare_here",
    "prepare_piece",
    "read_answers",
    "restore_built",
    "store_answers",
    "write_probe",
]

#: Rows of a piece, where a file can be cut: some seconds of work, so that the start of a task does not matter.
PIECE_ROWS = 262_144

#: Rows of a piece that are read and mapped at once: half as many as in one process, since a worker has 400 MiB.
READ_ROWS = BATCH_ROWS // 2
#: Events that wait for others of their clients, at most.
STRETCH_ROWS = BATCH_ROWS
#: What is known of an event beside it until repeats are found: which keys it carries, and who it is to Meta in a store.
_CARRIED, _STORE = f"{PREPARATION}carried ", f"{PREPARATION}store "
_STORE_KEYS = {"high": pa.uint64(), "low": pa.uint64(), "ordered": pa.bool_()}
_NO_EVENTS, _NO_UNSENT_ROWS = (
    pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
    for schema in (EVENT_SCHEMA, UNSENT_SCHEMA)
)


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
    are only known of all pieces together. ``name`` is empty where there is no event. Of a table, pieces get their
    numbers in the order of ``origin`` (a file with its folder, or a partition) and ``first_row``.
    """

    number: int
    name: str = ""
    origin: str = ""
    first_row: int = 0
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
    unsent: list[pa.RecordBatch] = field(default_factory=list)

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
        if len(built.unsent):
            self.unsent.append(built.unsent.table)

    def as_built(self) -> BuiltEvents:
        """All that is no event: the counts, and the rows that were rejected."""
        return BuiltEvents(
            rows=self.rows["read"],
            events=EventBatch(_NO_EVENTS),
            unsent=UnsentRows(pa.concat_batches([_NO_UNSENT_ROWS, *self.unsent])),
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
        with pa.ipc.new_stream(buffer, UNSENT_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            for batch in self.unsent:
                stream.write_batch(batch)
        return json.dumps(
            {
                "number": self.number,
                "name": self.name,
                "origin": self.origin,
                "first_row": self.first_row,
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
                "unsent": base64.b64encode(buffer.getvalue()).decode(),
            }
        )

    @classmethod
    def from_text(cls, text: str) -> PieceResult:
        data = json.loads(text)
        with pa.ipc.open_stream(base64.b64decode(data["unsent"])) as stream:
            unsent = list(stream)
        counters = {name: Counter(data[name]) for name in ("events", "rows", "rows_of", "warnings")}
        return cls(
            data["number"],
            data["name"],
            data["origin"],
            data["first_row"],
            **counters,
            suppressed=Counter({(client, day and date.fromisoformat(day)): n for client, day, n in data["suppressed"]}),
            dropped=Counter({(key, column, cause): n for key, column, cause, n in data["dropped"]}),
            noted=Counter({(key, column, what): n for key, column, what, n in data["noted"]}),
            expected=Counter({(label, client): n for label, client, n in data["expected"]}),
            carried=dict.fromkeys(data["carried"]),
            profiles=set(data["profiles"]),
            unsent=unsent,
        )


#: An engine: results of all pieces, in any order. A piece may be prepared several times; one result of it counts.
MapPieces = Callable[[PieceTask, Sequence[Piece]], Iterable[PieceResult]]


def prepare_here(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
    """The engine that needs nothing: one piece after the other, in this process."""
    for piece in pieces:
        yield prepare_piece(task, piece)


def prepare_piece(task: PieceTask, piece: Piece) -> PieceResult:
    """Read, map, hash, build and check one piece; its events are in the file that the result names."""
    return _write_piece(task, PieceResult(piece.number), _read_piece(task, piece))


def _read_piece(task: PieceTask, piece: Piece) -> Iterator[SourceRows]:
    upload = task.recipe.upload
    assert isinstance(upload.source, FileSource)  # noqa: S101  mypy; nothing else is cut
    return read_part(piece.part, upload.source, list_columns_needed(upload), READ_ROWS)


def _write_piece(task: PieceTask, result: PieceResult, batches: Iterable[SourceRows]) -> PieceResult:
    stage = Stage(task.stage, task.access)
    path = stage.piece_path(task.run_id, result.number, uuid.uuid4().hex)
    with stage.write_piece(path) as file:
        for events in _prepare_rows(task, result, batches):
            file.write(events)
    result.name = path.rsplit("/", 1)[1] if result.events else ""
    return result


def _prepare_rows(task: PieceTask, result: PieceResult, batches: Iterable[SourceRows]) -> Iterator[pa.RecordBatch]:
    """The events of a piece, some of one recipient at a time, with what is known beside them; ``result`` counts."""
    recipe, cache = task.recipe, HashCache()
    stretch: list[pa.RecordBatch] = []
    for rows in batches:
        for built in recipe.prepare_batch(rows, task.now, cache=cache):
            copied = copy_for_pixels(built, recipe.clients)
            result.add(copied)
            stretch += _flatten(copied, [*recipe.upload.user_data])
            if _is_worth_groups(stretch):
                yield from _take_groups(stretch, result)
    yield from _take_groups(stretch, result)


def _is_worth_groups(stretch: Sequence[pa.RecordBatch]) -> bool:
    """Whether each recipient has enough rows for a row group, or as many wait as memory allows."""
    rows = sum(events.num_rows for events in stretch)
    recipients = {name for events in stretch for name in pc.unique(events.column("client")).to_pylist()}
    return bool(rows >= min(GROUP_ROWS * len(recipients), STRETCH_ROWS))


def _take_groups(stretch: list[pa.RecordBatch], result: PieceResult) -> Iterator[pa.RecordBatch]:
    if stretch:
        for events in split_by_recipient(pa.concat_batches(stretch)):
            result.events[events.column("client")[0].as_py()] += events.num_rows
            yield events
    stretch.clear()


def write_probe(stage: tuple[str, FileAccess, str] | None, number: int) -> str:
    """Write a small file into a run's folder, as pieces are written; returns its name. No stage: only say something."""
    if stage is None:
        return ""
    root, access, run_id = stage
    name = f"events-probe-{number}-{uuid.uuid4().hex}.json"
    there = Stage(root, access)
    there.write_json(there.path(run_id, name), number)
    return name


# ---------------------------------------------------------------------------------------------- for engines of columns

_KIND, _TEXT = f"{PREPARATION}kind", f"{PREPARATION}text"


class ExecutorTask(NamedTuple):
    """What an executor is to do with the batches that it is given, and how it answers.

    ``function`` and ``common`` make a text of each of ``items``, of which the batches hold numbers; without a function
    an item is pieces, and without items the batches are rows of a table, as ``layout`` says, that become pieces.
    ``returns_events`` has the events of pieces returned before their results; else we write them there.
    """

    common: Any
    items: Sequence[Any] = ()
    function: Callable[[Any, Any], str] | None = None
    layout: TableLayout | None = None
    returns_events: bool = False


def list_answer_fields(task: PieceTask | None) -> pa.Schema:
    """The columns of answers: kind and text, and with a task those of events, as engines know such columns."""
    answer = [pa.field(_KIND, pa.string()), pa.field(_TEXT, pa.string())]
    return pa.schema([*_list_event_fields([*task.recipe.upload.user_data] if task else None), *answer])


def _list_event_fields(keys: Sequence[str] | None) -> list[pa.Field]:
    """Engines have no unsigned numbers and no bytes of a fixed length; of ``None`` there are none."""
    if keys is None:
        return []
    fields = [pa.field(one.name, pa.binary() if one.name == "key" else one.type) for one in EVENT_SCHEMA]
    carried = [pa.field(_CARRIED + key, pa.bool_()) for key in keys]
    stores = [pa.field(_STORE + name, _WIDE.get(kind, kind)) for name, kind in _STORE_KEYS.items()]
    return [*fields, *carried, *stores]


_WIDE = {pa.uint64(): pa.int64()}


def answer_packed(packed: bytes, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The answers of a task, as ``list_answer_fields`` names their columns; ``packed`` is a pickled ``ExecutorTask``.

    An answer is ``("", text)``, or the kind and the text of an error of ours. No other error leaves this function: an
    engine would write its text, which may quote a row, into its logs.
    """
    wanted: ExecutorTask = pickle.loads(packed)  # noqa: S301  from our own process, over the engine
    fields = list_answer_fields(wanted.common if wanted.returns_events else None)
    try:
        with translate_storage_errors():
            for one in _answer(wanted, batches):
                yield _answer_text(fields, "", one) if isinstance(one, str) else _return_events(fields, one)
    except Exception as error:  # noqa: BLE001
        ours = as_internal(error)
        yield _answer_text(fields, type(ours).__name__, str(ours))


def _answer(wanted: ExecutorTask, batches: Iterable[pa.RecordBatch]) -> Iterator[str | pa.RecordBatch]:
    if wanted.function is not None:
        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            yield wanted.function(wanted.common, wanted.items[number])
        return
    task: PieceTask = wanted.common
    for result, rows in _list_pieces(wanted, batches):
        if wanted.returns_events:
            yield from _prepare_rows(task, result, rows)
        else:
            _write_piece(task, result, rows)
        yield result.to_text()


def _list_pieces(
    wanted: ExecutorTask, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[PieceResult, Iterable[SourceRows]]]:
    if wanted.layout is None:
        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            for piece in wanted.items[number]:
                yield PieceResult(piece.number), _read_piece(wanted.common, piece)
        return
    for number, (part, rows) in enumerate(split_table(wanted.layout, batches, READ_ROWS)):
        yield PieceResult(number, origin=part.origin, first_row=part.first_row), rows


def _answer_text(fields: pa.Schema, kind: str, text: str) -> pa.RecordBatch:
    columns = {_KIND: pa.array([kind]), _TEXT: pa.array([text])}
    return pa.RecordBatch.from_arrays([columns.get(one.name, pa.nulls(1, one.type)) for one in fields], schema=fields)


def _return_events(fields: pa.Schema, events: pa.RecordBatch) -> pa.RecordBatch:
    arrays = []
    for one in fields:
        known = one.name in events.schema.names
        values = events.column(one.name) if known else pa.nulls(events.num_rows, one.type)
        arrays.append(values.view(one.type) if values.type in _WIDE else values.cast(one.type))
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


def store_answers(task: PieceTask, file: Any, batch_rows: int = BATCH_ROWS) -> Iterator[tuple[str, str]]:
    """What an engine wrote into a Parquet file of its own, put into the stage as we write it; the answers in it.

    Pieces follow each other there, each with its answer behind its events.
    """
    stage = Stage(task.stage, task.access)
    fields = {one.name: one.type for one in EVENT_SCHEMA} | {_STORE + name: kind for name, kind in _STORE_KEYS.items()}
    batches = (part for batch in pq.ParquetFile(file).iter_batches(batch_rows) for part in _split_answers(batch))
    while (first := next(batches, None)) is not None:
        path = stage.piece_path(task.run_id, 0, uuid.uuid4().hex)
        answer, stretch = first, list[pa.RecordBatch]()
        with stage.write_piece(path) as written:
            while answer.column(_KIND).null_count:
                events = answer.drop_columns([_KIND, _TEXT])
                values = [
                    column.view(pa.uint64())
                    if fields.get(name) in _WIDE
                    else column.cast(fields.get(name, column.type))
                    for name, column in zip(events.schema.names, events.columns, strict=True)
                ]
                stretch.append(pa.RecordBatch.from_arrays(values, names=events.schema.names))
                if _is_worth_groups(stretch):
                    _write_groups(stretch, written)
                answer = next(batches)
            _write_groups(stretch, written)
        ((kind, text),) = read_answers(answer)
        if not kind:
            result = PieceResult.from_text(text)
            result.name = path.rsplit("/", 1)[1] if result.events else ""
            text = result.to_text()
        yield kind, text


def _write_groups(stretch: list[pa.RecordBatch], file: PieceStage) -> None:
    if stretch:
        for events in split_by_recipient(pa.concat_batches(stretch)):
            file.write(events)
    stretch.clear()


def _split_answers(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Events that follow each other, and each answer by itself."""
    start = 0
    for at in [*np.flatnonzero(batch.column(_KIND).is_valid().to_numpy(zero_copy_only=False)).tolist(), len(batch)]:
        if at > start:
            yield batch.slice(start, at - start)
        if at < len(batch):
            yield batch.slice(at, 1)
        start = at + 1


def read_answers(rows: pa.RecordBatch) -> list[tuple[str, str]]:
    """Kind and text of each answer among the rows."""
    return [
        (kind, text)
        for kind, text in zip(rows.column(_KIND).to_pylist(), rows.column(_TEXT).to_pylist(), strict=True)
        if kind is not None
    ]


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
        unsent=UnsentRows(_NO_UNSENT_ROWS),
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
