"""Promise P10: profile ``sdk`` is the official SDK, bit for bit, with the SDK itself as oracle on generated values.

``OFFLINE_CAPI_ORACLE_VALUES`` sets how many values a key (default 100,000: some seconds for all keys).
"""

from __future__ import annotations

import os
import random
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from facebook_business.adobjects.serverside.normalize import Normalize

from offline_capi.config.client import Client
from offline_capi.config.types import SecretRef
from offline_capi.identity import PROFILES, hash_identity, normalize
from offline_capi.model import IdentityColumn, MappedRows

VALUES = int(os.environ.get("OFFLINE_CAPI_ORACLE_VALUES", "100000"))
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


# What a key's own rule looks at, so that a good part of the values passes it.
CHARACTERS = {
    "em": "ab.@ A-+_", "ph": "0123456789 +-()", "country": "usgbdeatfr .",
    "dobd": "0123 9", "dobm": "012 9", "doby": "0129",
}  # fmt: skip
LONGEST = {"em": 10, "ph": 18, "country": 4, "dobd": 3, "dobm": 3, "doby": 5}


@cache
def _noise() -> list[str]:
    """Three quarters of the values: anything, and things that are nearly something; the same for every key."""
    rng = random.Random("oracle")
    return ["".join(rng.choices(PIECES, k=rng.randint(0, 7))) for _ in range(VALUES * 3 // 4)]


def _generated(key: str) -> list[str]:
    rng = random.Random(f"oracle-{key}")
    letters = CHARACTERS.get(key, "aZé 09-.,'")
    own = ["".join(rng.choices(letters, k=rng.randint(0, LONGEST.get(key, 12)))) for _ in range(VALUES // 4)]
    return [*_noise(), *own]


def _oracle(key: str, values: list[str], *, hashed: bool) -> list[str | None]:
    return [_one(key, value, hashed) for value in values]


def _one(key: str, value: str, hashed: bool) -> str | None:
    try:
        normal: str | None = Normalize.normalize(key, value, hashed)
    except (TypeError, ValueError):
        return None
    return normal


@pytest.mark.parametrize("key", KEYS)
def test_p10_profile_sdk_is_the_sdk_itself(key: str) -> None:
    """What would be hashed is what the SDK would hash, on 100,000 values a key; null where it raises."""
    values = _generated(key)

    normal = normalize(key, pa.array(values), profile="sdk")

    expected = pa.array(_oracle(key, values, hashed=False), pa.string())
    assert _different(normal, expected) == []
    assert len(normal) - normal.null_count > VALUES / 200


@pytest.mark.parametrize("key", KEYS)
def test_p10_sdk_digests(key: str) -> None:
    """The stage sends what ``UserData.normalize()`` sends, digests passed on included."""
    values = random.Random(key).sample(_generated(key), VALUES // 25)
    count = len(values)
    rows = MappedRows(
        "test", pa.array(range(count)), pa.repeat("acme", count), {}, {key: [IdentityColumn(pa.array(values),
        key)]}, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip
    clients = {"acme": Client(name="acme", pixel_id="1234567890", token=SecretRef(env="T"), country="US")}

    sent = hash_identity(rows, clients=clients, profile="sdk").identity[key][0]

    assert _different(sent, pa.array(_oracle(key, values, hashed=True), pa.string())) == []


def _different(found: pa.Array, expected: pa.Array) -> list[int]:
    """Where the two are not equal, null being equal to null."""
    same = pc.or_(pc.fill_null(pc.equal(found, expected), False), pc.and_(pc.is_null(found), pc.is_null(expected)))
    different: list[int] = pc.indices_nonzero(pc.invert(same)).to_pylist()
    return different


def test_every_key_has_a_rule_in_every_profile() -> None:
    """A profile covers all keys, so that changing it never loses one."""
    assert {frozenset(profile) for profile in PROFILES.values()} == {frozenset(PROFILES["meta"])}
