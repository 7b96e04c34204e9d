"""The ledger's database: one connection, each read and each write a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa

from offline_capi.errors import LedgerError
from offline_capi.ledger.connection import explain_errors, make_engine, open_transaction, redact_url
from offline_capi.ledger.schema import upgrade
from offline_capi.storage.private_files import PRIVATE, FileAccess

__all__ = ["Database", "Transaction"]

Transaction = AbstractContextManager[sa.Connection]


class Database:
    """The database at a URL, opened for one process and one thread; migrated to today's tables on opening."""

    def __init__(self, url: str, *, busy_seconds: float | None = None, access: FileAccess = PRIVATE) -> None:
        self._engine = make_engine(url, busy_seconds=busy_seconds, access=access)
        self._wrap_write: Callable[[Transaction], Transaction] = lambda transaction: transaction
        with explain_errors(self._engine):
            self._connection = self._engine.connect()
        try:
            upgrade(self._connection)
        except LedgerError:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    @property
    def connection(self) -> sa.Connection:
        """For what cannot be done inside a transaction."""
        return self._connection

    @property
    def place(self) -> str:
        """Its URL, without what may be secret."""
        return redact_url(self._engine)

    def wrap_writes(self, wrap: Callable[[Transaction], Transaction]) -> None:
        """From now on ``wrap`` makes the transaction of each write out of a plain one, to write more along with it."""
        self._wrap_write = wrap

    def read(self, statement: Any) -> Sequence[Any]:
        """All rows of a query, in a transaction of its own."""
        with self.begin_read() as connection:
            return connection.execute(statement).fetchall()

    def write(self, statement: Any) -> None:
        """Execute one statement; inside ``begin_write`` it is a part of that transaction."""
        with self.begin_write() as connection:
            connection.execute(statement)

    def begin_read(self) -> Transaction:
        """A transaction that sees one state of the database in all its statements."""
        return open_transaction(self._connection, writes=False)

    @contextmanager
    def begin_write(self) -> Iterator[sa.Connection]:
        """A transaction that writes; inside another one it is a part of that."""
        if self._connection.in_transaction():
            yield self._connection
            return
        with self._wrap_write(open_transaction(self._connection, writes=True)) as connection:
            yield connection
