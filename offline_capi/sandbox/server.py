"""Serve a sandbox: in the foreground for a person, in a process of its own for a program."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from offline_capi.errors import UsageError
from offline_capi.sandbox.access import Access
from offline_capi.sandbox.app import create_app
from offline_capi.sandbox.graph import TRANSPORT
from offline_capi.sandbox.memory import Memory
from offline_capi.sandbox.state import SandboxState

__all__ = ["GrantSpec", "SandboxServer", "SandboxSpec", "run_sandbox"]

Tallied = tuple[str, str, str | None, int, int]

_START_WITHIN = 30.0
_STOP_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class GrantSpec:
    """A token and the pixels that it may write to (``"*"``: all)."""

    token: str = field(repr=False)
    pixels: Sequence[str] = ()
    app_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """How a sandbox starts. Without grants every token may write to every pixel."""

    grants: Sequence[GrantSpec] = ()
    keep_bodies: bool = True
    bad_event: Literal["reject_all", "keep_valid"] = "reject_all"
    sink: bool = False
    #: Names and addresses under which it answers, beside those of this machine.
    hosts: Sequence[str] = ()

    def to_state(self) -> SandboxState:
        access = Access(anyone=not self.grants)
        for grant in self.grants:
            access.grant(grant.token, grant.pixels, grant.app_secret)
        memory = Memory(keep_bodies=self.keep_bodies)
        return SandboxState(access, memory, bad_event=self.bad_event, sink=self.sink)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        data = json.loads(text)
        return cls(**{**data, "grants": [GrantSpec(**grant) for grant in data["grants"]]})


# ---------------------------------------------------------------------------------------------- serving


class _CuttableProtocol(H11Protocol):
    """Leaves the connection in the scope, so that a fault can close the socket under the sender."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        app: Any = self.app

        async def with_transport(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            scope[TRANSPORT] = transport  # type: ignore[literal-required]
            await app(scope, receive, send)

        self.app = with_transport


def _server(app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=_CuttableProtocol,
        loop="asyncio",
        lifespan="off",
        log_level="critical",  # other levels would print query strings, which may hold a token
        access_log=False,
        date_header=False,  # the application has its own clock
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "no such port"
        raise UsageError(
            f"The sandbox cannot listen on {host}:{port} ({why}). Choose another port, or 0 for a free one."
        ) from error


def run_sandbox(
    host: str = "127.0.0.1",
    port: int = 8420,
    spec: SandboxSpec | None = None,
    *,
    on_listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve in the foreground until interrupted; ``on_listening`` is given the port once it is open.

    Raises ``UsageError`` where the port is taken.
    """
    spec = spec or SandboxSpec()
    with _listen(host, port) as listener:
        on_listening(listener.getsockname()[1])
        serve(listener, replace(spec, hosts=[*spec.hosts, host]))


def serve(listener: socket.socket, spec: SandboxSpec, *, until: threading.Event | None = None) -> None:
    """Serve on an open socket until interrupted, or until ``until`` is set."""
    server = _server(create_app(spec.to_state(), spec.hosts))
    if until is not None:
        threading.Thread(target=_stop_when, args=(server, until), daemon=True).start()
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _stop_when(server: uvicorn.Server, event: threading.Event) -> None:
    event.wait()
    server.should_exit = True


# ---------------------------------------------------------------------------------------------- a server of one's own


class SandboxServer:
    """A sandbox in a process of its own, on a free loopback port, gone when the block or this process ends.

    It asks and instructs over HTTP, as any other program could; see ``/_sandbox/openapi.json`` for all questions.
    """

    def __init__(self, spec: SandboxSpec | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.spec = spec or SandboxSpec()
        self.host = host
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """What to put into ``graph_url``."""
        return f"http://{self.host}:{self.port}"

    # ------------------------------------------------------------------------------------------ life

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        with _listen(self.host, self.port) as listener:
            self.port = listener.getsockname()[1]
            self._process = _spawn(listener, self.spec)
        self._await_ready()
        return self

    def _await_ready(self) -> None:
        """The socket listens already, so the first question simply waits for its answer."""
        try:
            self.get("health", timeout=_START_WITHIN)
        except OSError as error:
            self.stop()
            raise UsageError(f"The sandbox did not start within {_START_WITHIN:g} seconds.") from error

    def stop(self) -> None:
        """End the process; safe to repeat."""
        if process := self._process:
            self._process = None
            _end(process)

    # ------------------------------------------------------------------------------------------ questions

    def get(self, path: str, timeout: float = 60.0, **query: Any) -> Any:
        """The answer to a question under ``/_sandbox/``; parameters that are ``None`` are left out."""
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        return json.loads(self._ask("GET", f"{path}?{asked}", timeout=timeout))

    def tell(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Give an instruction under ``/_sandbox/``."""
        return json.loads(self._ask(method, path, json.dumps(body) if body is not None else None))

    def tally(self, pixel: str | None = None) -> list[Tallied]:
        """Every event as (pixel, event_name, event_id, times it counted, times it came)."""
        return list(self.tallied(pixel))

    def tallied(self, pixel: str | None = None) -> Iterator[Tallied]:
        """The same one by one, for more events than memory should hold."""
        with self._answer("GET", f"tally?{urlencode({'pixel': pixel} if pixel else {})}") as answer:
            yield from (tuple(json.loads(line)) for line in answer)

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._process.pid if self._process else 0

    def _ask(self, method: str, path: str, body: str | None = None, timeout: float = 60.0) -> str:
        with self._answer(method, path, body, timeout) as answer:
            return answer.read().decode()

    @contextmanager
    def _answer(
        self, method: str, path: str, body: str | None = None, timeout: float = 60.0
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with closing(connection):
            connection.request(method, f"/_sandbox/{path}", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise UsageError(f"The sandbox refused {method} {path}: {answer.read().decode()}")
            yield answer


def _spawn(listener: socket.socket, spec: SandboxSpec) -> subprocess.Popen[str]:
    """Settings go through the pipe, not the arguments, where every user of the machine could read a token."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-P", "-m", "offline_capi.sandbox", str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        text=True,
        start_new_session=True,  # Ctrl-C reaches the whole group; the parent decides when the sandbox ends
    )
    if process.stdin:
        process.stdin.write(spec.to_json() + "\n")
        process.stdin.flush()
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """Closing the pipe asks it to stop; a process that does not is killed."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
