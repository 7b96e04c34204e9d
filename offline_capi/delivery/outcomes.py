"""Outcomes of requests, as ledger and report get them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from offline_capi.delivery.attempts import PostResult
from offline_capi.delivery.breaker import Stop
from offline_capi.model import Fate, Outcome, Reason, Request

__all__ = ["OutcomeBuilder"]

#: Different notices of Meta that a run keeps: they are for people to read.
MAX_NOTICES = 20


@dataclass(slots=True)
class OutcomeBuilder:
    """Makes outcomes; each notice of Meta goes with the first that has it."""

    now: Callable[[], datetime]
    _reported: set[str] = field(default_factory=set)

    def defer(self, request: Request, stop: Stop) -> Outcome:
        """It never left."""
        return Outcome(request, Fate.DEFERRED, self.now(), tries=0, reason=stop.reason, explanation=stop.explanation)

    def expire(self, request: Request, replaces: str | None) -> Outcome:
        """Too old to leave. Events that left before, in a request that was split, may be stored."""
        if replaces is None:
            return Outcome(request, Fate.EXPIRED, self.now(), tries=0, reason=Reason.TOO_OLD)
        why = f"{request.client}: events of a refused request became too old while the one at fault was looked for"
        return Outcome(request, Fate.UNCONFIRMED, self.now(), tries=0, reason=Reason.LOST_ANSWER, explanation=why)

    def stop(self, request: Request, result: PostResult, stop: Stop) -> Outcome:
        """Not accepted, and not to be tried again in this run: deferred, unless a try may have been stored."""
        if result.maybe_stored:
            return self.build(request, Fate.UNCONFIRMED, result, Reason.LOST_ANSWER, stop.explanation)
        return self.build(request, Fate.DEFERRED, result, stop.reason, stop.explanation)

    def build(
        self,
        request: Request,
        fate: Fate,
        result: PostResult,
        reason: Reason | None = None,
        explanation: str = "",
        *,
        tries: int | None = None,
    ) -> Outcome:
        response = result.response
        return Outcome(
            request,
            fate,
            self.now(),
            tries=result.tries if tries is None else tries,
            code=response.code if response else None,
            subcode=response.subcode if response else None,
            trace_id=response.trace_id if response else None,
            reason=reason,
            explanation=explanation,
            notices=self._filter_new(response.notices) if response else (),
        )

    def _filter_new(self, notices: Iterable[str]) -> tuple[str, ...]:
        new = tuple(notice for notice in notices if notice not in self._reported)
        kept = new[: MAX_NOTICES - len(self._reported)]
        self._reported.update(kept)
        return kept
