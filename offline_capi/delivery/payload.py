"""The bytes of one request: bodies that are JSON already, joined, with what stands beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from offline_capi.model import EventBatch

__all__ = ["Envelope", "payload"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Request-level fields beside ``data`` (D:parameters/main-body; D:using-the-api)."""

    partner_agent: str | None = None
    appsecret_proof: str | None = None
    test_event_code: str | None = None


def payload(events: EventBatch, envelope: Envelope) -> bytes:
    """``{"data":[…],"partner_agent":"…"}``; the same events give the same bytes."""
    fields = {name: getattr(envelope, name) for name in ("partner_agent", "appsecret_proof", "test_event_code")}
    beside = json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":"))[1:]
    bodies = b",".join(events.table.column("body").to_pylist())
    return b'{"data":[' + bodies + (b"]" if beside == "}" else b"],") + beside.encode()
