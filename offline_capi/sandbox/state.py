"""All that one sandbox knows: its clock, who may send, what it remembers, how it misbehaves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from offline_capi.sandbox.access import Access
from offline_capi.sandbox.faults import FaultBook
from offline_capi.sandbox.memory import Memory
from offline_capi.sandbox.meters import Meters
from offline_capi.sandbox.platform import World
from offline_capi.sandbox.read_back import Telling

__all__ = ["SandboxClock", "SandboxState"]


@dataclass(slots=True)
class SandboxClock:
    """Real time until it is set; then it stands at ``fixed`` until it is set again or let go."""

    fixed: float | None = None

    def now(self) -> float:
        return time.time() if self.fixed is None else self.fixed


@dataclass(slots=True)
class SandboxState:
    """One sandbox.

      - ``bad_event``: what one bad event does to its request. ``reject_all`` (the documented rule) stores nothing;
        ``keep_valid`` answers with the same error and keeps the valid events that carry an ``event_id``
        (meta-capi.md 5.2 has both readings).
      - ``meters``: what is used of allowances; without limits, none is measured.
      - ``forward``: answer a retired version as a newer one, with a header that says so, instead of refusing it.
      - ``telling``: how Meta tells of its counts, see ``read_back``.
    - ``sink``: only count events, check and keep nothing: for measuring a sender.
      - ``night``: how often it was reset; what was still under way then belongs to another night and is dropped.
    """

    access: Access = field(default_factory=Access)
    memory: Memory = field(default_factory=Memory)
    faults: FaultBook = field(default_factory=FaultBook)
    clock: SandboxClock = field(default_factory=SandboxClock)
    meters: Meters = field(default_factory=Meters)
    bad_event: Literal["reject_all", "keep_valid"] = "reject_all"
    sink: bool = False
    started: float = field(default_factory=time.monotonic)
    arrived: int = 0
    night: int = 0
    forward: bool = False
    telling: Telling = field(default_factory=Telling)
    in_flight: dict[str, int] = field(default_factory=dict)
    world: World = field(default_factory=World)
    _first_access: Access = field(init=False)

    def __post_init__(self) -> None:
        self._first_access = self.access.copy()

    def reset(self) -> None:
        """Be as at the start: no requests, events or faults, real time, the first grants."""
        self.access = self._first_access.copy()
        self.memory.clear()
        self.faults.clear()
        self.clock.fixed = None
        self.meters = Meters()
        self.bad_event = "reject_all"
        self.forward, self.telling = False, Telling()
        self.arrived = 0
        self.in_flight = {}
        self.world = World()
        self.night += 1
