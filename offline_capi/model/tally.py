"""What is counted: the books of a run, what its gates found, what Meta reports later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from offline_capi.model.fates import Fate
from offline_capi.model.recipients import get_client_name

__all__ = [
    "TRAFFIC",
    "AbsentFile",
    "Count",
    "GateFinding",
    "ReadBack",
    "SentEvents",
    "Tally",
    "ValueCell",
    "read_sent_events",
]

_Key = TypeVar("_Key", bound=str | tuple[str, str])


class Count(NamedTuple):
    """One cell of the books."""

    fate: Fate
    client: str | None
    day: date | None
    reason: str | None = None
    field: str | None = None


class SentEvents(NamedTuple):
    """Events comparable with one figure of Meta's; ``day`` is that of the event in UTC, in every zone."""

    client: str
    pixel: str
    event_name: str
    day: date


class ValueCell(NamedTuple):
    """Events sent to one recipient that share a name, a currency and a day; ``day`` is that of the books, in the
    upload's zone. ``currency`` is empty for events without a value."""

    client: str
    event_name: str
    currency: str
    day: date


@dataclass(frozen=True, slots=True)
class GateFinding:
    """A gate that a run did not pass; ``action`` is ``warn``, ``stop``, or ``forced`` where it was let through.

    ``usual`` is the median of the days compared with, where the gate compares; ``sentence`` says it all. ``client`` is
    whose events alone a gate that stops holds; ``None``: everybody's.
    """

    gate: str
    action: str
    figure: float
    usual: float | None
    sentence: str
    client: str | None = None

    @property
    def stops(self) -> bool:
        return self.action == "stop"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AbsentFile:
    """A file of the source that was not there when the run began.

    ``day`` is the local day of a dated path, ``None`` where the path has no date: then it is one of all days of the
    window. ``pattern`` is the path as the upload has it, with its date filled in. ``optional`` where the upload says
    that it may be missing.
    """

    day: date | None
    pattern: str
    optional: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"day": self.day.isoformat() if self.day else None, "pattern": self.pattern, "optional": self.optional}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AbsentFile:
        day = data["day"]
        return cls(date.fromisoformat(day) if day else None, data["pattern"], data["optional"])


#: What ``Tally.traffic`` counts by recipient.
TRAFFIC = ("requests", "tries", "bytes")


