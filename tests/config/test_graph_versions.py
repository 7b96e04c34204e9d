"""Versions of the Graph API: their ends, by family, and when somebody is told."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from offline_capi.config.platform import Platform
from offline_capi.meta.versions import (
    ENDS_SOON_DAYS,
    FAMILIES,
    NEWEST,
    WARN_DAYS,
    end_of,
    upgrade_notice,
    version_warnings,
)
from offline_capi.sandbox.access import VERSIONS_END

TODAY = date(2026, 11, 24)

#: meta-capi.md 11, the Graph schedule, which events follow.
GRAPH = [
    ("v26.0", None),
    ("v25.0", date(2028, 7, 29)),
    ("v24.0", date(2028, 2, 18)),
    ("v23.0", date(2027, 10, 8)),
    ("v22.0", date(2027, 5, 20)),
    ("v21.0", date(2027, 1, 21)),
    ("v20.0", date(2026, 9, 24)),
    ("v19.0", date(2026, 5, 21)),
    ("v16.0", date(2025, 5, 14)),
    ("v12.0", date(2025, 5, 14)),
    ("v27.0", None),
    ("v28.0", None),
]
#: The Marketing schedule, which the other families may follow; the newest are not announced.
MARKETING = [
    ("v27.0", None),
    ("v26.0", None),
    ("v25.0", date(2027, 2, 23)),
    ("v24.0", date(2026, 11, 10)),
    ("v23.0", date(2026, 6, 9)),
    ("v22.0", date(2026, 2, 19)),
    ("v21.0", date(2026, 2, 19)),
]


@pytest.mark.parametrize(("version", "day"), GRAPH)
def test_events_follow_the_graph_schedule(version: str, day: date | None) -> None:
    assert end_of(version, "events").day == day


@pytest.mark.parametrize("family", ["management", "read_back"])
@pytest.mark.parametrize(("version", "day"), MARKETING)
def test_other_families_may_follow_the_shorter_one(version: str, day: date | None, family: str) -> None:
    assert end_of(version, family).day == day


def test_every_end_has_its_source() -> None:
    known = [end_of(f"v{number}.0", family) for number in range(10, 28) for family in FAMILIES]

    assert all(end.source for end in known if end.day)


def test_the_sandbox_ends_versions_on_the_same_days() -> None:
    ours = {number: end_of(f"v{number}.0", "events").day for number in VERSIONS_END}

    assert ours == {
        number: date(1970, 1, 1) + timedelta(seconds=end) if end else None for number, end in VERSIONS_END.items()
    }


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (WARN_DAYS + 1, None),
        (WARN_DAYS, "ends on 2027-01-21, in 90 days"),
        (1, "ends on 2027-01-21, in 1 day. "),
        (0, "ended on 2027-01-21: Meta refuses it, or answers as a version of its own choice"),
        (-400, "ended on 2027-01-21"),
    ],
)
def test_an_end_is_warned_of_from_90_days_before(before: int, words: str | None) -> None:
    warnings = version_warnings(
        dict.fromkeys(FAMILIES, "v21.0"), date(2027, 1, 21) - timedelta(days=before), families=["events"]
    )

    assert [words in warning for warning in warnings] == [True] * (words is not None)
    assert all(f"set graph_version to {NEWEST}" in warning and "(source: " in warning for warning in warnings)


def test_what_nobody_knows_is_not_warned_of_and_what_is_unsure_says_so() -> None:
    assert version_warnings(dict.fromkeys(FAMILIES, "v27.0"), TODAY) == []
    assert version_warnings(dict.fromkeys(FAMILIES, "v26.0"), TODAY) == []
    assert version_warnings(dict.fromkeys(FAMILIES, "v25.0"), date(2026, 11, 24)) == []

    (warning,) = version_warnings(dict.fromkeys(FAMILIES, "v24.0"), TODAY)

    assert "v24.0 (management, read_back) may have ended on 2026-11-10" in warning
    assert "graph_versions.management and graph_versions.read_back" in warning


@pytest.mark.parametrize(("before", "soon"), [(31, False), (30, True), (0, True), (-400, True)])
def test_the_last_days_of_a_version_are_told_apart(before: int, soon: bool) -> None:
    day = date(2027, 1, 21) - timedelta(days=before)

    found = version_warnings(dict.fromkeys(FAMILIES, "v21.0"), day, families=["events"], within_days=ENDS_SOON_DAYS)

    assert bool(found) is soon


def test_a_family_has_the_version_of_all_unless_it_has_its_own() -> None:
    platform = Platform.model_validate({"graph_version": "v25.0", "graph_versions": {"read_back": "v26.0"}})

    assert platform.versions == {"events": "v25.0", "management": "v25.0", "read_back": "v26.0"}
    assert set(Platform().versions.values()) == {NEWEST}


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x-ad-api-version-warning": "auto-upgraded from v21.0 to v22.0"}, "(it names v21.0, v22.0)"),
        ({"X-Ad-Api-Version-Warning": "EAAtoken of someone@example.org"}, "X-Ad-Api-Version-Warning: it answered"),
        ({"x-app-usage": "{}"}, None),
    ],
)
def test_meta_s_header_is_told_in_our_words(headers: dict[str, str], words: str | None) -> None:
    notice = upgrade_notice(headers)

    assert (notice is None) == (words is None)
    assert words is None or words in str(notice)
    assert "EAA" not in str(notice)
    assert "@" not in str(notice)
