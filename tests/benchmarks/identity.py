"""How long identity takes: nanoseconds a value, by key and by step, against the official SDK and the bare SHA-256.

``python tests/benchmarks/identity.py [ROWS]`` (default 1,000,000). Everything runs in one process on one core, so that
the ratios hold where the nanoseconds do not.
"""

from __future__ import annotations

# ruff: noqa: E402, T201  # the number of threads is fixed before the libraries are loaded; it prints by design
import os

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported: one core against one core

import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

pa.set_cpu_count(1)

from facebook_business.adobjects.serverside.user_data import UserData

from offline_capi.config.client import Client
from offline_capi.config.types import SecretRef
from offline_capi.identity import HashCache, digest, hash_identity, normalize
from offline_capi.model import IdentityColumn, MappedRows
from offline_capi.pipeline import BATCH_ROWS_OF_RUN
from tests.benchmarks.clock import best

KEYS = ("em", "ph", "fn", "ln", "db", "ct", "st", "zp", "country")
SDK_ROWS = 25_000  # as long a measurement as ours, or a quiet moment would favour the shorter one
STATES = ("CA", "ny", "Texas", "FL", "California", "wa", "IL", "Ohio", "NJ", "mi")
CITIES = ("New York", "St. Louis", "Los Angeles", "Chicago", "Houston", "Washington, D.C.", "San José", "Coeur d'Alene")
SYLLABLES = ("ma", "ri", "jo", "an", "el", "so", "ka", "lu", "ben", "tho", "mas", "pe", "ter", "ol", "iv", "er")


def _names(rng: random.Random, count: int, most: int) -> list[str]:
    """``most`` different names, the common ones far more often than the rare ones."""
    pool = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))).title() for _ in range(most)]
    return [pool[int(most * rng.random() ** 3)] for _ in range(count)]


def sample(count: int) -> dict[str, pa.Array]:
    """Rows as an export holds them: almost all e-mail addresses and phones differ, places and names repeat."""
    rng = random.Random(20261124)
    first, last = _names(rng, count, 5_000), _names(rng, count, 60_000)
    shapes = ("({}) {}-{}", "+1 {} {} {}", "{}-{}-{}", "{}{}{}", "1{}{}{}")
    phones = []
    for _ in range(count):
        area = rng.choice((212, 415, 650, 305, 713, 206))
        numbers = (f"{area}", f"{rng.randint(200, 999)}", f"{rng.randint(0, 9999):04}")
        phones.append(rng.choice(shapes).format(*numbers))
    return {
        "em": pa.array([f"{f}.{last[i]}{rng.randint(0, 99999)}@Gmail.com " for i, f in enumerate(first)]),
        "ph": pa.array(phones),
        "fn": pa.array(first),
        "ln": pa.array(last),
        "db": pa.array([f"{date(1940, 1, 1) + timedelta(rng.randint(0, 23_000))}" for _ in range(count)]),
        "ct": pa.array(rng.choices(CITIES, k=count)),
        "st": pa.array(rng.choices(STATES, k=count)),
        "zp": pa.array([f"{rng.randint(501, 40_500):05}" for _ in range(count)]),
        "country": pa.array(["US"] * count),
    }


def mapped(columns: dict[str, pa.Array]) -> MappedRows:
    count = len(next(iter(columns.values())))
    return MappedRows(
        origin="benchmark",
        row=pa.repeat(pa.scalar(0), count),
        client=pa.repeat("acme", count),
        event={},
        identity={key: [IdentityColumn(values, key)] for key, values in columns.items()},
        custom={},
        suppressed=pa.repeat(pa.scalar(value=False), count),
    )


def sdk_user(row: dict[str, str]) -> UserData:
    return UserData(
        email=row["em"], phone=row["ph"], first_name=row["fn"], last_name=row["ln"], date_of_birth=row["db"],
        city=row["ct"], state=row["st"], zip_code=row["zp"], country_code=row["country"],
    )  # fmt: skip


def sdk_seconds(columns: dict[str, pa.Array]) -> float:
    """``UserData.normalize()`` alone, objects made beforehand; seconds a row."""
    rows = pa.table(columns).slice(0, SDK_ROWS).to_pylist()
    users = [sdk_user(row) for row in rows]
    return best(lambda: [user.normalize() for user in users]) / len(users)


def openssl_seconds(size: int) -> float:
    """One block of SHA-256, from ``openssl speed`` over messages of ``size`` bytes."""
    command = ["openssl", "speed", "-seconds", "1", "-bytes", str(size), "sha256"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    thousands = re.search(r"^sha256 +([\d.]+)k", said, re.MULTILINE)
    if thousands is None:
        raise SystemExit("openssl speed did not say how many bytes it hashed")
    return min(size, 64) / (float(thousands[1]) * 1000)


def main(count: int) -> None:
    columns = sample(count)
    clients = {"acme": Client(name="acme", pixel_id="1234567890", token=SecretRef(env="T"), country="US")}
    whole = mapped(columns)
    parts = {key: mapped({key: values}) for key, values in columns.items()}
    country = pa.repeat("us", count)
    stage = _ns(lambda: hash_identity(whole, clients=clients), count)
    print(f"{count:,} rows, one core, ns a value, the best of five\n")
    print(f"{'key':8}{'distinct':>11}{'normalise':>11}{'digest':>11}{'stage':>11}")
    for key in KEYS:
        values, part = columns[key], parts[key]
        normal = _ns(partial(normalize, key, values, country=country), count)
        plain = _ns(partial(digest, values), count)
        alone = _ns(partial(hash_identity, part, clients=clients), count)
        print(f"{key:8}{len(values.unique()):11,}{normal:11.0f}{plain:11.0f}{alone:11.0f}")
    print("\n(digest: every row on its own; stage: both, once a distinct value where values repeat)\n")
    em = _ns(lambda: hash_identity(parts["em"], clients=clients), count)
    sdk = sdk_seconds(columns) * 1e9
    print(f"nine keys, hash_identity            {stage:7.0f} ns a row")
    print(f"nine keys, UserData.normalize()     {sdk:7.0f} ns a row: {sdk / stage:.1f} times as long (aim: 30)")
    for name, size in (("one block of a stream", 16_384), ("a message of one block", 16)):
        block = openssl_seconds(size) * 1e9
        print(f"openssl, {name:26} {block:7.0f} ns: an e-mail takes {em / block:.1f} times as long (aim: 8)")

    in_batches(columns, clients)


def in_batches(columns: dict[str, pa.Array], clients: dict[str, Client]) -> None:
    """The nine keys as a night has them: batch by batch, and what a run remembers of them."""
    count = len(columns["em"])
    starts = range(0, count, BATCH_ROWS_OF_RUN)
    batches = [mapped({key: values.slice(at, BATCH_ROWS_OF_RUN) for key, values in columns.items()}) for at in starts]

    def run(cache: HashCache | None) -> HashCache | None:
        for batch in batches:
            hash_identity(batch, clients=clients, cache=cache)
        return cache

    known = run(HashCache())
    ways = {"nothing cached": lambda: None, "a run from its start": HashCache, "all known": lambda: known}
    print()
    for way, memory in ways.items():
        taken = _ns(lambda memory=memory: run(memory()), count)
        print(f"in batches of {BATCH_ROWS_OF_RUN:,}, {way:20} {taken:7.0f} ns a row")


def _ns(work: Callable[[], Any], count: int) -> float:
    return best(work) / count * 1e9


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
