"""Book-keeping while a run goes on: every row is entered once when read, and once when its fate is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.model import (
    TRAFFIC,
    AbsentFile,
    BuiltEvents,
    Count,
    EventBatch,
    Fate,
    Outcome,
    Reason,
    SentEvents,
    Tally,
    UnsentRows,
    ValueCell,
)
from offline_capi.model.recipients import get_client_name

__all__ = ["UNDELIVERED", "Books"]

#: Events that were good to go and did not arrive, as far as we know.
UNDELIVERED = frozenset({Fate.REJECTED_BY_META, Fate.UNCONFIRMED, Fate.DEFERRED})

#: What is kept of an event that did not arrive, beside its fate and reason.
_KEPT_OF_EVENT = ("origin", "row", "client", "event_id", "day", "key")

#: Unknown clients that are named, the first of a run: a wrong column may hold anything, and as much of it.
NAMED = 50

#: Since when an earlier run has told of each of these rows (columns of ``UnsentRows``), as ISO days; null where new.
KnownSince = Callable[[pa.RecordBatch], pa.Array]
#: The column in which it is kept beside the rows.
KNOWN_SINCE = "known_since"


def _none_known(losses: pa.RecordBatch) -> pa.Array:
    return pa.nulls(losses.num_rows, pa.string())


def lost_events(events: EventBatch, fate: Fate, reason: str | None) -> pa.RecordBatch:
    """What is kept of events that did not arrive: where they came from, who they are, and why."""
    kept = events.table.select(list(_KEPT_OF_EVENT))
    words = (pa.repeat(pa.scalar(word, pa.string()), len(events)) for word in (fate.value, reason))
    nowhere = pa.nulls(len(events), pa.string())
    return pa.RecordBatch.from_arrays(
        [*kept.columns, *words, nowhere], names=[*_KEPT_OF_EVENT, "fate", "reason", "field"]
    )


#: So many combinations are counted in place; where there could be more, those that occur are numbered first.
MAX_WIDTH = 4_096
EPOCH = date(1970, 1, 1)


class Books:
    """The open books of a run; ``tally`` is their state at any time. Not thread-safe: one writer.

    ``on_entry`` hears of progress. ``keep_rejects`` gets every batch of invalid rows to store it, ``keep_undelivered``
    the events that did not arrive, with fate and reason; a column ``known_since`` beside them is what the function of
    that name says of them. ``narrowed`` marks books of a part of the rows only, and ``absent`` are the files that the
    source lacked. Rows of days before ``late_before`` are counted as late.
    """

    def __init__(
        self,
        on_entry: Callable[[Tally], None] = lambda _: None,
        keep_rejects: Callable[[pa.RecordBatch], None] = lambda _: None,
        keep_undelivered: Callable[[pa.RecordBatch], None] = lambda _: None,
        *,
        narrowed: bool = False,
        absent: Sequence[AbsentFile] = (),
        known_since: KnownSince = _none_known,
        late_before: date | None = None,
    ) -> None:
        self.tally = Tally(narrowed=narrowed, absent=tuple(absent))
        self._known_since = known_since
        self._late_before = late_before
        self._strangers: set[str] = set()
        self._on_entry = on_entry
        self._keep_rejects = keep_rejects
        self._keep_undelivered = keep_undelivered

    def enter_built(self, built: BuiltEvents) -> None:
        """A batch of rows, read and built: those that ended before delivery are booked, its events stay open."""
        self.tally.read += built.rows
        self.tally.outside += built.outside
        self.tally.filtered += built.filtered
        self.tally.read_of.update(built.rows_of)
        self.tally.copies.update(built.copied)
        self.enter_unsent(built.unsent)
        for (client, day), rows in built.suppressed.items():
            self.tally.fates[Count(Fate.SUPPRESSED, self._named(client), day)] += rows
        for drop in built.dropped:
            self.tally.dropped[(drop.key, drop.column, drop.cause)] += drop.count
        self.tally.profiles = tuple(sorted({*self.tally.profiles, *built.profiles}))
        for one in built.expected:
            self.tally.expected[one.label, self._named(one.client) or ""] += one.rows
        for note in built.noted:
            self.tally.noted[(note.key, note.column, note.what)] += note.count
        self.tally.warnings.update(built.warnings)
        self.tally.sendable += len(built.events)
        clients, codes = _tell_clients_apart(built.events)
        self.tally.sendable_of.update(
            dict(zip(clients, np.bincount(codes, minlength=len(clients)).tolist(), strict=True))
        )
        for key, carried in built.carried.items():
            self.tally.keys[key] = self.tally.keys.get(key, 0) + carried.true_count
            for client, rows in zip(clients, _count_where(carried, codes, len(clients)), strict=True):
                self.tally.keys_of[client, key] = self.tally.keys_of.get((client, key), 0) + rows
        value, value_of = self.tally.value, self.tally.value_of
        for recipient, currency, amount in _values(built.events):
            whose = get_client_name(recipient), currency
            value[currency] = value.get(currency, 0.0) + amount
            value_of[whose] = value_of.get(whose, 0.0) + amount
        if self._late_before is not None:
            self._count_late(built, self._late_before)
        self._on_entry(self.tally)

    def _count_late(self, built: BuiltEvents, before: date) -> None:
        late_of, value_of = self.tally.late_of, self.tally.late_value_of
        for client, day, rows in (
            *_clients_and_days(built.events),
            *((client, day, rows) for (client, day), rows in built.suppressed.items()),
            *_groups(built.unsent.table, ["client", "day"]),
        ):
            if day is not None and day < before:
                late_of[self._named(client) or ""] += rows
        late = built.events.filter(pa.array(_days(built.events) < (before - EPOCH).days))
        for client, currency, amount in _values(late):
            value_of[client, currency] = value_of.get((client, currency), 0.0) + amount

    def enter_unsent(self, unsent: UnsentRows) -> None:
        if len(unsent):
            self._keep_rejects(self._with_known(unsent.table, self._known_since(unsent.table)))
        for fate, client, day, reason, field, rows in _groups(
            unsent.table, ["fate", "client", "day", "reason", "field"]
        ):
            self.tally.fates[Count(Fate(fate), self._named(client), day, reason, field)] += rows

    def _named(self, client: str | None) -> str | None:
        """The name to book rows under: none for clients that are unknown, beyond the first few of them."""
        if client is None or client in self.tally.read_of or client in self.tally.copies:
            return client
        if len(self._strangers) < NAMED:
            self._strangers.add(client)
        return client if client in self._strangers else None

    def enter_events(
        self, events: EventBatch, fate: Fate, reason: str | None = None, *, client: str | None = None
    ) -> None:
        """Events whose fate is known, all the same; ``client`` where they are known to be of one."""
        for name, day, rows in _clients_and_days(events) if client is None else _days_of(client, events):
            self.tally.fates[Count(fate, name, day, reason)] += rows
        if fate is Fate.SENT:
            self.tally.sent_events.update(dict(_as_meta_counts(events)))
            self._enter_sent_value(events)
        if fate in UNDELIVERED and len(events):
            told = fate is Fate.REJECTED_BY_META or reason == Reason.UNSETTLED  # the others are owed, and no loss yet
            losses = lost_events(events, fate, reason)
            self._keep_undelivered(self._with_known(losses, self._known_since(losses) if told else _none_known(losses)))
        self._on_entry(self.tally)

    def _enter_sent_value(self, events: EventBatch) -> None:
        """What events that were sent are worth, and how recent they are."""
        sent_value, newest_sent = self.tally.sent_value, self.tally.newest_sent
        for cell, number, amount in _cells(events):
            self.tally.add_sent(cell, number, amount)
            if cell.currency:
                whose = get_client_name(cell.client), cell.currency
                sent_value[whose] = sent_value.get(whose, 0.0) + amount
        times = _numbers(events, "event_time", np.int64)
        clients, codes = _tell_clients_apart(events)
        newest = np.full(len(clients), np.iinfo(np.int64).min)
        np.maximum.at(newest, codes, times)
        for client, time in zip(clients, newest.tolist(), strict=True):
            newest_sent[client] = max(newest_sent.get(client, time), time)

    def _with_known(self, losses: pa.RecordBatch, known_since: pa.Array) -> pa.RecordBatch:
        """The rows with the day on which an earlier run told of each; those of which one did are counted."""
        losses = losses.append_column(KNOWN_SINCE, known_since)
        if known_since.null_count < len(known_since):
            keys = ["fate", "reason", "field", KNOWN_SINCE]
            for fate, reason, name, day, rows in _groups(losses.filter(pc.is_valid(known_since)), keys):
                self.tally.known[(fate, reason or "", name or "", day)] += rows
        return losses

    def enter_outcome(self, outcome: Outcome) -> None:
        """What became of one request."""
        request = outcome.request
        self.enter_events(request.events, outcome.fate, _reason(outcome), client=request.client)
        size = request.events.body_bytes if outcome.fate is Fate.SENT else 0
        self.enter_traffic(request.client, (int(outcome.tries > 0), outcome.tries, size))
        for words in (*outcome.notices, outcome.explanation if outcome.fate is not Fate.SENT else ""):
            if words and words not in self.tally.notices:
                self.tally.notices.append(words)

    def enter_traffic(self, recipient: str, counts: tuple[int, int, int]) -> None:
        """Requests, tries and accepted bytes of one recipient."""
        requests, tries, size = counts
        self.tally.requests += requests
        self.tally.tries += tries
        self.tally.sent_bytes += size
        self.tally.traffic.update({(recipient, what): n for what, n in zip(TRAFFIC, counts, strict=True) if n})

    def enter_sending(self, told: Tally, counted: Mapping[str, tuple[int, int]]) -> None:
        """How a staged run was sent: what its tasks told, and the requests and tries that the ledger has of each."""
        self.tally.notices += [notice for notice in told.notices if notice not in self.tally.notices]
        for recipient, (requests, tries) in counted.items():
            self.enter_traffic(recipient, (requests, tries, told.traffic[recipient, "bytes"]))


def _reason(outcome: Outcome) -> str | None:
    """Our reason where there is one, else Meta's code as ``100/2804003``."""
    if outcome.reason is not None or outcome.code is None:
        return outcome.reason
    return f"{outcome.code}/{outcome.subcode}" if outcome.subcode else str(outcome.code)


