"""What Meta reports about the events it received: counts, processing results, quality, setup checks (meta-capi.md 9).

Questions are independent: one that Meta does not answer is reported, and the others are asked all the same. Whether a
token that may send may also read is disputed (meta-capi.md 8.1): it is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Event
from typing import Any, NamedTuple

from offline_capi.clients.connection import ClientAccess, read_refusal, resolve_access
from offline_capi.clients.health import MAX_WORKERS
from offline_capi.config import Client, Platform, SecretResolver
from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.graph.error_table import Action, Scope, explain
from offline_capi.meta.graph.response import Response
from offline_capi.meta.limits import STATISTICS_WINDOW
from offline_capi.model import ReadBack

__all__ = ["QUESTIONS", "UnansweredQuestion", "list_covered_days", "read_back"]

#: Codes that the client's other questions would meet too; so would those that ask to wait (meta-capi.md 6.2).
_TOKEN_CODES = (102, 104, 190)

#: Fields of Dataset Quality (D:dataset-quality-api), for web and, in beta, for offline events. Its sample writes
#: ``dedupe_key_feedback``, its table ``dedup_key_feedback``.
_WEB = "web{event_name,event_match_quality,event_coverage,dedupe_key_feedback,data_freshness}"
_OFFLINE = "offline{event_name,composite,match_key,frequency,freshness}"
_UPLOADS = "upload_tag,creation_time,valid_entries,matched_entries,duplicate_entries"  # SDK AdsPixelOfflineEventUploads
_CHECKS = "key,title,result,action_uri"  # SDK DACheck


@dataclass(frozen=True, slots=True)
class UnansweredQuestion:
    """A question about a client that Meta did not answer, and why."""

    client: str
    kind: str
    words: str


class _Subject(NamedTuple):
    """The client that a question is about, its access, and the moment of asking."""

    client: Client
    access: ClientAccess
    now: datetime

    @property
    def since(self) -> datetime:
        return datetime.combine(list_covered_days(self.now)[0], datetime.min.time(), UTC)


Figures = Mapping[date, Mapping[str, Any]]


class _Question(NamedTuple):
    """An endpoint below the pixel unless ``path`` is whole, its fields, and how its rows are put by day."""

    path: str
    fields: Callable[[_Subject], Mapping[str, Any]]
    figures: Callable[[list[Mapping[str, Any]], _Subject], Figures]


def list_covered_days(now: datetime) -> list[date]:
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
) -> tuple[list[ReadBack], list[UnansweredQuestion]]:
    """All that Meta reports about the pixels of these clients, and the questions it did not answer. Read-only."""
    reader = _QuestionRunner(graph, platform, secrets, now)
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        found = [*pool.map(reader.read, clients)]
    return [one for records, _ in found for one in records], [one for _, unread in found for one in unread]


@dataclass(frozen=True, slots=True)
class _QuestionRunner:
    """Asks about one client at a time; safe to share between threads. ``halted`` is set by what stops the app."""

    graph: GraphClient
    platform: Platform
    secrets: SecretResolver
    now: datetime
    halted: Event = field(default_factory=Event)

    def read(self, client: Client) -> tuple[list[ReadBack], list[UnansweredQuestion]]:
        records: list[ReadBack] = []
        unread: list[UnansweredQuestion] = []
        try:
            subject = _Subject(client, resolve_access(client, self.platform, self.secrets), self.now)
        except ConfigError as error:
            return records, [UnansweredQuestion(client.name, "", str(error))]
        for kind, question in QUESTIONS.items():
            if self.halted.is_set():
                return records, [
                    *unread,
                    UnansweredQuestion(client.name, kind, "not asked: Meta refused the app's questions"),
                ]
            try:
                records += self._ask(kind, question, subject)
            except _UnansweredError as error:
                unread.append(UnansweredQuestion(client.name, kind, str(error)))
                if error.ends_all:
                    break
        return records, unread

    def _ask(self, kind: str, question: _Question, subject: _Subject) -> list[ReadBack]:
        client, who = subject.client, subject.access.credentials
        path = question.path.format(pixel=client.pixel_id)
        try:
            pages = [*self.graph.list_pages(path, who, **question.fields(subject))]
        except (TemporaryError, ConfigError) as error:  # nobody answers, or the token fits into no request
            raise _UnansweredError(str(error), ends_all=True) from None
        if not pages[-1].ok:
            raise self._make_refusal(pages[-1])
        figures = question.figures([row for page in pages for row in _list_rows(page)], subject)
        return [
            ReadBack(client.name, client.pixel_id, kind, day, records, subject.now) for day, records in figures.items()
        ]

    def _make_refusal(self, answer: Response) -> _UnansweredError:
        entry = explain(answer.code or 0, answer.subcode, answer.error_text)
        if answer.code is not None and entry.scope is Scope.APP:
            self.halted.set()
        ends_all = answer.code in _TOKEN_CODES or entry.action is Action.WAIT or "appsecret_proof" in answer.error_text
        return _UnansweredError(read_refusal(answer)[1], ends_all=ends_all)


class _UnansweredError(Exception):
    """A question that Meta did not answer; ``ends_all`` where it makes no sense to ask on for this client."""

    def __init__(self, words: str, *, ends_all: bool) -> None:
        self.ends_all = ends_all
        super().__init__(words)


def _list_rows(answer: Response) -> list[Mapping[str, Any]]:
    """The entries of a list; Dataset Quality has its own, under the name that was asked for."""
    named = (row for name in ("web", "offline") for row in _as_dicts(answer.data.get(name)))
    return [*answer.rows, *named]


# ---------------------------------------------------------------------------------------------- statistics by the hour


def _make_stats_fields(aggregation: str) -> Callable[[_Subject], Mapping[str, Any]]:
    """By the hour, of events from servers alone (SDK AdsPixelStatsResult; MAPI: Ads Pixel Stats)."""

    def make_fields(subject: _Subject) -> Mapping[str, Any]:
        span = {"start_time": int(subject.since.timestamp()), "end_time": int(subject.now.timestamp())}
        return {"aggregation": aggregation, "event_source": "SERVER_ONLY", **span}

    return make_fields


def _count_received(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Event name → how many; a day without an entry is one without events."""
    counts = _start_counts(subject)
    for day, entry in _iterate_hours(rows):
        if day in counts:
            counts[day][_parse_name(entry.get("value"))] += _parse_count(entry.get("count"))
    return counts


