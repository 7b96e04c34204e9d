"""Objects that hold columns, through a pipe between two processes of ours.

The columns follow the object as they lie in memory (pickle's protocol 5), and the other process reads them into
Arrow's memory, which it has from the batch before: each byte is copied by the system twice, and by nobody else.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["receive", "send", "widen"]

#: What a pipe holds, where the system allows: a batch goes through in seven pieces instead of a hundred, and each
#: makes the thread that reads wait for the interpreter. pipe(7): what anybody may ask for.
PIPE_BYTES = 1 << 20


def widen(pipe: int) -> None:
    """Let a pipe hold ``PIPE_BYTES``, by its descriptor."""
    if sys.platform == "linux":
        with suppress(OSError):  # a user may have many pipes already: then it stays as it is
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def send(pipe: Connection, item: Any) -> None:
    """The item, pickled, and its columns behind it. A slice takes the whole column along."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
    columns = [buffer.raw() for buffer in buffers]
    pipe.send((data, [len(column) for column in columns]))
    for column in columns:
        while len(column):
            column = column[os.write(pipe.fileno(), column) :]


def receive(pipe: Connection) -> Any:
    """What the other process sent. Raises ``EOFError`` where it ended before it had sent all of it."""
    import pyarrow as pa

    data, sizes = pipe.recv()
    buffers = [pa.allocate_buffer(size) for size in sizes]
    for buffer in buffers:
        _read_into(memoryview(buffer), pipe.fileno())
    return pickle.loads(data, buffers=buffers)  # noqa: S301  from a process of ours


def _read_into(buffer: memoryview, pipe: int) -> None:
    while len(buffer):
        read = os.readv(pipe, [buffer])
        if not read:
            raise EOFError
        buffer = buffer[read:]
