"""A Redis server for tests: Debian's, private, and gone at the end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["HOW_TO_GET_ONE", "find_binary", "running_redis"]

PASSWORD = "not-a-secret"
HOW_TO_GET_ONE = "no Redis here: `apt-get install redis-server`"
PATIENCE = 20


def find_binary() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


@contextmanager
def running_redis(binary: Path) -> Iterator[str]:
    """Run a server on a free loopback port, in memory only; yields its URL, stops it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="offline_capi_redis_") as home:
        port, settings = _free_port(), Path(home) / "redis.conf"
        settings.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave ""\ndir {home}\nlogfile log\n')
        with subprocess.Popen([binary, settings]) as server:
            try:
                _wait_for(port, Path(home) / "log")
                yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
            finally:
                server.kill()


def _wait_for(port: int, log: Path) -> None:
    """Until it answers: it listens a moment before it does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as line:
            line.sendall(f"AUTH {PASSWORD}\r\nPING\r\n".encode())
            answers = line.makefile("rb")
            if [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]:
                return
        time.sleep(0.05)
    raise RuntimeError(f"redis-server does not answer:\n{log.read_text() if log.exists() else 'it wrote no log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
