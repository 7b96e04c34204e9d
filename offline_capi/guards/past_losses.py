"""What earlier runs of an upload did not deliver, compared with what this run reads: known losses, and debts.

A row that was invalid, expired or refused before, for the same reason, is counted separately: it fails the run that
first meets it, and no run after that. An event that was owed and is not read again has left the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.model import KEY_BYTES, EventBatch

__all__ = ["KnownLosses", "OwedEvents"]

_SEPARATOR = "\x1f"
_LOSS_COLUMNS = ("fate", "reason", "field", "client", "event_id", "origin", "row")


class KnownLosses:
    """Rows that earlier runs reported as not delivered, and since when.

    A row is known by its client and event id, or by its row number where it has no event id, together with
    its fate, reason and field: corrected, or wrong in another way, it is a new row.
    """

    def __init__(self, losses: Iterable[tuple[pa.Table, str]]) -> None:
        """``losses``: invalid or undelivered rows of earlier runs, newest run first, each with the day of its run."""
        names, days = [], []
        for table, day in losses:
            names.append(_name_rows(table))
            since = table["known_since"] if "known_since" in table.column_names else pa.nulls(len(table), pa.string())
            days.append(pc.fill_null(since, day))
        self._names, self._days = _join_chunks(names), _join_chunks(days)

    def find(self, losses: pa.RecordBatch) -> pa.Array:
        """For each row the day on which it was first reported, ISO; null for a row that is new."""
        return self._days.take(pc.index_in(_name_rows(losses), self._names))


def _name_rows(table: pa.RecordBatch | pa.Table) -> Any:
    """One text a row that is equal for the same loss of the same row."""
    columns = {name: _as_text(table, name) for name in _LOSS_COLUMNS}
    has_id = pc.not_equal(columns["event_id"], "")
    for name in ("origin", "row"):  # a row with an event id is identified by that alone
        columns[name] = pc.if_else(has_id, "", columns[name])
    return pc.binary_join_element_wise(*columns.values(), _SEPARATOR)


def _as_text(table: pa.RecordBatch | pa.Table, name: str) -> Any:
    column = table.column(name) if name in table.schema.names else pa.nulls(table.num_rows, pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.fill_null(column.cast(pa.string()), "")


def _join_chunks(columns: list[Any]) -> pa.Array:
    chunks = [chunk for column in columns for chunk in (column.chunks if hasattr(column, "chunks") else [column])]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


class OwedEvents:
    """Events that earlier runs owed: those still unmet when everything was read have left the source."""

    def __init__(self, owed: Iterable[pa.Table]) -> None:
        """``owed``: undelivered events of earlier runs (columns ``key`` of 16 bytes and ``fate``), newest run first."""
        self._fates: dict[bytes, str] = {}
        for table in owed:
            for key, fate in zip(table["key"].to_pylist(), table["fate"].to_pylist(), strict=True):
                self._fates.setdefault(key, fate)
        keys = sorted(self._fates)
        self._keys = np.frombuffer(b"".join(keys), f"V{KEY_BYTES}")
        self._first_bytes = _read_leading_numbers(self._keys)
        self._met = np.zeros(len(keys), bool)

    def watch(self, events: Iterable[EventBatch]) -> Iterator[EventBatch]:
        """The same events; each that was owed is ticked off."""
        for batch in events:
            if len(self._keys):
                self._tick_off(np.frombuffer(batch.key_bytes, f"V{KEY_BYTES}"))
            yield batch

    def _tick_off(self, keys: np.ndarray[Any, Any]) -> None:
        numbers = _read_leading_numbers(keys)
        positions = np.searchsorted(self._first_bytes, numbers)
        # Two owed keys may share their first eight bytes: the second of them is searched one position further.
        for step in range(2):
            at = np.minimum(positions + step, len(self._keys) - 1)
            self._met[at[self._keys[at] == keys]] = True

    @property
    def unmet(self) -> Counter[str]:
        """Events that were not met, by the fate in which the earlier run left them."""
        keys = self._keys[~self._met].tolist()
        return Counter(self._fates[bytes(key)] for key in keys)


def _read_leading_numbers(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The first eight bytes of each key as a number that sorts as the bytes do."""
    return np.ascontiguousarray(keys.view(np.uint8).reshape(-1, KEY_BYTES)[:, :8]).view(">u8").ravel()
