"""Keys that Meta wants as they are: only their shape is looked at, no byte is changed but outer blanks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.distinct import Reading, one_by_one
from offline_capi.identity.text import is_one_of, matches
from offline_capi.identity.verdict import Cause, Readable, Rule, Usable

__all__ = ["RAW", "untouched"]

_LONGEST = 2048  # bytes; Meta publishes no limit, and nothing longer is an id or a browser


def _present(readable: Readable) -> Usable:
    text = pc.utf8_trim_whitespace(readable.text)
    usable = Usable(pc.if_else(pc.equal(text, ""), None, text))
    return usable.refuse(Cause.PLACEHOLDER, is_one_of(pc.ascii_lower(usable.text), placeholders.WORDS))


def _shaped(pattern: str) -> Callable[[Readable], Usable]:
    def rule(readable: Readable) -> Usable:
        usable = _present(readable)
        short = pc.less_equal(pc.binary_length(usable.text), _LONGEST)
        return usable.keep(Cause.WRONG_SHAPE, pc.and_(short, matches(usable.text, pattern)))

    return rule


def ip_address(readable: Readable) -> Usable:
    """IPv4 or IPv6 as written."""
    present = _present(readable)
    read = one_by_one(Readable(present.text, pa.nulls(len(readable), pa.string())), _read_ip)
    causes = read.cause if present.cause is None else pc.coalesce(present.cause, read.cause)
    return Usable(read.text, causes)


def _read_ip(text: str, _: str | None) -> Reading:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None, Cause.WRONG_SHAPE
    unusable = "%" in text or address.is_unspecified or address.is_loopback
    return (None, Cause.WRONG_SHAPE) if unusable else (text, None)


def advertising_id(readable: Readable) -> Usable:
    """A UUID; all zeros mean that the person opted out of being tracked."""
    usable = _shaped(r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")(readable)
    return usable.refuse(Cause.PLACEHOLDER, matches(usable.text, "^[0-]+$"))


def untouched(readable: Readable) -> Usable:
    """The value as it is."""
    return Usable(readable.text)


_TOKEN = _shaped(r"^[^\s\p{Cc}]+$")
_GRAPH_ID = _shaped(r"^[1-9][0-9]{0,24}$")

RAW: Mapping[str, Rule] = {
    "client_ip_address": ip_address,
    "client_user_agent": _shaped(r"^[^\p{Cc}]+$"),
    # D:parameters/fbp-and-fbc: fb.{subdomain index}.{milliseconds}.{id}; newer builders append a dot and 8 characters
    # (CPB), so only the front is checked. 13 digits: seconds in the place of milliseconds are the usual mistake.
    "fbc": _shaped(r"^fb\.[0-9]\.[0-9]{13}\.[^\s\p{Cc}]+$"),
    "fbp": _shaped(r"^fb\.[0-9]\.[0-9]{13}\.[^\s\p{Cc}]+$"),
    "subscription_id": _shaped(r"^[^\p{Cc}]+$"),
    "fb_login_id": _GRAPH_ID,
    # 15 to 17 digits; a wrong one can cost the whole request (2804036, D:conversion-leads), so a float is not repaired.
    "lead_id": _shaped(r"^[1-9][0-9]{14,16}$"),
    "anon_id": _TOKEN,
    "madid": advertising_id,
    "page_id": _GRAPH_ID,
    "page_scoped_user_id": _GRAPH_ID,
    "ctwa_clid": _TOKEN,
    "ig_account_id": _GRAPH_ID,
    "ig_sid": _GRAPH_ID,
    "whatsapp_business_account_id": _GRAPH_ID,
}
