"""Who did what stands in a log; requests keep marks of what their events were worth; sent requests have a view."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# As ``ledger.tables`` has it; whoever changes it there drops this one in a migration of their own.
_SENT_REQUESTS = (
    "CREATE VIEW sent_requests AS SELECT request.id AS request_id, request.run_id AS run_id, run.upload AS upload, "
    "run.since AS since, run.until AS until, request.client AS client, request.pixel AS pixel, "
    "request.state AS state, request.events AS events, request.tries AS tries, request.code AS code, "
    "request.subcode AS subcode, request.trace_id AS trace_id, request.posted_at AS posted_at, "
    "request.answered_at AS answered_at FROM request LEFT JOIN run ON run.id = request.run_id WHERE request.tries > 0"
)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(160)),
    )
    op.create_index("audit_action", "audit", ["action", "at"])
    op.add_column("request", sa.Column("value_marks", sa.LargeBinary))
    op.execute(_SENT_REQUESTS)
