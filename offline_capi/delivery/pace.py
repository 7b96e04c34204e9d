"""How fast requests may leave, shared by all senders: waits that Meta asked for, and our own rate limits.

Senders of one pixel, in other processes and on other hosts, share one rate limit at Meta: what one of them is asked to
wait holds for all, and a rate is that of all together. Both are kept in the ledger, which every sender has to reach
anyway.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from offline_capi.delivery.clock import Clock
from offline_capi.model.recipients import client_of

__all__ = ["ALL_SCOPE", "APP_SCOPE", "OwnPace", "PaceKeeper", "Rates", "SharedPace", "make_pixel_scope"]

#: The scope of waits that hold for the app, and so for all clients.
APP_SCOPE = "app"
#: The scope of the rate over all clients.
ALL_SCOPE = "all"
#: Time between two exchanges of waits with other senders: one small query of the ledger each.
SHARE_INTERVAL_S = 1.0
#: Longest wait of another sender that is believed: Meta counts in hours, and clocks may differ.
MAX_SHARED_WAIT_S = 86_400.0
#: How far ahead requests of a limited rate take their turns.
MAX_TURNS_AHEAD_S = 2.0


def make_pixel_scope(pixel: str) -> str:
    """The scope of waits that hold for one pixel."""
    return f"pixel {pixel}"


class SharedPace(Protocol):
    """What senders share; times are Unix seconds. See ``ledger.LedgerPace``."""

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Publish until when each scope has to wait; returns the same of all senders, as far as it is not over."""

    def reserve_slot(self, intervals: Mapping[str, float], now: float) -> float:
        """When the next request of these scopes may leave; it takes ``intervals`` seconds of each."""


class OwnPace:
    """For one process alone."""

    def __init__(self) -> None:
        self._free_at: dict[str, float] = {}

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:  # noqa: ARG002
        return {}

    def reserve_slot(self, intervals: Mapping[str, float], now: float) -> float:
        start = max([now, *(self._free_at.get(scope, 0.0) for scope in intervals)])
        self._free_at |= {scope: start + seconds for scope, seconds in intervals.items()}
        return start


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits in requests a second: of each recipient's client, and of all together; ``None`` is no limit."""

    of_recipient: Mapping[str, float] = field(default_factory=dict)
    in_all: float | None = None

    def get_intervals_s(self, recipient: str) -> dict[str, float]:
        """Scope → seconds that a request takes of it."""
        own, intervals = self.of_recipient.get(recipient), {}
        if own:
            intervals[f"client {client_of(recipient)}"] = 1 / own
        if self.in_all:
            intervals[ALL_SCOPE] = 1 / self.in_all
        return intervals


@dataclass(slots=True)
class PaceKeeper:
    """This sender's view of the shared pace."""

    shared: SharedPace
    rates: Rates
    clock: Clock
    now: Callable[[], datetime]
    _waits: dict[str, float] = field(default_factory=dict)  # scope → until when other senders have to wait
    _published: dict[str, float] = field(default_factory=dict)  # … and until when we have to, as published
    _turns: dict[str, float] = field(default_factory=dict)  # scope of a rate → our last turn, by our monotonic clock
    _retries: Counter[str] = field(default_factory=Counter)
    _share_at: float = -math.inf

    @property
    def is_exchange_due(self) -> bool:
        return self.clock.monotonic() >= self._share_at

    def exchange_waits(self, asked: Mapping[str, float]) -> None:
        """Publish until when scopes were asked to wait, by our monotonic clock, and fetch those of other senders."""
        moment = self.clock.monotonic()
        self._share_at = moment + SHARE_INTERVAL_S
        now = self.now().timestamp()
        ours = {scope: now + until - moment for scope, until in asked.items() if until > moment}
        news = {scope: until for scope, until in ours.items() if until > self._get_known_wait(scope) + SHARE_INTERVAL_S}
        fetched = self.shared.exchange_waits(news, now)
        self._published |= news
        self._waits = {
            scope: until
            for scope, until in fetched.items()
            if until > self._published.get(scope, 0.0) + SHARE_INTERVAL_S and until < now + MAX_SHARED_WAIT_S
        }

    def _get_known_wait(self, scope: str) -> float:
        return max(self._published.get(scope, 0.0), self._waits.get(scope, 0.0))

    def get_wait_s(self, scope: str) -> float:
        """Seconds that other senders were asked to wait, from now on."""
        return self._waits[scope] - self.now().timestamp() if scope in self._waits else 0.0

    def count_retry(self, recipient: str) -> None:
        """A further try takes a turn as well; it is reserved together with the next request's."""
        self._retries.update([recipient])

    def take_turn(self, recipient: str) -> float:
        """When a request may leave, by our monotonic clock; retries since the last turn are reserved as well."""
        intervals = self.rates.get_intervals_s(recipient)
        if not intervals:
            return 0.0
        now, retries = self.now().timestamp(), self._retries.pop(recipient, 0)
        if retries:  # they have left already: what they took follows the turn before them
            self.shared.reserve_slot({scope: one * retries for scope, one in intervals.items()}, 0.0)
        start = self.shared.reserve_slot(intervals, now)
        turn = self.clock.monotonic() + start - now
        self._turns |= dict.fromkeys(intervals, turn)
        return turn

    def is_far_ahead(self, scopes: Iterable[str]) -> bool:
        """Whether turns have been taken as far ahead as they should be."""
        latest = self.clock.monotonic() + MAX_TURNS_AHEAD_S
        return any(self._turns.get(scope, -math.inf) > latest for scope in scopes)
