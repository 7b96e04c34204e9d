"""The forms that people give one id: what a browser may send of what the server holds.

A form is a rewriting (a prefix, capitals, padding, ...) and an encoding (raw, SHA-256, ...). Those that a policy can
express come first, the nearest to the client's own before the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.client import ExternalIdPolicy
from offline_capi.identity import PROFILES, Readable, digest

__all__ = ["Form", "Remedy", "count_kinds", "list_forms"]

Change = Callable[[pa.Array], pa.Array]
Field = Callable[[str], object]
"""A source column → what the upload's YAML says under ``external_id``."""

_MAX_PREFIXES = 3
# A prefix is shown: so common, it is the system's and reveals nothing of a person.
_COMMON_PREFIX_SHARE = 0.2
_MIN_IDS_WITH_PREFIX = 10
_MAX_PADDED_DIGITS = 18  # as many digits as a 64-bit number surely has


class Remedy(NamedTuple):
    """How the server gets to a form: a policy and a field to write, or as text what else has to change."""

    policy: ExternalIdPolicy | None = None
    field: Field | None = None
    description: str = ""


class Form(NamedTuple):
    """Server ids written in one way."""

    description: str
    values: pa.Array
    remedy: Remedy


def list_forms(server: pa.Array, browser: pa.Array, policy: ExternalIdPolicy) -> Iterator[Form]:
    """Every form of the server's readable ids that could be the browser's, the simplest first."""
    yield from _list_policy_forms(server, policy)
    encodings = [encoding for encoding in ENCODINGS if encoding.kind in {*count_kinds(browser), "raw"}]
    for rewriting, encoding in product(_list_rewritings(pc.utf8_trim_whitespace(server).unique(), browser), encodings):
        by_policy = ExternalIdPolicy(send=encoding.send) if encoding.send else None
        remedy = Remedy(by_policy, rewriting.field, _join_parts(rewriting.remedy, encoding.remedy, between="; "))
        yield Form(_join_parts(rewriting.description, encoding.description), encoding.encode(rewriting.values), remedy)


def _join_parts(*parts: str, between: str = ", ") -> str:
    return between.join(filter(None, parts))


# ---------------------------------------------------------------------------------------------- encodings

#: Kinds of ids; the first that matches counts. 32 hex digits may also be a UUID: raw forms are tried for all.
ID_KIND_PATTERNS: Mapping[str, str] = {
    "sha256": r"^[0-9a-f]{64}$",
    "sha256_in_capitals": r"^(?i:[0-9a-f]{64})$",
    "sha1": r"^(?i:[0-9a-f]{40})$",
    "md5": r"^(?i:[0-9a-f]{32})$",
    "raw": r"",
}


def count_kinds(ids: pa.Array) -> dict[str, int]:
    """How many ids are of which kind, most first."""
    left, counts = ids, dict[str, int]()
    for kind, pattern in ID_KIND_PATTERNS.items():
        hit = pc.match_substring_regex(left, pattern)
        counts[kind] = int(pc.sum(hit).as_py() or 0)
        left = left.filter(pc.invert(hit))
    return {kind: count for kind, count in sorted(counts.items(), key=lambda item: -item[1]) if count}


class Encoding(NamedTuple):
    """How a rewritten id goes out. Without a policy that does it (``send``), ``remedy`` says what the browser must."""

    description: str
    kind: str
    encode: Change
    send: Literal["raw", "sha256"] | None = None
    remedy: str = ""


def _make_hashlib_encoder(name: str) -> Change:
    def encode(text: pa.Array) -> pa.Array:
        hashes = (hashlib.new(name, one.encode(), usedforsecurity=False).hexdigest() for one in text.to_pylist())
        return pa.array(list(hashes), pa.string())

    return encode


