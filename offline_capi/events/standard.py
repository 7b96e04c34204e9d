"""What Meta publishes about events, as data: every constant with the page it comes from."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import get_args

import pycountry

from offline_capi.config.settings import ActionSource

__all__ = [
    "ACTION_SOURCES",
    "AGE_MARGIN",
    "CLOCK_SKEW",
    "MAX_AGE",
    "PHYSICAL_STORE",
    "PURCHASE",
    "STANDARD_EVENTS",
    "TOO_LITTLE",
    "WEBSITE",
    "currencies",
]

ACTION_SOURCES: tuple[str, ...] = get_args(ActionSource)  # D:parameters/server-event
PHYSICAL_STORE = "physical_store"
WEBSITE = "website"

MAX_AGE = timedelta(days=7)  # D:parameters/server-event; physical_store has a client's own limit (D:offline-events)
AGE_MARGIN = timedelta(hours=1)  # ours: an event that is fresh when built must still be fresh when it arrives (P5)
CLOCK_SKEW = timedelta(seconds=60)  # RS PR #3376: production senders allow a minute; Meta documents no tolerance

PURCHASE = "Purchase"

# Pixel reference, 19 September 2026; the second block is for business messaging (third-party code, certainty B).
STANDARD_EVENTS: tuple[str, ...] = (
    "AddPaymentInfo",
    "AddToCart",
    "AddToWishlist",
    "AppendValue",
    "CompleteRegistration",
    "Contact",
    "CustomizeProduct",
    "Donate",
    "FindLocation",
    "InitiateCheckout",
    "Lead",
    "PageView",
    PURCHASE,
    "Schedule",
    "Search",
    "StartTrial",
    "SubmitApplication",
    "Subscribe",
    "ViewContent",
    "CartAbandoned",
    "LeadSubmitted",
    "OrderCanceled",
    "OrderCreated",
    "OrderDelivered",
    "OrderReturned",
    "OrderShipped",
    "QualifiedLead",
    "RatingProvided",
    "ReviewProvided",
)

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
