"""YAML → frozen settings: all problems at once, each with its file, line and path; secrets by reference only.

Light on purpose, for DAG files import it all day: no Arrow, no database, no HTTP. Its names are imported when they are
asked for: a process that only reads a source needs the settings of sources alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offline_capi.meta.catalogue import USER_DATA_KEYS, UserDataKey
from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.config.client import Client
    from offline_capi.config.columns import list_columns_used
    from offline_capi.config.deployment import Deployment
    from offline_capi.config.loading import load_clients, load_config, load_each, load_one
    from offline_capi.config.mapping import MappingSpec
    from offline_capi.config.platform import Platform
    from offline_capi.config.secrets import EnvironmentSecrets, Secret, SecretResolver, resolve_database_url
    from offline_capi.config.types import SecretRef
    from offline_capi.config.upload import Upload

__all__ = [
    "USER_DATA_KEYS",
    "Client",
    "Deployment",
    "EnvironmentSecrets",
    "MappingSpec",
    "Platform",
    "Secret",
    "SecretRef",
    "SecretResolver",
    "Upload",
    "UserDataKey",
    "generate_json_schema",
    "list_columns_used",
    "load_clients",
    "load_config",
    "load_each",
    "load_one",
    "resolve_database_url",
]

_HOMES = {
    "Client": "client",
    "Deployment": "deployment",
    "EnvironmentSecrets": "secrets",
    "MappingSpec": "mapping",
    "Platform": "platform",
    "Secret": "secrets",
    "SecretRef": "types",
    "SecretResolver": "secrets",
    "Upload": "upload",
    "list_columns_used": "columns",
    "load_clients": "loading",
    "load_config": "loading",
    "load_each": "loading",
    "load_one": "loading",
    "resolve_database_url": "secrets",
}

__getattr__ = import_on_demand(__name__, _HOMES)


def generate_json_schema() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of the two kinds of file: ``upload`` and ``clients``."""
    # Generating schemas takes longer to import than everything else here, and only editors ask for them.
    from offline_capi.config.schema import generate_json_schema as generate

    return generate()
