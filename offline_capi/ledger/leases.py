"""Leases: whether the process that wrote an intent is still alive, and how this one says that it is."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from offline_capi.ledger.schema.tables import sender

__all__ = ["LEASE_CLOSED", "LEASE_S", "Leases", "Process"]

#: Seconds for which a process that this kernel does not know of is believed alive after it last wrote; it writes at
#: least every third.
LEASE_S = 120.0
#: The lease of a process that has closed its ledger, whether it lives on or not.
LEASE_CLOSED = 0.0

#: Of a host's name, for people; the column has room for the kernel's 55 characters as well.
_MAX_HOST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Process:
    """A process; its start distinguishes it from a later one with the same number.

    ``host`` is a host's name, a space, and by what the kernel is known that counts its processes; earlier versions
    wrote the name alone.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        return cls(
            f"{socket.gethostname()[:_MAX_HOST_CHARS]} {_read_kernel_id()}".strip(),
            os.getpid(),
            _read_start(os.getpid()) or "",
        )

    def is_alive(self, lease_until: float, now: float) -> bool:
        """Of its own processes a kernel knows, at once after a SIGKILL; of all others the lease decides.

        Hosts and containers may share a name, so that a name says nothing.
        """
        if lease_until == LEASE_CLOSED:
            return False
        if _read_kernel_id() and self.host.endswith(f" {_read_kernel_id()}"):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:  # another user's process
                pass
            if (started := _read_start(self.pid)) is not None:
                return started == self.started
        return now < lease_until


class Leases:
    """The leases of this process, one for each run that it sends for. Methods with a connection are part of its
    transaction: where that fails, take the copy that was made before it.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, float]] = {}  # run → id of the row in ``sender``, end of the lease

    def __bool__(self) -> bool:
        return bool(self._held)

    def copy(self) -> Leases:
        copied = Leases()
        copied._held = self._held.copy()
        return copied

    def is_own(self, run_id: str, sender_id: int) -> bool:
        return self._held.get(run_id, (0,))[0] == sender_id

    def obtain(self, connection: sa.Connection, run_id: str, now: float) -> int:
        """The id of the lease for a run, which begins where there is none yet."""
        if run_id in self._held:
            return self._held[run_id][0]
        process = Process.current()
        made = connection.execute(
            sa.insert(sender).values(
                run_id=run_id,
                host=process.host,
                pid=process.pid,
                pid_started=process.started,
                lease_until=now + LEASE_S,
            )
        )
        (sender_id,) = made.inserted_primary_key or (0,)
        self._held[run_id] = (sender_id, now + LEASE_S)
        return sender_id

    def find_due(self, now: float) -> list[str]:
        """The runs whose lease is to be renewed."""
        return [run_id for run_id, (_, until) in self._held.items() if until - now < LEASE_S * 2 / 3]

    def renew(self, connection: sa.Connection, now: float) -> None:
        """Renew those that are due."""
        for run_id in self.find_due(now):
            sender_id, _ = self._held[run_id]
            connection.execute(sa.update(sender).where(sender.c.id == sender_id).values(lease_until=now + LEASE_S))
            self._held[run_id] = (sender_id, now + LEASE_S)

    def close(self, connection: sa.Connection) -> None:
        """End all of them: what is still unanswered is unconfirmed from now on."""
        held = [sender_id for sender_id, _ in self._held.values()]
        connection.execute(sa.update(sender).where(sender.c.id.in_(held)).values(lease_until=LEASE_CLOSED))


@cache
def _read_kernel_id() -> str:
    """A kernel since its boot, and the namespace in which it counts processes; empty where /proc does not show it.

    A /proc of another namespace than ours has our numbers for other processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
        ours = Path("/proc/self").readlink() == Path(str(os.getpid()))
    except OSError:
        return ""
    return f"{boot} {namespace}" if boot and ours else ""


def _read_start(pid: int) -> str | None:
    """The kernel's start time of a process (field 22 of ``/proc/<pid>/stat``); ``None`` where it is not to be seen.

    A zombie is dead, and has none: in a container without an init its exit code may never be collected.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rsplit(")", 1)[-1].split()
    return "" if state in "ZX" else fields[18]
