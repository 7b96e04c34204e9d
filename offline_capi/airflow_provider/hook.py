"""An Airflow connection of type ``meta_capi`` as a way to Meta."""

from __future__ import annotations

import hashlib
import json
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from offline_capi.config import Secret
    from offline_capi.delivery import Sender
    from offline_capi.delivery.answers import Answer

__all__ = ["MetaConversionsHook"]

_GRAPH_URL, _GRAPH_VERSION = "https://graph.facebook.com", "v26.0"
_TIMEOUT = 30.0
#: An event one day older than Meta takes is refused with this, and only when all else is right (meta-capi.md 8.6, b).
_PROBE_AGE, _TOO_OLD = 8 * 86_400, (100, 2804003)


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
        """The pixel that the connection names; empty where ``clients.yml`` alone knows it."""
        return str(self._extra("pixel_id", ""))

    @property
    def token(self) -> Secret:
        from offline_capi.airflow_provider.secrets import token_of

        return token_of(self.connection)

    def get_conn(self) -> Sender:
        """Our client for this connection: ``post(pixel, body)`` sends one request. Close it by closing ``graph``."""
        from offline_capi.config import Secret
        from offline_capi.delivery import Envelope, GraphClient, Sender, appsecret_proof

        secret = self._extra("app_secret", "")
        envelope = Envelope(
            partner_agent=self._extra("partner_agent", None),
            appsecret_proof=appsecret_proof(self.token, Secret(secret)) if secret else None,
        )
        graph = GraphClient(
            self._extra("graph_url", _GRAPH_URL), self._extra("graph_version", _GRAPH_VERSION), timeout=_TIMEOUT
        )
        return Sender(graph, self.token, envelope)

    def test_connection(self) -> tuple[bool, str]:
        """Whether token, pixel and permission fit together; what Airflow's *Test* button calls.

        It sends one event that Meta refuses for its age alone, so that nothing is stored.
        """
        from offline_capi.errors import ConfigError, TemporaryError

        if not self.pixel_id:
            return False, "the connection names no pixel, and without one there is nothing to test"
        try:
            sender = self.get_conn()
            with sender.graph:
                body = _probe(time.time(), self._extra("test_event_code", None))
                return _read_probe(sender.post(self.pixel_id, body))
        except (ConfigError, TemporaryError) as error:
            return False, str(error)

    def _extra(self, name: str, default: Any) -> Any:
        """A field of the connection's form; an empty one counts as not given."""
        return self.connection.extra_dejson.get(name) or default


def _probe(now: float, test_event_code: str | None) -> bytes:
    event = {
        "event_name": "ConnectionTest",
        "event_id": "offline-capi-connection-test",
        "event_time": int(now) - _PROBE_AGE,
        "action_source": "system_generated",
        "user_data": {"external_id": [hashlib.sha256(b"offline-capi-connection-test").hexdigest()]},
    }
    code = {"test_event_code": test_event_code} if test_event_code else {}
    return json.dumps({"data": [event], **code}).encode()


def _read_probe(answer: Answer) -> tuple[bool, str]:
    from offline_capi.delivery import explain

    if (answer.code, answer.subcode) == _TOO_OLD:
        return True, "token, pixel and permission are right; nothing was stored"
    if answer.code is None:
        ok = 200 <= answer.status < 300
        return ok, f"Meta answered HTTP {answer.status}" + ("; the test event was stored" if ok else "")
    entry = explain(answer.code, answer.subcode)
    return False, f"Meta answered {answer.code}: {entry.means}. What now: {entry.do}."
