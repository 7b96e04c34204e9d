"""Up to where the runs of an upload have read its table in a data lake, and from which state to which each run read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "source_mark",
        sa.Column("upload", sa.String(120), primary_key=True),
        sa.Column("mark", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(160), nullable=False),
        sa.Column("written_at", sa.String(40), nullable=False),
    )
    op.add_column("run", sa.Column("table_read", sa.Text))
