"""Commands in processes of their own that start at once: ``run_python`` is ``subprocess.run`` for our own programs.

An interpreter that starts imports for one to two seconds before it does anything, most of it other people's libraries,
and the tests start a thousand. Here a process that has imported them already is forked for each command: it has its own
folder, environment, standard streams, modules of ours that hold state, and ends as an interpreter ends. What an
interpreter decides while it starts, or these libraries while they are imported, cannot be had from a fork: a command
whose environment changes any of that gets a new interpreter instead.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

ROOT = Path(__file__).parents[2]

#: Imported before the first fork: what most commands import.
PRELOADED = (
    "offline_capi.audit",
    "offline_capi.events",
    "offline_capi.onboarding",
    "offline_capi.operations",
    "offline_capi.pipeline.replay",
    "offline_capi.pipeline.run",
    "offline_capi.privacy",
    "offline_capi.report",
    "requests",
    "rich.console",
    "rich.progress",
    "rich.table",
    "rich.traceback",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "typer",
)
#: Read the environment, a width or a colour, while they are imported.
NOT_PRELOADED = {"offline_capi.cli", "typer.rich_utils", "pandas", "opentelemetry"}
#: Read by the interpreter or by a library while it starts.
_READ_EARLY = (
    *("ARROW_", "JE_ARROW_", "LD_", "MALLOC_", "OFFLINE_CAPI_KERNEL", "OTEL_", "POLARS_"),
    *("LANG", "LC_", "PYTHON", "TZ"),
)


def run_python(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    input: str | None = None,  # noqa: A002  the name that subprocess.run has
    timeout: float | None = None,
    new_interpreter: bool = False,
) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS`` with its output captured as text; ``-m MODULE`` and ``-c CODE`` come from the starter."""
    command = [sys.executable, *arguments]
    if new_interpreter or not _can_be_forked(arguments, env):
        return subprocess.run(
            command, cwd=cwd, env=env, input=input, capture_output=True, text=True, timeout=timeout, check=False
        )
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        told.write(input or "")
        told.seek(0)
        code = _starter().start(arguments, cwd, env, (told, out, err)).wait(timeout)
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess(command, code, out.read(), err.read())
    if code is None:
        raise subprocess.TimeoutExpired(command, timeout or 0, done.stdout, done.stderr)
    return done


def _can_be_forked(arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    return arguments[0] in ("-m", "-c") and _read_early(env) == _read_early({**os.environ, "PYTHONPATH": str(ROOT)})


def _read_early(env: Mapping[str, str]) -> dict[str, str]:
    early = {name: value for name, value in env.items() if name.startswith(_READ_EARLY)}
    early.pop("PYTHONDONTWRITEBYTECODE", None)  # what differs then is the disk, not the process
    return {"PYTHONPATH": str(ROOT)} | early


@dataclass(frozen=True)
class Running:
    """A command that was started."""

    _line: socket.socket
    pid: int

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, or the negative signal that ended it; ``None`` where it took too long, and is killed."""
        with self._line:
            in_time = bool(select.select([self._line], [], [], timeout)[0])
            if not in_time:
                os.kill(self.pid, signal.SIGKILL)
            code = _hear(self._line)
        return code if in_time else None


def start_python(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Running:
    """The same for a command that a test watches or kills: what it prints is not kept."""
    assert _can_be_forked(arguments, env), "an interpreter of its own would start later than the test expects"
    with Path(os.devnull).open("r+b") as nothing:
        return _starter().start(arguments, cwd, env, (nothing, nothing, nothing))


class Starter:
    """The test's end: one process, forked for each command, several at once where threads ask."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="starter-")
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.starter", self._address],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    def start(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], streams: tuple[IO[Any], IO[Any], IO[Any]]
    ) -> Running:
        """A fork that is ``python ARGUMENTS``; ``streams`` are its standard input, output and error."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(self._address)
        os.umask(mask := os.umask(0o022))
        asked = json.dumps([list(map(str, arguments)), str(cwd), dict(env), mask]).encode()
        descriptors = array.array("i", [stream.fileno() for stream in streams])
        line.sendmsg([len(asked).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        line.sendall(asked)
        return Running(line, _hear(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def _hear(line: socket.socket) -> int:
    told = line.recv(8, socket.MSG_WAITALL)
    assert len(told) == 8, "the process that waits for the command has ended"
    return int.from_bytes(told, "big", signed=True)


_LOCK = threading.Lock()
_STARTERS: list[Starter] = []


def _starter() -> Starter:
    """The one of this process, started with the first command."""
    with _LOCK:
        if not _STARTERS:
            _STARTERS.append(Starter())
        return _STARTERS[0]


# ------------------------------------------------------------------------------------------------- the starter's end


def main() -> None:
    """Serve until standard input ends; a fork returns as the command that it has become."""
    from offline_capi.runtime.process import set_up_process

    set_up_process()  # before Arrow is imported, as the command line does
    for name in PRELOADED:
        __import__(name)
    assert NOT_PRELOADED.isdisjoint(sys.modules), NOT_PRELOADED & {*sys.modules}
    assert threading.active_count() == 1  # a thread would not be in the fork
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        os.write(1, b"ready\n")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries who waits for a command
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            line, _ = listener.accept()
            if not os.fork():
                listener.close()
                arguments = _become(line)
                break
            line.close()
        else:
            return
    _run(arguments)


def _become(line: socket.socket) -> list[str]:
    """Fork the command, in which this returns; this process waits for it, tells how it ended, and ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, descriptors, _, _ = socket.recv_fds(line, 8, 3)
    asked = line.makefile("rb").read(int.from_bytes(size, "big"))
    child = os.fork()
    if child:
        line.sendall(child.to_bytes(8, "big", signed=True))
        line.sendall(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]).to_bytes(8, "big", signed=True))
        os._exit(0)
    line.close()
    arguments, folder, environment, mask = json.loads(asked)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.umask(mask)
    return list(arguments)


def _run(arguments: list[str]) -> None:
    """As the interpreter does with ``-m`` and ``-c``."""
    kind, what, *rest = arguments
    sys.path[0] = str(Path.cwd()) if kind == "-m" else ""
    sys.argv = [what if kind == "-m" else "-c", *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        program = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), program.__dict__)


if __name__ == "__main__":
    main()
