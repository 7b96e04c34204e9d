"""Promise P10: profile ``sdk`` is the official SDK, bit for bit, with the SDK itself as oracle on generated values.

``OFFLINE_CAPI_ORACLE_VALUES`` sets how many values a key (default 2,000; the release run takes 100,000).
"""

from __future__ import annotations

import os
import random

import pyarrow as pa
import pytest
from facebook_business.adobjects.serverside.normalize import Normalize

from offline_capi.config.settings import Client, SecretRef
from offline_capi.identity import PROFILES, hash_identity, normalize
from offline_capi.model import IdentityColumn, MappedRows

VALUES = int(os.environ.get("OFFLINE_CAPI_ORACLE_VALUES", "2000"))
KEYS = (
    "em",
    "ph",
    "fn",
    "ln",
    "ge",
    "db",
    "ct",
    "st",
    "zp",
    "country",
    "f5first",
    "f5last",
    "fi",
    "dobd",
    "dobm",
    "doby",
)

PIECES = [
    *"0123456789abcdefABCDEFxyzXYZ +-().,@'\"/_\t\n\r\x0b\x1c\x1f\x00\u00a0\u2003\u200b\ufeff", "00", "+", "++",
    "+00", "@", ".", "us", "GB",
    "de", "xk", "1997", "2/16/1997", "San José", "Müller", "İ", "ẞ", "ß", "Σ", "ΑΣ", "ǅ", "ﬁ", "É", "e\u0301",
    "정", "東京", "١٢٣٤٥٦٧", "１２３４５６７",
    "😀", "𝟘", "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "6505551212",
    "(650) 555-1212", "a@b.co", "@example.com", " ext 5", "M1 1AE", "94035-1234", "_1", "1_0", "-1", "+5", "７",
    "٣", "\U0001d7d8",
]  # fmt: skip


def _oracle(key: str, value: str, *, hashed: bool) -> str | None:
    try:
        normal: str | None = Normalize.normalize(key, value, hashed)
    except (TypeError, ValueError):
        return None
    return normal


def _generated(key: str) -> list[str]:
    rng = random.Random(f"oracle-{key}")
    return ["".join(rng.choices(PIECES, k=rng.randint(0, 7))) for _ in range(VALUES)]


@pytest.mark.parametrize("key", KEYS)
def test_p10_sdk_normal_forms(key: str) -> None:
    """What would be hashed is what the SDK would hash; null where it raises."""
    values = _generated(key)

    normal = normalize(key, pa.array(values), profile="sdk").to_pylist()

    wrong = [n for n, value in enumerate(values) if normal[n] != _oracle(key, value, hashed=False)]
    assert wrong == []
    assert any(normal)


@pytest.mark.parametrize("key", KEYS)
def test_p10_sdk_digests(key: str) -> None:
    """The stage sends what ``UserData.normalize()`` sends, digests passed on included."""
    values = _generated(key)
    count = len(values)
    rows = MappedRows(
        "test", pa.array(range(count)), pa.repeat("acme", count), {}, {key: [IdentityColumn(pa.array(values),
        key)]}, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip
    clients = {"acme": Client(name="acme", pixel_id="1234567890", token=SecretRef(env="T"), country="US")}

    sent = hash_identity(rows, clients=clients, profile="sdk").identity[key][0].to_pylist()

    wrong = [n for n, value in enumerate(values) if sent[n] != _oracle(key, value, hashed=True)]
    assert wrong == []


def test_every_key_has_a_rule_in_every_profile() -> None:
    """A profile covers all keys, so that changing it never loses one."""
    assert {frozenset(profile) for profile in PROFILES.values()} == {frozenset(PROFILES["meta"])}
