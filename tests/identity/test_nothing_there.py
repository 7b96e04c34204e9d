"""Batches without rows, and cells without text: nothing comes of them, and nothing is said of them."""

from __future__ import annotations

import pytest

from offline_capi.identity import PROFILES, HashCache, hash_identity
from tests.identity.test_identity_laws import CLIENTS, HASHED, _rows


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_batch_without_rows_has_no_values(profile: str) -> None:
    rows = _rows({key: [] for key in HASHED})

    hashed = hash_identity(rows, clients=CLIENTS, profile=profile, cache=HashCache())

    assert {len(array) for arrays in hashed.identity.values() for array in arrays} == {0}
    assert hashed.dropped == ()


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_an_empty_text_is_no_value_and_no_loss(profile: str) -> None:
    hashed = hash_identity(_rows({key: ["", None] for key in HASHED}), clients=CLIENTS, profile=profile)

    sent = {value for arrays in hashed.identity.values() for array in arrays for value in array.to_pylist()}
    # The SDK sends an empty external_id as it is; the mapping gives none.
    assert sent - ({""} if profile == "sdk" else set()) == {None}
    assert hashed.dropped == ()
