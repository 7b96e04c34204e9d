"""Rows of a relation that dbt builds or reads: its manifest says which, and a query selects what the upload reads.

The window stands in the query where the manifest says what the window's column holds: an instant, a time without zone
or a date. Which rows are meant is decided afterwards, as of files, so that a query that reads too much costs time
only. Rows without a time are selected as well, unless the contract keeps the column filled: they are counted as
invalid instead of staying unseen.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from offline_capi.config.source import SqlSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import RowPlacement, SourceRows, Window
from offline_capi.model.contract import ColumnKind
from offline_capi.runtime.border import list_columns, shown
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources.base import BATCH_ROWS, Source, SourceAccess, open_source
from offline_capi.sources.dbt.manifest import DbtRelation, read_manifest
from offline_capi.sources.lineage import SourceLineage
from offline_capi.sources.pruning import widen_near_changes
from offline_capi.sources.sql.datasets import trace_table_columns
from offline_capi.sources.sql.errors import Where, explain_query_errors

if TYPE_CHECKING:
    from offline_capi.config.source import DbtSource

__all__ = ["DbtReader", "find_connection", "find_relation", "read_manifest"]

_log = logging.getLogger(__name__)

#: What the column of the window holds → the ends of the window in the same terms. The ends of days are both included.
_ENDS: Mapping[ColumnKind, str] = {
    "instant": "{column} >= :since_utc AND {column} < :until_utc",
    "local time": "{column} >= :since AND {column} < :until",
    "date": "{column} >= CAST(:since AS DATE) AND {column} <= CAST(:until AS DATE)",
}


def find_relation(settings: DbtSource, access: SourceAccess) -> DbtRelation:
    """The relation that the manifest has by that name. Raises ``SourceError`` where there is none."""
    return read_manifest(access.dbt.manifest, access.environ, access.folder).find_relation(settings.reference)


def find_connection(settings: DbtSource, access: SourceAccess) -> str:
    """The connection in which the relation is read. Raises ``SourceError`` where none is named."""
    connection = settings.connection or access.dbt.connection
    if connection is None:
        raise SourceError(
            "source.dbt: no connection is named in which dbt builds.\n"
            "Write platform.dbt.connection in clients.yml. Nothing was sent; repeating is safe."
        )
    return connection


class DbtReader(Source):
    """A relation of dbt's, in the order of the window's column and of the columns that tell its rows apart."""

    def __init__(self, settings: DbtSource, access: SourceAccess) -> None:
        self._settings, self._access = settings, access

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,
    ) -> Iterator[SourceRows]:
        names = _Names(self._relation, self._dialect)
        asked = None if columns is None else [names.fold(name) for name in columns]
        query = self._query(columns).read(
            self._widen(window), columns=asked, batch_rows=batch_rows, in_subprocess=in_subprocess
        )
        for part in query:
            renamed = part if columns is None else _rename(part, columns, names)
            yield replace(renamed, origin=self._settings.dbt)

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:  # noqa: ARG002
        """All columns of the relation, typed by its first rows."""
        return self._query(None).read_columns(self._widen(window))

    def estimate_rows(self, window: Window) -> int | None:
        """How many rows the window's query has, counted by the database."""
        return self._query(self._access.placement.columns if self._access.placement else None).estimate_rows(
            self._widen(window)
        )

    def list_datasets(self) -> list[str]:
        return [*self.trace_columns((), "").datasets]

    def trace_columns(self, columns: Sequence[str], label: str) -> SourceLineage:  # noqa: ARG002  it is a table
        """As they are in the relation, which dbt's own lineage has by the same names."""
        return trace_table_columns(self._relation.dotted, self._url, columns)

    # ------------------------------------------------------------------------------------------ the query

    @cached_property
    def _relation(self) -> DbtRelation:
        return find_relation(self._settings, self._access)

    @cached_property
    def _url(self) -> sa.URL:
        return sa.make_url(self._access.connection_url(find_connection(self._settings, self._access)))

    @cached_property
    def _dialect(self) -> sa.Dialect:
        connection = find_connection(self._settings, self._access)
        with explain_query_errors(Where(connection, f"dbt's {self._settings.dbt}")):
            dialect: sa.Dialect = self._url.get_dialect()()
        return dialect

    def _widen(self, window: Window) -> Window:
        """Of wall times a little more where the clocks change."""
        placement = self._access.placement
        if placement is None or self._find_window_kind() not in ("local time", "date"):
            return window
        return Window(*widen_near_changes(window.since, window.until, ZoneInfo(placement.zone)))

    def _find_window_kind(self) -> ColumnKind | None:
        """What the column that places rows holds; ``None`` where its values do not sort as time, or nobody says."""
        placement = self._access.placement
        column = self._relation.contract.find(placement.column) if placement and placement.column else None
        return column.kind if column else None

    def _query(self, columns: Sequence[str] | None) -> Source:
        relation = self._relation
        names = _Names(relation, self._dialect)
        sql = _build_query(relation, columns, names, self._access.placement, self._find_window_kind())
        source = SqlSource(connection=find_connection(self._settings, self._access), sql=sql)
        return open_source(source, self._access)


