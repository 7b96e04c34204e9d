"""The version stands in a table of the ledger's own, ``offline_capi_version``.

``schema.upgrade`` made that one before alembic ran. The old one, ``alembic_version``, goes with our number in it; where
another application has a number there too, that stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OURS = ("0001", "0002", "0003", "0004")


def upgrade() -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    here = None if sqlite else connection.scalar(sa.select(sa.func.current_schema()))
    if not sa.inspect(connection).has_table("alembic_version", schema=here):
        return
    old = sa.table("alembic_version", sa.column("version_num"), schema=here)
    connection.execute(sa.delete(old).where(old.c.version_num.in_(_OURS)))
    if not connection.scalar(sa.select(sa.func.count()).select_from(old)):
        op.drop_table("alembic_version", schema=here)
