"""The JSON that the ledger keeps: reports of runs, books of their tasks, and what is owed for a run or a day."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import closed_day, run, run_part

__all__ = ["rewrite_documents"]


def rewrite_documents(database: Database, change: Callable[[Any], Any]) -> tuple[int, int]:
    """Replace each document by what ``change`` makes of it, unless that is ``None``; how many there are, and changed.

    One at a time: a report may be large.
    """
    looked = changed = 0
    kept = ((run, run.c.report), (run_part, run_part.c.tally), (run, run.c.debts), (closed_day, closed_day.c.debts))
    for table, column in kept:
        for key in database.read(sa.select(*table.primary_key).where(column.is_not(None))):
            here = sa.and_(*(one == value for one, value in zip(table.primary_key, key, strict=True)))
            found = database.read(sa.select(column).where(here))
            document = change(json.loads(found[0][0])) if found and found[0][0] else None
            looked += 1
            if document is not None:
                text = json.dumps(document, ensure_ascii=False)
                with database.begin_write() as connection:
                    connection.execute(sa.update(table).where(here).values({column.name: text}))
                changed += 1
    return looked, changed
