"""Whether a client could be sent for tonight: is it active, and can its token be had?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offline_capi.config import Client, SecretResolver
from offline_capi.errors import ConfigError

__all__ = ["Standing", "standings"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One client. ``fingerprint`` tells tokens apart without showing one: the first 8 hex of its SHA-256."""

    client: str
    pixel: str
    active: bool
    token_from: str
    fingerprint: str | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "pixel": self.pixel,
            "active": self.active,
            "token_from": self.token_from,
            "fingerprint": self.fingerprint,
            "problem": self.problem,
        }


def standings(clients: Mapping[str, Client], secrets: SecretResolver) -> list[Standing]:
    """Every client with its pixel and where its token comes from; a token that cannot be had is its problem."""
    return [_standing(name, client, secrets) for name, client in sorted(clients.items())]


def _standing(name: str, client: Client, secrets: SecretResolver) -> Standing:
    fingerprint, problem = None, None
    try:
        token = secrets.token(client.token).reveal()
        fingerprint = hashlib.sha256(token.encode()).hexdigest()[:8]
    except ConfigError as error:
        problem = str(error)
    return Standing(name, client.pixel_id, client.active, str(client.token), fingerprint, problem)
