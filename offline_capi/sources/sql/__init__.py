"""Rows from a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from offline_capi.config.source import SqlSource
from offline_capi.model import SourceRows, Window
from offline_capi.sources.base import BATCH_ROWS, Source, SourceAccess
from offline_capi.sources.lineage import SourceLineage
from offline_capi.sources.sql.datasets import list_query_datasets, trace_query_columns
from offline_capi.sources.sql.query import count_rows, joined, query_columns, read_query
from offline_capi.sources.sql.statement import query_text
from offline_capi.sources.subprocess_reader import read_in_subprocess

__all__ = ["SqlReader"]

#: Rows that travel from one process to another at once: both hold them meanwhile.
SUBPROCESS_BATCH_ROWS = 8_192


class SqlReader(Source):
    """The rows of a query, in its own order; a query that should be the same on every run says ``ORDER BY``."""

    def __init__(self, settings: SqlSource, access: SourceAccess, *, arrow_native: bool = True) -> None:
        self._settings, self._access, self._arrow_native = settings, access, arrow_native

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,
    ) -> Iterator[SourceRows]:
        read = partial(read_query, columns=columns, arrow_native=self._arrow_native)
        arguments = self._arguments(window)
        if in_subprocess:
            read = partial(read, batch_rows=min(batch_rows, SUBPROCESS_BATCH_ROWS))
            # ADBC's drivers import polars: a tenth of a second before the first row, and 20 MiB.
            yield from joined(read_in_subprocess(read, *arguments, unused=["polars"]), batch_rows)
        else:
            yield from read(*arguments, batch_rows=batch_rows)

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:  # noqa: ARG002
        """The query's columns, typed by its first rows; all of them, whatever an upload reads."""
        return query_columns(*self._arguments(window))

    def estimate_rows(self, window: Window) -> int:
        """How many rows the query has, counted by the database."""
        return count_rows(*self._arguments(window))

    def list_datasets(self) -> list[str]:
        return list_query_datasets(*self._parse())

    def trace_columns(self, columns: Sequence[str], label: str) -> SourceLineage:
        """Through the query to its tables; a column that is not certain is the query's own."""
        return trace_query_columns(*self._parse(), columns, label)

    def _parse(self) -> tuple[str, sa.URL]:
        url = sa.make_url(self._access.connection_url(self._settings.connection))
        return query_text(self._settings, self._access.sql_folder), url

    def _arguments(self, window: Window) -> tuple[SqlSource, Window, str, str, Path]:
        """What the functions of ``query`` take; all of it can be pickled."""
        access, settings = self._access, self._settings
        return settings, window, access.zone, access.connection_url(settings.connection), access.sql_folder
