"""Source columns → our field names: constants, templates, fallbacks, value maps, typed casts.

``map_rows`` is the stage. What a value becomes depends on the value and the YAML, never on its neighbours, on the size
of the batch or on how Arrow stores it. A value is read for certain or not at all: see ``numerals`` for numbers,
``times`` for times and zones, ``fields`` for the order of text, map, type and default, ``objects`` for objects inside
an event, ``screening`` for what must never be sent, ``transform`` for the pandas hook, ``filtering`` for rows that are
not meant, ``lookups`` for tables joined by a key.
"""

from offline_capi.mapping.columns import list_columns_needed
from offline_capi.mapping.filtering import FirstRows
from offline_capi.mapping.lookups import LookupTable, list_table_columns, read_table
from offline_capi.mapping.narrow import select_clients, select_wanted
from offline_capi.mapping.rows import find_placement, inspect_row_times, map_rows, select_rows_in_window
from offline_capi.mapping.screening import find_personal
from offline_capi.mapping.shapes import ColumnUse, Role, count_shapes, list_column_uses
from offline_capi.mapping.text import as_text as shown_text
from offline_capi.mapping.text_steps import find_pattern_fault

__all__ = [
    "ColumnUse",
    "FirstRows",
    "LookupTable",
    "Role",
    "count_shapes",
    "find_pattern_fault",
    "find_personal",
    "find_placement",
    "inspect_row_times",
    "list_column_uses",
    "list_columns_needed",
    "list_table_columns",
    "map_rows",
    "read_table",
    "select_clients",
    "select_rows_in_window",
    "select_wanted",
    "shown_text",
]
