"""In which shapes the columns of each upload's source came so far, by client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "source_shape",
        sa.Column("upload", sa.String(120), primary_key=True),
        sa.Column("client", sa.String(120), primary_key=True),
        sa.Column("shapes", sa.Text, nullable=False),
        sa.Column("written_at", sa.String(40), nullable=False),
    )