_UNKNOWN_DIGEST_ADVICE = "send the id raw or as SHA-256 in the browser: Meta documents no other digest"
ENCODINGS = (
    Encoding("raw", "raw", lambda text: text, "raw"),
    Encoding("hashed", "sha256", digest, "sha256"),
    Encoding(
        "hashed, in capitals", "sha256_in_capitals", lambda text: pc.ascii_upper(digest(text)), None,
        "write the digest in lower case in the browser, and send: sha256 here",
    ),
    Encoding(
        "hashed twice", "sha256", lambda text: digest(digest(text)), None,
        "hash once: the site hands the pixel a digest, which is hashed again",
    ),
    Encoding("as MD5", "md5", _make_hashlib_encoder("md5"), None, _UNKNOWN_DIGEST_ADVICE),
    Encoding("as SHA-1", "sha1", _make_hashlib_encoder("sha1"), None, _UNKNOWN_DIGEST_ADVICE),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- policies


def _list_policy_forms(server: pa.Array, now: ExternalIdPolicy) -> Iterator[Form]:
    """What each policy sends, by the rule that a run uses."""
    choices = (ExternalIdPolicy(send=send, trim=trim, lower=lower) for send, trim, lower in _POLICY_CHOICES)
    for policy in sorted(choices, key=lambda one: sum(mine != theirs for mine, theirs in zip(one, now, strict=True))):
        readable = Readable(server, pa.nulls(len(server), pa.string()), policy=policy)
        text = PROFILES["meta"]["external_id"](readable).text.drop_null()
        values = text if policy.send == "raw" else digest(text)
        yield Form(_describe_policy(policy), values, Remedy(policy))


_SEND_FORMS: tuple[Literal["raw", "sha256"], ...] = ("raw", "sha256")
_POLICY_CHOICES = tuple(product(_SEND_FORMS, (True, False), (False, True)))


def _describe_policy(policy: ExternalIdPolicy) -> str:
    return _join_parts(
        "" if policy.trim else "with outer blanks",
        "in lower case" if policy.lower else "",
        "hashed" if policy.send == "sha256" else "raw",
    )


# ---------------------------------------------------------------------------------------------- rewriting


class Rewriting(NamedTuple):
    """A way in which systems rewrite an id, and what undoes it on the server's side."""

    description: str
    change: Change
    remedy: str = ""
    field: Field | None = None


class _Rewritten(NamedTuple):
    description: str
    values: pa.Array
    remedy: str
    field: Field | None


def _as_integer(column: str) -> object:
    return {"column": column, "type": "integer"}


_UNCHANGED = Rewriting("", lambda ids: ids)
_NUMERIC_REWRITINGS = (
    Rewriting("without leading zeros", lambda ids: pc.utf8_ltrim(_select_numbers(ids), "0"), field=_as_integer),
    Rewriting('without the ".0" behind it', lambda ids: _cut(ids, r"^(\d+)\.0$"), field=_as_integer),
)
_TEXT_REWRITINGS = (
    Rewriting("in capitals", pc.utf8_upper, "write it in capitals in the source: upper(...)"),
    Rewriting(
        "in lower case, without blanks", lambda ids: pc.replace_substring_regex(pc.utf8_lower(ids), r"\s+", ""),
        "write it in lower case and without blanks in the source",
    ),
    Rewriting(
        "in lower case, without dashes", lambda ids: pc.replace_substring_regex(pc.utf8_lower(ids), r"[-{}]", ""),
        "write it in lower case and without dashes and braces in the source",
    ),
    Rewriting(
        'with ".0" behind it', lambda ids: pc.binary_join_element_wise(_select_numbers(ids), ".0", ""),
        "write it as a whole number in the browser: there it went through a floating-point number",
    ),
)  # fmt: skip


def _list_rewritings(server: pa.Array, browser: pa.Array) -> Iterator[_Rewritten]:
    """A prefix taken off, what is left rewritten, a prefix put on."""
    old = ["", *_list_prefixes(server)]
    new = ["", *dict.fromkeys([*_list_prefixes(browser), *old[1:]])]
    padded = [_make_padding(width) for width in _list_widths(browser)]
    for off, on in product(old, new):
        if off and off == on:
            continue
        bare = pc.utf8_slice_codeunits(server.filter(pc.starts_with(server, off)), len(off))
        for one in (_UNCHANGED, *_NUMERIC_REWRITINGS, *padded, *(() if on else _TEXT_REWRITINGS)):
            yield _Rewritten(
                _join_parts(
                    f'without the prefix "{off}"' if off else "",
                    one.description,
                    f'with the prefix "{on}"' if on else "",
                ),
                pc.binary_join_element_wise(on, one.change(bare), "").drop_null(),
                *_plan_change(off, one, on),
            )


def _plan_change(off: str, one: Rewriting, on: str) -> tuple[str, Field | None]:
    """What to change: one template or cast where that is all, else steps in the source."""
    if on and not off and one is _UNCHANGED:
        return "", lambda column: f"{on}{{{column}}}"
    if one.field and not (off or on):
        return "", one.field
    steps = _join_parts(
        f'take "{off}" off' if off else "", one.description if one.field else "", f'put "{on}" in front' if on else ""
    )
    return _join_parts(f"in the source: {steps}" if steps else "", one.remedy, between="; "), None


def _make_padding(width: int) -> Rewriting:
    description = f"padded with zeros to {width} digits"
    return Rewriting(
        description,
        lambda ids: pc.utf8_lpad(_select_numbers(ids), width, "0"),
        f"pad it in the source: lpad(..., {width}, '0')",
    )


def _list_widths(browser: pa.Array) -> list[int]:
    """Lengths of the browser's numbers, where one can see them, else all that are usual."""
    numbers = pc.extract_regex(browser, r"^\D*(?P<number>\d+)$").drop_null()
    seen = pc.value_counts(pc.utf8_length(pc.struct_field(numbers, "number"))).to_pylist()
    commonest = sorted(seen, key=lambda one: (-one["counts"], one["values"]))[:_MAX_PREFIXES]
    return [one["values"] for one in commonest] or list(range(4, _MAX_PADDED_DIGITS + 1))


def _select_numbers(ids: pa.Array) -> pa.Array:
    """The ids that are digits throughout, null for the others."""
    return pc.if_else(pc.match_substring_regex(ids, r"^\d+$"), ids, None)


def _cut(ids: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(ids, pattern), pc.replace_substring_regex(ids, pattern, r"\1"), None)


def _list_prefixes(ids: pa.Array) -> list[str]:
    """What stands before the digits of many ids, the commonest first."""
    found = pc.extract_regex(ids, r"^(?P<prefix>\D{1,12})\d+$").drop_null()
    counts = pc.value_counts(pc.struct_field(found, "prefix")).to_pylist()
    often = [one for one in counts if one["counts"] >= max(_MIN_IDS_WITH_PREFIX, _COMMON_PREFIX_SHARE * len(ids))]
    return [one["values"] for one in sorted(often, key=lambda one: (-one["counts"], one["values"]))[:_MAX_PREFIXES]]
