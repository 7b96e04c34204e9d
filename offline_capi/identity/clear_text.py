"""E-mail addresses and phone numbers where nothing is hashed: they never leave.

Ids of Meta's and of the client's travel as they are. A column of addresses mapped to one of them would hand over what
every other key hashes (meta-capi.md 10.3: no unhashed contact details).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.distinct import one_by_one
from offline_capi.identity.phones import read_phone
from offline_capi.identity.text import first_byte_in, holds, matches
from offline_capi.identity.verdict import Cause, Readable, Usable

__all__ = ["ANYTHING", "without_contact_details"]

#: Keys that go out unhashed and whose shape lets a contact detail through; the others are digits or ids of one shape.
ANYTHING = frozenset({"external_id", "client_user_agent", "subscription_id", "anon_id", "ctwa_clid"})

_EMAIL = r"(?i)[^\s@<>\x22()]+(?:@|%40)[^\s@]+\.[\p{L}\p{N}-]{2,}"
_PHONE = r"^\s*(?:tel:)?[+(]?[0-9][0-9 ().\-/]{5,20}[0-9]\s*$"
_BARE_DIGITS = r"^\s*[0-9]+\s*$"


def without_contact_details(usable: Usable, country: pa.Array, unhashed: pa.BooleanArray | None) -> Usable:
    """Drop what is, or holds, an e-mail address or is a phone number, where ``unhashed`` (``None``: everywhere).

    Bare digits may be any id and stay; with a plus, brackets, dashes or blanks they are a phone number where
    libphonenumber finds one that is valid.
    """
    text = usable.text if unhashed is None else pc.if_else(pc.fill_null(unhashed, False), usable.text, None)
    if holds(text, "@") or holds(text, "%40"):
        usable = usable.refuse(Cause.READABLE_EMAIL, matches(text, _EMAIL))
    if not first_byte_in(text, b"+(0123456789t "):
        return usable
    shaped = pc.fill_null(pc.and_not(matches(text, _PHONE), matches(text, _BARE_DIGITS)), False)
    if not pc.any(shaped).as_py():
        return usable
    numbers = one_by_one(Readable(text.filter(shaped), country.filter(shaped)), read_phone)
    return usable.refuse(Cause.READABLE_PHONE, pc.replace_with_mask(shaped, shaped, pc.is_valid(numbers.text)))
