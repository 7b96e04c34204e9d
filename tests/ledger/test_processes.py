"""Several real processes on one ledger, and one that is killed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from offline_capi.ledger import Ledger
from offline_capi.ledger.schema import HEAD
from offline_capi.model import Fate
from tests.delivery.sending import batch, ids_of, names


@contextmanager
def process(url: str, command: str, count: int = 0) -> Iterator[subprocess.Popen[str]]:
    """``another_process``, imported and waiting for its first line."""
    arguments = [sys.executable, "-m", "tests.ledger.another_process", url, command, str(count)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        try:
            yield running
        finally:
            running.kill()


def go(running: subprocess.Popen[str]) -> None:
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()


def heard(running: subprocess.Popen[str]) -> list[str]:
    assert running.stdout is not None
    return running.stdout.readline().split()


def test_p15_two_runs_at_the_same_time_claim_every_event_once(ledger_url: str) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(process(ledger_url, "claim", 3000)) for _ in range(2)]
        for one in both:
            go(one)

        claimed = Counter(event_id for one in both for event_id in heard(one))

    assert claimed == Counter(names("e", 3000))


def test_p03_what_a_killed_run_claimed_can_be_sent_again_at_once(ledger_url: str) -> None:
    """Killed between the claim and its outcome; no lease has to run out."""
    events, now = batch(names("e", 100)), datetime.now(UTC)
    with process(ledger_url, "claim", 100) as other:
        go(other)
        assert len(heard(other)) == 100
        with Ledger(ledger_url) as ledger:
            alive = ledger.journal.look_up(events, run_id=None, now=now)
            other.kill()
            other.wait()
            dead = ledger.journal.look_up(events, run_id=None, now=now)

    assert [(fate, len(deferred)) for fate, _, deferred in alive.decided] == [(Fate.DEFERRED, 100)]
    assert sorted(ids_of(dead.fresh)) == sorted(names("e", 100))


def test_two_processes_may_open_a_new_ledger_at_once(ledger_url: str) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(process(ledger_url, "open")) for _ in range(3)]
        for one in both:
            go(one)

        assert [one.wait(timeout=30) for one in both] == [0, 0, 0]

    engine = sa.create_engine(ledger_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM offline_capi_version")).scalars().all() == [HEAD]
    engine.dispose()
