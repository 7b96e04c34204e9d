"""An endpoint that only counts: it reads a POST to its end, counts its events, and says that all were received.

It does as little as HTTP allows, so that a benchmark measures the sender. It is a process of its own and ends when its
parent closes its standard input.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

MARK = b"event_name"  # stands once in every event, in any encoding of the body


class Sink:
    """``with Sink() as sink: …`` gives ``sink.url``; each answer comes ``answer_after_s`` after its request."""

    def __init__(self, answer_after_s: float = 0.0) -> None:
        self._answer_after_s = answer_after_s

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.benchmarks.sink", str(self._answer_after_s)]
        self._process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=10)


def serve(answer_after_s: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)  # noqa: T201  read by the parent
    threading.Thread(target=_accept, args=(listener, answer_after_s), daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def _accept(listener: socket.socket, answer_after_s: float) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer_all, args=(connection, answer_after_s), daemon=True).start()


def _answer_all(connection: socket.socket, answer_after_s: float) -> None:
    with connection:
        buffer = bytearray()
        while _answer_one(connection, buffer, answer_after_s):
            pass


def _answer_one(connection: socket.socket, buffer: bytearray, answer_after_s: float) -> bool:
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not _receive(connection, buffer):
            return False
    head = bytes(buffer[:end]).lower()
    if head.startswith(b"head "):  # what time it is: a sink has no clock
        del buffer[: end + 4]
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return True
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    while len(buffer) < end + 4 + length:
        if not _receive(connection, buffer):
            return False
    events = buffer.count(MARK, end, end + 4 + length)
    del buffer[: end + 4 + length]
    answer = b'{"events_received":%d,"messages":[],"fbtrace_id":"sink"}' % events
    time.sleep(answer_after_s)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
    connection.sendall(head + answer)
    return True


def _receive(connection: socket.socket, buffer: bytearray) -> bool:
    part = connection.recv(1 << 20)
    buffer += part
    return bool(part)


if __name__ == "__main__":
    serve(float(sys.argv[1]))
