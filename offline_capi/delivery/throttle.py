"""Throttles: how long the requests of a client, or of everybody, are held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Semaphore

from offline_capi.delivery.clock import Clock
from offline_capi.meta.graph.error_table import Scope

__all__ = ["Throttle", "Throttles"]

#: How often a waiting request checks whether it may still be sent.
POLL_INTERVAL_S = 1.0


@dataclass(slots=True)
class Throttle:
    """Holds back the requests of one client, or of everybody, until ``open_at`` of our monotonic clock."""

    open_at: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def hold_for(self, seconds: float, clock: Clock) -> None:
        """Never shortens a hold."""
        with self._lock:
            self.open_at = max(self.open_at, clock.monotonic() + seconds)

    def get_remaining_s(self, clock: Clock) -> float:
        return max(0.0, self.open_at - clock.monotonic())


@dataclass(frozen=True, slots=True)
class Throttles:
    """All that holds back one request: its client's throttle, everybody's, its turn, and the slots in flight.

    ``is_cancelled`` says whether it must not leave at all. ``turn_at`` is its turn by a limited rate, ``interval_s``
    the time from one request to the next by that rate, and ``on_retry`` is called before each further try.
    """

    client: Throttle
    everybody: Throttle
    slots: Semaphore
    is_cancelled: Callable[[], bool]
    turn_at: float
    interval_s: float
    on_retry: Callable[[], None]

    def choose(self, scope: Scope) -> Throttle:
        return self.everybody if scope is Scope.APP else self.client

    def get_remaining_s(self, clock: Clock) -> float:
        """Seconds until both throttles are open and the request's turn has come."""
        return max(
            self.client.get_remaining_s(clock), self.everybody.get_remaining_s(clock), self.turn_at - clock.monotonic()
        )

    def find_longer_hold(self, clock: Clock) -> Scope | None:
        """Which of the two throttles is closed for longer; ``None`` where both are open."""
        client, everybody = self.client.get_remaining_s(clock), self.everybody.get_remaining_s(clock)
        if not max(client, everybody):
            return None
        return Scope.APP if everybody > client else Scope.CLIENT

    def wait_until_open(self, deadline: float, clock: Clock) -> bool:
        """False at once where that would be after ``deadline``, or where the request is cancelled."""
        while not self.is_cancelled():
            remaining_s = self.get_remaining_s(clock)
            if remaining_s <= 0:
                return True
            if clock.monotonic() + remaining_s > deadline:
                return False
            clock.sleep(min(remaining_s, POLL_INTERVAL_S))
        return False

    def acquire_slot(self, deadline: float, clock: Clock) -> bool:
        """Wait for a slot in flight; False where none comes free before ``deadline``."""
        return self.slots.acquire(timeout=max(0.0, deadline - clock.monotonic()))

    def sleep(self, seconds: float, clock: Clock) -> None:
        """Sleep, but not on after the request is cancelled."""
        until = clock.monotonic() + seconds
        while (rest_s := until - clock.monotonic()) > 0 and not self.is_cancelled():
            clock.sleep(min(rest_s, POLL_INTERVAL_S))
