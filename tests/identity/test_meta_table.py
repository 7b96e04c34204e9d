"""Promise P10: hashes equal the named profile, on every example of meta-capi.md 2.3."""

from __future__ import annotations

import pyarrow as pa
import pytest
from meta_table import DIGESTS, TABLE, Row

from offline_capi.identity import digest, normalize


def _one(row: Row, profile: str) -> str | None:
    return normalize(row.key, pa.array([row.value]), country=row.country, profile=profile)[0].as_py()


def _name(row: Row) -> str:
    return f"{row.key}-{row.value}-{row.country}"


@pytest.mark.parametrize("row", TABLE, ids=_name)
def test_p10_canonical_form(row: Row) -> None:
    """Profile ``meta`` is the canonical column."""
    assert _one(row, "meta") == row.canonical


@pytest.mark.parametrize("row", TABLE, ids=_name)
def test_p10_official_sdk(row: Row) -> None:
    """Profile ``sdk`` is the SDK's column; null where it raises."""
    assert _one(row, "sdk") == row.sdk


@pytest.mark.parametrize("row", TABLE, ids=_name)
def test_p10_param_builder(row: Row) -> None:
    """Profile ``param_builder`` is the builder's column."""
    assert _one(row, "param_builder") == row.builder


def test_p10_digests_of_the_table() -> None:
    """Digests are the ones printed in the table, and every canonical form has one there."""
    forms = sorted({row.canonical for row in TABLE if row.canonical})

    digests = dict(zip(forms, digest(pa.array(forms)).to_pylist(), strict=True))

    assert digests == {form: DIGESTS[form] for form in forms}
