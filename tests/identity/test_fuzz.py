"""A fuzz run over all keys and all profiles, on random Unicode from every plane.

``OFFLINE_CAPI_FUZZ_VALUES`` sets how many values a key (default 1,500).
"""

from __future__ import annotations

import os
import random
import sys
import unicodedata
from functools import cache

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from offline_capi import hash_frame
from offline_capi.config.client import Client
from offline_capi.config.types import SecretRef
from offline_capi.identity import PROFILES, Cause, HashedColumn, digest, hash_identity, inspect_identity, normalize
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import IdentityColumn, MappedRows

VALUES = int(os.environ.get("OFFLINE_CAPI_FUZZ_VALUES", "1500"))
KEYS = sorted(USER_DATA_KEYS)
HASHED = [key for key in KEYS if USER_DATA_KEYS[key].hashing == "always"]
COUNTRIES = [None, "US", "de", "United Kingdom", "jp", "CAN", "Italia", "??"]
CLIENTS = {"acme": Client(pixel_id="1234567890", token=SecretRef(env="T"), country="US")}
# What a value of some key is made of: broken up and mixed with anything, it comes close to what rules look for.
WORDS = [
    "a@b.co", "+16505551212", "020", "7946", "0958", "(0)", "ext.5", "Mary", "O'Brien", "Île-de-France", "SW1A1AA",
    "94035-1234", "2/16/1997", "1997-02-16", "Germany", "female", "192.0.2.1", "2001:db8::", "fb.1.1554763741205.AbC",
    "123456789012345", "1.5e15", "null", "n/a", "test@test.com", "38400000-8cf0-11bd-b23e-10b96e40000d", "Mozilla/5.0",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
]  # fmt: skip


@cache
def _letters() -> list[str]:
    """One in five of all that Unicode can write, and all that composes, hides, turns around or counts."""
    odd = {"Mn", "Cf", "Zs", "Nd", "Cc", "Zl", "Zp", "Lt", "Lm"}
    points = (chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF)
    return [one for at, one in enumerate(points) if unicodedata.category(one) in odd or at % 5 == 0]


def _value(rng: random.Random) -> str | None:
    if rng.random() < 0.02:
        return None
    pieces = [rng.choice(WORDS) if rng.random() < 0.4 else rng.choice(_letters()) for _ in range(rng.randint(0, 5))]
    text = rng.choice(["", "", " "]).join(pieces)
    return rng.choice([text, text.upper(), text[: rng.randint(0, 20)], text[::-1]])


def _values(seed: str) -> list[str | None]:
    rng = random.Random(seed)
    fresh = [_value(rng) for _ in range(VALUES)]
    return [*fresh, *rng.choices(fresh, k=VALUES // 4)]  # twins too


def _rows(identity: dict[str, pa.Array]) -> MappedRows:
    count = len(next(iter(identity.values())))
    return MappedRows(
        "fuzz", pa.array(range(count)), pa.repeat("acme", count), {},
        {key: [IdentityColumn(values, key)] for key, values in identity.items()}, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip


def _columns(profile: str, values: list[str | None]) -> dict[str, HashedColumn]:
    rows = _rows(dict.fromkeys(KEYS, pa.array(values, pa.string())))
    return {column.key: column for column in inspect_identity(rows, clients=CLIENTS, profile=profile)}


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_p10_whatever_comes_leaves_as_a_digest_or_not_at_all(profile: str) -> None:
    """Never an exception; hashed keys are 64 lower-case hex digits or null, and digests of nothing never leave."""
    columns = _columns(profile, _values(f"out-{profile}"))

    for key in HASHED:
        sent = columns[key].values.drop_null()
        hashed = pc.match_substring_regex(sent, "^[0-9a-f]{64}$")
        as_is = pc.match_substring_regex(sent, "^(?i:[0-9a-f]{32}|[0-9a-f]{64})$")  # what both libraries pass on
        assert pc.all(hashed if profile == "meta" else pc.or_(hashed, as_is)).as_py() in (True, None), key
    empty = digest(pa.array([""]))[0].as_py()
    assert profile != "meta" or empty not in {one for key in HASHED for one in columns[key].values.to_pylist()}


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_value_is_sent_or_has_a_cause_or_was_empty(profile: str) -> None:
    """Every value that is there leaves or is counted under one of our causes; never both."""
    causes = {cause.value for cause in Cause}
    values = _values(f"cause-{profile}")

    for key, column in _columns(profile, values).items():
        cause = column.cause if column.cause is not None else pa.nulls(len(values), pa.string())
        assert not pc.any(pc.and_(pc.is_valid(column.values), pc.is_valid(cause))).as_py(), key
        assert set(cause.drop_null().to_pylist()) <= causes
        lost = pc.and_(pc.is_null(column.values), pc.is_null(cause)).filter(column.filled)
        silent = pa.array(values, pa.string()).filter(column.filled).filter(lost).to_pylist()
        assert [one for one in silent if _visible(one)] == [], key


def _visible(text: str) -> bool:
    """Whether anything can be seen of it."""
    return any(unicodedata.category(letter) not in ("Cf", "Zs", "Cc", "Zl", "Zp", "Mn") for letter in text)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "ph"])
def test_p10_normal_forms_stay_as_they_are(key: str) -> None:
    """Normalising twice changes nothing, in any country."""
    rng = random.Random(f"twice-{key}")
    values = _values(f"twice-{key}")
    countries = pa.array(rng.choices(COUNTRIES, k=len(values)), pa.string())

    once = normalize(key, pa.array(values, pa.string()), country=countries)

    assert normalize(key, once, country=countries).equals(once)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_p11_cuts_and_order_make_no_difference(profile: str) -> None:
    """The same rows in one batch, in uneven ones, and in another order: the same digest beside each."""
    values = _values(f"cuts-{profile}")
    order = random.Random("order").sample(range(len(values)), len(values))

    whole = _columns(profile, values)
    cuts = [_columns(profile, values[at : at + 311]) for at in range(0, len(values), 311)]
    mixed = _columns(profile, [values[at] for at in order])

    for key in KEYS:
        assert pa.concat_arrays([cut[key].values for cut in cuts]).equals(whole[key].values), key
        assert mixed[key].values.equals(whole[key].values.take(pa.array(order))), key


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_three_doors_lead_to_one_path(profile: str) -> None:
    """``hash_identity``, ``hash_frame`` and ``digest(normalize(...))`` give the same for every key."""
    values = pa.array(_values(f"doors-{profile}"), pa.string())
    frame = pd.DataFrame({key: values.to_pandas() for key in KEYS})

    staged = hash_identity(_rows(dict.fromkeys(KEYS, values)), clients={}, profile=profile).identity
    framed = hash_frame(frame, {key: key for key in KEYS}, country="country", profile=profile)

    for key in KEYS:
        assert pa.array(framed[key], pa.string(), from_pandas=True).equals(staged[key][0]), key
        if USER_DATA_KEYS[key].hashing == "never":
            assert normalize(key, values, profile=profile).equals(staged[key][0]), key
        elif profile == "meta" and key != "external_id":
            own = digest(normalize(key, values, country=values, profile=profile))
            assert own.equals(staged[key][0]), key
