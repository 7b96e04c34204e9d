"""Alembic's entry: migrations run on the connection that ``schema.upgrade`` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from offline_capi.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
