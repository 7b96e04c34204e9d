"""A pinned profile gives the same for ever: every released version against the vectors it was released with."""

from __future__ import annotations

import pytest

from offline_capi.audit.conformance import load_vectors, run_conformance
from offline_capi.errors import UsageError
from offline_capi.identity import PROFILES, VERSIONS, resolve_version


def test_every_version_passes_its_published_vectors() -> None:
    found = run_conformance()

    assert {one.version for one in found} == set(VERSIONS)
    assert [one.misses for one in found] == [()] * len(found)
    assert sum(one.vectors for one in found) > 2_000


def test_the_parameter_builder_is_measured_by_every_key_of_its_tests() -> None:
    assert {one.key for one in load_vectors("param_builder")} == {
        "em", "ph", "fn", "ge", "db", "ct", "st", "zp", "country", "external_id",
    }  # fmt: skip


def test_a_name_without_a_version_is_the_newest() -> None:
    assert resolve_version("meta") == max(one for one in VERSIONS if one.startswith("meta@"))
    assert all(PROFILES[name] is VERSIONS[resolve_version(name)] for name in PROFILES)
    assert resolve_version("sdk@26.0.3") == "sdk@26.0.3"


def test_an_unknown_version_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r'no profile "meta@2025-01"; one of: .*meta@2026-11'):
        resolve_version("meta@2025-01")
