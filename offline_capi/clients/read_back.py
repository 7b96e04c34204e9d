"""What Meta gives back about the events it got: counts, processing results, quality, setup checks (meta-capi.md 9).

Each question stands alone: one that Meta does not answer is a sentence, and the others are asked all the same. Whether
a token that may send may also read is disputed (meta-capi.md 8.1): it is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Event
from typing import Any, NamedTuple

from offline_capi.clients.connection import ClientAccess, access_of, read_refusal
from offline_capi.clients.health import WORKERS
from offline_capi.config import Client, Platform, SecretResolver
from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.graph.error_table import Action, Scope, explain
from offline_capi.meta.graph.response import Response
from offline_capi.meta.limits import STATISTICS_WINDOW
from offline_capi.model import ReadBack

__all__ = ["KINDS", "Unread", "covered_days", "read_back"]

#: Codes that the client's other questions would meet too; so would those that ask to wait (meta-capi.md 6.2).
_OF_TOKEN = (102, 104, 190)

#: Fields of Dataset Quality (D:dataset-quality-api), for web and, in beta, for offline events. Its sample writes
#: ``dedupe_key_feedback``, its table ``dedup_key_feedback``.
_WEB = "web{event_name,event_match_quality,event_coverage,dedupe_key_feedback,data_freshness}"
_OFFLINE = "offline{event_name,composite,match_key,frequency,freshness}"
_UPLOADS = "upload_tag,creation_time,valid_entries,matched_entries,duplicate_entries"  # SDK AdsPixelOfflineEventUploads
_CHECKS = "key,title,result,action_uri"  # SDK DACheck


@dataclass(frozen=True, slots=True)
class Unread:
    """A question about a client that Meta did not answer, and why."""

    client: str
    kind: str
    words: str


class _Asked(NamedTuple):
    """Whom we ask about, as who, and for what time."""

    client: Client
    access: ClientAccess
    now: datetime

    @property
    def since(self) -> datetime:
        return datetime.combine(covered_days(self.now)[0], datetime.min.time(), UTC)


Figures = Mapping[date, Mapping[str, Any]]


class _Question(NamedTuple):
    """An endpoint below the pixel unless ``path`` is whole, its fields, and how its rows are put by day."""

    path: str
    fields: Callable[[_Asked], Mapping[str, Any]]
    figures: Callable[[list[Mapping[str, Any]], _Asked], Figures]


def covered_days(now: datetime) -> list[date]:
    """The days in UTC that statistics asked for now can cover whole, and today."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=back) for back in range(STATISTICS_WINDOW.days - 1, -1, -1)]


