"""How each client stands: what is known of its access without asking Meta, and what the last look found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from offline_capi.clients.status import ClientStatus, StatusBook, refusal
from offline_capi.config import Client, SecretResolver
from offline_capi.errors import ConfigError
from offline_capi.meta.graph.client import Credentials

__all__ = ["Standing", "standings"]

State = Literal["good", "untested", "warning", "stopped", "paused"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One client, or one of its further pixels.

    ``fingerprint`` tells tokens apart without showing one: the first 8 hex of its SHA-256.

    ``state``: ``stopped`` means that nothing can be sent; ``untested`` that nobody has looked since this token came.
    """

    client: str
    pixel: str
    active: bool
    token_from: str
    fingerprint: str | None
    problem: str | None
    state: State
    tested_at: str | None
    last_accepted_at: str | None
    trace_id: str | None
    token_kind: str | None
    days_left: int | None
    missing: tuple[str, ...]
    limited_elsewhere: tuple[str, ...]
    last_error: str | None
    authorization: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def standings(
    recipients: Mapping[str, Client],
    secrets: SecretResolver | None,
    book: StatusBook,
    now: datetime,
    accepted: Mapping[str, datetime] | None = None,
) -> list[Standing]:
    """Every recipient with where its token comes from and what is known of it; a token not to be had is its problem.

    Without ``secrets`` no token is looked up: what is known is of the token that the last look found.

    ``accepted`` says when Meta last took events of each, as the ledger has it.
    """
    known, took = book.read_all(recipients), accepted or {}
    return [_standing(one, secrets, known[name], now, took.get(name)) for name, one in sorted(recipients.items())]


def _standing(
    client: Client, secrets: SecretResolver | None, status: ClientStatus, now: datetime, accepted: datetime | None
) -> Standing:
    fingerprint, problem = (status.fingerprint, None) if secrets is None else _token_of(client, secrets)
    known = status if status.fingerprint == fingerprint else ClientStatus(client.name)  # of another token
    token = known.token
    left = token.days_left(now) if token else None
    return Standing(
        client=client.name,
        pixel=client.pixel_id,
        active=client.active,
        token_from=str(client.token),
        fingerprint=fingerprint,
        problem=problem,
        state=_state(client, known, problem),
        tested_at=known.tested.at if known.tested else None,
        last_accepted_at=accepted.isoformat(timespec="seconds") if accepted else None,
        trace_id=known.tested.trace_id if known.tested else None,
        token_kind=token.kind if token else None,
        days_left=None if left is None else int(left),
        missing=token.missing() if token else (),
        limited_elsewhere=token.limited_elsewhere(client.pixel_id) if token else (),
        last_error=problem or next((fault.words for fault in known.faults), None),
        authorization=status.authorization,
    )


def _token_of(client: Client, secrets: SecretResolver) -> tuple[str | None, str | None]:
    try:
        return Credentials(secrets.token(client.token)).fingerprint, None
    except ConfigError as error:
        return None, str(error)


def _state(client: Client, status: ClientStatus, problem: str | None) -> State:
    if not client.active:
        return "paused"
    if problem or refusal(status, status.fingerprint or ""):
        return "stopped"
    if status.tested is None:
        return "untested"
    return "warning" if status.faults else "good"
