"""E-mail addresses and phone numbers where nothing is hashed: they never leave.

Ids of Meta's and of the client's travel as they are. A column of addresses mapped to one of them would hand over what
every other key hashes (meta-capi.md 10.3: no unhashed contact details).
"""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.text import first_byte_in, matches, without
from offline_capi.identity.verdict import Cause, Readable, Rule, Usable
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.runtime.column_bytes import holds

__all__ = ["ANYTHING", "keeping_contacts_in", "without_contact_details"]

#: Keys that go out unhashed and whose shape lets a contact detail through; the others are digits or ids of one shape.
ANYTHING = frozenset(
    key for key, facts in USER_DATA_KEYS.items() if facts.kind in ("external_id", "printable", "token")
)

_EMAIL = r"(?i)[^\s@<>\x22()]+(?:@|%40)[^\s@]+\.[\p{L}\p{N}-]{2,}"
_PLUS = r"^\s*(?:tel:)?\+[0-9][0-9 ().\-/]{6,20}$"
# Blanks, brackets, dots and slashes between nine digits or more; dashes alone only as North America writes them.
_NATIONAL = r"^\s*(?:tel:)?[(]?[0-9][0-9().\-/ ]{7,20}$"
_GROUPED = r"[0-9)][ ./(][ ]?[0-9(]|^\(|\)"
_NORTH_AMERICA = r"^\s*(?:1-)?[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}\s*$"
_ADDRESS = r"^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}(?:\s|$)"  # IPv4, dates


@cache
def keeping_contacts_in(rule: Rule) -> Rule:
    """``rule`` of a key that is never hashed, without contact details."""

    def kept(readable: Readable) -> Usable:
        return without_contact_details(rule(readable), None)

    return kept


def without_contact_details(usable: Usable, unhashed: pa.BooleanArray | None) -> Usable:
    """Drop what is, or holds, an e-mail address or is a phone number, where ``unhashed`` (``None``: everywhere).

    Bare digits may be any id and stay. The answer depends on the value alone, not on a country beside it.
    """
    text = usable.text if unhashed is None else pc.if_else(pc.fill_null(unhashed, False), usable.text, None)
    if holds(text, "@") or holds(text, "%40"):
        usable = usable.refuse(Cause.READABLE_EMAIL, matches(text, _EMAIL))
    if not holds(text, *" +-()./") or not first_byte_in(text, b"+(0123456789t "):
        return usable  # a number without groups may be any id
    digits = pc.utf8_length(without(text, "[^0-9]"))
    grouped = pc.and_not(pc.and_(matches(text, _NATIONAL), matches(text, _GROUPED)), matches(text, _ADDRESS))
    shaped = pc.or_(matches(text, _PLUS), matches(text, _NORTH_AMERICA))
    return usable.refuse(Cause.READABLE_PHONE, pc.or_(shaped, pc.and_(grouped, pc.greater_equal(digits, 9))))
