"""Rows on their way to events: as read, under our names, hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from offline_capi.model.fates import Reason

if TYPE_CHECKING:
    import pyarrow as pa

    from offline_capi.model.window import Window

__all__ = [
    "LIST_SEPARATOR",
    "DroppedValues",
    "ExpectationCount",
    "HashedRows",
    "IdentityColumn",
    "MappedRows",
    "NotedValues",
    "RowFault",
    "RowPlacement",
    "SourceRows",
    "WantedRows",
]


@dataclass(frozen=True, slots=True)
class SourceRows:
    """A batch of rows as the source gave them.

    ``origin`` names the file or query; ``first_row`` is the number of the first row in it, counted from 1 without a
    header line; the rows that follow are numbered on, unless ``numbers`` has the number of each. ``faults`` marks lines
    that could not be split into columns: they are rows of nulls here. ``width`` is how many columns the source has,
    those included that nobody asked for; 0 where each row has its own, as in JSON. ``window`` selects rows where that
    is not the run's own.
    """

    batch: pa.RecordBatch
    origin: str
    first_row: int
    faults: tuple[RowFault, ...] = ()
    width: int = 0
    window: Window | None = None
    numbers: pa.Int64Array | None = None

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def row_numbers(self) -> pa.Int64Array:
        """The number of each row in ``origin``."""
        import numpy as np
        import pyarrow as pa

        if self.numbers is not None:
            return self.numbers
        return pa.array(np.arange(self.first_row, self.first_row + len(self), dtype=np.int64))

    def split(self, rows: int) -> Iterator[SourceRows]:
        """The same rows in parts of at most ``rows``, without copying."""
        for start in range(0, max(len(self), 1), rows):
            yield replace(
                self,
                batch=self.batch.slice(start, rows),
                first_row=self.first_row + start,
                faults=tuple(RowFault(one.reason, one.field, one.where.slice(start, rows)) for one in self.faults),
                numbers=None if self.numbers is None else self.numbers.slice(start, rows),
            )


@dataclass(frozen=True, slots=True)
class RowFault:
    """Rows that cannot go on: ``where`` is a boolean array aligned with the rows, true at the faulty ones.

    A row with several faults is invalid for the first in the sequence.
    """

    reason: Reason
    field: str
    where: pa.BooleanArray


@dataclass(frozen=True, slots=True)
class RowPlacement:
    """How an upload places rows in time, for sources that can leave out what surely lies outside of a window.

    ``read`` gives, from a batch that has ``columns``, whole UTC seconds (int64), null where they cannot be read.
    ``column`` is set where dates and timestamps of that one column are the time, as they are: then its values sort as
    time does. ``zone`` is that of naive ones.
    """

    columns: tuple[str, ...]
    read: Callable[[pa.RecordBatch], pa.Int64Array]
    column: str | None
    zone: str


#: Between the values of a list in an ``IdentityColumn``: the record separator of ASCII, which nobody types.
LIST_SEPARATOR = "\x1e"


@dataclass(frozen=True, slots=True)
class IdentityColumn:
    """One source column for an identity key: strings aligned with the rows, null where empty.

    ``hashed`` says that the column was declared as SHA-256 already, or as readable; ``None``: nobody said, and digests
    are passed on. ``zone`` is the zone in which birth dates that are instants are read. ``country`` is an array of
    countries as the source writes them, one per value (``None``: only the client's default). ``label`` names the
    source column for reports. The values of a list stand in one text, with ``LIST_SEPARATOR`` between them.
    """

    values: pa.Array
    label: str
    hashed: bool | None = None
    country: pa.Array | None = None
    formats: tuple[str, ...] = ()
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class MappedRows:
    """Rows under our field names, **readable**: this type never leaves memory.

    - ``row``: int64, the row's number in ``origin``
    - ``client``: string, null where the source has none
    - ``event``: event-level fields by wire name; ``event_name``, ``event_id``, ``action_source``, … as strings,
      ``event_time`` as int64 UTC seconds, null where missing or unreadable
    - ``identity``: user_data key → its columns, in the order of the YAML
    - ``custom``: custom_data key → array of strings, float64, int64, bool; ``contents`` as strings of JSON arrays
    - ``suppressed``: boolean, true where consent is missing
    - ``faults``: rows that cannot go on
    - ``outside``: how many source rows lie outside the run's window and were left to other runs
    - ``filtered``: how many rows of the window are not meant, by the upload's ``filter``
    - ``dropped``: identity values that were lost in a map or a cast, and texts that must never be sent
    - ``noted``: columns of ids that a spreadsheet seems to have rounded
    - ``expected``: what the checks of ``expect`` count
    """

    origin: str
    row: pa.Array
    client: pa.Array
    event: Mapping[str, pa.Array]
    identity: Mapping[str, Sequence[IdentityColumn]]
    custom: Mapping[str, pa.Array]
    suppressed: pa.BooleanArray
    faults: tuple[RowFault, ...] = ()
    outside: int = 0
    dropped: tuple[DroppedValues, ...] = ()
    noted: tuple[NotedValues, ...] = ()
    filtered: int = 0
    expected: tuple[ExpectationCount, ...] = ()

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class DroppedValues:
    """Values that do not go out, counted: the rows go on without them.

    ``key`` is a key of user_data, or the path of another field (``custom_data.content_name``); ``column`` names the
    source column, or is empty where a client's setting leaves the field out.
    """

    key: str
    column: str
    cause: str
    count: int


@dataclass(frozen=True, slots=True)
class NotedValues:
    """Values that go out, counted for what is worth knowing of them.

    ``what`` is ``came_hashed``, ``written_h``, ``written_m`` or ``rounded_15``. ``key`` is a key of user_data, or the
    path of another field.
    """

    key: str
    column: str
    what: str
    count: int


@dataclass(frozen=True, slots=True)
class ExpectationCount:
    """Rows of one client that fail a check of ``expect``; of ``fresh_within``, rows that are fresh.

    ``client`` is what the row has there, which may be anybody's name: books name only known clients.
    """

    label: str
    client: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class WantedRows:
    """Which rows of a window a replay is about; all others are left alone.

    ``event_ids`` are business keys; ``places`` are row numbers by origin, for rows identified by their position.
    """

    event_ids: pa.Array
    places: Mapping[str, pa.Array]


@dataclass(frozen=True, slots=True)
class HashedRows:
    """``MappedRows`` whose identity is digests (64 lower-case hex), or the raw form for keys that Meta wants raw.

    ``identity``: user_data key → arrays of strings aligned with the rows, null where there is no usable value; several
    arrays where several columns feed a list key, or where a cell holds several values; ``columns`` separates the two:
    how many columns of the YAML feed each key. ``profiles`` are the versions by which they were read.
    """

    origin: str
    row: pa.Array
    client: pa.Array
    event: Mapping[str, pa.Array]
    identity: Mapping[str, Sequence[pa.Array]]
    custom: Mapping[str, pa.Array]
    suppressed: pa.BooleanArray
    faults: tuple[RowFault, ...] = ()
    dropped: tuple[DroppedValues, ...] = ()
    outside: int = 0
    noted: tuple[NotedValues, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    filtered: int = 0
    expected: tuple[ExpectationCount, ...] = ()

    def __len__(self) -> int:
        return len(self.row)

    def split(self, rows: int) -> Iterator[HashedRows]:
        """The same rows in parts of at most ``rows``, without copying; what is counted once stands in the first."""
        for start in range(0, max(len(self), 1), rows):
            yield HashedRows(
                self.origin,
                self.row.slice(start, rows),
                self.client.slice(start, rows),
                {name: column.slice(start, rows) for name, column in self.event.items()},
                {key: [column.slice(start, rows) for column in columns] for key, columns in self.identity.items()},
                {name: column.slice(start, rows) for name, column in self.custom.items()},
                self.suppressed.slice(start, rows),
                tuple(RowFault(fault.reason, fault.field, fault.where.slice(start, rows)) for fault in self.faults),
                self.dropped if start == 0 else (),
                self.outside if start == 0 else 0,
                self.noted if start == 0 else (),
                self.columns,
                self.profiles,
                self.filtered if start == 0 else 0,
                self.expected if start == 0 else (),
            )
