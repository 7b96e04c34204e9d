"""The only HTTP there is: one request to Meta, and its whole answer. Kept-alive connections, shared between threads.

What a network between us and Meta asks for stands in the environment, as other tools read it: ``HTTPS_PROXY``,
``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; ``SSL_CERT_FILE``, ``SSL_CERT_DIR``, ``REQUESTS_CA_BUNDLE`` and
``CURL_CA_BUNDLE``.
"""

from __future__ import annotations

import io
import ipaddress
import os
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError, ProxyError

from offline_capi.errors import ConfigError, TemporaryError

__all__ = ["AnswerLostError", "HttpAnswer", "HttpClient", "HttpRequest", "NotSentError"]

CONNECT_SECONDS = 10.0
MAX_LABEL = 64  # characters between two dots of a host's name, one too many (RFC 1035)
_MAX_ANSWER = 4_000_000  # bytes; an answer is a few hundred, a page of a list some ten thousand


class NotSentError(TemporaryError):
    """The endpoint could not be reached: nothing can have been stored.

    ``lasting`` says that somebody has to change a setting first: trying again at once would be in vain.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(message)


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
    """Requests to addresses under ``base``, by the proxy that the environment names; loopback is never behind one.

    ``timeout`` is in seconds: for the bytes on their way out, and for the whole answer from then on. Tokens travel in
    headers: proxies and logs keep addresses. Raises ``ConfigError`` where a setting of the environment cannot be used.
    """

    def __init__(self, base: str, *, timeout: float, connections: int) -> None:
        self._base, self._timeout = base.rstrip("/"), timeout
        self._headers = {"User-Agent": f"offline_capi/{installed_version('offline-capi')}"}
        self._proxy = _find_proxy(self._base)
        self._http = _make_manager(self._base, self._proxy, connections)
        self._http.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def close(self) -> None:
        """Let go of all connections."""
        self._http.clear()

    def post(self, request: HttpRequest) -> HttpAnswer:
        """Send it. Raises ``NotSentError`` or ``AnswerLostError`` where there is no answer to read.

        Which of the two is known for sure: nothing of a body has left that nobody asked for. No variable here holds a
        token in the open: tracebacks may be shown with them.
        """
        headers = {**self._headers, "Content-Length": str(sum(map(len, request.body))), **request.headers}
        return self._send("POST", request.path, _Body(request.body), headers)

    def head(self, path: str) -> HttpAnswer:
        """Ask for the headers of an answer only, without a token. Raises ``NotSentError`` where none came."""
        return self._send("HEAD", path, _Body(()), self._headers)

    def _send(self, method: Literal["POST", "HEAD"], path: str, body: _Body, headers: Mapping[str, str]) -> HttpAnswer:
        try:
            answer = self._http.urlopen(
                method,
                f"{self._base}/{path}",
                body=body if method == "POST" else None,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=self._timeout,
                pool_timeout=self._timeout,
                preload_content=False,
            )
            try:
                got = HttpAnswer(answer.status, answer.headers, answer.read(_MAX_ANSWER))
            finally:  # one that was not read to its end closes its connection
                answer.close()
                answer.release_conn()
        except (HTTPError, HTTPException, OSError) as error:
            if body.left:
                raise AnswerLostError(f"no answer from {self._base} ({type(error).__name__})") from None
            raise self._not_sent(error) from None
        if got.status == 407 and self._proxy:  # without a tunnel, its word is the answer
            raise NotSentError(f"no connection to {self._base}: {self._proxy.setting} {_ASKS_WHO}", lasting=True)
        return got

    def _not_sent(self, error: Exception) -> NotSentError:
        """Which setting is at fault, where one is. Texts of errors are matched and not shown: some hold addresses."""
        why, lasting = _reason_of(error, self._proxy)
        return NotSentError(f"no connection to {self._base}{why or f' ({type(error).__name__})'}", lasting=lasting)


# ---------------------------------------------------------------------------------------------- why nothing was sent

_TRUST = "SSL_CERT_FILE or REQUESTS_CA_BUNDLE"
_ASKS_WHO = (
    "names a proxy that answered 407: it wants a user and a password, or others than those of that setting "
    "(http://user:password@host:port, special characters percent-encoded)"
)
#: OpenSSL's X509_V_ERR codes → what is wrong with a certificate, and what to do.
_NOT_YET, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64
_CERTIFICATES = {
    _NOT_YET: "its certificate is not valid yet: look at this machine's clock (NTP)",
    _EXPIRED: "its certificate has expired: look at this machine's clock (NTP), then at the certificate",
    _OTHER_HOST: "its certificate is another host's: look at graph_url, and at the proxy in between",
    _OTHER_ADDRESS: "its certificate is another host's: look at graph_url, and at the proxy in between",
}


def _reason_of(error: BaseException, proxy: _Proxy | None) -> tuple[str, bool]:
    """In words, and whether it lasts; empty where it may be the network."""
    chain = [*_causes(error)]
    certificate = next((one for one in chain if isinstance(one, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        unknown = (
            "its certificate is signed by an authority that is not trusted here. Behind a proxy that reads TLS, name "
            f"the file of your company's authority in {_TRUST}"
        )
        return f": {_CERTIFICATES.get(certificate.verify_code, unknown)}", True
    if proxy is None or not any(isinstance(one, ProxyError) for one in chain):
        lasting = any(isinstance(one, ssl.SSLError) for one in chain)
        return (": whoever answers there does not speak TLS as we do; look at graph_url" if lasting else ""), lasting
    texts = " ".join(str(one) for one in chain)
    status = re.search(r"Tunnel connection failed: (\d{3})", texts)
    if status and status[1] == "407":
        return f": {proxy.setting} {_ASKS_WHO}", True
    if status:
        return (
            f": the proxy that {proxy.setting} names refused the connection (HTTP {status[1]}); ask who runs it",
            False,
        )
    if "only use HTTP" in texts or any(isinstance(one, ssl.SSLError) for one in chain):
        return f": {proxy.setting} names a proxy that does not speak TLS; let it begin with http://", True
    return f": the proxy that {proxy.setting} names cannot be reached; look at that setting", False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was made from, in all the ways in which the libraries below keep that."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
            yield one


# ---------------------------------------------------------------------------------------------- proxies


@dataclass(frozen=True, slots=True)
class _Proxy:
    """A proxy, its user apart, and the setting that names it."""

    setting: str
    url: str
    headers: Mapping[str, str] | None = field(repr=False)


def _find_proxy(base: str) -> _Proxy | None:
    """The proxy for addresses under ``base``; raises ``ConfigError`` where the environment's cannot be used."""
    address = urlsplit(base)
    if _is_loopback(address.hostname or "") or proxy_bypass(address.netloc):
        return None
    proxies = getproxies()
    for kind in (address.scheme, "all"):
        if (text := proxies.get(kind, "").strip()) and (proxy := _read_proxy(text, _setting_of(kind))):
            return proxy
        if text:  # no variable of the traceback may hold a password
            del text, proxies
            raise ConfigError(
                f"{_setting_of(kind)} cannot be used as a proxy: it looks like http://host:port or "
                "http://user:password@host:port, special characters of user and password percent-encoded (/ is %2F, "
                "@ is %40). Nothing was sent; correct it, or name the host in NO_PROXY, and run again"
            )
    return None


