"""The nouns: what travels through the pipeline, in the order in which it changes.

``SourceRows`` (as the source gave them) → ``MappedRows`` (our field names, **readable**) → ``HashedRows`` (identity as
digests) → ``EventBatch`` (payload bytes, staged and sent) → ``Request`` → ``Outcome``. Readable and hashed rows are
different types, so that forgetting to hash does not type-check.

All are frozen and wrap Arrow data; none holds a row as a Python object. This module imports nothing heavy: Arrow
appears in annotations only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from offline_capi.recipients import client_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FEW_PARTS",
    "KEY_BYTES",
    "REASONS",
    "WARNING_TEXTS",
    "BuiltEvents",
    "DroppedValues",
    "EventBatch",
    "Fate",
    "Fault",
    "GateFinding",
    "HashedRows",
    "IdentityColumn",
    "MappedRows",
    "Outcome",
    "ReadBack",
    "Reason",
    "ReasonText",
    "Rejections",
    "Request",
    "SentEvents",
    "SourceRows",
    "Tally",
    "WantedRows",
    "Window",
    "bytes_of",
    "sent_events",
]

#: Bytes of an event's key: a collision among a hundred million is one in 10**22.
KEY_BYTES = 16


# ---------------------------------------------------------------------------------------------- time


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open range of source time, ``since <= t < until``; both ends are aware datetimes in the upload's zone."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("a window needs aware datetimes")
        if self.since >= self.until:
            raise ValueError("a window needs since < until")

    @classmethod
    def of_day(cls, day: date, zone: str) -> Window:
        """The calendar day ``day`` in ``zone``: 23 or 25 hours long where the clocks change."""
        return cls.of_day_at(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)))

    @classmethod
    def of_day_at(cls, moment: datetime) -> Window:
        """The calendar day that begins at or before ``moment``, in the moment's own zone."""
        start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        after = start.date() + timedelta(days=1)
        return cls(start, start.replace(year=after.year, month=after.month, day=after.day))

    def looking_back(self, lookback: timedelta) -> Window:
        """The same window, begun earlier by ``lookback`` of wall time, for rows that arrive late."""
        return Window(self.since - lookback, self.until)

    def to_json(self) -> dict[str, str]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat(), "zone": str(self.since.tzinfo)}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Window:
        """The window that ``to_json`` wrote; UTC where its zone was a bare offset, which has no name."""
        try:
            zone: tzinfo = ZoneInfo(data["zone"])
        except (ZoneInfoNotFoundError, ValueError):
            zone = UTC
        return cls(*(datetime.fromisoformat(data[end]).astimezone(zone) for end in ("since", "until")))

    def __str__(self) -> str:
        """``2026-11-23`` for a whole day in its zone, else both ends."""
        if self == Window.of_day_at(self.since):
            return f"{self.since.date()} ({self.since.tzinfo})"
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} ({self.since.tzinfo})"


# ---------------------------------------------------------------------------------------------- fates


class Fate(StrEnum):
    """What became of a row. Every row read ends in exactly one."""

    SENT = "sent"
    ALREADY_SENT = "already_sent"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    HELD = "held"


class Reason(StrEnum):
    """Why a row could not become an event, or why it waits."""

    MALFORMED_ROW = "malformed_row"
    UNREADABLE_TIME = "unreadable_time"
    MISSING_TIME = "missing_time"
    FUTURE = "future"
    TOO_OLD = "too_old"
    MISSING_VALUE = "missing_value"
    UNREADABLE_VALUE = "unreadable_value"
    UNKNOWN_VALUE = "unknown_value"
    NO_IDENTIFIER = "no_identifier"
    TOO_LITTLE_DATA = "too_little_data"
    MISSING_EVENT_ID = "missing_event_id"
    DUPLICATE_EVENT_ID = "duplicate_event_id"
    PURCHASE_WITHOUT_VALUE = "purchase_without_value"
    VALUE_WITHOUT_CURRENCY = "value_without_currency"
    BAD_CURRENCY = "bad_currency"
    FORBIDDEN_DATA = "forbidden_data"
    TOO_LARGE = "too_large"
    UNKNOWN_CLIENT = "unknown_client"
    PAUSED_CLIENT = "paused_client"
    CLIENT_STOPPED = "client_stopped"
    LOST_ANSWER = "lost_answer"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    OTHER_RUN = "other_run"
    NOT_SENT = "not_sent"
    NOT_COUNTED = "not_counted"
    GATE_CLOSED = "gate_closed"
    OVER_LIMIT = "over_limit"


