"""A source that is read in a process of its own.

A database driver makes a Python object of every value and holds the interpreter while it does; in the process that
hashes and sends, both would wait for it. A library that holds a whole file in memory gets a limit there. The rows come
over a pipe, as Arrow columns, and never leave memory.
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, TypeVar

from offline_capi.errors import SourceError
from offline_capi.runtime.bugs import as_internal, contain_hooks
from offline_capi.runtime.pipes import receive, send, widen
from offline_capi.runtime.process import PYTHON, block_imports, set_up_reader

__all__ = ["read_in_subprocess"]

T = TypeVar("T")

_DONE = None
_ENDED = (
    "the process that reads the source ended without a word: it was killed, or found no memory.\n"
    "What was read until then is right, but not the whole window. Repeating is safe."
)


def read_in_subprocess(
    read: Callable[..., Iterator[T]],
    *arguments: Any,
    memory_mib: int | None = None,
    too_large: str = "",
    unused: Sequence[str] = (),
) -> Generator[T]:
    """What ``read(*arguments)`` yields, and the error that it ends with; an ``InternalError`` for any not of ours.

    ``read`` is a function of a module, its arguments can be pickled. They may hold a password, so they go through a
    pipe and not through the process list. The process ends when this generator does, or with this process. With
    ``memory_mib`` it may take that much beyond what it starts with; one that dies raises ``SourceError(too_large)``.
    It never imports pandas nor what is ``unused``, which a driver would import wherever it is.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [*PYTHON, "-c", f"from {__name__} import serve; serve()"]
    pipe = subprocess.PIPE
    # The command is ours, no shell reads it.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:  # noqa: S603
        assert process.stdin is not None  # noqa: S101  mypy; both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            widen(process.stdout.fileno())
            pickle.dump((memory_mib, unused), process.stdin)
            pickle.dump((read, arguments), process.stdin)
            process.stdin.flush()
            yield from _received(Connection(os.dup(process.stdout.fileno()), writable=False), too_large or _ENDED)
        finally:
            process.kill()


def _received(pipe: Connection, ended: str) -> Iterator[Any]:
    with pipe:
        while (item := _next(pipe, ended)) is not _DONE:
            if isinstance(item, BaseException):
                raise item
            yield item


def _next(pipe: Connection, ended: str) -> Any:
    try:
        return receive(pipe)
    except EOFError:
        raise SourceError(ended) from None


# ---------------------------------------------------------------------------------------------- the other process


def serve() -> None:
    """Run what standard input says. It stays open as long as the parent lives, and this process no longer."""
    contain_hooks()
    memory_mib, unused = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    block_imports("pandas", *unused)
    pipe = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # a driver that prints must not print between the rows
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold rows
    read, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301
    Thread(target=_end_with_parent, daemon=True).start()
    if memory_mib:
        _limit_memory(memory_mib)
    else:
        set_up_reader()
    try:
        for rows in read(*arguments):
            send(pipe, rows)
        send(pipe, _DONE)
    except MemoryError:
        os._exit(1)
    except BaseException as error:  # noqa: BLE001  raised again by the parent
        send(pipe, as_internal(error))
    os._exit(0)  # all is sent; the interpreter could not end in peace while a thread waits for standard input


def _limit_memory(mib: int) -> None:
    """Take at most ``mib`` more from now on. Rust ends the process where it gets none, and prints its stack."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            pages = int(file.read().split()[0])
        limit = pages * resource.getpagesize() + (mib << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
