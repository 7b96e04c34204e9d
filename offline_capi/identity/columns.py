"""The one path that every value takes: text, rule of the profile, digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.client import ExternalIdPolicy
from offline_capi.errors import UsageError
from offline_capi.identity.clear_text import ANYTHING, drop_contact_details, guard_against_contacts
from offline_capi.identity.declared import DIGEST_PATTERN, pass_digests, read_declared_digest, refuse_digests
from offline_capi.identity.distinct import find_distinct, has_repeats
from offline_capi.identity.hash_cache import HashCache, HashCacheTable, HashedValues
from offline_capi.identity.meta import META, PLAIN
from offline_capi.identity.param_builder import PARAM_BUILDER
from offline_capi.identity.repair import strip_decoration
from offline_capi.identity.sdk import SDK
from offline_capi.identity.several import find_cells_of_several, split_cell
from offline_capi.identity.text import as_text, blank_where, find_longer_than, find_matches, is_one_of, lower_text
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import DroppedValues, IdentityColumn, NotedValues
from offline_capi.runtime.column_bytes import encode_distinct
from offline_capi.runtime.sha256 import hash_to_hex

__all__ = [
    "PROFILES",
    "VERSIONS",
    "HashedColumn",
    "HashingContext",
    "RowsAlike",
    "compute_normal_forms",
    "get_default_rule",
    "get_rule",
    "hash_columns",
    "hash_each",
    "list_dropped",
    "list_noted",
    "resolve_countries",
    "resolve_version",
]

#: Every rule set there ever was, by name and version: a version's rules never change once it is released.
#: To change a rule, add a version and keep the old table under its own (``tests/identity/test_profile_versions.py``).
#: What changes without us are the libraries' tables of phone numbers, postal codes and country names.
VERSIONS: Mapping[str, Profile] = {"meta@2026-11": META, "sdk@26.0.3": SDK, "param_builder@1.3.2": PARAM_BUILDER}
#: The newest version of each profile, under the bare name.
PROFILES: Mapping[str, Profile] = {version.partition("@")[0]: rules for version, rules in VERSIONS.items()}

_READ_WITH_COUNTRY = frozenset(
    key for key, facts in USER_DATA_KEYS.items() if facts.kind in ("phone", "state", "postal_code")
)


class RowsAlike(NamedTuple):
    """Rows of clients that chose the same profile and the same policy for ``external_id``; ``None``: all rows.

    ``junk`` is dropped from these rows, as the run's own is from all.
    """

    where: pa.BooleanArray | None
    profile: str
    policy: ExternalIdPolicy
    junk: Mapping[str, Collection[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HashingContext:
    """Context of the values: default countries (alpha-2, lower case), the clients' choices, the day, junk; and
    results from earlier batches of the run.

    ``phone_country`` is the country in which a national phone number is read: that of ``country``, and the client's
    default where the row names a country that nobody knows.
    """

    country: pa.Array
    phone_country: pa.Array
    alike: Sequence[RowsAlike]
    today: date
    junk: Mapping[str, Collection[str]] = field(default_factory=dict)
    cache: HashCache | None = None


class _ColumnRule(NamedTuple):
    """The rule of a column; and, for some, what finds the normal forms of values that are written plainly, as the rule
    would (``meta.PLAIN``)."""

    apply: Rule
    recognise: Callable[[Readable], pa.Array | None] | None


class HashedColumn(NamedTuple):
    """Result for one source column of a key: ``values`` as they are sent, and the cause of every dropped value.

    ``further`` are the second, third, … values of cells that hold several. ``noted`` counts values that went out, by
    what is worth knowing of them: how many came hashed, or are letters that mean two things.
    """

    key: str
    label: str
    filled: pa.BooleanArray
    values: pa.Array
    cause: pa.Array | None
    further: tuple[pa.Array, ...] = ()
    noted: Mapping[str, int] = MappingProxyType({})


def get_rule(key: str, profile: str) -> Rule:
    """The rule of a key; a ``UsageError`` names what is allowed."""
    table = PROFILES[profile] if profile in PROFILES else VERSIONS[resolve_version(profile)]
    if key not in table:
        raise UsageError(f'"{key}" is not a key of user_data; one of: {", ".join(table)}')
    return table[key]


def resolve_version(profile: str) -> str:
    """``meta@2026-11`` for ``meta``: the newest, unless a version is named; a ``UsageError`` names what there is."""
    newest = {version.partition("@")[0]: version for version in VERSIONS}
    version = newest.get(profile, profile)
    if version not in VERSIONS:
        raise UsageError(f'there is no profile "{profile}"; one of: {", ".join([*PROFILES, *VERSIONS])}')
    return version


def hash_columns(
    identity: Mapping[str, Sequence[IdentityColumn]], around: HashingContext
) -> tuple[dict[str, tuple[pa.Array, ...]], list[HashedColumn]]:
    """Every key's columns as Meta takes them, and the result for each source column."""
    columns = list(hash_each(identity, around))
    hashed: dict[str, list[pa.Array]] = {}
    for column in columns:
        hashed.setdefault(column.key, []).append(column.values)
    for column in columns:
        hashed[column.key] += column.further
    together = {
        key: _drop_repeated(own) if USER_DATA_KEYS[key].several else _pick_first(own) for key, own in hashed.items()
    }
    return together, columns


