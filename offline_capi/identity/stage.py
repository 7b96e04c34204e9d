"""The stage: readable rows in, hashed rows out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import product
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.client import Client, ExternalIdPolicy
from offline_capi.identity.columns import (
    HashedColumn,
    HashingContext,
    RowsAlike,
    compute_normal_forms,
    get_rule,
    hash_columns,
    hash_each,
    list_dropped,
    list_noted,
    resolve_countries,
    resolve_version,
)
from offline_capi.identity.digests import digest
from offline_capi.identity.hash_cache import HashCache
from offline_capi.identity.minors import find_under_13
from offline_capi.identity.text import as_text, blank_where
from offline_capi.identity.verdict import Cause, Readable
from offline_capi.model import DroppedValues, HashedRows, IdentityColumn, MappedRows

__all__ = ["get_today", "hash_identity", "inspect_identity", "normalize"]

Junk = Mapping[str, Collection[str]]
"""SHA-256 of normal forms that are never sent, by key."""

_NO_JUNK: Junk = MappingProxyType({})


def hash_identity(
    rows: MappedRows,
    *,
    clients: Mapping[str, Client],
    profile: str | None = None,
    default_profile: str = "meta",
    junk: Junk = _NO_JUNK,
    junk_of: Mapping[str, Junk] = MappingProxyType({}),
    cache: HashCache | None = None,
    today: date | None = None,
) -> HashedRows:
    """Nothing readable comes out: digests, null where a value is unusable, and the raw keys that Meta wants raw.

    Each row is read with its own client's default country, profile and ``external_id`` policy, and never compared
    together with other rows: the batch does not matter. ``profile`` counts before the clients' choices,
    ``default_profile`` where a client has none. ``junk`` is dropped wherever it stands, ``junk_of`` a client in
    rows of that client. Test leads of Meta's and
    children under 13 on the event's day are suppressed. Dropped values are counted by
    key, column and cause. A client that is not configured has no default country, and its ids are hashed. A run that
    gives the same ``cache`` with each of its batches has values that repeat hashed once.
    """
    around = _build_context(rows, clients, profile, default_profile, junk, cache, junk_of, today)
    identity, columns = hash_columns(rows.identity, around)
    suppressed, children = _find_never_sent(rows, columns, around)
    return HashedRows(
        origin=rows.origin,
        row=rows.row,
        client=rows.client,
        event=rows.event,
        identity=identity,
        custom=rows.custom,
        suppressed=suppressed,
        faults=rows.faults,
        dropped=(*rows.dropped, *list_dropped(columns), *children),
        outside=rows.outside,
        filtered=rows.filtered,
        expected=rows.expected,
        noted=(*rows.noted, *list_noted(columns)),
        columns={key: len(own) for key, own in rows.identity.items()},
        profiles=tuple(sorted({resolve_version(alike.profile) for alike in around.alike})),
    )


def _find_never_sent(
    rows: MappedRows, columns: Sequence[HashedColumn], around: HashingContext
) -> tuple[pa.BooleanArray, tuple[DroppedValues, ...]]:
    """Rows without consent, Meta's own test leads, and children: none of them is sent, and none is an error."""
    suppressed = rows.suppressed
    for column in columns:
        if column.cause is not None and column.cause.null_count < len(column.cause):
            suppressed = pc.or_(suppressed, pc.fill_null(pc.equal(column.cause, Cause.TEST_LEAD.value), False))
    mapped = rows.identity.get("db", ())
    if not mapped:
        return suppressed, ()
    births = [values for column in columns if column.key == "db" for values in (column.values, *column.further)]
    if any(alike.profile.partition("@")[0] == "sdk" for alike in around.alike):  # hashes a date as it is written
        births += [_read_births(column, around) for column in mapped]
    children = find_under_13(births, rows.event.get("event_time"), mapped[0].zone or "UTC", around.today)
    if children is None:
        return suppressed, ()
    count = int(pc.sum(pc.and_not(children, suppressed)).as_py() or 0)
    counted = DroppedValues("db", mapped[0].label, Cause.UNDER_13.value, count)
    return pc.or_(suppressed, children), (counted,) if count else ()


