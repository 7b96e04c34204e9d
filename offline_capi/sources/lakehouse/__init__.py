"""Rows of tables in a data lake: Delta Lake and Apache Iceberg.

The table's own library reads its log and says which files hold its rows; the Parquet files themselves are read here, as
all Parquet is, so that a value is the same whatever holds the file. The libraries' own readers gather a whole file, or
refuse deletion vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from offline_capi.model import SourceMark, SourceRows, TableChanges, Window
from offline_capi.sources.base import BATCH_ROWS, Source, SourceAccess
from offline_capi.sources.columns import check_names
from offline_capi.sources.lakehouse.delta import find_delta_changes, locate_delta, open_delta, was_delta_written_since
from offline_capi.sources.lakehouse.iceberg import find_iceberg_changes, open_iceberg, was_iceberg_written_since
from offline_capi.sources.lakehouse.tables import Table, list_column_names, list_columns, read_table_rows

if TYPE_CHECKING:
    from offline_capi.config.source import DeltaSource, IcebergSource

__all__ = ["DeltaReader", "IcebergReader"]


class _TableReader(Source):
    """The rows of one state of a table, file by file in the order of their paths; those that came late are last."""

    _access: SourceAccess

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,  # noqa: ARG002  Arrow releases the GIL: another process would gain nothing
    ) -> Iterator[SourceRows]:
        table = self._open(window)
        check_names(list_column_names(table.schema), columns, table.described, is_schema=True)
        yield from read_table_rows(table, columns, batch_rows)

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:  # noqa: ARG002
        """All columns that the table declares, members of structs by their dotted names."""
        return list_columns(self._open(window).schema)

    def estimate_rows(self, window: Window) -> int | None:
        """As many as the log says that the window's files have; deleted ones among them."""
        counts = [file.rows for file in self._open(window).files]
        return None if None in counts else sum(count for count in counts if count is not None)

    def _open(self, window: Window) -> Table:
        raise NotImplementedError


class DeltaReader(_TableReader):
    """A Delta Lake table."""

    def __init__(self, settings: DeltaSource, access: SourceAccess) -> None:
        self._settings, self._access = settings, access

    def list_datasets(self) -> list[str]:
        """The table's folder, as lineage names Delta tables."""
        return [locate_delta(self._settings, self._access).uri]

    def find_changes(self, mark: SourceMark | None, oldest: datetime) -> TableChanges | None:
        is_read_so = self._settings.incremental is not None
        return find_delta_changes(self._settings, self._access, mark, oldest) if is_read_so else None

    def was_written_since(self, moment: datetime) -> bool:
        return was_delta_written_since(self._settings, self._access, moment)

    def _open(self, window: Window) -> Table:
        return open_delta(self._settings, self._access, window)


class IcebergReader(_TableReader):
    """An Apache Iceberg table."""

    def __init__(self, settings: IcebergSource, access: SourceAccess) -> None:
        self._settings, self._access = settings, access

    def list_datasets(self) -> list[str]:
        """The table by the names that the configuration has for it: its catalog is not asked."""
        return [f"iceberg://{self._settings.iceberg.catalog}/{self._settings.iceberg.table}"]

    def find_changes(self, mark: SourceMark | None, oldest: datetime) -> TableChanges | None:
        is_read_so = self._settings.incremental is not None
        return find_iceberg_changes(self._settings, self._access, mark, oldest) if is_read_so else None

    def was_written_since(self, moment: datetime) -> bool:
        return was_iceberg_written_since(self._settings, self._access, moment)

    def _open(self, window: Window) -> Table:
        return open_iceberg(self._settings, self._access, window)
