"""Senders of one pixel share what they know of its throttle, and the rates that are set for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pace",
        sa.Column("scope", sa.String(160), primary_key=True),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("next_slot", sa.Float, nullable=False),
    )
