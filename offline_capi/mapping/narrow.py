"""Narrow mapped rows to those of some clients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.model import Fault, IdentityColumn, MappedRows

__all__ = ["rows_of"]


def rows_of(mapped: MappedRows, clients: Collection[str]) -> MappedRows:
    """The rows of ``clients``; all rows where none is named. Others count as ``outside``: they belong to other runs."""
    if not clients:
        return mapped
    mask = pc.fill_null(pc.is_in(mapped.client, value_set=pa.array(list(clients), pa.string())), False)
    kept = replace(
        mapped,
        row=mapped.row.filter(mask),
        client=mapped.client.filter(mask),
        event={name: column.filter(mask) for name, column in mapped.event.items()},
        identity={key: [_narrowed(column, mask) for column in columns] for key, columns in mapped.identity.items()},
        custom={name: column.filter(mask) for name, column in mapped.custom.items()},
        suppressed=mapped.suppressed.filter(mask),
        faults=tuple(Fault(fault.reason, fault.field, fault.where.filter(mask)) for fault in mapped.faults),
    )
    return replace(kept, outside=mapped.outside + len(mapped) - len(kept))


def _narrowed(column: IdentityColumn, mask: pa.BooleanArray) -> IdentityColumn:
    country = None if column.country is None else column.country.filter(mask)
    return replace(column, values=column.values.filter(mask), country=country)
