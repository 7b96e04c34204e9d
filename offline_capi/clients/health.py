"""Every token and pixel looked at, daily: a fault is found before the night's run, and told once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from offline_capi.clients.connection import (
    ClientAccess,
    Tested,
    access_of,
    probe_pixel,
    send_test_event,
)
from offline_capi.clients.status import RUN_REFUSED, AccessFault, ClientStatus, StatusBook
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.clients.versions import VersionLook, look_at_versions
from offline_capi.config import Client, Deployment, Platform, Secret, SecretResolver
from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.versions import ENDS_SOON_DAYS, version_warnings
from offline_capi.model.incidents import changed
from offline_capi.model.recipients import client_of

__all__ = ["HealthReport", "Notice", "app_credentials", "check_health", "inspect_token"]

#: Clients looked at side by side.
WORKERS = 8

OnNotice = Callable[["Notice"], None]


def _unheard(_: Notice) -> None:
    """A notice that nobody listens to."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A fault that began or ended since the last look; told once each. ``contacts`` are the client's."""

    client: str
    key: str
    change: Literal["began", "ended"]
    words: str
    stops: bool
    contacts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The clients as they are now, and what changed. ``unclear``: of whom nothing could be learnt, and why.

    ``warnings`` are of versions of the Graph API that end, or were answered as others; ``ending`` are those of them of
    versions that have ended or will soon (``ENDS_SOON_DAYS``).
    """

    statuses: tuple[ClientStatus, ...]
    notices: tuple[Notice, ...]
    unclear: Mapping[str, str]
    versions: tuple[VersionLook, ...] = ()
    warnings: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Every client could be looked at, none has a fault that keeps its events back, and no version ends soon."""
        return not (self.unclear or self.ending) and not any(
            fault.stops for status in self.statuses for fault in status.faults
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "healthy": self.healthy,
            "clients": [status.to_json() for status in self.statuses],
            "notices": [notice.to_json() for notice in self.notices],
            "unclear": dict(self.unclear),
            "versions": [look.to_json() for look in self.versions],
            "warnings": list(self.warnings),
            "ending": list(self.ending),
        }


