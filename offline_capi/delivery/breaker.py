"""The circuit breaker: what stops sending, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from offline_capi.delivery.attempts import PostResult
from offline_capi.delivery.senders import Sender
from offline_capi.errors import ConfigError
from offline_capi.meta.graph.error_table import Scope
from offline_capi.model import Reason, Request

__all__ = ["Breaker", "Stop", "Successes"]

#: Events rejected alike, with none accepted, after which the client's configuration is at fault and not its rows.
IDENTICAL_REFUSALS_TO_STOP = 20

#: The key of a stop that holds for all clients.
_EVERYBODY = None

#: Requests accepted at some moment: of one client, and of all.
Successes = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing more is sent for a client, or for everybody."""

    reason: Reason
    explanation: str


@dataclass(slots=True)
class Breaker:
    """Trips for the narrowest scope that a fault concerns, and stays open until the end of the run.

    - everybody: a fault of the app, a throttle of the app, a wrong clock of this machine
    - all clients of a token: Meta refused the token
    - one client: Meta refused its pixel or permission, throttled it for longer than the run may wait, or rejected
      ``IDENTICAL_REFUSALS_TO_STOP`` events alike; or its token cannot be resolved
    - an endpoint that does not answer: the narrowest scope without a success since the request left: everybody, its
      client, or none

    The first stop of a scope stays its reason. Workers trip it and ask it too: a dict's ``setdefault`` is atomic.
    """

    senders: Mapping[str, Sender]
    clock_is_wrong: bool = False
    _stops: dict[str | None, Stop] = field(default_factory=dict)
    _refused_tokens: dict[object, str] = field(default_factory=dict)  # → Meta's error in our words
    _accepted: Counter[str] = field(default_factory=Counter)
    _rejected: Counter[tuple[str, object]] = field(default_factory=Counter)

    def find_stop(self, client: str) -> Stop | None:
        """Why nothing may be sent for this client, or ``None``."""
        stop = self._stops.get(_EVERYBODY) or self._stops.get(client)
        if stop is not None:
            return stop
        try:
            token = self.senders[client].token
        except ConfigError as error:
            why = str(error)
        else:
            if token not in self._refused_tokens:
                return None
            why = f"Meta refused its token for another pixel, {self._refused_tokens[token]}"
        return self._trip(client, Stop(Reason.CLIENT_STOPPED, f"{client}: {why}"))

    def count_accepted(self, client: str) -> None:
        self._accepted[client] += 1

    def get_successes(self, client: str) -> Successes:
        return self._accepted[client], self._accepted.total()

    def trip_for_clock(self, fault: str) -> None:
        """Meta's ``Date`` is not our time: ages of events cannot be judged."""
        self.clock_is_wrong = True
        why = f"{fault}. Set it (NTP) and run again: what was sent is recorded, and repeating is safe"
        self._trip(_EVERYBODY, Stop(Reason.WRONG_CLOCK, why))

    def trip_for_refusal(self, request: Request, result: PostResult) -> Stop:
        """Meta refused the token, pixel, permission or version: one request was enough to know."""
        entry = result.entry
        said = result.describe("stopped") + (f": {entry.do}" if entry else "")
        scope = _EVERYBODY if entry and entry.scope is Scope.APP else request.client
        why = f"{request.client}: Meta refused pixel {request.pixel}, {said}"
        first = self._trip(scope, Stop(Reason.CLIENT_STOPPED, why))
        if entry and entry.scope is Scope.TOKEN:  # last: the client itself is stopped by its own refusal
            self._refused_tokens.setdefault(self.senders[request.client].token, said)
        return replace(first, reason=Reason.CLIENT_STOPPED)

    def trip_for_giving_up(self, request: Request, result: PostResult, since: Successes) -> Stop:
        """Why the retry policy gave a request up; trips for whom the next request would meet the same.

        ``since`` are the successes when the request left.
        """
        client = request.client
        if known := self.find_stop(client):  # tripped while this request waited
            return known
        if result.throttled:
            why = result.explanation or result.describe("Meta asked to wait")
            stop = Stop(Reason.THROTTLED, f"{client}: {why}; its other events wait for the next run")
            return self._trip(_EVERYBODY if result.throttled is Scope.APP else client, stop)
        if not result.tries:
            why = f"{client}: its turn did not come in time; see in_flight and requests_per_second"
            return Stop(Reason.NOT_SENT, why)
        why = result.explanation or result.describe("was not accepted")
        tries = "1 try" if result.tries == 1 else f"{result.tries} tries"
        stop = Stop(Reason.UNREACHABLE, f"{why}, after {tries}. Events not sent wait for the next run")
        own_before, all_before = since
        own_now, all_now = self.get_successes(client)
        if all_now == all_before:
            return self._trip(_EVERYBODY, stop)
        return self._trip(client, stop) if own_now == own_before else stop

    def count_rejected(self, request: Request, result: PostResult) -> None:
        """Trip for a client whose events are all rejected alike."""
        response, client = result.response, request.client
        error = (client, (response.code, response.subcode) if response else None)
        self._rejected[error] += 1
        if not self._accepted[client] and self._rejected[error] >= IDENTICAL_REFUSALS_TO_STOP:
            why = (
                f"{client}: {IDENTICAL_REFUSALS_TO_STOP} events from all over were rejected alike "
                f"({result.describe('rejected')}); check the mapping first"
            )
            self._trip(client, Stop(Reason.CLIENT_STOPPED, why))

    def _trip(self, scope: str | None, stop: Stop) -> Stop:
        return self._stops.setdefault(scope, stop)
