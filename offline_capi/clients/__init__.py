"""Who we send for: each client's standing, as far as it can be told without asking Meta."""

from __future__ import annotations

from offline_capi.clients.standing import Standing, standings

__all__ = ["Standing", "standings"]