def check_health(
    deployment: Deployment,
    secrets: SecretResolver,
    *,
    clients: Collection[str] = (),
    test_codes: Mapping[str, str] | None = None,
    on_notice: OnNotice = _unheard,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> HealthReport:
    """Look at the token and the pixels of every active client, or of those named, and remember what was found.

    A probe stores nothing at Meta; a client with a test event code in ``test_codes`` is sent a test event instead. Each
    fault is a notice when it begins and when it ends, and none in the nights between; ``on_notice`` hears it before it
    is remembered, so that one that fails is told again.
    """
    platform = deployment.platform
    book, now = StatusBook(platform.stage), clock()
    wanted = [one for one in deployment.recipients.values() if (_is_of(one, clients) if clients else one.active)]
    with GraphClient(platform.graph_url, platform.versions, connections=WORKERS) as graph:
        app = app_credentials(platform, secrets)
        versions = look_at_versions(graph, platform, secrets, wanted, app=app)
        owners = frozenset(one.name for one in wanted if deployment.has_own_token(one.name))
        examiner = _Examiner(platform, secrets, app, graph, now, test_codes or {}, owners)
        with ThreadPoolExecutor(WORKERS) as pool:
            looks = [*pool.map(examiner.look_at, wanted)]
    settled = [_settle(one, look, book, on_notice, now) for one, look in zip(wanted, looks, strict=True)]
    today = now.astimezone(UTC).date()
    return HealthReport(
        tuple(status for status, _ in settled),
        tuple(notice for _, notices in settled for notice in notices),
        {one.name: look.unclear for one, look in zip(wanted, looks, strict=True) if look.unclear},
        versions,
        (*version_warnings(platform.versions, today), *graph.notices),
        tuple(version_warnings(platform.versions, today, within_days=ENDS_SOON_DAYS)),
    )


def _is_of(recipient: Client, names: Collection[str]) -> bool:
    """Whether it is named, or its client is."""
    return recipient.name in names or client_of(recipient.name) in names


# ---------------------------------------------------------------------------------------------- one look


@dataclass(frozen=True, slots=True)
class _Found:
    """A fault of this moment. The word before the colon of ``key`` is what it is about."""

    key: str
    words: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at a client showed; with ``unclear`` it showed nothing, and what was known stays."""

    fingerprint: str | None = None
    tested: Tested | None = None
    token: TokenFacts | None = None
    found: tuple[_Found, ...] = ()
    unclear: str | None = None


@dataclass(frozen=True, slots=True)
class _Examiner:
    """Looks at one recipient after the other; safe to share between threads.

    What is wrong with a token is told once, of its owner among ``owners``, however many pixels it serves.
    """

    platform: Platform
    secrets: SecretResolver
    app: Credentials | None
    graph: GraphClient
    now: datetime
    test_codes: Mapping[str, str]
    owners: Collection[str]

    def look_at(self, client: Client) -> _Look:
        try:
            access = access_of(client, self.platform, self.secrets)
            test = self._test(client, access)
        except ConfigError as error:
            return _Look(found=(_Found("token: not to be had", str(error), stops=True),))
        try:
            token = inspect_token(self.graph, self.app, access.credentials.token)
        except TemporaryError as error:
            return _Look(unclear=str(error))
        if test.verdict == "unclear":
            return _Look(unclear=test.words)
        told = token if client.name in self.owners else None
        found = (*_of_test(test), *(_of_token(told, self.now) if told else ()))
        return _Look(access.credentials.fingerprint, test, token, found)

    def _test(self, client: Client, access: ClientAccess) -> Tested:
        code = self.test_codes.get(client.name)
        if code is not None:
            return send_test_event(self.graph, client.pixel_id, access, code=code, now=self.now)
        mark = client.test.code if client.test else None
        return probe_pixel(self.graph, client.pixel_id, access, code=mark, now=self.now)


def app_credentials(platform: Platform, secrets: SecretResolver) -> Credentials | None:
    """The app's own token, ``id|secret``; ``None`` where the platform names no app."""
    if platform.app is None:
        return None
    return Credentials(Secret(f"{platform.app.id}|{secrets.token(platform.app.secret).reveal()}"))


def inspect_token(graph: GraphClient, app: Credentials | None, token: Secret) -> TokenFacts | None:
    """What Meta tells of a token; ``None`` without an app to ask with, and for tokens of apps that are not ours."""
    if app is None:
        return None
    answer = graph.call("debug_token", app, input_token=token)
    if answer.code == 190:  # of the token that asks; what is wrong with the other one stands in the answer's data
        raise ConfigError("Meta refuses the platform's own app: look at platform.app.id and secret in clients.yml")
    facts = answer.data.get("data")
    return TokenFacts.of(facts) if answer.ok and isinstance(facts, dict) else None


def _of_test(test: Tested) -> Iterator[_Found]:
    if test.verdict == "fault":
        yield _Found(f"pixel {test.pixel}: {test.cause}", test.words, stops=True)


def _of_token(token: TokenFacts, now: datetime) -> Iterator[_Found]:
    """What will stop the client, or may: a test says what does so now."""
    days = token.warning_due(now)
    if days is not None:
        unit = "1 day" if days == 1 else f"{days} days"
        yield _Found(f"expires: {days}", f"the token ends on {token.expires_on()}, within {unit}; renew it before")
    if token.valid and token.missing():
        names = ", ".join(token.missing())
        yield _Found(f"permissions: {names}", f"the token lacks {names}; let the client authorise again with them")


# ---------------------------------------------------------------------------------------------- what changed


def _settle(
    client: Client, look: _Look, book: StatusBook, on_notice: OnNotice, now: datetime
) -> tuple[ClientStatus, list[Notice]]:
    """Tell what began and ended, then remember it."""
    before = book.read(client.name)
    if look.unclear:
        return before, []
    since = {fault.key: fault.since for fault in before.faults}
    moment = now.astimezone(UTC).isoformat(timespec="seconds")
    faults = tuple(AccessFault(one.key, one.words, one.stops, since.get(one.key, moment)) for one in look.found)
    notices = [*_notices(client, before.faults, faults)]
    for notice in notices:
        on_notice(notice)
    status = replace(before, fingerprint=look.fingerprint, tested=look.tested, token=look.token, faults=faults)
    book.write(status)
    return status, notices


def _notices(client: Client, before: Iterable[AccessFault], now: Iterable[AccessFault]) -> Iterator[Notice]:
    """What began and what ended. That Meta refuses a client has been told once a run was refused, by that run."""
    known, present = {fault.key: fault for fault in before}, {fault.key: fault for fault in now}
    began, ended = changed(known, present)
    if RUN_REFUSED in known and any(fault.stops for fault in present.values()):
        began = [key for key in began if not present[key].stops]
        ended = [key for key in ended if key != RUN_REFUSED]
    for fault in (present[key] for key in began):
        yield Notice(client.name, fault.key, "began", fault.words, fault.stops, client.contacts)
    for fault in (known[key] for key in ended):
        yield Notice(client.name, fault.key, "ended", fault.words, fault.stops, client.contacts)