def hash_each(identity: Mapping[str, Sequence[IdentityColumn]], around: HashingContext) -> Iterator[HashedColumn]:
    """Every column on its own, in the order of the YAML."""
    around = _add_country_of_rows(identity.get("country", ()), around)
    for key, columns in identity.items():
        for column in columns:
            yield _hash_column(key, column, around)


def list_dropped(columns: Sequence[HashedColumn]) -> tuple[DroppedValues, ...]:
    """What the columns lost, counted by cause."""
    return tuple(
        DroppedValues(column.key, column.label, str(entry["values"]), int(entry["counts"]))
        for column in columns
        if column.cause is not None
        for entry in pc.value_counts(column.cause.drop_null()).to_pylist()
    )


def list_noted(columns: Sequence[HashedColumn]) -> tuple[NotedValues, ...]:
    """What is worth knowing of values that went out."""
    return tuple(
        NotedValues(column.key, column.label, what, count) for column in columns for what, count in column.noted.items()
    )


def compute_normal_forms(key: str, readable: Readable, profile: str) -> pa.Array:
    """What would be hashed, or sent as it is; null where unusable."""
    if not has_repeats(readable.text):
        return get_default_rule(key, profile)(readable).text
    few = find_distinct(readable, by_country=key in _READ_WITH_COUNTRY)
    return get_default_rule(key, profile)(few.values).text.take(few.rows)


def get_default_rule(key: str, profile: str) -> Rule:
    """The rule of a key for a column of which nobody said whether it is hashed."""
    return _build_rule(key, profile, None)


def resolve_countries(written: Any, default: pa.Array, *, for_unknown: bool = False) -> pa.Array:
    """Countries as a source writes them → alpha-2, with the default where nothing, or a placeholder, is written.

    An unknown word is no country: filling in the default would read the values of one country by another's rules. A
    phone number may be tried by the default (``for_unknown``), for it has to be valid there.
    """
    words = encode_distinct(as_text(written))
    text = lower_text(words.dictionary)
    if text.null_count == len(text):
        return default
    read = META["country"](Readable(text, pa.nulls(len(text), pa.string())))
    resolved, filled = read.text.take(words.indices), pc.is_valid(text)
    if for_unknown:
        filled = pc.is_valid(read.text)
    elif read.cause is not None:
        filled = pc.and_not(filled, pc.fill_null(pc.equal(read.cause, Cause.PLACEHOLDER), False))
    if not words.indices.null_count and pc.all(filled).as_py():
        return resolved
    return pc.if_else(pc.fill_null(filled.take(words.indices), False), resolved, default)


def _add_country_of_rows(columns: Sequence[IdentityColumn], around: HashingContext) -> HashingContext:
    """The row's own country, as mapped to ``country``, before the client's default."""
    strict = default = around.country
    for column in reversed([one for one in columns if not one.hashed]):
        strict = resolve_countries(column.values, strict)
    if strict is default or not strict.null_count or default.null_count == len(default):
        return replace(around, country=strict, phone_country=strict)
    return replace(around, country=strict, phone_country=pc.coalesce(strict, default))


def _build_rule(key: str, profile: str, hashed: bool | None) -> Rule:
    """The rule of a key for a column as its author declared it: digests insisted on, refused, or passed on."""
    rule = get_rule(key, profile)
    if not USER_DATA_KEYS[key].hashable:
        return guard_against_contacts(rule) if key in ANYTHING else rule
    never_takes = key == "em" and _is_meta(profile)  # other profiles are tools', which pass digests on
    if hashed is not None:
        return read_declared_digest if hashed else refuse_digests(rule, never_takes=never_takes)
    if key == "external_id":
        # The SDK hashes no id; by a client's policy, an id is what its browser sends.
        return rule if rule is SDK[key] else pass_digests(rule, strict=False, unless_raw=_is_meta(profile))
    return pass_digests(rule, strict=_is_meta(profile), never_takes=never_takes)


def _is_meta(profile: str) -> bool:
    return profile.partition("@")[0] == "meta"


