"""Meta's standard events by name, and which of them a name was meant to be.

Names are case-sensitive at Meta: in another case, or with a slip of the pen, a standard event becomes a custom event
without a word (meta-capi.md 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

__all__ = [
    "APPEND_ATTRIBUTION",
    "APPEND_VALUE",
    "PURCHASE",
    "STANDARD_EVENTS",
    "StandardEvent",
    "near_standard_name",
    "standard_spelling",
]

PURCHASE = "Purchase"
APPEND_VALUE = "AppendValue"
APPEND_ATTRIBUTION = "AppendAttribution"


class StandardEvent(NamedTuple):
    """What a standard event needs beyond what every event needs, and whether it may come from a conversation."""

    required: tuple[str, ...] = ()
    messaging: bool = False


# Pixel reference, 19 September 2026. What is for messaging, and from CartAbandoned on for messaging alone: third-party
# code, certainty B (100/2804066). Contents, where the reference wants them, are for catalogues and not for the event.
STANDARD_EVENTS: Mapping[str, StandardEvent] = {
    "AddPaymentInfo": StandardEvent(),
    "AddToCart": StandardEvent(messaging=True),
    "AddToWishlist": StandardEvent(),
    # D:guides/append-attribution: a share of an earlier event for one ad
    APPEND_ATTRIBUTION: StandardEvent(required=("original_event_data", "attribution_data")),
    # D:guides/predicted-lifetime-value: what became known of an earlier event's worth
    APPEND_VALUE: StandardEvent(required=("original_event_data", "predicted_ltv", "currency")),
    "CompleteRegistration": StandardEvent(),
    "Contact": StandardEvent(),
    "CustomizeProduct": StandardEvent(),
    "Donate": StandardEvent(),
    "FindLocation": StandardEvent(),
    "InitiateCheckout": StandardEvent(messaging=True),
    "Lead": StandardEvent(),
    "PageView": StandardEvent(),
    PURCHASE: StandardEvent(required=("value", "currency"), messaging=True),  # 100/2804009, 100/2804010
    "Schedule": StandardEvent(),
    "Search": StandardEvent(),
    "StartTrial": StandardEvent(),
    "SubmitApplication": StandardEvent(),
    "Subscribe": StandardEvent(),
    "ViewContent": StandardEvent(messaging=True),
    "CartAbandoned": StandardEvent(messaging=True),
    "LeadSubmitted": StandardEvent(messaging=True),
    "OrderCanceled": StandardEvent(messaging=True),
    "OrderCreated": StandardEvent(messaging=True),
    "OrderDelivered": StandardEvent(messaging=True),
    "OrderReturned": StandardEvent(messaging=True),
    "OrderShipped": StandardEvent(messaging=True),
    "QualifiedLead": StandardEvent(messaging=True),
    "RatingProvided": StandardEvent(messaging=True),
    "ReviewProvided": StandardEvent(messaging=True),
}

_BY_FOLDED = {name.casefold(): name for name in STANDARD_EVENTS}


def standard_spelling(name: str) -> str:
    """``purchase`` → ``Purchase``; a name that is no standard event's stays as it is."""
    return _BY_FOLDED.get(name.strip().casefold(), name)


@cache
def near_standard_name(name: str) -> str | None:
    """The standard event of which ``name`` looks like a mistyped spelling: one letter off, or other separators.

    ``None`` for standard events themselves, in whatever case, and for names that are clearly something else.
    """
    folded = name.strip().casefold()
    if folded in _BY_FOLDED:
        return None
    letters = re.sub(r"[\W_]+", "", folded)
    return next((one for known, one in _BY_FOLDED.items() if letters == known or _is_one_slip(letters, known)), None)


def _is_one_slip(text: str, other: str) -> bool:
    """One letter more, less or other, or two neighbours swapped; the first letter is right."""
    if text[:1] != other[:1] or abs(len(text) - len(other)) > 1:
        return False
    start = next((at for at, pair in enumerate(zip(text, other, strict=False)) if len(set(pair)) > 1), None)
    if start is None:
        return len(text) != len(other)
    text, other = text[start:], other[start:]
    swapped = text[:2] == other[1::-1] and text[2:] == other[2:]
    return swapped or text[1:] == other[1:] or text[1:] == other or text == other[1:]