def _clients_and_days(events: EventBatch) -> Iterator[tuple[str, date, int]]:
    """Events by client and day: both are few, so numpy and not a hash table."""
    clients = events.table.column("client").dictionary_encode()
    both = (clients.indices.to_numpy().astype(np.int64) << 32) + _days(events)
    for pair, rows in zip(*np.unique(both, return_counts=True), strict=True):
        yield clients.dictionary[int(pair) >> 32].as_py(), EPOCH + timedelta(days=int(pair) & 0xFFFFFFFF), int(rows)


def _tell_clients_apart(events: EventBatch) -> tuple[list[str], NDArray[np.int64]]:
    """The clients of the events, each once, and which of them each event has."""
    recipients, codes = _tell_apart(events, "client")
    clients = {client: at for at, client in enumerate(dict.fromkeys(map(get_client_name, recipients)))}
    if len(recipients) == 1:
        return list(clients), np.zeros(len(events), np.int64)
    places = np.array([clients[get_client_name(recipient)] for recipient in recipients], np.int64)
    return list(clients), places[codes] if len(events) else codes


def _count_where(values: pa.BooleanArray, codes: NDArray[np.int64], clients: int) -> list[int]:
    """How many of the values are true, of each client."""
    if clients == 1:
        return [values.true_count]
    if values.true_count < len(values):
        codes = codes[values.fill_null(False).to_numpy(zero_copy_only=False)]
    counts: list[int] = np.bincount(codes, minlength=clients).tolist()
    return counts