class ReasonText(NamedTuple):
    """One sentence each: what is wrong with the row, and what its owner does about it."""

    what: str
    fix: str


REASONS: Mapping[Reason, ReasonText] = {
    Reason.MALFORMED_ROW: ReasonText(
        "the line cannot be split into the file's columns", "mend the file: an unquoted delimiter is the usual cause"
    ),
    Reason.UNREADABLE_TIME: ReasonText(
        "the event time cannot be read", "declare format, unit or timezone under event.time, or mend the source"
    ),
    Reason.MISSING_TIME: ReasonText(
        "the event time is empty", "fill it in the source; it is never taken from the clock"
    ),
    Reason.FUTURE: ReasonText(
        "the event time lies in the future", "look at the time zone of the source: naive values are the usual cause"
    ),
    Reason.TOO_OLD: ReasonText("older than Meta accepts", "run more often, or backfill inside Meta's window"),
    Reason.MISSING_VALUE: ReasonText("a required field is empty", "fill it in the source or give a default"),
    Reason.UNREADABLE_VALUE: ReasonText("a value does not fit its declared type", "mend the source or the type"),
    Reason.UNKNOWN_VALUE: ReasonText("a value is not in the declared map", "add it to the map or give a default"),
    Reason.NO_IDENTIFIER: ReasonText("no usable identifier of a person", "map at least one of em, ph, external_id, …"),
    Reason.TOO_LITTLE_DATA: ReasonText(
        "too little customer data for Meta to accept", "map an e-mail address, a phone number or an id as well"
    ),
    Reason.MISSING_EVENT_ID: ReasonText("a part of the event id is empty", "use business keys that are never null"),
    Reason.DUPLICATE_EVENT_ID: ReasonText(
        "an earlier row of this run has the same event id", "add the column that tells the two rows apart to event.id"
    ),
    Reason.PURCHASE_WITHOUT_VALUE: ReasonText("a Purchase needs a value and a currency", "map custom_data.value"),
    Reason.VALUE_WITHOUT_CURRENCY: ReasonText("a value needs a currency", "map custom_data.currency"),
    Reason.BAD_CURRENCY: ReasonText("the currency is not an ISO 4217 code", "map the source's words to codes"),
    Reason.FORBIDDEN_DATA: ReasonText("a field holds data that must never be sent", "remove it from the mapping"),
    Reason.TOO_LARGE: ReasonText("the event alone exceeds the request's byte limit", "shorten contents or properties"),
    Reason.UNKNOWN_CLIENT: ReasonText(
        "the client is not configured, or not in the upload's map", "add it to clients.yml or to the map, and replay"
    ),
    Reason.PAUSED_CLIENT: ReasonText("the client is paused", "set active: true in clients.yml and run again"),
    Reason.CLIENT_STOPPED: ReasonText(
        "sending stopped for this client after an access fault", "renew its token or permission and run again"
    ),
    Reason.LOST_ANSWER: ReasonText(
        "sent, but no answer says whether it arrived", "run again within Meta's window: the same ids count once"
    ),
    Reason.UNREACHABLE: ReasonText("the endpoint could not be reached", "look at the network and graph_url; run again"),
    Reason.THROTTLED: ReasonText("Meta asked us to wait longer than the run may", "run again later"),
    Reason.OTHER_RUN: ReasonText("another run is sending this event", "nothing; look at that run's report"),
    Reason.NOT_COUNTED: ReasonText(
        "taken without an error, and not counted as received", "look at the event in Meta's Events Manager"
    ),
    Reason.GATE_CLOSED: ReasonText(
        "a gate stopped the run before its first request",
        "look at its figures in the report; if they are right, upload once more with --force-gates",
    ),
    Reason.OVER_LIMIT: ReasonText(
        "the client's limit of events a run is reached", "run again: the next ones go, as many as limits.events_per_run"
    ),
    Reason.NOT_SENT: ReasonText("the task that sends it did not get to it", "clear that task, or run again"),
}


