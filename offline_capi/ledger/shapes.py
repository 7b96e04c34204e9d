"""In which shapes the columns of an upload's source came so far: names of ``mapping.shapes``, never a value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.prepared import split_ids
from offline_capi.ledger.schema.tables import source_shape

__all__ = ["ColumnShapes", "load_shapes", "save_shapes"]

#: Values are counted up to here: then nothing is written any more while nothing new comes.
MAX_COUNTED_VALUES = 1_000


@dataclass(slots=True)
class ColumnShapes:
    """Shapes of one column, and in how many of the values examined; ``since`` is the run that first had each.

    ``begin_read`` is a digest of what the upload declared about the column.
    """

    reading: str
    counts: Counter[str] = field(default_factory=Counter)
    since: dict[str, str] = field(default_factory=dict)

    def without(self, run_id: str | None) -> Counter[str]:
        """The counts of the shapes that earlier runs had: a task that is repeated has to judge as it did before."""
        return Counter({shape: n for shape, n in self.counts.items() if self.since.get(shape) != run_id})

    def add(self, found: Mapping[str, int], run_id: str) -> None:
        for shape, n in found.items():
            self.since.setdefault(shape, run_id)
            self.counts[shape] = min(self.counts[shape] + n, MAX_COUNTED_VALUES)

    def to_json(self) -> dict[str, Any]:
        return {
            "reading": self.reading,
            "shapes": {shape: [n, self.since[shape]] for shape, n in sorted(self.counts.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnShapes:
        shapes = data["shapes"].items()
        return cls(
            data["reading"], Counter({shape: n for shape, (n, _) in shapes}), {shape: run for shape, (_, run) in shapes}
        )


Shapes = dict[str, dict[str, ColumnShapes]]


def load_shapes(database: Database, upload: str) -> Shapes:
    """What is known of an upload's source, by client and column."""
    rows = database.read(sa.select(source_shape.c.client, source_shape.c.shapes).where(source_shape.c.upload == upload))
    return dict(_parse_rows(rows))


def save_shapes(database: Database, upload: str, found: Shapes, *, run_id: str, now: datetime) -> None:
    """Add what a run found to what is known. A column that is read another way now begins anew."""
    with database.begin_write() as connection:
        for clients in split_ids(sorted(found)):
            chosen = source_shape.c.upload == upload, source_shape.c.client.in_(clients)
            known = dict(
                _parse_rows(connection.execute(sa.select(source_shape.c.client, source_shape.c.shapes).where(*chosen)))
            )
            changed = []
            for client in clients:
                before = _format_columns(known.get(client, {}))
                after = _format_columns(_merge(known.get(client, {}), found[client], run_id))
                if after != before:
                    changed.append({"upload": upload, "client": client, "shapes": after})
            if changed:
                names = [row["client"] for row in changed]
                own = source_shape.c.upload == upload, source_shape.c.client.in_(names)
                connection.execute(sa.delete(source_shape).where(*own))
                at = now.astimezone(UTC).isoformat()
                connection.execute(sa.insert(source_shape), [{**row, "written_at": at} for row in changed])


def _merge(known: dict[str, ColumnShapes], found: Mapping[str, ColumnShapes], run_id: str) -> dict[str, ColumnShapes]:
    for column, shapes in found.items():
        if column not in known or known[column].reading != shapes.reading:
            known[column] = ColumnShapes(shapes.reading)
        known[column].add(shapes.counts, run_id)
    return known


def _format_columns(columns: Mapping[str, ColumnShapes]) -> str:
    return json.dumps({name: columns[name].to_json() for name in sorted(columns)}, ensure_ascii=False)


def _parse_rows(rows: Iterable[Any]) -> Iterator[tuple[str, dict[str, ColumnShapes]]]:
    for client, text in rows:
        yield client, {name: ColumnShapes.from_json(one) for name, one in json.loads(text).items()}
