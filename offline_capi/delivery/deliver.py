"""Requests → outcomes: claimed, posted, repeated, taken apart where one event is at fault.

Workers only post. Claims are written by the thread that consumes ``deliver``, right before a POST is handed to a
worker; outcomes are given to the same thread, so that one connection to the ledger is enough.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event, Semaphore
from typing import Protocol

import numpy as np
import pyarrow as pa

from offline_capi.delivery.attempts import Clock, Gate, Gates, Policy, Posted, post_until_settled
from offline_capi.delivery.clock import clock_fault
from offline_capi.delivery.pace import ALL, APP, OwnPace, Rates, SharedPace, of_pixel
from offline_capi.delivery.payload import Body, payload
from offline_capi.delivery.senders import Sender
from offline_capi.errors import ConfigError
from offline_capi.meta.graph.error_table import Action, Scope
from offline_capi.meta.graph.response import Response
from offline_capi.model import EventBatch, Fate, Outcome, Reason, Request

__all__ = ["Claimed", "Claims", "deliver"]

SplitByAge = Callable[[EventBatch], tuple[EventBatch, EventBatch]]

#: Requests read ahead, so that a client that waits does not hold up those behind it: as many as two clients of a
#: usual night have, and not more memory than can be spared.
LOOKAHEAD = 32
#: Requests claimed in one transaction.
TOGETHER = 8
#: Events refused alike, with none accepted, after which a client's configuration is at fault and not its rows.
ALIKE = 20
#: Seconds without news after which the consumer is called back.
QUIET = 1.0
#: Seconds for which answers are gathered after one has come: they, and the claims that follow, are one transaction of
#: the ledger. Short beside any answer that comes over the internet.
GATHER = 0.005
#: Seconds between two looks at what other senders were told to wait: one small query of the ledger each.
SHARE_EVERY_S = 1.0
#: Longest wait of another sender that is believed, in seconds: Meta counts in hours, and clocks may differ.
MAX_SHARED_WAIT_S = 86_400.0
#: Seconds for which requests of a limited rate are given their turns in advance.
TURNS_AHEAD_S = 2.0
#: Different notices of Meta that a run keeps: they are for people to read.
MAX_NOTICES = 20
#: Requests begun over all clients; those that wait to be repeated do not take a place in flight.
WORKERS = 32


class Claimed(Protocol):
    """A claim's result: the request with its id, and the events that another run took."""

    @property
    def request(self) -> Request: ...
    @property
    def lost(self) -> EventBatch: ...


class Claims(Protocol):
    """Writes the intent; see ``ledger.Ledger.claim``."""

    def __call__(self, wanted: Request, *, replaces: str | None = None) -> Claimed: ...


def deliver(
    requests: Iterable[Request],
    *,
    senders: Mapping[str, Sender],
    claim: Claims,
    policy: Policy,
    clock: Clock | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    split_by_age: SplitByAge = lambda events: (events, events.slice(0, 0)),
    together: Callable[[], AbstractContextManager[None]] = nullcontext,
    while_quiet: Callable[[], None] = lambda: None,
    pace: SharedPace | None = None,
    rates: Rates | None = None,
) -> Generator[Outcome]:
    """Send ``requests``; every event of each ends in exactly one outcome.

    - a passing fault is repeated; an answer that never came leaves the request *unconfirmed*
    - one bad event costs one event: it is named by Meta or found by halving, and its neighbours go the same night
    - a fault of a pixel or permission stops that client, once; its other events are *deferred*, never refused
    - a fault of a token stops, likewise, every client that uses it
    - an answer whose ``Date`` is not our time holds everything: ages of events cannot be judged by a wrong clock
    - an endpoint that cannot be reached holds everything after the first request that used up its tries

    ``split_by_age`` tells events that stay fresh for ``policy.max_wait`` from those that have *expired* meanwhile: Meta
    refuses a whole request for one event that is too old. Claims made inside ``together()`` are written at once.
    ``senders`` may raise ``ConfigError`` for a client whose token cannot be had: that client is stopped.
    ``while_quiet`` is called each second in which nothing is answered, for a ledger that has to say it is alive. Closed
    early, it lets what is on the wire be answered, repeats nothing, and leaves those unconfirmed requests.
    ``pace`` is what all senders know of throttles and rates, ``rates`` how many requests may leave a second.
    """
    shared = _Pace(pace or OwnPace(), rates or Rates(), clock or Clock(), now)
    delivery = _Delivery(senders, claim, policy, clock or Clock(), now, split_by_age, together, while_quiet, shared)
    yield from delivery.run(iter(requests))


