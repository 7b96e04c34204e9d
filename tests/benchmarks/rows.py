"""Mapped rows → payload bytes: identity and building together, on one core and on both, beside the official SDK.

The SDK goes from objects to JSON on one core, hashing nine keys; ours from mapped columns to the bodies of requests.
"Both cores" is two processes with half of the rows each, as two mapped tasks are. ``python -m tests.benchmarks.rows``.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event

from offline_capi.config.client import Client
from offline_capi.config.types import SecretRef
from offline_capi.events import build_events
from offline_capi.identity import HashCache, hash_identity
from offline_capi.model import IdentityColumn, MappedRows
from offline_capi.pipeline import BATCH_ROWS_OF_RUN, EVENT_ROWS_OF_RUN
from offline_capi.runtime.process import run_in_thread
from tests.benchmarks.__main__ import misses_aim, say, summarise
from tests.benchmarks.identity import sample, sdk_user

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
CLIENTS = {"acme": Client(name="acme", pixel_id="1234567890", token=SecretRef(env="T"), country="US")}
#: Between two rounds of ours the SDK is timed again: a machine's speed changes by some percent within a minute.
SDK_ROWS, ROUNDS = 40_000, 2
#: How many times as fast as the SDK on one core, and on two (issue 21).
MIN_RATIOS = 20, 40


def mapped(columns: dict[str, pa.Array], start: int) -> MappedRows:
    """Purchases with nine readable keys."""
    count = len(columns["em"])
    number = np.arange(start, start + count)
    return MappedRows(
        origin="orders.parquet",
        row=pa.array(number),
        client=pa.repeat("acme", count),
        event={
            "event_name": pa.repeat("Purchase", count),
            "event_time": pa.array(int(NOW.timestamp()) - number % 500_000),
            "event_id": pa.array([f"order-{i:09d}" for i in number]),
            "action_source": pa.repeat("physical_store", count),
        },
        identity={key: [IdentityColumn(values, key)] for key, values in columns.items()},
        custom={"value": pa.array(number % 10_000 / 100), "currency": pa.repeat("USD", count)},
        suppressed=pa.repeat(pa.scalar(value=False), count),
    )


def ours(rows: int) -> float:
    """Seconds for ``rows`` rows in this process, as one run that remembers the values it has seen."""
    return _seconds(rows, HashCache())


def anew(rows: int) -> float:
    """The same where every batch begins with nothing."""
    return _seconds(rows, None)


def _seconds(rows: int, cache: HashCache | None) -> float:
    columns = sample(rows)
    starts = range(0, rows, BATCH_ROWS_OF_RUN)
    batches = [mapped({key: all_.slice(at, BATCH_ROWS_OF_RUN) for key, all_ in columns.items()}, at) for at in starts]
    _bytes_of(batches[0], None)  # tables of countries and phone plans are read once
    started = time.perf_counter()
    run_in_thread(lambda: [_bytes_of(batch, cache) for batch in batches])  # as in a run, whose main thread sends
    return time.perf_counter() - started


def _bytes_of(batch: MappedRows, cache: HashCache | None) -> int:
    hashed = hash_identity(batch, clients=CLIENTS, cache=cache)
    built = (build_events(part, clients=CLIENTS, zone="UTC", now=NOW) for part in hashed.split(EVENT_ROWS_OF_RUN))
    return sum(one.events.body_bytes for one in built)


def sdk(rows: int) -> float:
    """Seconds that the SDK takes from objects to JSON."""
    people = [sdk_user(row) for row in pa.table(sample(rows)).to_pylist()]
    events = [
        Event(
            event_name="Purchase",
            event_time=int(NOW.timestamp()),
            event_id=f"order-{i:09d}",
            action_source=ActionSource.PHYSICAL_STORE,
            user_data=person,
            custom_data=CustomData(value=i / 100, currency="USD"),
        )
        for i, person in enumerate(people)
    ]
    started = time.perf_counter()
    for event in events:
        json.dumps(event.normalize())
    return time.perf_counter() - started


def on_cores(what: str, rows: int, cores: list[int]) -> float:
    """The longest of one process a core, each with its share of the rows."""
    command = [sys.executable, "-m", "tests.benchmarks.rows", what, str(rows // len(cores))]
    running = [subprocess.Popen([*command, str(core)], stdout=subprocess.PIPE, text=True) for core in cores]
    return max(float(one.communicate()[0]) for one in running)


def main(rows: int) -> None:
    cores: Any = sorted(os.sched_getaffinity(0))[:2]
    theirs, taken = [on_cores("sdk", SDK_ROWS, cores[:1]) / SDK_ROWS], dict[str, list[float]]()
    for _ in range(ROUNDS):
        for what, name, some in (
            ("anew", "nothing cached", cores[:1]),
            ("ours", "one core", cores[:1]),
            ("ours", f"{len(cores)} cores", cores),
        ):
            taken.setdefault(name, []).append(on_cores(what, rows, some) / rows)
            theirs.append(on_cores("sdk", SDK_ROWS, cores[:1]) / SDK_ROWS)
    sdk_seconds, sdk_spread = summarise(theirs)
    say(f"{rows:,} mapped rows with nine keys to payload bytes, ns a row, mean of {ROUNDS}")
    say(f"official SDK, objects to JSON, mean of {len(theirs)}  {sdk_seconds * 1e9:10,.0f}  (spread: {sdk_spread:.0%})")
    missed = False
    for (name, seconds), aim in zip(taken.items(), (None, *MIN_RATIOS), strict=True):
        own, own_spread = summarise(seconds)
        aimed = f" (aim: {aim})" if aim else ""
        say(f"ours, {name:<16}{own * 1e9:30,.0f}  {sdk_seconds / own:5.1f} times{aimed}")
        missed |= aim is not None and misses_aim(sdk_seconds / own, aim, max(sdk_spread, own_spread))
    sys.exit(missed)


if __name__ == "__main__":
    pa.set_cpu_count(1)
    if len(sys.argv) > 2:
        os.sched_setaffinity(0, {int(sys.argv[3])})
        sys.stdout.write(str({"ours": ours, "anew": anew, "sdk": sdk}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
