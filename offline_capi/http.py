"""The only HTTP there is: one POST to Meta, and its whole answer. Kept-alive connections, shared between threads."""

from __future__ import annotations

import io
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import parse_url

from offline_capi.errors import ConfigError, TemporaryError

__all__ = ["AnswerLostError", "HttpAnswer", "HttpClient", "HttpRequest", "NotSentError"]

CONNECT_SECONDS = 10.0
_MAX_ANSWER = 4_000_000  # bytes; an answer is a few hundred, a page of a list some ten thousand


class NotSentError(TemporaryError):
    """The endpoint could not be reached: nothing can have been stored."""


class AnswerLostError(TemporaryError):
    """The request went out and no answer came back: it may have been stored."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What goes to ``path``: ``body`` in parts, one after the other. Nothing of it is shown where it is printed."""

    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Sequence[bytes | memoryview] = field(repr=False)


class HttpAnswer(NamedTuple):
    """``headers`` are looked up in any case. A body without an end is cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """POSTs to addresses under ``base``, by the proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY``).

    ``timeout`` is in seconds: for the bytes on their way out, and for the whole answer from then on. Tokens travel in
    headers: proxies and logs keep addresses.
    """

    def __init__(self, base: str, *, timeout: float, connections: int) -> None:
        self._base, self._timeout = base.rstrip("/"), timeout
        self._headers = {"User-Agent": f"offline_capi/{installed_version('offline-capi')}"}
        self._http = _manager(self._base, connections)
        self._http.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def close(self) -> None:
        """Let go of all connections."""
        self._http.clear()

    def post(self, request: HttpRequest) -> HttpAnswer:
        """Send it. Raises ``NotSentError`` or ``AnswerLostError`` where there is no answer to read.

        Which of the two is known for sure: nothing of a body has left that nobody asked for. No variable here holds a
        token in the open: tracebacks may be shown with them.
        """
        body = _Body(request.body)
        try:
            answer = self._http.urlopen(
                "POST",
                f"{self._base}/{request.path}",
                body=body,
                headers={**self._headers, "Content-Length": str(sum(map(len, request.body))), **request.headers},
                retries=False,
                redirect=False,
                timeout=self._timeout,
                pool_timeout=self._timeout,
                preload_content=False,
            )
            try:
                return HttpAnswer(answer.status, answer.headers, answer.read(_MAX_ANSWER))
            finally:  # one that was not read to its end closes its connection
                answer.close()
                answer.release_conn()
        except (HTTPError, HTTPException, OSError) as error:
            fault, what = (AnswerLostError, "answer from") if body.left else (NotSentError, "connection to")
            raise fault(f"no {what} {self._base} ({type(error).__name__})") from None


def _manager(base: str, connections: int) -> urllib3.PoolManager:
    address = urlsplit(base)
    options: dict[str, Any] = {"maxsize": connections, "block": True}
    if address.scheme == "https":
        options["ssl_context"] = _trusting()
    proxies = {} if proxy_bypass(address.netloc) else getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy:
        return urllib3.PoolManager(**options)
    proxy = proxy if "://" in proxy else f"http://{proxy}"  # as all others read it
    user = parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
    try:
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except LocationValueError:  # it may hold a password: its name has to do
        raise ConfigError(
            f"the environment's proxy for {address.scheme} addresses cannot be used: it has to begin with http:// or "
            "https://. Nothing was sent; mend HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY, and run again"
        ) from None


def _trusting() -> ssl.SSLContext:
    """The authorities that the environment names, else Mozilla's: a bare machine has none of its own."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)


class _Body:
    """A body that knows whether anything of it was asked for."""

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts, self.left = parts, False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.left = True
        yield from self._parts


class _InTime:
    """Of a connection: quick to say that nobody is there, patient with what goes out, and strict with answers."""

    sock: Any
    timeout: Any  # seconds

    def connect(self) -> None:
        patience = self.timeout
        self.timeout = min(patience, CONNECT_SECONDS)
        try:
            super().connect()  # type: ignore[misc]  # a connection's, beside which this class stands
        finally:
            self.timeout = patience
        self.sock.settimeout(patience)


class _Answer(HTTPResponse):
    """The limit holds for the whole answer. Between two bytes only, as sockets have it, one could drip for hours."""

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        hurried: Any = _Hurried(sock)  # of a socket, its only use here is to be read
        super().__init__(hurried, *args, **more)


class _Hurried:
    """A socket whose time limit is counted from now on."""

    def __init__(self, sock: Any) -> None:
        self._sock, self._end = sock, time.monotonic() + sock.gettimeout()

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_HurriedReader(self._sock, self._sock.makefile(mode, buffering=0), self._end))


class _HurriedReader(io.RawIOBase):
    def __init__(self, sock: Any, raw: io.RawIOBase, end: float) -> None:
        self._sock, self._raw, self._end = sock, raw, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(_InTime, HTTPConnection):
    response_class = _Answer


class _TlsConnection(_InTime, HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _TlsConnection
