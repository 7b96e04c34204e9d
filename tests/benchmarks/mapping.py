"""Nanoseconds a row for each step of the mapping: ``python -m tests.benchmarks.mapping [ROWS]``.

The aim for twenty fields is 1,500.
"""

# ruff: noqa: T201  # it prints by design

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pyarrow as pa

from offline_capi.config import MappingSpec
from offline_capi.mapping import map_rows
from offline_capi.mapping.numerals import read_integers, read_numbers
from offline_capi.mapping.text import as_text, keep_verbatim, trim_text
from offline_capi.mapping.times import TimeRule, read_instants
from offline_capi.model import SourceRows

TWENTY_FIELDS = MappingSpec.model_validate(
    {
        "client": "acme",
        "window": {"column": "at", "timezone": "America/New_York"},
        "event": {"name": "Purchase", "id": "order-{order}", "action_source": "physical_store"},
        "user_data": {
            "em": ["email", "email2"],
            "ph": {"column": "phone", "country": "country"},
            "fn": "first",
            "ln": "last",
            "ge": "gender",
            "ct": "city",
            "st": "state",
            "zp": "zip",
            "country": "country",
            "external_id": "order",
        },
        "custom_data": {
            "value": {"column": "amount", "type": "number"},
            "currency": {"column": "money", "map": {"US Dollar": "USD", "euro": "EUR"}},
            "order_id": "order",
            "num_items": "count",
            "contents": {"id": "sku", "quantity": "count", "item_price": "amount"},
        },
        "consent": {"column": "ok", "equals": True},
    }
)


def source(rows: int) -> pa.RecordBatch:
    few = ("Berlin", "New York", "São Paulo", "")
    made: dict[str, Callable[[int], str]] = {
        "at": lambda i: f"2026-11-{1 + i % 28:02d} {i % 24:02d}:{i % 60:02d}:{i % 59:02d}",
        "order": lambda i: f"A{i:09d}",
        "email": lambda i: f"user{i}@example.com",
        "email2": lambda i: "" if i % 3 else f" other{i}@example.com",
        "phone": lambda i: f"+1650{i:07d}",
        "amount": lambda i: f"{i % 9000 / 7:.2f}" if i % 20 else f"{1 + i % 9},{i % 900 + 100}.50",
        "money": lambda i: ("US Dollar", "euro")[i % 2],
        "count": lambda i: str(1 + i % 5),
        "ok": lambda i: ("yes", "Y", "1", "no")[i % 4],
        "sku": lambda i: f"SKU-{i % 5000}",
    }
    made |= {name: lambda i: few[i % 4] for name in ("first", "last", "gender", "city", "state", "zip", "country")}
    return pa.record_batch({name: [make(i) for i in range(rows)] for name, make in made.items()})


def nanoseconds(step: Callable[[], object], rows: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    return min(once() for _ in range(5)) / rows * 1e9


def main(rows: int) -> None:
    batch = source(rows)
    column, floats = batch.column, pa.array(range(rows)).cast(pa.float64())
    steps: dict[str, Callable[[], object]] = {
        "trim and null blanks": lambda: trim_text(column("email2")),
        "null blanks only": lambda: keep_verbatim(column("email")),
        "floats as text": lambda: as_text(floats),
        "numbers, 1 in 20 with separators": lambda: read_numbers(column("amount"), "."),
        "integers": lambda: read_integers(column("count"), "."),
        "ISO times in a zone": lambda: read_instants(column("at"), TimeRule(zone="America/New_York")),
        "times by format": lambda: read_instants(column("at"), TimeRule(("%Y-%m-%d %H:%M:%S",))),
        "map_rows, 20 fields": lambda: map_rows(SourceRows(batch, "made", 1), TWENTY_FIELDS),
    }
    for name, step in steps.items():
        print(f"{name:36} {nanoseconds(step, rows):8.0f} ns a row")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
