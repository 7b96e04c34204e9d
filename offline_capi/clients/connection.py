"""Connection tests of a client's pixel: one event that Meta accepts, or one that it refuses only for its age."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from offline_capi.config import Client, Platform, SecretResolver
from offline_capi.errors import TemporaryError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.graph.error_table import Action, Scope, explain
from offline_capi.meta.graph.response import Response
from offline_capi.meta.limits import MAX_EVENT_AGE

__all__ = ["ClientAccess", "ConnectionTestResult", "probe_pixel", "read_refusal", "resolve_access", "send_test_event"]

#: One day older than Meta accepts …
PROBE_AGE_S = (MAX_EVENT_AGE + timedelta(days=1)).total_seconds()
#: … which it refuses with this code, and only when all else is right (meta-capi.md 8.6, b).
TOO_OLD_CODE = (100, 2804003)
EVENT_NAME = "ConnectionTest"

TestVerdict = Literal["good", "fault", "unclear"]


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """What a client's requests carry in addition to events."""

    credentials: Credentials
    partner_agent: str | None


@dataclass(frozen=True, slots=True)
class ConnectionTestResult:
    """Result of one test. ``unclear``: nothing was learnt about the client, for example when Meta was unreachable."""

    kind: Literal["test", "probe"]
    pixel: str
    at: str
    verdict: TestVerdict
    words: str
    http: int | None = None
    code: int | None = None
    subcode: int | None = None
    trace_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)

    @property
    def cause(self) -> str:
        """Identifies the fault: the same for as long as it lasts."""
        return f"{self.code}/{self.subcode}" if self.code is not None else f"http {self.http}"


def resolve_access(client: Client, platform: Platform, secrets: SecretResolver) -> ClientAccess:
    """What the client's requests carry; ``ConfigError`` where its token cannot be had."""
    secret = secrets.token(client.app_secret) if client.app_secret else None
    credentials = Credentials(secrets.token(client.token), secret)
    return ClientAccess(credentials, client.partner_agent or platform.partner_agent)


def send_test_event(
    graph: GraphClient, pixel: str, access: ClientAccess, *, code: str, now: datetime
) -> ConnectionTestResult:
    """Send one event of this moment, marked with the test event code: good is 200 and one event received.

    Meta shows it under Test Events, and counts it all the same (D:using-the-api).
    """
    return _run_test("test", graph, pixel, access, code=code, now=now)


def probe_pixel(
    graph: GraphClient, pixel: str, access: ClientAccess, *, code: str | None = None, now: datetime
) -> ConnectionTestResult:
    """Send one event that Meta refuses for its age alone, so that nothing is stored."""
    return _run_test("probe", graph, pixel, access, code=code, now=now)


def _run_test(
    kind: Literal["test", "probe"],
    graph: GraphClient,
    pixel: str,
    access: ClientAccess,
    *,
    code: str | None,
    now: datetime,
) -> ConnectionTestResult:
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    event = _make_event(now.timestamp() - (PROBE_AGE_S if kind == "probe" else 0))
    try:
        answer = graph.call(
            f"{pixel}/events",
            access.credentials,
            method="post",
            data=[event],
            test_event_code=code,
            partner_agent=access.partner_agent,
        )
    except TemporaryError as error:
        return ConnectionTestResult(kind, pixel, at, "unclear", str(error))
    verdict, words = _CLASSIFIERS[kind](answer) or read_refusal(answer)
    return ConnectionTestResult(
        kind, pixel, at, verdict, words, answer.status, answer.code, answer.subcode, answer.trace_id
    )


def _make_event(at: float) -> dict[str, Any]:
    """An event about nobody: the digest is of a constant."""
    return {
        "event_name": EVENT_NAME,
        "event_id": f"offline-capi-connection-test-{int(at)}",
        "event_time": int(at),
        "action_source": "system_generated",
        "user_data": {"external_id": [hashlib.sha256(b"offline-capi-connection-test").hexdigest()]},
    }


# ---------------------------------------------------------------------------------------------- reading the answer


def _classify_test(answer: Response) -> tuple[TestVerdict, str] | None:
    if not answer.ok:
        return None
    received = answer.data.get("events_received")
    if answer.status == 200 and received == 1:
        return "good", "the test event was received"
    return "fault", f"Meta answered HTTP {answer.status} and did not count the test event; look into Events Manager"


def _classify_probe(answer: Response) -> tuple[TestVerdict, str] | None:
    if (answer.code, answer.subcode) == TOO_OLD_CODE:
        return "good", "token, pixel and permission are right; nothing was stored"
    if answer.ok:
        return "good", "token, pixel and permission are right; Meta took the event although it is 8 days old"
    return None


_CLASSIFIERS: dict[str, Callable[[Response], tuple[TestVerdict, str] | None]] = {
    "test": _classify_test,
    "probe": _classify_probe,
}


def read_refusal(answer: Response) -> tuple[TestVerdict, str]:
    """Whether a refusal is about the client's access, and a sentence for people.

    Transient errors, errors of the app and errors of our event (a wrong clock) say nothing about the client. An invalid
    parameter without a subcode does, if a single correct event fails with it (meta-capi.md 6.2).
    """
    if answer.code is None:
        return "unclear", f"Meta answered HTTP {answer.status} without an error of its own; try again later"
    entry = explain(answer.code, answer.subcode, answer.error_text)
    passes = (
        entry.action in (Action.RETRY, Action.WAIT)
        or entry.scope is Scope.APP
        or (entry.scope is Scope.EVENT and answer.subcode)
    )
    number = f"{answer.code}/{answer.subcode}" if answer.subcode else str(answer.code)
    return "unclear" if passes else "fault", f"Meta answered {number}: {entry.means}. What now: {entry.do}"
