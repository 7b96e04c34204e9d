"""How much memory a process takes, looked at from outside: a look from within would take the interpreter from it."""

from __future__ import annotations

import resource
from pathlib import Path
from threading import Event, Thread
from typing import Self


class Memory:
    """The most that a process and those it started held together (``peak_mib``), and one of them (``process_mib``).

    Pages of files count once, for they are the same libraries: of the process that has most of them. Looked at ten
    times a second: what the system counts for a child that has ended includes the moment of its fork.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mib, self.process_mib, self._pid, self._done = 0.0, 0.0, pid, Event()

    def __enter__(self) -> Self:
        self._watcher = Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            tasks = Path(f"/proc/{self._pid}/task").glob("*/children")
            children = [int(pid) for task in tasks for pid in _words(task)]
            own, files = zip(*map(_resident_mib, (self._pid, *children)), strict=True)
            self.peak_mib = max(self.peak_mib, sum(own) + max(files))
            self.process_mib = max(self.process_mib, *map(sum, zip(own, files, strict=True)))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # a thread or process that has just ended
        return []


def _resident_mib(pid: int) -> tuple[float, float]:
    """Of its own, and of files (proc_pid_statm(5): resident and shared, in pages)."""
    words = _words(Path(f"/proc/{pid}/statm"))
    resident, files = (int(word) * resource.getpagesize() / 2**20 for word in words[1:3]) if words else (0.0, 0.0)
    return resident - files, files
