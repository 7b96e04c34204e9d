"""Whether the process that wrote an intent is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["GONE", "LEASE", "Process"]

#: Seconds for which a process that this kernel does not know of is believed alive after it last wrote; it writes at
#: least every third.
LEASE = 120.0
#: The lease of a process that has closed its ledger, whether it lives on or not.
GONE = 0.0

#: Letters of a host's name that are kept, for people; beside them there is room for 55 of the kernel.
_HOST_LETTERS = 64


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from a later one with the same number by its start.

    ``host`` is a host's name, a space, and by what the kernel is known that counts its processes; earlier versions
    wrote the name alone.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        return cls(
            f"{socket.gethostname()[:_HOST_LETTERS]} {_kernel()}".strip(), os.getpid(), _started(os.getpid()) or ""
        )

    def is_alive(self, lease_until: float, now: float) -> bool:
        """Of its own processes a kernel knows, at once after a SIGKILL; of all others the lease decides.

        Hosts and containers may share a name, so that a name says nothing.
        """
        if lease_until == GONE:
            return False
        if _kernel() and self.host.endswith(f" {_kernel()}"):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:  # somebody else's
                pass
            if (started := _started(self.pid)) is not None:
                return started == self.started
        return now < lease_until


@cache
def _kernel() -> str:
    """A kernel since its boot, and the namespace in which it counts processes; empty where /proc does not tell.

    A /proc of another namespace than ours has our numbers for other processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
        ours = Path("/proc/self").readlink() == Path(str(os.getpid()))
    except OSError:
        return ""
    return f"{boot} {namespace}" if boot and ours else ""


def _started(pid: int) -> str | None:
    """The kernel's start time of a process (field 22 of ``/proc/<pid>/stat``); ``None`` where it is not to be seen.

    A zombie is dead, and has none: in a container without an init nobody may ever ask for its exit code.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rsplit(")", 1)[-1].split()
    return "" if state in "ZX" else fields[18]
