"""The only HTTP that carries events: one POST, one answer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from types import TracebackType

import httpx

from offline_capi.config import Secret
from offline_capi.delivery.answers import Answer, read_answer
from offline_capi.delivery.payload import Envelope
from offline_capi.errors import TemporaryError

__all__ = ["AnswerLostError", "GraphClient", "NotSentError", "Sender"]

CONNECT_SECONDS = 10.0
_MAX_ANSWER = 1_000_000  # bytes; an answer is a few hundred


class NotSentError(TemporaryError):
    """The endpoint could not be reached: nothing can have been stored."""


class AnswerLostError(TemporaryError):
    """The request went out and no answer came back: it may have been stored."""


class GraphClient:
    """POSTs to ``{graph_url}/{version}/{pixel}/events`` over kept-alive connections; safe to share between threads.

    The token travels in the ``Authorization`` header: httpx logs every URL at INFO, and proxies log them too.
    """

    def __init__(self, graph_url: str, version: str, *, timeout: float, connections: int = 8) -> None:
        self._base, self._timeout = f"{graph_url.rstrip('/')}/{version}", timeout
        self._http = httpx.Client(
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={
                "User-Agent": f"offline_capi/{installed_version('offline-capi')}",
                "Content-Type": "application/json",
            },
            follow_redirects=False,
        )

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._http.close()

    def post_events(self, pixel: str, token: Secret, body: bytes) -> Answer:
        """Send one request. Raises ``NotSentError`` or ``AnswerLostError`` where there is no answer to read."""
        headers = {"Authorization": f"Bearer {token.reveal()}", "Content-Length": str(len(body))}
        # An iterator is empty once it is read. Bytes would stay with httpx's answer, which holds itself in a cycle: a
        # hundred bodies waited for the garbage collector.
        once, url = iter((body,)), f"{self._base}/{pixel}/events"
        try:
            with self._http.stream("POST", url, content=once, headers=headers, timeout=self._limits()) as answer:
                return read_answer(answer.status_code, answer.headers, _front(answer))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NotSentError(f"no connection to {self._base} ({type(error).__name__})") from None
        except httpx.RequestError as error:
            raise AnswerLostError(f"no answer from {self._base} ({type(error).__name__})") from None

    def _limits(self) -> httpx.Timeout:
        whole_answer = _TimeLeft(self._timeout)
        return httpx.Timeout(
            self._timeout,
            connect=min(CONNECT_SECONDS, self._timeout),
            read=whole_answer,  # type: ignore[arg-type]  # seconds all the same: it goes to socket.settimeout unseen
        )


class _TimeLeft:
    """Seconds that are left for an answer, from the first read of it on; a socket asks for them before each read.

    As a plain number it would be the limit between two bytes only, and an answer could drip for hours.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, 0.0

    def __index__(self) -> int:
        self._end = self._end or time.monotonic() + self._seconds
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return math.ceil(left)


def _front(answer: httpx.Response) -> bytes:
    """The body, or as much of one as an answer of Meta's could have."""
    body = b""
    for part in answer.iter_bytes():
        body += part
        if len(body) > _MAX_ANSWER:
            break
    return body[:_MAX_ANSWER]


@dataclass(frozen=True, slots=True)
class Sender:
    """A client's way to Meta: its token and what goes beside its events."""

    graph: GraphClient
    token: Secret
    envelope: Envelope

    def post(self, pixel: str, body: bytes) -> Answer:
        return self.graph.post_events(pixel, self.token, body)
