"""Read or make the next batch while the last one is being worked on."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextvars import copy_context
from queue import Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

__all__ = ["prefetch_batches"]

T = TypeVar("T")


class _End:
    """The last thing in the queue: with the error that ended the reading, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch_batches(batches: Iterator[T], *, depth: int = 1) -> Generator[T, None, None]:
    """The same batches in the same order, read in advance by one thread.

    Beside the batch that the consumer works on, one is being read and ``depth`` wait. With 0, none is begun before the
    last one has been taken.

    Drivers and Arrow let go of the interpreter while they read, so that reading and hashing share two cores. An error
    of the source is raised here, after the batches that came before it. The source is closed by the thread that opened
    it (SQLite insists), also when the consumer stops early; not if the interpreter ends first, for then threads do not
    run any more and nobody would ever answer.
    """
    is_finalizing = sys.is_finalizing  # modules may be gone by the time it is asked
    queue: Queue[T | _End] = Queue()
    room, stopped = Semaphore(depth + 1), Event()
    # With the context of the consumer: a trace of the run continues in this thread.
    thread = Thread(
        target=copy_context().run, args=(_fill, batches, queue, room, stopped), name="prefetch", daemon=True
    )
    thread.start()
    item: T | _End | None = None
    try:
        while not isinstance(item := queue.get(), _End):
            room.release()
            yield item
    finally:
        stopped.set()
        if not is_finalizing():
            while not isinstance(item, _End):  # wake a reader that waits for room
                room.release()
                item = queue.get()
            thread.join()
    if item.error is not None:
        raise item.error


def _fill(batches: Iterator[T], queue: Queue[T | _End], room: Semaphore, stopped: Event) -> None:
    end: _End = _End()
    try:
        while room.acquire() and not stopped.is_set():
            batch = next(batches, end)
            if isinstance(batch, _End):
                break
            queue.put(batch)
            del batch  # this thread may wait for longer than the consumer needs it
    except BaseException as error:  # noqa: BLE001  handed to the consumer, who raises it
        end = _End(error)
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
    queue.put(end)
