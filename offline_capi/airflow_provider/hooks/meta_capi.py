"""An Airflow connection of type ``meta_capi`` as a way to Meta."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from offline_capi.config import Secret
    from offline_capi.delivery import Sender

__all__ = ["MetaConversionsHook"]

_TIMEOUT_S = 30.0
#: What Airflow shows in place of a password.
_MASK = "***"


@cache
def _load_form() -> dict[str, Any]:
    """By its name, each field that the form has for extras."""
    from offline_capi.airflow_provider.provider import get_provider_info

    (connection_type,) = get_provider_info()["connection-types"]
    return dict(connection_type["conn-fields"])


class MetaConversionsHook(BaseHook):
    """Token, pixel and endpoint of one client, from one connection, which is read when it is first used."""

    conn_name_attr = "meta_capi_conn_id"
    default_conn_name = "meta_capi_default"
    conn_type = "meta_capi"
    hook_name = "Meta Conversions API"

    def __init__(self, meta_capi_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.meta_capi_conn_id = meta_capi_conn_id

    @cached_property
    def connection(self) -> Connection:
        return self.get_connection(self.meta_capi_conn_id)

    @property
    def pixel_id(self) -> str:
        """The pixel that the connection names; empty where ``clients.yml`` alone knows it.

        Raises ``ConfigError`` for what cannot be a pixel's number.
        """
        return str(self._get_extra("pixel_id", ""))

    @property
    def token(self) -> Secret:
        from offline_capi.airflow_provider.hooks.secrets import extract_token

        return extract_token(self.connection)

    def get_conn(self) -> Sender:
        """Our client for this connection: ``post(pixel, body)`` sends one request. Close it by closing ``graph``."""
        from offline_capi.delivery import Envelope, Sender
        from offline_capi.meta.graph.client import GraphClient
        from offline_capi.meta.versions import FAMILIES
        from offline_capi.runtime.secret import appsecret_proof

        secret = self._app_secret
        envelope = Envelope(
            partner_agent=self._partner_agent,
            appsecret_proof=appsecret_proof(self.token, secret) if secret else None,
        )
        url, version = self._endpoint
        graph = GraphClient(url, dict.fromkeys(FAMILIES, version), timeout_s=_TIMEOUT_S)
        return Sender(graph, self.token, envelope)

    def test_connection(self) -> tuple[bool, str]:
        """Whether token, pixel and permission fit together; what Airflow's *Test* button calls.

        It sends one event that Meta refuses for its age alone, so that nothing is stored.
        """
        from offline_capi.clients.connection import ClientAccess, probe_pixel
        from offline_capi.errors import ConfigError
        from offline_capi.meta.graph.client import Credentials, GraphClient
        from offline_capi.meta.versions import FAMILIES

        code, now = self._get_extra("test_event_code", None), datetime.now(UTC)
        try:
            if not (pixel := self.pixel_id):
                return False, "the connection names no pixel, and without one there is nothing to test"
            if self.token.reveal() == _MASK:
                return False, (
                    "Airflow handed over its mask *** in place of the token, as 3.3.1 does unless host and port are "
                    "stored with the connection. Update Airflow, or test with: offline-capi clients test NAME --probe"
                )
            url, version = self._endpoint
            access = ClientAccess(Credentials(self.token, self._app_secret), self._partner_agent)
            with GraphClient(url, dict.fromkeys(FAMILIES, version), timeout_s=_TIMEOUT_S) as graph:
                tested = probe_pixel(graph, pixel, access, code=code, now=now)
        except ConfigError as error:
            return False, str(error)
        return tested.verdict == "good", tested.words

    @property
    def _endpoint(self) -> tuple[str, str]:
        """Raises ``ConfigError`` for an address to which the token must not go.

        Who edits a connection does not see its password, and must not have it sent to a host of their own either: so a
        connection names Meta, this machine, or what the environment of the worker names.
        """
        from offline_capi.config.platform import GRAPH_URL, Platform
        from offline_capi.config.types import is_loopback, require_encrypted_url
        from offline_capi.errors import ConfigError

        url = str(self._get_extra("graph_url", GRAPH_URL))
        try:
            url = require_encrypted_url(url, allow_http=self._get_extra("allow_http", False) in (True, "true"))
        except ValueError as error:
            said = str(error).replace("platform.allow_http: true", "allow_http: true among the connection's extras")
            raise ConfigError(f"the connection's graph_url {said}") from None
        own = os.environ.get("OFFLINE_CAPI_GRAPH_URL", "").rstrip("/")
        if url not in (GRAPH_URL, own) and not is_loopback(urlsplit(url).hostname or ""):
            raise ConfigError(
                f"the connection's graph_url is neither {GRAPH_URL} nor on this machine: set OFFLINE_CAPI_GRAPH_URL to"
                " it in the environment of the workers, and of the API server for the Test button"
            )
        return url, self._get_extra("graph_version", Platform().graph_version)

    @property
    def _partner_agent(self) -> str | None:
        from offline_capi.config.types import check_partner_agent
        from offline_capi.errors import ConfigError

        agent = self._get_extra("partner_agent", None)
        try:
            return check_partner_agent(str(agent)) if agent else None
        except ValueError as error:
            raise ConfigError(f"the connection's partner_agent {error}") from None

    @property
    def _app_secret(self) -> Secret | None:
        from offline_capi.config import Secret

        secret = self._get_extra("app_secret", "")
        return Secret(secret) if secret else None

    def _get_extra(self, name: str, default: Any) -> Any:
        """A field of the connection's form; an empty one counts as not given.

        Airflow stores what does not match the pattern of the field all the same.
        """
        from offline_capi.errors import ConfigError

        value = self.connection.extra_dejson.get(name) or default
        field = _load_form()[name]
        if value and not re.search(field["schema"].get("pattern", ""), str(value)):
            # The value stays out of the message: whoever mixes fields up pastes the token here.
            raise ConfigError(f"the connection's {name} does not look like one. The form says: {field['description']}")
        return value
