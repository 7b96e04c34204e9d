"""The columns of staged events and of unsent rows: what every later stage may rely on."""

from __future__ import annotations

import pyarrow as pa

from offline_capi.model import KEY_BYTES

__all__ = ["EVENT_SCHEMA", "UNSENT_SCHEMA"]


EVENT_SCHEMA = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("client", pa.string(), nullable=False),
        pa.field("pixel", pa.string(), nullable=False),
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time", pa.int64(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("action_source", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("key", pa.binary(KEY_BYTES), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
    ]
)

# ``earlier_origin`` and ``earlier_row`` name the row that a duplicate repeats. They are columns of their own, because
# ``field`` is what reports count by: a row number in it would make every duplicate a cause of its own.
UNSENT_SCHEMA = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("client", pa.string()),
        pa.field("event_id", pa.string()),
        pa.field("day", pa.date32()),
        pa.field("fate", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("earlier_origin", pa.string()),
        pa.field("earlier_row", pa.int64()),
    ]
)
