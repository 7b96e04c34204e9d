"""Events → fates: cut into requests, claimed, posted, repeated, taken apart, answered.

``deliver.py`` is the story, ``table.py`` what Meta's codes mean, ``posting.py`` the one place that repeats and waits,
``client.py`` the only HTTP.
"""

from __future__ import annotations

from offline_capi.delivery.attempts import Clock, Policy
from offline_capi.delivery.clock import ClockWitness
from offline_capi.delivery.deliver import deliver
from offline_capi.delivery.pace import Rates
from offline_capi.delivery.payload import Envelope, manual_only, payload
from offline_capi.delivery.requests import cut_requests
from offline_capi.delivery.senders import Sender, open_senders

__all__ = [
    "Clock",
    "ClockWitness",
    "Envelope",
    "Policy",
    "Rates",
    "Sender",
    "cut_requests",
    "deliver",
    "manual_only",
    "open_senders",
    "payload",
]
