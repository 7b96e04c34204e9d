"""One POST over HTTP, against servers and proxies that do not behave: what is known of it afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from offline_capi.errors import ConfigError
from offline_capi.runtime.http import AnswerLostError, HttpClient, HttpRequest, NotSentError

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
def client(
    port: int, *, host: str = "localhost", scheme: str = "http", timeout: float = 5, connections: int = 1
) -> Iterator[HttpClient]:
    http = HttpClient(f"{scheme}://{host}:{port}", timeout=timeout, connections=connections)
    try:
        yield http
    finally:
        http.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings must not decide."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT") or name.endswith("_CA_BUNDLE"):
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
    """Servers close what stands idle. A request on such a connection would be unconfirmed for nothing."""
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


#: A name that nobody but the proxies of these tests knows.
FAR = "graph.test"


def test_the_environments_proxy_is_used_and_given_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        requests.append(heard(connection))
        connection.sendall(OK)

    with serving(answer) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://jane:p%40ss@127.0.0.1:{port}")
        with client(80, host=FAR) as http:
            http.post(POST)
        monkeypatch.setenv("NO_PROXY", FAR)
        with client(80, host=FAR) as http, pytest.raises(NotSentError):
            http.post(POST)

    assert len(requests) == 1
    assert requests[0].startswith(f"POST http://{FAR}:80/v26.0/1/events HTTP/1.1".encode())
    assert b"authorization: basic " + b64encode(b"jane:p@ss").lower() in requests[0].lower()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_is_never_behind_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    """A shell in a company has these set, and the sandbox stands on this machine."""
    asked: list[bytes] = []
    with socket.create_server(("", 0)) as listener, serving(lambda one: asked.append(heard(one))) as proxy:
        listener.settimeout(10)
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        served = threading.Thread(target=lambda: answering(OK)(listener.accept()[0]))
        served.start()
        with client(listener.getsockname()[1], host=host) as http:
            status = http.post(POST).status
        served.join()

    assert (status, asked) == (200, [])


def test_loopback_of_ipv6_is_never_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "no proxy at all")  # which would be told

    with client(9, host="[::1]") as http, pytest.raises(NotSentError):
        http.post(POST)


def test_p06_a_proxy_that_is_not_there_sent_nothing_and_its_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://jane:hidden@127.0.0.1:{port}")

    with client(443, host=FAR, scheme="https") as http, pytest.raises(NotSentError, match="HTTPS_PROXY") as caught:
        http.post(POST)

    assert "hidden" not in str(caught.value)


NO_PROXIES = {
    "a slash in the password": "http://jane:hid/den@proxy.test:3128",
    "a question mark in the password": "http://jane:hid?den@proxy.test:3128",
    "a blank in the password": "http://jane:hid den@proxy.test:3128",
    "a line break inside": "http://jane:hid\nden@proxy.test:3128",
    "a number sign in the password": "http://jane:hid#den@proxy.test:3128",
    "a word for a port": "http://jane:hidden@proxy.test:PORT",
    "a port that is none": "http://jane:hidden@proxy.test:99999",
    "a path": "http://jane:hidden@proxy.test:3128/proxy.pac",
    "no host": "http://jane:hidden@:3128",
    "nothing but a scheme": "http://",
    "one slash": "http:/jane:hidden@proxy.test:3128",
    "quotes": '"http://jane:hidden@proxy.test:3128"',
    "another protocol": "socks5://jane:hidden@proxy.test:1080",
    "a host with brackets": "http://jane:hidden@[proxy.test]:3128",
    "a host that is too long": f"http://jane:hidden@{'p' * 300}.test:3128",
}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("text", NO_PROXIES.values(), ids=NO_PROXIES)
def test_p09_a_proxy_that_cannot_be_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)

    with (
        pytest.raises((ConfigError, NotSentError), match=name.upper()) as caught,
        client(443, host=FAR, scheme="https") as http,
    ):
        http.post(POST)

    told = str(caught.value)
    assert "\n" not in told
    assert not any(part in told for part in ("hid", "den", "jane"))


@pytest.mark.parametrize("text", [" http://127.0.0.1:{port}", "http://127.0.0.1:{port}\n", "\t127.0.0.1:{port}/ \r\n"])
def test_blanks_and_line_breaks_around_a_proxy_do_not_matter(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with serving(answering(OK)) as port:
        monkeypatch.setenv("HTTP_PROXY", text.format(port=port))
        with client(80, host=FAR) as http:
            assert http.post(POST).status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_asks_for_a_password_is_told_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """In a tunnel it refuses the connection, else it answers itself. Nothing of it passes by waiting."""
    asks = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(asks)

    with serving(answer) as port:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://jane:hidden@127.0.0.1:{port}")
        with client(80, host=FAR, scheme=scheme) as http, pytest.raises(NotSentError) as caught:
            http.post(POST)

    told = str(caught.value)
    assert caught.value.lasting
    assert f"{scheme.upper()}_PROXY" in told
    assert "407" in told
    assert "hidden" not in told


def test_a_proxy_that_refuses_the_host_is_told_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with serving(answer) as port:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{port}")
        with client(443, host=FAR, scheme="https") as http, pytest.raises(NotSentError, match=r"ALL_PROXY.*403"):
            http.post(POST)


def test_a_proxy_that_does_not_speak_tls_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with serving(answer) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{port}")
        with client(443, host=FAR, scheme="https") as http, pytest.raises(NotSentError, match=r"HTTPS_PROXY.*TLS"):
            http.post(POST)


@contextmanager
def over_tls(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(answering(OK), lambda one: context.wrap_socket(one, server_side=True)) as port:
        yield port


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_whoever_names_an_authority_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also where another of these settings names others, as some distributions set one for everybody."""
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv(name, f"  {certificate}\n")

    with over_tls(certificate) as port, client(port, scheme="https") as http:
        assert http.post(POST).status == 200


