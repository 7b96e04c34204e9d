"""What the sandbox remembers: requests as they came, and how often each event counted.

An event counts when it is first received, and again when it returns after Meta's window; in between it is a duplicate
(meta-capi.md 7 for online events, 4 for a physical store). All is kept in an in-memory SQLite, so that millions of
events stay affordable; bodies, which are most of the bytes, can be left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

__all__ = ["ONLINE_WINDOW", "PHYSICAL_STORE_WINDOW", "Memory", "RequestRecord"]

ONLINE_WINDOW = 48 * 3600  # D:deduplicate-pixel-and-server-events, from the first receipt
PHYSICAL_STORE_WINDOW = 7 * 86_400  # D:offline-events

_SCHEMA = """
CREATE TABLE requests (
    number INTEGER PRIMARY KEY, at REAL, elapsed REAL, seconds REAL, in_flight INTEGER, pixel TEXT, version INTEGER,
    token TEXT, form TEXT, bytes INTEGER, events INTEGER, stored INTEGER, status INTEGER, code INTEGER,
    subcode INTEGER, events_received INTEGER, trace_id TEXT, fault TEXT, fields TEXT, event_ids TEXT
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, key BLOB UNIQUE, pixel TEXT, event_id TEXT, event_name TEXT, event_time INTEGER,
    action_source TEXT, first REAL, last REAL, times INTEGER, arrivals INTEGER, body TEXT
);
CREATE INDEX events_by_id ON events (event_id);
CREATE INDEX events_recounted ON events (pixel, times) WHERE times > 1;
"""

_STORE = """
INSERT INTO events (key, pixel, event_id, event_name, event_time, action_source, first, last, times, arrivals, body)
VALUES (:key, :pixel, :event_id, :event_name, :event_time, :action_source, :now, :now, 1, 1, :body)
ON CONFLICT (key) DO UPDATE SET
    times = times + (:now - first > :window),
    first = CASE WHEN :now - first > :window THEN :now ELSE first END,
    last = :now,
    arrivals = arrivals + 1
