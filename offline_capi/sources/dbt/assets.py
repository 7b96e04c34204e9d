"""The asset of Airflow that a model of dbt updates, by the name that Cosmos gives it in Airflow 3.

The manifest says which table a model is, and where dbt builds says where that table lies. Cosmos joins the two as
OpenLineage names data sets, with slashes in place of the dots that Airflow 3 refuses:
``postgres://dwh.example.com:5432/analytics/marts/fct_approvals``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from urllib.parse import quote

import sqlalchemy as sa

from offline_capi.config import Deployment, SecretResolver
from offline_capi.config.dbt import DbtName
from offline_capi.config.schedule import AwaitedData
from offline_capi.errors import ConfigError, SourceError
from offline_capi.runtime.border import shown
from offline_capi.sources.dbt.manifest import DbtManifest, read_manifest

__all__ = ["ModelAssets", "summarise_error"]


def _name_host(scheme: str, port: int | None = None) -> Callable[[sa.URL], str]:
    """``scheme://host:port``; ``port`` is the one that dbt's adapter takes where none is given."""

    def name(url: sa.URL) -> str:
        number = url.port or port
        return f"{scheme}://{url.host or 'localhost'}{f':{number}' if port and number else ''}"

    return name


def _name_snowflake(url: sa.URL) -> str:
    """An account by its organisation stays; an older locator gets the region and cloud that it leaves out."""
    account, *around = (url.host or "").removesuffix(".snowflakecomputing.com").split(".")
    if "-" in account:
        return f"snowflake://{account}"
    region, cloud = [*around, *("us-west-1", "aws")[len(around) :]][:2]
    return f"snowflake://{account}.{region}.{cloud}"


#: dbt's adapter → how its tables' names begin, by the URL of where it builds. As Cosmos (1.10, cosmos/dataset.py) and
#: OpenLineage (provider/dbt/processor.py, extract_namespace) have them.
_NAMESPACES: Mapping[str, Callable[[sa.URL], str]] = {
    "postgres": _name_host("postgres", 5432),
    "redshift": _name_host("redshift", 5439),
    "bigquery": lambda _: "bigquery",
    "snowflake": _name_snowflake,
    "databricks": _name_host("databricks"),
    "trino": _name_host("trino", 8080),
    "clickhouse": _name_host("clickhouse", 8123),
    "sqlserver": _name_host("mssql", 1433),
    "duckdb": lambda url: f"duckdb://{url.database or ''}",
}


class ModelAssets:
    """Assets of the models that schedules of a deployment wait for."""

    def __init__(self, deployment: Deployment, secrets: SecretResolver) -> None:
        self._deployment, self._secrets = deployment, secrets

    def find_place(self, awaited: AwaitedData) -> tuple[str, str]:
        """Name and URI of the asset that building a model updates; both are the same.

        Raises ``SourceError`` where the manifest cannot be read or lacks the model, and ``ConfigError`` where nothing
        says where dbt builds.
        """
        table = self.find_table(awaited.model)
        uri = f"{self._namespace}/{quote(table).replace('.', '/')}"
        return uri, uri

    def find_table(self, model: DbtName) -> str:
        """The table of a model, dotted. Raises ``SourceError`` where the manifest has none."""
        return self._manifest.find_relation(model).dotted

    @cached_property
    def _manifest(self) -> DbtManifest:
        deployment = self._deployment
        return read_manifest(deployment.platform.dbt.manifest, deployment.environ, deployment.project)

    @cached_property
    def _namespace(self) -> str:
        platform, adapter = self._deployment.platform, self._manifest.adapter
        if platform.airflow.assets.table is not None:
            return platform.airflow.assets.table.rstrip("/")
        name = _NAMESPACES.get(adapter)
        if name is None:
            raise SourceError(
                f"how assets of dbt's adapter {shown(adapter)} are named is not known: give "
                "platform.airflow.assets.table, how the URIs of its tables begin"
            )
        # Without one, loading has refused the upload.
        connection = self._deployment.resolve_connection(platform.dbt.connection or "")
        try:
            return name(sa.make_url(self._secrets.connection_url(connection).reveal()))
        except sa.exc.ArgumentError:
            raise ConfigError(f'connection "{connection}" is no URL of a database') from None


def summarise_error(error: SourceError | ConfigError) -> str:
    """What a manifest lacks, for a problem that has its place in the configuration before it."""
    return str(error).removeprefix("source.dbt: ").partition("\n")[0]
