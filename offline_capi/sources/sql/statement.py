"""The text of a query, its parameters, and the one statement that every driver gets of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from offline_capi.config.queries import QueryText, read_query_text
from offline_capi.config.source import SqlSource
from offline_capi.errors import SourceError
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources.sql.errors import Where

__all__ = ["Statement", "parse_query", "query_text"]


class Statement(sa.sql.expression.Executable, sa.sql.expression.ClauseElement):
    """A query in pieces. SQLAlchemy's own ``text()`` would look for parameters again, by other rules."""

    inherit_cache = False

    def __init__(self, pieces: Sequence[str | sa.BindParameter[Any]]) -> None:
        self.pieces = pieces

    @property
    def parameters(self) -> list[sa.BindParameter[Any]]:
        """The parameters in the order in which the text has them, one for each time that it does."""
        return [piece for piece in self.pieces if not isinstance(piece, str)]

    def render(self, text: Callable[[str], str], parameter: Callable[[sa.BindParameter[Any]], str]) -> str:
        """The statement for a driver, which writes texts and parameters in its own way."""
        return "".join(text(piece) if isinstance(piece, str) else parameter(piece) for piece in self.pieces)


@compiles(Statement)
def _compile_statement(statement: Statement, compiler: Any, **options: Any) -> str:
    compiler.isplaintext = True  # as text(): the driver's cursor is left alone until we fetch
    return statement.render(compiler.post_process_text, lambda parameter: compiler.process(parameter, **options))


def query_text(source: SqlSource, sql_folder: Path) -> str:
    """The query as its author wrote it. Raises ``SourceError`` where its file cannot be read."""
    if not source.is_file:
        return source.sql
    path = sql_folder / source.sql
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        names = [str(file.relative_to(sql_folder)) for file in sql_folder.rglob("*.sql")]
        raise SourceError(
            f"source.sql: the query {path} cannot be read ({type(error).__name__}){did_you_mean(source.sql, names)}\n"
            "Correct the name, or write the file in UTF-8. Nothing was sent; repeating is safe."
        ) from None


def parse_query(query: str, dialect: str, where: Where) -> QueryText:
    """The query in pieces. Raises ``SourceError`` where databases would read it differently."""
    text = read_query_text(query, dialect)
    if text.problems:
        problems = "\n".join(f"  {problem}" for problem in text.problems)
        raise SourceError(
            f"{where.origin}: the query cannot be read for certain:\n{problems}\n"
            "Correct the query. Nothing was sent; repeating is safe."
        )
    return text
