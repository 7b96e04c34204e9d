"""Senders made to be killed: ``python -m tests.ledger.mortal LEDGER ENDPOINT COUNT``.

For each line on standard input a child is forked that sends the events ``e-0`` to ``e-COUNT`` in requests of five; its
process id is told on standard output. Forked before any thread and connection exists, a child costs no imports.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from offline_capi.delivery import Clock, DeliveryPolicy
from offline_capi.ledger import Ledger
from offline_capi.model import EventBatch
from tests.delivery.sending import Night, batch, names

EVENTS_A_REQUEST = 5
CONCURRENCY = 4
MOMENT = 1_700_000_000.0  # the same bodies in every process; the sandbox's clock is set to it


@dataclass(frozen=True)
class Mortals:
    """Starts senders, one at a time."""

    _parent: subprocess.Popen[str]

    def start(self) -> int:
        """The process id of a new one."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())


@contextmanager
def mortals(ledger: str, endpoint: str, count: int) -> Iterator[Mortals]:
    arguments = [sys.executable, "-m", "tests.ledger.mortal", ledger, endpoint, str(count)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        yield Mortals(parent)


def now() -> datetime:
    """The hour of the senders and of their sandbox."""
    return datetime.fromtimestamp(MOMENT, UTC)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    events = batch(names("e", int(sys.argv[3])), at=MOMENT)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            send(sys.argv[1], sys.argv[2], events)
            os._exit(0)
        print(child, flush=True)  # noqa: T201  read by the test


def send(ledger_url: str, endpoint: str, events: EventBatch) -> None:
    policy, clock = DeliveryPolicy(concurrency=CONCURRENCY), Clock(jitter=lambda: 0.0)
    with Ledger(ledger_url) as ledger:
        night = Night(endpoint, ledger, policy=policy, clock=clock, now=now)
        night.send([events], max_events=EVENTS_A_REQUEST)


if __name__ == "__main__":
    main()
