"""Book-keeping while a run goes on: every row is entered once when read, and once when its fate is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
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
    Request,
    SentEvents,
    Tally,
    UnsentRows,
    ValueCell,
)
from offline_capi.model.recipients import get_client_name
from offline_capi.report.event_groups import EventGroup, count_groups, find_newest, tell_clients_apart

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
        clients, codes = tell_clients_apart(built.events)
        self.tally.sendable_of.update(
            dict(zip(clients, np.bincount(codes, minlength=len(clients)).tolist(), strict=True))
        )
        for key, carried in built.carried.items():
            self.tally.keys[key] = self.tally.keys.get(key, 0) + carried.true_count
            for client, rows in zip(clients, _count_where(carried, codes, len(clients)), strict=True):
                self.tally.keys_of[client, key] = self.tally.keys_of.get((client, key), 0) + rows
        value, value_of = self.tally.value, self.tally.value_of
        for group, _, amount in count_groups(built.events):
            if group.currency:
                whose = get_client_name(group.client), group.currency
                value[group.currency] = value.get(group.currency, 0.0) + amount
                value_of[whose] = value_of.get(whose, 0.0) + amount
        if self._late_before is not None:
            self._count_late(built, self._late_before)
        self._on_entry(self.tally)

    def _count_late(self, built: BuiltEvents, before: date) -> None:
        late_of, value_of = self.tally.late_of, self.tally.late_value_of
        for group, rows, amount in count_groups(built.events):
            if group.day < before:
                late_of[group.client] += rows
                if group.currency:
                    whose = group.client, group.currency
                    value_of[whose] = value_of.get(whose, 0.0) + amount
        for client, day, rows in (
            *((client, day, rows) for (client, day), rows in built.suppressed.items()),
            *_groups(built.unsent.table, ["client", "day"]),
        ):
            if day is not None and day < before:
                late_of[self._named(client) or ""] += rows

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

    def enter_events(self, events: EventBatch, fate: Fate, reason: str | None = None) -> None:
        """Events whose fate is known, all the same."""
        for group, rows, amount in count_groups(events):
            self.tally.fates[Count(fate, group.client, group.day, reason)] += rows
            if fate is Fate.SENT:
                self._enter_sent(group, rows, amount)
        if fate is Fate.SENT:
            newest_sent = self.tally.newest_sent
            for client, newest in find_newest(events).items():
                newest_sent[client] = max(newest_sent.get(client, newest), newest)
        if fate in UNDELIVERED and len(events):
            told = fate is Fate.REJECTED_BY_META or reason == Reason.UNSETTLED  # the others are owed, and no loss yet
            losses = lost_events(events, fate, reason)
            self._keep_undelivered(self._with_known(losses, self._known_since(losses) if told else _none_known(losses)))
        self._on_entry(self.tally)

    def _enter_sent(self, group: EventGroup, rows: int, amount: float) -> None:
        """Events that were sent, as Meta counts them, and what they are worth."""
        self.tally.sent_events[SentEvents(group.client, group.pixel, group.event_name, group.utc_day)] += rows
        self.tally.add_sent(ValueCell(group.client, group.event_name, group.currency, group.day), rows, amount)
        if group.currency:
            whose = get_client_name(group.client), group.currency
            self.tally.sent_value[whose] = self.tally.sent_value.get(whose, 0.0) + amount

    def _with_known(self, losses: pa.RecordBatch, known_since: pa.Array) -> pa.RecordBatch:
        """The rows with the day on which an earlier run told of each; those of which one did are counted."""
        losses = losses.append_column(KNOWN_SINCE, known_since)
        if known_since.null_count < len(known_since):
            keys = ["fate", "reason", "field", KNOWN_SINCE]
            for fate, reason, name, day, rows in _groups(losses.filter(pc.is_valid(known_since)), keys):
                self.tally.known[(fate, reason or "", name or "", day)] += rows
        return losses

    @staticmethod
    def count_ahead(request: Request) -> Request:
        """The same request, its events counted already, in the thread that cut it: the books are written by another."""
        count_groups(request.events)
        find_newest(request.events)
        return request

    def enter_outcome(self, outcome: Outcome) -> None:
        """What became of one request."""
        request = outcome.request
        self.enter_events(request.events, outcome.fate, _reason(outcome))
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


def _count_where(values: pa.BooleanArray, codes: NDArray[np.int64], clients: int) -> list[int]:
    """How many of the values are true, of each client."""
    if clients == 1:
        return [values.true_count]
    if values.true_count < len(values):
        codes = codes[values.fill_null(False).to_numpy(zero_copy_only=False)]
    counts: list[int] = np.bincount(codes, minlength=clients).tolist()
    return counts


def _groups(table: pa.RecordBatch, keys: list[str]) -> Iterable[tuple[Any, ...]]:
    if table.num_rows == 0:
        return
    plain = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in (table.column(key) for key in keys)
    ]
    grouped = pa.table(plain, names=keys).group_by(keys).aggregate([([], "count_all")])
    yield from zip(*(grouped.column(name).to_pylist() for name in [*keys, "count_all"]), strict=True)
