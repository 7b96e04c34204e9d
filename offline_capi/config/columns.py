"""Which source columns an upload reads, and where its YAML names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from offline_capi.config.document import Loc, dotted
from offline_capi.config.settings import FieldSpec, MappingSpec, WindowSpec

__all__ = ["columns_of", "columns_used", "field_specs"]

_SECTIONS = ("client", "window", "event", "user_data", "custom_data", "consent")
_COLUMN_KEYS = ("column", "json_column")


def columns_used(mapping: MappingSpec) -> dict[str, tuple[str, ...]]:
    """Every column that the mapping reads → the dotted paths that name it; ``Deployment.place`` finds their lines.

    With a ``transform``, these are the columns that the hook must return.
    """
    used: dict[str, list[str]] = {}
    for section in _SECTIONS:
        for loc, column in _columns(getattr(mapping, section), (section,)):
            used.setdefault(column, []).append(dotted(loc))
    return {column: tuple(dict.fromkeys(paths)) for column, paths in used.items()}


def columns_of(node: object) -> tuple[str, ...]:
    """Every column that a part of the mapping reads, in order."""
    return tuple(dict.fromkeys(column for _, column in _columns(node, ())))


def field_specs(node: object, loc: Loc) -> Iterator[tuple[Loc, FieldSpec]]:
    """Every field specification at or below ``node``, the parts of a ``coalesce`` included."""
    if isinstance(node, FieldSpec):
        yield loc, node
    for step, child in _children(node):
        yield from field_specs(child, (*loc, *step))


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
    elif isinstance(node, WindowSpec) and node.template:
        yield from (((*loc, "template"), column) for column in node.columns)
    elif isinstance(node, BaseModel):
        named = ((key, getattr(node, key, None)) for key in _COLUMN_KEYS)
        yield from (((*loc, key), column) for key, column in named if column)
    for step, child in _children(node):
        alone = isinstance(node, tuple) and len(node) == 1
        yield from _columns(child, loc if alone else (*loc, *step))
