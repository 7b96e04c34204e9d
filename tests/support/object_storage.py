"""An S3 server for tests: moto's (extra ``distributed``), private, and gone at the end."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["BUCKET", "HOW_TO_GET_ONE", "is_here", "running_object_storage"]

BUCKET = "offline-capi-stage"
HOW_TO_GET_ONE = "no S3 server here: `pip install -c constraints.txt -e '.[distributed]'`"
PATIENCE = 30


def is_here() -> bool:
    return all(importlib.util.find_spec(name) for name in ("moto", "flask_cors", "s3fs"))


@contextmanager
def running_object_storage() -> Iterator[dict[str, str]]:
    """Run a server with an empty bucket on a free loopback port; yields the environment by which S3 clients find it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
        with subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parent) as server:
            try:
                _make_bucket(url)
                yield {
                    "AWS_ENDPOINT_URL": url,
                    "AWS_ACCESS_KEY_ID": "tester",
                    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
                    "AWS_DEFAULT_REGION": "us-east-1",
                }
            finally:
                server.kill()


def _make_bucket(url: str) -> None:
    """As soon as it answers."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