def _hash_column(key: str, column: IdentityColumn, around: HashingContext) -> HashedColumn:
    default = around.phone_country if key == "ph" else around.country
    country = default
    if column.country is not None:
        country = resolve_countries(column.country, default, for_unknown=key == "ph")
    text = as_text(column.values)
    readable = Readable(text, country, column.formats, around.today, zone=column.zone)
    parts: list[tuple[pa.BooleanArray | None, tuple[HashedValues, ...]]] = []
    for where, profile, policy, junk in _merge_alike(key, around.alike):
        plain = PLAIN.get(key) if _is_meta(profile) and not column.hashed else None
        rule = _ColumnRule(_build_rule(key, profile, column.hashed), plain)
        asked = replace(readable if where is None else readable.select(where), policy=policy)
        theirs = replace(around, junk={key: (*around.junk.get(key, ()), *junk[key])}) if key in junk else around
        parts.append((where, _hash_each_value(key, rule, asked, theirs, split=_is_meta(profile))))
    first, *further = _put_together(parts, len(text))
    return HashedColumn(
        key=key,
        label=column.label,
        filled=pc.is_valid(column.values),
        values=first.values,
        cause=first.cause,
        further=tuple(one.values for one in further),
        noted=_count_noted(key, column, text, first.values),
    )


def _put_together(
    parts: Sequence[tuple[pa.BooleanArray | None, tuple[HashedValues, ...]]], rows: int
) -> list[HashedValues]:
    if len(parts) == 1 and parts[0][0] is None:
        return list(parts[0][1])
    nothing = pa.nulls(rows, pa.string())
    together = [HashedValues(nothing, nothing)] * max((len(answers) for _, answers in parts), default=1)
    for where, answers in parts:
        for position, answer in enumerate(answers):
            values = pc.replace_with_mask(together[position].values, where, answer.values)
            causes = together[position].cause
            if answer.cause is not None:
                causes = pc.replace_with_mask(causes, where, answer.cause)
            together[position] = HashedValues(values, causes)
    return together


def _hash_each_value(
    key: str, rule: _ColumnRule, readable: Readable, around: HashingContext, *, split: bool
) -> tuple[HashedValues, ...]:
    """The first value of each cell, then the second ones, and so on: one answer where no cell holds several."""
    listed = USER_DATA_KEYS[key].hashable
    cells = find_cells_of_several(key, readable.text, written=split) if listed else None
    whole = _hash_values(key, rule, readable, around)
    if cells is None:
        return (whole,)
    written = readable.select(cells)
    cut = [split_cell(key, cell) for cell in written.text.to_pylist()]
    owner = pa.array([row for row, (parts, _) in enumerate(cut) for _ in parts], pa.int64())
    flat = pa.array([part for parts, _ in cut for part in parts], pa.string())
    result = _hash_values(key, rule, replace(readable, text=flat, country=written.country.take(owner)), around)
    values = result.values.to_pylist()
    causes = [None] * len(values) if result.cause is None else result.cause.to_pylist()
    firsts: list[tuple[str | None, str | None]] = []
    lists: list[list[str]] = []
    start = 0
    for (parts, certain), alone in zip(cut, whole.values.filter(cells).to_pylist(), strict=True):
        own = values[start : start + len(parts)]
        usable = list(dict.fromkeys(one for one in own if one is not None))
        why = next((one for one in causes[start : start + len(parts)] if one), None)
        start += len(parts)
        # "555-1212,5678" may be one number with an extension: several only where each part is a number.
        if not certain and (not usable or (key == "ph" and len(usable) < len(own))):
            usable = [] if alone is None else [alone]
        lists.append(usable)
        firsts.append((usable[0], None) if usable else (None, why))
    longest = max((len(one) for one in lists), default=1)
    before = pa.nulls(len(cells), pa.string()) if whole.cause is None else whole.cause
    answers = [
        HashedValues(
            pc.replace_with_mask(whole.values, cells, pa.array([one for one, _ in firsts], pa.string())),
            pc.replace_with_mask(before, cells, pa.array([why for _, why in firsts], pa.string())),
        )
    ]
    for position in range(1, longest):
        more = pa.array([one[position] if len(one) > position else None for one in lists], pa.string())
        answers.append(HashedValues(pc.replace_with_mask(pa.nulls(len(cells), pa.string()), cells, more), None))
    return tuple(answers)


