"""Which source columns an upload reads, and where its YAML names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel

from offline_capi.config.document import Loc, dotted
from offline_capi.config.fields import Condition, FieldSpec
from offline_capi.config.mapping import MappingSpec, WindowSpec

__all__ = ["columns_of", "columns_used", "field_specs", "lookup_columns", "lookup_of", "named_columns", "patterns_used"]

_SECTIONS = ("client", "window", "event", "user_data", "custom_data", "consent", "filter")
_COLUMN_KEYS = ("column", "json_column")


def columns_used(mapping: MappingSpec) -> dict[str, tuple[str, ...]]:
    """Every column of the source that the mapping reads → the dotted paths that name it.

    ``Deployment.locate`` finds their lines. With a ``transform``, these are the columns that the hook must return.
    """
    used = {column: paths for column, paths in named_columns(mapping).items() if not lookup_of(column, mapping)}
    for name, lookup in mapping.lookups.items():
        column = lookup.by or lookup.key
        used[column] = (*used.get(column, ()), f"lookups.{name}.{'by' if lookup.by else 'key'}")
    return used


def named_columns(mapping: MappingSpec, sections: Iterable[str] = _SECTIONS) -> dict[str, tuple[str, ...]]:
    """Every column that these sections name, those of lookups included → the dotted paths that name it."""
    used: dict[str, list[str]] = {}
    for section in sections:
        for loc, column in _columns(getattr(mapping, section), (section,)):
            used.setdefault(column, []).append(dotted(loc))
    return {column: tuple(dict.fromkeys(paths)) for column, paths in used.items()}


def lookup_columns(mapping: MappingSpec, name: str) -> tuple[str, ...]:
    """The columns of a lookup's table that the mapping reads, by their names in the table."""
    mine = (column for column in named_columns(mapping) if lookup_of(column, mapping) == name)
    return tuple(column.partition(".")[2] for column in mine)


def lookup_of(column: str, mapping: MappingSpec) -> str | None:
    """Whose ``NAME.COLUMN`` is; ``None`` for a column of the source."""
    name, dot, _ = column.partition(".")
    return name if dot and name in mapping.lookups else None


def columns_of(node: object) -> tuple[str, ...]:
    """Every column that a part of the mapping reads, in order."""
    return tuple(dict.fromkeys(column for _, column in _columns(node, ())))


def field_specs(node: object, loc: Loc) -> Iterator[tuple[Loc, FieldSpec]]:
    """Every field specification at or below ``node``, the parts of a ``coalesce`` included."""
    if isinstance(node, FieldSpec):
        yield loc, node
    for step, child in _children(node):
        yield from field_specs(child, (*loc, *step))


def patterns_used(mapping: MappingSpec) -> dict[str, str]:
    """Every regular expression of the mapping, by the dotted path that holds it."""
    found: dict[Loc, str | None] = {}
    steps = [(loc, spec.text) for part in _SECTIONS[:5] for loc, spec in field_specs(getattr(mapping, part), (part,))]
    for index, condition in enumerate(mapping.filter):
        found["filter", index, "matches"] = condition.matches
        steps.append((("filter", index), condition.text))
    for loc, text in steps:
        found |= {(*loc, "text", index, "extract"): step.extract for index, step in enumerate(text)}
    return {dotted(loc): pattern for loc, pattern in found.items() if pattern is not None}


def _children(node: object) -> Iterator[tuple[Loc, object]]:
    if isinstance(node, FieldSpec):
        yield (("coalesce",), node.coalesce)
    elif isinstance(node, BaseModel):
        yield from (((name,), value) for name, value in node)
    elif isinstance(node, Mapping):
        yield from (((key,), value) for key, value in node.items())
    elif isinstance(node, tuple):
        yield from (((index,), value) for index, value in enumerate(node))


def _columns(node: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(node, FieldSpec):
        own = node.model_copy(update={"coalesce": None, "country": None})
        yield from ((loc, column) for column in own.columns)
        yield from [((*loc, "country"), node.country)] if node.country else []
    elif isinstance(node, Condition) and node.first_of:
        yield from (((*loc, "first_of"), column) for column in node.columns)
    elif isinstance(node, WindowSpec) and node.template:
        yield from (((*loc, "template"), column) for column in node.columns)
    elif isinstance(node, BaseModel):
        named = ((key, getattr(node, key, None)) for key in _COLUMN_KEYS)
        yield from (((*loc, key), column) for key, column in named if column)
    for step, child in _children(node):
        alone = isinstance(node, tuple) and len(node) == 1
        yield from _columns(child, loc if alone else (*loc, *step))
