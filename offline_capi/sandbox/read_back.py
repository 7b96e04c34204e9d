"""What Meta gives back of the events it got (meta-capi.md 9), here from what the sandbox has really counted.

``Telling`` bends it: late, with gaps, counted after deduplication, or not told at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from offline_capi.sandbox.answers import GraphError, Refusal
from offline_capi.sandbox.memory import Memory

__all__ = ["Telling", "checks", "page_of", "quality", "stats", "uploads"]

HOUR = 3600
SEVEN_DAYS = 7 * 86_400
#: Fields of Dataset Quality that can be asked for, with the events that each is about.
_SOURCES: Mapping[str, str] = {"web": "website", "offline": "physical_store"}


class Telling(BaseModel):
    """How Meta tells of its counts. ``refused`` is the code that an endpoint is answered with, by its last part."""

    model_config = ConfigDict(extra="forbid")

    lag: float = Field(0.0, ge=0, description="seconds before an event that came is seen")
    gap: float = Field(0.0, ge=0, le=1, description="share of the events that are never seen")
    count: Literal["arrivals", "deduplicated"] = Field("arrivals", description="what the statistics count")
    matched: float = Field(0.8, ge=0, le=1, description="share of an upload's entries that match a person")
    checks: dict[str, str] = Field({"s2s_missing_event_name": "passed"}, description="key of a check → its result")
    refused: dict[str, int] = {}
    page: int = Field(25, ge=1, description="entries a page")

    def refuse(self, endpoint: str) -> None:
        """Raise what the endpoint is to be answered with, if anything."""
        if code := self.refused.get(endpoint):
            raise Refusal(GraphError(400 if code == 100 else 403, code, None, "It is not told"))


def page_of(rows: list[dict[str, Any]], after: str | None, size: int) -> dict[str, Any]:
    """Some of a list and where it goes on; ``next`` is a URL with the token in it, as Meta's is."""
    start = int(after) if after and after.isdecimal() else 0
    some, end = rows[start : start + size], start + size
    more = {"next": "https://graph.facebook.com/next?access_token=hidden"} if end < len(rows) else {}
    return {"data": some, "paging": {"cursors": {"before": str(start), "after": str(end)}, **more}}


# ---------------------------------------------------------------------------------------------- statistics


def stats(memory: Memory, telling: Telling, pixel: str, fields: Mapping[str, str], now: float) -> list[dict[str, Any]]:
    """Counts by the hour of the event, for servers' events; seven days back at most (MAPI: Ads Pixel Stats)."""
    since, until = _span(fields, now)
    entries = _AGGREGATIONS.get(fields.get("aggregation", "event"))
    if entries is None:
        raise Refusal("bad_request", "aggregation must be one that this sandbox knows: " + ", ".join(_AGGREGATIONS))
    if fields.get("event_source") == "WEB_ONLY":
        return []
    by_hour: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for hour, name, times, arrivals in memory.hours(pixel, since, until, now - telling.lag, telling.gap):
        by_hour[hour] += entries(name, times, arrivals, telling)
    return [
        {"start_time": _text(hour * HOUR), "aggregation": fields.get("aggregation", "event"), "data": data}
        for hour, data in sorted(by_hour.items())
    ]


def _span(fields: Mapping[str, str], now: float) -> tuple[float, float]:
    try:
        since, until = float(fields.get("start_time", now - 86_400)), float(fields.get("end_time", now))
    except ValueError as error:
        raise Refusal("bad_request", "start_time and end_time must be Unix seconds here") from error
    if until - since > SEVEN_DAYS or since < now - SEVEN_DAYS:
        raise Refusal("bad_request", "Statistics reach back seven days from the time of the request")
    return since, until


def _by_name(name: str, times: int, arrivals: int, telling: Telling) -> list[dict[str, Any]]:
    return [{"value": name, "count": arrivals if telling.count == "arrivals" else times}]


def _by_result(name: str, times: int, arrivals: int, _: Telling) -> list[dict[str, Any]]:
    """The words are ours: Meta's stand in no page."""
    told = {"processed": times, "deduplicated": arrivals - times}
    return [{"event": name, "value": word, "count": count} for word, count in told.items() if count]


