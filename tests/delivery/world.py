"""A whole night from built events on: real stages, a real ledger, the sandbox's rules, and a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from threading import Lock
from typing import Any

import pyarrow as pa

from offline_capi.config.client import Client
from offline_capi.config.upload import LossLimits
from offline_capi.delivery import Clock, DeliveryPolicy, Rates, cut_requests, deliver
from offline_capi.events import split_by_age
from offline_capi.events.schema import UNSENT_SCHEMA
from offline_capi.ledger import Ledger
from offline_capi.model import BuiltEvents, EventBatch, Tally, UnsentRows
from offline_capi.report import Books, make_report
from tests.delivery.edge import Edge, Way
from tests.delivery.sending import WINDOW, batch, ids_of, names

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
PIXELS = {"acme": "1111111111", "bank": "2222222222", "shop": "3333333333"}
TOKENS = {pixel: f"token-of-{client}" for client, pixel in PIXELS.items()}
CLIENTS = {client: Client.model_validate({"pixel_id": PIXELS[client], "token": {"env": "T"}}) for client in PIXELS}
CLIENTS["idle"] = Client.model_validate({"pixel_id": "4444444444", "token": {"env": "T"}, "active": False})


@dataclass
class NightTime:
    """Time that only sleeping moves, at the sandbox too; workers may sleep at once."""

    edge: Edge
    passed: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.passed += seconds
            self.edge.state.clock.fixed = self.now().timestamp()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.passed, self.sleep, lambda: 0.5)


@dataclass
class World:
    """One sandbox and one ledger, for all runs."""

    edge: Edge
    ledger: Ledger
    senders: dict[str, Any]
    by_age: Callable[..., tuple[EventBatch, EventBatch]] = split_by_age
    runs: Iterator[int] = field(default_factory=count)
    rates: Rates | None = None
    sharing: bool = False

    def run(
        self, built: Sequence[BuiltEvents], policy: DeliveryPolicy, *, max_events: int, clock: Clock | None = None
    ) -> Tally:
        """``run_upload`` from built events on; closing the books raises where they do not balance."""
        time, books = NightTime(self.edge), Books()
        run = self.ledger.runs.begin("upload", WINDOW, trigger="manual", now=NOW + timedelta(seconds=next(self.runs)))
        delivery = deliver(
            cut_requests(self._fresh(built, run, books, time), max_events=max_events, max_bytes=20_000),
            senders=self.senders,
            claim=partial(self.ledger.journal.claim, run),
            policy=policy,
            clock=clock or time.clock,
            now=time.now,
            split_by_age=lambda events: self.by_age(
                events, clients=CLIENTS, now=time.now(), margin=timedelta(seconds=policy.retry.max_wait_s)
            ),
            together=self.ledger.journal.claim_together,
            record=self.ledger.journal.record,
            pace=self.ledger.pace if self.sharing else None,
            rates=self.rates,
        )
        with closing(delivery) as outcomes:
            for outcome in outcomes:
                books.enter_outcome(outcome)
        report = make_report(
            run_id=run,
            upload="upload",
            window=WINDOW,
            trigger="manual",
            started_at=NOW,
            ended_at=time.now(),
            tally=books.tally,
            limits=LossLimits(),
        )
        self.ledger.runs.finish(run, status=report.status.value, report=None, now=time.now())
        return report.tally

    def _fresh(self, built: Sequence[BuiltEvents], run: str, books: Books, time: NightTime) -> Iterator[EventBatch]:
        for one in built:
            books.enter_built(one)
            known = self.ledger.journal.look_up(one.events, run_id=run, now=time.now())
            for fate, reason, settled in known.decided:
                books.enter_events(settled, fate, reason)
            yield known.fresh

    def unclaimed(self, events: EventBatch) -> list[str]:
        """Ids of the events that the ledger has never heard of; those unconfirmed it has."""
        return ids_of(self.ledger.journal.look_up(events, run_id=None, now=NOW, resend=False).fresh)


def ways(edge: Edge, pixels: Mapping[str, str], tokens: Mapping[str, str]) -> dict[str, Any]:
    return {client: Way(edge, tokens[pixel]) for client, pixel in pixels.items()}


def rows_of(client: str, count: int, pixel: str | None = None) -> EventBatch:
    """Events of a minute before the night: ``client-0``, ``client-1``, …"""
    return batch(names(client, count), client=client, pixel=pixel or PIXELS[client], at=NOW.timestamp())


def built(events: EventBatch) -> list[BuiltEvents]:
    """Rows that all became events."""
    return [BuiltEvents(len(events), events, UnsentRows(pa.RecordBatch.from_pylist([], schema=UNSENT_SCHEMA)))]
