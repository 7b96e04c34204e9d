"""One request, posted until its fate is known or its tries are used up: the one place that repeats and waits."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event, Lock, Semaphore

from offline_capi.delivery.payload import Body
from offline_capi.meta.graph.error_table import Action, Scope
from offline_capi.meta.graph.response import Classification, Response, classify_response
from offline_capi.runtime.http import AnswerLostError, NotSentError

__all__ = ["Clock", "Gate", "Gates", "Policy", "Posted", "post_until_settled"]

#: Longest pause between two tries that we choose ourselves, in seconds; Meta may ask for longer.
LONGEST_PAUSE = 60.0
#: Seconds after which a waiting worker looks whether it is still wanted.
NAP = 1.0
#: Per cent of an allowance used, and the seconds by which requests are then held back (meta-capi.md 5.5).
SLOW_DOWN = ((90, 30.0), (75, 2.0))


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long one request is tried, and how many are in flight: of one client, and of all.

    ``max_wait`` is in seconds, waiting to leave included: no try begins later.
    """

    max_tries: int = 6
    max_wait: float = 600.0
    concurrency: int = 4
    in_flight: int = 8


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as an argument, so that tests need not wait."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class Gate:
    """Holds back the requests of a client, account or app that Meta asked to slow down.

    ``denied`` is the answer that shut it for good: no request passes after it, also not one on its way to a worker.
    ``asked`` is until when Meta asked to wait, whatever else has shut it since.
    """

    not_before: float = 0.0
    asked: float = 0.0
    denied: Posted | None = None
    _lock: Lock = field(default_factory=Lock)

    def close_for(self, seconds: float, clock: Clock) -> None:
        with self._lock:
            until = clock.monotonic() + seconds
            self.not_before = max(self.not_before, until)
            self.asked = self.asked if seconds == math.inf else max(self.asked, until)

    def deny(self, posted: Posted) -> None:
        with self._lock:
            self.not_before, self.denied = math.inf, self.denied or posted

    def remaining(self, clock: Clock) -> float:
        return max(0.0, self.not_before - clock.monotonic())


@dataclass(frozen=True, slots=True)
class Gates:
    """What a POST has to pass: its client's gate, everybody's, and a place in flight, taken last and briefly.

    ``closing`` is set when nobody waits for outcomes any more: then nothing further leaves. ``earliest`` is the moment
    that a limited rate leaves it, ``interval`` the seconds from one request to the next by that rate, and ``repeated``
    is told of each further try.
    """

    client: Gate
    everybody: Gate
    slots: Semaphore
    closing: Event = field(default_factory=Event)
    earliest: float = 0.0
    interval: float = 0.0
    repeated: Callable[[], None] = lambda: None

    def of(self, scope: Scope) -> Gate:
        return self.everybody if scope is Scope.APP else self.client

    def remaining(self, clock: Clock) -> float:
        """Seconds until both are open, and its turn has come."""
        return max(self.client.remaining(clock), self.everybody.remaining(clock), self.earliest - clock.monotonic())

    def held_by(self, clock: Clock) -> Scope | None:
        """Which of the two is closed for longer."""
        client, everybody = self.client.remaining(clock), self.everybody.remaining(clock)
        if not max(client, everybody):
            return None
        return Scope.APP if everybody > client else Scope.CLIENT

    def passed(self, give_up_at: float, clock: Clock) -> bool:
        """Wait until both are open; False at once where that would be too late, or where nothing may leave."""
        while (pause := self.remaining(clock)) > 0:
            if clock.monotonic() + pause > give_up_at or self.closing.is_set():
                return False
            clock.sleep(min(pause, NAP))
        return not self.closing.is_set()

    def entered(self, give_up_at: float, clock: Clock) -> bool:
        """Wait for a place in flight; False where none comes free in time."""
        return self.slots.acquire(timeout=max(0.0, give_up_at - clock.monotonic()))

    def nap(self, seconds: float, clock: Clock) -> None:
        until = clock.monotonic() + seconds
        while (rest := until - clock.monotonic()) > 0 and not self.closing.is_set():
            clock.sleep(min(rest, NAP))


