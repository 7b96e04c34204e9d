"""The one path that every value takes: text, rule of the profile, digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.keys import USER_DATA_KEYS
from offline_capi.config.settings import ExternalIdPolicy
from offline_capi.errors import UsageError
from offline_capi.identity.declared import declared_digest
from offline_capi.identity.digests import digests, spread
from offline_capi.identity.distinct import repeated
from offline_capi.identity.meta import META
from offline_capi.identity.param_builder import PARAM_BUILDER
from offline_capi.identity.sdk import SDK
from offline_capi.identity.text import as_text, blank_where, lowered
from offline_capi.identity.verdict import Profile, Readable, Rule, Usable
from offline_capi.model import DroppedValues, IdentityColumn

__all__ = ["PROFILES", "Surroundings", "country_beside", "hash_columns", "normal_forms", "rule_of"]

PROFILES: Mapping[str, Profile] = {"meta": META, "sdk": SDK, "param_builder": PARAM_BUILDER}

_READ_WITH_COUNTRY = frozenset({"ph", "st", "zp"})


class PolicyRows(NamedTuple):
    """Rows whose client has this policy; ``None``: all rows."""

    policy: ExternalIdPolicy
    where: pa.BooleanArray | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands beside the values: default countries (alpha-2, lower case), policies, profile, the day."""

    country: pa.Array
    policies: Sequence[PolicyRows]
    today: date
    profile: str = "meta"


class _Answer(NamedTuple):
    values: pa.Array
    cause: pa.Array | None


def rule_of(key: str, profile: str) -> Rule:
    """The rule of a key; a ``UsageError`` names what is allowed."""
    table = PROFILES.get(profile)
    if table is None:
        raise UsageError(f'there is no profile "{profile}"; one of: {", ".join(PROFILES)}')
    if key not in table:
        raise UsageError(f'"{key}" is not a key of user_data; one of: {", ".join(table)}')
    return table[key]


def hash_columns(
    identity: Mapping[str, Sequence[IdentityColumn]], around: Surroundings
) -> tuple[dict[str, tuple[pa.Array, ...]], tuple[DroppedValues, ...]]:
    """Every key's columns as Meta takes them, and what was dropped on the way."""
    beside = _country_of_rows(identity.get("country", ()), around.country)
    around = replace(around, country=beside)
    hashed: dict[str, tuple[pa.Array, ...]] = {}
    dropped: list[DroppedValues] = []
    for key, columns in identity.items():
        answers = [_hashed(key, column, around) for column in columns]
        hashed[key] = _lists(answers) if USER_DATA_KEYS[key].several else _first(answers)
        dropped += [
            fact for column, answer in zip(columns, answers, strict=True) for fact in _dropped(key, column, answer)
        ]
    return hashed, tuple(dropped)


def normal_forms(key: str, readable: Readable, profile: str) -> pa.Array:
    """What would be hashed, or sent as it is; null where unusable."""
    rule = rule_of(key, profile)
    few = repeated(readable, by_country=key in _READ_WITH_COUNTRY)
    return rule(readable).text if few is None else rule(few.values).text.take(few.rows)


def country_beside(written: Any, default: pa.Array) -> pa.Array:
    """Countries as a source writes them → alpha-2, with the default where nothing is written.

    An unknown word is no country: filling in the default would read the values of one country by another's rules.
    """
    text = lowered(as_text(written))
    if pc.all(pc.is_null(text)).as_py():
        return default
    words = text.dictionary_encode()
    codes = META["country"](Readable(words.dictionary, pa.nulls(len(words.dictionary), pa.string()))).text
    beside = codes.take(words.indices)
    return pc.if_else(pc.is_null(text), default, beside) if text.null_count else beside


def _country_of_rows(columns: Sequence[IdentityColumn], default: pa.Array) -> pa.Array:
    """The row's own country, as mapped to ``country``, before the client's default."""
    for column in reversed([one for one in columns if not one.hashed]):
        default = country_beside(column.values, default)
    return default


def _hashed(key: str, column: IdentityColumn, around: Surroundings) -> _Answer:
    declared = column.hashed and USER_DATA_KEYS[key].hashable
    rule = declared_digest if declared else rule_of(key, around.profile)
    country = around.country if column.country is None else country_beside(column.country, around.country)
    readable = Readable(as_text(column.values), country, column.formats, around.today)
    if key != "external_id":
        return _sent(key, rule, readable)
    return _by_policy(rule, readable, around.policies)


def _by_policy(rule: Rule, readable: Readable, policies: Sequence[PolicyRows]) -> _Answer:
    """``external_id``: the rows of each policy apart."""
    values, causes = pa.nulls(len(readable), pa.string()), pa.nulls(len(readable), pa.string())
    for policy, where in policies:
        if where is None:
            return _sent("external_id", rule, replace(readable, policy=policy))
        rows = replace(
            readable, text=readable.text.filter(where), country=readable.country.filter(where), policy=policy
        )
        answer = _sent("external_id", rule, rows)
        values = pc.replace_with_mask(values, where, answer.values)
        if answer.cause is not None:
            causes = pc.replace_with_mask(causes, where, answer.cause)
    return _Answer(values, causes)


def _sent(key: str, rule: Rule, readable: Readable) -> _Answer:
    """Rule and digest, once a distinct value where values repeat."""
    few = repeated(readable, by_country=key in _READ_WITH_COUNTRY)
    if few is None:
        usable = rule(readable)
        return _Answer(_outgoing(key, usable), usable.cause)
    usable = rule(few.values)
    cause = None if usable.cause is None else usable.cause.take(few.rows)
    values = _outgoing(key, usable)
    all_digests = usable.final is None and USER_DATA_KEYS[key].hashing != "never"
    return _Answer(spread(values, few.rows) if all_digests else values.take(few.rows), cause)


def _outgoing(key: str, usable: Usable) -> pa.Array:
    """Digests, except what goes out as it is."""
    if USER_DATA_KEYS[key].hashing == "never":
        return usable.text
    final = usable.final
    if final is None:
        return digests(usable.text)
    final = pc.fill_null(final, False)
    return pc.if_else(final, usable.text, digests(blank_where(usable.text, final)))


def _lists(answers: Sequence[_Answer]) -> tuple[pa.Array, ...]:
    """One array a column; a value that stands in an earlier column of the row already is null."""
    kept: list[pa.Array] = []
    for answer in answers:
        values = answer.values
        for earlier in kept:
            values = blank_where(values, pc.fill_null(pc.equal(values, earlier), False))
        kept.append(values)
    return tuple(kept)


def _first(answers: Sequence[_Answer]) -> tuple[pa.Array, ...]:
    """A single-valued key keeps the first usable value of the row."""
    return (pc.coalesce(*[answer.values for answer in answers]),)


def _dropped(key: str, column: IdentityColumn, answer: _Answer) -> Iterator[DroppedValues]:
    if answer.cause is None:
        return
    for entry in pc.value_counts(answer.cause.drop_null()).to_pylist():
        yield DroppedValues(key, column.label, str(entry["values"]), int(entry["counts"]))
