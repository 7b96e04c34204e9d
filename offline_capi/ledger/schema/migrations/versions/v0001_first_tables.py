"""The first tables: runs and their parts, senders, requests, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("upload", sa.String(120), nullable=False),
        sa.Column("since", sa.String(40), nullable=False),
        sa.Column("until", sa.String(40), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("trigger", sa.String(40), nullable=False),
        sa.Column("started_at", sa.String(40), nullable=False),
        sa.Column("ended_at", sa.String(40)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("report", sa.Text),
    )
    op.create_index("run_started", "run", ["started_at"])
    op.create_table(
        "run_part",
        sa.Column("run_id", sa.String(160), primary_key=True),
        sa.Column("part", sa.String(200), primary_key=True),
        sa.Column("tally", sa.Text, nullable=False),
    )
    op.create_table(
        "sender",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(160), nullable=False),
        sa.Column("host", sa.String(120), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", sa.String(40), nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
    )
    op.create_table(
        "request",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(160), nullable=False),
        sa.Column("sender_id", sa.Integer, nullable=False),
        sa.Column("client", sa.String(120), nullable=False),
        sa.Column("pixel", sa.String(32), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("offline", sa.Boolean, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("posted_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("code", sa.Integer),
        sa.Column("subcode", sa.Integer),
        sa.Column("trace_id", sa.String(60)),
        sa.Column("waiting_keys", sa.LargeBinary),
    )
    op.create_index("request_run", "request", ["run_id"])
    waiting = sa.text("waiting_keys IS NOT NULL")
    op.create_index("request_waiting", "request", ["id"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "event",
        sa.Column("key", sa.LargeBinary(16), primary_key=True),
        sa.Column("request_id", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
