"""The keys and fixed words of an event (D:parameters/…; SDK user_data.py, event.py, custom_data.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from offline_capi.runtime.nearest import nearest

__all__ = [
    "BARE_DOMAIN",
    "DATA_PROCESSING_STATES",
    "EVENT_KEYS",
    "LONG_ID_KEYS",
    "REQUIRED_EVENT_KEYS",
    "USER_DATA_KEYS",
    "WORDS",
    "Kind",
    "UserDataKey",
    "check_key",
]


#: What the values of a key are; each profile of ``identity`` has its own rule for each kind that it knows.
Kind = Literal[
    "email", "phone", "name", "gender", "birth_date", "city", "state", "postal_code", "country", "external_id",
    "first_letters", "first_letter", "birth_day", "birth_month", "birth_year",
    "ip_address", "click_id", "browser_id", "advertising_id", "lead_id", "graph_id", "token", "printable",
]  # fmt: skip


class UserDataKey(NamedTuple):
    """What Meta and we know of one key of ``user_data``. The tables of the other rooms are derived from it.

    ``kind``: which rule of a profile reads its values, and which of our tables apply.
    ``several``: whether Meta takes a list.
    ``meaning``, ``plural``: how messages name one value, and many.
    ``column_names``: what sources call a column that holds it, without marks and accents; separated by blanks.
    ``long_number``: may be digits alone, which spreadsheets round and floats write with an exponent.
    ``is_integer``: written to the payload as a JSON number.
    ``source``: the page of meta-capi.md's list of sources.
    """

    kind: Kind
    hashing: Literal["always", "by_policy", "never"]
    several: bool
    meaning: str
    plural: str
    column_names: str = ""
    long_number: bool = False
    is_integer: bool = False
    source: str = "D:parameters/customer-information-parameters"

    @property
    def hashable(self) -> bool:
        """Whether a column may be declared as hashed already."""
        return self.hashing != "never"


def _define_hashed(kind: Kind, meaning: str, plural: str, names: str = "", **facts: Any) -> UserDataKey:
    return UserDataKey(kind, "always", True, meaning, plural, names, **facts)


def _define_legacy(kind: Kind, meaning: str, plural: str) -> UserDataKey:
    return UserDataKey(kind, "always", False, meaning, plural, source="SDK user_data.py")


def _define_raw(kind: Kind, meaning: str, plural: str, names: str = "", **facts: Any) -> UserDataKey:
    return UserDataKey(kind, "never", False, meaning, plural, names, **facts)


#: One row a key, in the order in which the payload holds them (meta-capi.md section 2.1).
USER_DATA_KEYS: Mapping[str, UserDataKey] = {
    "em": _define_hashed(
        "email", "email", "e-mail addresses",
        "em email emailaddress emailaddr mail mailaddress correo correoelectronico courriel posta epost sahkoposti",
    ),
    "ph": _define_hashed(
        "phone", "phone", "phone numbers",
        "ph phone phonenumber phoneno mobile mobilephone mobilenumber cell cellphone tel telephone telephonenumber "
        "telefon telefono telefone handy celular msisdn",
        long_number=True,
    ),
    "fn": _define_hashed(
        "name", "first name", "first names",
        "fn first firstname fname givenname forename vorname prenom nombre nome fornavn fornamn voornaam",
    ),
    "ln": _define_hashed(
        "name", "last name", "last names",
        "ln last lastname lname surname familyname nachname apellido apellidos cognome sobrenome etternavn efternamn "
        "achternaam",
    ),
    "ge": _define_hashed("gender", "gender", "genders", "ge gen gender sex geschlecht genero sexe sesso"),
    "db": _define_hashed(
        "birth_date", "date of birth", "dates of birth",
        "db dob birthdate birthday dateofbirth birth bday geburtsdatum geburtstag datenaissance fechanacimiento",
    ),
    "ct": _define_hashed("city", "city", "cities", "ct city town locality ort stadt ville ciudad citta cidade"),
    "st": _define_hashed(
        "state", "state", "states", "st state province region stateprovince bundesland provincia estado departement"
    ),
    "zp": _define_hashed(
        "postal_code", "zip or postal code", "postal codes",
        "zp zip zipcode postal postalcode postcode plz cap codepostal codigopostal cep pincode",
    ),
    "country": _define_hashed(
        "country", "country", "countries", "country ctry cntry countrycode countryname land pays pais paese nation"
    ),
    "external_id": UserDataKey(
        "external_id", "by_policy", True, "customer id", "customer ids",
        "externalid externid customerid customerno customernumber customerkey userid memberid membernumber memberno "
        "memberref customerref loyaltyid loyaltyno loyaltynumber loyaltycard accountid contactid crmid "
        "personid kundennummer kundennr kundenkonto customeraccount",
        long_number=True,
    ),
    "lead_id": _define_raw(
        "lead_id", "lead id", "lead ids", "leadid leadgenid metaleadid facebookleadid", long_number=True,
        is_integer=True,
    ),
    "fb_login_id": _define_raw(
        "graph_id", "Facebook login id", "Facebook login ids", "fbloginid facebookloginid", long_number=True,
        is_integer=True,
    ),
    "client_ip_address": _define_raw(
        "ip_address", "IP address", "IP addresses", "ip ipaddress ipaddr clientip clientipaddress remoteaddr"
    ),
    "client_user_agent": _define_raw(
        "printable", "browser's user agent", "browsers' user agents", "useragent clientuseragent ua browseragent"
    ),
    "fbc": _define_raw(
        "click_id", "click id", "click ids", "fbc clickid fbclid", source="D:parameters/fbp-and-fbc"
    ),
    "fbp": _define_raw("browser_id", "browser id", "browser ids", "fbp browserid", source="D:parameters/fbp-and-fbc"),
    "subscription_id": _define_raw(
        "printable", "subscription id", "subscription ids", "subscriptionid subscription", long_number=True
    ),
    "anon_id": _define_raw("token", "install id", "install ids"),
    "madid": _define_raw(
        "advertising_id", "mobile advertising id", "mobile advertising ids",
        "madid idfa aaid gaid gpsadid advertisingid mobileadvertisingid",
    ),
    "page_id": _define_raw("graph_id", "page id", "page ids", long_number=True),
    "page_scoped_user_id": _define_raw(
        "graph_id", "page-scoped user id", "page-scoped user ids", "pagescopeduserid psid", long_number=True
    ),
    "ctwa_clid": _define_raw("token", "click-to-WhatsApp id", "click-to-WhatsApp ids", "ctwaclid"),
    "ig_account_id": _define_raw("graph_id", "Instagram account id", "Instagram account ids", long_number=True),
    "ig_sid": _define_raw("graph_id", "Instagram-scoped id", "Instagram-scoped ids", long_number=True),
    "whatsapp_business_account_id": _define_raw(
        "graph_id", "WhatsApp business account id", "WhatsApp business account ids", long_number=True,
        source="D:business-messaging",
    ),
    "f5first": _define_legacy(
        "first_letters", "first five letters of the first name", "first five letters of first names"
    ),
    "f5last": _define_legacy(
        "first_letters", "first five letters of the last name", "first five letters of last names"
    ),
    "fi": _define_legacy("first_letter", "first initial", "first initials"),
    "dobd": _define_legacy("birth_day", "day of birth", "days of birth"),
    "dobm": _define_legacy("birth_month", "month of birth", "months of birth"),
    "doby": _define_legacy("birth_year", "year of birth", "years of birth"),
}  # fmt: skip

#: Ids that another system gave the person, and that spreadsheets damage.
LONG_ID_KEYS: tuple[str, ...] = tuple(
    key for key, facts in USER_DATA_KEYS.items() if facts.long_number and facts.hashing != "always"
)

# What people, and Meta's own offline page, call the keys. Refused with a hint: a key has one name in all files.
_KEY_BY_COLUMN_NAME: Mapping[str, str] = {
    name: key for key, facts in USER_DATA_KEYS.items() for name in facts.column_names.split()
}


def check_key(name: str) -> str:
    """``name``, if it is a key of ``user_data``; else a ``ValueError`` that names the key probably meant."""
    if name in USER_DATA_KEYS:
        return name
    close = _KEY_BY_COLUMN_NAME.get(re.sub(r"[\W_]", "", name.lower())) or nearest(name, USER_DATA_KEYS)
    guess = f'did you mean "{close}" ({USER_DATA_KEYS[close].meaning})? ' if close else ""
    raise ValueError(f"is not a user_data key; {guess}One of: {', '.join(USER_DATA_KEYS)}")


# ---------------------------------------------------------------------------------------------- event level

REQUIRED_EVENT_KEYS: tuple[str, ...] = ("event_name", "event_time", "event_id", "action_source")  # event_id: promise P2

# D:parameters/server-event; SDK event.py: what an event may hold besides user_data and custom_data.
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
# data that must never be sent (meta-capi.md section 10.3 and 10.4).
BARE_DOMAIN = (r"(?s)^(https?://)(?:[^/?#@]*@)?([^/?#@]+).*$", r"\1\2/")
