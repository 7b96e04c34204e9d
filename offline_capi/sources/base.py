"""What every kind of source can do, what it needs from outside, and which class reads which settings.

A new kind is a settings class that is a member of ``config.source.SourceSettings``, a module here that implements
``Source``, and a line of ``READERS``; CONTRIBUTING.md has the steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from offline_capi.config.source import (
    DbtSource,
    DeltaSource,
    FileSource,
    IcebergSource,
    SourceSettings,
    SparkTableSource,
    SqlSource,
)
from offline_capi.model import AbsentFile, RowPlacement, SourceMark, SourceRows, TableChanges, Window
from offline_capi.sources.lineage import SourceColumn, SourceLineage

if TYPE_CHECKING:
    from offline_capi.config.platform import Dbt

__all__ = ["BATCH_ROWS", "MAX_JOINED_BYTES", "FilePart", "Source", "SourceAccess", "open_source"]

BATCH_ROWS = 65_536
#: Parts of a source are not put together beyond this: 1,170 bytes a row of a usual batch.
MAX_JOINED_BYTES = 64 << 20

#: Settings → the class that reads them. Imported when it is needed: reading files costs 30 MiB, which a run that reads
#: a query in another process does not spend.
READERS: Mapping[type, str] = {
    SqlSource: "offline_capi.sources.sql.SqlReader",
    FileSource: "offline_capi.sources.files.FileReader",
    DeltaSource: "offline_capi.sources.lakehouse.DeltaReader",
    IcebergSource: "offline_capi.sources.lakehouse.IcebergReader",
    DbtSource: "offline_capi.sources.dbt.DbtReader",
    SparkTableSource: "offline_capi.sources.spark_table.SparkTableReader",
}


def _make_dbt_settings() -> Dbt:
    from offline_capi.config.platform import Dbt  # not in a process that only reads: it takes a tenth of a second

    return Dbt()


@dataclass(frozen=True, slots=True)
class SourceAccess:
    """What a source needs besides its settings.

    ``zone`` is the upload's, in which days begin and naive times are. ``connection_url`` gives the URL of a named
    connection, which may hold a password. ``sql_folder`` is where a query's file lies, ``folder`` where the relative
    path of a data file begins (the process's own folder unless given). ``environ`` fills ``${NAME}`` in paths.
    ``catalog_properties`` gives those of a named Iceberg catalog, secrets among them; ``open_session`` a session of
    Spark, for its tables. ``dbt`` says where dbt's manifest is. ``placement`` says how rows are placed in time, so that
    a source may leave out what surely lies outside of a window; without it, all rows come.
    ``changes`` is what ``find_changes`` found: the table is read in that state, with the rows that came late.
    """

    zone: str
    connection_url: Callable[[str], str]
    sql_folder: Path = Path("sql")
    folder: Path = Path()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    catalog_properties: Callable[[str], Mapping[str, str]] = field(default=lambda _: {}, repr=False)
    dbt: Dbt = field(default_factory=_make_dbt_settings)
    placement: RowPlacement | None = None
    changes: TableChanges | None = None
    open_session: Callable[[], Any] = field(default=lambda: None, repr=False)


@dataclass(frozen=True, slots=True)
class RowSpan:
    """Whole rows of a CSV: the bytes of its file from ``start`` on, before ``end``; ``None``: to the end of the file.

    The rest is what reading the whole file showed: its ``encoding``, how many bytes of UTF-8 ``ahead`` of ``start`` it
    was read up to when that was found, and what ``RowBlocks`` asks of the whole file.
    """

    start: int
    end: int | None
    encoding: str
    ahead: int
    is_balanced: bool | None
    has_quoted_values: bool | None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of a window, some row groups of a Parquet file or some rows of a CSV, as another process can read it.

    ``url`` is a path or an fsspec URL without user and password. ``first_row`` is the number that the first row of the
    part has in its file. ``rows`` is how many there are, where it was cut; ``file_bytes`` how large the file is.
    ``state`` says which content of the file was cut: another one is refused.
    """

    url: str
    origin: str
    format: str
    compression: str | None
    first_row: int = 1
    groups: tuple[int, ...] | None = None
    span: RowSpan | None = None
    rows: int | None = None
    file_bytes: int | None = None
    state: str = ""


class Source(Protocol):
    """Rows of an upload by window. Every method opens what it needs and closes it again, and none writes."""

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,
    ) -> Iterator[SourceRows]:
        """Rows of ``window`` in an order that is the same on every run, at most ``batch_rows`` a batch.

        With ``columns`` every batch has exactly these, and a file or query that lacks one raises
        ``SourceSchemaError``; without, every column comes as it is. Lines that cannot be split into columns come as
        rows of nulls with a fault, at their position. ``SourceError`` when the source cannot be read to its end: what
        was yielded before is right, but not the whole window.

        ``in_subprocess`` allows a source whose driver holds the GIL to be read in another process, which takes half a
        second to start.
        """

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """Names and types of the columns, from a header or a few rows; empty where the window has nothing to look at.

        ``columns`` are those that an upload reads: by them a header is found that is not in the first line. The type
        is ``unknown`` where the rows looked at hold only nulls.
        """

    def estimate_rows(self, window: Window) -> int | None:
        """About how many rows ``read`` will yield, for a progress bar; ``None`` where only reading them would tell."""

    def find_absent_files(self, window: Window) -> list[AbsentFile]:  # noqa: ARG002  a query or table is there, or fails
        """The files of the window that do not exist now, day by day; none where the source is not made of files."""
        return []

    def cut(
        self,
        window: Window,  # noqa: ARG002
        rows: int,  # noqa: ARG002
        *,
        columns: Sequence[str] | None = None,  # noqa: ARG002
    ) -> list[FilePart] | None:
        """The window in parts that can be read apart from each other, in the order of ``read``; ``None``: it is whole,
        and read where the run was started. So is a query: its author knows by what to cut it, and its URL is secret.

        Files are cut to parts of about ``rows``; a large CSV is read once for it. All parts together are exactly what
        ``read`` yields with the same ``columns``. Raises ``SourceError`` where a part could only be read with what must
        not leave this process, and whatever ``read`` raises over a file that is read here.
        """
        return None

    def find_changes(self, mark: SourceMark | None, oldest: datetime) -> TableChanges | None:  # noqa: ARG002
        """What came since the mark, of a source that is read by its states; ``None``: this one is not.

        ``oldest`` is the first moment whose events Meta still takes, in the upload's zone.
        """
        return None

    def was_written_since(self, moment: datetime) -> bool:  # noqa: ARG002
        """Whether rows came into a table after a moment; always true of a source that does not know."""
        return True

    def list_datasets(self) -> list[str]:
        """URIs of what is read, as Airflow names assets, for lineage; without user, password and options."""

    def trace_columns(self, columns: Sequence[str], label: str) -> SourceLineage:  # noqa: ARG002  what is no table
        """Where ``columns`` come from; ``label`` is the name of a query that is no table. By default, as they are."""
        datasets = tuple(self.list_datasets())
        return SourceLineage(
            datasets,
            {name: tuple(SourceColumn(uri, name, "IDENTITY") for uri in datasets) for name in columns},
            next(iter(datasets), ""),
        )


def open_source(settings: SourceSettings, access: SourceAccess) -> Source:
    """The reader for ``settings``. Nothing is read or connected to yet."""
    path = next(READERS[kind] for kind in type(settings).__mro__ if kind in READERS)
    module, _, name = path.rpartition(".")
    reader: Source = getattr(import_module(module), name)(settings, access)
    return reader