def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _setting_of(kind: str) -> str:
    """The variable; where both cases are set, the lower one wins, as in Python and in curl."""
    upper, lower = f"{kind.upper()}_PROXY", f"{kind}_proxy"
    return f"{upper} (set as {lower})" if os.environ.get(lower) else upper


def _read_proxy(text: str, setting: str) -> _Proxy | None:
    """A proxy as all others write it, the scheme left out or not; ``None`` where it is none."""
    scheme, _, rest = text.rpartition("://")
    user, _, host = rest.rpartition("@")
    named = re.fullmatch(r"(?:\[[0-9a-fA-F:.]+\]|[^\s/?#:@\[\]\\]+)(?::(\d{1,5}))?/?", host)
    fits = named is not None and 0 < int(named[1] or 80) < 65_536 and max(map(len, host.split("."))) < MAX_LABEL
    if scheme.lower() not in ("", "http", "https") or not fits or re.search(r"[\s/?#]", user):
        return None
    basic = f"Basic {b64encode(unquote(user).encode()).decode()}"
    headers = {"proxy-authorization": basic} if user else None
    return _Proxy(setting, f"{scheme.lower() or 'http'}://{host.rstrip('/')}", headers)


def _make_manager(base: str, proxy: _Proxy | None, connections: int) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": connections, "block": True}
    if urlsplit(base).scheme == "https" or (proxy and proxy.url.startswith("https:")):
        options["ssl_context"] = _trusted()
    if proxy is None:
        return urllib3.PoolManager(**options)
    if proxy.url.startswith("https:"):
        options["proxy_ssl_context"] = options["ssl_context"]
    try:
        return urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)
    except (LocationValueError, UnicodeError):
        raise ConfigError(
            f"{proxy.setting} cannot be used as a proxy: its host is none. Nothing was sent; correct it and run again"
        ) from None


# ---------------------------------------------------------------------------------------------- trust

#: Settings that name authorities; OpenSSL's own, then those of other tools, which company-wide set-ups use.
_BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def _trusted() -> ssl.SSLContext:
    """The authorities that the environment names, all of them, else Mozilla's: a bare machine has none of its own.

    All, because some distributions set one of these for everybody, and a company's authority then stands in another.
    """
    named = {name: text for name in _BUNDLES if (text := os.environ.get(name, "").strip())}
    if not named:
        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, text in named.items():
        for path in filter(None, text.split(os.pathsep)) if name == "SSL_CERT_DIR" else [text]:
            _trust(context, name, Path(path))
    return context


def _trust(context: ssl.SSLContext, name: str, path: Path) -> None:
    wants_folder = name == "SSL_CERT_DIR"
    if path.is_dir() and name != "SSL_CERT_FILE":
        context.load_verify_locations(capath=path)
        return
    try:
        context.load_verify_locations(cafile=path)
        fault = "which is no folder" if wants_folder else None
    except FileNotFoundError:
        fault = "which does not exist"
    except ssl.SSLError:
        fault = f"which {'is no folder' if wants_folder else 'holds no certificate (PEM)'}"
    except (OSError, ValueError):
        fault = "which cannot be read"
    if fault:
        raise ConfigError(
            f"{name} names {path}, {fault}. Nothing was sent; correct that setting or remove it, and run again"
        )


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