@dataclass(slots=True)
class _Task:
    """A request to be posted; ``replaces`` is the one it was cut from, where that may have been stored all the same.

    ``accepted`` is how many requests had been accepted when it left: of its client, and of all.
    """

    request: Request
    replaces: str | None = None
    accepted: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why nothing more goes out for a client, or for anybody."""

    reason: Reason
    explanation: str


@dataclass(slots=True)
class _Pace:
    """This sender's view of what all senders share."""

    shared: SharedPace
    rates: Rates
    clock: Clock
    now: Callable[[], datetime]
    waits: dict[str, float] = field(default_factory=dict)  # scope → until when, as other senders were told
    told: dict[str, float] = field(default_factory=dict)  # … and as we were, and have said
    turns: dict[str, float] = field(default_factory=dict)  # scope of a rate → our last turn, by our monotonic clock
    repeats: Counter[str] = field(default_factory=Counter)
    look_at: float = -math.inf

    @property
    def due(self) -> bool:
        return self.clock.monotonic() >= self.look_at

    def share(self, asked: Mapping[str, float]) -> None:
        """Tell until when scopes were asked to wait, by our monotonic clock, and hear of others."""
        moment = self.clock.monotonic()
        self.look_at = moment + SHARE_EVERY_S
        now = self.now().timestamp()
        ours = {scope: now + until - moment for scope, until in asked.items() if until > moment}
        news = {scope: until for scope, until in ours.items() if until > self._known(scope) + SHARE_EVERY_S}
        heard = self.shared.exchange_waits(news, now)
        self.told |= news
        self.waits = {
            scope: until
            for scope, until in heard.items()
            if until > self.told.get(scope, 0.0) + SHARE_EVERY_S and until < now + MAX_SHARED_WAIT_S
        }

    def _known(self, scope: str) -> float:
        return max(self.told.get(scope, 0.0), self.waits.get(scope, 0.0))

    def wait_of(self, scope: str) -> float:
        """Seconds that others were told to wait, from now on."""
        return self.waits[scope] - self.now().timestamp() if scope in self.waits else 0.0

    def take_turn(self, recipient: str) -> float:
        """When a request may leave, by our monotonic clock; tries that were repeated meanwhile take their turns too."""
        intervals = self.rates.intervals(recipient)
        if not intervals:
            return 0.0
        now, repeats = self.now().timestamp(), self.repeats.pop(recipient, 0)
        if repeats:  # they are past: what they took follows the turn before them
            self.shared.reserve_slot({scope: one * repeats for scope, one in intervals.items()}, 0.0)
        start = self.shared.reserve_slot(intervals, now)
        turn = self.clock.monotonic() + start - now
        self.turns |= dict.fromkeys(intervals, turn)
        return turn

    def far_ahead(self, scopes: Iterable[str]) -> bool:
        """Whether turns have been taken for as long as should be."""
        return any(self.turns.get(one, -math.inf) > self.clock.monotonic() + TURNS_AHEAD_S for one in scopes)


