"""The ledger: what was sent, in SQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from offline_capi.errors import LedgerError
from offline_capi.ledger.database import Database
from offline_capi.ledger.journal import LedgerJournal
from offline_capi.ledger.pace import LedgerPace
from offline_capi.ledger.runs import RunStore
from offline_capi.storage.private_files import PRIVATE, FileAccess

__all__ = ["Ledger"]


class Ledger(Database):
    """The database of the ledger and its parts: ``runs`` and their reports, the ``journal`` of requests, the ``pace``.

    Whatever any part writes, the journal's unwritten outcomes are written with it, in the same transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        busy_seconds: float | None = None,
        access: FileAccess = PRIVATE,
    ) -> None:
        super().__init__(url, busy_seconds=busy_seconds, access=access)
        try:
            self.journal = LedgerJournal(self, clock)
        except LedgerError:
            super().close()
            raise
        self.runs = RunStore(self)
        self.pace = LedgerPace(self)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write the outcomes that are left and close the connection: requests without an answer are unconfirmed now."""
        try:
            self.journal.close()
        finally:
            super().close()