#: What the codes of ``BuiltEvents.warnings`` mean: the events are sent, and count or match badly.
WARNING_TEXTS: Mapping[str, ReasonText] = {
    "event_name_case": ReasonText(
        "a standard event's name in another case is a custom event to Meta", "write it as Meta does, such as Purchase"
    ),
    "negative_purchase": ReasonText("a Purchase below zero", "send refunds under a name of your own"),
    "website_without_url": ReasonText("a website event without its address", "map event.source_url"),
    "website_without_user_agent": ReasonText("a website event without its browser", "map user_data.client_user_agent"),
    "amount_without_currency": ReasonText(
        "predicted_ltv or net_revenue without a currency", "map custom_data.currency"
    ),
    "contents_without_type": ReasonText(
        "contents without content_type match every item of that id", "set custom_data.content_type"
    ),
    "crm_not_system_generated": ReasonText(
        "the stage of a lead from another source", "set event.action_source to system_generated"
    ),
    "crm_without_name": ReasonText("the stage of a lead without the CRM's name", "set custom_data.lead_event_source"),
    "original_event_of_conversion": ReasonText(
        "a conversion that points at an earlier event", "keep event.original_event for AppendValue"
    ),
    "not_after_original_event": ReasonText(
        "an added value that is not later than its event", "take the time at which the value became known"
    ),
    "limited_data_use_without_ip": ReasonText(
        "limited data use, and nothing by which Meta finds the place",
        "give the state, or map user_data.client_ip_address",
    ),
}


# ---------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class SourceRows:
    """A batch of rows as the source gave them.

    ``origin`` names the file or query; ``first_row`` is the number of the first row in it, counted from 1 without a
    header line. ``faults`` marks lines that could not be split into columns: they are rows of nulls here.
    """

    batch: pa.RecordBatch
    origin: str
    first_row: int
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return int(self.batch.num_rows)


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows that cannot go on: ``where`` is a boolean array beside the rows, true at the faulty ones.

    A row with several faults is rejected for the first in the sequence.
    """

    reason: Reason
    field: str
    where: pa.BooleanArray


@dataclass(frozen=True, slots=True)
class IdentityColumn:
    """One source column for an identity key: strings beside the rows, null where empty.

    ``hashed`` says that the column was declared as SHA-256 already. ``country`` is an array of countries as the source
    writes them, beside the values (``None``: only the client's default). ``label`` names the source column for
    reports.
    """

    values: pa.Array
    label: str
    hashed: bool = False
    country: pa.Array | None = None
    formats: tuple[str, ...] = ()


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
    - ``dropped``: identity values that were lost in a map or a cast, and texts that must never be sent
    """

    origin: str
    row: pa.Array
    client: pa.Array
    event: Mapping[str, pa.Array]
    identity: Mapping[str, Sequence[IdentityColumn]]
    custom: Mapping[str, pa.Array]
    suppressed: pa.BooleanArray
    faults: tuple[Fault, ...] = ()
    outside: int = 0
    dropped: tuple[DroppedValues, ...] = ()

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
class WantedRows:
    """Which rows of a window a replay is about; all others are left alone.

    ``event_ids`` are business keys; ``places`` are row numbers by origin, for rows that are told apart by their place.
    """

    event_ids: pa.Array
    places: Mapping[str, pa.Array]


def bytes_of(column: pa.StringArray | pa.BinaryArray) -> memoryview:
    """The values of a column one after the other, as they lie in memory; those that a slice leaves out are not there.

    Kernels of Arrow let go of the interpreter, and a busy process makes them wait a millisecond to get it back.
    """
    ends, values = _ends(column), column.buffers()[2]
    return memoryview(values or b"").cast("B")[int(ends[0]) : int(ends[-1])]


def _ends(column: pa.StringArray | pa.BinaryArray) -> Any:
    """Where each value ends in the column's bytes, and before it where the first begins."""
    import numpy as np

    if not len(column):
        return np.zeros(1, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]


@dataclass(frozen=True, slots=True)
class HashedRows:
    """``MappedRows`` whose identity is digests (64 lower-case hex), or the raw form for keys that Meta wants raw.

    ``identity``: user_data key → arrays of strings beside the rows, null where there is no usable value; several
    arrays where several columns feed a list key.
    """

    origin: str
    row: pa.Array
    client: pa.Array
    event: Mapping[str, pa.Array]
    identity: Mapping[str, Sequence[pa.Array]]
    custom: Mapping[str, pa.Array]
    suppressed: pa.BooleanArray
    faults: tuple[Fault, ...] = ()
    dropped: tuple[DroppedValues, ...] = ()
    outside: int = 0

    def __len__(self) -> int:
        return len(self.row)

    def parts(self, rows: int) -> Iterator[HashedRows]:
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
                tuple(Fault(fault.reason, fault.field, fault.where.slice(start, rows)) for fault in self.faults),
                self.dropped if start == 0 else (),
                self.outside if start == 0 else 0,
            )


