"""Meta's limits, each once, with its source: a key of Meta's documentation (D:, MAPI:) or what else is known.

The sandbox has its own copies on purpose: it is a second opinion. Defaults of settings that are ours alone stay with
the settings.
"""

from __future__ import annotations

from datetime import timedelta

__all__ = [
    "ENVELOPE_BYTES",
    "MAX_ATTRIBUTION_AGE",
    "MAX_EVENTS_PER_REQUEST",
    "MAX_EVENT_AGE",
    "MAX_PHYSICAL_STORE_AGE",
    "MAX_REQUEST_BYTES",
    "OFFLINE_DEDUPLICATION_WINDOW",
    "ONLINE_DEDUPLICATION_WINDOW",
    "STATISTICS_WINDOW",
]

# ---------------------------------------------------------------------------------------------- one request

#: D:using-the-api.
MAX_EVENTS_PER_REQUEST = 1_000
#: Meta publishes no limit (meta-capi.md 5.1): this one is ours.
MAX_REQUEST_BYTES = 2_000_000
#: Bytes of a request around its events (brackets, partner_agent, test_event_code, upload_tag), generously: ours.
ENVELOPE_BYTES = 512

# ---------------------------------------------------------------------------------------------- age of an event

#: D:parameters/server-event. Events of physical stores may be older.
MAX_EVENT_AGE = timedelta(days=7)
#: D:offline-events (meta-capi.md 4); some datasets refuse it, hence the client's ``physical_store_max_age``.
MAX_PHYSICAL_STORE_AGE = timedelta(days=62)
#: D:guides/append-attribution: since the original event.
MAX_ATTRIBUTION_AGE = timedelta(hours=48)

# ---------------------------------------------------------------------------------------------- duplicates

#: How long after the first receipt Meta drops a repeated event (D:deduplicate-pixel-and-server-events).
ONLINE_DEDUPLICATION_WINDOW = timedelta(hours=48)
#: The same for events of physical stores (D:offline-events).
OFFLINE_DEDUPLICATION_WINDOW = timedelta(days=7)

# ---------------------------------------------------------------------------------------------- reading back

#: How far statistics reach back from the moment of the call (MAPI: Ads Pixel Stats, end_time).
STATISTICS_WINDOW = timedelta(days=7)
