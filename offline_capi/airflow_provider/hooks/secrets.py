"""Tokens and warehouse URLs from Airflow connections, and so from any secrets backend; inside a task only.

What is not an Airflow connection is looked up as on the command line: environment variables and files. Every secret is
made known to Airflow's log masking before it is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from offline_capi.config import EnvironmentSecrets, Secret, SecretRef
from offline_capi.config.loading import SharedEnvironment
from offline_capi.config.secrets import convert_connection_to_url
from offline_capi.errors import ConfigError

__all__ = ["AirflowEnvironment", "AirflowSecrets", "extract_token"]


class AirflowEnvironment(SharedEnvironment):
    """The environment; for names that it has not, the Airflow variable of that name, and so any secrets backend."""

    def __getitem__(self, name: str) -> str:
        value = os.environ.get(name) or Variable.get(name, default=None)
        if value is None:
            raise KeyError(name)
        return str(value)

    def is_shared(self, name: str) -> bool:
        return not os.environ.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


class AirflowSecrets:
    """A ``SecretResolver`` for tasks: an Airflow connection first, then the environment.

    A database's URL in our own variable comes before the connection: some connections only Airflow's hooks can use.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = EnvironmentSecrets(environment)

    def token(self, ref: SecretRef) -> Secret:
        connection = None if ref.connection is None else _find_connection(ref.connection)
        if connection is None:
            return _mask(self._environment.token(ref))
        return extract_token(connection)

    def connection_url(self, name: str) -> Secret:
        connection = None if self._environment.has_own(name) else _find_connection(name)
        if connection is None:
            return _mask(self._environment.connection_url(name))
        url = convert_connection_to_url(json.dumps(_list_fields(connection)), name)
        if url is None:
            raise ConfigError(f'the Airflow connection "{name}" has no type that stands for a database')
        return _mask(Secret(url))


def extract_token(connection: Any) -> Secret:
    """The token that an Airflow connection holds: its password, else ``access_token`` among its extras."""
    value = connection.password or connection.extra_dejson.get("access_token")
    if not value:
        raise ConfigError(
            f'the Airflow connection "{connection.conn_id}" holds no token: put it into the password, '
            "shown as Access token in the form"
        )
    return _mask(Secret(value))


def _find_connection(name: str) -> Any | None:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


def _mask(secret: Secret) -> Secret:
    mask_secret(secret.reveal())
    return secret


def _list_fields(connection: Any) -> dict[str, Any]:
    """The connection as Airflow's JSON spells it."""
    names = ("conn_type", "login", "password", "host", "port", "schema", "extra")
    return {name: getattr(connection, name) for name in names}
