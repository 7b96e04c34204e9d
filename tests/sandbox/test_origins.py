"""A page of another site, open in the browser of whoever runs the sandbox, neither reads nor changes it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from offline_capi.sandbox import SandboxServer, SandboxSpec
from tests.support.sandbox_server import Sandbox


@pytest.fixture(scope="module")
def named() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxSpec(hosts=["graph-sandbox"])) as server:
        yield server


def ask(server: SandboxServer, method: str, path: str, host: str | None = None, origin: str | None = None) -> int:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    headers = {"Host": host or f"{server.host}:{server.port}", "Origin": origin, "Content-Length": "0"}
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


PATHS = ["/_sandbox/events", "/_sandbox/requests", "/", "/v26.0/me", "/_sandbox/openapi.json"]
FOREIGN = [
    "evil.example",
    "evil.example:8420",
    "127.0.0.1.evil.example",
    "10.0.0.7",
    "localhost.evil.example",
    "[::2]",
    "0",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", FOREIGN)
def test_p23_another_name_is_not_answered(sandbox: Sandbox, path: str, host: str):
    """By DNS rebinding a page of ``evil.example`` read what the sandbox was sent (L5)."""
    assert ask(sandbox.server, "GET", path, host=host) == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]:1", "localhost:8420", "a.localhost", "127.1.2.3"])
def test_the_names_of_this_machine_are(sandbox: Sandbox, host: str):
    assert ask(sandbox.server, "GET", "/_sandbox/health", host=host) == 200


def test_so_is_a_name_that_was_given_and_no_other(named: SandboxServer):
    assert ask(named, "GET", "/_sandbox/health", host="graph-sandbox:8420") == 200
    assert ask(named, "GET", "/_sandbox/health", host="graph-sandbox.evil.example") == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/_sandbox/reset"), ("POST", "/v26.0/123/events"), ("GET", "/_sandbox/events")]
)
def test_p23_a_page_of_another_origin_changes_and_reads_nothing(sandbox: Sandbox, method: str, path: str, origin: str):
    """``fetch("http://127.0.0.1:8420/_sandbox/reset", {method: "POST"})`` of any page forgot all (L5)."""
    assert ask(sandbox.server, method, path, origin=origin) == 403


def test_its_own_page_and_programs_are_served(sandbox: Sandbox):
    own = f"http://127.0.0.1:{sandbox.server.port}"

    assert ask(sandbox.server, "POST", "/_sandbox/reset", origin=own) == 200
    assert ask(sandbox.server, "POST", "/_sandbox/reset") == 200
    assert ask(sandbox.server, "GET", "/", origin=own) == 200
