"""Which request had each event last: recent claims, sorted segments with filters, and ``EventIndex`` over both."""

from __future__ import annotations

from offline_capi.ledger.index.event_index import NEWEST_REQUEST, EventIndex

__all__ = ["NEWEST_REQUEST", "EventIndex"]
