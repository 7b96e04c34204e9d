"""YAML → frozen settings: all problems at once, each with its file, line and path; secrets by reference only.

Light on purpose, for DAG files import it all day: no Arrow, no database, no HTTP.
"""

from __future__ import annotations

from typing import Any

from offline_capi.config.client import Client
from offline_capi.config.columns import list_columns_used
from offline_capi.config.deployment import Deployment
from offline_capi.config.loading import load_clients, load_config, load_each, load_one
from offline_capi.config.mapping import MappingSpec
from offline_capi.config.platform import Platform
from offline_capi.config.secrets import EnvironmentSecrets, Secret, SecretResolver, resolve_database_url
from offline_capi.config.types import SecretRef
from offline_capi.config.upload import Upload
from offline_capi.meta.catalogue import USER_DATA_KEYS, UserDataKey

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


def generate_json_schema() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of the two kinds of file: ``upload`` and ``clients``."""
    # Generating schemas takes longer to import than everything else here, and only editors ask for them.
    from offline_capi.config.schema import generate_json_schema as generate

    return generate()
