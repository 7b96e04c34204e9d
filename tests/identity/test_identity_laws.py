"""Laws that hold for every value of every key, on random Unicode.

``OFFLINE_CAPI_FUZZ_EXAMPLES`` sets how many examples a law (default 15).
"""

from __future__ import annotations

import os
import random
import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_capi.config.client import Client
from offline_capi.config.types import SecretRef
from offline_capi.identity import PROFILES, digest, hash_identity, normalize
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import LIST_SEPARATOR, IdentityColumn, MappedRows

EXAMPLES = int(os.environ.get("OFFLINE_CAPI_FUZZ_EXAMPLES", "15"))
KEYS = sorted(PROFILES["meta"])
HASHED = [key for key in KEYS if USER_DATA_KEYS[key].hashing != "never"]
COUNTRIES = [None, "us", "DE", "United Kingdom", "jp", "ca", "it"]

# Anything, and things that are nearly something.
PIECES = st.sampled_from(
    ["+1 650 555 1212", "020 7946 0958", "a@b.co", "@", ".", " ", "\u200b", "\u202e", "İ", "ß", "ﬁ", "e\u0301",
        "\u0345", "Σ", "٣", "７", "-", "(0)",
     "1997-02-16", "3/4/1997", "94035-1234", "California", "n/a", "null", "東京", "🇩🇪", "\x00", "\x1f", "\u2028",
     "ǅ", "ŉ", "ẖ", "Ω", "K", "0", "00"]
)  # fmt: skip
TEXT = st.one_of(st.none(), st.text(max_size=12), st.lists(PIECES, max_size=4).map("".join))
COLUMN = st.lists(TEXT, min_size=1, max_size=25)
CLIENTS = {"acme": Client(pixel_id="1234567890", token=SecretRef(env="T"), country="US")}


def _rows(identity: dict[str, list[str | None]]) -> MappedRows:
    count = len(next(iter(identity.values())))
    return MappedRows(
        "law", pa.array(range(count)), pa.repeat("acme", count), {},
        {key: [IdentityColumn(pa.array(values, pa.string()), key)] for key, values in identity.items()}, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip


@pytest.mark.parametrize("key", [key for key in KEYS if key != "ph"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(values=COLUMN, country=st.sampled_from(COUNTRIES))
@example(values=["´ß²", "´âšœ", "´ìšœ"], country=None)  # without the accent UTF-8, read as Windows-1252
def test_p10_normalising_twice_changes_nothing(key: str, values: list[str | None], country: str | None) -> None:
    """What is normal stays as it is (phones: see their own file, a number needs its country again)."""
    once = normalize(key, pa.array(values, pa.string()), country=country)

    assert normalize(key, once, country=country).to_pylist() == once.to_pylist()


@pytest.mark.parametrize("profile", sorted(PROFILES))
@settings(max_examples=EXAMPLES, deadline=None)
@given(values=COLUMN)
@example(values=["0\x1e", "0\x1e0"])
def test_p10_what_leaves_is_a_digest_or_nothing(profile: str, values: list[str | None]) -> None:
    """Every hashed key, every profile, any Unicode: 64 lower-case hex digits or null, and never an exception."""
    hashed = hash_identity(_rows(dict.fromkeys(HASHED, values)), clients=CLIENTS, profile=profile)

    sent = {
        value for key in HASHED for array in hashed.identity[key] for value in array.to_pylist() if value is not None
    }
    # external_id raw, each of several in a cell on its own and without outer blanks; digests passed on
    own = {part.strip() for value in values if value is not None for part in value.split(LIST_SEPARATOR)}
    own = own if profile != "meta" else set()
    assert all(re.fullmatch("[0-9a-f]{64}", value) or value.strip() in own for value in sent)


@settings(max_examples=EXAMPLES, deadline=None)
@given(values=COLUMN)
def test_raw_keys_are_the_source_or_nothing(values: list[str | None]) -> None:
    """A raw value that leaves is what the source wrote, without outer blanks."""
    raw = [key for key in KEYS if USER_DATA_KEYS[key].hashing == "never"]

    hashed = hash_identity(_rows(dict.fromkeys(raw, values)), clients=CLIENTS)

    for key in raw:
        for written, sent in zip(values, hashed.identity[key][0].to_pylist(), strict=True):
            assert sent is None or (written is not None and sent in written and written.strip() == sent.strip())


@pytest.mark.parametrize("key", KEYS)
def test_p11_the_batch_does_not_matter(key: str) -> None:
    """A row gives the same alone, in a small batch and in a large one full of twins."""
    rng = random.Random(f"batch-{key}")
    pool = ["+1 650 555 1212", "(650) 555-1212", "Mary Ann", "a1@b.co", "n/a", "1997-02-16", "94035-1234",
    "California", "USA", "Zoë", "", None,
            "f", "192.0.2.1", "fb.1.1554763741205.Ab", "123456789012345", "0"]  # fmt: skip
    column: list[str | None] = [rng.choice(pool) for _ in range(3_000)]

    whole = normalize(key, pa.array(column, pa.string()), country="US").to_pylist()
    alone = {value: normalize(key, pa.array([value], pa.string()), country="US")[0].as_py() for value in pool}
    parts = [
        normalize(key, pa.array(column[at : at + 7], pa.string()), country="US").to_pylist() for at in range(0, 700, 7)
    ]

    assert whole == [alone[value] for value in column]
    assert [value for part in parts for value in part] == whole[:700]


def test_p11_country_pairs_do_not_mix() -> None:
    """Twins in several countries are read once a country."""
    rng = random.Random("pairs")
    values = [rng.choice(["501", "94035-1234", "Georgia", "020 7946 0958"]) for _ in range(5_000)]
    countries = [rng.choice(["US", "DE", "GB", None]) for _ in values]

    for key in ("ph", "st", "zp"):
        together = normalize(key, pa.array(values), country=pa.array(countries)).to_pylist()
        single = {
            (value, country): normalize(key, pa.array([value]), country=country)[0].as_py()
            for value, country in set(zip(values, countries, strict=True))
        }
        assert together == [single[pair] for pair in zip(values, countries, strict=True)]


def test_digest_is_sha256() -> None:
    """Known vectors of FIPS 180-2; null stays null; slices and chunks are fine."""
    values = pa.chunked_array([["skipped", "", "abc"], [None]]).slice(1)

    assert digest(values).to_pylist() == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        None,
    ]


def test_p09_no_readable_identity_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Canaries in every hashed column and on every way out: none is in the result, its counts or the output."""
    canaries = [
        "canary@example.com",
        "canary at example",
        "+1 650 555 1212 canary",
        "canary\u0301",
        "ca na ry",
        "N/A canary",
    ]

    hashed = hash_identity(_rows(dict.fromkeys(HASHED, canaries)), clients=CLIENTS)

    printed = capsys.readouterr()
    assert "canary" not in f"{hashed!r}{hashed.dropped}{printed.out}{printed.err}".lower().replace(" ", "")
    assert not {"canary", "16505551212"} & {value for key in HASHED for value in hashed.identity[key][0].to_pylist()}
