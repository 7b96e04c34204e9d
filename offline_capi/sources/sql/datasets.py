"""What a query reads, as URIs that Airflow and OpenLineage name tables by: ``postgres://host:5432/database/schema/table``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from offline_capi.sources.lineage import SourceColumn, SourceLineage
from offline_capi.sources.sql.tracing import trace_query

__all__ = ["list_query_datasets", "trace_query_columns", "trace_table_columns"]

#: Dialect of SQLAlchemy → scheme of Airflow's assets, where they differ.
_SCHEMES = {"postgresql": "postgres", "mariadb": "mysql"}
#: The schema of tables that are named without one.
_SCHEMA = {"postgresql": "public", "redshift": "public", "mssql": "dbo"}
#: project.dataset.table, of BigQuery.
PARTS_WITH_PROJECT = 3
#: Databases that are one file.
_IN_FILE = ("sqlite", "duckdb")


def list_query_datasets(query: str, url: sa.URL) -> list[str]:
    """The tables that ``query`` reads; of SQLite and DuckDB the database's file. Without sqlglot, no tables."""
    if url.get_backend_name() in _IN_FILE:
        return [_make_file_uri(url)]
    return [_make_table_uri(url, table) for table in trace_query(query, url.get_backend_name()).tables]


def trace_query_columns(query: str, url: sa.URL, columns: Sequence[str], label: str) -> SourceLineage:
    """Where ``columns`` of ``query`` come from.

    What cannot be traced for certain is a column of the query itself, which then is a data set called ``label`` in its
    database. A column of a database in one file has its table before its name.
    """
    dialect = url.get_backend_name()
    traced = trace_query(query, dialect, columns)

    def place(table: str, column: str) -> tuple[str, str]:
        if dialect in _IN_FILE:
            return _make_file_uri(url), f"{table}.{column}"
        return _make_table_uri(url, table), column

    whole = _make_file_uri(url) if dialect in _IN_FILE else _make_table_uri(url, "")
    untraced = f"{whole}?query={label}"
    found = {
        name: tuple(SourceColumn(*place(origin.table, origin.column), origin.use) for origin in traced.columns[name])
        if name in traced.columns
        else (SourceColumn(untraced, name, "IDENTITY"),)
        for name in columns
    }
    tables = [_make_file_uri(url)] if dialect in _IN_FILE else [_make_table_uri(url, table) for table in traced.tables]
    own = [untraced] if len(traced.columns) < len(found) else []
    rows = tuple(SourceColumn(*place(origin.table, origin.column), origin.use) for origin in traced.rows)
    return SourceLineage((*tables, *own), found, untraced, rows)


def trace_table_columns(table: str, url: sa.URL, columns: Sequence[str]) -> SourceLineage:
    """``columns`` of a table, which is dotted as far as it is qualified, as they are."""
    in_file = url.get_backend_name() in _IN_FILE
    uri = _make_file_uri(url) if in_file else _make_table_uri(url, table)
    prefix = f"{table}." if in_file else ""
    found = {name: (SourceColumn(uri, f"{prefix}{name}", "IDENTITY"),) for name in columns}
    return SourceLineage((uri,), found, uri)


def _make_file_uri(url: sa.URL) -> str:
    return Path(url.database or "").resolve().as_uri()


def _make_table_uri(url: sa.URL, table: str) -> str:
    """The table in its database and schema, which are the connection's as far as the query names none.

    Without a table, the connection's database.
    """
    dialect = url.get_backend_name()
    around = [*(url.database or "").split("/"), _SCHEMA.get(dialect, "") if table else ""]
    parts, names = [part for part in around if part], table.split(".") if table else []
    place = f"{url.host or ''}:{url.port}" if url.port else url.host or ""
    if dialect == "bigquery" and len(names) == PARTS_WITH_PROJECT:  # a host of its own: the table's project
        place, *names = names
    path = "/".join([*(parts[: len(parts) + 1 - len(names)] if names else parts), *names])
    return f"{_SCHEMES.get(dialect, dialect)}://{place}/{path}"