"""

# Every event that is left out for a gap is left out each time: by its number, which is spread over the share.
_HOURS = """
SELECT event_time / 3600, event_name, SUM(times), SUM(arrivals) FROM events
WHERE pixel = ? AND event_time >= ? AND event_time < ? AND first <= ? AND seq * 7919 % 1000 >= ?
GROUP BY 1, 2 ORDER BY 1, 2
"""

_REQUEST_FIELDS = ("test_event_code", "partner_agent", "upload_tag", "upload_id", "upload_source", "namespace_id")


@dataclass(slots=True)
class RequestRecord:
    """One request. ``at`` is the sandbox's clock; ``elapsed`` and ``seconds`` are real time, for questions of pace.

    ``token`` is a fingerprint. ``stored`` counts the events that were taken into memory, whatever was answered;
    ``status`` is ``None`` where the connection was cut instead.
    """

    number: int
    at: float
    elapsed: float
    in_flight: int
    pixel: str
    version: int | None
    seconds: float = 0.0
    token: str | None = None
    form: str = ""
    bytes: int = 0
    events: int = 0
    stored: int = 0
    status: int | None = None
    code: int | None = None
    subcode: int | None = None
    events_received: int | None = None
    trace_id: str = ""
    fault: str = ""
    fields: Mapping[str, Any] | None = None
    event_ids: Sequence[str | None] = ()


_REQUEST_COLUMNS = tuple(RequestRecord.__dataclass_fields__)
_RECORD = (
    f"INSERT OR REPLACE INTO requests ({', '.join(_REQUEST_COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join(':' + column for column in _REQUEST_COLUMNS)})"
)


class _Identity(NamedTuple):
    """What makes two receipts one event, and for how long."""

    key: bytes
    window: float


def _key(*parts: Any) -> bytes:
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _online(pixel: str, event: Mapping[str, Any]) -> _Identity:
    if "event_id" not in event:
        return _never_a_duplicate(pixel, event)
    return _Identity(_key("online", pixel, event["event_name"], event["event_id"]), ONLINE_WINDOW)


def _physical_store(pixel: str, event: Mapping[str, Any]) -> _Identity:
    """D:offline-events: the order, or else the same customer data, and the line; ``event_id`` is no part of it."""
    data = event.get("custom_data", {})
    order = ("order", data["order_id"]) if data.get("order_id") else ("user", _canonical(event["user_data"]))
    item = data.get("item_number", "")
    return _Identity(
        _key("offline", pixel, event["event_time"], event["event_name"], item, *order), PHYSICAL_STORE_WINDOW
    )


def _never_a_duplicate(pixel: str, event: Mapping[str, Any]) -> _Identity:  # noqa: ARG001
    return _Identity(os.urandom(16), 0)


_IDENTITIES = {"physical_store": _physical_store, "business_messaging": _never_a_duplicate}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Memory:
    """Everything that was received since the last reset. Used from one thread: the server's event loop."""

    def __init__(self, *, keep_bodies: bool = True) -> None:
        self.keep_bodies = keep_bodies
        self.clear()

    def clear(self) -> None:
        """Forget all requests and events."""
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_SCHEMA)
        self._totals: dict[str, dict[str, int]] = {}
        self._distinct = 0

    # ------------------------------------------------------------------------------------------ writing

    def store(self, pixel: str, events: Sequence[Mapping[str, Any]], now: float) -> None:
        """Take events in; each either counts or is a duplicate."""
        self._db.execute("BEGIN")
        self._db.executemany(_STORE, [self._row(pixel, event, now) for event in events])
        self._db.execute("COMMIT")
        totals = self._totals_of(pixel)
        totals["stored"] += len(events)
        known, self._distinct = self._distinct, self._last_seq()
        totals["distinct"] += self._distinct - known

    def _row(self, pixel: str, event: Mapping[str, Any], now: float) -> dict[str, Any]:
        identity = _IDENTITIES.get(event["action_source"], _online)(pixel, event)
        return {
            "key": identity.key,
            "window": identity.window,
            "now": now,
            "pixel": pixel,
            "event_id": event.get("event_id"),
            "event_name": event["event_name"],
            "event_time": event["event_time"],
            "action_source": event["action_source"],
            "body": json.dumps(event) if self.keep_bodies else None,
        }

    def record(self, record: RequestRecord) -> None:
        """Remember a request, with what was answered; ``stored`` may grow later (see ``add_stored``)."""
        row = asdict(record)
        row["fields"] = json.dumps({key: (record.fields or {}).get(key) for key in _REQUEST_FIELDS})
        row["event_ids"] = json.dumps(list(record.event_ids)) if self.keep_bodies else None
        self._db.execute(_RECORD, row)
        totals = self._totals_of(record.pixel)
        totals["requests"] += 1
        totals["bytes"] += record.bytes
        totals["events"] += record.events
        totals["refused_requests"] += record.status is not None and record.status >= 400
        totals["cut_requests"] += record.status is None

    def add_stored(self, number: int, count: int) -> None:
        """Note that a request's events were taken in after its answer."""
        self._db.execute("UPDATE requests SET stored = stored + ? WHERE number = ?", (count, number))

    def _totals_of(self, pixel: str) -> dict[str, int]:
        names = ("requests", "refused_requests", "cut_requests", "bytes", "events", "stored", "distinct")
        return self._totals.setdefault(pixel, dict.fromkeys(names, 0))

    def _last_seq(self) -> int:
        return int(self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()[0])

    # ------------------------------------------------------------------------------------------ asking

    def totals(self) -> dict[str, dict[str, int]]:
        """Per pixel: requests, bytes, events received, stored, counted, and duplicates among the stored."""
        again = dict(
            self._db.execute("SELECT pixel, SUM(times - 1) FROM events WHERE times > 1 GROUP BY pixel").fetchall()
        )
        return {pixel: _with_counts(totals, again.get(pixel, 0)) for pixel, totals in sorted(self._totals.items())}

    def requests(
        self, *, limit: int = 1000, after: int = 0, latest: bool = False, **equal: Any
    ) -> list[dict[str, Any]]:
        """Requests in order of arrival; ``latest`` takes them from the end."""
        rows = self._select("requests", "number", after, limit, latest, equal)
        return [row | {name: json.loads(row[name] or "null") for name in ("fields", "event_ids")} for row in rows]

    def events(self, *, limit: int = 1000, after: int = 0, latest: bool = False, **equal: Any) -> list[dict[str, Any]]:
        """Events in order of first receipt, one a dedupe key, with how often they came and counted."""
        rows = self._select("events", "seq", after, limit, latest, equal)
        return [row | {"key": row["key"].hex(), "body": json.loads(row["body"] or "null")} for row in rows]

    def count(self, **equal: Any) -> dict[str, int]:
        """How often the events that match counted (``times``) and came (``arrivals``)."""
        where, values = _where(equal)
        sums = "COALESCE(SUM(times), 0) AS times, COALESCE(SUM(arrivals), 0) AS arrivals, COUNT(*) AS events"
        return dict(self._db.execute(f"SELECT {sums} FROM events {where}", values).fetchone())  # noqa: S608

    def tally(self, **equal: Any) -> Iterable[tuple[str, str, str | None, int, int]]:
        """Every event as (pixel, event_name, event_id, times, arrivals), in order of first receipt."""
        where, values = _where(equal)
        query = f"SELECT pixel, event_name, event_id, times, arrivals FROM events {where} ORDER BY seq"  # noqa: S608
        for row in self._db.execute(query, values):
            yield tuple(row)

    def hours(
        self, pixel: str, since: float, until: float, seen: float, gap: float
    ) -> Iterable[tuple[int, str, int, int]]:
        """(hour, event_name, times, arrivals) of the events of a time that came before ``seen``, but for a share."""
        yield from map(tuple, self._db.execute(_HOURS, (pixel, since, until, seen, gap * 1000)))

    def _select(
        self, table: str, number: str, after: int, limit: int, latest: bool, equal: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        where, values = _where(equal, f"{number} > :after")
        order = "DESC" if latest else "ASC"
        query = f"SELECT * FROM {table} {where} ORDER BY {number} {order} LIMIT :limit"  # noqa: S608 - our own names
        rows = [dict(row) for row in self._db.execute(query, {**values, "after": after, "limit": limit})]
        return rows[::-1] if latest else rows


def _with_counts(totals: Mapping[str, int], again: int) -> dict[str, int]:
    counted = totals["distinct"] + again
    return {**totals, "counted": counted, "duplicates": totals["stored"] - counted}


_FILTERS = frozenset({"pixel", "event_id", "event_name", "action_source", "status", "code", "token"})


def _where(equal: Mapping[str, Any], *conditions: str) -> tuple[str, dict[str, Any]]:
    """A WHERE clause for the columns that have a value; the names are checked against what may be asked."""
    values = {name: value for name, value in equal.items() if value is not None}
    if unknown := values.keys() - _FILTERS:
        raise ValueError(f"unknown filter: {', '.join(sorted(unknown))}")
    terms = [*conditions, *(f"{name} = :{name}" for name in values)]
    return (f"WHERE {' AND '.join(terms)}" if terms else ""), values