_AGGREGATIONS = {"event": _by_name, "event_processing_results": _by_result}


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


# ---------------------------------------------------------------------------------------------- quality


def quality(memory: Memory, pixel: str, fields: str) -> dict[str, Any]:
    """Scores by event name, from the keys that the events carry; how Meta scores nobody knows."""
    asked = next((source for source in _SOURCES if fields.startswith(source + "{")), None)
    if asked is None:
        raise Refusal("bad_request", "fields must be web{…} or offline{…}")
    carried = _carried(memory.events(limit=1_000_000, pixel=pixel, action_source=_SOURCES[asked]))
    return {asked: [_SHAPES[asked](name, len(keys), _shares(keys)) for name, keys in sorted(carried.items())]}


def _carried(events: Iterable[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """Event name → the keys of each of its events."""
    carried: defaultdict[str, list[list[str]]] = defaultdict(list)
    for event in events:
        carried[event["event_name"]].append(sorted((event["body"] or {}).get("user_data", {})))
    return carried


def _shares(keys: list[list[str]]) -> dict[str, float]:
    counts = Counter(key for of_event in keys for key in of_event)
    return {key: round(100 * count / len(keys), 1) for key, count in sorted(counts.items())}


def _score(shares: Mapping[str, float]) -> float:
    return round(min(10.0, sum(shares.values()) / 50), 1)


def _web(name: str, events: int, shares: Mapping[str, float]) -> dict[str, Any]:
    keys = [
        {
            "identifier": key,
            "coverage": {"percentage": share},
            "potential_aly_acr_increase": {"percentage": round((100 - share) / 10, 1)},
        }
        for key, share in shares.items()
    ]
    few = [{"name": "Few match keys", "percentage": 100, "affected_event_count": events, "total_event_count": events}]
    return {
        "event_name": name,
        "event_match_quality": {
            "composite_score": _score(shares),
            "match_key_feedback": keys,
            "diagnostics": few if _score(shares) < 5 else [],
        },
        "event_coverage": {"percentage": 100, "goal_percentage": 75},
        "dedupe_key_feedback": [],
        "data_freshness": {"upload_frequency": "daily"},
    }


def _offline(name: str, _: int, shares: Mapping[str, float]) -> dict[str, Any]:
    keys = [{"identifier": key, "percentage": share} for key, share in shares.items()]
    return {
        "event_name": name,
        "composite": {"score": _score(shares)},
        "match_key": {"score": _score(shares), "coverage": keys},
        "frequency": {"score": 10},
        "freshness": {"score": 10},
    }


_SHAPES = {"web": _web, "offline": _offline}


# ---------------------------------------------------------------------------------------------- checks, uploads


def checks(telling: Telling) -> list[dict[str, Any]]:
    """Checks of the setup (SDK DACheck); what they find is told to the sandbox."""
    return [
        {
            "key": key,
            "title": key.replace("_", " "),
            "result": result,
            "action_uri": "https://business.facebook.com/events_manager",
        }
        for key, result in sorted(telling.checks.items())
    ]


def uploads(memory: Memory, telling: Telling, pixel: str, since: float) -> list[dict[str, Any]]:
    """One entry an upload tag and day. A duplicate is an event id that came under its tag before."""
    entries: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    seen: defaultdict[str, set[str | None]] = defaultdict(set)
    for tag, at, stored, ids in _tagged(memory, pixel):
        again = sum(event_id in seen[tag] for event_id in ids) if stored else 0
        seen[tag].update(ids)
        if at >= since:
            matched = int((stored - again) * telling.matched)
            entries[tag, _text(at)[:10]].update({"valid": stored, "duplicate": again, "matched": matched})
    return [
        {
            "upload_tag": tag,
            "creation_time": f"{day}T00:00:00+0000",
            **{f"{name}_entries": counts[name] for name in ("valid", "matched", "duplicate")},
        }
        for (tag, day), counts in entries.items()
    ]


def _tagged(memory: Memory, pixel: str) -> Iterator[tuple[str, float, int, list[str | None]]]:
    for request in memory.requests(limit=1_000_000, pixel=pixel):
        tag = (request["fields"] or {}).get("upload_tag")
        if tag:
            yield tag, request["at"], request["stored"], request["event_ids"] or []
