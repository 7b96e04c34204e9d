"""Which source columns an upload reads, and where its YAML names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel

from offline_capi.config.document import Loc, format_path
from offline_capi.config.fields import Condition, Expectation, FieldSpec
from offline_capi.config.mapping import MappingSpec, WindowSpec

__all__ = [
    "find_field_specs",
    "find_lookup",
    "list_columns",
    "list_columns_used",
    "list_lookup_columns",
    "list_named_columns",
    "list_patterns",
]

_SECTIONS = ("client", "window", "event", "user_data", "custom_data", "consent", "filter", "expect")
_COLUMN_KEYS = ("column", "json_column")


def list_columns_used(mapping: MappingSpec) -> dict[str, tuple[str, ...]]:
    """Every column of the source that the mapping reads → the dotted paths that name it.

    ``Deployment.locate`` finds their lines. With a ``transform``, these are the columns that the hook must return.
    """
    used = {column: paths for column, paths in list_named_columns(mapping).items() if not find_lookup(column, mapping)}
    for name, lookup in mapping.lookups.items():
        column = lookup.by or lookup.key
        used[column] = (*used.get(column, ()), f"lookups.{name}.{'by' if lookup.by else 'key'}")
    return used


def list_named_columns(mapping: MappingSpec, sections: Iterable[str] = _SECTIONS) -> dict[str, tuple[str, ...]]:
    """Every column that these sections name, those of lookups included → the dotted paths that name it."""
    used: dict[str, list[str]] = {}
    for section in sections:
        for loc, column in _find_columns(getattr(mapping, section), (section,)):
            used.setdefault(column, []).append(format_path(loc))
    return {column: tuple(dict.fromkeys(paths)) for column, paths in used.items()}


def list_lookup_columns(mapping: MappingSpec, name: str) -> tuple[str, ...]:
    """The columns of a lookup's table that the mapping reads, by their names in the table."""
    mine = (column for column in list_named_columns(mapping) if find_lookup(column, mapping) == name)
    return tuple(column.partition(".")[2] for column in mine)


def find_lookup(column: str, mapping: MappingSpec) -> str | None:
    """Whose ``NAME.COLUMN`` is; ``None`` for a column of the source."""
    name, dot, _ = column.partition(".")
    return name if dot and name in mapping.lookups else None


def list_columns(node: object) -> tuple[str, ...]:
    """Every column that a part of the mapping reads, in order."""
    return tuple(dict.fromkeys(column for _, column in _find_columns(node, ())))


def find_field_specs(node: object, loc: Loc) -> Iterator[tuple[Loc, FieldSpec]]:
    """Every field specification at or below ``node``, the parts of a ``coalesce`` included."""
    if isinstance(node, FieldSpec):
        yield loc, node
    for step, child in _list_children(node):
        yield from find_field_specs(child, (*loc, *step))


def list_patterns(mapping: MappingSpec) -> dict[str, str]:
    """Every regular expression of the mapping, by the dotted path that holds it."""
    found: dict[Loc, str | None] = {}
    steps = [
        (loc, spec.text) for part in _SECTIONS[:5] for loc, spec in find_field_specs(getattr(mapping, part), (part,))
    ]
    for section in ("filter", "expect"):
        for index, condition in enumerate(getattr(mapping, section)):
            found[section, index, "matches"] = condition.matches
            steps.append(((section, index), condition.text))
    for loc, text in steps:
        found |= {(*loc, "text", index, "extract"): step.extract for index, step in enumerate(text)}
    return {format_path(loc): pattern for loc, pattern in found.items() if pattern is not None}


def _list_children(node: object) -> Iterator[tuple[Loc, object]]:
    if isinstance(node, FieldSpec):
        yield (("coalesce",), node.coalesce)
    elif isinstance(node, BaseModel):
        yield from (((name,), value) for name, value in node)
    elif isinstance(node, Mapping):
        yield from (((key,), value) for key, value in node.items())
    elif isinstance(node, tuple):
        yield from (((index,), value) for index, value in enumerate(node))


def _find_columns(node: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(node, FieldSpec):
        yield from ((loc, column) for column in node.own_columns)
        yield from [((*loc, "country"), node.country)] if node.country else []
    elif isinstance(node, Condition) and node.first_of:
        yield from (((*loc, "first_of"), column) for column in node.columns)
    elif isinstance(node, Expectation) and node.unique:
        yield from (((*loc, "unique"), column) for column in node.columns)
    elif isinstance(node, WindowSpec) and node.template:
        yield from (((*loc, "template"), column) for column in node.columns)
    elif isinstance(node, BaseModel):
        named = ((key, getattr(node, key, None)) for key in _COLUMN_KEYS)
        yield from (((*loc, key), column) for key, column in named if column)
    for step, child in _list_children(node):
        alone = isinstance(node, tuple) and len(node) == 1
        yield from _find_columns(child, loc if alone else (*loc, *step))
