"""The index of events becomes segments: sorted blobs instead of a row for each event.

They are written by today's ``ledger.segments``: whoever changes their form keeps a copy of it here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sqlalchemy as sa
from alembic import op

from offline_capi.ledger.index.filter import split_keys
from offline_capi.ledger.index.segments import Entries, write_segment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SOME = sa.text("SELECT key, request_id FROM event WHERE key > :last ORDER BY key LIMIT 200000")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "segment",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("keys", sa.BigInteger, nullable=False),
        sa.Column("oldest", sa.BigInteger, nullable=False),
        sa.Column("newest", sa.BigInteger, nullable=False),
        sa.Column("fences", sa.LargeBinary, nullable=False),
        sa.Column("filter", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "segment_block",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("keys", sa.LargeBinary, nullable=False),
        sa.Column("owners", sa.LargeBinary, nullable=False),
    )
    connection = op.get_bind()
    count = connection.execute(sa.text("SELECT count(*) FROM event")).scalar()
    write_segment(connection, _events(connection), int(count or 0))
    op.drop_table("event")


def _events(connection: sa.Connection) -> Iterator[Entries]:
    """All rows, some at a time, in the order of their keys."""
    last = b""
    while rows := connection.execute(_SOME, {"last": last}).fetchall():
        last = bytes(rows[-1].key)
        yield Entries(split_keys(b"".join(bytes(row.key) for row in rows)), np.array([row.request_id for row in rows]))
