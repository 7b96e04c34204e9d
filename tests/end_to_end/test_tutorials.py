"""The pages' commands and programs are run as they are written: the first event, and the Python on the pages."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(page: str, language: str) -> list[str]:
    return [block for kind, block in FENCE.findall((DOCS / page).read_text("utf-8")) if kind == language]


def split_session(block: str) -> tuple[list[str], list[str]]:
    """What is typed, documents included, and what is printed."""
    typed: list[str] = []
    printed: list[str] = []
    document = False
    for line in block.splitlines():
        if line.startswith("$ ") or document:
            typed.append(line.removeprefix("$ "))
            document = line != "EOF" and (document or line.endswith("<<EOF"))
        else:
            printed.append(line)
    return typed, printed


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """Of a person in the zone of the tutorial's shop, whose `date` and whose upload speak of one yesterday."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OFFLINE_CAPI_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "COLUMNS": "120", "TZ": "America/New_York"}


def follow(page: str, home: Path, environ: dict[str, str], port: int) -> str:
    """Everything that a tutorial prints, typed in this folder as it is written; the sandbox on a port of our own."""
    typed = [line for block in blocks_of(page, "console") for line in split_session(block)[0]]
    script = "\n".join(typed).replace("127.0.0.1:8420", f"127.0.0.1:{port}")
    listens = f"until (echo > /dev/tcp/127.0.0.1/{port}); do sleep 0.2; done 2> /dev/null"
    started = f"sandbox --port {port} > sandbox.log &\n{listens}"
    script = "set -m\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n" + script.replace("sandbox > sandbox.log &", started)
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", script], cwd=home, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def missing_lines(page: str, said: str) -> list[str]:
    """What a page shows and the commands did not print, line by line in this order; columns may be wider."""
    shown = [
        " ".join(line.split())
        for block in blocks_of(page, "console")
        for line in split_session(block)[1]
        if line.strip()
    ]
    assert shown
    printed = [" ".join(line.split()) for line in said.splitlines()]
    missing = []
    for line in shown:
        if line in printed:
            printed = printed[printed.index(line) + 1 :]
        else:
            missing.append(line)
    return missing


@pytest.fixture(scope="module")
def session(home: Path, environ: dict[str, str], port: int) -> str:
    return follow("tutorials/first-event.md", home, environ, port)


def test_the_first_tutorial_prints_what_it_shows(session: str):
    assert missing_lines("tutorials/first-event.md", session) == []


def test_the_tutorial_of_airflow_prints_what_it_shows(session: str, home: Path, environ: dict[str, str], port: int):
    """In the folder that the first one made, with Airflow's own command line."""
    assert "3 read = 3 already sent" in session

    said = follow("tutorials/airflow.md", home, environ, port)

    assert missing_lines("tutorials/airflow.md", said) == []
    assert "offline_capi__sales" in said


def test_the_program_for_platforms_runs(session: str, home: Path, environ: dict[str, str]):
    """In the folder that the tutorial made, with nothing to reach: everything was sent."""
    assert "3 read = 3 already sent" in session
    (program,) = blocks_of("how-to/embed.md", "python")
    program += "\nprint(sorted(for_client['rows']), figures['sent'], page.count('<svg'), page.count('corner'))"
    settings = {
        "OFFLINE_CAPI_LEDGER": "sqlite:///rehearsal.db",
        "OFFLINE_CAPI_GRAPH_URL": "http://127.0.0.1:9",
        "ACME_TOKEN": "any",
    }

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        env={**environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "'already_sent', 'deferred', 'expired', 'invalid', 'read', 'rejected_by_meta', 'sent'" in done.stdout
    assert "] 3 2 0" in done.stdout, "all events of the tutorial, by number and by value"


def test_the_program_that_hashes_a_frame_runs(environ: dict[str, str]):
    (program,) = blocks_of("reference/python.md", "python")

    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "f2f3041fac62" in done.stdout  # SHA-256 of mara@example.com
