"""Events → fates: cut into requests, claimed, posted, repeated, taken apart, answered.

``deliver.py`` is the story, ``table.py`` what Meta's codes mean, ``posting.py`` the one place that repeats and waits,
``client.py`` the only HTTP.
"""

from __future__ import annotations

from offline_capi.delivery.client import GraphClient, Sender
from offline_capi.delivery.cutting import cut_requests
from offline_capi.delivery.deliver import deliver
from offline_capi.delivery.pace import Rates
from offline_capi.delivery.payload import Envelope, manual_only, payload
from offline_capi.delivery.posting import Clock, Policy
from offline_capi.delivery.senders import open_senders
from offline_capi.delivery.witness import ClockWitness
from offline_capi.meta.graph.error_table import explain, parse_code
from offline_capi.runtime.secret import appsecret_proof

__all__ = [
    "Clock",
    "ClockWitness",
    "Envelope",
    "GraphClient",
    "Policy",
    "Rates",
    "Sender",
    "appsecret_proof",
    "cut_requests",
    "deliver",
    "explain",
    "manual_only",
    "open_senders",
    "parse_code",
    "payload",
]
