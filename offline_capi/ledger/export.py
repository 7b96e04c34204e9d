"""The ledger's events as a table that users can join with their own: one row an event, by its key.

The index keeps keys in blobs, which no SQL can look into. What SQL can do is to make a key (``events.keys`` says how,
the documentation has it for each database) and to join it with this table; ``sent_requests`` is a view in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv, parquet

from offline_capi.errors import UsageError
from offline_capi.ledger.schema.tables import request, run
from offline_capi.storage.private_files import PRIVATE, FileAccess, replace_file

if TYPE_CHECKING:
    from offline_capi.ledger.ledger import Ledger

__all__ = ["EXPORT_SCHEMA", "export_events"]

EXPORT_SCHEMA = pa.schema(
    [
        ("event_key", pa.string()),  # 32 hex digits, lower case
        ("request_id", pa.int64()),
        ("upload", pa.string()),
        ("run_id", pa.string()),
        ("client", pa.string()),
        ("pixel", pa.string()),
        ("state", pa.string()),
        ("posted_at", pa.timestamp("ms", "UTC")),
        ("answered_at", pa.timestamp("ms", "UTC")),
        ("code", pa.int64()),
        ("subcode", pa.int64()),
        ("trace_id", pa.string()),
    ]
)
_WRITERS = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}
_BATCH_ROWS = 65_536


def export_events(ledger: Ledger, path: Path, access: FileAccess = PRIVATE) -> int:
    """Write every event that the ledger knows to a ``.parquet`` or ``.csv`` file, whole or not at all; how many."""
    if path.suffix not in _WRITERS:
        raise UsageError(f'"{path.name}" is neither .parquet nor .csv: its name says how it is written')
    ids, requests = _load_requests(ledger)
    events = 0
    with replace_file(path, access) as file, _WRITERS[path.suffix](file, EXPORT_SCHEMA) as writer:
        for part in ledger.journal.read_entries():
            for start in range(0, len(part.keys), _BATCH_ROWS):
                some = part.select(slice(start, start + _BATCH_ROWS))
                writer.write_table(_make_rows(some.keys, some.owners, ids, requests))
                events += len(some.keys)
    return events


def _load_requests(ledger: Ledger) -> tuple[Any, pa.Table]:
    """All requests, and their ids in order."""
    joined = request.join(run, run.c.id == request.c.run_id, isouter=True)
    names = ("run_id", "client", "pixel", "state", "code", "subcode", "trace_id")
    columns = [request.c.id, run.c.upload, *(request.c[name] for name in names)]
    times = [request.c.posted_at, request.c.answered_at]
    rows = ledger.read(sa.select(*columns, *times).select_from(joined).order_by(request.c.id))
    ids = np.array([row.id for row in rows], np.int64)
    table = {name: [getattr(row, name) for row in rows] for name in ("upload", *names)}
    moments = {name: [_as_milliseconds(getattr(row, name)) for row in rows] for name in ("posted_at", "answered_at")}
    own = pa.schema([field for field in EXPORT_SCHEMA if field.name not in ("event_key", "request_id")])
    return ids, pa.table({**table, **moments}, schema=own)


def _as_milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _make_rows(keys: Any, owners: Any, ids: Any, requests: pa.Table) -> pa.Table:
    """Keys with the columns of their requests, which are null for a request that came after they were read."""
    places = np.searchsorted(ids, owners)
    known = (places < len(ids)) & (ids[np.minimum(places, max(len(ids) - 1, 0))] == owners) if len(ids) else owners < 0
    found = requests.take(pa.array(places, mask=~known))
    hexed = pa.array(_format_hex(keys), pa.string())
    columns = {
        "event_key": hexed,
        "request_id": pa.array(owners),
        **dict(zip(found.column_names, found.columns, strict=True)),
    }
    return pa.table(columns, schema=EXPORT_SCHEMA)


def _format_hex(keys: Any) -> Iterator[str]:
    raw = keys.tobytes().hex()
    return (raw[start : start + 32] for start in range(0, len(raw), 32))
