"""Rows, as they are read again to find a person."""

from __future__ import annotations

from tests.events.conftest import rows_of

__all__ = ["rows_of"]
