"""Prepare batches in worker processes: the recipe goes there once, rows go there as Arrow, events and counts come back.

Batches come back in the order of the source, so that nothing that follows can tell how many workers there were. A
worker that dies is replaced and its batch is prepared again: workers keep nothing, send nothing and open neither ledger
nor source. They get no environment but ``PASSED_ON``, and a recipe holds no secret.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from offline_capi.errors import TemporaryError
from offline_capi.identity import HashCache
from offline_capi.model import BuiltEvents, SourceRows
from offline_capi.pipeline.recipe import EVENT_ROWS_OF_LONG_RUN, Recipe
from offline_capi.runtime.bugs import as_internal, contain_hooks
from offline_capi.runtime.pipes import receive, send, widen
from offline_capi.runtime.process import PYTHON, set_up_process

__all__ = ["MAX_AUTO_PROCESSES", "WorkerPool", "count_processes"]

#: Workers that ``auto`` starts at most: the process that reads, looks events up and sends keeps no more of them busy.
MAX_AUTO_PROCESSES = 4
#: How often a batch is prepared before a worker that dies over it ends the run.
MAX_ATTEMPTS = 3
#: Variables that a worker inherits: where it finds Python, its libraries, the locale. Everything else may be a secret.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", "OFFLINE_CAPI_KERNEL")

#: Arrow and polars read their settings when they are imported.
_START = (
    f"from {set_up_process.__module__} import set_up_process, run_in_thread; set_up_process(); "
    f"from {__name__} import serve; run_in_thread(serve)"
)

_PackedRows = tuple[Any, dict[str, Any]]
_Task = tuple[_PackedRows, datetime]

_KILLED = (
    "a process that prepares rows ended without an answer {attempts} times over the same batch of {origin}: it was "
    "killed, or found no memory. Nothing of that batch was sent. Repeating is safe; where memory is short, set "
    "engine.processes: 1"
)


def count_processes(setting: int | str) -> int:
    """How many workers prepare rows; 0: this process does. ``auto`` leaves one core to this process.

    One worker only moves the work: on two cores a run took an eighth to a third longer (docs/performance.md).
    """
    workers = min(len(os.sched_getaffinity(0)) - 1, MAX_AUTO_PROCESSES) if setting == "auto" else int(setting)
    return workers if workers > 1 else 0


class WorkerPool:
    """So many processes that prepare batches by one recipe. They start with the first batch and end with the pool."""

    def __init__(self, recipe: Recipe, processes: int) -> None:
        self._recipe = pickle.dumps(recipe, protocol=5)
        self._count = processes
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        #: Those that run now.
        self.alive: set[Worker] = set()
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="prepare")
        for _ in range(processes):
            self._idle.put(None)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for worker in self.alive:
            worker.end()

    def prepare(self, batches: Iterable[SourceRows], now: Callable[[], datetime]) -> Generator[BuiltEvents]:
        """The same as ``Recipe.prepare_batch`` for each batch, in order; at most one batch waits for each worker."""
        under_way: deque[Future[list[BuiltEvents]]] = deque()
        for rows in batches:
            under_way.append(self._threads.submit(self._prepare_one, rows, now()))
            if len(under_way) > self._count:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()

    def _prepare_one(self, rows: SourceRows, now: datetime) -> list[BuiltEvents]:
        task = _pack_rows(rows), now
        for _ in range(MAX_ATTEMPTS):
            worker = self._idle.get() or Worker(self._recipe)
            self.alive.add(worker)
            answer = worker.ask(task)
            if answer is None:
                worker.end()
                self.alive.discard(worker)
            self._idle.put(worker if answer is not None else None)
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
        raise TemporaryError(_KILLED.format(attempts=MAX_ATTEMPTS, origin=rows.origin))


class Worker:
    """One process and the pipe to it."""

    def __init__(self, recipe: bytes) -> None:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [*PYTHON, "-c", _START]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)  # noqa: S603  ours
        assert self._process.stdin is not None  # noqa: S101  mypy; both are pipes
        assert self._process.stdout is not None  # noqa: S101
        for stream in (self._process.stdin, self._process.stdout):
            widen(stream.fileno())
        self._tasks = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        with suppress(OSError):  # it died already: the first task notices
            self._tasks.send_bytes(recipe)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, task: _Task) -> list[BuiltEvents] | BaseException | None:
        """What it makes of a task: events, an error to raise, or ``None`` if the process is gone."""
        try:
            send(self._tasks, task)
            return receive(self._answers)  # type: ignore[no-any-return]  # whatever serve() sends
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self._process.kill()
        self._tasks.close()
        self._answers.close()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.wait()


def _pack_rows(rows: SourceRows) -> _PackedRows:
    """Arrow's own format: pickling a slice would take the whole column along."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.batch.schema) as stream:
        stream.write_batch(rows.batch)
    return buffer.getvalue(), {one.name: getattr(rows, one.name) for one in fields(rows) if one.name != "batch"}


def _unpack_rows(packed: _PackedRows) -> SourceRows:
    data, others = packed
    with pa.ipc.open_stream(data) as stream:
        return SourceRows(stream.read_next_batch(), **others)


# ---------------------------------------------------------------------------------------------- the worker


def serve() -> None:
    """Prepare what comes in until the parent ends."""
    contain_hooks()
    tasks, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # a hook that prints must not print between the answers
    with suppress(EOFError, OSError):
        recipe, cache = pickle.loads(tasks.recv_bytes()), HashCache()  # noqa: S301  from our own parent
        while True:
            packed, now = receive(tasks)
            answer: list[BuiltEvents] | BaseException
            try:
                answer = list(
                    recipe.prepare_batch(_unpack_rows(packed), now, cache=cache, event_rows=EVENT_ROWS_OF_LONG_RUN)
                )
            except Exception as error:  # noqa: BLE001  raised again by the parent
                answer = as_internal(error)
            send(answers, answer)
    os._exit(0)