def _days_of(client: str, events: EventBatch) -> Iterator[tuple[str, date, int]]:
    for day, rows in _count_numbers(_days(events)):
        yield client, EPOCH + timedelta(days=day), rows


def _count_numbers(numbers: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Each number that occurs, in ascending order, and how often; mostly it is one, or few that lie close together."""
    if not len(numbers):
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least == most:
        yield least, len(numbers)
    elif most - least < MAX_WIDTH:
        counts = np.bincount(numbers - least)
        yield from ((least + at, int(counts[at])) for at in np.flatnonzero(counts).tolist())
    else:
        for number, rows in zip(*np.unique(numbers, return_counts=True), strict=True):
            yield int(number), int(rows)


def _days(events: EventBatch) -> NDArray[np.int32]:
    """Days since the epoch, in the upload's zone."""
    return _numbers(events, "day", np.int32)


def _as_meta_counts(events: EventBatch) -> Iterator[tuple[SentEvents, int]]:
    """Events by client, pixel, name and day in UTC, packed into one number each."""
    columns = [_tell_apart(events, name) for name in ("client", "pixel", "event_name")]
    packed = _utc_days(events)
    for values, places in columns:
        packed = packed if len(values) == 1 else packed * len(values) + places
    for number, rows in _count_numbers(packed):
        yield _unpacked(number, [values for values, _ in columns]), rows


def _tell_apart(events: EventBatch, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """The values of a column, and which of them each event has; mostly one, seen without a kernel: see ``_numbers``."""
    common = events.find_common(name)
    if common is not None:
        return [common], np.zeros(1, np.int64)
    encoded = events.table.column(name).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _unpacked(number: int, columns: list[list[str]]) -> SentEvents:
    names: list[str] = []
    for values in reversed(columns):
        number, place = divmod(number, len(values))
        names.append(values[place])
    event_name, pixel, client = names
    return SentEvents(client, pixel, event_name, EPOCH + timedelta(days=number))


def _utc_days(events: EventBatch) -> NDArray[np.int64]:
    return _numbers(events, "event_time", np.int64) // 86_400


def _numbers(events: EventBatch, name: str, kind: type[Any]) -> NDArray[Any]:
    """A column seen through numpy: a kernel of Arrow's lets go of the interpreter, and waits to get it."""
    column = events.table.column(name)
    return np.frombuffer(column.buffers()[1] or b"", kind)[column.offset : column.offset + len(column)]


def _values(events: EventBatch) -> Iterator[tuple[str, str, float]]:
    """What the events are worth, by recipient and currency."""
    days = np.zeros(len(events), np.int32)
    for (client, currency, _), _, amount in _sum_worth(events, ["client", "currency"], days):
        if currency:
            yield client, currency, amount


def _cells(events: EventBatch) -> Iterator[tuple[ValueCell, int, float]]:
    """How many events there are, and what they are worth, by recipient, name, currency and day.

    An event with a value and no currency, or the other way round, is one without a value.
    """
    names = ["client", "event_name", "currency"]
    for (client, event_name, currency, day), rows, amount in _sum_worth(events, names, _days(events)):
        yield ValueCell(client, event_name, currency, EPOCH + timedelta(days=day)), rows, amount


def _sum_worth(
    events: EventBatch, names: list[str], days: NDArray[np.int32]
) -> Iterator[tuple[tuple[Any, ...], int, float]]:
    """Events and their value by these columns (the last is the currency) and ``days``, as they first appear.

    Few groups, so numpy and no hash table; the values of a group are added in the order of its events.
    """
    if not len(events):
        return
    value = events.table.column("value")
    amounts = _numbers(events, "value", np.float64)
    worth = value.is_valid().to_numpy(zero_copy_only=False) if value.null_count else None
    columns = [*(_tell_apart(events, name) for name in names[:-1]), _tell_currencies_apart(events, worth)]
    first_day = int(days.min())
    packed, width = (days - first_day).astype(np.int64), int(days.max()) - first_day + 1
    for values, places in columns:
        if len(values) > 1:
            packed, width = packed + width * places, width * len(values)
    groups = packed if width < MAX_WIDTH else np.unique(packed, return_inverse=True)[1]
    counts = np.bincount(groups)
    sums = np.bincount(groups, amounts if worth is None else np.where(worth, amounts, 0.0))
    firsts = np.full(len(counts), len(events))
    firsts[groups[::-1]] = np.arange(len(events))[::-1]
    for at in np.argsort(firsts)[: np.count_nonzero(counts)].tolist():
        row = int(firsts[at])
        texts = [values[int(places[row if len(places) > 1 else 0])] for values, places in columns]
        yield (*texts, int(days[row])), int(counts[at]), float(sums[at]) if texts[-1] else 0.0


def _tell_currencies_apart(events: EventBatch, worth: NDArray[np.bool_] | None) -> tuple[list[str], NDArray[np.int64]]:
    """As ``_tell_apart``; "" where an event has no currency, or no value."""
    column = events.table.column("currency")
    if worth is None and events.find_common("currency") is not None:
        return _tell_apart(events, "currency")
    encoded = column.dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    places = encoded.indices.fill_null(len(names)).to_numpy().astype(np.int64)
    return [*names, ""], places if worth is None else np.where(worth, places, len(names))


def _groups(table: pa.RecordBatch, keys: list[str]) -> Iterable[tuple[Any, ...]]:
    if table.num_rows == 0:
        return
    plain = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in (table.column(key) for key in keys)
    ]
    grouped = pa.table(plain, names=keys).group_by(keys).aggregate([([], "count_all")])
    yield from zip(*(grouped.column(name).to_pylist() for name in [*keys, "count_all"]), strict=True)
