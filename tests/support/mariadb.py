"""A MariaDB server for the tests: real, private, and gone at the end. From Debian's package ``mariadb-server``.

Its zone is two hours east of UTC, as no session of ours may depend on it. MariaDB does not like to run as root, so root
hands it to another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

__all__ = ["HOW_TO_GET_ONE", "find_server", "running_server"]

USER, PASSWORD = "tester", "not-a-secret"
HOW_TO_GET_ONE = "no MariaDB here: `apt-get install mariadb-server`"
START_TIMEOUT_S = 60


def find_server() -> Path | None:
    """The program ``mariadbd`` where its installer is there as well, or none."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found and shutil.which("mariadb-install-db") else None


@contextmanager
def running_server(program: Path) -> Iterator[str]:
    """Run ``program`` on a free loopback port; yields the URL of its database ``shop``, stops it whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="offline_capi_maria_"))
    port = _free_port()
    user = _other_user()
    if user:
        os.chown(home, user.pw_uid, user.pw_gid)
    as_user = [f"--user={user.pw_name}"] if user else []
    options = ["--no-defaults", f"--datadir={home / 'data'}", *as_user]
    (home / "init.sql").write_text(
        f"CREATE DATABASE shop CHARACTER SET utf8mb4;\nCREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON *.* TO {USER}@'127.0.0.1';\n"
    )
    with (home / "log").open("w") as log:
        quiet = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
        install = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, **quiet)
        serve = [
            str(program), *options, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={home / 'socket'}",
            f"--pid-file={home / 'pid'}", f"--init-file={home / 'init.sql'}", "--default-time-zone=+02:00",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--sql-mode=",
        ]  # fmt: skip
        server = subprocess.Popen(serve, **quiet)
    url = f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{port}/shop"
    try:
        _wait_for(url, server, home / "log")
        yield url
    finally:
        server.kill()  # nothing of it is kept
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError as error:
            if server.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"mariadbd does not answer:\n{log.read_text()}") from error
            time.sleep(0.1)
        else:
            return


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    names = {user.pw_name: user for user in pwd.getpwall()}
    return names.get("mysql") or names["nobody"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
