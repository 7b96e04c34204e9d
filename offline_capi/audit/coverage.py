"""What an upload makes of its people: which keys it fills, what it loses, and what it leaves lying in the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow.compute as pc

from offline_capi.audit.reading import hash_audited_columns, list_clients, read_audited_rows
from offline_capi.audit.suggestions import Suggestion, Unmapped
from offline_capi.config import Upload
from offline_capi.guards.counting import Counted, compute_marks
from offline_capi.guards.frequent_values import FrequentValue, FrequentValues, as_junk
from offline_capi.identity import HashedColumn
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import DroppedValues, Window
from offline_capi.pipeline import Services

__all__ = ["ColumnCoverage", "Coverage", "measure_coverage"]


@dataclass(slots=True)
class ColumnCoverage:
    """One source column of a key. ``filled == usable + sum(dropped.values())``; ``distinct`` counts usable
    values; ``noted`` those that came hashed, are letters that mean two things, or were rounded by a spreadsheet."""

    usable: int = 0
    noted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    _values: Counted = field(default_factory=Counted)

    @property
    def filled(self) -> int:
        return self.usable + self.dropped.total()

    @property
    def distinct(self) -> int:
        return len(self._values.counts())

    def add(self, column: HashedColumn) -> None:
        self.usable += len(column.values) - column.values.null_count
        self._values.add(pl.DataFrame({"value": compute_marks(column.values)}).drop_nulls())
        causes = [] if column.cause is None else pc.value_counts(column.cause.drop_null()).to_pylist()
        self.noted.update(column.noted)
        self.dropped.update({entry["values"]: entry["counts"] for entry in causes})

    def to_json(self) -> dict[str, Any]:
        return {
            "filled": self.filled,
            "usable": self.usable,
            "distinct": self.distinct,
            "dropped": dict(self.dropped.most_common()),
            "noted": dict(self.noted.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """What ``coverage`` found, by (key, column) in the order of the YAML; ``unmapped`` are keys that nothing fills."""

    upload: str
    window: Window
    rows: int
    columns: Mapping[tuple[str, str], ColumnCoverage]
    suggestions: tuple[Suggestion, ...]
    frequent: tuple[FrequentValue, ...]
    junk: Mapping[str, tuple[str, ...]]

    @property
    def unmapped(self) -> list[str]:
        mapped = {key for key, _ in self.columns}
        return [key for key in USER_DATA_KEYS if key not in mapped]

    def to_json(self) -> dict[str, Any]:
        return {
            "upload": self.upload,
            "window": self.window.to_json(),
            "rows": self.rows,
            "columns": [{"key": key, "column": label, **one.to_json()} for (key, label), one in self.columns.items()],
            "unmapped": self.unmapped,
            "suggestions": [one.to_json() for one in self.suggestions],
            "frequent": [one.to_json() for one in self.frequent],
            "junk": {key: list(hashes) for key, hashes in self.junk_to_write.items()},
        }

    @property
    def junk_to_write(self) -> dict[str, list[str]]:
        """The upload's ``junk`` with what was found: empty where nothing was."""
        new = as_junk(self.frequent)
        every = [key for key in USER_DATA_KEYS if key in new or key in self.junk]
        return {key: [*self.junk.get(key, ()), *new.get(key, ())] for key in every} if new else {}


def measure_coverage(upload: Upload, window: Window, services: Services, *, clients: Collection[str] = ()) -> Coverage:
    """Read the rows of ``window``, every source column included, and count; only counts and digests leave this."""
    deployment, rows = services.deployment, 0
    columns: dict[tuple[str, str], ColumnCoverage] = {}
    unmapped = Unmapped(upload, _list_countries(upload, services))
    frequent = FrequentValues(deployment.platform.frequent_value)
    for batch in read_audited_rows(upload, window, services, every_column=True, clients=clients):
        rows += len(batch.mapped)
        unmapped.observe(batch.source.batch)
        hashed = hash_audited_columns(batch.mapped, upload, deployment)
        frequent.add(hashed)
        for column in hashed:
            columns.setdefault((column.key, column.label), ColumnCoverage()).add(column)
        _add_lost_in_mapping(columns, batch.mapped.dropped)
        for note in batch.mapped.noted:
            if note.key in USER_DATA_KEYS:
                columns.setdefault((note.key, note.column), ColumnCoverage()).noted[note.what] += note.count
    return Coverage(
        upload=upload.name,
        window=window,
        rows=rows,
        columns=columns,
        suggestions=tuple(unmapped.list_suggestions()),
        frequent=tuple(frequent.list_candidates()),
        junk=upload.junk,
    )


def _add_lost_in_mapping(columns: dict[tuple[str, str], ColumnCoverage], dropped: tuple[DroppedValues, ...]) -> None:
    for one in dropped:
        columns.setdefault((one.key, one.column), ColumnCoverage()).dropped[one.cause] += one.count


def _list_countries(upload: Upload, services: Services) -> list[str]:
    """In which a phone of an unmapped column may be written."""
    clients = services.deployment.clients
    return sorted({country for name in list_clients(upload, services.deployment) if (country := clients[name].country)})
