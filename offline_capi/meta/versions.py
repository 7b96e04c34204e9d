"""Versions of the Graph API: when each ends, for which family of endpoints, and what Meta says of it in headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal, NamedTuple, get_args

__all__ = [
    "ENDS_SOON_DAYS",
    "FAMILIES",
    "NEWEST",
    "Family",
    "VersionEnd",
    "end_of",
    "upgrade_notice",
    "version_warnings",
]

#: Endpoints that Meta may retire by different schedules (meta-capi.md 11): events follow the Graph schedule; access
#: (businesses, pixels, tokens) and reading back may follow the shorter one of the Marketing API. Nobody knows [?].
Family = Literal["events", "management", "read_back"]
FAMILIES: tuple[Family, ...] = get_args(Family)

#: Days before a version's end from which on it is warned of.
WARN_DAYS = 90
#: Days before a version's end from which on the check of the clients' health fails.
ENDS_SOON_DAYS = 30
#: The day of these tables; what came out since stands in none.
AS_OF = date(2026, 11, 29)
NEWEST = "v27.0"  # since 2026-11-04 (meta-capi.md 11)


class VersionEnd(NamedTuple):
    """The first day without a version: ``None`` where Meta has not announced one."""

    day: date | None
    source: str


_VERSIONS_PAGE = "developers.facebook.com/docs/graph-api/changelog/versions"  # cert. A, in its de/es/vi/ru copies
_GRAPH = {
    version: VersionEnd(day, _VERSIONS_PAGE)
    for version, day in {
        "v27.0": None,  # "to be decided"
        "v26.0": None,
        "v25.0": date(2028, 7, 29),
        "v24.0": date(2028, 2, 18),
        "v23.0": date(2027, 10, 8),
        "v22.0": date(2027, 5, 20),
        "v21.0": date(2027, 1, 21),
        "v20.0": date(2026, 9, 24),
        "v19.0": date(2026, 5, 21),
        "v18.0": date(2026, 1, 26),
        "v17.0": date(2025, 9, 12),
        "v16.0": date(2025, 5, 14),
    }.items()
}
_MARKETING_PAGE = "documentation/ads-commerce/marketing-api/marketing-api-changelog/versions"  # cert. A
_MARKETING = {
    version: VersionEnd(day, _MARKETING_PAGE)
    for version, day in {
        "v27.0": None,  # "to be decided"
        "v26.0": None,
        "v25.0": date(2027, 2, 23),
        "v24.0": date(2026, 11, 10),  # an older page of Meta's said 2026-10-06
        "v23.0": date(2026, 6, 9),
        "v22.0": date(2026, 2, 19),
    }.items()
}
_SCHEDULES: Mapping[Family, Mapping[str, VersionEnd]] = {
    "events": _GRAPH,  # D:using-the-api: at least two years
    "management": _MARKETING,
    "read_back": _MARKETING,
}


def end_of(version: str, family: Family) -> VersionEnd:
    """When a version ends for a family; one older than its table has ended, of one newer nothing is known."""
    schedule = _SCHEDULES[family]
    oldest = min(schedule, key=_number)
    if _number(version) < _number(oldest):
        return VersionEnd(schedule[oldest].day, f"older than {oldest}, {schedule[oldest].source}")
    return schedule.get(version, VersionEnd(None, ""))


def version_warnings(
    versions: Mapping[Family, str],
    today: date,
    *,
    families: Iterable[Family] = FAMILIES,
    within_days: int = WARN_DAYS,
) -> list[str]:
    """One sentence for each version that has ended, or will ``within_days``, for the families that use it."""
    ends: dict[tuple[str, VersionEnd], list[Family]] = {}
    for family in families:
        ends.setdefault((versions[family], end_of(versions[family], family)), []).append(family)
    return [
        _warning(version, end.day, end.source, using, today)
        for (version, end), using in ends.items()
        if end.day is not None and (end.day - today).days <= within_days
    ]


def _warning(version: str, day: date, source: str, using: list[Family], today: date) -> str:
    sure = "events" in using
    left = (day - today).days
    when = f"{'ends' if sure else 'may end'} on {day}, in {left} {'day' if left == 1 else 'days'}" if left > 0 else ""
    over = f"{'' if sure else 'may have '}ended on {day}: Meta refuses it, or answers as a version of its own choice"
    advice = f"read Meta's changelog, then set {_setting(using)} to {NEWEST} or newer"
    return f"Graph version {version} ({', '.join(using)}) {when or over}. What now: {advice} (source: {source})"


def _setting(using: list[Family]) -> str:
    return "graph_version" if "events" in using else " and ".join(f"graph_versions.{family}" for family in using)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.lstrip("v").split("."))


def upgrade_notice(headers: Mapping[str, str]) -> str | None:
    """What the header says by which Meta tells that it upgraded our version (MAPI:overview/rate-limiting).

    In our words, with the versions that it names and nothing else of it.
    """
    told = next((text for name, text in headers.items() if name.lower() == "x-ad-api-version-warning"), None)
    if told is None:
        return None
    names = ", ".join(dict.fromkeys(re.findall(r"\bv\d{1,3}\.\d\b", told)))
    named = f" (it names {names})" if names else ""
    return (
        f"Meta's X-Ad-Api-Version-Warning{named}: it answered as another version than we asked for. What now: read "
        f"Meta's changelog, then raise graph_version in clients.yml; {NEWEST} was the newest on {AS_OF}"
    )