def _read_births(column: IdentityColumn, around: HashingContext) -> pa.Array:
    readable = Readable(as_text(column.values), around.country, column.formats, around.today, zone=column.zone)
    return digest(compute_normal_forms("db", readable, "meta"))


def inspect_identity(
    rows: MappedRows,
    *,
    clients: Mapping[str, Client],
    profile: str | None = None,
    default_profile: str = "meta",
    junk: Junk = _NO_JUNK,
    cache: HashCache | None = None,
    today: date | None = None,
) -> list[HashedColumn]:
    """What ``hash_identity`` makes of every source column on its own, what was filled and why values were dropped."""
    around = _build_context(rows, clients, profile, default_profile, junk, cache, today=today)
    return list(hash_each(rows.identity, around))


def normalize(
    key: str, values: Any, *, country: Any = None, profile: str = "meta", formats: Sequence[str] = ()
) -> pa.Array:
    """What would be hashed (or sent raw) for these values of ``key``; null where a value is unusable.

    ``country`` is one country or an array of one per value, in any form that the key ``country`` takes; it completes
    national phone numbers and decides the rules of states and postal codes. ``formats`` are strptime formats of dates.
    """
    text = as_text(values)
    readable = Readable(text, _resolve_countries(country, len(text)), tuple(formats), get_today())
    normal = compute_normal_forms(key, readable, profile)
    if key == "em" and profile.partition("@")[0] == "param_builder":
        # CPB: getNormalizedPII makes nothing of an MD5, which getNormalizedAndHashedPII passes on.
        return blank_where(normal, pc.equal(pc.binary_length(normal), 32))
    return normal


def _build_context(
    rows: MappedRows,
    clients: Mapping[str, Client],
    profile: str | None,
    default_profile: str,
    junk: Junk,
    cache: HashCache | None,
    junk_of: Mapping[str, Junk] = MappingProxyType({}),
    today: date | None = None,
) -> HashingContext:
    names = as_text(rows.client).dictionary_encode(null_encoding="encode")
    alike, default = (
        _group_alike(names, clients, profile, default_profile, junk_of),
        _list_default_countries(names, clients),
    )
    for key, one in product(rows.identity, {choice.profile for choice in alike}):
        get_rule(key, one)
    return HashingContext(default, default, alike, today or get_today(), junk, cache)


def get_today() -> date:
    """Birth dates end here. UTC, so that two machines agree."""
    return datetime.now(UTC).date()


def _resolve_countries(country: Any, count: int) -> pa.Array:
    unknown = pa.nulls(count, pa.string())
    if country is None:
        return unknown
    written = pa.array([country]) if isinstance(country, str) else country
    codes = resolve_countries(written, pa.nulls(len(written), pa.string()))
    return pa.repeat(codes[0], count) if isinstance(country, str) else codes


def _list_default_countries(names: pa.DictionaryArray, clients: Mapping[str, Client]) -> pa.Array:
    known = [clients.get(name) if name else None for name in names.dictionary.to_pylist()]
    codes = pa.array([one.country.lower() if one and one.country else None for one in known], pa.string())
    return pa.repeat(codes[0], len(names)) if len(codes) == 1 else codes.take(names.indices)


def _group_alike(
    names: pa.DictionaryArray,
    clients: Mapping[str, Client],
    profile: str | None,
    default_profile: str,
    junk_of: Mapping[str, Junk],
) -> list[RowsAlike]:
    """The few choices that the clients of the batch made, each with its rows; junk of one's own is a choice too."""
    present = names.dictionary.to_pylist()
    known = [clients.get(name) if name else None for name in present]
    choices = [
        (
            profile or (one and one.profile) or default_profile,
            one.external_id if one else ExternalIdPolicy(),
            name if name in junk_of else None,
        )
        for name, one in zip(present, known, strict=True)
    ]
    distinct = list(dict.fromkeys(choices)) or [(profile or default_profile, ExternalIdPolicy(), None)]
    own = [(one, policy, junk_of[name] if name else _NO_JUNK) for one, policy, name in distinct]
    if len(distinct) == 1:
        return [RowsAlike(None, *own[0])]
    positions = {choice: at for at, choice in enumerate(distinct)}
    number = pa.array([positions[choice] for choice in choices], pa.int32()).take(names.indices)
    return [RowsAlike(pc.equal(number, at), *choice) for at, choice in enumerate(own)]
