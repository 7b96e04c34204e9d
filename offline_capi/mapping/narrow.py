"""Narrow mapped rows to those of some clients, or to those of a replay."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.model import IdentityColumn, MappedRows, RowFault, WantedRows

__all__ = ["select_clients", "select_wanted"]


def select_clients(mapped: MappedRows, clients: Collection[str]) -> MappedRows:
    """The rows of ``clients``; all rows where none is named. Others count as ``outside``: they belong to other runs."""
    if not clients:
        return mapped
    return _filter_rows(pc.is_in(mapped.client, value_set=pa.array(list(clients), pa.string())), mapped)


def select_wanted(mapped: MappedRows, wanted: WantedRows | None) -> MappedRows:
    """The rows that a replay is about, by business key or by row number; all rows where it is ``None``."""
    if wanted is None:
        return mapped
    by_key = pc.is_in(mapped.event["event_id"], value_set=wanted.event_ids, skip_nulls=True)
    row_numbers = wanted.places.get(mapped.origin, pa.array([], pa.int64()))
    return _filter_rows(pc.or_(by_key, pc.is_in(mapped.row, value_set=row_numbers)), mapped)


def _filter_rows(mask: pa.BooleanArray, mapped: MappedRows) -> MappedRows:
    kept = replace(
        mapped,
        row=mapped.row.filter(mask),
        client=mapped.client.filter(mask),
        event={name: column.filter(mask) for name, column in mapped.event.items()},
        identity={
            key: [_filter_column(column, mask) for column in columns] for key, columns in mapped.identity.items()
        },
        custom={name: column.filter(mask) for name, column in mapped.custom.items()},
        suppressed=mapped.suppressed.filter(mask),
        faults=tuple(RowFault(fault.reason, fault.field, fault.where.filter(mask)) for fault in mapped.faults),
    )
    return replace(kept, outside=mapped.outside + len(mapped) - len(kept))


def _filter_column(column: IdentityColumn, mask: pa.BooleanArray) -> IdentityColumn:
    country = None if column.country is None else column.country.filter(mask)
    return replace(column, values=column.values.filter(mask), country=country)
