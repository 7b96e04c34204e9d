"""Which tables a query reads, and from which of their columns its own come, by sqlglot in the database's dialect.

Only what the query itself says for certain is told: no database is asked. A column without the name of its table, where
several could have it, stays untraced, as does all that sqlglot cannot read. Nothing of the query but names leaves this
module: sqlglot's warnings and errors quote it, and are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from offline_capi.config.queries import read_query_text
from offline_capi.sources.lineage import DirectUse, IndirectUse

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

__all__ = ["QueryLineage", "TracedColumn", "trace_query"]

#: Dialect of SQLAlchemy → of sqlglot, where they differ. Names without quotes are told in lower case where the database
#: folds them to upper case: SQLAlchemy writes such names so.
_DIALECTS = {
    "postgresql": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "awsathena": "athena",
    "snowflake": "snowflake, normalization_strategy=lowercase",
    "oracle": "oracle, normalization_strategy=lowercase",
    "db2": "db2, normalization_strategy=lowercase",
}
#: A query that refers to itself, or is made to exhaust us.
MAX_DEPTH = 60
MAX_QUERY_CHARS = 200_000


class TracedColumn(NamedTuple):
    """A column of a table, and what for the query reads it. ``table`` is dotted: as far as the query qualifies it."""

    table: str
    column: str
    use: DirectUse | IndirectUse


@dataclass(frozen=True, slots=True)
class QueryLineage:
    """``tables`` in the order of the text; of ``columns`` those that were traced; ``rows``: what decides about rows."""

    tables: tuple[str, ...] = ()
    columns: Mapping[str, tuple[TracedColumn, ...]] = field(default_factory=dict)
    rows: tuple[TracedColumn, ...] = ()


def trace_query(query: str, dialect: str, columns: Sequence[str] = ()) -> QueryLineage:
    """Tables of ``query`` and origins of those of its ``columns`` that are certain; nothing without sqlglot.

    ``dialect`` is SQLAlchemy's name for it.
    """
    text = "".join(piece if isinstance(piece, str) else "NULL" for piece in read_query_text(query, dialect).pieces)
    if len(text) > MAX_QUERY_CHARS:
        return QueryLineage()
    try:
        from sqlglot import exp, parse_one
        from sqlglot.errors import SqlglotError
        from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
        from sqlglot.optimizer.scope import build_scope
    except ImportError:
        return QueryLineage()
    known = _DIALECTS.get(dialect, dialect)
    logger = logging.getLogger("sqlglot")
    silent, logger.disabled = logger.disabled, True
    try:
        tree = normalize_identifiers(parse_one(text, dialect=known), dialect=known)
        root = build_scope(tree) if isinstance(tree, exp.Query) else None
    except (SqlglotError, ValueError, RecursionError):  # ValueError: a dialect that sqlglot does not have
        return QueryLineage()
    finally:
        logger.disabled = silent
    if root is None:
        return QueryLineage()
    tracer = _Tracer()
    read = [table for scope in root.traverse() for table in scope.sources.values() if isinstance(table, exp.Table)]
    order = {id(table): place for place, table in enumerate(root.expression.walk(bfs=False))}
    named = [name for table in sorted(read, key=lambda one: order.get(id(one), 0)) if (name := _name_table(table))]
    found = {name: origins for name in columns if (origins := tracer.trace_output(root, name)) is not None}
    return QueryLineage(tuple(dict.fromkeys(named)), found, tuple(dict.fromkeys(tracer.list_row_uses(root))))


class _Tracer:
    """Follows columns through scopes: common table expressions, subqueries, unions."""

    def trace_output(self, scope: Scope, name: str, depth: int = 0) -> tuple[TracedColumn, ...] | None:
        """Where a column of what ``scope`` selects comes from; ``None`` where that is not certain, () for constants."""
        from sqlglot import exp

        if depth > MAX_DEPTH:
            return None
        if isinstance(scope.expression, exp.SetOperation):
            return self._trace_union(scope, name, depth)
        if not isinstance(scope.expression, exp.Select):
            return None
        stars = []
        for selected in scope.expression.selects:
            if selected.is_star:
                stars.append(selected)
            elif selected.alias_or_name.casefold() == name.casefold():
                return self._trace_expression(scope, selected.unalias(), depth)
        return self._trace_star(scope, stars, name, depth)

    def _trace_union(self, scope: Scope, name: str, depth: int) -> tuple[TracedColumn, ...] | None:
        """A column has the name of the first branch, and its place in all of them."""
        from sqlglot import exp

        branches = list(_list_branches(scope))
        selected = [one.expression.selects for one in branches if isinstance(one.expression, exp.Select)]
        if len(selected) < len(branches) or any(one.is_star for selects in selected for one in selects):
            return None
        names = [one.alias_or_name.casefold() for one in selected[0]]
        if names.count(name.casefold()) != 1:
            return None
        place, found = names.index(name.casefold()), list[TracedColumn]()
        for branch, selects in zip(branches, selected, strict=True):
            certain = place < len(selects)
            origins = self._trace_expression(branch, selects[place].unalias(), depth + 1) if certain else None
            if origins is None:
                return None
            found += origins
        return tuple(dict.fromkeys(found))

    def _trace_star(
        self, scope: Scope, stars: Sequence[exp.Expr], name: str, depth: int
    ) -> tuple[TracedColumn, ...] | None:
        """Of ``*`` and ``table.*``, where only one source can have the column."""
        from sqlglot import exp

        if len(stars) != 1:
            return None
        star = stars[0].this if isinstance(stars[0], exp.Column) else stars[0]
        if any(star.args.get(word) for word in ("except_", "except", "replace", "rename")):
            return None
        table = stars[0].table if isinstance(stars[0], exp.Column) else ""
        return self._trace_column(scope, exp.column(name, table=table or None), depth)

    def _trace_expression(self, scope: Scope, selected: exp.Expr, depth: int) -> tuple[TracedColumn, ...] | None:
        from sqlglot import exp

        select = scope.expression
        # A subquery has columns of its own, and of this one.
        if not isinstance(select, exp.Select) or selected.find(exp.Query) is not None:
            return None
        use: DirectUse = "TRANSFORMATION"
        if isinstance(selected, exp.Column):
            use = "IDENTITY"
        elif selected.find(exp.AggFunc) is not None and selected.find(exp.Window) is None:
            use = "AGGREGATION"
        # Some databases let an expression use the alias of another: then it may be no column of a table.
        aliases = {one.alias.casefold() for one in select.selects if one is not selected.parent and one.alias}
        found: list[TracedColumn] = []
        for column in selected.find_all(exp.Column, bfs=False):
            is_alias = not column.table and column.name.casefold() in aliases
            origins = None if is_alias else self._trace_column(scope, column, depth)
            if origins is None:
                return None
            found += [origin._replace(use=_combine(origin.use, use)) for origin in origins]
        return tuple(dict.fromkeys(found))

    def _trace_column(self, scope: Scope, column: exp.Column, depth: int) -> tuple[TracedColumn, ...] | None:
        from sqlglot import exp
        from sqlglot.optimizer.scope import Scope

        sources = {name: source for name, (_, source) in scope.selected_sources.items()}
        if column.table:
            source = sources.get(column.table)
        else:  # a subquery may take it from outside
            certain = len(sources) == 1 and not (scope.is_subquery or scope.can_be_correlated)
            source = next(iter(sources.values())) if certain else None
        if isinstance(source, Scope):
            return self.trace_output(source, column.name, depth + 1)
        if isinstance(source, exp.Table) and (table := _name_table(source)) and not source.args.get("pivots"):
            return (TracedColumn(table, column.name, "IDENTITY"),)
        return None

    def list_row_uses(self, root: Scope) -> Iterator[TracedColumn]:
        """The columns of WHERE, HAVING, ON, USING and GROUP BY anywhere in the query, as far as they are certain."""
        from sqlglot import exp

        for scope in root.traverse():
            select = scope.expression
            if not isinstance(select, exp.Select):
                continue
            clauses: list[tuple[IndirectUse, exp.Expr | None]] = [
                ("FILTER", select.args.get("where")),
                ("FILTER", select.args.get("having")),
                ("FILTER", select.args.get("qualify")),
                ("GROUP_BY", select.args.get("group")),
                *(("JOIN", join.args.get("on")) for join in select.args.get("joins") or ()),
            ]
            for use, clause in clauses:
                if clause is None:
                    continue
                for column in clause.find_all(exp.Column, bfs=False):
                    if column.find_ancestor(exp.Query) is not select:
                        continue
                    for origin in self._trace_column(scope, column, 0) or ():
                        yield origin._replace(use=use)


def _list_branches(scope: Scope) -> Iterator[Scope]:
    """The SELECTs of a union, from its first; of one in brackets, too."""
    if scope.set_operation_scopes:
        for branch in scope.set_operation_scopes:
            yield from _list_branches(branch)
    else:
        yield scope


def _combine(inner: DirectUse | IndirectUse, outer: DirectUse) -> DirectUse | IndirectUse:
    """What two steps are together."""
    return "AGGREGATION" if "AGGREGATION" in (inner, outer) else inner if outer == "IDENTITY" else outer


def _name_table(table: exp.Table) -> str:
    """``database.schema.table`` as far as written; nothing for functions that return rows."""
    from sqlglot import exp

    if not isinstance(table.this, (exp.Identifier, exp.Dot)):
        return ""
    return ".".join(part.name for part in table.parts)
