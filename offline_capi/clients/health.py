"""The daily check of every token and pixel: a fault is found before the run that it would stop, and reported once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from offline_capi.clients.connection import (
    ClientAccess,
    ConnectionTestResult,
    probe_pixel,
    resolve_access,
    send_test_event,
)
from offline_capi.clients.status import RUN_REFUSED, AccessFault, ClientStatus, StatusBook
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.clients.versions import VersionCheck, check_versions
from offline_capi.config import Client, Deployment, Platform, Secret, SecretResolver
from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.versions import ENDS_SOON_DAYS, version_warnings
from offline_capi.model.incidents import find_changes
from offline_capi.model.recipients import get_client_name

__all__ = ["AccessChange", "HealthReport", "check_health", "inspect_token", "make_app_credentials"]

#: Clients checked in parallel.
MAX_WORKERS = 8

OnChange = Callable[["AccessChange"], None]


def _ignore(_: AccessChange) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True)
class AccessChange:
    """A fault that began or ended since the last check; reported once each. ``contacts`` are the client's."""

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
    changes: tuple[AccessChange, ...]
    unclear: Mapping[str, str]
    versions: tuple[VersionCheck, ...] = ()
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
            "notices": [change.to_json() for change in self.changes],
            "unclear": dict(self.unclear),
            "versions": [result.to_json() for result in self.versions],
            "warnings": list(self.warnings),
            "ending": list(self.ending),
        }


