"""Requests → outcomes: claimed, posted, retried, split where one event is at fault.

Workers only post. Claims are written by the thread that consumes ``deliver``, right before a POST is handed to a
worker; outcomes are returned on the same thread, so that one connection to the ledger is enough.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event, Semaphore
from typing import Protocol

from offline_capi.delivery.attempts import PostResult, post_until_final
from offline_capi.delivery.breaker import Breaker, Stop
from offline_capi.delivery.clock import Clock, find_clock_fault
from offline_capi.delivery.isolate import isolate
from offline_capi.delivery.outcomes import OutcomeBuilder
from offline_capi.delivery.pace import OwnPace, PaceKeeper, Rates, SharedPace
from offline_capi.delivery.payload import Body, make_payload
from offline_capi.delivery.scheduler import MAX_BEGUN, DeliveryPolicy, Scheduler, Task, make_part
from offline_capi.delivery.senders import Sender
from offline_capi.delivery.throttle import Throttles
from offline_capi.meta.graph.error_table import Action
from offline_capi.meta.graph.response import Response
from offline_capi.model import EventBatch, Fate, Outcome, Reason, Request
from offline_capi.runtime.telemetry import capture_context, trace_span

__all__ = ["ClaimResult", "Claims", "deliver"]

SplitByAge = Callable[[EventBatch], tuple[EventBatch, EventBatch]]

#: How long without a result before ``on_idle`` is called.
IDLE_CALLBACK_S = 1.0
#: How long results are collected after one has come: they, and the claims that follow, are one transaction of the
#: ledger. Short compared with any response that comes over the internet.
ANSWER_BATCH_WINDOW_S = 0.005
#: They are collected where so many of the last ones came within this time. Where responses take long, transactions are
#: few anyway, and each slot in flight would be empty for the window.
FREQUENT_RESULTS, FREQUENT_WITHIN_S = 16, 0.32


class ClaimResult(Protocol):
    """The request with its id, and the events that another run took."""

    @property
    def request(self) -> Request: ...
    @property
    def lost(self) -> EventBatch: ...


class Claims(Protocol):
    """Writes the intent; see ``ledger.Journal.claim``."""

    def __call__(self, wanted: Request, *, replaces: str | None = None) -> ClaimResult: ...


def deliver(
    requests: Iterable[Request],
    *,
    senders: Mapping[str, Sender],
    claim: Claims,
    policy: DeliveryPolicy,
    clock: Clock | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    split_by_age: SplitByAge = lambda events: (events, events.slice(0, 0)),
    together: Callable[[], AbstractContextManager[None]] = nullcontext,
    on_idle: Callable[[], None] = lambda: None,
    record: Callable[[Sequence[Outcome]], None] = lambda _outcomes: None,
    pace: SharedPace | None = None,
    rates: Rates | None = None,
) -> Generator[Outcome]:
    """Send ``requests``; every event of each ends in exactly one outcome.

    - a transient fault is retried; a response that never came leaves the request *unconfirmed*
    - one bad event costs one event: Meta names it or halving finds it, and its neighbours go in the same run
    - what stops sending, and for whom, is decided by ``Breaker``; events that do not leave are *deferred*

    ``split_by_age`` separates events that stay fresh for the policy's ``max_wait_s`` from those that have *expired*
    meanwhile: Meta refuses a whole request for one event that is too old. Claims made inside ``together()`` are written
    at once. ``senders`` may raise ``ConfigError`` for a client whose token cannot be resolved: that client is stopped.
    ``on_idle`` is called each second without a result, for a ledger that has to renew its lease. ``record`` gets each
    outcome before further requests are claimed; it is yielded once those have left, so that they do not wait for books.
    Closed early, this lets requests on the wire be answered, retries nothing, and leaves those requests unconfirmed.
    ``pace`` is what all senders share of throttles and rates, ``rates`` how many requests may leave a second.
    """
    used_clock = clock or Clock()
    breaker = Breaker(senders)
    keeper = PaceKeeper(pace or OwnPace(), rates or Rates(), used_clock, now)
    scheduler = Scheduler(iter(requests), policy, breaker, keeper, used_clock)
    delivery = _Delivery(scheduler, breaker, claim, now, split_by_age, together, on_idle, record)
    with ThreadPoolExecutor(MAX_BEGUN, thread_name_prefix="post") as pool:
        try:
            yield from delivery.run(pool)
        finally:
            delivery.closing.set()


@dataclass(slots=True)
class _Delivery:
    scheduler: Scheduler
    breaker: Breaker
    claim: Claims
    now: Callable[[], datetime]
    split_by_age: SplitByAge
    together: Callable[[], AbstractContextManager[None]]
    on_idle: Callable[[], None]
    record: Callable[[Sequence[Outcome]], None]
    begun: dict[Future[PostResult], Task] = field(default_factory=dict)
    answered_at: deque[float] = field(default_factory=lambda: deque(maxlen=FREQUENT_RESULTS))
    closing: Event = field(default_factory=Event)
    slots: Semaphore = field(init=False)
    outcomes: OutcomeBuilder = field(init=False)
    #: The span of the run, for the threads that post.
    trace_context: object = field(default_factory=capture_context)

    def __post_init__(self) -> None:
        self.slots = Semaphore(self.scheduler.policy.in_flight)
        self.outcomes = OutcomeBuilder(self.now)

    def run(self, pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        ended: list[Outcome] = []
        while True:
            try:
                if self.scheduler.pace.is_exchange_due:
                    self.scheduler.exchange_waits()
                while tasks := self.scheduler.pick(self.begun.values(), may_read=False):  # slots wait: what is there
                    ended += self._begin(tasks, pool)
            finally:  # also where the ledger fails: what it has noted, the books of the failed run have too
                yield from ended
            while tasks := self.scheduler.pick(self.begun.values()):
                yield from self._begin(tasks, pool)
            if not self.begun:
                self.scheduler.exchange_waits()
                return
            ended = [outcome for future in self._wait() for outcome in self._handle_result(future)]

    def _wait(self) -> Collection[Future[PostResult]]:
        """What was answered; ``on_idle`` is called while nothing is."""
        done = wait(self.begun, timeout=IDLE_CALLBACK_S, return_when=FIRST_COMPLETED).done
        if not done:
            self.on_idle()
            return ()
        now = time.monotonic()
        frequent = len(self.answered_at) == FREQUENT_RESULTS and now - self.answered_at[0] < FREQUENT_WITHIN_S
        if frequent and len(done) < len(self.begun):
            done = wait(self.begun, timeout=ANSWER_BATCH_WINDOW_S).done
        self.answered_at.extend([now] * len(done))
        return done

    # ------------------------------------------------------------------------------------------ sending

    def _begin(self, tasks: Iterable[Task], pool: ThreadPoolExecutor) -> list[Outcome]:
        """Claim together what may leave, then hand each request to a worker; returns outcomes of what may not."""
        outcomes: list[Outcome] = []
        pace = self.scheduler.pace
        with self.together():
            claimed = [task for one in tasks if (task := self._claim_fresh(one, outcomes))]
            turns = [pace.take_turn(task.request.client) for task in claimed]
        for task, turn in zip(claimed, turns, strict=True):
            client = task.request.client
            throttles = Throttles(
                self.scheduler.get_throttle(client),
                self.scheduler.everybody,
                self.slots,
                partial(self._is_cancelled, client),
                turn_at=turn,
                interval_s=max(pace.rates.get_intervals_s(client).values(), default=0.0),
                on_retry=partial(pace.count_retry, client),
            )
            future = pool.submit(self._post, task.request, self.breaker.senders[client], throttles)
            self.begun[future] = replace(task, successes=self.breaker.get_successes(client))
        self.record(outcomes)
        return outcomes

    def _claim_fresh(self, task: Task, outcomes: list[Outcome]) -> Task | None:
        """The task with the events that may leave; ``outcomes`` gets the others."""
        wanted = task.request
        stop = self.breaker.find_stop(wanted.client)
        if stop is not None:
            outcomes.append(self.outcomes.defer(wanted, stop))
            return None
        fresh, expired = self.split_by_age(wanted.events)
        if len(expired):
            outcomes.append(self.outcomes.expire(make_part(wanted, expired), task.replaces))
            wanted = make_part(wanted, fresh)
        if not len(wanted):
            return None
        request, lost = self._claim(wanted, task.replaces)
        outcomes += lost
        return replace(task, request=request) if len(request) else None

    def _claim(self, wanted: Request, replaces: str | None) -> tuple[Request, list[Outcome]]:
        """The request as the ledger grants it, and the outcome of what another run took.

        A request of which nothing is left has an outcome too: the ledger knows it by its id.
        """
        claimed, other_run = self.claim(wanted, replaces=replaces), Stop(Reason.OTHER_RUN, "")
        taken = [make_part(wanted, claimed.lost)] if len(claimed.lost) else []
        empty = [claimed.request] if not len(claimed.request) else []
        return claimed.request, [self.outcomes.defer(request, other_run) for request in (*taken, *empty)]

    def _is_cancelled(self, client: str) -> bool:
        return self.closing.is_set() or self.breaker.find_stop(client) is not None

    def _post(self, request: Request, sender: Sender, throttles: Throttles) -> PostResult:
        """On a worker's thread."""

        def post(body: Body) -> Response:
            response = sender.post(request.pixel, body)
            fault = find_clock_fault(self.now(), response.date) if response.date is not None else None
            if fault:
                self.breaker.trip_for_clock(fault)
            return response

        with trace_span(
            "request",
            parent=self.trace_context,
            kind="CLIENT",
            client=request.client,
            pixel=request.pixel,
            events=len(request),
            request_id=request.id,
        ) as annotate:
            result = post_until_final(
                post,
                partial(make_payload, request.events, sender.envelope),
                len(request),
                policy=self.scheduler.policy.retry,
                clock=self.scheduler.clock,
                throttles=throttles,
                on_stop=partial(self.breaker.trip_for_refusal, request),
            )
            annotate(tries=result.tries, accepted=result.accepted, maybe_stored=result.maybe_stored)
            if result.response is not None:
                response = result.response
                annotate(
                    status=response.status, code=response.code, subcode=response.subcode, meta_trace=response.trace_id
                )
        return result

    # ------------------------------------------------------------------------------------------ results

    def _handle_result(self, future: Future[PostResult]) -> list[Outcome]:
        """The outcomes of a request that was answered, noted at once: in time for the next claims."""
        outcomes = [*self._judge(self.begun.pop(future), future.result())]
        self.record(outcomes)
        return outcomes

    def _judge(self, task: Task, result: PostResult) -> Iterator[Outcome]:
        request = task.request
        # With a wrong clock, Meta may object to nothing but an age: that is no event's fault.
        blameless = self.breaker.clock_is_wrong and result.action is Action.ISOLATE
        if blameless or not result.is_final:
            stop = self.breaker.trip_for_giving_up(request, result, task.successes)
            yield self.outcomes.stop(request, result, stop)
        elif result.accepted:
            self.scheduler.allow_more(request.client)
            self.breaker.count_accepted(request.client)
            yield self.outcomes.build(request, Fate.SENT, result)
        elif result.action is Action.ISOLATE:
            self.scheduler.allow_more(request.client)
            yield from self._isolate(task, result)
        else:
            yield self.outcomes.stop(request, result, self.breaker.trip_for_refusal(request, result))

    def _isolate(self, task: Task, result: PostResult) -> Iterator[Outcome]:
        """One event is at fault: reject it where it is known, and send the rest again in smaller requests."""
        request = task.request
        if len(request) == 1:
            yield self._reject(request, result)
            return
        culprit, rest = isolate(
            request.events, result.response.culprit if result.response else None, is_part=task.replaces is not None
        )
        maybe_stored = result.maybe_stored or task.replaces is not None
        # Its events live on in the parts; only its tries and response are kept.
        emptied = Request(request.id, request.client, request.pixel, request.events.slice(0, 0))
        yield self.outcomes.build(emptied, Fate.UNCONFIRMED if maybe_stored else Fate.DEFERRED, result)
        if culprit is not None:
            alone, lost = self._claim(make_part(request, culprit), request.id)
            yield from lost
            if len(alone):
                yield self._reject(alone, result, tries=0)
        replaces = request.id if maybe_stored or culprit is not None else None
        self.scheduler.put_first([make_part(request, part) for part in rest], replaces)

    def _reject(self, request: Request, result: PostResult, *, tries: int | None = None) -> Outcome:
        self.breaker.count_rejected(request, result)
        reason = Reason.NOT_COUNTED if result.response and result.response.code is None else None
        return self.outcomes.build(request, Fate.REJECTED_BY_META, result, reason, tries=tries)
