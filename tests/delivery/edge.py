"""The sandbox without a socket: its own edge, called in this process. Quick enough for a thousand nights."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from offline_capi.delivery import Envelope
from offline_capi.delivery.payload import Body
from offline_capi.meta.graph.response import Response, parse_response
from offline_capi.runtime.http import AnswerLostError
from offline_capi.sandbox import Fault, SandboxState, create_app
from offline_capi.sandbox.access import Access
from offline_capi.sandbox.graph import TRANSPORT, EventsEdge


@dataclass(frozen=True)
class Way:
    """A client's way to the edge; ``delivery.Sender`` with another wire."""

    edge: Edge
    token: str
    envelope: Envelope = field(default_factory=Envelope)

    def post(self, pixel: str, body: Body) -> Response:
        return self.edge.answer(pixel, self.token, b"".join(body))


class Edge:
    """A sandbox whose events and faults a test can reach directly; its clock stands where the test puts it."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """``tokens``: pixel → the one token that may write to it."""
        self.state = SandboxState(Access())
        for pixel, token in tokens.items():
            self.state.access.grant(token, [pixel])
        self._app, self._edge = create_app(self.state), EventsEdge()
        self._loop, self._lock = asyncio.new_event_loop(), Lock()

    def close(self) -> None:
        self._loop.close()

    def fault(self, kind: str, **more: Any) -> None:
        self.state.faults.add(Fault(kind=kind, **more))

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.state.memory.requests(limit=1_000_000)

    def answer(self, pixel: str, token: str, body: bytes) -> Response:
        """What a POST is answered; raises ``AnswerLostError`` where the connection is cut."""
        exchange = _Exchange(body)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        scope = {
            "type": "http",
            "method": "POST",
            "app": self._app,
            "path_params": {"version": "v26.0", "pixel": pixel},
            "query_string": b"",
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
            TRANSPORT: exchange,
        }
        with self._lock:
            self._loop.run_until_complete(self._edge(scope, exchange.receive, exchange.send))
        if exchange.aborted:
            raise AnswerLostError("the connection was cut")
        return parse_response(exchange.status, exchange.headers, exchange.body)


class _Exchange:
    """One request and its answer, as ASGI tells them; it is its own transport too."""

    def __init__(self, body: bytes) -> None:
        self.receive = partial(self._next, iter([{"type": "http.request", "body": body}]))
        self.status, self.headers, self.body, self.aborted = 0, {}, b"", False  # type: tuple[int, dict[str, str], bytes, bool]

    def abort(self) -> None:
        self.aborted = True

    async def _next(self, messages: Any) -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        else:
            self.body += message["body"]
