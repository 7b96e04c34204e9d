"""What Meta publishes about events, as data: every constant with the page it comes from."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import get_args

import pycountry

from offline_capi.config.types import ActionSource
from offline_capi.meta.standard_events import (
    APPEND_ATTRIBUTION,
    APPEND_VALUE,
    PURCHASE,
    STANDARD_EVENTS,
    StandardEvent,
)

__all__ = [
    "ACTION_SOURCES",
    "AGE_MARGIN",
    "APP",
    "APPEND_ATTRIBUTION",
    "APPEND_VALUE",
    "CLOCK_SKEW",
    "CORE_CUSTOM",
    "CRM",
    "CUSTOM_DATA",
    "MESSAGING",
    "PHYSICAL_STORE",
    "PURCHASE",
    "STANDARD_EVENTS",
    "SYSTEM",
    "TOO_LITTLE",
    "WEBSITE",
    "StandardEvent",
    "currencies",
    "events_that_need",
]

ACTION_SOURCES: tuple[str, ...] = get_args(ActionSource)  # D:parameters/server-event
PHYSICAL_STORE = "physical_store"
WEBSITE = "website"
APP = "app"
MESSAGING = "business_messaging"
SYSTEM = "system_generated"
CRM = "crm"  # D:conversion-leads-integration: event_source of the stages of a lead

AGE_MARGIN = timedelta(hours=1)  # ours: an event that is fresh when built must still be fresh when it arrives (P5)
CLOCK_SKEW = timedelta(seconds=60)  # RS PR #3376: production senders allow a minute; Meta documents no tolerance


def events_that_need(parameter: str) -> list[str]:
    return [name for name, event in STANDARD_EVENTS.items() if parameter in event.required]


# The standard keys of custom_data in the order in which they are written (D:parameters/custom-data; D:offline-events;
# D:conversion-leads-integration).
CUSTOM_DATA: tuple[str, ...] = (
    "value",
    "currency",
    "predicted_ltv",
    "net_revenue",
    "order_id",
    "item_number",
    "num_items",
    "content_type",
    "content_name",
    "content_category",
    "content_ids",
    "contents",
    "status",
    "search_string",
    "delivery_category",
    "event_source",
    "lead_event_source",
    "store_data",
)
# Core Setup drops custom parameters (meta-capi.md 10.4), and the predicted value (D:guides/predicted-lifetime-value).
CORE_CUSTOM = frozenset(CUSTOM_DATA) - {"predicted_ltv"}

# D:best-practices, since Graph v13.0: user_data that holds nothing beyond one of these sets is refused (100/2804050).
TOO_LITTLE: tuple[frozenset[str], ...] = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

_NO_MONEY = frozenset({"XTS", "XXX"})  # ISO 4217's codes for tests and for "no currency"


@cache
def currencies() -> frozenset[str]:
    """The ISO 4217 codes that a value can be given in, in upper case."""
    return frozenset(currency.alpha_3 for currency in pycountry.currencies) - _NO_MONEY
