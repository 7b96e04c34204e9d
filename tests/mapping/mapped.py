"""Short ways to map a few rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from offline_capi.config import MappingSpec
from offline_capi.mapping import map_rows
from offline_capi.model import MappedRows, SourceRows

LEAST: dict[str, Any] = {
    "client": "acme",
    "window": {"column": "at", "timezone": "UTC"},
    "event": {"name": "Purchase", "id": "order-{id}", "action_source": "other"},
    "user_data": {"em": "email"},
}


def mapping(**sections: Any) -> MappingSpec:
    """The least that maps, with these sections in its place."""
    return MappingSpec.model_validate(LEAST | sections)


def source(first_row: int = 1, **columns: Any) -> SourceRows:
    """Rows with these columns, and those that ``LEAST`` needs."""
    height = max((len(values) for values in columns.values()), default=1)
    least = {"at": ["2026-11-20T10:00:00Z"], "id": ["7"], "email": ["a@example.com"]}
    filled = {name: values * height for name, values in least.items()} | columns
    return SourceRows(pa.record_batch(filled), "orders.csv", first_row)


def mapped(rows: SourceRows, **sections: Any) -> MappedRows:
    return map_rows(rows, mapping(**sections))


def custom(rows: SourceRows, name: str, spec: Any) -> list[Any]:
    """What a custom property becomes."""
    return list(mapped(rows, custom_data={"properties": {name: spec}}).custom[name].to_pylist())


def faults(rows: MappedRows) -> list[tuple[str, str, list[int]]]:
    """Reason, field and the numbers of the faulty rows."""
    numbers = rows.row.to_pylist()
    return [
        (fault.reason.value, fault.field, [n for n, bad in zip(numbers, fault.where.to_pylist(), strict=True) if bad])
        for fault in rows.faults
    ]
