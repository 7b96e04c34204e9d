"""Keys that Meta wants as they are: only their shape is looked at, no byte is changed but outer blanks and what a
spreadsheet put around them. The IP address of a visitor is taken out of a proxy's list, without its port.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.distinct import Reading, one_by_one
from offline_capi.identity.mending import undecorated_id
from offline_capi.identity.text import first_byte_in, is_one_of, lowered, matches
from offline_capi.identity.verdict import Cause, Readable, Rule, Usable
from offline_capi.meta.catalogue import USER_DATA_KEYS, Kind

__all__ = ["RAW", "untouched"]

_LONGEST = 2048  # bytes; Meta publishes no limit, and nothing longer is an id or a browser


def _present(readable: Readable) -> Usable:
    text = pc.utf8_trim_whitespace(undecorated_id(readable.text))
    usable = Usable(pc.if_else(pc.equal(text, ""), None, text))
    if first_byte_in(usable.text, b"<"):
        usable = usable.refuse(Cause.TEST_LEAD, matches(usable.text, placeholders.TEST_LEAD))
    return usable.refuse(Cause.PLACEHOLDER, is_one_of(lowered(usable.text), placeholders.WORDS))


def _shaped(pattern: str) -> Callable[[Readable], Usable]:
    def rule(readable: Readable) -> Usable:
        usable = _present(readable)
        short = pc.less_equal(pc.binary_length(usable.text), _LONGEST)
        return usable.keep(Cause.WRONG_SHAPE, pc.and_(short, matches(usable.text, pattern)))

    return rule


def ip_address(readable: Readable) -> Usable:
    """The first public IPv4 or IPv6 address, without its port and brackets; else as written."""
    present = _present(readable)
    read = one_by_one(Readable(present.text, pa.nulls(len(readable), pa.string())), _read_ip)
    causes = read.cause if present.cause is None else pc.coalesce(present.cause, read.cause)
    return Usable(read.text, causes)


# X-Forwarded-For: the visitor first, then each proxy. "[2001:db8::1]:443" and "192.0.2.1:443" carry a port (RFC 3986).
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}")
# Nobody on the internet has these (RFC 1918, 6598, 3927, 4193, 4291); ipaddress also takes examples for private.
_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
                "0.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128", "::/128")
)  # fmt: skip


def _read_ip(text: str, _: str | None) -> Reading:
    cause = Cause.WRONG_SHAPE
    for part in re.split(r"[,;\s]+", text):
        bare = part.strip("\"'")
        found = _BRACKETED.fullmatch(bare) or _WITH_PORT.fullmatch(bare)
        bare = found[1] if found else bare
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            continue
        if "%" in bare or address.is_multicast:
            continue
        if any(address.version == net.version and address in net for net in _PRIVATE):
            cause = Cause.NOT_PUBLIC
            continue
        return bare, None
    return None, cause


def advertising_id(readable: Readable) -> Usable:
    """A UUID; all zeros mean that the person opted out of being tracked."""
    usable = _shaped(r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")(readable)
    return usable.refuse(Cause.PLACEHOLDER, matches(usable.text, "^[0-]+$"))


def untouched(readable: Readable) -> Usable:
    """The value as it is."""
    return Usable(readable.text)


def _browser_id(pattern: str) -> Callable[[Readable], Usable]:
    """``fbc`` or ``fbp``: the shape, and a last part that is an id and not what a script prints where it has none."""

    def rule(readable: Readable) -> Usable:
        usable = _shaped(pattern)(readable)
        return usable.refuse(Cause.WRONG_SHAPE, matches(usable.text, _NO_ID))

    return rule


_FRONT = r"^fb\.[0-9]\.[0-9]{13}\."
_SUFFIX = r"(?:\.(?:[A-Za-z0-9_-]{8}|[A-Za-z0-9]{2}))?$"  # the parameter builder's (CPB)
_NO_ID = rf"(?i){_FRONT}(?:undefined|null|nan|none|nil|false|true|object|fbclid|unknown|n-a|test|0+)(?:\.|$)"

_RULES: Mapping[Kind, Rule] = {
    "ip_address": ip_address,
    "printable": _shaped(r"^[^\p{Cc}]+$"),
    "token": _shaped(r"^[^\s\p{Cc}]+$"),
    "graph_id": _shaped(r"^[1-9][0-9]{0,24}$"),
    "advertising_id": advertising_id,
    # 15 to 17 digits; a wrong one can cost the whole request (2804036, D:conversion-leads), so a float is not repaired.
    "lead_id": _shaped(r"^[1-9][0-9]{14,16}$"),
    # D:parameters/fbp-and-fbc: fb.{subdomain index}.{milliseconds}.{id}. 13 digits: seconds are the usual mistake. A
    # click id has letters, digits, "-" and "_": more is the rest of an address. Not repaired: where a click id ends,
    # only the site knows, and Meta tells one that was changed (meta-capi.md 2.5).
    "click_id": _browser_id(rf"{_FRONT}[A-Za-z0-9_-]+{_SUFFIX}"),
    "browser_id": _browser_id(rf"{_FRONT}[0-9]+{_SUFFIX}"),
}
RAW: Mapping[str, Rule] = {
    key: _RULES[facts.kind]
    for key, facts in USER_DATA_KEYS.items()
    if facts.hashing == "never" and facts.kind in _RULES
}
