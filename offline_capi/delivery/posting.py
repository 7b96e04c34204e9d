"""One request, posted until its fate is known or its tries are used up: the one place that repeats and waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Semaphore

from offline_capi.delivery.answers import Answer, Verdict, judge_answer
from offline_capi.delivery.client import AnswerLostError, NotSentError
from offline_capi.delivery.table import Action, Scope

__all__ = ["Clock", "Gate", "Gates", "Policy", "Posted", "post_until_settled"]

#: Longest pause between two tries that we choose ourselves, in seconds; Meta may ask for longer.
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long one request is tried; ``max_wait`` is in seconds from the first try."""

    max_tries: int = 6
    max_wait: float = 600.0
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as an argument, so that tests need not wait."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class Gate:
    """Holds back the requests of a client, account or app that Meta asked to slow down."""

    not_before: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def close_for(self, seconds: float, clock: Clock) -> None:
        with self._lock:
            self.not_before = max(self.not_before, clock.monotonic() + seconds)

    def wait(self, clock: Clock) -> None:
        while (pause := self.not_before - clock.monotonic()) > 0:
            clock.sleep(pause)


@dataclass(frozen=True, slots=True)
class Gates:
    """What a POST has to pass: its client's gate, everybody's, and a place in flight, taken last and briefly."""

    client: Gate
    everybody: Gate
    slots: Semaphore

    def wait(self, clock: Clock) -> None:
        self.everybody.wait(clock)
        self.client.wait(clock)

    def close_for(self, seconds: float, scope: Scope, clock: Clock) -> None:
        (self.everybody if scope is Scope.APP else self.client).close_for(seconds, clock)


@dataclass(frozen=True, slots=True)
class Posted:
    """How it ended: the last answer and its verdict (``None`` where none came), and whether any try may be stored."""

    tries: int
    answer: Answer | None
    verdict: Verdict | None
    maybe_stored: bool
    explanation: str = ""


def post_until_settled(
    post: Callable[[bytes], Answer], body: bytes, events: int, *, policy: Policy, clock: Clock, gates: Gates
) -> Posted:
    """Post ``body`` until it is accepted, refused for good, or out of tries or time; full jitter between tries.

    A throttle closes the gate of the client, or of everybody: their other requests wait as well.
    """
    started, maybe_stored = clock.monotonic(), False
    for tried in range(1, policy.max_tries + 1):
        gates.wait(clock)
        with gates.slots:
            answer, verdict, explanation = _try(post, body, events)
        maybe_stored = maybe_stored or (verdict.stored if verdict else not explanation.startswith("no connection"))
        _mind_usage(answer, gates.client, clock)
        pause = _pause(answer, tried, clock)
        settled = verdict is not None and verdict.action not in (Action.RETRY, Action.WAIT)
        if settled or tried == policy.max_tries or clock.monotonic() - started + pause > policy.max_wait:
            return Posted(tried, answer, verdict, maybe_stored, explanation)
        if verdict is not None and verdict.action is Action.WAIT:
            gates.close_for(pause, verdict.entry.scope if verdict.entry else Scope.CLIENT, clock)
        else:
            clock.sleep(pause)
    raise AssertionError("a policy has at least one try")


def _try(post: Callable[[bytes], Answer], body: bytes, events: int) -> tuple[Answer | None, Verdict | None, str]:
    try:
        answer = post(body)
    except (NotSentError, AnswerLostError) as error:
        return None, None, str(error)
    return answer, judge_answer(answer, events), ""


def _pause(answer: Answer | None, tried: int, clock: Clock) -> float:
    """Full jitter below a doubling bound; never earlier than Meta told."""
    own = clock.jitter() * min(LONGEST_PAUSE, 2.0**tried)
    told = answer.wait if answer and answer.wait else 0.0
    return told + own if told else own


def _mind_usage(answer: Answer | None, gate: Gate, clock: Clock) -> None:
    """From 75 % use of the allowance slow down, from 90 % pause (meta-capi.md 5.5)."""
    if answer is None or answer.usage < 75:
        return
    gate.close_for(answer.wait or (30.0 if answer.usage >= 90 else 2.0), clock)
