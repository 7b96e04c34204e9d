"""What is known of each client's access, kept between runs: one small file a client, in the stage folder.

A file a client, because tasks of many clients write at the same time and none may wait for another, or see anything of
it; in the stage folder, because every worker of a deployment reaches that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from offline_capi.clients.connection import ConnectionTestResult
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.config import Secret
from offline_capi.runtime.secret import fingerprint
from offline_capi.storage.filesystem import JsonFolder

#: Key of the fault that a run met: Meta refused the token or the pixel, or there was no token to send with.
RUN_REFUSED = "run: refused"

#: Clients whose files are asked for one by one before the folder is listed.
READS_BEFORE_LISTING = 8

__all__ = [
    "AccessFault",
    "ClientStatus",
    "StatusBook",
    "end_run_refusal",
    "find_refusal",
    "find_stop",
    "make_refusal_check",
    "mark_refusal_reported",
    "record_run_refusal",
    "remove_run_refusal",
]


@dataclass(frozen=True, slots=True)
class AccessFault:
    """Something wrong with a client's access, since when; one that ``stops`` keeps its events from being sent.

    ``reported``: the contacts of the client have been notified of it. ``over``: it has ended, and that has not been
    reported yet.
    """

    key: str
    words: str
    stops: bool
    since: str
    reported: bool = True
    over: bool = False


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


def find_stop(status: ClientStatus, fingerprint: str | None) -> str | None:
    """Why the client counts as stopped with this token, or ``None``: what every table, page and plan shows.

    What the last check found, or else what the last run met. The latter does not open the breaker: the next run asks
    Meta once more, so that a permission that was restored needs no command.
    """
    if status.fingerprint != fingerprint:
        return None
    by_check = find_refusal(status, fingerprint) if fingerprint else None
    return by_check or next(
        (f"{one.words} (since {one.since})" for one in status.faults if one.key == RUN_REFUSED and not one.over), None
    )


def record_run_refusal(status: ClientStatus, fingerprint: str | None, words: str, at: str) -> ClientStatus:
    """The status after a run was refused with this token (``None``: there was none), and why.

    What was known of another token is dropped; whether its fault was reported is not.
    """
    reported = any(fault.reported for fault in status.faults if fault.stops or fault.key == RUN_REFUSED)
    if status.fingerprint != fingerprint:
        status = ClientStatus(status.client, fingerprint, authorization=status.authorization)
    if any(fault.stops for fault in status.faults):
        return status  # a check has found the cause
    before = next((fault for fault in status.faults if fault.key == RUN_REFUSED), None)
    since = before.since if before and not before.over else at
    fault = AccessFault(RUN_REFUSED, words, stops=False, since=since, reported=reported)
    others = (one for one in status.faults if one.key != RUN_REFUSED)
    return replace(status, faults=(fault, *others))


def end_run_refusal(status: ClientStatus) -> ClientStatus:
    """The status once Meta has accepted events of a run again; kept as ``over`` until that is reported."""
    faults = (
        replace(fault, over=True) if fault.key == RUN_REFUSED else fault
        for fault in status.faults
        if fault.key != RUN_REFUSED or fault.reported
    )
    return replace(status, faults=tuple(faults))


def mark_refusal_reported(status: ClientStatus) -> ClientStatus:
    """The same, with the refusal reported."""
    faults = (replace(fault, reported=True) if fault.key == RUN_REFUSED else fault for fault in status.faults)
    return replace(status, faults=tuple(faults))


def remove_run_refusal(status: ClientStatus) -> ClientStatus:
    """The same without the refusal of a run."""
    return replace(status, faults=tuple(fault for fault in status.faults if fault.key != RUN_REFUSED))


def make_refusal_check(stage: str) -> Callable[[str, Secret], str | None]:
    """Why a run should send nothing for a client with this token, by what the last check of it found."""
    book = StatusBook(stage)
    return lambda client, token: find_refusal(book.read_listed(client), fingerprint(token))


class StatusBook:
    """The statuses of a deployment's clients under ``stage``, a folder or fsspec URL."""

    def __init__(self, stage: str) -> None:
        self._folder = JsonFolder(stage, "clients")
        self._asked = 0

    def read(self, client: str) -> ClientStatus:
        """What is known; nothing, where there is no file yet or none that can be read: a check writes it anew."""
        try:
            return ClientStatus.from_json(self._folder.read(client))
        except (KeyError, TypeError):
            return ClientStatus(client)

    def read_listed(self, client: str) -> ClientStatus:
        """The same for a run of many clients, most of which have no file: after a few, what there is is listed once.

        A request to an object store for each of a thousand clients takes a minute, while nothing is sent; a list of
        thousands of files takes seconds, which a task of one client need not wait.
        """
        self._asked += 1
        return self.read(client) if self._asked <= READS_BEFORE_LISTING else self._read_among(client, self._listed)

    @cached_property
    def _listed(self) -> set[str]:
        return self._folder.files()

    def read_all(self, clients: Iterable[str]) -> dict[str, ClientStatus]:
        files = self._folder.files()
        return {name: self._read_among(name, files) for name in clients}

    def _read_among(self, client: str, files: set[str]) -> ClientStatus:
        """What is known where one of these files is the client's."""
        return self.read(client) if self._folder.known(client, files) else ClientStatus(client)

    def write(self, status: ClientStatus) -> None:
        """Replace the client's status, whole or not at all."""
        self._folder.write(status.client, status.to_json())
