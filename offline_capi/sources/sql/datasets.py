"""What a query reads, as URIs that Airflow and OpenLineage name tables by: ``postgres://host:5432/database/schema/table``."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

__all__ = ["dataset_uris", "find_tables"]

#: Dialect of SQLAlchemy → scheme of Airflow's assets, where they differ.
_SCHEMES = {"postgresql": "postgres", "mariadb": "mysql"}
#: The schema of tables that are named without one.
_SCHEMA = {"postgresql": "public", "redshift": "public", "mssql": "dbo"}

_ASIDE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
#: What has a FROM of its own that names no table.
_NO_TABLE = re.compile(r"\b(?:EXTRACT|TRIM|SUBSTRING|OVERLAY)\s*\([^()]*\)|\bDISTINCT\s+FROM\b", re.IGNORECASE)
_NAME = r'(?:[\w$]+|"[^"]+"|`[^`]+`|\[[^\]]+\])'
_TABLE = re.compile(rf"\b(?:FROM|JOIN)\s+({_NAME}(?:\.{_NAME})*)(?!\s*\(|[\w.])", re.IGNORECASE)
_NAMED_QUERY = re.compile(rf"({_NAME})\s+AS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\(", re.IGNORECASE)


def find_tables(query: str) -> list[str]:
    """The tables after FROM and JOIN, as written but unquoted, each once; named queries (WITH) are none."""
    text = _NO_TABLE.sub(" ", _ASIDE.sub(" ", query))
    own = {_strip_quotes(name) for name in _NAMED_QUERY.findall(text)} | {"LATERAL", "lateral"}
    return [name for name in dict.fromkeys(_strip_quotes(found) for found in _TABLE.findall(text)) if name not in own]


def _strip_quotes(name: str) -> str:
    return re.sub(r'["`\[\]]', "", name)


def dataset_uris(query: str, url: sa.URL) -> list[str]:
    """The tables that ``query`` reads; of SQLite and DuckDB the database's file."""
    if url.get_backend_name() in ("sqlite", "duckdb"):
        return [Path(url.database or "").resolve().as_uri()]
    return [_make_table_uri(url, table) for table in find_tables(query)]


def _make_table_uri(url: sa.URL, table: str) -> str:
    """The table in its database and schema, which are the connection's as far as the query names none."""
    dialect = url.get_backend_name()
    around = [*(url.database or "").split("/"), _SCHEMA.get(dialect, "")]
    parts, names = [part for part in around if part], table.split(".")
    place = f"{url.host or ''}:{url.port}" if url.port else url.host or ""
    path = "/".join([*parts[: len(parts) + 1 - len(names)], *names])
    return f"{_SCHEMES.get(dialect, dialect)}://{place}/{path}"
