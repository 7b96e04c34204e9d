"""A run in pieces, put together: what it becomes is what it would have become in one process.

Events are never moved to be compared. An engine has written them (``pieces``); here their keys are read, in the order
of the source, for the run's own sets of what was seen. What repeats is noted by its place, and left out when events are
read to be sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.model import BuiltEvents, EventBatch
from offline_capi.pipeline.pieces import MapPieces, Piece, PieceResult, PieceTask, restore_built
from offline_capi.pipeline.recipe import EVENT_ROWS
from offline_capi.storage.piece_files import PieceFile, PieceManifest
from offline_capi.storage.staging import RUN_ID_TIME, Stage

if TYPE_CHECKING:
    from offline_capi.pipeline.context import RunContext
    from offline_capi.sources import FilePart

__all__ = ["JoinedPieces", "prepare_pieces"]


@dataclass(slots=True)
class JoinedPieces:
    """The pieces of a run, prepared; ``repeats`` has the rows that repeat an earlier event, by file and recipient."""

    run_id: str
    stage: Stage
    pieces: Sequence[Piece]
    results: Sequence[PieceResult]
    repeats: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def read_batches(self) -> Iterator[tuple[str, BuiltEvents]]:
        """What the source became, piece by piece and in its order, with the file of each batch; repeats are among it.

        The first batch of a piece has all that was counted and rejected, the others events without their bodies.
        """
        for result in self.results:
            yield result.name, result.as_built()
            path = self.stage.path(self.run_id, result.name)
            for rows in self.stage.read_piece_keys(path) if result.name else ():
                yield result.name, restore_built(rows, [*result.carried])

    def note_repeats(self, name: str, built: BuiltEvents, unique: BuiltEvents) -> None:
        """Remember which events of a batch are left out."""
        for before, after in ((built.events, unique.events), (built.copies, unique.copies)):
            if before is None or after is None or len(before) == len(after):
                continue
            theirs, left = ((one.table.column("client"), one.table.column("row")) for one in (before, after))
            for recipient in pc.unique(theirs[0]).to_pylist():
                rows, kept = (column.filter(pc.equal(names, recipient)) for names, column in (theirs, left))
                again = rows.filter(pc.invert(pc.is_in(rows, value_set=kept)))
                if len(again):
                    self.repeats.setdefault(name, {}).setdefault(recipient, []).extend(again.to_pylist())

    @property
    def manifest(self) -> PieceManifest:
        return PieceManifest(
            tuple(
                PieceFile(result.name, result.events, self.repeats.get(result.name, {}))
                for result in self.results
                if result.name
            )
        )

    def read_events(self) -> Iterator[EventBatch]:
        """The events to send, with their bodies; ``read_batches`` has been read to its end."""
        return self.stage.read_pieces(self.run_id, self.manifest, EVENT_ROWS)


@contextmanager
def prepare_pieces(
    run: RunContext, parts: Sequence[FilePart] | None, map_pieces: MapPieces, *, keep: bool = False
) -> Iterator[JoinedPieces]:
    """Let an engine prepare the parts of the run's source; their files go at the end.

    Without ``parts`` the engine knows by itself what to read (a table), and gives its pieces names in their order.
    ``keep`` leaves them where the block ends well. Raises what the engine raises, ``TemporaryError`` where it lost a
    piece, and ``ConfigError`` where a piece's file cannot be seen from here. Nothing was sent then.
    """
    services = run.services
    now = services.clock()
    run_id = run.run_id or f"{now:{RUN_ID_TIME}}-plan-{uuid.uuid4().hex[:8]}"
    platform = services.deployment.platform
    task = PieceTask(
        replace(run.recipe, today=run.recipe.today or now.date()), now, run_id, platform.stage, platform.file_access
    )
    pieces = [Piece(number, part) for number, part in enumerate(parts or ())]
    services.stage.purge_events(run_id)  # of an earlier attempt at this run
    try:
        found: dict[int, PieceResult] = {}
        results = map_pieces(task, pieces) if pieces or parts is None else ()
        for result in results if parts is not None else _number_pieces(results):
            found.setdefault(result.number, result)
        _check_complete(found, pieces, services.stage, run_id)
        yield JoinedPieces(run_id, services.stage, pieces, [found[number] for number in sorted(found)])
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            services.stage.purge_events(run_id)


def _number_pieces(results: Iterable[PieceResult]) -> Iterator[PieceResult]:
    """In the order of a table's files, whatever tasks read them; an engine returns each row once."""
    for number, result in enumerate(sorted(results, key=lambda one: (one.origin, one.first_row))):
        result.number = number
        yield result


def _check_complete(found: Mapping[int, PieceResult], pieces: Sequence[Piece], stage: Stage, run_id: str) -> None:
    lost = [piece for piece in pieces if piece.number not in found]
    if lost:
        raise TemporaryError(
            f"{len(lost)} of {len(pieces)} pieces of the window were not prepared, the first of them a part of"
            f" {lost[0].part.origin}. Nothing was sent; repeating is safe."
        )
    names = [one.name for one in found.values() if one.name]
    unseen = set(names) - stage.list_piece_names(run_id) if names else ()
    if unseen:
        raise ConfigError(
            f"platform.stage: {len(unseen)} of {len(names)} files that were written there by other machines cannot be"
            " seen from this one.\nName a folder that all of them share, or an object store. Nothing was sent;"
            " repeating is safe."
        )