def _build_query(
    relation: DbtRelation,
    columns: Sequence[str] | None,
    names: _Names,
    placement: RowPlacement | None,
    kind: ColumnKind | None,
) -> str:
    """One SELECT; ``kind`` is what the column of the window holds. Raises ``SourceSchemaError`` where a column has left
    a contract that dbt enforces."""
    missing = [name for name in columns or () if relation.contract.find(name) is None]
    if missing and relation.contract.is_enforced:
        _refuse_missing(relation, missing)
    selected = ", ".join(map(names.select, columns)) if columns else "*"
    lines = [f"SELECT {selected}", f"FROM {relation.name}"]  # names of the manifest, each an identifier
    if placement is not None and placement.column is not None:
        ends = _ENDS.get(kind) if kind and relation.adapter != "sqlite" else None
        if ends is None:
            _log.warning(
                "every run reads the whole of dbt's %s: it does not say in which type %s holds times; give the column "
                "a data_type there", relation.reference, shown(placement.column)
            )  # fmt: skip
        else:
            column = names.quote(placement.column)
            also = "" if placement.column in relation.enforced else f" OR {column} IS NULL"
            lines.append(f"WHERE ({ends.format(column=column)}){also}")
    keys = [name for name in relation.order if relation.contract.find(name)]
    order = dict.fromkeys([*(placement.columns if placement else ()), *keys])
    lines += [f"ORDER BY {', '.join(map(names.quote, order))}"] if order else []
    return "\n".join(lines)


def _refuse_missing(relation: DbtRelation, missing: Sequence[str]) -> None:
    known = [*relation.contract.columns]
    problems = "\n".join(f'  "{name}"{did_you_mean(name, known)}' for name in missing)
    raise SourceSchemaError(
        f"{relation.contract.described} lacks columns that the upload names:\n{problems}\n"
        f"{list_columns(known, missing, is_schema=True)}\n"
        "Correct the names in the upload, or run `dbt build` again. Nothing was sent from it; repeating is safe."
    )


class _Names:
    """Columns as their database writes them. Names that dbt does not quote are folded by most databases: they are asked
    for in lower case, whatever the project writes, and come back under the name that was asked for."""

    def __init__(self, relation: DbtRelation, dialect: sa.Dialect) -> None:
        self._relation, self._preparer = relation, dialect.identifier_preparer
        self._keeps_case = dialect.name in _CASE_SENSITIVE

    def fold(self, name: str) -> str:
        """The name under which the query gives the column."""
        column = self._relation.columns.get(name)
        is_exact = self._keeps_case or (column is not None and column.is_quoted) or not _FOLDABLE.fullmatch(name)
        return name if is_exact else name.lower()

    def quote(self, name: str) -> str:
        folded = self.fold(name)
        return str(self._preparer.quote(folded) if folded.islower() else self._preparer.quote_identifier(folded))

    def select(self, name: str) -> str:
        """The column as a SELECT lists it."""
        return self.quote(name) if self.fold(name) == name else f"{self.quote(name)} AS {self.quote(name)}"


_FOLDABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CASE_SENSITIVE = ("clickhouse", "clickhousedb")


def _rename(part: SourceRows, columns: Sequence[str], names: _Names) -> SourceRows:
    """The rows under the names that were asked for."""
    given = {names.fold(name): name for name in columns}
    if all(key == name for key, name in given.items()):
        return part
    faults = tuple(replace(fault, field=given.get(fault.field, fault.field)) for fault in part.faults)
    return replace(part, batch=part.batch.rename_columns(list(columns)), faults=faults)