def _count_results(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Event name (empty where Meta names none) → its name of the result → how many. No page lists these names [?]."""
    results: dict[date, dict[str, Counter[str]]] = {day: {} for day in _start_counts(subject)}
    for day, entry in _iterate_hours(rows):
        if day in results:
            of_event = results[day].setdefault(_parse_name(entry.get("event")), Counter())
            of_event[_parse_name(entry.get("value"))] += _parse_count(entry.get("count"))
    return results


def _start_counts(subject: _Subject) -> dict[date, Counter[str]]:
    return {day: Counter() for day in list_covered_days(subject.now)}


def _iterate_hours(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[date, Mapping[str, Any]]]:
    """Each count with its hour's day in UTC. Whether an hour is that of the event or of its receipt, no page says."""
    for row in rows:
        hour = _parse_moment(row.get("start_time"))
        for entry in _as_dicts(row.get("data")) if hour else ():
            yield hour.astimezone(UTC).date(), entry  # type: ignore[union-attr]  # nothing is iterated without one


# ---------------------------------------------------------------------------------------------- quality and checks


def _make_quality_fields(fields: str) -> Callable[[_Subject], Mapping[str, Any]]:
    """``agent_name`` is the platform's name in lower case, without its version (meta-capi.md 8.7)."""

    def make_fields(subject: _Subject) -> Mapping[str, Any]:
        return {"dataset_id": subject.client.pixel_id, "fields": fields, "agent_name": _make_agent_name(subject.access)}

    return make_fields


def _make_agent_name(access: ClientAccess) -> str | None:
    letters = (access.partner_agent or "").lower().rstrip("0123456789._-")
    return letters or None


def _read_web(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Event name → its match quality of 10, what share carries each key, and diagnostics; web events only."""
    return _put_on_today(subject, {_parse_name(row.get("event_name")): _read_web_scores(row) for row in rows})


def _read_web_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    quality = _as_dict(row.get("event_match_quality"))
    return {
        "score": _parse_figure(quality.get("composite_score")),
        "keys": _parse_shares(_as_dicts(quality.get("match_key_feedback")), "identifier", "coverage"),
        "gains": _parse_shares(
            _as_dicts(quality.get("match_key_feedback")), "identifier", "potential_aly_acr_increase"
        ),
        "coverage": _parse_figure(_as_dict(row.get("event_coverage")).get("percentage")),
        "deduplication": _parse_shares(
            _as_dicts(row.get("dedupe_key_feedback") or row.get("dedup_key_feedback")),
            "dedupe_key",
            "overall_browser_coverage_from_dedupe_key",
        ),
        "upload_frequency": _parse_name(_as_dict(row.get("data_freshness")).get("upload_frequency")),
        "diagnostics": {
            _parse_name(one.get("name")): _parse_count(one.get("affected_event_count"))
            for one in _as_dicts(quality.get("diagnostics"))
        },
    }


def _read_offline(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Event name → its score of 10 over 28 days; 8.5 and more unlock omnichannel ads. In beta."""
    return _put_on_today(subject, {_parse_name(row.get("event_name")): _read_offline_scores(row) for row in rows})


def _read_offline_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    match_key = _as_dict(row.get("match_key"))
    parts = {
        "match_keys": match_key,
        "frequency": _as_dict(row.get("frequency")),
        "freshness": _as_dict(row.get("freshness")),
    }
    return {
        "score": _parse_figure(_as_dict(row.get("composite")).get("score")),
        "keys": _parse_shares(_as_dicts(match_key.get("coverage")), "identifier", "percentage"),
        "parts": {name: _parse_figure(part.get("score")) for name, part in parts.items()},
    }


def _read_checks(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Key of a check → its title, its result, and where to act."""
    names = ("title", "result", "action_uri")
    return _put_on_today(
        subject, {_parse_name(row.get("key")): {name: _parse_name(row.get(name)) for name in names} for row in rows}
    )


def _count_uploads(rows: list[Mapping[str, Any]], subject: _Subject) -> Figures:
    """Upload tag → valid, matched and duplicate entries, by the day of the upload; unproven for CAPI."""
    days: dict[date, dict[str, Counter[str]]] = {day: {} for day in _start_counts(subject)}
    for row in rows:
        made = _parse_moment(row.get("creation_time"))
        if made is not None and made.astimezone(UTC).date() in days:
            tag = days[made.astimezone(UTC).date()].setdefault(_parse_name(row.get("upload_tag")), Counter())
            tag.update({name: _parse_count(row.get(f"{name}_entries")) for name in ("valid", "matched", "duplicate")})
    return days


def _put_on_today(subject: _Subject, figures: Mapping[str, Any]) -> Figures:
    return {subject.now.astimezone(UTC).date(): figures}


QUESTIONS: Mapping[str, _Question] = {
    "received": _Question("{pixel}/stats", _make_stats_fields("event"), _count_received),
    "results": _Question("{pixel}/stats", _make_stats_fields("event_processing_results"), _count_results),
    "web": _Question("dataset_quality", _make_quality_fields(_WEB), _read_web),
    "offline": _Question("dataset_quality", _make_quality_fields(_OFFLINE), _read_offline),
    "checks": _Question(
        "{pixel}/da_checks", lambda _: {"connection_method": "SERVER", "fields": _CHECKS}, _read_checks
    ),
    "uploads": _Question(
        "{pixel}/offline_event_uploads",
        lambda subject: {"start_time": int(subject.since.timestamp()), "fields": _UPLOADS},
        _count_uploads,
    ),
}


# ---------------------------------------------------------------------------------------------- lenient reading


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _parse_name(value: object) -> str:
    """A name of ours or of Meta's, short enough for a table."""
    return value[:200] if isinstance(value, str) else ""


def _parse_count(value: object) -> int:
    """A count; Graph writes some of its integers as texts."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _parse_figure(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _parse_moment(value: object) -> datetime | None:
    """``2026-11-23T03:00:00+0000``, or Unix seconds."""
    try:
        moment = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else datetime.fromisoformat(str(value))
    except (ValueError, OSError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_shares(entries: Iterable[Mapping[str, Any]], name: str, share: str) -> dict[str, float | None]:
    """Name → percentage, which stands in an object of its own or bare."""
    return {
        _parse_name(entry.get(name)): _parse_figure(_as_dict(entry.get(share)).get("percentage", entry.get(share)))
        for entry in entries
    }