def read_back(
    clients: Iterable[Client],
    graph: GraphClient,
    platform: Platform,
    secrets: SecretResolver,
    *,
    now: datetime,
) -> tuple[list[ReadBack], list[Unread]]:
    """All that Meta tells about the pixels of these clients, and what it did not tell. Nothing is changed at Meta."""
    reader = _Reader(graph, platform, secrets, now)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = [*pool.map(reader.read, clients)]
    return [one for told, _ in found for one in told], [one for _, unread in found for one in unread]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Asks about one client after the other; safe to share between threads. ``halted`` is set by what stops the app."""

    graph: GraphClient
    platform: Platform
    secrets: SecretResolver
    now: datetime
    halted: Event = field(default_factory=Event)

    def read(self, client: Client) -> tuple[list[ReadBack], list[Unread]]:
        told: list[ReadBack] = []
        unread: list[Unread] = []
        try:
            asked = _Asked(client, access_of(client, self.platform, self.secrets), self.now)
        except ConfigError as error:
            return told, [Unread(client.name, "", str(error))]
        for kind, question in KINDS.items():
            if self.halted.is_set():
                return told, [*unread, Unread(client.name, kind, "not asked: Meta refused the app's questions")]
            try:
                told += self._told(kind, question, asked)
            except _NotToldError as error:
                unread.append(Unread(client.name, kind, str(error)))
                if error.ends_all:
                    break
        return told, unread

    def _told(self, kind: str, question: _Question, asked: _Asked) -> list[ReadBack]:
        client, who = asked.client, asked.access.credentials
        path = question.path.format(pixel=client.pixel_id)
        try:
            pages = [*self.graph.pages(path, who, **question.fields(asked))]
        except (TemporaryError, ConfigError) as error:  # nobody answers, or the token fits into no request
            raise _NotToldError(str(error), ends_all=True) from None
        if not pages[-1].ok:
            raise self._refused(pages[-1])
        figures = question.figures([row for page in pages for row in _rows(page)], asked)
        return [ReadBack(client.name, client.pixel_id, kind, day, told, asked.now) for day, told in figures.items()]

    def _refused(self, answer: Response) -> _NotToldError:
        entry = explain(answer.code or 0, answer.subcode, answer.error_text)
        if answer.code is not None and entry.scope is Scope.APP:
            self.halted.set()
        ends_all = answer.code in _OF_TOKEN or entry.action is Action.WAIT or "appsecret_proof" in answer.error_text
        return _NotToldError(read_refusal(answer)[1], ends_all=ends_all)


class _NotToldError(Exception):
    """A question that Meta did not answer; ``ends_all`` where it makes no sense to ask on for this client."""

    def __init__(self, words: str, *, ends_all: bool) -> None:
        self.ends_all = ends_all
        super().__init__(words)


def _rows(answer: Response) -> list[Mapping[str, Any]]:
    """The entries of a list; Dataset Quality puts its own beside each other, under the name that was asked for."""
    named = (row for name in ("web", "offline") for row in _dicts(answer.data.get(name)))
    return [*answer.rows, *named]


# ---------------------------------------------------------------------------------------------- statistics by the hour


def _stats_of(aggregation: str) -> Callable[[_Asked], Mapping[str, Any]]:
    """By the hour, of events from servers alone (SDK AdsPixelStatsResult; MAPI: Ads Pixel Stats)."""

    def fields(asked: _Asked) -> Mapping[str, Any]:
        span = {"start_time": int(asked.since.timestamp()), "end_time": int(asked.now.timestamp())}
        return {"aggregation": aggregation, "event_source": "SERVER_ONLY", **span}

    return fields


def _received(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Event name → how many; a day of which Meta tells nothing is one on which it got nothing."""
    counts = _by_day(asked)
    for day, entry in _hourly(rows):
        if day in counts:
            counts[day][_word(entry.get("value"))] += _number(entry.get("count"))
    return counts


