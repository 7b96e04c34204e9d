"""The index on disk: which request had each event last, in segments that are sorted once and never changed.

Keys are random, so that in one B-tree each thousand of them changes a thousand pages. Here they are written in order, a
segment for each 262,144, and segments of a size are made one of now and then: a log-structured merge tree. Of each
segment memory holds a filter, which rules out nearly all events that are not in it, and where each block begins.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.errors import LedgerError
from offline_capi.ledger.index.filter import KeyFilter, Keys, Probe, argsort_keys, split_keys
from offline_capi.ledger.prepared import Prepared, fetch_rows, split_ids
from offline_capi.ledger.schema.tables import segment, segment_block
from offline_capi.model import KEY_BYTES

__all__ = ["Entries", "Keep", "Segment", "count_due", "load_segments", "merge_entries", "read_merged", "write_segment"]

#: Entries of a block: 7.5 KiB, two pages of SQLite. Larger ones cost more where few are read, smaller ones where
#: many are.
BLOCK_ENTRIES = 320
#: The number of a block is that of its segment and its place there, in 63 bits.
_BLOCKS_PER_SEGMENT = 2**24
#: From this place on stand the pieces of its filter, in bytes, as blocks whose "owners" are their number: drivers and
#: databases copy each value that they are given, and it would have eight megabytes.
_FIRST_PIECE = _BLOCKS_PER_SEGMENT // 2
_PIECE_BYTES = 65_536
_ID_BITS = 39
#: Entries that are sorted, cut and written at a time while segments are made: a dozen copies of them come and go.
_STEP_ENTRIES = 16_384
#: Segments of a size that are made one of, and the smallest and the largest size for which that is done: a size is four
#: times the one before. An index of a hundred million has some twenty segments, each entry was written five times.
FAN_SEGMENTS = 4
SMALLEST_SIZE_ENTRIES = 524_288
_SIZES = 3
#: Blocks asked for in one statement.
_BLOCKS_PER_STATEMENT = 4_000

_FENCES = np.dtype(f"S{KEY_BYTES}")
_OWNERS = np.dtype("<i8")
_WORDS = np.dtype("<u8")


class Entries(NamedTuple):
    """Keys in order, none twice, each with the id of the request that has it."""

    keys: Keys
    owners: NDArray[np.int64]

    def select(self, which: Any) -> Entries:
        return Entries(self.keys[which], self.owners[which])

    def find(self, keys: Keys) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which of ``keys`` are here, and the request of each of those."""
        if not len(self.keys):
            return np.zeros(len(keys), bool), self.owners
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        same = self.keys[at] == keys
        return same, self.owners[at[same]]


# The database cuts the blocks: a statement for each makes way for other threads each time.
_CUT = sa.text(f"""
    INSERT INTO segment_block (id, keys, owners)
    WITH RECURSIVE block (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM block WHERE n < :last)
    SELECT :first + n, substr(:keys, n * {BLOCK_ENTRIES * KEY_BYTES} + 1, {BLOCK_ENTRIES * KEY_BYTES}),
        substr(:owners, n * {BLOCK_ENTRIES * 8} + 1, {BLOCK_ENTRIES * 8}) FROM block
""")  # noqa: S608  numbers of this module
_ENTRIES = sa.select(segment_block.c["keys"], segment_block.c.owners).order_by(segment_block.c.id)
_SPAN = Prepared(_ENTRIES.where(segment_block.c.id.between(sa.bindparam("first"), sa.bindparam("last"))))
_INSERT_BLOCK = Prepared(sa.insert(segment_block), ["id", "keys", "owners"])
# Numbers in the text of the statement: databases take some thousand parameters at most.
_CHOSEN = "SELECT keys, owners FROM segment_block WHERE id IN (%s) ORDER BY id"

Keep = Callable[[Entries], NDArray[np.bool_]]


def merge_entries(parts: Iterable[Entries]) -> Entries:
    """All entries, those of later parts over those of earlier ones."""
    every = _concatenate(list(parts))
    ranked = every.select(argsort_keys(every.keys))
    newest = np.append(ranked.keys[1:] != ranked.keys[:-1], np.ones(min(1, len(ranked.keys)), bool))
    return ranked.select(newest)


