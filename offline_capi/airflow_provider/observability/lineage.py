"""Where an upload's rows come from and which pixel they went to, for readers of Airflow's hook lineage.

OpenLineage's provider does, and so do plugins of catalogues. Without a reader nothing is looked up. A table is named as
Airflow names assets (``postgres://host:5432/database/schema/table``), files by their folder, a pixel by ours:
``meta-capi://graph.facebook.com/PIXEL``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from airflow.sdk import BaseHook
from airflow.sdk.lineage import NoOpCollector, get_hook_lineage_collector

from offline_capi.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from offline_capi.config import Deployment, Upload
    from offline_capi.config.source import FileSource, SqlSource
    from offline_capi.pipeline import Services

__all__ = ["convert_pixel_to_openlineage", "find_tables", "list_source_uris", "report_lineage"]

SCHEME = "meta-capi"

_log = structlog.get_logger(__name__)


def report_lineage(upload: Upload, services: Services, sent: Mapping[str, int]) -> None:
    """Tell what was read and where it went: ``sent`` is how many events each client's pixel got.

    It comes after the sending, and whatever cannot be named is left out rather than failing the task.
    """
    collector, reader = get_hook_lineage_collector(), BaseHook()
    if isinstance(collector, NoOpCollector):
        return
    try:
        for uri in list_source_uris(upload, services):
            collector.add_input_asset(reader, uri=uri)
        for uri, events in _list_pixel_uris(services, sent):
            collector.add_output_asset(reader, uri=uri, asset_extra={"events": events})
    # OSError: no file of the query here; ValueError: another provider refuses the form of its URI
    except (ConfigError, SourceError, OSError, ValueError) as error:
        _log.warning("lineage is incomplete", cause=type(error).__name__)


def list_source_uris(upload: Upload, services: Services) -> Iterator[str]:
    """The tables of a query, the file of an SQLite database, or the folder of files."""
    from offline_capi.config.source import SqlSource

    if isinstance(upload.source, SqlSource):
        yield from _list_database_uris(upload.source, services)
    else:
        yield _make_folder_uri(upload.source, services.deployment)


def convert_pixel_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001  as Airflow calls it
    """The pixel as OpenLineage names data, with how many events it got; Airflow finds this by the asset's scheme."""
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    uri, events = urlsplit(asset.uri), asset.extra.get("events")
    statistics: dict[str, Any] = {}
    if events is not None:
        statistics["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=events)
    return OutputDataset(f"{uri.scheme}://{uri.netloc}", uri.path.lstrip("/"), outputFacets=statistics)


def _list_pixel_uris(services: Services, sent: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    host = urlsplit(services.deployment.platform.graph_url).netloc
    for client, events in sent.items():
        yield f"{SCHEME}://{host}/{services.deployment.recipients[client].pixel_id}", events


# ---------------------------------------------------------------------------------------------- files


def _make_folder_uri(source: FileSource, deployment: Deployment) -> str:
    """The path up to its first part that stands for several; without what may be a secret."""
    from offline_capi.config.paths import anchor_path
    from offline_capi.sources.locate import with_variables

    path = anchor_path(with_variables(source.path, deployment.environ), deployment.project)
    path = path.partition("?")[0] if "://" in path else path
    plain = re.split(r"[*?{\[]", path)[0]
    folder = plain if plain == path else plain.rpartition("/")[0]
    if "://" not in folder:
        return Path(folder).resolve().as_uri()
    scheme, _, place = folder.partition("://")
    return f"{scheme}://{re.sub(r'^[^/]*@', '', place)}"


# ---------------------------------------------------------------------------------------------- tables

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


def _list_database_uris(source: SqlSource, services: Services) -> Iterator[str]:
    from sqlalchemy import make_url

    url = make_url(services.secrets.connection_url(services.deployment.resolve_connection(source.connection)).reveal())
    if url.get_backend_name() == "sqlite":
        yield Path(url.database or "").resolve().as_uri()
        return
    query = (services.deployment.sql_folder / source.sql).read_text("utf-8-sig") if source.is_file else source.sql
    for table in find_tables(query):
        yield _make_table_uri(url, table)


def _make_table_uri(url: sa.URL, table: str) -> str:
    """The table in its database and schema, which are the connection's as far as the query names none."""
    dialect = url.get_backend_name()
    around = [*(url.database or "").split("/"), _SCHEMA.get(dialect, "")]
    parts, names = [part for part in around if part], table.split(".")
    place = f"{url.host or ''}:{url.port}" if url.port else url.host or ""
    path = "/".join([*parts[: len(parts) + 1 - len(names)], *names])
    return f"{_SCHEMES.get(dialect, dialect)}://{place}/{path}"
