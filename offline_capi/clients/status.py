"""What is known of each client's access, kept between nights: one small file a client, in the stage folder.

A file a client, because tasks of many clients write at the same time and none may wait for another, or see anything of
it; in the stage folder, because every worker of a deployment reaches that one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self
from urllib.parse import quote

from offline_capi.clients.connection import Tested
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.config import Secret
from offline_capi.config.secret import fingerprint
from offline_capi.errors import ConfigError
from offline_capi.storage import STAGE, root_of

__all__ = ["AccessFault", "ClientStatus", "StatusBook", "breaker", "refusal", "with_fault"]


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
    tested: Tested | None = None
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
            Tested.from_json(tested) if tested else None,
            TokenFacts.from_json(token) if token else None,
            tuple(AccessFault(**fault) for fault in data["faults"]),
            data["authorization"],
        )


def refusal(status: ClientStatus, fingerprint: str) -> str | None:
    """Why nothing should be sent with this token, or ``None``: the circuit breaker, as a run consults it.

    A fault that stops opens it, and a good test closes it again. A token other than the one that was tested is given a
    chance.
    """
    if status.fingerprint != fingerprint:
        return None
    return next((f"{fault.words} (since {fault.since})" for fault in status.faults if fault.stops), None)


def with_fault(status: ClientStatus, fingerprint: str, words: str, at: str) -> ClientStatus:
    """With the breaker opened by a run that Meta refused; the next good test closes it."""
    known = status.faults if status.fingerprint == fingerprint else ()
    fault = AccessFault("run: refused", words, stops=True, since=at)
    return replace(status, fingerprint=fingerprint, faults=(*(one for one in known if one.key != fault.key), fault))


def breaker(stage: str) -> Callable[[str, Secret], str | None]:
    """Why a run should send nothing for a client with this token, by what the last check of it found."""
    book = StatusBook(stage)
    return lambda client, token: refusal(book.read(client), fingerprint(token))


class StatusBook:
    """The statuses of a deployment's clients under ``stage``, a folder or fsspec URL."""

    def __init__(self, stage: str) -> None:
        self._files, root = root_of(stage, STAGE, ConfigError)
        self._folder = f"{root.rstrip('/')}/clients"

    def read(self, client: str) -> ClientStatus:
        """What is known; nothing, where there is no file yet or none that can be read: a check writes it anew."""
        try:
            return ClientStatus.from_json(json.loads(self._files.cat_file(self._path(client))))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return ClientStatus(client)

    def read_all(self, clients: Iterable[str]) -> dict[str, ClientStatus]:
        known = {path.rsplit("/", 1)[1] for path in self._files.glob(f"{self._folder}/*.json")}
        return {name: self.read(name) if _file(name) in known else ClientStatus(name) for name in clients}

    def write(self, status: ClientStatus) -> None:
        """Replace the client's status, whole or not at all."""
        path = self._path(status.client)
        self._files.makedirs(self._folder, exist_ok=True)
        self._files.pipe_file(path + ".part", json.dumps(status.to_json(), indent=1).encode())
        self._files.mv(path + ".part", path)

    def _path(self, client: str) -> str:
        return f"{self._folder}/{_file(client)}"


def _file(client: str) -> str:
    return f"{quote(client, safe='')}.json"
