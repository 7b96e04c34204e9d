"""A pgbouncer for the tests: Debian's, private, in transaction mode, and gone at the end.

It has two sessions on the server for all its clients, and takes no start-up parameter that it does not know: the
strictest of the poolers that people put before a ledger.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from tests.support.postgres import as_other_user, free_port, hand_over

__all__ = ["HOW_TO_GET_ONE", "SESSIONS", "find_binary", "running_pooler"]

SESSIONS = 2
HOW_TO_GET_ONE = "no pgbouncer here: `apt-get install pgbouncer`"
PATIENCE_S = 20

_SETTINGS = """\
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users.txt
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
logfile = {home}/log
"""


def find_binary() -> Path | None:
    """Debian keeps it where only root's PATH looks."""
    found = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    return Path(found) if found else None


@contextmanager
def running_pooler(binary: Path, server_url: str) -> Iterator[str]:
    """Run a pooler before a server, on a free loopback port; yields its URL, stops it whatever happens.

    It refuses to run as root, so root hands it to another user.
    """
    server, port = sa.make_url(server_url), free_port()
    home = Path(tempfile.mkdtemp(prefix="offline_capi_pgbouncer_"))
    (home / "users.txt").write_text(f'"{server.username}" "{server.password}"\n')
    (home / "pgbouncer.ini").write_text(_SETTINGS.format(server=server, port=port, home=home, sessions=SESSIONS))
    hand_over(home, home / "users.txt", home / "pgbouncer.ini")
    command = [*as_other_user(), str(binary), "--quiet", str(home / "pgbouncer.ini")]
    with subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL) as pooler:
        try:
            _wait_for(port, pooler, home / "log")
            yield server.set(port=port).render_as_string(hide_password=False)
        finally:
            pooler.kill()
            pooler.wait()
            shutil.rmtree(home, ignore_errors=True)


def _wait_for(port: int, pooler: subprocess.Popen[bytes], log: Path) -> None:
    """Until it listens."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and pooler.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"pgbouncer does not listen:\n{log.read_text() if log.exists() else 'it wrote no log'}")
