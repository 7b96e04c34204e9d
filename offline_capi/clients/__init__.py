"""Who we send for: authorisation, tokens, connection tests, health.

``check_health`` looks at every client and remembers what it found; ``refusal`` is the circuit breaker that a run
consults; ``authorize.py`` obtains tokens. The only HTTP beside ``delivery``'s.
"""

from __future__ import annotations

from offline_capi.clients.health import HealthReport, Notice, check_health
from offline_capi.clients.overview import Standing, standings
from offline_capi.clients.status import (
    RUN_REFUSED,
    AccessFault,
    ClientStatus,
    StatusBook,
    breaker,
    refusal,
    with_refusal,
    without_refusal,
)

__all__ = [
    "RUN_REFUSED",
    "AccessFault",
    "ClientStatus",
    "HealthReport",
    "Notice",
    "Standing",
    "StatusBook",
    "breaker",
    "check_health",
    "refusal",
    "standings",
    "with_refusal",
    "without_refusal",
]
