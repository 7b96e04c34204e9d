"""Built events, as the stage before the guards makes them."""

from __future__ import annotations

from tests.events.conftest import build, rows_of

__all__ = ["build", "rows_of"]
