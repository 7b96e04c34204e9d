"""Whether the process that wrote an intent is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GONE", "LEASE", "Process"]

#: Seconds for which a process on another host is believed alive after it last wrote; it writes at least every third.
LEASE = 120.0
#: The lease of a process that has closed its ledger, whether it lives on or not.
GONE = 0.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from a later one with the same number by its start."""

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    def is_alive(self, lease_until: float, now: float) -> bool:
        """On this host the kernel knows, at once after a SIGKILL; elsewhere the lease decides."""
        if lease_until == GONE:
            return False
        if self.host == socket.gethostname():
            return _started(self.pid) == self.started != ""
        return now < lease_until


def _started(pid: int) -> str:
    """The kernel's start time of a process (field 22 of ``/proc/<pid>/stat``); empty where there is none.

    A zombie is dead: in a container without an init nobody may ever ask for its exit code.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _exists(pid)
    state, *fields = stat.rsplit(")", 1)[-1].split()
    return "" if state in "ZX" else fields[18]


def _exists(pid: int) -> str:
    """Where there is no /proc, only whether the number is taken."""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "unknown"