@dataclass(slots=True)
class Tally:
    """The books of a run or of a part of one: additive, and plain enough to travel as JSON.

    ``read`` counts rows as they come in, independently of ``fates``; that the two agree is the promise. ``outside``
    counts source rows that were left to other runs, ``filtered`` those of the window that are not meant; neither is in
    ``read``. ``value`` is what the events are worth, by currency. ``narrowed``
    marks books of some clients or some rows only; ``gates`` is ``None`` until they were evaluated. ``sendable`` counts
    the events that passed every check of their rows, whether or not they were sent before; ``keys`` how many of those
    carry each mapped key of user_data. ``read_sent_events`` counts what was sent as Meta counts it.
    ``noted`` counts values that went out by (key, column, what is worth knowing of them);
    ``profiles`` are the versions by which identity was read.
    ``read_of`` counts the rows by client, of those that are configured, and ``value_of`` is ``value`` by client and
    currency; ``copies`` the events that go to a further
    pixel as well, by recipient; ``traffic`` requests, tries and accepted bytes by recipient. ``absent`` are the files
    of the window that were not there. ``sent_value`` is what the events sent are worth, by client and currency, and
    ``newest_sent`` the time of the newest of them by client, in seconds since the epoch. ``sendable_of`` and
    ``keys_of`` are ``sendable`` and ``keys`` by client, copies for further pixels included. ``sent_cells`` has the
    number of the events sent and what they are worth, by recipient, event name, currency and day.
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
    #: Rows that an earlier run reported, by (fate, reason, field, the day on which it did); counted in ``fates`` too.
    known: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    #: Events that earlier runs owed and the source no longer has, by the fate that those runs left them with.
    vanished: Counter[str] = field(default_factory=Counter)
    #: Days whose final loss this run reports: ISO day -> why.
    closed: dict[str, str] = field(default_factory=dict)
    absent: tuple[AbsentFile, ...] = ()
    changed: int = 0
    noted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    profiles: tuple[str, ...] = ()
    filtered: int = 0
    value_of: dict[tuple[str, str], float] = field(default_factory=dict)
    sent_value: dict[tuple[str, str], float] = field(default_factory=dict)
    newest_sent: dict[str, int] = field(default_factory=dict)
    sendable_of: Counter[str] = field(default_factory=Counter)
    keys_of: dict[tuple[str, str], int] = field(default_factory=dict)
    #: What the checks of ``expect`` count, by label and client ("" for nobody's): see ``ExpectationCount``.
    expected: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent_cells: dict[ValueCell, tuple[int, float]] = field(default_factory=dict)
    #: Rows of days before those of the window, which came late, by client ("" for nobody's), and what they are worth by
    #: client and currency: they are among the others, and no measure of a day.
    late_of: Counter[str] = field(default_factory=Counter)
    late_value_of: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def late_rows(self) -> int:
        return self.late_of.total()

    @property
    def punctual(self) -> int:
        """Rows read that are no late ones."""
        return self.read - self.late_rows

    def add_sent(self, cell: ValueCell, events: int, value: float) -> None:
        """Count events of a cell, in addition to those counted before."""
        before, worth = self.sent_cells.get(cell, (0, 0.0))
        self.sent_cells[cell] = (before + events, worth + value)

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
            self.known + other.known,
            self.vanished + other.vanished,
            {**self.closed, **other.closed},
            (*self.absent, *other.absent),
            self.changed + other.changed,
            self.noted + other.noted,
            tuple(sorted({*self.profiles, *other.profiles})),
            self.filtered + other.filtered,
            _add_amounts(self.value_of, other.value_of),
            _add_amounts(self.sent_value, other.sent_value),
            {
                client: max(self.newest_sent.get(client, 0), other.newest_sent.get(client, 0))
                for client in sorted({*self.newest_sent, *other.newest_sent})
            },
            self.sendable_of + other.sendable_of,
            {key: self.keys_of.get(key, 0) + other.keys_of.get(key, 0) for key in (*self.keys_of, *other.keys_of)},
            self.expected + other.expected,
            _add_cells(self.sent_cells, other.sent_cells),
            self.late_of + other.late_of,
            _add_amounts(self.late_value_of, other.late_value_of),
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

    def select_client(self, client: str) -> Tally:
        """The books of one client alone, all its pixels included; what is not counted by client is left out."""
        names = {client, *(name for name in self.copies if get_client_name(name) == client)}
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
            sent_value={key: amount for key, amount in self.sent_value.items() if key[0] == client},
            newest_sent={name: at for name, at in self.newest_sent.items() if name == client},
            sendable=self.sendable_of[client],
            keys={key: n for (name, key), n in self.keys_of.items() if name == client},
            sent_cells={cell: sums for cell, sums in self.sent_cells.items() if cell.client in names},
        )

    @property
    def missing(self) -> tuple[AbsentFile, ...]:
        """Files of the window that were not there and should have been: such a run is never complete."""
        return tuple(file for file in self.absent if not file.optional)

    @property
    def stopped(self) -> bool:
        """Whether a gate stops the run that these books are of."""
        return any(finding.stops and finding.client is None for finding in self.gates or ())

    def is_deferred(self, recipient: str) -> bool:
        """Whether a gate holds the events of a client, or of one of its pixels."""
        holds = {finding.client for finding in self.gates or () if finding.stops}
        return None in holds or get_client_name(recipient) in holds

    def count(self, fate: Fate) -> int:
        return sum(n for count, n in self.fates.items() if count.fate is fate)

    def count_known(self, fate: Fate) -> int:
        """Rows with this fate that an earlier run reported, for the same reason."""
        return sum(n for (known_fate, *_), n in self.known.items() if known_fate == fate)

    def count_by_fate(self) -> dict[Fate, int]:
        """Rows per fate, every fate named, zero included."""
        return {fate: self.count(fate) for fate in Fate}

    def count_reasons(self, *fates: Fate) -> Counter[tuple[str, str]]:
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
            "known": [[*key, n] for key, n in sorted(self.known.items())],
            "vanished": dict(sorted(self.vanished.items())),
            "closed": dict(sorted(self.closed.items())),
            "absent": [file.to_json() for file in self.absent],
            "changed": self.changed,
            "noted": [[*key, n] for key, n in sorted(self.noted.items())],
            "profiles": list(self.profiles),
            "filtered": self.filtered,
            "value_of": [[*key, round(amount, 2)] for key, amount in sorted(self.value_of.items())],
            "sent_value": [[*key, round(amount, 2)] for key, amount in sorted(self.sent_value.items())],
            "newest_sent": dict(sorted(self.newest_sent.items())),
            "sendable_of": dict(sorted(self.sendable_of.items())),
            "keys_of": [[*key, n] for key, n in self.keys_of.items()],
            "expected": [[*key, n] for key, n in sorted(self.expected.items())],
            "sent_cells": [
                [*cell[:3], cell.day.isoformat(), events, round(value, 2)]
                for cell, (events, value) in sorted(self.sent_cells.items())
            ],
            "late_of": dict(sorted(self.late_of.items())),
            "late_value_of": [[*key, round(amount, 2)] for key, amount in sorted(self.late_value_of.items())],
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
            sent_events=read_sent_events(data),
            read_of=Counter(data.get("read_of", {})),
            copies=Counter(data.get("copies", {})),
            traffic=Counter({(recipient, what): n for recipient, what, n in data.get("traffic", ())}),
            known=Counter({(fate, reason, name, day): n for fate, reason, name, day, n in data.get("known", ())}),
            vanished=Counter(data.get("vanished", {})),
            closed=dict(data.get("closed", {})),
            absent=tuple(AbsentFile.from_json(file) for file in data.get("absent", ())),
            changed=data.get("changed", 0),
            noted=Counter({(key, column, what): n for key, column, what, n in data.get("noted", ())}),
            profiles=tuple(data.get("profiles", ())),
            filtered=data.get("filtered", 0),
            value_of={(client, currency): amount for client, currency, amount in data.get("value_of", ())},
            sent_value={(client, currency): amount for client, currency, amount in data.get("sent_value", ())},
            newest_sent=dict(data.get("newest_sent", {})),
            sendable_of=Counter(data.get("sendable_of", {})),
            keys_of={(client, key): n for client, key, n in data.get("keys_of", ())},
            expected=Counter({(label, client): n for label, client, n in data.get("expected", ())}),
            sent_cells={
                ValueCell(client, name, currency, date.fromisoformat(day)): (events, value)
                for client, name, currency, day, events, value in data.get("sent_cells", ())
            },
            late_of=Counter(data.get("late_of", {})),
            late_value_of={(client, currency): amount for client, currency, amount in data.get("late_value_of", ())},
        )

    @classmethod
    def total(cls, parts: Iterable[Tally]) -> Tally:
        return sum(parts, cls())


def _add_amounts(one: Mapping[_Key, float], other: Mapping[_Key, float]) -> dict[_Key, float]:
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in sorted({*one, *other})}


def _add_cells(
    one: Mapping[ValueCell, tuple[int, float]], other: Mapping[ValueCell, tuple[int, float]]
) -> dict[ValueCell, tuple[int, float]]:
    none = (0, 0.0)
    pairs = ((cell, one.get(cell, none), other.get(cell, none)) for cell in dict.fromkeys((*one, *other)))
    return {cell: (ours[0] + theirs[0], ours[1] + theirs[1]) for cell, ours, theirs in pairs}


def read_sent_events(tally: Mapping[str, Any]) -> Counter[SentEvents]:
    """What books as JSON say of events sent, without reading the rest of them; nothing where they are older."""
    counted: Counter[SentEvents] = Counter()
    for client, pixel, name, day, n in tally.get("sent_events", ()):
        counted[SentEvents(client, pixel, name, date.fromisoformat(day))] = n
    return counted


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What Meta reported about a client's pixel: a later figure of the same kind and day replaces it.

    ``kind`` is one of ``clients.read_back.KINDS``, which says what ``figures`` holds. ``day`` is in UTC: that reported
    or the day of asking where Meta names no day.
    """

    client: str
    pixel: str
    kind: str
    day: date
    figures: Mapping[str, Any]
    read_at: datetime
