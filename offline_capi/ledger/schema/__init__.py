"""The ledger's tables, and how a database comes to today's version of them."""

from __future__ import annotations

from offline_capi.ledger.schema.upgrade import HEAD, OLD_VERSION_TABLE, VERSION_TABLE, ddl, upgrade

__all__ = ["HEAD", "OLD_VERSION_TABLE", "VERSION_TABLE", "ddl", "upgrade"]
