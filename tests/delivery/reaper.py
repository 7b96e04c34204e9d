"""An endpoint that kills: it stands between the command and the sandbox, and SIGKILLs at a chosen point."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

#: Points of one exchange at which the command can die, in their order.
POINTS = (
    "connected",  # the intent is written, nothing has left
    "on its way",  # Meta has the head and nothing else
    "arrived",  # the whole request is there, and not stored
    "stored",  # Meta has the events, and has not answered
    "half answered",
    "answered",  # the outcome is not in the ledger yet, or just being written
)


class Death(NamedTuple):
    """At which of the run's requests, at which point of it, and how many seconds later."""

    request: int
    point: str
    later: float = 0.0


@dataclass
class Reaper:
    """``with Reaper(sandbox.url) as reaper``: ``reaper.url`` is the endpoint; ``lie_in_wait`` chooses a death."""

    target: str
    death: Death | None = None
    victim: int = 0
    came: int = 0
    struck: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def lie_in_wait(self, death: Death | None) -> None:
        """For the process whose id ``victim`` will hold; requests are counted from one again."""
        self.death, self.came, self.victim = death, 0, 0
        self.struck.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the other end is dead
            while self._exchange(connection):
                pass

    def _exchange(self, connection: socket.socket) -> bool:
        """One request and its answer; False where there is no more."""
        start = connection.recv(1, socket.MSG_PEEK)
        if not start:
            return False
        if start == b"H":  # the HEAD before a run, for the hour: nothing is sent by it
            with connection.makefile("rb") as wire:
                wire.readline()
                http.client.parse_headers(wire)
            now = formatdate(usegmt=True).encode()
            connection.sendall(b"HTTP/1.1 400 .\r\nDate: %b\r\nContent-Length: 0\r\n\r\n" % now)
            return True
        with self._lock:
            self.came += 1
            number = self.came
        if self._reached(number, "connected"):
            return False
        with connection.makefile("rb") as wire:
            path = wire.readline().split()[1].decode()
            headers = http.client.parse_headers(wire)
            if self._reached(number, "on its way"):
                return False
            body = wire.read(int(headers["Content-Length"]))
        if self._reached(number, "arrived"):
            return False
        kept = {name: headers[name] for name in ("Authorization", "Content-Type")}
        status, answer = self._forward(path, body, kept)
        if self._reached(number, "stored"):
            return False
        whole = b"HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(answer))
        if self.death and self.death[:2] == (number, "half answered"):
            connection.sendall(whole + answer[: len(answer) // 2])
            return not self._reached(number, "half answered")
        connection.sendall(whole + answer)
        return not self._reached(number, "answered")

    def _forward(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        sandbox = urlsplit(self.target)
        to = http.client.HTTPConnection(sandbox.hostname or "", sandbox.port, timeout=30)
        try:
            to.request("POST", path, body, headers)
            answer = to.getresponse()
            return answer.status, answer.read()
        finally:
            to.close()

    def _reached(self, number: int, point: str) -> bool:
        """Kill, if this is the point; the dead send and read nothing more."""
        if self.death is None or self.death[:2] != (number, point):
            return False
        time.sleep(self.death.later)
        while not self.victim:  # its starter is about to say
            time.sleep(0.001)
        os.kill(self.victim, signal.SIGKILL)
        self.struck.set()
        return True
