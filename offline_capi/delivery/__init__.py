"""Events → outcomes: cut into requests, claimed, posted, retried, isolated.

``dispatch.py`` is the story; its parts have one reason each:

- ``requests``, ``payload``: events into requests, requests into bytes
- ``scheduler``: which request leaves next; ``throttle``, ``pace``: when it may
- ``attempts``: the tries of one request; ``retry``: the policy that decides on them, and on retries of a whole run
- ``breaker``: what stops sending, and for whom
- ``isolate``: which parts of a refused request are sent again
- ``outcomes``: what ledger and report get
- ``senders``: each client's token; ``clock``: time, and whether ours is right
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.delivery.clock import Clock, ClockWitness
    from offline_capi.delivery.dispatch import deliver
    from offline_capi.delivery.pace import Rates
    from offline_capi.delivery.payload import Envelope, check_test_event_code, make_payload
    from offline_capi.delivery.requests import cut_requests
    from offline_capi.delivery.retry import RetryPolicy
    from offline_capi.delivery.scheduler import DeliveryPolicy
    from offline_capi.delivery.senders import Sender, open_senders, resolve_token

__all__ = [
    "Clock",
    "ClockWitness",
    "DeliveryPolicy",
    "Envelope",
    "Rates",
    "RetryPolicy",
    "Sender",
    "check_test_event_code",
    "cut_requests",
    "deliver",
    "make_payload",
    "open_senders",
    "resolve_token",
]

_HOMES = {
    "Clock": "clock",
    "ClockWitness": "clock",
    "DeliveryPolicy": "scheduler",
    "Envelope": "payload",
    "Rates": "pace",
    "RetryPolicy": "retry",
    "Sender": "senders",
    "check_test_event_code": "payload",
    "cut_requests": "requests",
    "deliver": "dispatch",
    "make_payload": "payload",
    "open_senders": "senders",
    "resolve_token": "senders",
}

#: A DAG file needs the retry policy, and must not load Arrow for it.
__getattr__ = import_on_demand(__name__, _HOMES)
