"""How fast requests may leave: what Meta's throttles and our own rates leave room for, shared by all that send.

Senders of one pixel, in other processes and on other hosts, meet one allowance at Meta. What one of them is told holds
for all, and a rate is that of all together. Both stand in the ledger, which every sender has to reach anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from offline_capi.model.recipients import client_of

__all__ = ["ALL", "APP", "OwnPace", "Rates", "SharedPace", "of_pixel"]

#: The scope of waits that hold for the app, and so for all clients.
APP = "app"
#: The scope of the rate over all clients.
ALL = "all"


def of_pixel(pixel: str) -> str:
    """The scope of waits that hold for one pixel."""
    return f"pixel {pixel}"


class SharedPace(Protocol):
    """What senders know together; times are Unix seconds. See ``ledger.LedgerPace``."""

    def exchange_waits(self, own: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Tell until when each scope has to wait, and hear the same of everybody, as far as it is not over."""

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
    """Requests a second: of each recipient's client, and of all together; none where they are not limited."""

    of_recipient: Mapping[str, float] = field(default_factory=dict)
    in_all: float | None = None

    def intervals(self, recipient: str) -> dict[str, float]:
        """Scope → seconds that a request takes of it."""
        own, taken = self.of_recipient.get(recipient), {}
        if own:
            taken[f"client {client_of(recipient)}"] = 1 / own
        if self.in_all:
            taken[ALL] = 1 / self.in_all
        return taken
