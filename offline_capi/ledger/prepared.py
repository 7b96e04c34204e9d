"""Statements that run for every request: on the driver's own cursor, their text made once.

SQLAlchemy puts some forty objects together for each execution, which takes longer than SQLite needs for it, and holds
the interpreter that those who post are waiting for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeVar

import sqlalchemy as sa

from offline_capi.ledger.connection import get_driver

__all__ = ["IDS_PER_STATEMENT", "Prepared", "fetch_rows", "split_ids"]

#: Ids that one statement names; SQLite takes 32,766 parameters, and a longer text takes longer to be made.
IDS_PER_STATEMENT = 500

Id = TypeVar("Id", int, str)


def split_ids(ids: Iterable[Id], size: int = IDS_PER_STATEMENT) -> Iterator[list[Id]]:
    """The ids in order, at most ``size`` at a time."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def fetch_rows(connection: sa.Connection, text: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """What a text of the database's own selects."""
    with closing(get_driver(connection).cursor()) as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()  # type: ignore[no-any-return]  # drivers are Any


class Prepared:
    """A statement as its database spells it. Runs inside a transaction of its caller's; errors are the driver's.

    Values go to the driver as they are: numbers, texts and bytes. ``columns`` are those that an INSERT fills.
    """

    def __init__(self, statement: Any, columns: Sequence[str] | None = None) -> None:
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}

    def fetch(self, connection: sa.Connection, **values: Any) -> list[tuple[Any, ...]]:
        """What it selects."""
        text, names = self._compile(connection)
        return fetch_rows(connection, text, _order_values(values, names))

    def fetch_number(self, connection: sa.Connection) -> int:
        """The one number that it selects; 0 where that is null."""
        ((number,),) = self.fetch(connection)
        return int(number or 0)

    def execute_many(self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Once for each of ``values``."""
        text, names = self._compile(connection)
        with closing(get_driver(connection).cursor()) as cursor:
            cursor.executemany(text, [_order_values(one, names) for one in values])

    def _compile(self, connection: sa.Connection) -> tuple[str, list[str] | None]:
        """Its text, and the names of its parameters in order where the database takes them by position."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
            self._compiled[dialect.name] = str(compiled), compiled.positiontup
        return self._compiled[dialect.name]


def _order_values(values: Mapping[str, Any], names: Sequence[str] | None) -> Any:
    return values if names is None else tuple([values[name] for name in names])
