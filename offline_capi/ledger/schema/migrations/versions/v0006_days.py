"""Runs remember what they covered and what they left to later runs; days that closed are remembered as told."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: As ``model.debts_of`` counts them at this revision.
_OWED = frozenset({"held", "in_doubt"})
_SETTLES_NOTHING = frozenset({"replay", "test"})
_RUNS_AT_ONCE = 200
_NEXT = sa.text("SELECT id, since, trigger, report FROM run WHERE id > :last ORDER BY id LIMIT :limit")
_KEEP = sa.text("UPDATE run SET covered_since = :covered_since, debts = :debts WHERE id = :id")


def upgrade() -> None:
    op.add_column("run", sa.Column("covered_since", sa.String(40)))
    op.add_column("run", sa.Column("debts", sa.Text))
    op.create_index("run_upload", "run", ["upload", "started_at"])
    op.create_table(
        "closed_day",
        sa.Column("upload", sa.String(120), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("told_at", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(160)),
        sa.Column("debts", sa.Text, nullable=False),
    )
    connection, last = op.get_bind(), ""
    while rows := connection.execute(_NEXT, {"last": last, "limit": _RUNS_AT_ONCE}).fetchall():
        last = rows[-1].id
        connection.execute(_KEEP, [{"id": row.id, **_worked_out(row)} for row in rows])


def _worked_out(row: Any) -> dict[str, Any]:
    """What a run before this revision covered and left, from its report; the debts of any day of its window."""
    tally = json.loads(row.report)["tally"] if row.report else None
    narrowed = row.trigger in _SETTLES_NOTHING or bool(tally and tally.get("narrowed"))
    return {
        "covered_since": None if narrowed else row.since,
        "debts": None if tally is None else json.dumps(_debts(tally)),
    }


def _debts(tally: dict[str, Any]) -> list[list[Any]]:
    found: dict[tuple[str, str | None], int] = {}
    for fate, client, _, reason, _, rows in tally["fates"]:
        if fate in _OWED:
            key = (str(reason), client if reason in ("unknown_client", "paused_client") else None)
            found[key] = found.get(key, 0) + rows
    return [[None, reason, client, rows] for (reason, client), rows in found.items()]
