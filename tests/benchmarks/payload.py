"""Hashed columns → payload bytes, keys and duplicates on one core, beside the official SDK on the same events.

Run alone with ``python -m tests.benchmarks.payload``; ``measure`` gives the figures to ``make bench``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core is what is measured; polars reads this when imported

import numpy as np
import pyarrow as pa
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.user_data import UserData

from offline_capi.config.client import Client
from offline_capi.events import build_events
from offline_capi.events.payload import build_bodies
from offline_capi.guards.duplicates import SeenKeys
from offline_capi.model import HashedRows
from offline_capi.pipeline import EVENT_ROWS_OF_RUN

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
CLIENTS = {"acme": Client.model_validate({"pixel_id": "1234567890", "token": {"env": "TOKEN"}})}
SDK_KEYS = {
    "em": "email",
    "ph": "phone",
    "fn": "first_name",
    "ln": "last_name",
    "db": "date_of_birth",
    "ct": "city",
    "st": "state",
    "zp": "zip_code",
    "external_id": "external_id",
}
BATCH = 32_768
MISSING = 0.1


def hashed_rows(count: int, first_row: int, random: np.random.Generator) -> HashedRows:
    """Purchases with nine keys, one value in ten missing."""
    number = np.arange(first_row, first_row + count)
    return HashedRows(
        origin="orders.parquet",
        row=pa.array(number),
        client=pa.repeat("acme", count),
        event={
            "event_name": pa.repeat("Purchase", count),
            "event_time": pa.array(int(NOW.timestamp()) - random.integers(0, 500_000, count)),
            "event_id": pa.array([f"order-{i:09d}" for i in number]),
            "action_source": pa.repeat("physical_store", count),
        },
        identity={key: [_digests(count, random)] for key in SDK_KEYS},
        custom={
            "value": pa.array(random.integers(100, 100_000, count) / 100),
            "currency": pa.repeat("USD", count),
            "order_id": pa.array([f"{i:09d}" for i in number]),
        },
        suppressed=pa.repeat(False, count),
    )


def _digests(count: int, random: np.random.Generator) -> Any:
    digits = random.bytes(32 * count).hex()
    missing = random.random(count) < MISSING
    return pa.array([digits[64 * i : 64 * i + 64] for i in range(count)], mask=missing)


def measure(rows: int = 32 * BATCH, sdk_events: int = 3_000) -> dict[str, float]:
    """Nanoseconds an event: the payload's bytes alone, all of building, the look for duplicates; the SDK's from objects
    to JSON for the same events; the ratio of building to that."""
    random = np.random.default_rng(7)
    payload = build = duplicates = 0.0
    seen = SeenKeys()
    for start in range(0, rows, BATCH):
        batch = hashed_rows(BATCH, 1 + start, random)
        for part in batch.split(EVENT_ROWS_OF_RUN):
            payload += _timed(partial(build_bodies, part))[1]
            built, seconds = _timed(partial(build_events, part, clients=CLIENTS, zone="UTC", now=NOW))
            build += seconds
            duplicates += _timed(partial(seen.split, built.events))[1]
    theirs, sdk = _timed(lambda: [_sdk_json(row) for row in _as_objects(part, sdk_events)])
    _compare(theirs, built.events.table["body"].to_pylist())
    names = ("payload_ns", "build_ns", "duplicates_ns")
    ours = dict(zip(names, (seconds / rows * 1e9 for seconds in (payload, build, duplicates)), strict=True))
    sdk_ns = sdk / sdk_events * 1e9
    return {**ours, "sdk_ns": sdk_ns, "ratio": sdk_ns / ours["build_ns"]}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _as_objects(rows: HashedRows, count: int) -> Iterator[dict[str, Any]]:
    columns = {**rows.event, **rows.custom, **{key: columns[0] for key, columns in rows.identity.items()}}
    return iter(pa.table(columns).slice(0, count).to_pylist())


def _sdk_json(row: dict[str, Any]) -> str:
    person = {SDK_KEYS[key]: row[key] for key in SDK_KEYS if row[key] is not None}
    event = Event(
        event_name=row["event_name"],
        event_time=row["event_time"],
        event_id=row["event_id"],
        action_source=ActionSource.PHYSICAL_STORE,
        user_data=UserData(**person),
        custom_data=CustomData(value=row["value"], currency=row["currency"], order_id=row["order_id"]),
    )
    return json.dumps(event.normalize())


def _compare(theirs: list[str], ours: list[bytes]) -> None:
    """Stop where the two do not say the same about the same event: a ratio of unlike work would be worth nothing."""
    of_ours = {event["event_id"]: event for event in map(json.loads, ours)}
    for event in map(json.loads, theirs):
        own = of_ours.get(event["event_id"])
        if own is None or _plain(event) != _plain(own):
            raise AssertionError("the SDK and we do not write the same event")


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Without the two spellings in which we differ: single values as lists, and the case of currencies."""
    people = {key: value[0] if isinstance(value, list) else value for key, value in event["user_data"].items()}
    custom = {**event["custom_data"], "currency": event["custom_data"]["currency"].upper()}
    return {**event, "user_data": people, "custom_data": custom}


if __name__ == "__main__":
    pa.set_cpu_count(1)
    for name, figure in measure().items():
        sys.stdout.write(f"{name:15}{figure:12,.1f}\n")
