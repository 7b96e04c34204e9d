"""The first rows of a table without a query, where a database charges every query for the whole table.

That is BigQuery: ``LIMIT`` makes a query no cheaper, and ``TABLESAMPLE`` costs a share of the table. Its list of a
table's rows (``tabledata.list``) costs nothing; views have none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import sqlalchemy as sa

from offline_capi.model import SourceRows
from offline_capi.sources.sql.dialects import engine_for
from offline_capi.sources.sql.errors import Where, explain_query_errors
from offline_capi.sources.sql.query import RowStream, read_batches

__all__ = ["preview_table"]

_log = logging.getLogger(__name__)

#: What a table has to be to have a list of rows, as BigQuery calls it.
_LISTED = ("TABLE", "SNAPSHOT", "CLONE")


def preview_table(connection: str, table: str, url: str, rows: int) -> list[SourceRows] | None:
    """At most ``rows`` of a table by its name in SQL; ``None`` where only a query reads it, as in every other database.

    Raises ``SourceError`` where the connection leads nowhere.
    """
    where = Where(connection, f"table {table}")
    with explain_query_errors(where):
        engine = engine_for(url, where)
    if engine.dialect.name != "bigquery":
        return None
    from google.api_core.exceptions import GoogleAPICallError

    try:
        with explain_query_errors(where, engine), engine.connect() as connected:
            try:
                found = _list_rows(connected, table, rows)
                return None if found is None else [*read_batches(found, found.names, where.origin)]
            except GoogleAPICallError:  # the query that reads it then says what is wrong
                return None
    finally:
        engine.dispose()


def _list_rows(connected: sa.Connection, table: str, rows: int) -> RowStream | None:
    driver: Any = connected.connection.dbapi_connection
    client: Any = driver._client
    dialect: Any = connected.dialect
    parts = table.replace("`", "").split(".")
    around = [dialect.project_id or client.project, dialect.dataset_id or ""]
    known = client.get_table(".".join([*around[: max(3 - len(parts), 0)], *parts]))
    if known.table_type not in _LISTED:
        _log.warning("%s is no table but a %s: BigQuery charges its sample as a query", table, known.table_type)
        return None
    values: Iterator[tuple[Any, ...]] = (row.values() for row in client.list_rows(known, max_results=rows))
    names = [field.name for field in known.schema]
    return RowStream(names, lambda number: list(islice(values, number)), {}, nullcontext)
