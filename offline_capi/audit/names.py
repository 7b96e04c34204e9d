"""What people call the columns that hold a key: read from a column's name, in the spellings of exports.

``Billing_E-Mail``, ``customerPhone2`` and ``email_sha256`` are the words e-mail, phone and e-mail (hashed).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from offline_capi.identity.countries import fold_name
from offline_capi.meta.catalogue import USER_DATA_KEYS

__all__ = ["Named", "find_key"]

_KEYS_BY_NAME = {name: key for key, facts in USER_DATA_KEYS.items() for name in facts.column_names.split()}
_HASH_NAMES = frozenset({"sha256", "sha", "hash", "hashed"})
# The column says something about an e-mail address or a phone and is none, or it speaks of somebody else.
_QUALIFIER_NAMES = frozenset(
    {"consent", "optin", "optout", "opt", "verified", "valid", "status", "type", "count", "flag", "domain", "sent",
    "opened", "permission", "at", "date", "time", "is", "has", "model", "source", "provider", "code",
    "order", "payment", "product", "store", "shop", "branch", "company", "employer"}
)  # fmt: skip
#: Names of keys only where they are the whole header, or stand behind who it is about: ``Last`` and ``Tenant Last`` are
#: surnames, ``last_login`` is none.
_WHOLE_NAMES = frozenset({"first", "last"})
_PERSONS = frozenset(
    {"customer", "client", "contact", "buyer", "guest", "patient", "member", "attendee", "tenant", "renter", "lessee",
    "borrower", "applicant", "student", "donor", "owner", "subscriber", "lead", "person", "billing", "name"}
)  # fmt: skip


class Named(NamedTuple):
    """The key that a column's name speaks of, and whether it says that the values are hashed."""

    key: str
    hashed: bool


def find_key(column: str) -> Named | None:
    """The key that the longest run of the name's words means; ``None`` where there is none, or it is about another."""
    words = _split_name(column)
    hashed = bool(_HASH_NAMES & set(words))
    plain = [word for word in words if word not in _HASH_NAMES]
    runs = [(start, end) for start in range(len(plain)) for end in range(len(plain), start, -1)]
    known = [run for run in runs if "".join(plain[slice(*run)]) in _KEYS_BY_NAME]
    known = [run for run in known if "".join(plain[slice(*run)]) not in _WHOLE_NAMES or _is_whole_name(plain, *run)]
    if not known:
        return None
    start, end = max(known, key=lambda run: (run[1] - run[0], run[0]))
    about = _QUALIFIER_NAMES & {*plain[:start], *plain[end:]}
    return None if about else Named(_KEYS_BY_NAME["".join(plain[start:end])], hashed)


def _is_whole_name(words: list[str], start: int, end: int) -> bool:
    return end == len(words) and set(words[:start]) <= _PERSONS


def _split_name(column: str) -> list[str]:
    """``customerPhone2`` → customer, phone; accents and numbers at a word's end are dropped, ``sha256`` is kept."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", column)
    words = [
        fold_name(word) for word in re.split(r"[\W_]+", apart.replace("E-Mail", "email").replace("e-mail", "email"))
    ]
    return [word if word in _HASH_NAMES else word.rstrip("0123456789") or word for word in words if word]
