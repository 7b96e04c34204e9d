"""Where secrets come from.

``SecretResolver`` is the seam: the command line resolves from the environment, Airflow tasks from Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from offline_capi.config.connections import (
    add_driver,
    convert_connection_to_url,
    get_own_variable,
    parse_extras,
    parse_json_object,
)
from offline_capi.config.paths import anchor_url, refuse_moved_ledger
from offline_capi.config.token_store import TokenStore
from offline_capi.config.types import SecretRef
from offline_capi.errors import ConfigError
from offline_capi.runtime.secret import Secret

__all__ = [
    "EnvironmentSecrets",
    "Secret",
    "SecretResolver",
    "convert_connection_to_url",
    "resolve_catalog",
    "resolve_database_url",
]


class SecretResolver(Protocol):
    """Turns references into secrets; a missing one is a ``ConfigError`` that names where it was searched."""

    def token(self, ref: SecretRef) -> Secret:
        """The secret at ``ref``: a token, an app secret, a database URL."""
        ...

    def connection_url(self, name: str) -> Secret:
        """The SQLAlchemy URL of the connection ``name``."""
        ...


class EnvironmentSecrets:
    """Secrets from environment variables and files, with Airflow's spelling of connections; needs no Airflow.

    A connection ``warehouse`` is the variable ``OFFLINE_CAPI_CONN_WAREHOUSE`` or ``AIRFLOW_CONN_WAREHOUSE``, as a URL
    or as Airflow's JSON.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def token(self, ref: SecretRef) -> Secret:
        if ref.env is not None:
            return self._read_variable(ref.env)
        if ref.file is not None:
            return _read_file(ref.file)
        if ref.store is not None:
            return self.store.token(ref.store)
        return self._read_connection_secret(str(ref.connection))

    @cached_property
    def store(self) -> TokenStore:
        """The encrypted local store that this environment names."""
        return TokenStore.of(self._environ)

    def connection_url(self, name: str) -> Secret:
        text, variable = self._find_connection(name)
        url = convert_connection_to_url(text, name, is_ours=variable == get_own_variable(name))
        if url is None:
            raise ConfigError(
                f'connection "{name}": {variable} is neither a URL such as postgresql://user@host/db '
                "nor Airflow's JSON"
            )
        return Secret(url)

    def has_own(self, name: str) -> bool:
        """Whether the connection ``name`` stands in our own variable, which comes before Airflow's connections."""
        return bool(self._environ.get(get_own_variable(name), "").strip())

    def _read_variable(self, name: str) -> Secret:
        value = self._environ.get(name, "").strip()
        if not value:
            raise ConfigError(f"set the environment variable {name}: it is not set, or empty")
        return Secret(value)

    def _read_connection_secret(self, name: str) -> Secret:
        text, variable = self._find_connection(name)
        secret = _find_password(text)
        if not secret:
            raise ConfigError(f'connection "{name}": {variable} has neither a password nor extra.access_token')
        return Secret(secret)

    def _find_connection(self, name: str) -> tuple[str, str]:
        """The text of a connection and the variable that held it."""
        variables = _list_connection_variables(name)
        found = next((variable for variable in variables if self._environ.get(variable, "").strip()), None)
        if found is None:
            raise ConfigError(
                f'connection "{name}" is not known: set {" or ".join(variables)} to its URL, such as '
                "postgresql://user:password@host/database or sqlite:///shop.db"
            )
        return self._environ[found].strip(), found


def _list_connection_variables(name: str) -> tuple[str, str]:
    return get_own_variable(name), f"AIRFLOW_CONN_{name.upper()}"


def _read_file(path: Path) -> Secret:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the secret's file {path} cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"the secret's file {path} is empty")
    return Secret(value)


def resolve_database_url(place: SecretRef | str, secrets: SecretResolver, project: Path | None = None) -> Secret:
    """The SQLAlchemy URL of the ledger, written out or referred to; with ``project``, an SQLite file as seen from it.

    Raises ``ConfigError`` where the ledger seems to lie where earlier versions put it: see ``paths``.
    """
    if isinstance(place, str):
        url = add_driver(place)
    elif place.connection is not None:
        url = secrets.connection_url(place.connection).reveal()
    else:
        url = add_driver(secrets.token(place).reveal())
    if project is None:
        return Secret(url)
    refuse_moved_ledger(url, project)
    return Secret(anchor_url(url, project))


def resolve_catalog(
    properties: Mapping[str, str | SecretRef], secrets: SecretResolver, project: Path
) -> dict[str, str]:
    """The properties of an Iceberg catalog with the secrets that they refer to; an SQLite file as seen from project."""
    texts = {
        name: value if isinstance(value, str) else secrets.token(value).reveal() for name, value in properties.items()
    }
    return {name: anchor_url(text, project) if name == "uri" else text for name, text in texts.items()}


# ---------------------------------------------------------------------------------------------- tokens of connections


def _find_password(text: str) -> str | None:
    """The password of a connection, else the ``access_token`` among its extras."""
    if text.startswith("{"):
        fields = parse_json_object(text) or {}
        return fields.get("password") or parse_extras(fields).get("access_token")
    return _find_userinfo_password(text) or _find_query_token(text)


def _find_userinfo_password(uri: str) -> str | None:
    userinfo, at, _ = uri.partition("://")[2].rpartition("@")
    return unquote(userinfo.partition(":")[2]) or None if at else None


def _find_query_token(uri: str) -> str | None:
    options = dict(parse_qsl(urlsplit(uri).query))
    return options.get("access_token") or (parse_json_object(options.get("__extra__", "")) or {}).get("access_token")
