"""One request, tried until its outcome is known or the retry policy gives it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from offline_capi.delivery.clock import Clock
from offline_capi.delivery.payload import Body
from offline_capi.delivery.retry import RetryPolicy
from offline_capi.delivery.throttle import Throttles
from offline_capi.meta.graph.error_table import Action, Entry, Scope
from offline_capi.meta.graph.response import Classification, Response, classify_response
from offline_capi.runtime.http import AnswerLostError, NotSentError

__all__ = ["PostResult", "post_until_final"]


@dataclass(frozen=True, slots=True)
class PostResult:
    """Result of all tries of one request: the last response, its classification, whether any may have been stored.

    Without a response both are ``None``, and ``explanation`` says why. ``throttled`` is the scope of the throttle that
    ended it. ``lasting``: another try is in vain until somebody has changed a setting.
    """

    tries: int = 0
    response: Response | None = None
    classification: Classification | None = None
    maybe_stored: bool = False
    explanation: str = ""
    throttled: Scope | None = None
    lasting: bool = False

    @property
    def action(self) -> Action | None:
        return self.classification.action if self.classification else None

    @property
    def entry(self) -> Entry | None:
        return self.classification.entry if self.classification else None

    @property
    def accepted(self) -> bool:
        return self.classification is not None and self.classification.accepted

    @property
    def is_final(self) -> bool:
        """Accepted, or refused in a way that a retry does not change."""
        return self.classification is not None and self.action not in (Action.RETRY, Action.WAIT)

    def describe(self, otherwise: str) -> str:
        """The error in our words, or ``otherwise``, with code and Meta's support id; never Meta's own text."""
        response = self.response
        if response is None:
            return otherwise
        code = f"code {response.code}" + (f"/{response.subcode}" if response.subcode else "") if response.code else ""
        trace = f"trace {response.trace_id}" if response.trace_id else ""
        details = ", ".join(part for part in (code or f"HTTP {response.status}", trace) if part)
        return f"{self.entry.means if self.entry else otherwise} ({details})"


def post_until_final(
    post: Callable[[Body], Response],
    make_body: Callable[[], Body],
    events: int,
    *,
    policy: RetryPolicy,
    clock: Clock,
    throttles: Throttles,
    on_stop: Callable[[PostResult], object] = lambda _: None,
) -> PostResult:
    """Post the body until it is accepted, refused for good, or the policy gives it up.

    The body is made when the request has its slot in flight, so that waiting requests take no memory. What Meta asks to
    wait closes the throttle of the client, or of everybody, before the slot is released, and ``on_stop`` is called
    before that with a result that must stop further requests: none of them leaves in between.
    """
    deadline, result = clock.monotonic() + policy.max_wait_s, PostResult()
    while throttles.wait_until_open(deadline, clock) and throttles.acquire_slot(deadline, clock):
        try:
            if throttles.is_cancelled() or throttles.get_remaining_s(clock) > 0:  # since it began to wait for its slot
                continue
            result = _try_once(post, make_body(), events, result)
            if result.action is Action.STOP:
                on_stop(result)
            backoff_s = max(policy.choose_backoff_s(result.tries, clock.jitter()), throttles.interval_s)
            asked_s = _apply_backoff(result, backoff_s, policy, throttles, clock)
        finally:
            throttles.slots.release()
        if policy.is_final(result, time_left_s=deadline - clock.monotonic() - asked_s - backoff_s):
            return result
        throttles.on_retry()
        throttles.sleep(backoff_s, clock)  # a throttle that was closed is so for longer
    return replace(result, throttled=throttles.find_longer_hold(clock))


def _try_once(post: Callable[[Body], Response], body: Body, events: int, before: PostResult) -> PostResult:
    tries = before.tries + 1
    try:
        response = post(body)
    except NotSentError as error:
        return PostResult(tries, maybe_stored=before.maybe_stored, explanation=str(error), lasting=error.lasting)
    except AnswerLostError as error:
        return PostResult(tries, maybe_stored=True, explanation=str(error))
    found = classify_response(response, events)
    throttled = None
    if found.action is Action.WAIT:
        throttled = found.entry.scope if found.entry else Scope.CLIENT
    return PostResult(tries, response, found, before.maybe_stored or found.maybe_stored, throttled=throttled)


def _apply_backoff(
    result: PostResult, backoff_s: float, policy: RetryPolicy, throttles: Throttles, clock: Clock
) -> float:
    """Close throttles for as long as Meta asks, or as the use of a rate limit suggests.

    Returns the seconds that Meta asked to wait: another try comes after those and the backoff.
    """
    response = result.response
    if response is None:
        return 0.0
    throttles.client.hold_for(policy.choose_slow_down_s(response.client_usage), clock)
    throttles.everybody.hold_for(policy.choose_slow_down_s(response.app_usage), clock)
    asked_s = response.wait_s or 0.0
    if asked_s or result.throttled:
        hold_s = asked_s if result.is_final else asked_s + backoff_s
        throttles.choose(result.throttled or Scope.CLIENT).hold_for(hold_s, clock)
    return asked_s
