"""Which columns each field of an event comes from, by the mapping alone: no row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from offline_capi.config import MappingSpec
from offline_capi.config.columns import list_columns
from offline_capi.config.fields import FieldSpec
from offline_capi.mapping.fields import ID_KIND
from offline_capi.mapping.objects import OBJECTS, Member
from offline_capi.mapping.rows import CUSTOM_KINDS, EVENT_FIELDS, EVENT_OBJECTS, choose_time_spec
from offline_capi.meta.catalogue import USER_DATA_KEYS

__all__ = ["FieldLineage", "MappingLineage", "trace_mapping"]

#: Kinds that go out as the source has them, where the mapping says nothing more than the column.
_UNCHANGED_KINDS = ("string", ID_KIND)
_UNCHANGED_KEYS = ("printable", "token")
#: Texts of which Meta's or our own spelling is sent.
_RESPELLED = ("event_name", "currency")
#: What may stand beside ``column`` and changes no value.
_PLAIN = frozenset({"column", "on_error", "allow_negative", "exact"})


@dataclass(frozen=True, slots=True)
class FieldLineage:
    """The columns of one field; none where it is a constant. ``unchanged``: the values go out as they are."""

    columns: tuple[str, ...]
    unchanged: bool = False
    #: A column that holds digests already.
    declared_hashed: bool = False


@dataclass(frozen=True, slots=True)
class MappingLineage:
    """Fields by Meta's names, dotted; and the columns that decide which rows go, and whose they are."""

    fields: Mapping[str, FieldLineage]
    filters: tuple[str, ...]


def trace_mapping(mapping: MappingSpec, *, by_window: bool = True) -> MappingLineage:
    """Every field of an upload's events, in the payload's order; ``by_window``: the window's column selects rows."""
    found = dict(_trace_event(mapping))
    for key in USER_DATA_KEYS:
        if key in mapping.user_data:
            found[f"user_data.{key}"] = _trace_key(key, mapping.user_data[key])
    found.update(_trace_custom(mapping))
    window = mapping.window.columns if by_window else ()
    deciding = [*list_columns(mapping.client), *window, *list_columns(mapping.consent), *list_columns(mapping.filter)]
    return MappingLineage(found, tuple(dict.fromkeys(deciding)))


def _trace_event(mapping: MappingSpec) -> Iterator[tuple[str, FieldLineage]]:
    for name, key, kind in EVENT_FIELDS:
        spec = choose_time_spec(mapping) if key == "time" else getattr(mapping.event, key)
        if spec is not None:
            yield name, _trace_field(spec, kind, name)
    for name, key in EVENT_OBJECTS:
        yield from _trace_object(name, getattr(mapping.event, key), OBJECTS[name])
    if (use := mapping.event.limited_data_use) is not None:
        yield "data_processing_options", FieldLineage(use.when.columns)
        for part in ("country", "state"):
            yield f"data_processing_options_{part}", FieldLineage(list_columns(use))


def _trace_key(key: str, specs: tuple[FieldSpec, ...]) -> FieldLineage:
    facts, (first, *others) = USER_DATA_KEYS[key], specs
    unchanged = facts.kind in _UNCHANGED_KEYS and not others and _is_plain(first)
    return FieldLineage(list_columns(specs), unchanged, all(spec.hashed for spec in specs))


def _trace_custom(mapping: MappingSpec) -> Iterator[tuple[str, FieldLineage]]:
    data = mapping.custom_data
    for name in type(data).model_fields:
        spec = getattr(data, name)
        if name == "properties" or spec is None:
            continue
        if name in OBJECTS:
            yield from _trace_object(f"custom_data.{name}", spec, OBJECTS[name])
        elif isinstance(spec, FieldSpec):
            yield f"custom_data.{name}", _trace_field(spec, CUSTOM_KINDS.get(name, "string"), name)
        else:
            yield f"custom_data.{name}", FieldLineage(list_columns(spec))
    for name, spec in data.properties.items():
        yield f"custom_data.{name}", _trace_field(spec, "string", name)


def _trace_object(name: str, node: Any, members: tuple[Member, ...]) -> Iterator[tuple[str, FieldLineage]]:
    for member in members:
        spec = getattr(node, member.name, None)
        if isinstance(spec, FieldSpec):
            yield f"{name}.{member.key}", _trace_field(spec, member.kind, member.key)
        elif spec is not None:
            yield f"{name}.{member.key}", FieldLineage(list_columns(spec))


def _trace_field(spec: FieldSpec, kind: str, name: str) -> FieldLineage:
    respelled = name in _RESPELLED and not getattr(spec, "exact", False)
    return FieldLineage(spec.columns, _is_plain(spec) and kind in _UNCHANGED_KINDS and not respelled)


def _is_plain(spec: FieldSpec) -> bool:
    return spec.column is not None and spec.model_fields_set <= _PLAIN
