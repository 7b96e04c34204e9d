"""The clients that we send for: authorization, tokens, connection tests, health.

``check_health`` checks every client and remembers the result; ``make_refusal_check`` gives the circuit breaker on
revoked tokens that a run consults; ``authorize.py`` obtains tokens.
"""

from __future__ import annotations

from offline_capi.clients.health import AccessChange, HealthReport, check_health
from offline_capi.clients.overview import UNTESTED_HINT, ClientOverview, build_overviews, find_hint
from offline_capi.clients.status import (
    RUN_REFUSED,
    AccessFault,
    ClientStatus,
    StatusBook,
    end_run_refusal,
    find_refusal,
    find_stop,
    make_refusal_check,
    mark_refusal_reported,
    record_run_refusal,
    remove_run_refusal,
)

__all__ = [
    "RUN_REFUSED",
    "UNTESTED_HINT",
    "AccessChange",
    "AccessFault",
    "ClientOverview",
    "ClientStatus",
    "HealthReport",
    "StatusBook",
    "build_overviews",
    "check_health",
    "end_run_refusal",
    "find_hint",
    "find_refusal",
    "find_stop",
    "make_refusal_check",
    "mark_refusal_reported",
    "record_run_refusal",
    "remove_run_refusal",
]