def _results(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Event name (empty where Meta names none) → its word for the result → how many. No page lists these words [?]."""
    results: dict[date, dict[str, Counter[str]]] = {day: {} for day in _by_day(asked)}
    for day, entry in _hourly(rows):
        if day in results:
            of_event = results[day].setdefault(_word(entry.get("event")), Counter())
            of_event[_word(entry.get("value"))] += _number(entry.get("count"))
    return results


def _by_day(asked: _Asked) -> dict[date, Counter[str]]:
    return {day: Counter() for day in covered_days(asked.now)}


def _hourly(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[date, Mapping[str, Any]]]:
    """Each count with its hour's day in UTC. Whether an hour is that of the event or of its receipt, no page says."""
    for row in rows:
        hour = _moment(row.get("start_time"))
        for entry in _dicts(row.get("data")) if hour else ():
            yield hour.astimezone(UTC).date(), entry  # type: ignore[union-attr]  # nothing is iterated without one


# ---------------------------------------------------------------------------------------------- quality and checks


def _quality_of(fields: str) -> Callable[[_Asked], Mapping[str, Any]]:
    """``agent_name`` is the platform's name in lower case, without its version (meta-capi.md 8.7)."""

    def asked_for(asked: _Asked) -> Mapping[str, Any]:
        return {"dataset_id": asked.client.pixel_id, "fields": fields, "agent_name": _agent(asked.access)}

    return asked_for


def _agent(access: ClientAccess) -> str | None:
    letters = (access.partner_agent or "").lower().rstrip("0123456789._-")
    return letters or None


def _web(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Event name → its match quality of 10, what share carries each key, and diagnostics; web events only."""
    return _today(asked, {_word(row.get("event_name")): _web_scores(row) for row in rows})


def _web_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    quality = _dict(row.get("event_match_quality"))
    return {
        "score": _figure(quality.get("composite_score")),
        "keys": _shares(_dicts(quality.get("match_key_feedback")), "identifier", "coverage"),
        "coverage": _figure(_dict(row.get("event_coverage")).get("percentage")),
        "deduplication": _shares(
            _dicts(row.get("dedupe_key_feedback") or row.get("dedup_key_feedback")),
            "dedupe_key",
            "overall_browser_coverage_from_dedupe_key",
        ),
        "upload_frequency": _word(_dict(row.get("data_freshness")).get("upload_frequency")),
        "diagnostics": {
            _word(one.get("name")): _number(one.get("affected_event_count"))
            for one in _dicts(quality.get("diagnostics"))
        },
    }


def _offline(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Event name → its score of 10 over 28 days; 8.5 and more unlock omnichannel ads. In beta."""
    return _today(asked, {_word(row.get("event_name")): _offline_scores(row) for row in rows})


def _offline_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    match_key = _dict(row.get("match_key"))
    parts = {
        "match_keys": match_key,
        "frequency": _dict(row.get("frequency")),
        "freshness": _dict(row.get("freshness")),
    }
    return {
        "score": _figure(_dict(row.get("composite")).get("score")),
        "keys": _shares(_dicts(match_key.get("coverage")), "identifier", "percentage"),
        "parts": {name: _figure(part.get("score")) for name, part in parts.items()},
    }


def _checks(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Key of a check → its title, its result, and where to act."""
    told = ("title", "result", "action_uri")
    return _today(asked, {_word(row.get("key")): {name: _word(row.get(name)) for name in told} for row in rows})


def _uploads(rows: list[Mapping[str, Any]], asked: _Asked) -> Figures:
    """Upload tag → valid, matched and duplicate entries, by the day of the upload; unproven for CAPI."""
    days: dict[date, dict[str, Counter[str]]] = {day: {} for day in _by_day(asked)}
    for row in rows:
        made = _moment(row.get("creation_time"))
        if made is not None and made.astimezone(UTC).date() in days:
            tag = days[made.astimezone(UTC).date()].setdefault(_word(row.get("upload_tag")), Counter())
            tag.update({name: _number(row.get(f"{name}_entries")) for name in ("valid", "matched", "duplicate")})
    return days


def _today(asked: _Asked, figures: Mapping[str, Any]) -> Figures:
    return {asked.now.astimezone(UTC).date(): figures}


KINDS: Mapping[str, _Question] = {
    "received": _Question("{pixel}/stats", _stats_of("event"), _received),
    "results": _Question("{pixel}/stats", _stats_of("event_processing_results"), _results),
    "web": _Question("dataset_quality", _quality_of(_WEB), _web),
    "offline": _Question("dataset_quality", _quality_of(_OFFLINE), _offline),
    "checks": _Question("{pixel}/da_checks", lambda _: {"connection_method": "SERVER", "fields": _CHECKS}, _checks),
    "uploads": _Question(
        "{pixel}/offline_event_uploads",
        lambda asked: {"start_time": int(asked.since.timestamp()), "fields": _UPLOADS},
        _uploads,
    ),
}


# ---------------------------------------------------------------------------------------------- lenient reading


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _word(value: object) -> str:
    """A name of ours or of Meta's, short enough for a table."""
    return value[:200] if isinstance(value, str) else ""


def _number(value: object) -> int:
    """A count; Graph writes some of its integers as texts."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _moment(value: object) -> datetime | None:
    """``2026-11-23T03:00:00+0000``, or Unix seconds."""
    try:
        moment = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else datetime.fromisoformat(str(value))
    except (ValueError, OSError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shares(entries: Iterable[Mapping[str, Any]], name: str, share: str) -> dict[str, float | None]:
    """Name → percentage, which stands in an object of its own or bare."""
    return {
        _word(entry.get(name)): _figure(_dict(entry.get(share)).get("percentage", entry.get(share)))
        for entry in entries
    }
