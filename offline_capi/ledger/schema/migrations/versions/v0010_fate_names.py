"""Fates get names that cannot be confused: in stored reports, in the states of requests, in a column's name."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

#: As ``model.FORMER_FATES`` at this revision.
_NAMES = {"rejected": "invalid", "refused": "rejected_by_meta", "in_doubt": "unconfirmed", "held": "deferred"}
_RUNS_AT_ONCE = 200
_NEXT = sa.text("SELECT id, report FROM run WHERE id > :last AND report IS NOT NULL ORDER BY id LIMIT :limit")
_KEEP = sa.text("UPDATE run SET report = :report WHERE id = :id")
_PART_NEXT = sa.text("SELECT run_id, part, tally FROM run_part")
_PART_KEEP = sa.text("UPDATE run_part SET tally = :tally WHERE run_id = :run_id AND part = :part")


def upgrade() -> None:
    connection, last = op.get_bind(), ""
    connection.execute(sa.text("ALTER TABLE request RENAME COLUMN doubtful_since TO unconfirmed_since"))
    connection.execute(sa.text("UPDATE request SET state = 'rejected' WHERE state = 'refused'"))
    while rows := connection.execute(_NEXT, {"last": last, "limit": _RUNS_AT_ONCE}).fetchall():
        last = rows[-1].id
        connection.execute(
            _KEEP, [{"id": row.id, "report": json.dumps(_rename_in_report(json.loads(row.report)))} for row in rows]
        )
    for row in connection.execute(_PART_NEXT).fetchall():
        tally = json.dumps(_rename_in_tally(json.loads(row.tally)))
        connection.execute(_PART_KEEP, {"run_id": row.run_id, "part": row.part, "tally": tally})


def _rename_in_report(report: dict[str, Any]) -> dict[str, Any]:
    for counts in (report.get("rows"), *report.get("clients", {}).values(), *report.get("days", {}).values()):
        _rename_keys(counts)
    for line in report.get("reasons", ()):
        line["fate"] = _NAMES.get(line["fate"], line["fate"])
    if report.get("tally"):
        _rename_in_tally(report["tally"])
    return report


def _rename_in_tally(tally: dict[str, Any]) -> dict[str, Any]:
    for counted in (*tally.get("fates", ()), *tally.get("known", ())):
        counted[0] = _NAMES.get(counted[0], counted[0])
    _rename_keys(tally.get("vanished"))
    for finding in tally.get("gates") or ():
        finding["gate"] = "invalid" if finding["gate"] == "rejected" else finding["gate"]
    return tally


def _rename_keys(counts: dict[str, Any] | None) -> None:
    if counts:
        renamed = {_NAMES.get(name, name): count for name, count in counts.items()}
        counts.clear()
        counts.update(renamed)
