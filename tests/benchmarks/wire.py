"""What the wire allows: requests to a sink that answers after 300 ms, four in flight a client.

One client, and 50 at once. The least time that a run can take is its requests, one after the other on all slots in
flight; the share is how much of its time that is. ``python -m tests.benchmarks.wire --events 1000000``: a run's first
second and its first request, which goes alone, weigh less the longer it is.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from offline_capi.delivery import DeliveryPolicy
from tests.benchmarks.__main__ import bench_folder, measured, say
from tests.benchmarks.clients import file_name, lay_out
from tests.benchmarks.sink import Sink

ANSWER_AFTER_S = 0.3
#: Requests in flight and the aimed share, by the order of the rows: of one client, and of 50 that are mixed.
POLICY = DeliveryPolicy()
AIMS = {"one client": (POLICY.concurrency, 0.97), "many, mixed": (POLICY.in_flight, 0.95)}
#: Of fewer events the start of a run is too large a part of its time.
LEAST_EVENTS = 1_000_000


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.wire")
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--clients", type=int, default=50)
    chosen = options.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(dir=bench_folder()) as folder, Sink(ANSWER_AFTER_S) as sink:
        home = Path(folder).absolute()
        lay_out(home, chosen.events, chosen.clients)
        say(f"{chosen.events:,} events, each request answered after {ANSWER_AFTER_S:g} s")
        for order, (slots, aim) in AIMS.items():
            done = measured("clients", "night", str(home), file_name(order), sink.url)
            least = done["requests"] / slots * ANSWER_AFTER_S
            say(
                f"  {order:<14}{done['requests']:>6,} requests, {slots} in flight{done['seconds']:8.1f} s, "
                f"{least / done['seconds']:.1%} of what the wire allows (aim: {aim:.0%} of {LEAST_EVENTS:,} events)"
            )
            missed |= chosen.events >= LEAST_EVENTS and least / done["seconds"] < aim
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
