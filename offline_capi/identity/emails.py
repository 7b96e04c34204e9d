"""E-mail addresses: trimmed, lower-case. Dots and ``+tag`` stay: no rule of one provider is Meta's rule.

An automaton reads those that are written plainly, expressions for every script the others; both give the same answer.
"""

from __future__ import annotations

import re
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.text import blank_where, find_longer_than, find_matches, is_one_of, lower_text
from offline_capi.identity.verdict import Cause, Readable, Usable
from offline_capi.runtime.automaton import Rewriter, compile_expressions, make_rewriter

__all__ = ["normalize_email", "recognise_emails"]

_EMAIL = (
    r"^[^\s\p{C}\u{FFFD}@,;:<>()\[\]\x22\\]+"
    r"@(?:[\p{L}\p{N}_](?:[\p{L}\p{N}\p{M}_-]*[\p{L}\p{N}\p{M}_])?\.)+[\p{L}\p{M}][\p{L}\p{N}\p{M}-]*[\p{L}\p{N}\p{M}]$"
)
_ASCII_EMAIL = r"^[!#-'*+./0-9=?A-Z^-~-]+@(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]$"
MAX_EMAIL_CHARS = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


def normalize_email(readable: Readable) -> Usable:
    """Addresses in any script, and why a value is none."""
    usable = Usable(lower_text(readable.text))
    unusual = pc.fill_null(pc.invert(find_matches(usable.text, _ASCII_EMAIL)), False)
    if pc.any(unusual).as_py():  # what the next expression takes for each is half of all
        usable = usable.patch(unusual, _normalize_unusual_email(usable.text.filter(unusual)))
    nobodys = is_one_of(usable.text, placeholders.EMAILS | placeholders.TEST_LEAD_EMAILS)
    if pc.any(nobodys).as_py():
        usable = usable.refuse(Cause.TEST_LEAD, is_one_of(usable.text, placeholders.TEST_LEAD_EMAILS))
        usable = usable.refuse(Cause.PLACEHOLDER, nobodys)
    return usable.keep(Cause.NOT_AN_EMAIL, pc.less_equal(pc.binary_length(usable.text), MAX_EMAIL_CHARS))


def _normalize_unusual_email(text: pa.Array) -> Usable:
    """Addresses in other scripts, and what is no address."""
    usable = Usable(text).refuse(Cause.PLACEHOLDER, is_one_of(text, placeholders.TEXTS))
    return usable.keep(Cause.NOT_AN_EMAIL, find_matches(usable.text, _EMAIL))


def recognise_emails(text: pa.StringArray) -> pa.StringArray:
    """Addresses in ASCII that are nobody's placeholder, null where ``normalize_email`` has to decide."""
    found = _load_rewriter().rewrite(text)
    long = find_longer_than(found, MAX_EMAIL_CHARS)
    return found if long is None else blank_where(found, long)


_LOCAL = "!#-'*+./0-9=?A-Z^-~-"
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_TOP_LABEL = "[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"


@cache
def _load_rewriter() -> Rewriter:
    nobodys = placeholders.EMAILS | placeholders.TEST_LEAD_EMAILS
    automaton = compile_expressions(
        {
            "email": _between_blanks(f"[{_LOCAL}]+@(?:{_LABEL}\\.)+{_TOP_LABEL}"),
            "protected": _between_blanks(f"[='][@{_LOCAL}]*"),
            "nobody's": _between_blanks("|".join(map(_in_any_case, sorted(nobodys)))),
        }
    )
    return make_rewriter(automaton, {"email"}, {byte: ord(chr(byte).lower()) for byte in range(0x21, 0x7F)})


def _between_blanks(expression: str) -> str:
    blanks = "[ \t\n\v\f\r]*"
    return f"{blanks}(?:{expression}){blanks}"


def _in_any_case(text: str) -> str:
    return "".join(f"[{one}{one.upper()}]" if one.isalpha() else re.escape(one) for one in text)