@dataclass(frozen=True, slots=True)
class Posted:
    """How it ended: the last answer and its verdict (``None`` where none came), and whether any try may be stored.

    ``throttled`` is who has to wait, where it was a throttle that ended it. ``lasting``: another try is in vain until
    somebody has changed a setting.
    """

    tries: int = 0
    answer: Response | None = None
    verdict: Classification | None = None
    maybe_stored: bool = False
    explanation: str = ""
    throttled: Scope | None = None
    lasting: bool = False

    @property
    def settled(self) -> bool:
        return self.verdict is not None and self.verdict.action not in (Action.RETRY, Action.WAIT)


def post_until_settled(
    post: Callable[[Body], Response],
    body: Callable[[], Body],
    events: int,
    *,
    policy: Policy,
    clock: Clock,
    gates: Gates,
) -> Posted:
    """Post what ``body`` makes until it is accepted, refused for good, or out of tries or time; full jitter between.

    The bytes are made when they have their place in flight, so that those that wait take no memory. What Meta asks to
    wait closes the gate of the client, or of everybody, before the place is given back: no other request of theirs
    leaves earlier.
    """
    give_up_at, posted = clock.monotonic() + policy.max_wait, Posted()
    while gates.passed(give_up_at, clock) and gates.entered(give_up_at, clock):
        try:
            if gates.remaining(clock) > 0:  # closed while this one waited for its place
                continue
            posted = _try(post, body(), events, posted)
            pause = max(_own_pause(posted, clock), gates.interval)
            told = _mind(posted, pause, gates, clock)
        finally:
            gates.slots.release()
        out_of_time = clock.monotonic() + told + pause > give_up_at
        if posted.settled or posted.lasting or posted.tries == policy.max_tries or out_of_time:
            return posted
        gates.repeated()
        if not told:
            gates.nap(pause, clock)
    return replace(posted, throttled=gates.held_by(clock))


def _try(post: Callable[[Body], Response], body: Body, events: int, before: Posted) -> Posted:
    tries = before.tries + 1
    try:
        answer = post(body)
    except NotSentError as error:
        return Posted(tries, maybe_stored=before.maybe_stored, explanation=str(error), lasting=error.lasting)
    except AnswerLostError as error:
        return Posted(tries, maybe_stored=True, explanation=str(error))
    verdict = classify_response(answer, events)
    return Posted(tries, answer, verdict, before.maybe_stored or verdict.maybe_stored, throttled=_throttled(verdict))


def _throttled(verdict: Classification) -> Scope | None:
    if verdict.action is not Action.WAIT:
        return None
    return verdict.entry.scope if verdict.entry else Scope.CLIENT


def _own_pause(posted: Posted, clock: Clock) -> float:
    """Full jitter below a doubling bound."""
    return clock.jitter() * min(LONGEST_PAUSE, 2.0**posted.tries)


def _mind(posted: Posted, pause: float, gates: Gates, clock: Clock) -> float:
    """Close gates for as long as Meta told, and where little is left of an allowance; returns the seconds told."""
    answer, verdict = posted.answer, posted.verdict
    if verdict is not None and verdict.action is Action.STOP:
        gates.of(verdict.entry.scope if verdict.entry else Scope.CLIENT).deny(posted)
    if answer is None:
        return 0.0
    gates.client.close_for(_slowed(answer.client_usage), clock)
    gates.everybody.close_for(_slowed(answer.app_usage), clock)
    told = answer.wait_s or 0.0
    if told or posted.throttled:
        gates.of(posted.throttled or Scope.CLIENT).close_for(told if posted.settled else told + pause, clock)
    return told or (pause if posted.throttled else 0.0)


def _slowed(usage: float) -> float:
    return next((seconds for least, seconds in SLOW_DOWN if usage >= least), 0.0)
