"""One POST over HTTP, against servers and proxies that do not behave: what is known of it afterwards."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from offline_capi.errors import ConfigError
from offline_capi.http import AnswerLostError, HttpClient, HttpRequest, NotSentError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
POST = HttpRequest("v26.0/1/events", {"Authorization": "Bearer secret-token"}, (b'{"data":[', memoryview(b"1"), b"]}"))
BODY = b'{"data":[1]}'

Answering = Callable[[socket.socket], None]


@contextmanager
def serving(answer: Answering, wrapped: Callable[[socket.socket], socket.socket] = lambda one: one) -> Iterator[int]:
    """A server that lets ``answer`` have each connection, one after the other; gives its port."""

    def serve() -> None:
        with suppress(OSError):  # until it is closed
            while True:
                with listener.accept()[0] as accepted, suppress(OSError), wrapped(accepted) as connection:
                    connection.settimeout(10)
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def heard(connection: socket.socket) -> bytes:
    """One request as it was on the wire."""
    text = b""
    while b"\r\n\r\n" not in text or not text.endswith(BODY):
        part = connection.recv(65_536)
        if not part:
            break
        text += part
    return text


def answering(*answers: bytes) -> Answering:
    """Each request of a connection gets the next of these; then it is closed."""

    def answer(connection: socket.socket) -> None:
        for one in answers:
            if heard(connection):
                connection.sendall(one)

    return answer


@contextmanager
def client(port: int, *, scheme: str = "http", timeout: float = 5, connections: int = 1) -> Iterator[HttpClient]:
    http = HttpClient(f"{scheme}://localhost:{port}", timeout=timeout, connections=connections)
    try:
        yield http
    finally:
        http.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings must not decide."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


# ---------------------------------------------------------------------------------------------- sent, or not


def test_a_body_in_parts_arrives_as_one_with_its_headers() -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        requests.append(heard(connection))
        connection.sendall(OK)

    with serving(answer) as port, client(port) as http:
        got = http.post(POST)

    head, body = requests[0].split(b"\r\n\r\n")
    assert (got.status, got.body, body) == (200, b"{}", BODY)
    assert head.startswith(b"POST /v26.0/1/events HTTP/1.1")
    assert b"Content-Length: 12" in head
    assert b"Authorization: Bearer secret-token" in head
    assert b"User-Agent: offline_capi/" in head


def test_p06_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with client(port) as http, pytest.raises(NotSentError):
        http.post(POST)


def test_p06_where_no_trust_comes_about_nothing_was_sent() -> None:
    """Nobody there who speaks TLS: the body stayed here, and that is known."""
    with serving(answering(OK)) as port, client(port, scheme="https") as http, pytest.raises(NotSentError):
        http.post(POST)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{",
        b"no such protocol\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["none", "cut", "cut in a chunk", "another protocol", "not what it says"],
)
def test_p06_what_went_out_and_was_not_answered_may_be_stored(answer: bytes) -> None:
    with serving(answering(answer)) as port, client(port) as http, pytest.raises(AnswerLostError) as caught:
        http.post(POST)

    assert "secret-token" not in str(caught.value)


def test_p06_a_connection_that_was_closed_meanwhile_is_not_used_for_the_next_request() -> None:
    """Servers close what stands idle. A request on such a connection would be in doubt for nothing."""
    with serving(answering(OK)) as port, client(port) as http:
        for _ in range(3):
            assert http.post(POST).status == 200
            time.sleep(0.05)  # its end has come by now


def test_an_answer_is_read_that_comes_before_the_whole_body_left() -> None:
    """A proxy says 413 and reads no further."""
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(refused)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass

    with serving(answer) as port, client(port) as http:
        got = http.post(HttpRequest("1/events", {}, (bytes(20_000_000),)))

    assert got.status == 413


def test_an_answer_without_an_end_is_cut_and_its_place_is_free_again() -> None:
    def answer(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    with serving(answer) as port, client(port) as http:
        sizes = [len(http.post(POST).body) for _ in range(2)]

    assert sizes[0] == sizes[1] < 10_000_000


def test_where_it_is_sent_to_no_redirect_leads_elsewhere() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with serving(answering(moved)) as port, client(port) as http:
        assert http.post(POST).status == 307


# ---------------------------------------------------------------------------------------------- proxies, trust


def test_the_environments_proxy_is_used_and_given_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        requests.append(heard(connection))
        connection.sendall(OK)

    with serving(answer) as port, serving(answering(OK)) as direct:
        monkeypatch.setenv("HTTP_PROXY", f"http://jane:p%40ss@127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://jane:p%40ss@127.0.0.1:{port}")
        with client(direct) as http:
            http.post(POST)
        monkeypatch.setenv("NO_PROXY", "localhost")
        monkeypatch.setenv("no_proxy", "localhost")
        with client(direct) as http:
            http.post(POST)

    assert len(requests) == 1
    assert requests[0].startswith(f"POST http://localhost:{direct}/v26.0/1/events HTTP/1.1".encode())
    assert b"authorization: basic " + b64encode(b"jane:p@ss").lower() in requests[0].lower()


def test_p06_a_proxy_that_is_not_there_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")

    with client(443, scheme="https") as http, pytest.raises(NotSentError):
        http.post(POST)


def test_a_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://jane:hidden@127.0.0.1:1")

    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught, client(443, scheme="https"):
        pass

    assert "hidden" not in str(caught.value)


def test_p09_over_tls_only_whom_the_authorities_know_is_sent_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that only ``SSL_CERT_FILE`` knows; the time limit holds there too."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def slow(connection: socket.socket) -> None:
        heard(connection)
        for byte in OK:
            connection.sendall(bytes([byte]))
            time.sleep(0.2)

    def wrapped(one: socket.socket) -> socket.socket:
        return context.wrap_socket(one, server_side=True)

    with serving(answering(OK), wrapped) as port:
        with client(port, scheme="https") as http, pytest.raises(NotSentError):
            http.post(POST)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with client(port, scheme="https") as http:
            assert http.post(POST).body == b"{}"
    started = time.monotonic()
    with (
        serving(slow, wrapped) as port,
        client(port, scheme="https", timeout=2) as http,
        pytest.raises(AnswerLostError),
    ):
        http.post(POST)

    assert time.monotonic() - started < 7


def test_p09_a_proxy_sees_nothing_of_what_goes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name may stand there without a scheme. It is asked for a tunnel, and given its password alone."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: list[bytes] = []

    def tunnel(connection: socket.socket) -> None:
        seen.append(connection.recv(65_536))
        with socket.create_connection(("127.0.0.1", port)) as target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, connection, []))
            back.start()
            pump(connection, target, seen)
            back.join()

    def pump(source: socket.socket, sink: socket.socket, kept: list[bytes]) -> None:
        with suppress(OSError):
            while part := source.recv(65_536):
                kept.append(part)
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = serving(answering(OK), lambda one: context.wrap_socket(one, server_side=True))
    with tls as port, serving(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"jane:p%40ss@127.0.0.1:{proxy}")
        with client(port, scheme="https") as http:
            answer = http.post(POST)

    assert (answer.status, answer.body) == (200, b"{}")
    assert seen[0].startswith(f"CONNECT localhost:{port} HTTP/1.".encode())
    assert b64encode(b"jane:p@ss") in seen[0]
    assert b"secret-token" not in b"".join(seen)
    assert BODY not in b"".join(seen)


def self_signed(folder: Path) -> Path:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return file
