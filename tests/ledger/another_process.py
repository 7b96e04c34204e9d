"""A process of its own on a ledger: ``python -m tests.ledger.another_process URL COMMAND COUNT [FIRST]``.

``claim`` claims COUNT events in requests of 50, tells on standard output which it got, and waits to be ended;
``open`` only opens the ledger.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from offline_capi.ledger import Ledger
from offline_capi.model import Request
from tests.delivery.sending import WINDOW, batch, ids_of, names
from tests.support.sandbox_server import PIXEL


def main() -> None:
    url, command, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print("ready", flush=True)  # noqa: T201  read by the test
    sys.stdin.readline()
    with Ledger(url) as ledger:
        if command == "claim":
            claim(ledger, count)


def claim(ledger: Ledger, count: int) -> None:
    run = ledger.runs.begin("upload", WINDOW, trigger="manual", now=datetime.now(UTC))
    events = ledger.journal.look_up(batch(names("e", count)), run_id=run, now=datetime.now(UTC)).fresh
    got: list[str] = []
    for start in range(0, len(events), 50):
        got += ids_of(ledger.journal.claim(run, Request("", "acme", PIXEL, events.slice(start, 50))).request.events)
    print(" ".join(got), flush=True)  # noqa: T201  read by the test
    sys.stdin.readline()


if __name__ == "__main__":
    main()
