"""Kill it anywhere, run it again: nothing is lost, and what is repeated carries the same id (P3)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from offline_capi.ledger import Ledger
from offline_capi.ledger.connection import make_engine
from offline_capi.ledger.leases import Process
from tests.delivery.sending import Night, batch, names
from tests.ledger.mortal import CONCURRENCY, EVENTS_A_REQUEST, MOMENT, mortals, now
from tests.support.sandbox_server import Sandbox

KILLS = 50  # on each of the two databases
EVENTS = 1500


def test_p03_killed_at_a_hundred_points_nothing_is_lost_and_nothing_counts_twice(
    ledger_url: str, sandbox: Sandbox
) -> None:
    """Before a POST, on the wire with the events stored or not yet, between the answer and the ledger.

    A killed run leaves at most as many unconfirmed requests as may be in flight.
    """
    sandbox.clock = MOMENT
    chance = random.Random(3)
    Ledger(ledger_url).close()
    with mortals(ledger_url, sandbox.url, EVENTS) as senders:
        for _ in range(KILLS):
            sandbox.heal()
            sandbox.fault("slow", delay=chance.choice([0, 0.005, 0.02]), store=chance.choice(["before", "after"]))
            kill_after(senders.start(), sandbox, requests=chance.randrange(6), seconds=chance.random() * 0.02)
    sandbox.heal()
    sent_before = len(sandbox.accepted_ids)

    with Ledger(ledger_url) as ledger:
        Night(sandbox.url, ledger, now=now).send([batch(names("e", EVENTS), at=MOMENT)])

    assert 0 < sent_before < EVENTS
    assert sorted(sandbox.accepted_ids) == sorted(names("e", EVENTS))
    assert {times for *_, times, _ in sandbox.tally()} == {1}
    assert max(unconfirmed(ledger_url)) <= CONCURRENCY
    repeated = sum(came - 1 for *_, came in sandbox.tally())
    assert repeated <= sum(unconfirmed(ledger_url)) * EVENTS_A_REQUEST


def kill_after(process: int, sandbox: Sandbox, *, requests: int, seconds: float) -> None:
    """SIGKILL a little after so many more requests have come; at the latest after two seconds."""
    came, patience = total(sandbox), time.monotonic() + 2
    while total(sandbox) < came + requests and time.monotonic() < patience:
        pass
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    while Path(f"/proc/{process}").exists():
        pass


def total(sandbox: Sandbox) -> int:
    return sum(pixel["requests"] for pixel in sandbox.totals.values())


def unconfirmed(ledger_url: str) -> list[int]:
    """Requests that each killed sender left without an outcome."""
    with make_engine(ledger_url).connect() as connection:
        counted = "SELECT count(*) FROM request WHERE state = 'posting' GROUP BY sender_id"
        return list(connection.scalars(sa.text(counted)))


def test_p03_a_dead_process_that_nobody_buried_is_dead() -> None:
    """As in a container whose first process is no init."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        own = Process.current()
        stat = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8")
        other = Process(own.host, child.pid, stat.rsplit(")", 1)[-1].split()[19])
        living = other.is_alive(lease_until=1.0, now=2.0)
        child.kill()
        while "\nState:\tZ" not in Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8"):
            pass

        assert living
        assert not other.is_alive(lease_until=3.0, now=2.0)