# ---------------------------------------------------------------------------------------------- events


#: So many parts of a batch may wait for others in memory: to write it to disk takes ten times as long as to copy it.
FEW_PARTS = 64


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events ready to be sent; what is staged as Parquet.

    Columns of ``table`` (``events.EVENT_SCHEMA``): ``origin`` and ``row`` (where it came from), ``client``, ``pixel``,
    ``event_name``, ``event_id``, ``event_time`` (UTC seconds), ``day`` (date32, in the upload's zone),
    ``action_source``, ``value``, ``currency``, ``key`` (16 bytes: who this event is, in the ledger) and ``body`` (the
    event's JSON, UTF-8 bytes).
    """

    table: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def keys(self) -> list[bytes]:
        """The events' keys; twenty times as fast as Arrow's ``to_pylist``."""
        import numpy as np

        return cast("list[bytes]", np.frombuffer(self.key_bytes, f"V{KEY_BYTES}").tolist())

    @property
    def key_bytes(self) -> bytes:
        """The events' keys one after the other, 16 bytes each."""
        column = self.table.column("key")
        stored = memoryview(column.buffers()[1] or b"").cast("B")
        return bytes(stored[KEY_BYTES * column.offset : KEY_BYTES * (column.offset + len(column))])

    @property
    def body_bytes(self) -> int:
        """Bytes of all bodies together."""
        return len(self.bytes_of("body"))

    def bytes_of(self, name: str) -> memoryview:
        """The values of a column, see ``bytes_of``."""
        return bytes_of(self.table.column(name))

    def all_have(self, name: str, text: str) -> bool:
        """Whether ``text`` is the value of every event in a column without nulls."""
        value, ends = text.encode(), _ends(self.table.column(name))
        as_long = bool((ends[1:] - ends[:-1] == len(value)).all())
        return as_long and bytes(self.bytes_of(name)) == value * len(self)  # views are compared byte by byte

    def common(self, name: str) -> str | None:
        """The text that every event has in a column without nulls; ``None`` where they differ, or there is none."""
        ends = _ends(self.table.column(name))
        first = str(self.bytes_of(name)[: ends[1] - ends[0]], "utf-8") if len(self) else None
        return first if first is not None and self.all_have(name, first) else None

    def apart(self, *names: str) -> Iterator[tuple[tuple[str, ...], EventBatch]]:
        """The events by what they have in these columns of texts, in the order in which that first appears.

        However many parts there are, the events are copied once: the parts are slices of one batch, and that is on disk
        where they are more than ``FEW_PARTS``.
        """
        import numpy as np
        import pyarrow as pa

        columns = [self.table.column(name).dictionary_encode() for name in names]
        shape = tuple(max(len(column.dictionary), 1) for column in columns)
        codes = np.ravel_multi_index([column.indices.to_numpy() for column in columns], shape)
        distinct, firsts, sizes = np.unique(codes, return_index=True, return_counts=True)
        ranks, grouped = np.argsort(np.argsort(firsts)), self
        if len(distinct) > 1:
            order = np.argsort(ranks[np.searchsorted(distinct, codes)], kind="stable")
            grouped = self.take(pa.array(order))
        if len(distinct) > FEW_PARTS:
            grouped = grouped.on_disk()
        start, texts = 0, [column.dictionary.to_pylist() for column in columns]
        for one in np.argsort(firsts):
            places = np.unravel_index(distinct[one], shape)
            key = tuple(text[int(place)] for text, place in zip(texts, places, strict=True))
            yield key, grouped.slice(start, int(sizes[one]))
            start += int(sizes[one])

    def copied(self) -> EventBatch:
        """The same events without the larger batch of which they are a slice."""
        import numpy as np
        import pyarrow as pa

        return self.take(pa.array(np.arange(len(self))))

    def on_disk(self) -> EventBatch:
        """The same events in a file without a name that ends with them, so that those that wait take no memory."""
        from tempfile import NamedTemporaryFile

        import pyarrow as pa

        try:
            with NamedTemporaryFile(prefix="offline_capi-") as file:
                with pa.ipc.new_file(file, self.table.schema) as writer:
                    writer.write_batch(self.table)
                file.flush()
                return EventBatch(pa.ipc.open_file(pa.memory_map(file.name)).get_batch(0))
        except OSError:  # no room there: they stay in memory
            return self

    @classmethod
    def joined(cls, batches: Iterable[EventBatch]) -> EventBatch:
        """All of them in one, copied; there has to be one at least."""
        import pyarrow as pa

        return cls(pa.concat_batches([batch.table for batch in batches]))

    def take(self, indices: pa.Array) -> EventBatch:
        return EventBatch(self.table.take(indices))

    def filter(self, mask: pa.Array) -> EventBatch:
        return EventBatch(self.table.filter(mask))

    def slice(self, start: int, length: int) -> EventBatch:
        return EventBatch(self.table.slice(start, length))


@dataclass(frozen=True, slots=True)
class Rejections:
    """Rows that did not become events, with the reason and without personal data; staged as Parquet.

    Columns of ``table`` (``events.REJECTION_SCHEMA``): ``origin``, ``row``, ``client``, ``event_id`` (null where the
    row has none), ``day`` (date32 or null), ``fate``, ``reason``, ``field``; ``earlier_origin`` and ``earlier_row``
    name the row that a duplicate repeats, null for every other reason.
    """

    table: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.table.num_rows)


@dataclass(frozen=True, slots=True)
class BuiltEvents:
    """What a batch of rows became. ``rows == len(events) + len(rejections) + sum(suppressed.values())``.

    ``outside`` counts rows of the source that were left to other runs.
    ``suppressed`` counts by (client, day). ``warnings`` counts events that Meta accepts but that will match or measure
    badly, by a short code. ``carried`` says beside the events which of them carry a usable value of each mapped key of
    user_data. ``rows_of`` counts the rows by client, of those that are configured.

    ``copies`` are the events once more, for further pixels of their clients. ``copied`` counts them by recipient, those
    included that are among the rejections: to a pixel that two clients share, an event of one may be that of another.
    """

    rows: int
    events: EventBatch
    rejections: Rejections
    suppressed: Mapping[tuple[str | None, date | None], int] = field(default_factory=dict)
    dropped: tuple[DroppedValues, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    carried: Mapping[str, pa.BooleanArray] = field(default_factory=dict)
    rows_of: Mapping[str, int] = field(default_factory=dict)
    copies: EventBatch | None = None
    copied: Mapping[str, int] = field(default_factory=dict)

    @property
    def outgoing(self) -> tuple[EventBatch, ...]:
        """Everything that is to be sent."""
        return (self.events,) if self.copies is None else (self.events, self.copies)


@dataclass(frozen=True, slots=True)
class Request:
    """Events of one client for one pixel, at most 1,000, that go out in one POST. ``id`` is unique in the ledger."""

    id: str
    client: str
    pixel: str
    events: EventBatch

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Meta answered to one request, as far as we know it: all its events share ``fate``.

    ``code`` and ``subcode`` are Meta's, where it gave any; ``explanation`` is in our words, never Meta's text (it is
    localised and may quote the payload). ``notice`` is for the report whatever the fate.
    """

    request: Request
    fate: Fate
    answered_at: datetime
    tries: int = 1
    code: int | None = None
    subcode: int | None = None
    trace_id: str | None = None
    reason: Reason | None = None
    explanation: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What Meta told about a client's pixel: a later word on the same kind and day replaces it.

    ``kind`` is one of ``clients.read_back.KINDS``, which says what ``figures`` holds. ``day`` is in UTC: the day told
    of, or the day of asking where Meta tells of no day.
    """

    client: str
    pixel: str
    kind: str
    day: date
    figures: Mapping[str, Any]
    read_at: datetime


# ---------------------------------------------------------------------------------------------- counting


class Count(NamedTuple):
    """One cell of the books."""

    fate: Fate
    client: str | None
    day: date | None
    reason: str | None = None
    field: str | None = None


class SentEvents(NamedTuple):
    """Events that one figure of Meta's can be set beside; ``day`` is that of the event in UTC, whatever the zone."""

    client: str
    pixel: str
    event_name: str
    day: date


@dataclass(frozen=True, slots=True)
class GateFinding:
    """A gate that a run did not pass; ``action`` is ``warn``, ``stop``, or ``forced`` where it was let through.

    ``usual`` is the median of the days compared with, where the gate compares; ``sentence`` says it all.
    """

    gate: str
    action: str
    figure: float
    usual: float | None
    sentence: str

    @property
    def stops(self) -> bool:
        return self.action == "stop"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


#: What ``Tally.traffic`` counts by recipient.
TRAFFIC = ("requests", "tries", "bytes")


@dataclass(slots=True)
class Tally:
    """The books of a run or of a part of one: additive, and plain enough to travel as JSON.

    ``read`` counts rows as they come in, independently of ``fates``; that the two agree is the promise. ``outside``
    counts source rows that were left to other runs. ``value`` is what the events are worth, by currency. ``narrowed``
    marks books of some clients or some rows only; ``gates`` is ``None`` until somebody has looked. ``sendable`` counts
    the events that passed every check of their rows, whether or not they were sent before; ``keys`` how many of those
    carry each mapped key of user_data. ``sent_events`` counts what was sent as Meta counts it.
    ``read_of`` counts the rows by client, of those that are configured; ``copies`` the events that go to a further
    pixel as well, by recipient; ``traffic`` requests, tries and accepted bytes by recipient.
    """

    read: int = 0
    outside: int = 0
    fates: Counter[Count] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    tries: int = 0
    sent_bytes: int = 0
    notices: list[str] = field(default_factory=list)
    value: dict[str, float] = field(default_factory=dict)
    narrowed: bool = False
    gates: tuple[GateFinding, ...] | None = None
    sendable: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    sent_events: Counter[SentEvents] = field(default_factory=Counter)
    read_of: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)
    traffic: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.read + other.read,
            self.outside + other.outside,
            self.fates + other.fates,
            self.dropped + other.dropped,
            self.warnings + other.warnings,
            self.requests + other.requests,
            self.tries + other.tries,
            self.sent_bytes + other.sent_bytes,
            list(dict.fromkeys([*self.notices, *other.notices])),
            {key: self.value.get(key, 0.0) + other.value.get(key, 0.0) for key in sorted({*self.value, *other.value})},
            self.narrowed or other.narrowed,
            other.gates if self.gates is None else (*self.gates, *(other.gates or ())),
            self.sendable + other.sendable,
            # Not a Counter: its sum forgets the key that no event carries, of all things.
            {key: self.keys.get(key, 0) + other.keys.get(key, 0) for key in (*self.keys, *other.keys)},
            self.sent_events + other.sent_events,
            self.read_of + other.read_of,
            self.copies + other.copies,
            self.traffic + other.traffic,
        )

    @property
    def accounted(self) -> int:
        """Rows, and copies of events, that have a fate."""
        return sum(self.fates.values())

    @property
    def copied(self) -> int:
        """Events that go to a further pixel of their client as well: each is a delivery of its own."""
        return self.copies.total()

    @property
    def complete(self) -> bool:
        """Whether every row read, and every copy of an event for a further pixel, has exactly one fate."""
        return self.accounted == self.read + self.copied

    def of_client(self, client: str) -> Tally:
        """The books of one client alone, all its pixels included; what is not counted by client is left out."""
        names = {client, *(name for name in self.copies if client_of(name) == client)}
        traffic = Counter({key: n for key, n in self.traffic.items() if key[0] in names})
        requests, tries, sent_bytes = (sum(traffic[name, what] for name in names) for what in TRAFFIC)
        return Tally(
            read=self.read_of[client],
            fates=Counter({count: n for count, n in self.fates.items() if count.client in names}),
            requests=requests,
            tries=tries,
            sent_bytes=sent_bytes,
            narrowed=True,
            read_of=Counter({client: self.read_of[client]}),
            copies=Counter({name: n for name, n in self.copies.items() if name in names}),
            traffic=traffic,
            sent_events=Counter({sent: n for sent, n in self.sent_events.items() if sent.client in names}),
        )

    @property
    def stopped(self) -> bool:
        """Whether a gate stops the run that these books are of."""
        return any(finding.stops for finding in self.gates or ())

    def of(self, fate: Fate) -> int:
        return sum(n for count, n in self.fates.items() if count.fate is fate)

    def by_fate(self) -> dict[Fate, int]:
        """Rows per fate, every fate named, zero included."""
        return {fate: self.of(fate) for fate in Fate}

    def reasons(self, *fates: Fate) -> Counter[tuple[str, str]]:
        """Rows per (reason, field) among the fates given."""
        chosen: Counter[tuple[str, str]] = Counter()
        for count, n in self.fates.items():
            if count.fate in fates:
                chosen[(count.reason or "", count.field or "")] += n
        return chosen

    def to_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "outside": self.outside,
            "fates": [
                [c.fate.value, c.client, c.day.isoformat() if c.day else None, c.reason, c.field, n]
                for c, n in sorted(self.fates.items(), key=lambda item: tuple(map(str, item[0])))
            ],
            "dropped": [[*key, n] for key, n in sorted(self.dropped.items())],
            "warnings": dict(sorted(self.warnings.items())),
            "requests": self.requests,
            "tries": self.tries,
            "sent_bytes": self.sent_bytes,
            "notices": self.notices,
            "value": {currency: round(amount, 2) for currency, amount in sorted(self.value.items())},
            "narrowed": self.narrowed,
            "gates": None if self.gates is None else [finding.to_json() for finding in self.gates],
            "sendable": self.sendable,
            "keys": self.keys,
            "sent_events": [[*sent[:3], sent.day.isoformat(), n] for sent, n in sorted(self.sent_events.items())],
            "read_of": dict(sorted(self.read_of.items())),
            "copies": dict(sorted(self.copies.items())),
            "traffic": [[*key, n] for key, n in sorted(self.traffic.items())],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        fates: Counter[Count] = Counter()
        for fate, client, day, reason, field_, n in data["fates"]:
            fates[Count(Fate(fate), client, date.fromisoformat(day) if day else None, reason, field_)] = n
        return cls(
            read=data["read"],
            outside=data["outside"],
            fates=fates,
            dropped=Counter({(k, column, cause): n for k, column, cause, n in data["dropped"]}),
            warnings=Counter(data["warnings"]),
            requests=data["requests"],
            tries=data["tries"],
            sent_bytes=data["sent_bytes"],
            notices=list(data["notices"]),
            value=dict(data.get("value", {})),  # books that were closed before there were gates have none of these
            narrowed=data.get("narrowed", False),
            gates=None if data.get("gates") is None else tuple(GateFinding(**finding) for finding in data["gates"]),
            sendable=data.get("sendable", 0),  # nor of these, before keys were counted
            keys=dict(data.get("keys", {})),
            sent_events=sent_events(data),
            read_of=Counter(data.get("read_of", {})),
            copies=Counter(data.get("copies", {})),
            traffic=Counter({(recipient, what): n for recipient, what, n in data.get("traffic", ())}),
        )

    @classmethod
    def total(cls, parts: Iterable[Tally]) -> Tally:
        return sum(parts, cls())


def sent_events(tally: Mapping[str, Any]) -> Counter[SentEvents]:
    """What books as JSON say of events sent, without reading the rest of them; nothing where they are older."""
    counted: Counter[SentEvents] = Counter()
    for client, pixel, name, day, n in tally.get("sent_events", ()):
        counted[SentEvents(client, pixel, name, date.fromisoformat(day))] = n
    return counted
