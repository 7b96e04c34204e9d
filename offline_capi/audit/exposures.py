"""What dbt should know of uploads: exposures, so that its lineage ends at the pixels that rows go to.

The text depends on the configuration and the manifest alone, so that a file under version control changes only where
one of these does. Jobs and pixels have the names that runs emit to OpenLineage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from offline_capi.audit.lineage import JOB_NAMESPACE, PIXEL_SCHEME, name_dataset
from offline_capi.audit.reading import list_clients
from offline_capi.config import Deployment, SecretResolver, Upload
from offline_capi.config.columns import list_columns_used
from offline_capi.config.dbt import DbtName
from offline_capi.config.source import DbtSource, SourceSettings, SqlSource
from offline_capi.errors import ConfigError
from offline_capi.model.recipients import get_client_name
from offline_capi.pipeline import make_source_access
from offline_capi.sources.dbt import read_manifest
from offline_capi.sources.dbt.manifest import DbtManifest
from offline_capi.sources.sql.statement import query_text
from offline_capi.sources.sql.tracing import trace_query

__all__ = ["write_exposures"]

HEADER = "# Written by `offline-capi dbt exposures` from the uploads that read what dbt builds. Do not edit.\n"
#: Pixels that an exposure names one by one; a platform may have thousands.
MAX_PIXELS_NAMED = 20
#: dbt's adapters → the dialects of SQLAlchemy that queries are traced in.
_DIALECTS = {"postgres": "postgresql", "sqlserver": "mssql", "fabric": "mssql", "spark": "databricks"}


def write_exposures(deployment: Deployment, secrets: SecretResolver) -> str:
    """The YAML of one exposure for each upload that reads a relation of dbt's, by name, by query or as a lookup.

    Raises ``SourceError`` where the manifest cannot be read or lacks a relation that an upload names.
    """
    settings = deployment.platform.dbt
    manifest = read_manifest(settings.manifest, deployment.environ, deployment.project)
    exposures: dict[str, dict[str, Any]] = {}
    for upload in sorted(deployment.uploads.values(), key=lambda one: one.name):
        if read := sorted(set(_list_read(upload, deployment, secrets, manifest)), key=str):
            name = re.sub(r"\W", "_", upload.name, flags=re.ASCII)
            if name in exposures:
                raise ConfigError(
                    f"dbt exposures: {upload.name} and another upload would both be called {name} in dbt, which takes "
                    "letters, digits and _. Rename one of the two"
                )
            exposures[name] = _describe_exposure(name, upload, deployment, [str(one) for one in read], manifest)
    content = {"version": 2, "exposures": list(exposures.values())}
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def _list_read(
    upload: Upload, deployment: Deployment, secrets: SecretResolver, manifest: DbtManifest
) -> Iterator[DbtName]:
    access = make_source_access(upload, deployment, secrets)
    nodes: list[SourceSettings] = [upload.source, *upload.lookups.values()]
    for node in nodes:
        if isinstance(node, DbtSource):
            yield manifest.find_relation(node.reference).reference
        elif isinstance(node, SqlSource):
            dialect = _DIALECTS.get(manifest.adapter, manifest.adapter)
            for table in trace_query(query_text(node, access.sql_folder), dialect).tables:
                found = [name for name, dotted in manifest.list_tables() if _is_named(table.lower(), dotted)]
                yield from found if len(found) == 1 else []


def _is_named(table: str, dotted: str) -> bool:
    """Whether a query's name of a table, which may lack database and schema, can be this one."""
    return dotted == table or dotted.endswith(f".{table}")


def _describe_exposure(
    name: str, upload: Upload, deployment: Deployment, read: list[str], manifest: DbtManifest
) -> dict[str, Any]:
    settings = deployment.platform.dbt
    owner = {"name": settings.owner or "offline-capi"}
    if settings.owner_email:
        owner["email"] = settings.owner_email
    sent = upload.event.name.constant
    what = f"{sent} events" if isinstance(sent, str) else "Events"
    schedule = deployment.resolve_schedule(upload)
    meta = {"offline_capi": _describe_upload(upload, deployment)}
    # Since dbt 1.10 meta belongs to config, and stands there alone without a warning.
    placed: Mapping[str, Any] = {"config": {"meta": meta}} if manifest.dbt_version >= (1, 10) else {"meta": meta}
    return {
        "name": name,
        "label": f"{upload.name} to Meta",
        "type": "application",
        "owner": owner,
        "description": f"{what} for Meta's Conversions API{f', by schedule {schedule}' if schedule else ''}.",
        "depends_on": read,
        **placed,
    }


def _describe_upload(upload: Upload, deployment: Deployment) -> dict[str, Any]:
    """The upload by the names that OpenLineage gets, and what its columns are read for."""
    address = f"{PIXEL_SCHEME}://{deployment.platform.graph_url.partition('://')[2].partition('/')[0]}"
    clients = [deployment.clients[one] for one in list_clients(upload, deployment)]
    pixels = sorted({
        name_dataset(f"{address}/{one.pixel_id}") for client in clients for one in client.list_recipients()
    })  # fmt: skip
    more = len(pixels) - MAX_PIXELS_NAMED
    return {
        "upload": upload.name,
        "openlineage": {
            "job": {"namespace": JOB_NAMESPACE, "name": upload.name},
            "outputs": [pixel._asdict() for pixel in pixels[:MAX_PIXELS_NAMED]],
            **({"more_outputs": more} if more > 0 else {}),
        },
        "clients": len({get_client_name(client.name) for client in clients}),
        "columns": {column: list(paths) for column, paths in sorted(list_columns_used(upload).items())},
    }
