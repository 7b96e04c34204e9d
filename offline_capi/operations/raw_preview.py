"""Rows before they are mapped, for the author of the mapping: what is not known to be harmless shows its shape alone.

A column is shown where the configuration names it for something else than a person, and no person's data is recognised
in the value. All else (identity, keys of lookups, columns that nobody names) is its type and length.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config import Upload
from offline_capi.config.columns import list_named_columns
from offline_capi.mapping import find_personal, select_rows_in_window, shown_text
from offline_capi.model import SourceRows, Window
from offline_capi.pipeline import Services, read_rows, select_by_row

__all__ = ["list_shown_columns", "preview_raw"]

_SHOWN_SECTIONS = ("client", "window", "event", "custom_data", "consent", "filter")


def preview_raw(upload: Upload, window: Window, services: Services, *, limit: int) -> list[dict[str, Any]]:
    """The first rows of the window as the source has them, every column of them, masked; nothing is sent."""
    placed_by = select_by_row(upload, window)
    batches = read_rows(upload, window, services, prefetch=False, every_column=True)
    rows = (row for batch in batches for row in _list_shown_rows(batch, upload, placed_by))
    return list(islice(rows, limit))


def list_shown_columns(upload: Upload) -> frozenset[str]:
    """The columns whose values may be shown."""
    people = {lookup.by or lookup.key for lookup in upload.lookups.values()}
    return frozenset(
        {*list_named_columns(upload, _SHOWN_SECTIONS)} - {*list_named_columns(upload, ("user_data",))} - people
    )


def _list_shown_rows(rows: SourceRows, upload: Upload, window: Window | None) -> Iterator[dict[str, Any]]:
    batch, numbers = select_rows_in_window(rows, upload, window)
    shown = list_shown_columns(upload)
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        part = batch.slice(start, _BATCH_ROWS)
        names = _choose_names(batch.schema.names, upload)
        columns = {name: _render_column(part.column(at), name in shown) for at, name in enumerate(names)}
        for index, number in enumerate(numbers.slice(start, _BATCH_ROWS).to_pylist()):
            values = {name: values[index] for name, values in columns.items()}
            yield {"origin": rows.origin, "row": number, "columns": values}


_BATCH_ROWS = 100  # rows that nobody asked for are not worked on


def _choose_names(names: list[str], upload: Upload) -> list[str]:
    """The columns' names; of one that nobody names and that holds a person's data, a first row taken for a header."""
    personal = find_personal(pa.array(names)).to_pylist()
    known = list_named_columns(upload)
    return [f"column {at + 1}" if personal[at] and name not in known else name for at, name in enumerate(names)]


def _render_column(values: pa.Array, shown: bool) -> list[str | None]:
    text = shown_text(values)
    kind = "text" if pa.types.is_string(values.type) else str(values.type)
    lengths = pc.utf8_length(text).cast(pa.string())
    masked = pc.binary_join_element_wise(kind, "(", lengths, ")", "")
    if not shown:
        return list(masked.to_pylist())
    return list(pc.if_else(find_personal(text), masked, text).to_pylist())
