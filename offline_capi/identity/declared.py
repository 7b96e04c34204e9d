"""Values that are SHA-256 already: passed on in lower case, never hashed again, for every key and profile.

All of Meta's own tools pass a value of 64 hex digits on in a hashed key (meta-capi.md 15, to 2.1: SDK, CPB, the offline
uploader and the tag template, read and run). CPB puts ``.`` and eight characters (older: two) behind its digests, which
say who made it: they go. MD5 and SHA-1 match nobody at Meta, and no e-mail address, phone number, name or city is 32
or 40 hex digits long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.repair import strip_decoration
from offline_capi.identity.text import (
    blank_where,
    extract,
    find_lengths,
    find_longer_than,
    find_matches,
    is_one_of,
    lower_text,
)
from offline_capi.identity.verdict import Cause, Readable, Rule, Usable
from offline_capi.runtime.column_bytes import where_not_ascii

__all__ = ["DIGEST_PATTERN", "pass_digests", "read_declared_digest", "refuse_digests"]

#: SHA-256 in hex, with or without the parameter builder's suffix (CPB AppendixProvider.js).
DIGEST_PATTERN = r"^(?:sha256:|0x|\\x)?([0-9a-f]{64})(?:\.(?:[0-9a-z_+/=-]{8}|[0-9a-z]{2}))?$"
_MD5, _SHA1 = "^[0-9a-f]{32}$", "^[0-9a-f]{40}$"
_BASE64_SHA256 = "^[A-Za-z0-9+/_-]{43}=$"
_SUFFIXED = r"^\s*([0-9A-Fa-f]{64})\.[A-Za-z0-9_-]{8}\s*$"
_MIN_DIGEST_CHARS = 32
#: How each of them begins that is written in ASCII, with what may stand before it.
_LOOSE_PATTERN = r"(?i)^[\s\x1f\x22'=]*(?:sha256:|0x|\\x)?[0-9a-z+/_-]{32}"
_HEX_LENGTHS = (32, 40, 64)


def read_declared_digest(readable: Readable) -> Usable:
    """``hashed: true``. All is a digest or is dropped: MD5, SHA-1 and the digest of a placeholder by name."""
    text = lower_text(strip_decoration(readable.text))
    usable = Usable(text).refuse(Cause.PLACEHOLDER, is_one_of(text, placeholders.TEXTS))
    usable = usable.refuse(Cause.MD5, find_matches(usable.text, _MD5)).refuse(
        Cause.SHA1, find_matches(usable.text, _SHA1)
    )
    usable = usable.become(extract(usable.text, DIGEST_PATTERN), Cause.NOT_SHA256)
    usable = usable.refuse(Cause.HASH_OF_PLACEHOLDER, is_one_of(usable.text, placeholders.HASHES))
    return Usable(usable.text, usable.cause, pa.repeat(pa.scalar(value=True), len(readable)))


@cache
def pass_digests(rule: Rule, *, strict: bool, unless_raw: bool = False, never_takes: bool = False) -> Rule:
    """``rule`` for what is readable; digests go out as they are. ``strict``: MD5, SHA-1
    and digests of placeholders are dropped by name, as Meta's own tools do not.

    ``unless_raw``: where the client's policy sends ids as they are, a digest is an id like any other. ``never_takes``:
    of ``rule`` it is known that it drops each digest, as that of e-mail addresses does, and makes none.
    """

    def apply_rule(readable: Readable) -> Usable:
        if unless_raw and readable.policy.send == "raw":
            return rule(readable)
        if unless_raw:
            return _judge_digests(readable, rule, _pass, strict=False)
        if not strict:
            return _keep_suffixed(readable, rule)
        usable = _judge_digests(readable, rule, _judge, strict=True, never_takes=never_takes)
        return usable if never_takes else _drop_hex(usable)

    return apply_rule


@cache
def refuse_digests(rule: Rule, *, never_takes: bool = False) -> Rule:
    """``hashed: false``: the column is readable, and a digest in it is dropped by name."""

    def apply_rule(readable: Readable) -> Usable:
        usable = _judge_digests(readable, rule, _refuse, strict=True, never_takes=never_takes)
        return usable if never_takes else _drop_hex(usable)

    return apply_rule


def _judge_digests(
    readable: Readable, rule: Rule, judge: Callable[[pa.Array], Usable], *, strict: bool, never_takes: bool = False
) -> Usable:
    """Long values that are digests judged by ``judge``, all others by ``rule``."""
    long = find_longer_than(readable.text, _MIN_DIGEST_CHARS - 1)
    if long is None:
        return rule(readable)
    result = rule(readable) if never_takes else None
    if result is not None:  # then only what the rule dropped may be a digest
        long = pc.and_(long, pc.is_null(result.text))
    written = readable.text.filter(long)
    if where_not_ascii(written) is None and not pc.any(find_matches(written, _LOOSE_PATTERN)).as_py():
        return result or rule(readable)
    written = strip_decoration(written)
    text = lower_text(written)
    shaped = pc.fill_null(find_matches(text, DIGEST_PATTERN), False)
    if strict:
        for pattern, looked_at in ((_MD5, text), (_SHA1, text), (_BASE64_SHA256, written)):
            shaped = pc.or_(shaped, pc.fill_null(find_matches(looked_at, pattern), False))
    if not pc.any(shaped).as_py():
        return result or rule(readable)
    where = pc.replace_with_mask(long, long, shaped)
    usable = result or rule(replace(readable, text=blank_where(readable.text, where)))
    judged = judge(text.filter(shaped))
    final = (
        pc.fill_null(usable.final, False) if usable.final is not None else pa.repeat(pa.scalar(value=False), len(where))
    )
    return replace(usable.patch(where, judged), final=pc.or_(final, where))


def _drop_hex(usable: Usable) -> Usable:
    """What became hex digits only as it was normalised (a UUID without its dashes) is no name, city or address."""
    likely = find_lengths(usable.text, _HEX_LENGTHS)
    if likely is None:
        return usable
    hexed = pc.replace_with_mask(likely, likely, find_matches(usable.text.filter(likely), "^[0-9a-f]+$"))
    return usable.refuse(Cause.LOOKS_HASHED, hexed if usable.final is None else pc.and_not(hexed, usable.final))


def _keep_suffixed(readable: Readable, rule: Rule) -> Usable:
    """The parameter builder's digests as they are, all else by the rule of a profile that is a tool's, bit for bit."""
    if find_longer_than(readable.text, 64) is None:
        return rule(readable)
    digests = lower_text(extract(readable.text, _SUFFIXED))
    if digests.null_count == len(digests):
        return rule(readable)
    where = pc.is_valid(digests)
    usable = rule(replace(readable, text=blank_where(readable.text, where)))
    final = where if usable.final is None else pc.or_(pc.fill_null(usable.final, False), where)
    return replace(usable, text=pc.coalesce(digests, usable.text), final=final)


def _pass(text: pa.Array) -> Usable:
    return Usable(extract(text, DIGEST_PATTERN))


def _judge(text: pa.Array) -> Usable:
    usable = Usable(text).refuse(Cause.MD5, find_matches(text, _MD5)).refuse(Cause.SHA1, find_matches(text, _SHA1))
    usable = usable.become(extract(usable.text, DIGEST_PATTERN), Cause.LOOKS_HASHED)
    return usable.refuse(Cause.HASH_OF_PLACEHOLDER, is_one_of(usable.text, placeholders.HASHES))


def _refuse(text: pa.Array) -> Usable:
    usable = Usable(text).refuse(Cause.MD5, find_matches(text, _MD5)).refuse(Cause.SHA1, find_matches(text, _SHA1))
    return usable.refuse(Cause.LOOKS_HASHED, pc.is_valid(usable.text))
