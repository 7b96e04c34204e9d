"""What Meta tells of the events that it got is kept beside what was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "read_back",
        sa.Column("client", sa.String(120), primary_key=True),
        sa.Column("pixel", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("read_at", sa.String(40), nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
    )
