"""An overview of each client: what is known of its access without asking Meta, and what the last check found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from offline_capi.clients.status import ClientStatus, StatusBook, find_stop
from offline_capi.config import Client, SecretResolver
from offline_capi.errors import ConfigError
from offline_capi.runtime.secret import fingerprint, sendable

__all__ = ["UNTESTED_HINT", "ClientOverview", "build_overviews", "find_hint"]

UNTESTED_HINT = "untested: runs may have sent with this token, but no test has: offline-capi clients test NAME --probe"
State = Literal["good", "untested", "warning", "stopped", "paused"]


@dataclass(frozen=True, slots=True)
class ClientOverview:
    """One client, or one of its further pixels.

    ``fingerprint`` tells tokens apart without showing one: the first 8 hex of its SHA-256.

    ``state``: ``stopped`` means that nothing can be sent; ``untested`` that there was no check with this token,
    whatever runs have sent with it.
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


def build_overviews(
    recipients: Mapping[str, Client],
    secrets: SecretResolver | None,
    book: StatusBook,
    now: datetime,
    accepted: Mapping[str, datetime] | None = None,
) -> list[ClientOverview]:
    """Every recipient with the source of its token and what is known of it.

    A token that cannot be resolved is its ``problem``.

    Without ``secrets`` no token is looked up: what is known is about the token of the last check.

    ``accepted`` says when Meta last took events of each, as the ledger has it.
    """
    known, took = book.read_all(recipients), accepted or {}
    return [_build_overview(one, secrets, known[name], now, took.get(name)) for name, one in sorted(recipients.items())]


def _build_overview(
    client: Client, secrets: SecretResolver | None, status: ClientStatus, now: datetime, accepted: datetime | None
) -> ClientOverview:
    fingerprint, problem = (status.fingerprint, None) if secrets is None else _resolve_fingerprint(client, secrets)
    known = status if status.fingerprint == fingerprint else ClientStatus(client.name)  # of another token
    token = known.token
    left = token.count_days_left(now) if token else None
    return ClientOverview(
        client=client.name,
        pixel=client.pixel_id,
        active=client.active,
        token_from=str(client.token),
        fingerprint=fingerprint,
        problem=problem,
        state=_derive_state(client, known, problem),
        tested_at=known.tested.at if known.tested else None,
        last_accepted_at=accepted.isoformat(timespec="seconds") if accepted else None,
        trace_id=known.tested.trace_id if known.tested else None,
        token_kind=token.kind if token else None,
        days_left=None if left is None else int(left),
        missing=token.list_missing_scopes() if token else (),
        limited_elsewhere=token.list_scopes_limited_elsewhere(client.pixel_id) if token else (),
        last_error=problem or next((fault.words for fault in known.faults if not fault.over), None),
        authorization=status.authorization,
    )


def _resolve_fingerprint(client: Client, secrets: SecretResolver) -> tuple[str | None, str | None]:
    try:
        return fingerprint(sendable(secrets.token(client.token))), None
    except ConfigError as error:
        return None, str(error)


def _derive_state(client: Client, status: ClientStatus, problem: str | None) -> State:
    if not client.active:
        return "paused"
    if problem or find_stop(status, status.fingerprint):
        return "stopped"
    if status.tested is None:
        return "untested"
    return "warning" if any(not fault.over for fault in status.faults) else "good"


def find_hint(overviews: Iterable[ClientOverview]) -> str:
    """What stands below a list of clients of which one is ``untested``; runs may have sent for it all the same."""
    return UNTESTED_HINT if any(one.state == "untested" for one in overviews) else ""
