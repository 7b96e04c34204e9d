"""What delivery costs beside the SDK's loop, and how much of it is the ledger: prepared events to a counting sink.

``python -m tests.benchmarks.delivery --events 200000`` sends them without a ledger, with one on SQLite as it is, and
with one that does not sync each commit (``synchronous=NORMAL``), each in turn and several times over.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

from facebook_business.adobjects.serverside.event import Event

from offline_capi.config import Secret
from offline_capi.delivery import DeliveryPolicy, Envelope, Sender, cut_requests, deliver
from offline_capi.delivery.requests import OnCut
from offline_capi.ledger import Claim, Ledger
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.versions import FAMILIES
from offline_capi.model import EventBatch, Fate, Outcome, Request
from offline_capi.pipeline import EVENT_ROWS
from tests.benchmarks.__main__ import bench_folder, say
from tests.benchmarks.sdk import event, execute_all
from tests.benchmarks.sink import Sink
from tests.delivery.sending import ACME, WINDOW, batch, names

#: The SDK sends so many, which is enough to time it.
SDK_EVENTS = 20_000

Remembering = Callable[[], AbstractContextManager[Any]]


class NoLedger:
    """Claims whatever is asked for and remembers nothing."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def fresh(self, events: EventBatch) -> EventBatch:
        return events

    def start_digests(self) -> AbstractContextManager[OnCut]:
        return nullcontext(lambda request: request)

    def claim(self, wanted: Request, *, replaces: str | None = None) -> Claim:
        request = Request(str(next(self._numbers)), wanted.client, wanted.pixel, wanted.events)
        return Claim(request, wanted.events.slice(0, 0))

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, outcomes: Sequence[Outcome]) -> None:
        pass


class WithLedger:
    """A run of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, now = ledger, datetime.now(UTC)
        self._run = ledger.runs.begin("benchmark", WINDOW, trigger="manual", now=now)
        self.claim = partial(ledger.journal.claim, self._run)
        self.together, self.record = ledger.journal.claim_together, ledger.journal.record
        self.start_digests = ledger.journal.start_digests

    def fresh(self, events: EventBatch) -> EventBatch:
        return self._ledger.journal.look_up(events, run_id=self._run, now=datetime.now(UTC)).fresh

    def finish(self) -> None:
        self._ledger.runs.finish(self._run, status="ok", report=None, now=datetime.now(UTC))


@contextmanager
def no_ledger() -> Iterator[NoLedger]:
    yield NoLedger()


@contextmanager
def on_sqlite(synchronous: str) -> Iterator[WithLedger]:
    with tempfile.TemporaryDirectory(dir=bench_folder()) as folder, Ledger(f"sqlite:///{folder}/ledger.db") as ledger:
        ledger._connection.connection.dbapi_connection.execute(f"PRAGMA synchronous={synchronous}")
        run = WithLedger(ledger)
        yield run
        run.finish()


def night(events: Sequence[EventBatch], url: str, remembering: Remembering) -> float:
    """Seconds to look up, cut, claim, send and record all events, the ledger's end included."""
    started, sent = time.perf_counter(), 0
    graph_client = GraphClient(url, dict.fromkeys(FAMILIES, "v26.0"), timeout_s=60)
    with remembering() as ledger, graph_client as graph, ledger.start_digests() as on_cut:
        senders = {ACME: Sender(graph, Secret("token"), Envelope("benchmark"))}
        requests = cut_requests(map(ledger.fresh, events), max_events=1000, max_bytes=2_000_000, on_cut=on_cut)
        for outcome in deliver(
            requests,
            senders=senders,
            claim=ledger.claim,
            policy=DeliveryPolicy(),
            together=ledger.together,
            record=ledger.record,
        ):
            sent += len(outcome.request) if outcome.fate is Fate.SENT else 0
    if sent != sum(map(len, events)):
        raise SystemExit(f"{sent:,} events were sent")
    return time.perf_counter() - started


WAYS: dict[str, Remembering] = {
    "no ledger": no_ledger,
    "SQLite, FULL": partial(on_sqlite, "FULL"),
    "SQLite, NORMAL": partial(on_sqlite, "NORMAL"),
}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.delivery")
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    padding = "x" * 500  # a body of about 750 bytes, as nine keys and custom data make it
    every = batch(names("e", chosen.events), note=padding)
    events = [every.slice(start, EVENT_ROWS) for start in range(0, chosen.events, EVENT_ROWS)]
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    with Sink() as sink:
        for _ in range(chosen.rounds):
            for way, remembering in WAYS.items():
                taken[way].append(night(events, sink.url, remembering))
        sent, seconds = execute_all(prepared(SDK_EVENTS), sink.url)
    report(taken, chosen.events, every.body_bytes // chosen.events, sdk_seconds=seconds / sent)


def prepared(count: int) -> list[Event]:
    """The SDK's events, made and normalised before they are sent."""
    row = {"email": "jane@example.com", "phone": "+14155550100", "first_name": "Jane", "last_name": "Doe",
           "city": "Menlo Park", "state": "CA", "zip": "94025", "country": "US", "customer_id": "C-1",
           "at": "2026-11-23T10:00:00+00:00", "value": "12.5"}  # fmt: skip
    columns = {"name": "Purchase", "id_column": "id", "time_column": "at", "value_column": "value"}
    return [event({**row, "id": f"e-{number}"}, **columns) for number in range(count)]


def report(taken: dict[str, list[float]], events: int, body_bytes: int, *, sdk_seconds: float) -> None:
    bare = statistics.median(taken["no ledger"])
    say(f"{events:,} events of {body_bytes} bytes to a counting sink, median of {len(taken['no ledger'])}")
    for way, seconds in taken.items():
        middle = statistics.median(seconds)
        micro, share, ratio = 1e6 * (middle - bare) / events, (middle - bare) / middle, middle / bare
        say(
            f"  {way:<16}{events / middle:>10,.0f} events/s   ledger {micro:5.2f} µs an event"
            f" ({share:.0%} of its time, {ratio:.2f} times the time without; aim: 30% at most)"
            f"   {sdk_seconds * events / middle:.1f} times the SDK's execute loop"
        )


if __name__ == "__main__":
    main()
