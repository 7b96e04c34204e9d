"""Which columns of which data the columns of a source come from.

Data are named by URIs as Airflow names assets; ``operations.lineage`` has the names that OpenLineage gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["DirectUse", "IndirectUse", "SourceColumn", "SourceLineage"]

#: Subtypes of OpenLineage's ColumnLineageDatasetFacet: how a value becomes another, and how it decides about rows.
DirectUse = Literal["IDENTITY", "TRANSFORMATION", "AGGREGATION"]
IndirectUse = Literal["JOIN", "GROUP_BY", "FILTER"]


class SourceColumn(NamedTuple):
    """A column of a data set, by its URI, and what for it is read."""

    dataset: str
    column: str
    use: DirectUse | IndirectUse


@dataclass(frozen=True, slots=True)
class SourceLineage:
    """What a source reads: its data sets, where each of its columns comes from, and what decides about its rows.

    ``whole`` stands for the rows as they are read: one of the data sets, or the query.
    """

    datasets: tuple[str, ...]
    columns: Mapping[str, tuple[SourceColumn, ...]]
    whole: str
    rows: tuple[SourceColumn, ...] = field(default=())