def check_health(
    deployment: Deployment,
    secrets: SecretResolver,
    *,
    clients: Collection[str] = (),
    test_codes: Mapping[str, str] | None = None,
    on_change: OnChange = _ignore,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> HealthReport:
    """Check the token and the pixels of every active client, or of those named, and remember the result.

    A probe stores nothing at Meta; a client with a test event code in ``test_codes`` is sent a test event instead. Each
    fault is a change when it begins and when it ends, and none in between; ``on_change`` is called before the change is
    remembered, so that one that fails is reported again.
    """
    platform = deployment.platform
    book, now = StatusBook(platform.stage), clock()
    wanted = [one for one in deployment.recipients.values() if (_is_wanted(one, clients) if clients else one.active)]
    with GraphClient(platform.graph_url, platform.versions, connections=MAX_WORKERS) as graph:
        app = make_app_credentials(platform, secrets)
        versions = check_versions(graph, platform, secrets, wanted, app=app)
        owners = frozenset(one.name for one in wanted if deployment.has_own_token(one.name))
        examiner = _Prober(platform, secrets, app, graph, now, test_codes or {}, owners)
        with ThreadPoolExecutor(MAX_WORKERS) as pool:
            results = [*pool.map(examiner.probe, wanted)]
    recorded = [_record(one, result, book, on_change, now) for one, result in zip(wanted, results, strict=True)]
    today = now.astimezone(UTC).date()
    return HealthReport(
        tuple(status for status, _ in recorded),
        tuple(change for _, changes in recorded for change in changes),
        {one.name: result.unclear for one, result in zip(wanted, results, strict=True) if result.unclear},
        versions,
        (*version_warnings(platform.versions, today), *graph.notices),
        tuple(version_warnings(platform.versions, today, within_days=ENDS_SOON_DAYS)),
    )


def _is_wanted(recipient: Client, names: Collection[str]) -> bool:
    """Whether the recipient is named, or its client is."""
    return recipient.name in names or get_client_name(recipient.name) in names


# ---------------------------------------------------------------------------------------------- one recipient


@dataclass(frozen=True, slots=True)
class _AccessFinding:
    """A fault found now. The part of ``key`` before the colon is what it is about."""

    key: str
    words: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of checking one client; with ``unclear`` nothing was learnt, and what was known stays."""

    fingerprint: str | None = None
    tested: ConnectionTestResult | None = None
    token: TokenFacts | None = None
    findings: tuple[_AccessFinding, ...] = ()
    unclear: str | None = None


@dataclass(frozen=True, slots=True)
class _Prober:
    """Checks one recipient at a time; safe to share between threads.

    A fault of a token is reported once, for its owner among ``owners``, however many pixels it serves.
    """

    platform: Platform
    secrets: SecretResolver
    app: Credentials | None
    graph: GraphClient
    now: datetime
    test_codes: Mapping[str, str]
    owners: Collection[str]

    def probe(self, client: Client) -> ProbeResult:
        try:
            access = resolve_access(client, self.platform, self.secrets)
            test = self._test(client, access)
        except ConfigError as error:
            return ProbeResult(findings=(_AccessFinding("token: not to be had", str(error), stops=True),))
        try:
            token = inspect_token(self.graph, self.app, access.credentials.token)
        except TemporaryError as error:
            return ProbeResult(unclear=str(error))
        if test.verdict == "unclear":
            return ProbeResult(unclear=test.words)
        owned_token = token if client.name in self.owners else None
        findings = (*_find_test_faults(test), *(_find_token_faults(owned_token, self.now) if owned_token else ()))
        return ProbeResult(access.credentials.fingerprint, test, token, findings)

    def _test(self, client: Client, access: ClientAccess) -> ConnectionTestResult:
        code = self.test_codes.get(client.name)
        if code is not None:
            return send_test_event(self.graph, client.pixel_id, access, code=code, now=self.now)
        mark = client.test.code if client.test else None
        return probe_pixel(self.graph, client.pixel_id, access, code=mark, now=self.now)


def make_app_credentials(platform: Platform, secrets: SecretResolver) -> Credentials | None:
    """The app's own token, ``id|secret``; ``None`` where the platform names no app."""
    if platform.app is None:
        return None
    return Credentials(Secret(f"{platform.app.id}|{secrets.token(platform.app.secret).reveal()}"))


def inspect_token(graph: GraphClient, app: Credentials | None, token: Secret) -> TokenFacts | None:
    """Meta's facts about a token; ``None`` without an app to ask with, and for tokens of apps that are not ours."""
    if app is None:
        return None
    answer = graph.call("debug_token", app, input_token=token)
    if answer.code == 190:  # of the token that asks; what is wrong with the other one stands in the answer's data
        raise ConfigError("Meta refuses the platform's own app: look at platform.app.id and secret in clients.yml")
    facts = answer.data.get("data")
    return TokenFacts.parse(facts) if answer.ok and isinstance(facts, dict) else None


def _find_test_faults(test: ConnectionTestResult) -> Iterator[_AccessFinding]:
    if test.verdict == "fault":
        yield _AccessFinding(f"pixel {test.pixel}: {test.cause}", test.words, stops=True)


def _find_token_faults(token: TokenFacts, now: datetime) -> Iterator[_AccessFinding]:
    """What will stop the client, or may: a test says what does so now."""
    days = token.find_due_warning(now)
    if days is not None:
        unit = "1 day" if days == 1 else f"{days} days"
        yield _AccessFinding(
            f"expires: {days}", f"the token ends on {token.format_expiry()}, within {unit}; renew it before"
        )
    if token.valid and token.list_missing_scopes():
        names = ", ".join(token.list_missing_scopes())
        yield _AccessFinding(
            f"permissions: {names}", f"the token lacks {names}; let the client authorize again with them"
        )


# ---------------------------------------------------------------------------------------------- what changed


def _record(
    client: Client, result: ProbeResult, book: StatusBook, on_change: OnChange, now: datetime
) -> tuple[ClientStatus, list[AccessChange]]:
    """Report what began and ended, then remember it."""
    before = book.read(client.name)
    if result.unclear:
        return before, []
    since = {fault.key: fault.since for fault in before.faults}
    moment = now.astimezone(UTC).isoformat(timespec="seconds")
    faults = tuple(AccessFault(one.key, one.words, one.stops, since.get(one.key, moment)) for one in result.findings)
    changes = [*_find_changes(client, before.faults, faults)]
    for change in changes:
        on_change(change)
    status = replace(before, fingerprint=result.fingerprint, tested=result.tested, token=result.token, faults=faults)
    book.write(status)
    return status, changes


def _find_changes(client: Client, before: Iterable[AccessFault], now: Iterable[AccessFault]) -> Iterator[AccessChange]:
    """What began and what ended. A fault that a run has reported is not reported again by its cause."""
    known = {fault.key: fault for fault in before if fault.reported}
    present = {fault.key: fault for fault in now}
    began, ended = find_changes(known, present)
    if RUN_REFUSED in known and any(fault.stops for fault in present.values()):
        began = [key for key in began if not present[key].stops]
        ended = [key for key in ended if key != RUN_REFUSED]
    for fault in (present[key] for key in began):
        yield AccessChange(client.name, fault.key, "began", fault.words, fault.stops, client.contacts)
    for fault in (known[key] for key in ended):
        yield AccessChange(client.name, fault.key, "ended", fault.words, fault.stops, client.contacts)