@dataclass(slots=True)
class _Delivery:
    senders: Mapping[str, Sender]
    claim: Claims
    policy: Policy
    clock: Clock
    now: Callable[[], datetime]
    split_by_age: SplitByAge
    together: Callable[[], AbstractContextManager[None]]
    while_quiet: Callable[[], None]
    pace: _Pace
    pixels: dict[str, str] = field(default_factory=dict)
    queue: deque[_Task] = field(default_factory=deque)
    flying: dict[Future[Posted], _Task] = field(default_factory=dict)
    stops: dict[str | None, _Stop] = field(default_factory=dict)
    refused_tokens: dict[object, str] = field(default_factory=dict)  # → what Meta said, and what to do
    gates: dict[str | None, Gate] = field(default_factory=dict)
    refused: Counter[tuple[str, object]] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    let_in: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    wrong_clock: str | None = None
    closing: Event = field(default_factory=Event)
    slots: Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = Semaphore(self.policy.in_flight)

    def run(self, requests: Iterator[Request]) -> Iterator[Outcome]:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="post") as pool:
            try:
                yield from self._run(requests, pool)
            finally:
                self.closing.set()

    def _run(self, requests: Iterator[Request], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        while True:
            if self.pace.due:
                self._share_waits()
            yield from self._launch(requests, pool)
            if not self.flying:
                self._share_waits()
                return
            done = wait(self.flying, timeout=QUIET, return_when=FIRST_COMPLETED).done
            if not done:
                self.while_quiet()
            elif len(done) < len(self.flying):
                done = wait(self.flying, timeout=GATHER).done
            for future in done:
                yield from self._settle(self.flying.pop(future), future.result())

    # ------------------------------------------------------------------------------------------ out

    def _share_waits(self) -> None:
        """What Meta told this sender holds for all others of the pixel or app, and theirs for this one."""
        asked: dict[str, float] = {APP: self._gate(None).asked}
        for client, pixel in self.pixels.items():
            scope = of_pixel(pixel)
            asked[scope] = max(asked.get(scope, 0.0), self._gate(client).asked)
        self.pace.share(asked)
        self._gate(None).close_for(self.pace.wait_of(APP), self.clock)
        for client in self.pixels:
            self._mind_others(client)

    def _mind_others(self, client: str) -> None:
        self._gate(client).close_for(self.pace.wait_of(of_pixel(self.pixels[client])), self.clock)

    def _launch(self, requests: Iterator[Request], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        while tasks := self._ready(requests):
            yield from self._start(tasks, pool)

    def _ready(self, requests: Iterator[Request]) -> list[_Task]:
        """What may leave now, a few at a time: they are claimed together, for the ledger waits for its disk once."""
        tasks: list[_Task] = []
        while len(tasks) < min(TOGETHER, WORKERS - len(self.flying)):
            if (tasks or self.flying) and self.pace.far_ahead([ALL]):
                break
            task = self._next(requests, tasks)
            if task is None:
                break
            tasks.append(task)
        return tasks

    def _next(self, requests: Iterator[Request], chosen: Iterable[_Task]) -> _Task | None:
        """The first request whose client may have one more in flight; reads ahead a little to find one."""
        busy, full = Counter(task.request.client for task in (*self.flying.values(), *chosen)), set[str]()
        place = 0
        while place < len(self.queue) or self._read_one(requests):
            task = self.queue[place]
            client = task.request.client
            if client not in full and busy[client] < self._limit(client):
                del self.queue[place]
                return task
            full.add(client)
            place += 1
        return None

    def _read_one(self, requests: Iterator[Request]) -> bool:
        request = next(requests, None) if len(self.queue) < LOOKAHEAD else None
        if request is not None:
            self.queue.append(_Task(request))
            if request.client not in self.pixels:
                self.pixels[request.client] = request.pixel
                self._mind_others(request.client)
        return request is not None

    def _limit(self, client: str) -> int:
        """A client's first request goes alone: a fault of its token is then met once, not once a worker.

        While Meta asks a client to wait, one of its requests does so for all: workers are for those that may go.
        """
        if self._stop_of(client):
            return self.policy.concurrency
        waits = self._gate(client).remaining(self.clock) > 0 or self.pace.far_ahead(self.pace.rates.intervals(client))
        return self.policy.concurrency if client in self.let_in and not waits else 1

    def _start(self, tasks: Iterable[_Task], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        outcomes: list[Outcome] = []
        with self.together():
            claimed = [task for one in tasks if (task := self._claimed_fresh(one, outcomes))]
            turns = [self.pace.take_turn(task.request.client) for task in claimed]
        for task, turn in zip(claimed, turns, strict=True):
            client = task.request.client
            gates = Gates(
                self._gate(client),
                self._gate(None),
                self.slots,
                self.closing,
                earliest=turn,
                interval=max(self.pace.rates.intervals(client).values(), default=0.0),
                repeated=partial(self.pace.repeats.update, [client]),
            )
            future = pool.submit(self._post, task.request, self.senders[client], gates)
            self.flying[future] = replace(task, accepted=(self.accepted[client], self.accepted.total()))
        yield from outcomes

    def _claimed_fresh(self, task: _Task, outcomes: list[Outcome]) -> _Task | None:
        """The task with what of it may leave; ``outcomes`` gets what may not."""
        wanted = task.request
        stop = self._stop_of(wanted.client)
        if stop is not None:
            outcomes.append(self._held(wanted, stop))
            return None
        fresh, expired = self.split_by_age(wanted.events)
        if len(expired):
            outcomes.append(self._expired(_part(wanted, expired), task.replaces))
            wanted = _part(wanted, fresh)
        if not len(wanted):
            return None
        request, lost = self._claimed(wanted, task.replaces)
        outcomes += lost
        return replace(task, request=request) if len(request) else None

    def _claimed(self, wanted: Request, replaces: str | None) -> tuple[Request, list[Outcome]]:
        """The request as the ledger grants it, and the outcome of what another run took.

        A request of which nothing is left has an outcome too: the ledger knows it by its id.
        """
        claimed, other_run = self.claim(wanted, replaces=replaces), _Stop(Reason.OTHER_RUN, "")
        taken = [_part(wanted, claimed.lost)] if len(claimed.lost) else []
        empty = [claimed.request] if not len(claimed.request) else []
        return claimed.request, [self._held(request, other_run) for request in (*taken, *empty)]

    def _expired(self, request: Request, replaces: str | None) -> Outcome:
        """Too old to leave; where they left before in a request that was refused, they may be stored."""
        if replaces is None:
            return Outcome(request, Fate.EXPIRED, self.now(), tries=0, reason=Reason.TOO_OLD)
        why = f"{request.client}: events of a refused request became too old while the one at fault was looked for"
        return Outcome(request, Fate.UNCONFIRMED, self.now(), tries=0, reason=Reason.LOST_ANSWER, explanation=why)

    def _gate(self, whose: str | None) -> Gate:
        return self.gates.setdefault(whose, Gate())

    def _post(self, request: Request, sender: Sender, gates: Gates) -> Posted:
        body = partial(payload, request.events, sender.envelope)

        def post(parts: Body) -> Response:
            answer = sender.post(request.pixel, parts)
            fault = clock_fault(self.now(), answer.date) if answer.date is not None else None
            if fault:
                self.wrong_clock = fault
                gates.everybody.close_for(math.inf, self.clock)
            return answer

        return post_until_settled(post, body, len(request), policy=self.policy, clock=self.clock, gates=gates)

    def _stop_of(self, client: str) -> _Stop | None:
        stop = self.stops.get(None) or self.stops.get(client)
        if stop is not None:
            return stop
        try:
            token = self.senders[client].token
        except ConfigError as error:
            why = str(error)
        else:
            if token not in self.refused_tokens:
                return None
            why = f"Meta refused its token for another pixel, {self.refused_tokens[token]}"
        self._stop(client, _Stop(Reason.CLIENT_STOPPED, f"{client}: {why}"))
        return self.stops[client]

    # ------------------------------------------------------------------------------------------ back

    def _settle(self, task: _Task, posted: Posted) -> Iterator[Outcome]:
        request, verdict = task.request, posted.verdict
        if self.wrong_clock:
            why = f"{self.wrong_clock}. Set it (NTP) and run again: what was sent is recorded, and repeating is safe"
            self._stop(None, _Stop(Reason.WRONG_CLOCK, why))
        if self.wrong_clock and verdict is not None and verdict.action is Action.ISOLATE:
            yield self._given_up(task, posted)  # Meta may object to nothing but an age
        elif verdict is None or not posted.settled:
            yield self._given_up(task, posted)
        elif verdict.accepted:
            self.let_in.add(request.client)
            self.accepted[request.client] += 1
            yield self._outcome(request, Fate.SENT, posted)
        elif verdict.action is Action.ISOLATE:
            self.let_in.add(request.client)
            yield from self._isolate(task, posted)
        else:
            yield self._stopped(request, posted)

    def _given_up(self, task: _Task, posted: Posted) -> Outcome:
        """Out of tries: whatever the fault is, the next request would meet it too, unless others get through."""
        request = task.request
        stop = self._known_stop(request) or self._stop_for(task, posted)
        if posted.maybe_stored:
            return self._outcome(request, Fate.UNCONFIRMED, posted, Reason.LOST_ANSWER, stop.explanation)
        return self._outcome(request, Fate.DEFERRED, posted, stop.reason, stop.explanation)

    def _known_stop(self, request: Request) -> _Stop | None:
        """Why this request was not let out; a worker may have met the reason before its answer was settled here."""
        denied = self._gate(None).denied or self._gate(request.client).denied
        known = self.stops.get(None) or self.stops.get(request.client)
        return known or (self._denied(request, denied) if denied else None)

    def _stop_for(self, task: _Task, posted: Posted) -> _Stop:
        request = task.request
        if not posted.tries and not posted.throttled:
            return _Stop(
                Reason.NOT_SENT,
                f"{request.client}: its turn did not come in time; see in_flight and requests_per_second",
            )
        why = posted.explanation or _words(posted, "Meta asked to wait" if posted.throttled else "was not accepted")
        if posted.throttled:
            stop = _Stop(Reason.THROTTLED, f"{request.client}: {why}; its other events wait for the next run")
            self._stop(None if posted.throttled is Scope.APP else request.client, stop)
        else:
            stop = _Stop(Reason.UNREACHABLE, f"{why}, after {_tries(posted)}. Events not sent wait for the next run")
            self._stop_unreachable(task, stop)
        return stop

    def _stop(self, whose: str | None, stop: _Stop) -> None:
        """Nothing more leaves for this client, or for anybody: not the requests that wait to be repeated either."""
        self.stops.setdefault(whose, stop)
        self._gate(whose).close_for(math.inf, self.clock)

    def _stop_unreachable(self, task: _Task, stop: _Stop) -> None:
        """Stop whoever met nothing but this fault since the request left: everybody, its client, or nobody."""
        client = task.request.client
        own, all_clients = task.accepted
        if self.accepted.total() == all_clients:
            self._stop(None, stop)
        elif self.accepted[client] == own:
            self._stop(client, stop)

    def _stopped(self, request: Request, posted: Posted) -> Outcome:
        """A fault of token, pixel, permission or version: one request was enough to know."""
        stop = self._denied(request, posted)
        if posted.maybe_stored:
            return self._outcome(request, Fate.UNCONFIRMED, posted, Reason.LOST_ANSWER, stop.explanation)
        return self._outcome(request, Fate.DEFERRED, posted, Reason.CLIENT_STOPPED, stop.explanation)

    def _denied(self, request: Request, posted: Posted) -> _Stop:
        entry = posted.verdict.entry if posted.verdict else None
        advice = f": {entry.do}" if entry else ""
        said = f"{_words(posted, 'stopped')}{advice}"
        scope = None if entry is not None and entry.scope is Scope.APP else request.client
        self._stop(scope, _Stop(Reason.CLIENT_STOPPED, f"{request.client}: Meta refused pixel {request.pixel}, {said}"))
        if entry is not None and entry.scope is Scope.TOKEN:
            self.refused_tokens[self.senders[request.client].token] = said
            for client in list(self.senders):
                self._stop_of(client)  # so that those of its requests stay, too, that wait to be repeated
        return self.stops[scope]

    # ------------------------------------------------------------------------------------------ taking apart

    def _isolate(self, task: _Task, posted: Posted) -> Iterator[Outcome]:
        """One event is at fault: settle it where it stands alone, else go on with smaller requests."""
        request = task.request
        if len(request) == 1:
            yield self._refused(request, posted)
            return
        doubtful = posted.maybe_stored or task.replaces is not None
        yield self._outcome(_emptied(request), Fate.UNCONFIRMED if doubtful else Fate.DEFERRED, posted)
        culprit = posted.answer.culprit if posted.answer else None
        if culprit is not None and culprit < len(request):
            yield from self._named(task, culprit, posted)
        else:
            self._again(request, _halves(request.events), doubtful=doubtful)

    def _named(self, task: _Task, culprit: int, posted: Posted) -> Iterator[Outcome]:
        """Meta said which event it is: that one is refused without another POST, the rest goes again.

        In one request the first time, which is all that a single bad event costs; in two from then on.
        """
        request = task.request
        alone, lost = self._claimed(_part(request, request.events.slice(culprit, 1)), request.id)
        yield from lost
        if len(alone):
            yield self._refused(alone, posted, tries=0)
        before, after = request.events.slice(0, culprit), request.events.slice(culprit + 1, len(request))
        rest = EventBatch.joined((before, after))
        self._again(request, (rest,) if task.replaces is None or len(rest) == 1 else _halves(rest))

    def _again(self, request: Request, parts: Iterable[EventBatch], *, doubtful: bool = True) -> None:
        """Ahead of all others: the same night, and soon enough for Meta's own deduplication."""
        replaces = request.id if doubtful else None
        self.queue.extendleft(_Task(_part(request, part), replaces) for part in reversed(list(parts)))

    def _refused(self, request: Request, posted: Posted, *, tries: int | None = None) -> Outcome:
        answer = posted.answer
        fault = (request.client, (answer.code, answer.subcode) if answer else None)
        self.refused[fault] += 1
        if not self.accepted[request.client] and self.refused[fault] >= ALIKE:
            why = f"{request.client}: {ALIKE} events from all over were refused alike ({_words(posted, 'refused')})"
            self._stop(request.client, _Stop(Reason.CLIENT_STOPPED, f"{why}; look at the mapping first"))
        reason = Reason.NOT_COUNTED if answer and answer.code is None else None
        return self._outcome(request, Fate.REJECTED_BY_META, posted, reason, tries=tries)

    # ------------------------------------------------------------------------------------------ outcomes

    def _held(self, request: Request, stop: _Stop) -> Outcome:
        return Outcome(request, Fate.DEFERRED, self.now(), tries=0, reason=stop.reason, explanation=stop.explanation)

    def _outcome(
        self,
        request: Request,
        fate: Fate,
        posted: Posted,
        reason: Reason | None = None,
        explanation: str = "",
        *,
        tries: int | None = None,
    ) -> Outcome:
        answer = posted.answer
        return Outcome(
            request,
            fate,
            self.now(),
            tries=posted.tries if tries is None else tries,
            code=answer.code if answer else None,
            subcode=answer.subcode if answer else None,
            trace_id=answer.trace_id if answer else None,
            reason=reason,
            explanation=explanation,
            notices=self._news(answer.notices) if answer else (),
        )

    def _news(self, notices: Iterable[str]) -> tuple[str, ...]:
        """Those that no outcome of this run has had; once there are too many, no further ones."""
        news = tuple(notice for notice in notices if notice not in self.told)[: MAX_NOTICES - len(self.told)]
        self.told.update(news)
        return news


def _halves(events: EventBatch) -> tuple[EventBatch, EventBatch]:
    """Every other event: bad rows stand together, and what is refused first should speak for all."""
    places = np.arange(len(events))
    return events.take(pa.array(places[::2])), events.take(pa.array(places[1::2]))


def _part(request: Request, events: EventBatch) -> Request:
    return Request("", request.client, request.pixel, events)


def _emptied(request: Request) -> Request:
    """The request without its events, which live on in smaller ones; only its tries and answer are to be kept."""
    return Request(request.id, request.client, request.pixel, request.events.slice(0, 0))


def _tries(posted: Posted) -> str:
    return "1 try" if posted.tries == 1 else f"{posted.tries} tries"


def _words(posted: Posted, otherwise: str) -> str:
    """A verdict in our words: code, meaning and Meta's support id, never Meta's text."""
    answer, entry = posted.answer, posted.verdict.entry if posted.verdict else None
    if answer is None:
        return otherwise
    code = f"code {answer.code}" + (f"/{answer.subcode}" if answer.subcode else "") if answer.code else ""
    trace = f"trace {answer.trace_id}" if answer.trace_id else ""
    details = ", ".join(part for part in (code or f"HTTP {answer.status}", trace) if part)
    return f"{entry.means if entry else otherwise} ({details})"