def _concatenate(parts: Sequence[Entries]) -> Entries:
    return Entries(np.concatenate([part.keys for part in parts]), np.concatenate([part.owners for part in parts]))


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries on disk, and what is kept of them in memory: two bytes each.

    ``oldest`` and ``newest`` are the first and the last id of its requests: those of two segments never overlap.
    """

    id: int
    keys: int
    oldest: int
    newest: int
    fences: Keys
    filter: KeyFilter

    def find(self, connection: sa.Connection, keys: Keys, probe: Probe) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Places in ``keys`` of those that are here, and the request of each."""
        places = self.filter.may_hold(probe)
        numbers = np.searchsorted(self.fences, keys[places], "right") - 1
        places, numbers = places[numbers >= 0], numbers[numbers >= 0]
        if not len(places):
            return places, np.empty(0, np.int64)
        here, owners = self._read_blocks(connection, np.unique(numbers)).find(keys[places])
        return places[here], owners

    def may_have(self, request_ids: NDArray[np.int64]) -> bool:
        """Whether it is of the time of these requests, which are in order."""
        return bool(len(request_ids)) and self.oldest <= request_ids[-1] and self.newest >= request_ids[0]

    def read_range(self, connection: sa.Connection, low: bytes, high: bytes | None) -> Entries:
        """Its entries from ``low`` on and before ``high``."""
        ends = np.array([low, high or b""], _FENCES)
        first = max(0, int(np.searchsorted(self.fences, ends[0], "right")) - 1)
        last = int(np.searchsorted(self.fences, ends[1], "left")) if high else len(self.fences)
        if first >= last:
            return Entries(np.empty(0, _FENCES), np.empty(0, np.int64))
        here = self._read_blocks(connection, np.arange(first, last))
        start = int(np.searchsorted(here.keys, ends[0], "left"))
        stop = int(np.searchsorted(here.keys, ends[1], "left")) if high else len(here.keys)
        return here.select(slice(start, stop))

    def remove(self, connection: sa.Connection) -> None:
        """Take it off the disk."""
        first = self.id * _BLOCKS_PER_SEGMENT
        connection.execute(
            sa.delete(segment_block).where(segment_block.c.id.between(first, first + _BLOCKS_PER_SEGMENT - 1))
        )
        connection.execute(sa.delete(segment).where(segment.c.id == self.id))

    def _read_blocks(self, connection: sa.Connection, numbers: NDArray[np.intp]) -> Entries:
        """The entries of these blocks, whose numbers are in order."""
        first, last, asked = int(numbers[0]), int(numbers[-1]), len(numbers)
        if last - first < 2 * asked:  # most of them in a row: a span is read quicker than each by its number
            asked = last - first + 1
            rows = _SPAN.fetch(
                connection, first=self.id * _BLOCKS_PER_SEGMENT + first, last=self.id * _BLOCKS_PER_SEGMENT + last
            )
        else:
            parts = split_ids((numbers + self.id * _BLOCKS_PER_SEGMENT).tolist(), _BLOCKS_PER_STATEMENT)
            rows = [row for part in parts for row in fetch_rows(connection, _CHOSEN % ",".join(map(str, part)))]
        if len(rows) < asked:
            raise _make_damage_error(self.id, asked - len(rows))
        return Entries(
            split_keys(b"".join([keys for keys, _ in rows])),
            np.frombuffer(b"".join([owners for _, owners in rows]), _OWNERS),
        )


def load_segments(connection: sa.Connection, ids: Iterable[int]) -> list[Segment]:
    """These segments, read from the database."""
    rows = connection.execute(sa.select(segment).where(segment.c.id.in_(sorted(ids)))).fetchall()
    return [
        Segment(
            row.id,
            row.keys,
            row.oldest,
            row.newest,
            np.frombuffer(row.fences, _FENCES),
            KeyFilter(np.frombuffer(row.filter or _read_filter(connection, row.id), _WORDS)),
        )
        for row in rows
    ]


def _read_filter(connection: sa.Connection, segment_id: int) -> bytes:
    """The filter of a segment that was written in pieces; in those of earlier versions it is a value of its row."""
    first, last = (segment_id * _BLOCKS_PER_SEGMENT + number for number in (_FIRST_PIECE, _BLOCKS_PER_SEGMENT - 1))
    rows = _SPAN.fetch(connection, first=first, last=last)
    number = int(np.frombuffer(rows[0][1], _OWNERS)[0]) if rows else 1
    if len(rows) != number:  # events would be taken for new ones
        raise _make_damage_error(segment_id, number - len(rows))
    return b"".join([piece for piece, _ in rows])