@pytest.mark.parametrize("name", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_a_folder_of_authorities_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    certificate, folder = self_signed(tmp_path), tmp_path / "authorities"
    folder.mkdir()
    shutil.copy(certificate, folder / "test.pem")
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    monkeypatch.setenv(name, str(folder))

    with over_tls(certificate) as port, client(port, scheme="https") as http:
        assert http.post(POST).status == 200


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x00\xff" * 99])
def test_a_setting_that_names_no_authorities_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(name, str(file))

    with pytest.raises(ConfigError, match=name) as caught, client(443, scheme="https"):
        pass

    assert str(file) in str(caught.value)
    assert "Nothing was sent" in str(caught.value)


def test_an_authority_that_nobody_knows_is_told_with_the_setting_that_would_name_it(tmp_path: Path) -> None:
    """So it is behind a proxy that reads TLS. It is told at once: no second try can help."""
    with (
        over_tls(self_signed(tmp_path)) as port,
        client(port, scheme="https") as http,
        pytest.raises(NotSentError, match="REQUESTS_CA_BUNDLE") as caught,
    ):
        http.post(POST)

    assert caught.value.lasting


def test_a_certificate_that_has_expired_speaks_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, until=datetime.now(UTC) - timedelta(hours=1))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    with (
        over_tls(certificate) as port,
        client(port, scheme="https") as http,
        pytest.raises(NotSentError, match="clock"),
    ):
        http.post(POST)


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
        with client(port, host=FAR, scheme="https") as http:
            answer = http.post(POST)

    assert (answer.status, answer.body) == (200, b"{}")
    assert seen[0].startswith(f"CONNECT {FAR}:{port} HTTP/1.".encode())
    assert b64encode(b"jane:p@ss") in seen[0]
    assert b"secret-token" not in b"".join(seen)
    assert BODY not in b"".join(seen)


def self_signed(folder: Path, until: datetime | None = None) -> Path:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), until or now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName(FAR)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return file
