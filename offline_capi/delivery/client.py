"""A client's way to Meta: events to a pixel, under its token."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from offline_capi.config import Secret
from offline_capi.delivery.payload import Body, Envelope
from offline_capi.meta.graph.response import Answer, read_answer
from offline_capi.runtime.http import HttpClient, HttpRequest

__all__ = ["GraphClient", "Sender"]


class GraphClient:
    """POSTs to ``{graph_url}/{version}/{pixel}/events`` over kept-alive connections; safe to share between threads."""

    def __init__(self, graph_url: str, version: str, *, timeout: float, connections: int = 8) -> None:
        self._http = HttpClient(f"{graph_url.rstrip('/')}/{version}", timeout=timeout, connections=connections)

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._http.close()

    def post_events(self, pixel: str, token: Secret, body: Body) -> Answer:
        """Send one request. Raises ``NotSentError`` or ``AnswerLostError`` where there is no answer to read."""
        told = {"Authorization": f"Bearer {token.reveal()}", "Content-Type": "application/json"}
        return read_answer(*self._http.post(HttpRequest(f"{pixel}/events", told, body)), sent=body)


@dataclass(frozen=True, slots=True)
class Sender:
    """A client's way to Meta: its token and what goes beside its events."""

    graph: GraphClient
    token: Secret
    envelope: Envelope

    def post(self, pixel: str, body: Body) -> Answer:
        return self.graph.post_events(pixel, self.token, body)
