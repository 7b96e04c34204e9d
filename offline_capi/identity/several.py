"""Several values in one cell: ``a@x.com;b@x.com``, a JSON array, a list of Parquet.

Meta takes a list for every key that describes a person (D:customer-information-parameters). A list column and a JSON
array are certain for each of those keys; separators only for e-mail addresses, which cannot hold them, for digests, and
for phone numbers where every part is one.
"""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.text import find_matches, may_begin_with
from offline_capi.model import LIST_SEPARATOR
from offline_capi.runtime.column_bytes import find_parts

__all__ = ["find_cells_of_several", "split_cell"]

MAX_VALUES = 20

_JSON_ARRAY = r"^\s*\[\s*\x22"
_SEPARATED = {"em": r"@[^@]*[;,|\n][^@]*@|[0-9A-Fa-f]{64}\s*[;,|\n]", "ph": r"[0-9]\D*[;,|\n]\D*[0-9]"}
_SEPARATORS = {"em": re.compile(r"[;,|\s]+"), "ph": re.compile(r"[;,|\n]+")}


def find_cells_of_several(key: str, text: pa.Array, *, written: bool) -> pa.BooleanArray | None:
    """Where a cell seems to hold several values; ``None``: nowhere. Without ``written``: lists alone."""
    separators = ";,|\n" if written and key in _SEPARATED else ""
    found_marks = find_parts(text, LIST_SEPARATOR, *('"' * written), *separators)
    patterns = []
    if '"' in found_marks and may_begin_with(text, b"[ "):
        patterns.append(_JSON_ARRAY)
    if LIST_SEPARATOR in found_marks:
        patterns.append(LIST_SEPARATOR)
    if not found_marks.isdisjoint(separators):
        patterns.append(_SEPARATED[key])
    if not patterns:
        return None
    found = pc.fill_null(find_matches(text, "|".join(f"(?:{pattern})" for pattern in patterns)), False)
    return found if pc.any(found).as_py() else None


def split_cell(key: str, cell: str) -> tuple[list[str], bool]:
    """The values of a cell, at most ``MAX_VALUES``, and whether it is certain that they are several."""
    if LIST_SEPARATOR in cell:
        return _list_filled(cell.split(LIST_SEPARATOR)), True
    if re.match(_JSON_ARRAY, cell):
        try:
            listed = json.loads(cell)
        except ValueError:
            return [cell], False
        return _list_filled([one for one in listed if isinstance(one, str)]), True
    separators = _SEPARATORS.get(key)
    return (_list_filled(separators.split(cell)), False) if separators else ([cell], False)


def _list_filled(parts: list[str]) -> list[str]:
    return list(dict.fromkeys(part for part in parts if part.strip()))[:MAX_VALUES]
