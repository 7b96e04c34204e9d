"""Events that Meta would take, at a time of the test's choosing."""

from __future__ import annotations

import time
from typing import Any

NOW = 1_795_000_000
EM = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"  # meta-capi.md 2.3


def lead(event_id: str | None = "e-1", *, at: int | None = None, **changes: Any) -> dict[str, Any]:
    """A CRM event of a moment ago; a change to ``None`` removes the key."""
    event = {
        "event_name": "CreditApproval",
        "event_time": at if at is not None else int(time.time()) - 60,
        "event_id": event_id,
        "action_source": "system_generated",
        "user_data": {"em": [EM]},
        **changes,
    }
    return {key: value for key, value in event.items() if value is not None}


def purchase(event_id: str | None = "o-1", *, at: int | None = None, **custom_data: Any) -> dict[str, Any]:
    """A purchase in a shop."""
    data = {"value": 12.5, "currency": "EUR", "order_id": event_id, **custom_data}
    given = {key: value for key, value in data.items() if value is not None}
    return lead(event_id, at=at, event_name="Purchase", action_source="physical_store", custom_data=given)
