"""Alembic's entry: migrations run on the connection that ``schema.upgrade`` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from offline_capi.ledger.schema import VERSION_TABLE
from offline_capi.ledger.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
