"""Source columns → our field names: constants, templates, fallbacks, value maps, typed casts.

``map_rows`` is the stage. What a value becomes depends on the value and the YAML, never on its neighbours, on the size
of the batch or on how Arrow stores it. A value is read for certain or not at all: see ``numerals`` for numbers,
``times`` for times and zones, ``fields`` for the order of text, map, type and default, ``objects`` for objects inside
an event, ``screening`` for what must never be sent, ``transform`` for the pandas hook, ``filtering`` for rows that are
not meant, ``lookups`` for tables joined by a key.
"""

from offline_capi.mapping.columns import columns_needed
from offline_capi.mapping.filtering import FirstRows
from offline_capi.mapping.lookups import LookupTable, columns_of_table, read_table
from offline_capi.mapping.narrow import rows_of, rows_wanted
from offline_capi.mapping.rows import map_rows, placed_rows, rows_in_window
from offline_capi.mapping.screening import find_personal
from offline_capi.mapping.shapes import ColumnUse, Role, column_uses, count_shapes
from offline_capi.mapping.text import as_text as shown_text
from offline_capi.mapping.text_steps import pattern_fault

__all__ = [
    "ColumnUse",
    "FirstRows",
    "LookupTable",
    "Role",
    "column_uses",
    "columns_needed",
    "columns_of_table",
    "count_shapes",
    "find_personal",
    "map_rows",
    "pattern_fault",
    "placed_rows",
    "read_table",
    "rows_in_window",
    "rows_of",
    "rows_wanted",
    "shown_text",
]
