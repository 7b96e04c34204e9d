"""What a hook prints: it has readable rows before it, and standard output is a log in Airflow."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from offline_capi.runtime.bugs import TRACEBACK

__all__ = ["withhold_output"]


@contextmanager
def withhold_output(name: str) -> Iterator[None]:
    """While this lasts, what this thread prints, warns or logs is dropped; one sentence on stderr says so, once.

    Other threads print as before. Withheld is what goes through ``sys.stdout``, ``sys.stderr`` and the handlers of the
    root logger; what a hook writes to file descriptors, files or the network is its own. With the environment variable
    that prints whole tracebacks nothing is withheld.
    """
    if os.environ.get(TRACEBACK) == "1":
        yield
        return
    dropped = _Dropped(threading.get_ident())
    out, err, handlers = sys.stdout, sys.stderr, [*logging.getLogger().handlers]
    for handler in handlers:
        handler.addFilter(dropped)
    sys.stdout, sys.stderr = _Stream(out, dropped), _Stream(err, dropped)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        for handler in handlers:
            handler.removeFilter(dropped)
    if dropped.anything:
        _say(name)


class _Dropped:
    """A filter of log handlers, and what streams ask: whether a text comes from the hook's thread."""

    def __init__(self, thread: int) -> None:
        self.thread, self.anything = thread, False

    def __call__(self, record: logging.LogRecord) -> bool:
        return not self.should_drop(record.thread)

    def should_drop(self, thread: int | None) -> bool:
        self.anything = self.anything or thread == self.thread
        return thread == self.thread


class _Stream:
    """A stream that drops what one thread writes."""

    def __init__(self, stream: Any, dropped: _Dropped) -> None:
        self._stream, self._dropped = stream, dropped

    def write(self, text: str) -> int:
        return len(text) if self._dropped.should_drop(threading.get_ident()) else int(self._stream.write(text))

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@cache
def _say(name: str) -> None:
    sys.stderr.write(
        f'transform: "{name}" prints or logs; that is withheld, for it may hold values of rows. '
        f"{TRACEBACK}=1 shows it.\n"
    )
