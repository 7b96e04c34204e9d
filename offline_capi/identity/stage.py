"""The stage: readable rows in, hashed rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.settings import Client, ExternalIdPolicy
from offline_capi.identity.columns import (
    PolicyRows,
    Surroundings,
    country_beside,
    hash_columns,
    normal_forms,
    rule_of,
)
from offline_capi.identity.text import as_text
from offline_capi.identity.verdict import Readable
from offline_capi.model import HashedRows, MappedRows

__all__ = ["hash_identity", "normalize", "today"]


def hash_identity(rows: MappedRows, *, clients: Mapping[str, Client], profile: str = "meta") -> HashedRows:
    """Nothing readable comes out: digests, null where a value is unusable, and the raw keys that Meta wants raw.

    Each row is read with its own client's default country and ``external_id`` policy, and never looked at together
    with other rows: the batch does not matter. Dropped values are counted by key, column and cause. A client that is
    not configured has no default country, and its ids are hashed.
    """
    names = as_text(rows.client).dictionary_encode(null_encoding="encode")
    around = Surroundings(_default_countries(names, clients), _policies(names, clients), today(), profile)
    for key in rows.identity:
        rule_of(key, profile)
    identity, dropped = hash_columns(rows.identity, around)
    return HashedRows(
        origin=rows.origin,
        row=rows.row,
        client=rows.client,
        event=rows.event,
        identity=identity,
        custom=rows.custom,
        suppressed=rows.suppressed,
        faults=rows.faults,
        dropped=(*rows.dropped, *dropped),
        outside=rows.outside,
    )


def normalize(
    key: str, values: Any, *, country: Any = None, profile: str = "meta", formats: Sequence[str] = ()
) -> pa.Array:
    """What would be hashed (or sent raw) for these values of ``key``; null where a value is unusable.

    ``country`` is one country or an array beside the values, in any form that the key ``country`` takes; it completes
    national phone numbers and decides the rules of states and postal codes. ``formats`` are strptime formats of dates.
    """
    text = as_text(values)
    readable = Readable(text, _countries(country, len(text)), tuple(formats), today())
    return normal_forms(key, readable, profile)


def today() -> date:
    """Birth dates end here. UTC, so that two machines agree."""
    return datetime.now(UTC).date()


def _countries(country: Any, count: int) -> pa.Array:
    unknown = pa.nulls(count, pa.string())
    if country is None:
        return unknown
    written = pa.array([country]) if isinstance(country, str) else country
    codes = country_beside(written, pa.nulls(len(written), pa.string()))
    return pa.repeat(codes[0], count) if isinstance(country, str) else codes


def _default_countries(names: pa.DictionaryArray, clients: Mapping[str, Client]) -> pa.Array:
    known = [clients.get(name) if name else None for name in names.dictionary.to_pylist()]
    codes = pa.array([one.country.lower() if one and one.country else None for one in known], pa.string())
    return pa.repeat(codes[0], len(names)) if len(codes) == 1 else codes.take(names.indices)


def _policies(names: pa.DictionaryArray, clients: Mapping[str, Client]) -> list[PolicyRows]:
    """The few policies of the batch, each with its rows."""
    policies = [_policy(clients.get(name) if name else None) for name in names.dictionary.to_pylist()]
    distinct = list(dict.fromkeys(policies))
    if len(distinct) == 1:
        return [PolicyRows(distinct[0], None)]
    number = pa.array([distinct.index(policy) for policy in policies], pa.int32()).take(names.indices)
    return [PolicyRows(policy, pc.equal(number, at)) for at, policy in enumerate(distinct)]


def _policy(client: Client | None) -> ExternalIdPolicy:
    return ExternalIdPolicy() if client is None else client.external_id