def _count_noted(key: str, column: IdentityColumn, text: pa.Array, sent: pa.Array) -> dict[str, int]:
    """Digests that nobody declared; ``h`` and ``m``, where M means male or, in data with H, female (mujer)."""
    noted = {}
    long = find_longer_than(text, 63) if column.hashed is None and USER_DATA_KEYS[key].hashable else None
    if long is not None:
        shaped = find_matches(lower_text(strip_decoration(text.filter(long))), DIGEST_PATTERN)
        noted["came_hashed"] = int(pc.sum(pc.and_(shaped, pc.is_valid(sent.filter(long)))).as_py() or 0)
    if key == "ge":
        words = pc.value_counts(text)
        letters = pc.ascii_lower(pc.ascii_trim(words.field("values"), " ."))
        counts = words.field("counts")
        noted |= {f"written_{one}": int(pc.sum(counts.filter(pc.equal(letters, one))).as_py() or 0) for one in "hm"}
    return {what: count for what, count in noted.items() if count}


def _merge_alike(key: str, alike: Sequence[RowsAlike]) -> Sequence[RowsAlike]:
    """Only ``external_id`` has a policy: for every other key, rows of one profile and no junk stay together."""
    if key == "external_id" or len(alike) == 1 or any(key in rows.junk for rows in alike):
        return alike
    if len({rows.profile for rows in alike}) == 1:
        return [alike[0]._replace(where=None)]
    return alike


def _hash_values(key: str, rule: _ColumnRule, readable: Readable, around: HashingContext) -> HashedValues:
    """Rule and digest, once a distinct value where values repeat: in the batch, or in the run."""

    def compute(values: Readable) -> HashedValues:
        return _judge(key, rule.apply(values), around.junk.get(key))

    by_country = key in _READ_WITH_COUNTRY
    table = _get_table(key, rule.apply, readable, around)
    if has_repeats(readable.text) if table is None else table.has_repeats(readable.text):
        if table is not None:
            return table.find_or_compute(readable, by_country=by_country, compute=compute)
        few = find_distinct(readable, by_country=by_country)
        return compute(few.values).take(few.rows)
    plain = None if rule.recognise is None else rule.recognise(readable)
    if plain is None:
        return compute(readable)
    hashed = _judge(key, Usable(plain), around.junk.get(key))
    rest = pc.and_(pc.is_valid(readable.text), pc.is_null(plain))
    if not pc.any(rest).as_py():
        return hashed
    others = readable.select(rest)
    if table is None:
        return hashed.patch(rest, compute(others))
    # Those that are written otherwise are a few placeholders, again in each batch.
    return hashed.patch(rest, table.find_or_compute(others, by_country=by_country, compute=compute))


def _get_table(key: str, rule: Rule, readable: Readable, around: HashingContext) -> HashCacheTable | None:
    """The cached hashes of values read in just this way."""
    if around.cache is None:
        return None
    policy = readable.policy if key == "external_id" else None
    junk = frozenset(around.junk.get(key, ()))
    return around.cache.get_table((key, rule, readable.formats, readable.today, readable.zone, policy, junk))


def _judge(key: str, usable: Usable, junk: Collection[str] | None) -> HashedValues:
    """What goes out, without what the upload lists as nobody's. A raw ``external_id`` holds no contact details."""
    if key == "external_id" and usable.final is not None and pc.any(usable.final).as_py():
        usable = drop_contact_details(usable, usable.final)
    sent = _make_outgoing(key, usable)
    if not junk:
        return HashedValues(sent, usable.cause)
    hashes = hash_to_hex(usable.text) if USER_DATA_KEYS[key].hashing == "never" or usable.final is not None else sent
    listed = pc.or_(is_one_of(hashes, frozenset(junk)), is_one_of(sent, frozenset(junk)))
    kept = Usable(sent, usable.cause).refuse(Cause.LISTED_AS_JUNK, listed)
    return HashedValues(kept.text, kept.cause)


def _make_outgoing(key: str, usable: Usable) -> pa.Array:
    """Digests, except what goes out as it is."""
    if USER_DATA_KEYS[key].hashing == "never":
        return usable.text
    final = usable.final
    if final is None:
        return hash_to_hex(usable.text)
    final = pc.fill_null(final, False)
    return pc.if_else(final, usable.text, hash_to_hex(blank_where(usable.text, final)))


def _drop_repeated(columns: Sequence[pa.Array]) -> tuple[pa.Array, ...]:
    """One array a column; a value that stands in an earlier column of the row already is null."""
    kept: list[pa.Array] = []
    for values in columns:
        for earlier in kept:
            values = blank_where(values, pc.fill_null(pc.equal(values, earlier), False))
        kept.append(values)
    return tuple(kept)


def _pick_first(columns: Sequence[pa.Array]) -> tuple[pa.Array, ...]:
    """A single-valued key keeps the first usable value of the row."""
    return (pc.coalesce(*columns),)
