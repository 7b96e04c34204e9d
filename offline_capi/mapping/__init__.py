"""Source columns → our field names: constants, templates, fallbacks, value maps, typed casts.

``map_rows`` is the stage. What a value becomes depends on the value and the YAML, never on its neighbours, on the size
of the batch or on how Arrow stores it. A value is read for certain or not at all: see ``numerals`` for numbers,
``times`` for times and zones, ``fields`` for the order of map, type and default, ``objects`` for objects inside an
event, ``screening`` for what must never be sent, ``transform`` for the pandas hook.
"""

from offline_capi.mapping.columns import columns_needed
from offline_capi.mapping.narrow import rows_of, rows_wanted
from offline_capi.mapping.rows import map_rows, placed_rows
from offline_capi.mapping.shapes import ColumnUse, Role, column_uses, count_shapes

__all__ = [
    "ColumnUse",
    "Role",
    "column_uses",
    "columns_needed",
    "count_shapes",
    "map_rows",
    "placed_rows",
    "rows_of",
    "rows_wanted",
]
