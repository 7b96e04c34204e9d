"""The sandbox judges a full request of 1,000 events, beside reading the same request's JSON.

A sandbox that is slower than those who send to it would bound every benchmark and test that uses it.
"""

from __future__ import annotations

import json
import sys

from offline_capi.sandbox.rules import HASHED_LISTS, find_objection
from tests.benchmarks.clock import best
from tests.sandbox.events import EM, NOW, purchase

EVENTS = 1_000
ROUNDS = 20


def main() -> None:
    people = {key: [EM] for key in HASHED_LISTS}
    events = [purchase(f"o-{n}", at=NOW) | {"user_data": people | {"external_id": str(n)}} for n in range(EVENTS)]
    body = json.dumps({"data": events})
    if any(find_objection(event, NOW) for event in events):
        raise SystemExit("the events are to be good ones: all rules are looked at")
    read = best(lambda: json.loads(body), ROUNDS)
    judged = best(lambda: [find_objection(event, NOW) for event in events], ROUNDS)
    sys.stdout.write(f"  reading the JSON of {EVENTS:,} events  {1e3 * read:6.1f} ms\n")
    sys.stdout.write(f"  judging them                  {1e3 * judged:6.1f} ms, {judged / read:.1f} times the reading\n")


if __name__ == "__main__":
    main()