def _make_damage_error(segment_id: int, blocks: int) -> LedgerError:
    return LedgerError(
        f"the ledger's index is damaged: of segment {segment_id}, {blocks} blocks are missing. "
        "Nothing is sent without them; restore the ledger's database from a backup"
    )


def count_due(sizes: Sequence[int]) -> int:
    """How many of the newest segments are to be made one of; ``sizes`` are those of all, from the oldest on."""
    for limit in (SMALLEST_SIZE_ENTRIES * FAN_SEGMENTS**rank for rank in range(_SIZES)):
        tail = next((number for number, size in enumerate(reversed(sizes)) if size >= limit), len(sizes))
        if (
            sum(size * FAN_SEGMENTS >= limit or limit == SMALLEST_SIZE_ENTRIES for size in sizes[len(sizes) - tail :])
            >= FAN_SEGMENTS
        ):
            return tail
    return 0


def read_merged(connection: sa.Connection, segments: Sequence[Segment], keep: Keep | None = None) -> Iterator[Entries]:
    """The entries of segments, in order and some at a time; ``segments`` stand from the oldest on.

    Those for which ``keep`` says ``False`` are left out.
    """
    steps = max(1, sum(one.keys for one in segments) // _STEP_ENTRIES)
    bounds = [(number * 2**64 // steps).to_bytes(8, "big").ljust(KEY_BYTES, b"\0") for number in range(steps)]
    for low, high in pairwise([*bounds, None]):
        entries = merge_entries(one.read_range(connection, low or b"", high) for one in segments)
        yield entries if keep is None else entries.select(keep(entries))


def write_segment(connection: sa.Connection, parts: Iterable[Entries], most: int) -> Segment | None:
    """A new segment of entries that come in order, at most so many; ``None`` where none come."""
    writer = _Writer(connection, most)
    for part in parts:
        writer.add(part)
    return writer.close()


class _Writer:
    """Cuts entries into blocks."""

    def __init__(self, connection: sa.Connection, most: int) -> None:
        self._connection = connection
        self._id = secrets.randbits(_ID_BITS)  # never used again: another process may still have an earlier segment
        self._filter, self._fences, self._count = KeyFilter.for_keys(most), [np.empty(0, _FENCES)], 0
        self._oldest, self._newest = 2**63 - 1, 0
        self._rest = Entries(np.empty(0, _FENCES), np.empty(0, np.int64))

    def add(self, part: Entries) -> None:
        for start in range(0, len(part.keys), _STEP_ENTRIES):
            self._add(part.select(slice(start, start + _STEP_ENTRIES)))

    def _add(self, part: Entries) -> None:
        self._filter.add(part.keys)
        self._oldest, self._newest = min(self._oldest, part.owners.min()), max(self._newest, part.owners.max())
        entries = _concatenate([self._rest, part])
        full = len(entries.keys) // BLOCK_ENTRIES * BLOCK_ENTRIES
        self._write(entries.select(slice(0, full)))
        self._rest = entries.select(slice(full, None))

    def close(self) -> Segment | None:
        self._write(self._rest)
        if not self._count:
            return None
        fences = np.concatenate(self._fences)
        made = Segment(self._id, self._count, int(self._oldest), int(self._newest), fences, self._filter)
        plain = {name: getattr(made, name) for name in ("id", "keys", "oldest", "newest")}
        self._connection.execute(sa.insert(segment).values(plain | {"fences": fences.tobytes(), "filter": b""}))
        bits, first = (
            made.filter.words.astype(_WORDS, copy=False).data.cast("B"),
            self._id * _BLOCKS_PER_SEGMENT + _FIRST_PIECE,
        )
        pieces = [bits[start : start + _PIECE_BYTES] for start in range(0, len(bits), _PIECE_BYTES)]
        number_of = np.array([len(pieces)], _OWNERS).tobytes()
        rows = [{"id": first + place, "keys": piece, "owners": number_of} for place, piece in enumerate(pieces)]
        _INSERT_BLOCK.execute_many(self._connection, rows)
        return made

    def _write(self, entries: Entries) -> None:
        count = len(entries.keys)
        if not count:
            return
        given = {
            "first": self._id * _BLOCKS_PER_SEGMENT + self._count // BLOCK_ENTRIES,
            "last": (count - 1) // BLOCK_ENTRIES,
            "keys": entries.keys.tobytes(),
            "owners": entries.owners.astype(_OWNERS).tobytes(),
        }
        self._connection.execute(_CUT, given)
        self._fences.append(entries.keys[::BLOCK_ENTRIES].copy())  # as a view it would hold all of them
        self._count += count
