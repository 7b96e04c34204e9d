"""The keys of ``user_data``, as Meta knows them (D:parameters/customer-information-parameters, SDK user_data.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from offline_capi.config.nearest import nearest

__all__ = ["USER_DATA_KEYS", "UserDataKey", "known_key"]


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
