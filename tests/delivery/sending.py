"""Events, clients and a night of sending, as the tests of delivery and ledger need them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from offline_capi.config.secrets import Secret
from offline_capi.delivery import Clock, DeliveryPolicy, Envelope, Rates, Sender, cut_requests, deliver
from offline_capi.events.keys import make_event_key
from offline_capi.events.schema import EVENT_SCHEMA
from offline_capi.ledger import Ledger
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.versions import FAMILIES
from offline_capi.model import EventBatch, Fate, Outcome, Window
from tests.support.sandbox_server import OTHER_PIXEL, OTHER_TOKEN, PIXEL, TOKEN

EM = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"  # meta-capi.md 2.3
ACME, OTHER = "acme", "other"
PIXELS = {ACME: PIXEL, OTHER: OTHER_PIXEL}
TOKENS = {ACME: TOKEN, OTHER: OTHER_TOKEN}
VERSIONS = dict.fromkeys(FAMILIES, "v26.0")
#: One moment for all tests: an event that is made twice is the same event, whatever the clock does in between.
STARTED = time.time()

WINDOW = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def batch(
    ids: Sequence[str],
    *,
    client: str = ACME,
    pixel: str | None = None,
    action_source: str = "system_generated",
    note: str = "",
    at: float | None = None,
) -> EventBatch:
    """Events that Meta would take, of a minute ago; ``note`` makes their bodies differ."""
    moment, count = int(at or STARTED) - 60, len(ids)
    whose = pixel or PIXELS.get(client, PIXEL)
    columns = {
        "origin": ["rows.csv"] * count,
        "row": list(range(1, count + 1)),
        "client": [client] * count,
        "pixel": [whose] * count,
        "event_name": ["CreditApproval"] * count,
        "event_id": list(ids),
        "event_time": [moment] * count,
        "day": [datetime.fromtimestamp(moment, tz=UTC).date()] * count,
        "action_source": [action_source] * count,
        "value": [None] * count,
        "currency": [None] * count,
        "key": [make_event_key(whose, "CreditApproval", event_id) for event_id in ids],
        "body": [_body(event_id, moment, action_source, note) for event_id in ids],
    }
    return EventBatch(pa.RecordBatch.from_pydict(columns, schema=EVENT_SCHEMA))


def _body(event_id: str, moment: int, action_source: str, note: str) -> bytes:
    event = {
        "event_name": "CreditApproval",
        "event_id": event_id,
        "event_time": moment,
        "action_source": action_source,
        "user_data": {"em": [EM]},
        **({"custom_data": {"note": note}} if note else {}),
    }
    return json.dumps(event).encode()


def ids_of(events: EventBatch) -> list[str]:
    return list(events.table.column("event_id").to_pylist())


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{i}" for i in range(count)]


@dataclass
class FakeTime:
    """A clock that only sleeping moves; what was slept is kept."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep, lambda: 0.5)


@dataclass
class Night:
    """One ledger, one endpoint: sends events and keeps the outcomes."""

    url: str
    ledger: Ledger
    time: FakeTime = field(default_factory=FakeTime)
    policy: DeliveryPolicy = field(default_factory=lambda: DeliveryPolicy(concurrency=1))
    tokens: Mapping[str, str] = field(default_factory=lambda: TOKENS)
    timeout: float = 5.0
    clock: Clock | None = None
    on_idle: Callable[[], None] = field(default=lambda: None)
    rates: Rates | None = None
    sharing: bool = False
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def send(self, events: Iterable[EventBatch], *, max_events: int = 1000, run_id: str | None = None) -> Books:
        """Look up, cut, claim, post, record: the pipeline's ``skip_decided`` and ``send_events`` without its books."""
        run = run_id or self.begin()
        books, clock = Books(), self.clock or self.time.clock
        requests = cut_requests(self._fresh(events, run, books), max_events=max_events, max_bytes=2_000_000)
        with GraphClient(self.url, VERSIONS, timeout_s=self.timeout) as graph:
            senders = {client: Sender(graph, Secret(token), Envelope()) for client, token in self.tokens.items()}
            claim = partial(self.ledger.journal.claim, run)
            delivery = deliver(
                requests,
                senders=senders,
                claim=claim,
                policy=self.policy,
                clock=clock,
                together=self.ledger.journal.claim_together if self.sharing else nullcontext,
                on_idle=self.on_idle,
                record=self.ledger.journal.record,
                pace=self.ledger.pace if self.sharing else None,
                rates=self.rates,
                now=self.now,
            )
            with closing(delivery) as outcomes:
                for outcome in outcomes:
                    books.enter(outcome)
        self.ledger.journal.flush()
        return books

    def begin(self) -> str:
        return self.ledger.runs.begin("upload", WINDOW, trigger="manual", now=datetime.now(UTC))

    def _fresh(self, events: Iterable[EventBatch], run: str, books: Books) -> Iterator[EventBatch]:
        for one in events:
            known = self.ledger.journal.look_up(one, run_id=run, now=datetime.now(UTC))
            for fate, _, settled in known.decided:
                books.fates.update(dict.fromkeys(ids_of(settled), fate))
                books.seen.update(ids_of(settled))
            yield known.fresh


@dataclass
class Books:
    """What became of each event; ``seen`` counts how often an event came out."""

    fates: dict[str, Fate] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)

    def enter(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        for event_id in ids_of(outcome.request.events):
            self.fates[event_id] = outcome.fate
            self.seen[event_id] += 1

    def of(self, fate: Fate) -> list[str]:
        return [event_id for event_id, own in self.fates.items() if own is fate]

    @property
    def counts(self) -> dict[Fate, int]:
        return dict(Counter(self.fates.values()))
