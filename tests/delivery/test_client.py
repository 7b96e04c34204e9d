"""One POST and its answer, against servers that do not speak as they should."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from offline_capi.config import Secret
from offline_capi.meta.graph.client import GraphClient
from offline_capi.runtime.http import AnswerLostError
from tests.delivery.sending import VERSIONS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "in its first line": (b"", b"HTTP/1.1 200 OK\r\n" * 9),
    "in a header": (HEAD, b"X-Endless: " + b"a" * 99),
    "in its body": (HEAD + b"Content-Length: 99\r\n\r\n", b" " * 99),
    "between two pieces of its body": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 9),
}


@contextmanager
def dripping(at_once: bytes, then: bytes) -> Iterator[str]:
    """A server that answers with ``at_once``, and ``then`` byte by byte, each well within a time limit of a second."""
    gone = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # the client has left
            connection.recv(65_536)
            connection.sendall(at_once)
            for byte in then:
                connection.sendall(bytes([byte]))
                gone.wait(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        gone.set()
        server.join()


@pytest.mark.parametrize(("at_once", "then"), DRIPS.values(), ids=DRIPS)
def test_p06_an_answer_that_drips_is_given_up_when_its_time_is_over(at_once: bytes, then: bytes) -> None:
    """The time limit holds for the whole answer, not between two bytes only. It is over before the server's last."""
    with dripping(at_once, then) as url, GraphClient(url, VERSIONS, timeout_s=1) as graph:
        started = time.monotonic()
        with pytest.raises(AnswerLostError):
            graph.post_events("1", Secret("token"), (b"{}",))

    assert time.monotonic() - started < 8
