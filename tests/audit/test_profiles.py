"""The choice of a profile, and ``profile diff``: what another one would change, counted and not shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.audit import diff_profiles
from offline_capi.errors import ConfigError, UsageError
from offline_capi.identity import PROFILES, digest, normalize
from offline_capi.pipeline import preview_upload
from tests.audit.project import CANARY, Project

ROWS = [
    {"email": f"{CANARY}@example.com", "first": "Mary Ann", "land": "US"},
    {"email": f"a b@{CANARY}.com", "first": "Mary", "land": "USA"},
    {"email": "foo@bar", "first": "", "land": ""},
]
USER_DATA = {"em": "email", "fn": "first", "country": "land"}


def test_values_are_counted_by_what_the_other_profile_makes_of_them(tmp_path: Path) -> None:
    """An inner blank passes in the SDK only; ``USA`` in ours only; ``mary ann`` hashes differently."""
    with Project(tmp_path, USER_DATA, ROWS).opened() as (upload, window, services):
        found = diff_profiles(upload, window, services, to="sdk")

    assert (found.rows, found.now, found.then) == (3, ("meta",), "sdk")
    named = {one["key"]: one for one in found.to_json()["columns"]}
    assert {key: [one[name] for name in ("filled", "equal", "different", "only_now", "only_then", "neither")]
            for key, one in named.items()} == {
        "em": [3, 1, 0, 0, 1, 1],
        "fn": [2, 1, 1, 0, 0, 0],
        "country": [2, 1, 0, 1, 0, 0],
    }  # fmt: skip
    assert (named["em"]["usable_now"], named["em"]["usable_then"]) == (1, 2)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_does_not_differ_from_itself(tmp_path: Path, profile: str) -> None:
    project = Project(tmp_path, USER_DATA, ROWS, upload={"profile": profile})

    with project.opened() as (upload, window, services):
        found = diff_profiles(upload, window, services, to=profile)

    assert all((one.different, one.only_now, one.only_then) == (0, 0, 0) for one in found.columns.values())
    assert sum(one.equal for one in found.columns.values()) > 0


def test_several_columns_of_a_key_are_told_apart(tmp_path: Path) -> None:
    rows = [{"a": "Mary Ann", "b": "Mary"}]

    with Project(tmp_path, {"fn": ["a", "b"]}, rows).opened() as (upload, window, services):
        found = diff_profiles(upload, window, services, to="sdk")

    assert {place: (one.equal, one.different) for place, one in found.columns.items()} == {
        ("fn", "a"): (0, 1),
        ("fn", "b"): (1, 0),
    }


def test_p09_no_value_is_in_what_a_diff_finds(tmp_path: Path) -> None:
    with Project(tmp_path, USER_DATA, ROWS).opened() as (upload, window, services):
        found = diff_profiles(upload, window, services, to="param_builder")

    assert CANARY not in f"{found!r}{json.dumps(found.to_json())}"


def test_a_profile_that_nobody_knows_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with (
        Project(tmp_path, USER_DATA, ROWS).opened() as (upload, window, services),
        pytest.raises(UsageError, match="one of: meta, sdk, param_builder"),
    ):
        diff_profiles(upload, window, services, to="skd")


@pytest.mark.parametrize(
    ("platform", "client", "upload", "profile"),
    [
        ({}, {}, {}, "meta"),
        ({"profile": "sdk"}, {}, {}, "sdk"),
        ({"profile": "sdk"}, {"profile": "param_builder"}, {}, "param_builder"),
        ({"profile": "sdk"}, {"profile": "param_builder"}, {"profile": "meta"}, "meta"),
        ({}, {"profile": "sdk"}, {}, "sdk"),
    ],
)
def test_p10_the_nearest_choice_of_a_profile_counts(
    tmp_path: Path, platform: dict[str, Any], client: dict[str, Any], upload: dict[str, Any], profile: str
) -> None:
    """The upload's before the client's before the platform's; events go out as that profile says."""
    project = Project(tmp_path, {"ln": "last", "em": "email"}, [{"last": "O'Brien-Lee Jr.", "email": "a1@b.co"}])
    project.platform, project.client, project.upload = platform, client, upload

    with project.opened() as (one, window, services):
        (event,) = preview_upload(one, window, services, limit=1)

    assert (
        event["user_data"]["ln"] == digest(normalize("ln", pa.array(["O'Brien-Lee Jr."]), profile=profile))[0].as_py()
    )


def test_an_unknown_profile_is_a_problem_of_the_file(tmp_path: Path) -> None:
    project = Project(tmp_path, USER_DATA, ROWS, upload={"profile": "skd"})

    with pytest.raises(ConfigError, match=r'sales.yml:\d+  profile .*"sdk"'), project.opened():
        pass
