"""The keys and words of an event, as Meta knows them (D:parameters/…; SDK user_data.py, event.py, custom_data.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from offline_capi.runtime.nearest import nearest

__all__ = [
    "BARE_DOMAIN",
    "DATA_PROCESSING_STATES",
    "EVENT_KEYS",
    "REQUIRED_EVENT_KEYS",
    "USER_DATA_KEYS",
    "WORDS",
    "UserDataKey",
    "known_key",
]


class UserDataKey(NamedTuple):
    """How a key travels: whether it is hashed, and whether it may hold a list."""

    hashing: Literal["always", "by_policy", "never"]
    several: bool
    meaning: str

    @property
    def hashable(self) -> bool:
        """Whether a column may be declared as hashed already."""
        return self.hashing != "never"


def _hashed(meaning: str) -> UserDataKey:
    return UserDataKey("always", True, meaning)


def _legacy(meaning: str) -> UserDataKey:
    return UserDataKey("always", False, meaning)


def _raw(meaning: str) -> UserDataKey:
    return UserDataKey("never", False, meaning)


USER_DATA_KEYS: Mapping[str, UserDataKey] = {
    "em": _hashed("email"),
    "ph": _hashed("phone"),
    "fn": _hashed("first name"),
    "ln": _hashed("last name"),
    "ge": _hashed("gender"),
    "db": _hashed("date of birth"),
    "ct": _hashed("city"),
    "st": _hashed("state"),
    "zp": _hashed("zip or postal code"),
    "country": _hashed("country"),
    "external_id": UserDataKey("by_policy", True, "customer id"),
    "client_ip_address": _raw("IP address"),
    "client_user_agent": _raw("browser's user agent"),
    "fbc": _raw("click id"),
    "fbp": _raw("browser id"),
    "subscription_id": _raw("subscription id"),
    "fb_login_id": _raw("Facebook login id"),
    "lead_id": _raw("lead id"),
    "anon_id": _raw("install id"),
    "madid": _raw("mobile advertising id"),
    "page_id": _raw("page id"),
    "page_scoped_user_id": _raw("page-scoped user id"),
    "ctwa_clid": _raw("click-to-WhatsApp id"),
    "ig_account_id": _raw("Instagram account id"),
    "ig_sid": _raw("Instagram-scoped id"),
    "whatsapp_business_account_id": _raw("WhatsApp business account id"),
    "f5first": _legacy("first five letters of the first name"),
    "f5last": _legacy("first five letters of the last name"),
    "fi": _legacy("first initial"),
    "dobd": _legacy("day of birth"),
    "dobm": _legacy("month of birth"),
    "doby": _legacy("year of birth"),
}

# What people, and Meta's own offline page, call the keys. Refused with a hint, for one name a key in all files.
_OTHER_NAMES: Mapping[str, str] = {
    "email": "em", "e_mail": "em", "mail": "em", "email_address": "em",
    "phone": "ph", "phone_number": "ph", "mobile": "ph", "telephone": "ph",
    "first_name": "fn", "firstname": "fn", "given_name": "fn",
    "last_name": "ln", "lastname": "ln", "surname": "ln", "family_name": "ln",
    "gender": "ge", "gen": "ge", "sex": "ge",
    "birth_date": "db", "birthdate": "db", "birthday": "db", "date_of_birth": "db", "dob": "db",
    "city": "ct", "town": "ct",
    "state": "st", "province": "st", "region": "st",
    "zip": "zp", "zip_code": "zp", "postal_code": "zp", "postcode": "zp",
    "country_code": "country",
    "customer_id": "external_id", "user_id": "external_id", "extern_id": "external_id",
    "ip": "client_ip_address", "ip_address": "client_ip_address",
    "user_agent": "client_user_agent",
    "fbclid": "fbc",
}  # fmt: skip


def known_key(name: str) -> str:
    """``name``, if Meta knows it as a key of ``user_data``."""
    if name in USER_DATA_KEYS:
        return name
    close = _OTHER_NAMES.get(name.lower().replace("-", "_")) or nearest(name, USER_DATA_KEYS)
    guess = f'did you mean "{close}" ({USER_DATA_KEYS[close].meaning})? ' if close else ""
    raise ValueError(f"is not a user_data key; {guess}One of: {', '.join(USER_DATA_KEYS)}")


# ---------------------------------------------------------------------------------------------- event level

REQUIRED_EVENT_KEYS: tuple[str, ...] = ("event_name", "event_time", "event_id", "action_source")  # event_id: promise P2

# D:parameters/server-event; SDK event.py: what an event may hold beside user_data and custom_data.
EVENT_KEYS: tuple[str, ...] = (
    *REQUIRED_EVENT_KEYS,
    "event_source_url",
    "referrer_url",
    "opt_out",
    "messaging_channel",
    "customer_segmentation",
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
    "original_event_data",
    "app_data",
    "attribution_data",
    "advanced_measurement_table",
)

_SEGMENTS = (
    *(f"{who}_to_{what}" for who in ("new_customer", "existing_customer")
      for what in ("business", "business_line", "product_area", "medium")),
    "customer_in_loyalty_program",
)  # fmt: skip

# Fields that hold one of a few words, by wire name; action_source has a type of its own in the settings.
WORDS: Mapping[str, tuple[str, ...]] = {
    "customer_segmentation": _SEGMENTS,  # D:parameters/server-event
    "messaging_channel": ("whatsapp", "messenger", "instagram"),  # D:business-messaging
    "content_type": ("product", "product_group"),  # D:parameters/custom-data
    "delivery_category": ("in_store", "curbside", "home_delivery"),  # SDK delivery_category.py
}

# MAPI:overview/data-processing-options: Meta's number of a state → its postal code and its name.
DATA_PROCESSING_STATES: Mapping[int, tuple[str, str]] = {
    1000: ("CA", "California"),
    1001: ("CO", "Colorado"),
    1002: ("CT", "Connecticut"),
    1003: ("FL", "Florida"),
    1004: ("OR", "Oregon"),
    1005: ("TX", "Texas"),
    1006: ("MT", "Montana"),
    1007: ("DE", "Delaware"),
    1008: ("NE", "Nebraska"),
    1009: ("NH", "New Hampshire"),
    1010: ("NJ", "New Jersey"),
    1011: ("MN", "Minnesota"),
    1012: ("MD", "Maryland"),
    1013: ("RI", "Rhode Island"),
}

# An address without user, path and query, as RE2 and Python write a replacement: what is left when the rest may hold
# what must never be sent (meta-capi.md section 10.3 and 10.4).
BARE_DOMAIN = (r"(?s)^(https?://)(?:[^/?#@]*@)?([^/?#@]+).*$", r"\1\2/")
