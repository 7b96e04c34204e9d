"""What is known of each client's access, kept between runs: one small file a client, in the stage folder.

A file a client, because tasks of many clients write at the same time and none may wait for another, or see anything of
it; in the stage folder, because every worker of a deployment reaches that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from offline_capi.clients.connection import ConnectionTestResult
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.config import Secret
from offline_capi.runtime.secret import fingerprint
from offline_capi.storage.filesystem import JsonFolder

#: Key of the fault that a run was refused. The run reports it, unless a check has reported the cause before.
RUN_REFUSED = "run: refused"

__all__ = [
    "AccessFault",
    "ClientStatus",
    "StatusBook",
    "add_refusal",
    "find_refusal",
    "make_refusal_check",
    "remove_refusal",
]


@dataclass(frozen=True, slots=True)
class AccessFault:
    """Something wrong with a client's access, since when; one that ``stops`` keeps its events from being sent."""

    key: str
    words: str
    stops: bool
    since: str


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """One client. ``fingerprint`` is of the token to which all this applies."""

    client: str
    fingerprint: str | None = None
    tested: ConnectionTestResult | None = None
    token: TokenFacts | None = None
    faults: tuple[AccessFault, ...] = ()
    authorization: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        tested, token = data["tested"], data["token"]
        return cls(
            data["client"],
            data["fingerprint"],
            ConnectionTestResult.from_json(tested) if tested else None,
            TokenFacts.from_json(token) if token else None,
            tuple(AccessFault(**fault) for fault in data["faults"]),
            data["authorization"],
        )


def find_refusal(status: ClientStatus, fingerprint: str) -> str | None:
    """Why nothing should be sent with this token, or ``None``: the circuit breaker, as a run consults it.

    A fault with ``stops`` opens it, and a good test closes it. A token other than the one that was tested may be tried.
    """
    if status.fingerprint != fingerprint:
        return None
    return next((f"{fault.words} (since {fault.since})" for fault in status.faults if fault.stops), None)


def add_refusal(status: ClientStatus, at: str) -> ClientStatus:
    """Note that a run was refused and that this was reported. It stops no run: the next one asks Meta again."""
    fault = AccessFault(RUN_REFUSED, "Meta refused the token or the pixel when a run sent", stops=False, since=at)
    return replace(status, faults=(*status.faults, fault))


def remove_refusal(status: ClientStatus) -> ClientStatus:
    """Remove that note."""
    return replace(status, faults=tuple(fault for fault in status.faults if fault.key != RUN_REFUSED))


def make_refusal_check(stage: str) -> Callable[[str, Secret], str | None]:
    """Why a run should send nothing for a client with this token, by what the last check of it found."""
    book = StatusBook(stage)
    return lambda client, token: find_refusal(book.read(client), fingerprint(token))


class StatusBook:
    """The statuses of a deployment's clients under ``stage``, a folder or fsspec URL."""

    def __init__(self, stage: str) -> None:
        self._folder = JsonFolder(stage, "clients")

    def read(self, client: str) -> ClientStatus:
        """What is known; nothing, where there is no file yet or none that can be read: a check writes it anew."""
        try:
            return ClientStatus.from_json(self._folder.read(client))
        except (KeyError, TypeError):
            return ClientStatus(client)

    def read_all(self, clients: Iterable[str]) -> dict[str, ClientStatus]:
        files = self._folder.files()
        return {name: self.read(name) if self._folder.known(name, files) else ClientStatus(name) for name in clients}

    def write(self, status: ClientStatus) -> None:
        """Replace the client's status, whole or not at all."""
        self._folder.write(status.client, status.to_json())
