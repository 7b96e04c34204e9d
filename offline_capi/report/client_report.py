"""The report that a client is given: what was sent in a month or in the last 30 days, and what to do about the rest.

Nouns and their JSON; ``operations.client_report`` counts, ``client_words`` has the sentences, ``client_page`` shows.
Names of uploads, files, columns and tags are in none of them: of an upload that several clients share they may name
another client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from offline_capi.model import Fate

__all__ = [
    "ClientReport",
    "DayLine",
    "EventLine",
    "Freshness",
    "IssueLine",
    "MatchKeyLine",
    "MetaCount",
    "MetaFigures",
    "MetaScore",
    "Period",
    "PixelLine",
]

Money = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, ``first`` and ``last`` included, by the events' time in ``zone``."""

    first: date
    last: date
    zone: str

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last

    def list_days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def to_json(self) -> dict[str, Any]:
        return {"first_day": self.first.isoformat(), "last_day": self.last.isoformat(), "timezone": self.zone}


@dataclass(frozen=True, slots=True)
class DayLine:
    """One day of the events. ``covered`` says whether a run looked for events of it; without one, zero says nothing."""

    day: date
    sent: int
    not_sent: int
    value: Money
    covered: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "sent": self.sent,
            "not_sent": self.not_sent,
            "worth": _list_money(self.value),
            "covered": self.covered,
        }


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event name: how many were sent, and what they are worth by currency."""

    event_name: str
    sent: int
    value: Money

    def to_json(self) -> dict[str, Any]:
        return {"event_name": self.event_name, "sent": self.sent, "worth": _list_money(self.value)}


@dataclass(frozen=True, slots=True)
class IssueLine:
    """Records that were not sent for one reason. ``who`` acts: ``you``, ``we``, or ``nobody``.

    ``lost`` marks those that Meta takes no more; ``fate`` and ``reason`` are the words of the run's report. ``pixel``
    is empty for the client's first one.
    """

    fate: Fate
    reason: str
    rows: int
    what: str
    remedy: str
    who: str
    lost: bool = False
    pixel: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "fate": self.fate.value,
            "reason": self.reason,
            "records": self.rows,
            "what": self.what,
            "remedy": self.remedy,
            "who": self.who,
            "lost": self.lost,
            "pixel": self.pixel,
        }


@dataclass(frozen=True, slots=True)
class MatchKeyLine:
    """A detail by which Meta recognises people: how many events carry it, how to have more, and what that does.

    ``gain`` is Meta's own estimate in per cent, where it gave one for this client.
    """

    key: str
    name: str
    events: int
    share: float
    how: str
    effect: str
    sources: tuple[str, ...]
    gain: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.name,
            "carried_by": self.events,
            "share": round(self.share, 4),
            "how": self.how,
            "effect": self.effect,
            "sources": list(self.sources),
            "gain": self.gain,
        }


@dataclass(frozen=True, slots=True)
class PixelLine:
    """A pixel of the client: what it got."""

    pixel: str
    sent: int
    not_sent: int

    def to_json(self) -> dict[str, Any]:
        return {"pixel": self.pixel, "sent": self.sent, "not_sent": self.not_sent}


@dataclass(frozen=True, slots=True)
class MetaCount:
    """An event name on the days that Meta told of: what we sent until then, and what it counts."""

    event_name: str
    sent: int
    received: int
    words: str

    def to_json(self) -> dict[str, Any]:
        return {"event_name": self.event_name, "sent": self.sent, "received": self.received, "words": self.words}


@dataclass(frozen=True, slots=True)
class MetaScore:
    """How well Meta matches an event name, of 10, and from where on that is good."""

    event_name: str
    kind: str
    score: float
    aim: float

    def to_json(self) -> dict[str, Any]:
        return {"event_name": self.event_name, "kind": self.kind, "score": self.score, "aim": self.aim}


@dataclass(frozen=True, slots=True)
class MetaFigures:
    """What Meta told of the period. ``why_not`` is a sentence where nothing may be shown; days are in UTC."""

    read_at: datetime | None = None
    first_day: date | None = None
    last_day: date | None = None
    counts: tuple[MetaCount, ...] = ()
    scores: tuple[MetaScore, ...] = ()
    checks: tuple[str, ...] = ()
    why_not: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "read_at": self.read_at.isoformat() if self.read_at else None,
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "last_day": self.last_day.isoformat() if self.last_day else None,
            "counts": [one.to_json() for one in self.counts],
            "scores": [one.to_json() for one in self.scores],
            "checks": list(self.checks),
            "why_not": self.why_not,
        }


@dataclass(frozen=True, slots=True)
class Freshness:
    """How soon events reached Meta. ``next_day`` of them were sent by the day after they happened."""

    newest_event: datetime | None = None
    last_sent_at: datetime | None = None
    sent: int = 0
    next_day: int = 0

    @property
    def share(self) -> float | None:
        return self.next_day / self.sent if self.sent else None

    def to_json(self) -> dict[str, Any]:
        return {
            "newest_event": self.newest_event.isoformat() if self.newest_event else None,
            "last_sent_at": self.last_sent_at.isoformat() if self.last_sent_at else None,
            "sent_by_next_day": self.next_day,
        }


@dataclass(frozen=True, slots=True)
class ClientReport:
    """One client in one period. Each record is counted once: sent, or as the latest run that read it found it.

    ``sent + sum(fates of not_sent) == records``. ``known_since`` is the day of the oldest run that is still known,
    where that is later than the period's beginning. ``pixels`` has the further pixels only if there are any.
    """

    client: str
    pixel: str
    period: Period
    made_at: datetime
    sent: int
    not_sent: Mapping[Fate, int]
    value: Money
    days: tuple[DayLine, ...]
    undated: int
    events: tuple[EventLine, ...]
    issues: tuple[IssueLine, ...]
    keys: tuple[MatchKeyLine, ...]
    keys_of: int
    pixels: tuple[PixelLine, ...]
    meta: MetaFigures
    freshness: Freshness
    known_since: date | None = None

    @property
    def records(self) -> int:
        return self.sent + sum(self.not_sent.values())

    @property
    def missed_days(self) -> list[date]:
        """The days that no run looked at, those before the first known run left out."""
        return [
            line.day
            for line in self.days
            if not line.covered and not (self.known_since and line.day < self.known_since)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "pixel": self.pixel,
            "period": self.period.to_json(),
            "made_at": self.made_at.isoformat(),
            "records": self.records,
            "sent": self.sent,
            "not_sent": [{"fate": fate.value, "records": n} for fate, n in self.not_sent.items()],
            "worth": _list_money(self.value),
            "by_day": [line.to_json() for line in self.days],
            "undated": self.undated,
            "by_event": [line.to_json() for line in self.events],
            "issues": [line.to_json() for line in self.issues],
            "match_keys": [line.to_json() for line in self.keys],
            "match_keys_of": self.keys_of,
            "pixels": [line.to_json() for line in self.pixels],
            "meta": self.meta.to_json(),
            "freshness": self.freshness.to_json(),
            "known_since": self.known_since.isoformat() if self.known_since else None,
        }


def _list_money(value: Money) -> list[dict[str, Any]]:
    return [{"currency": currency, "amount": round(amount, 2)} for currency, amount in sorted(value.items())]
