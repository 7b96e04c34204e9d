"""Each client's token and envelope, resolved when its first request goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from offline_capi.config import Deployment, SecretResolver
from offline_capi.config.client import Client
from offline_capi.config.platform import Platform
from offline_capi.config.upload import Delivery
from offline_capi.delivery.payload import Body, Envelope
from offline_capi.errors import ConfigError
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.graph.response import Response
from offline_capi.model.recipients import get_client_name
from offline_capi.runtime.secret import Secret, appsecret_proof, sendable

__all__ = ["Sender", "open_senders", "resolve_token"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends the events of one client: its token, and what accompanies its events."""

    graph: GraphClient
    token: Secret
    envelope: Envelope

    def post(self, pixel: str, body: Body) -> Response:
        """See ``GraphClient.post_events``."""
        return self.graph.post_events(pixel, self.token, body)


def resolve_token(name: str, clients: Mapping[str, Client], secrets: SecretResolver) -> tuple[Client, Secret]:
    """The client of this name and the token to send with. Raises ``ConfigError`` where there is none."""
    client = clients.get(name)
    if client is None:
        raise ConfigError("it is no longer in clients.yml; put it back and run again")
    return client, sendable(secrets.token(client.token))


@contextmanager
def open_senders(
    deployment: Deployment,
    secrets: SecretResolver,
    delivery: Delivery,
    *,
    test_event_code: str | None = None,
    upload_tag: Callable[[str], str | None] = lambda _client: None,
    refusal: Callable[[str, Secret], str | None] = lambda _client, _token: None,
) -> Iterator[Mapping[str, Sender]]:
    """A mapping from client to its sender; connections are closed at the end.

    A token is resolved when its client is first asked for, so that a missing one stops that client only: the look-up
    then raises ``ConfigError``. ``test_event_code`` goes out with every request: see ``check_test_event_code``.
    ``upload_tag`` gives the tag of a client's requests.
    ``refusal`` says why nothing should be sent with a client's token, where that is known already.
    """
    platform = deployment.platform
    timeout_s = delivery.timeout.total_seconds()
    with GraphClient(
        platform.graph_url, platform.versions, timeout_s=timeout_s, connections=delivery.in_flight
    ) as graph:
        envelope = Envelope(test_event_code=test_event_code)
        yield _Senders(graph, deployment.recipients, platform, secrets, envelope, upload_tag, refusal)


class _Senders(dict[str, Sender]):
    def __init__(
        self,
        graph: GraphClient,
        clients: Mapping[str, Client],
        platform: Platform,
        secrets: SecretResolver,
        envelope: Envelope,
        upload_tag: Callable[[str], str | None],
        refusal: Callable[[str, Secret], str | None],
    ) -> None:
        super().__init__()
        self._graph, self._clients, self._platform, self._secrets = graph, clients, platform, secrets
        self._envelope, self._upload_tag, self._refusal = envelope, upload_tag, refusal

    def __missing__(self, name: str) -> Sender:
        client, token = resolve_token(name, self._clients, self._secrets)
        if refused := self._refusal(name, token):
            again = f"offline-capi clients test {get_client_name(name)} --probe"  # which needs no test event code
            raise ConfigError(f"{refused}; once that is fixed, `{again}` lets it send again")
        secret = self._secrets.token(client.app_secret) if client.app_secret else None
        envelope = replace(
            self._envelope,
            upload_tag=self._upload_tag(get_client_name(name)),
            partner_agent=client.partner_agent or self._platform.partner_agent,
            appsecret_proof=appsecret_proof(token, secret) if secret else None,
        )
        self[name] = Sender(self._graph, token, envelope)
        return self[name]
