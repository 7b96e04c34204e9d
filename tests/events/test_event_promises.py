"""Promises that this room keeps: every row has one fate, and the same row gives the same bytes everywhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from offline_capi.model import BuiltEvents, HashedRows, Reason

Rows = Callable[..., HashedRows]
Build = Callable[..., BuiltEvents]

NOW = 1_795_489_200
DIGEST = "a" * 64


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ROW = st.fixed_dictionaries(
    {
        "event_name": _maybe(st.sampled_from(["Purchase", "purchase", "Lead", "", 'q"'])),
        "event_time": _maybe(st.integers(NOW - 9 * 86_400, NOW + 120) | st.integers(-(2**60), 2**60)),
        "event_id": _maybe(st.sampled_from(["a", "b", "", "ä\n"])),
        "action_source": _maybe(st.sampled_from(["website", "physical_store", "chat", "nowhere"])),
        "event_source_url": _maybe(st.just("https://a.example/")),
        "em": _maybe(st.just(DIGEST)),
        "em2": _maybe(st.sampled_from([DIGEST, "b" * 64])),
        "ge": _maybe(st.just(DIGEST)),
        "lead_id": _maybe(st.sampled_from(["1", "x"])),
        "value": _maybe(st.floats()),
        "currency": _maybe(st.sampled_from(["USD", "eur", "XYZ"])),
        "note": _maybe(st.sampled_from(["plain", 'quo"ted', "back\\slash", "x" * 2000])),
        "client": _maybe(st.sampled_from(["acme", "beta", "paused", "nobody"])),
        "suppressed": st.booleans(),
        "fault": st.booleans(),
    }
)
TABLE = st.lists(ROW, min_size=1, max_size=25)


def _rows(rows_of: Rows, table: list[dict[str, Any]]) -> HashedRows:
    column = {name: [row[name] for row in table] for name in table[0]}
    event = {
        name: column[name] for name in ("event_name", "event_time", "event_id", "action_source", "event_source_url")
    }
    return rows_of(
        event,
        {"em": [column["em"], column["em2"]], "ge": [column["ge"]], "lead_id": [column["lead_id"]]},
        {"value": column["value"], "currency": column["currency"], "note": column["note"]},
        client=column["client"],
        suppressed=column["suppressed"],
        faults=[(Reason.UNREADABLE_VALUE, "custom_data.score", column["fault"])],
    )


@given(table=TABLE)
def test_p01_every_row_has_exactly_one_fate(rows_of: Rows, build: Build, table: list[dict[str, Any]]) -> None:
    built = build(_rows(rows_of, table), max_bytes=1_500)

    suppressed = [number for number, row in enumerate(table, start=1) if row["suppressed"]]
    sendable = built.events.table["row"].to_pylist()
    stopped = built.unsent.table["row"].to_pylist()
    assert sorted([*sendable, *stopped, *suppressed]) == list(range(1, len(table) + 1))
    assert sum(built.suppressed.values()) == len(suppressed)


@given(table=TABLE, cut=st.integers(1, 24))
def test_p11_bytes_do_not_depend_on_how_rows_are_batched(
    rows_of: Rows, build: Build, table: list[dict[str, Any]], cut: int
) -> None:
    whole = build(_rows(rows_of, table))

    parts = [build(_slice(_rows(rows_of, table), start, cut)) for start in range(0, len(table), cut)]

    for kind in ("events", "unsent"):
        rows = [row for part in parts for row in getattr(part, kind).table.to_pylist()]
        assert rows == getattr(whole, kind).table.to_pylist()


@given(table=TABLE, shuffled=st.randoms(use_true_random=False))
def test_p11_bytes_do_not_depend_on_the_order_of_rows(
    rows_of: Rows, build: Build, table: list[dict[str, Any]], shuffled: Any
) -> None:
    order = list(range(len(table)))
    shuffled.shuffle(order)

    straight = build(_rows(rows_of, table)).events.table.to_pylist()
    mixed = build(_rows(rows_of, [table[place] for place in order])).events.table.to_pylist()

    assert {row["row"]: row["body"] for row in straight} == {order[row["row"] - 1] + 1: row["body"] for row in mixed}


def _slice(rows: HashedRows, start: int, length: int) -> HashedRows:
    return replace(
        rows,
        row=rows.row.slice(start, length),
        client=rows.client.slice(start, length),
        event={name: column.slice(start, length) for name, column in rows.event.items()},
        identity={key: [column.slice(start, length) for column in columns] for key, columns in rows.identity.items()},
        custom={name: column.slice(start, length) for name, column in rows.custom.items()},
        suppressed=rows.suppressed.slice(start, length),
        faults=tuple(replace(fault, where=fault.where.slice(start, length)) for fault in rows.faults),
    )


_PROGRAM = """
import hashlib
from datetime import UTC, datetime
import pyarrow as pa
from offline_capi.config.client import Client
from offline_capi.events import build_events
from offline_capi.model import HashedRows

text = lambda *values: pa.array(values, pa.string())
names = {"zeta", "alpha", "value", "currency", "order_id", "Größe", "content_name"}
people = {"ph", "em", "external_id", "fbp", "zp"}
rows = HashedRows(
    origin="a", row=pa.array([1, 2]), client=text("c", "c"),
    event={"event_time": pa.array([1_795_485_600] * 2), **{k: text(k, k) for k in {"event_name", "event_id"}},
           "action_source": text("chat", "chat")},
    identity={key: [text(key * 8, None)] for key in people} | {"em": [text("b", "c"), text("d", "c")]},
    custom={name: text("USD", "EUR") if name == "currency" else text("1", "2") for name in names},
    suppressed=pa.array([False, False]),
)
clients = {"c": Client.model_validate({"pixel_id": "12345", "token": {"env": "T"}})}
built = build_events(rows, clients=clients, zone="UTC", now=datetime(2026, 11, 24, 3, tzinfo=UTC))
for row in built.events.table.to_pylist():
    print(row["key"].hex(), row["body"])
"""


def test_p11_bytes_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }

    assert len(outputs) == 1
    assert outputs.pop().count("custom_data") == 2
