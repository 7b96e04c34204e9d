"""The real command, killed at many points, and run again (P3).

Every kill is a SIGKILL of ``offline-capi upload`` as a process of its own, on a real ledger; then the same command runs
to its end. The points of an exchange are hit exactly, by an endpoint that kills; those before it and inside the
ledger's writes by delays that are spread over them.

Fifty kills each time, beside the hundred of ``tests/ledger/test_killed.py`` (fifty on SQLite, fifty on PostgreSQL) that
kill the sending alone: 150 in all. ``OFFLINE_CAPI_KILLS=100`` makes a hundred of these fifty.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi.ledger import Ledger
from offline_capi.model import Fate
from tests.delivery.commands import Commands
from tests.delivery.reaper import POINTS, Death, Reaper
from tests.delivery.sending import batch, ids_of
from tests.support.night import PIXELS, Night
from tests.support.sandbox_server import Sandbox

ROWS, EVENTS_A_REQUEST, CONCURRENCY = 12, 2, 2
PIXEL = PIXELS["CORNER_SHOP_TOKEN"]
UPLOAD = f"""
client: corner_shop
source: {{path: sales.csv}}
window: {{column: sold_at, timezone: UTC}}
event: {{name: CreditApproval, id: "{{sale}}", action_source: physical_store}}
user_data: {{em: email}}
custom_data: {{order_id: sale}}
delivery: {{max_events: {EVENTS_A_REQUEST}, concurrency: {CONCURRENCY}}}
"""
COMMAND = ("upload", "sales", "--since", "2000-01-01", "--until", "2100-01-01")
SOLD_AT = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")

KILLS = int(os.environ.get("OFFLINE_CAPI_KILLS", "50"))
#: At every point of the first requests and of later ones, when others are in flight.
AT_POINTS = [Death(request, point) for point in POINTS for request in (1, 2, 3, 5)]
RANDOM = KILLS - len(AT_POINTS)
#: Between the answer and the ledger, and inside the ledger's writes: a claim and the outcomes before it take some ms.
IN_WRITES = [Death(1 + step % 4, "answered", later=0.018 * step / RANDOM) for step in range(0, RANDOM, 2)]
#: Between the start and the first request, in seconds: reading, mapping, hashing, the run's first lines in the ledger.
BEFORE_SENDING = [0.2 * step / RANDOM for step in range(1, RANDOM, 2)]


@pytest.fixture
def reaper(sandbox: Sandbox) -> Iterator[Reaper]:
    with Reaper(sandbox.url) as reaper:
        yield reaper


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, reaper: Reaper) -> Night:
    night = Night(tmp_path, sandbox)
    night.env["OFFLINE_CAPI_GRAPH_URL"] = reaper.url
    night.write("dags/uploads/sales.yml", UPLOAD)
    return night


def sell(night: Night, name: str) -> list[str]:
    """New sales in the source; their ids."""
    sales = [f"{name}-{number}" for number in range(ROWS)]
    rows = [f"{sale},{SOLD_AT},{sale}@example.com\n" for sale in sales]
    night.write("sales.csv", "".join(["sale,sold_at,email\n", *rows]))
    return sales


def test_p03_the_command_killed_at_many_points_loses_nothing_and_counts_nothing_twice(
    night: Night, reaper: Reaper
) -> None:
    line = Commands(night.home, night.env)
    unconfirmed = [killed_at(death, f"at{i}", night, reaper, line) for i, death in enumerate(AT_POINTS)]
    in_writes = [killed_at(death, f"in{i}", night, reaper, line) for i, death in enumerate(IN_WRITES)]
    before = [killed_early(when, f"before{i}", night, reaper, line) for i, when in enumerate(BEFORE_SENDING)]

    assert len(unconfirmed) + len(in_writes) + len(before) == KILLS
    assert min(unconfirmed) >= 1
    assert 0 in before, "none was killed between the source and the first request"
    assert len(night.counted) == ROWS * KILLS
    assert set(night.counted.values()) == {1}


def killed_at(death: Death, name: str, night: Night, reaper: Reaper, line: Commands) -> int:
    sales = sell(night, name)
    reaper.lie_in_wait(death)
    reaper.victim = line.start(*COMMAND)
    assert reaper.struck.wait(20), death
    assert line.ended() == -signal.SIGKILL
    return runs_again(sales, night, reaper, line)


def killed_early(seconds: float, name: str, night: Night, reaper: Reaper, line: Commands) -> int:
    """So long after its start; it may have sent something by then."""
    sales = sell(night, name)
    reaper.lie_in_wait(None)
    process = line.start(*COMMAND)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    assert line.ended() in (0, -signal.SIGKILL)
    return runs_again(sales, night, reaper, line)


def runs_again(sales: list[str], night: Night, reaper: Reaper, line: Commands) -> int:
    """How many requests the killed run left unconfirmed: one a worker at most, and only their events come twice."""
    doubtful = left_unconfirmed(sales, night)
    reaper.lie_in_wait(None)
    line.start(*COMMAND)

    assert line.ended() == 0
    came = {id_: (times, arrivals) for _, _, id_, times, arrivals in night.sandbox.tally(PIXEL) if id_ in sales}
    assert sorted(came) == sorted(sales)
    assert {times for times, _ in came.values()} == {1}
    assert {id_ for id_, (_, arrivals) in came.items() if arrivals > 1} <= set(doubtful)
    requests = -(-len(doubtful) // EVENTS_A_REQUEST)
    assert requests <= CONCURRENCY
    return requests


def left_unconfirmed(sales: list[str], night: Night) -> list[str]:
    events = batch(sales, client="corner_shop", pixel=PIXEL)
    with Ledger(night.env["OFFLINE_CAPI_LEDGER"]) as ledger:
        settled = ledger.journal.look_up(events, run_id=None, now=datetime.now(UTC), resend=False).decided
    return [id_ for fate, _, some in settled if fate is Fate.UNCONFIRMED for id_ in ids_of(some)]
