"""The sandbox as a process: it starts, it ends, it never outlives the one that started it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from offline_capi.errors import UsageError
from offline_capi.sandbox import GrantSpec, SandboxServer, SandboxSpec, run_sandbox
from tests.sandbox.conftest import Post
from tests.sandbox.events import EM, lead, purchase
from tests.support.sandbox_server import PIXEL, Sandbox


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_lives_as_long_as_its_block() -> None:
    with SandboxServer() as server:
        alive = _listens(server.port)

    assert alive
    assert not _listens(server.port)


def test_a_server_stops_at_once_even_amid_a_slow_answer() -> None:
    with SandboxServer() as server, httpx.Client(base_url=server.url, timeout=2) as client:
        server.tell("POST", "faults", {"kind": "slow", "delay": 3600})
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"/v26.0/{PIXEL}/events", json={"data": [lead()], "access_token": "any"})

    assert not _listens(server.port)


def test_a_server_ends_with_a_parent_that_was_killed() -> None:
    program = (
        "import os, signal; from offline_capi.sandbox import SandboxServer; server = SandboxServer().start();"
        "print(server.port, flush=True); print(server._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)

    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    parent.stdout.read()  # ends when the last holder of the pipe, the sandbox, has ended
    parent.wait()

    assert parent.returncode == -9
    assert not _listens(port)


def test_without_grants_every_token_may_write() -> None:
    with SandboxServer() as server, httpx.Client(base_url=server.url) as client:
        answer = client.post("/v26.0/77777/events", json={"data": [lead()], "access_token": "any"})

    assert answer.json()["events_received"] == 1


def test_a_sink_counts_and_keeps_nothing() -> None:
    with SandboxServer(SandboxSpec(sink=True)) as server, httpx.Client(base_url=server.url) as client:
        answer = client.post(f"/v26.0/{PIXEL}/events", json={"data": [lead("a"), lead("b")]})
        totals = server.get("totals")[PIXEL]

    assert answer.json()["events_received"] == 2
    assert (totals["events"], totals["stored"]) == (2, 0)


def test_a_taken_port_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port} .*Choose another port"):
            run_sandbox(port=port)


def test_tokens_do_not_show_in_the_settings() -> None:
    assert "EAAsecret" not in repr(SandboxSpec(grants=[GrantSpec("EAAsecret", ["1"], "hush-EAAsecret")]))


# ---------------------------------------------------------------------------------------------- the page


def test_the_page_shows_pixels_requests_events_and_faults(sandbox: Sandbox, post: Post, client: httpx.Client) -> None:
    post(purchase("o-77"))
    sandbox.fail_next(429, times=3)

    page = client.get("/").text

    assert all(word in page for word in (PIXEL, "o-77", "Purchase", "unavailable"))


def test_the_page_holds_no_customer_data(sandbox: Sandbox, post: Post, client: httpx.Client) -> None:
    """Names of keys only, no digest, no address, no device."""
    post(lead(user_data={"em": [EM], "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0"}))

    shown = client.get("/").text + client.get("/_sandbox/view").text

    assert "client_ip_address" in shown
    assert not any(value in shown for value in (EM, "203.0.113.7", "Mozilla/5.0"))


def test_the_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", client.get("/").text)


def test_an_event_id_cannot_break_out_of_the_page(post: Post, client: httpx.Client) -> None:
    post(lead("</script><script>alert(1)</script>"))

    assert "<script>alert" not in client.get("/").text


def test_the_sandbox_shares_nothing_with_the_rooms_it_judges() -> None:
    """A second opinion must not ask the first."""
    room = Path(__file__).parents[2] / "offline_capi" / "sandbox"
    own = re.compile(r"^\s*(?:from|import) offline_capi\.(?!sandbox\b|errors\b)", re.MULTILINE)

    assert [path.name for path in room.glob("*.py") if own.search(path.read_text(encoding="utf-8"))] == []
