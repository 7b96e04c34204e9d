"""The columns of one batch, by the names that the YAML uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config import MappingSpec, list_columns_used
from offline_capi.config.fields import FieldSpec
from offline_capi.errors import SourceSchemaError
from offline_capi.mapping.ids import strip_decoration
from offline_capi.mapping.text import UnfitTypeError, is_text, keep_verbatim, trim_text
from offline_capi.runtime.border import column_names
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["SourceColumns", "list_columns_needed", "require_columns"]


def list_columns_needed(mapping: MappingSpec) -> tuple[str, ...] | None:
    """The source columns that ``mapping`` reads; ``None``: all, because a transform hook may read any column."""
    return None if mapping.transform else tuple(list_columns_used(mapping))


def require_columns(mapping: MappingSpec, names: list[str], origin: str) -> None:
    """Raise one ``SourceSchemaError`` that names every column of the YAML that is not there exactly once."""
    times, used = Counter(names), list_columns_used(mapping)
    near = column_names(times, used)
    faults = [_describe_fault(column, used[column], times[column], near) for column in used if times[column] != 1]
    if faults:
        rows = "the rows after the transform hook" if mapping.transform else "the source"
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise SourceSchemaError(
            f"{origin}: {rows} and the YAML do not agree on {len(faults)} column(s)\n{lines}\n"
            "Correct the YAML or the source and run again; nothing of this batch was sent."
        )


def _describe_fault(column: str, paths: tuple[str, ...], times: int, near: list[str]) -> str:
    where = ", ".join(paths)
    if times:
        return f'{where}  column "{column}" is there {times} times; give the others another name'
    return f'{where}  column "{column}" is not in the source{did_you_mean(column, near)}'


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """A batch with blanks as nulls, in one encoding: what a value becomes does not depend on how Arrow stores it.

    The marks by which a spreadsheet says that a value is text (``="1001"``) are no part of it.

    ``zone`` is where naive times stand unless a field says otherwise. ``times`` are the fields of times that were read,
    with what was found: the window's is mostly the event's.
    """

    batch: pa.RecordBatch
    origin: str
    zone: str
    times: list[tuple[FieldSpec, Any]] = field(default_factory=list)
    _plain: dict[str, pa.Array] = field(default_factory=dict)
    _bare: dict[str, pa.Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def get_values(self, name: str) -> pa.Array:
        """The column; text without the white space around it, null where blank."""
        if name not in self._plain:
            values = self._get_undecorated(name)
            self._plain[name] = trim_text(values) if is_text(values) else values
        return self._plain[name]

    def get_written(self, name: str) -> pa.Array:
        """The column; text as the source wrote it, null where blank."""
        values = self._get_undecorated(name)
        return keep_verbatim(values) if is_text(values) else values

    def _get_undecorated(self, name: str) -> pa.Array:
        if name not in self._bare:
            values = _decode(self.batch.column(name))
            self._bare[name] = strip_decoration(values) if is_text(values) else values
        return self._bare[name]

    @contextmanager
    def read_for(self, path: str, *names: str) -> Iterator[None]:
        """Say which field of the YAML, and which columns, an Arrow type did not fit."""
        try:
            yield
        except UnfitTypeError as unfit:
            columns = ", ".join(f'"{name}"' for name in names)
            raise SourceSchemaError(
                f"{self.origin}: {path} cannot be read from {columns}: {unfit}. "
                "Map another column, or cast it in the source; nothing of this batch was sent."
            ) from None

    def repeat_value(self, value: Any) -> pa.Array:
        return pa.repeat(pa.scalar(value), len(self))


def _decode(values: pa.Array) -> pa.Array:
    """Without dictionary or run-length encoding; the three kinds of Arrow strings and columns of nulls as strings."""
    if kinds.is_dictionary(values.type):
        values = values.dictionary_decode()
    elif kinds.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    return pc.cast(values, pa.string()) if is_text(values) or kinds.is_null(values.type) else values
