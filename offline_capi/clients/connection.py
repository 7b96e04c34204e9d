"""Does the way to a client's pixel work? One event that Meta takes, or one that it refuses for its age alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from offline_capi.config import Client, Platform, SecretResolver
from offline_capi.errors import TemporaryError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.graph.error_table import Action, Scope, explain
from offline_capi.meta.graph.response import Response

__all__ = ["ClientAccess", "Tested", "access_of", "probe_pixel", "read_refusal", "send_test_event"]

#: An event one day older than Meta takes is refused with this, and only when all else is right (meta-capi.md 8.6, b).
PROBE_AGE, TOO_OLD = 8 * 86_400, (100, 2804003)
NAME = "ConnectionTest"

Verdict = Literal["good", "fault", "unclear"]


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """All that a client's requests carry beside events."""

    credentials: Credentials
    partner_agent: str | None


@dataclass(frozen=True, slots=True)
class Tested:
    """How one test ended. ``unclear``: nothing was learnt of the client, such as when Meta could not be reached."""

    kind: Literal["test", "probe"]
    pixel: str
    at: str
    verdict: Verdict
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
        """What the fault is, the same each night that it lasts."""
        return f"{self.code}/{self.subcode}" if self.code is not None else f"http {self.http}"


def access_of(client: Client, platform: Platform, secrets: SecretResolver) -> ClientAccess:
    """What the client's requests carry; ``ConfigError`` where its token cannot be had."""
    secret = secrets.token(client.app_secret) if client.app_secret else None
    credentials = Credentials(secrets.token(client.token), secret)
    return ClientAccess(credentials, client.partner_agent or platform.partner_agent)


def send_test_event(graph: GraphClient, pixel: str, access: ClientAccess, *, code: str, now: datetime) -> Tested:
    """Send one event of this moment, marked with the test event code: good is 200 and one event received.

    Meta shows it under Test Events, and counts it all the same (D:using-the-api).
    """
    return _tested("test", graph, pixel, access, code=code, now=now)


def probe_pixel(
    graph: GraphClient, pixel: str, access: ClientAccess, *, code: str | None = None, now: datetime
) -> Tested:
    """Send one event that Meta refuses for its age alone, so that nothing is stored."""
    return _tested("probe", graph, pixel, access, code=code, now=now)


def _tested(
    kind: Literal["test", "probe"],
    graph: GraphClient,
    pixel: str,
    access: ClientAccess,
    *,
    code: str | None,
    now: datetime,
) -> Tested:
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    event = _event(now.timestamp() - (PROBE_AGE if kind == "probe" else 0))
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
        return Tested(kind, pixel, at, "unclear", str(error))
    verdict, words = _JUDGES[kind](answer) or read_refusal(answer)
    return Tested(kind, pixel, at, verdict, words, answer.status, answer.code, answer.subcode, answer.trace_id)


def _event(at: float) -> dict[str, Any]:
    """About nobody: the digest is of a word of ours."""
    return {
        "event_name": NAME,
        "event_id": f"offline-capi-connection-test-{int(at)}",
        "event_time": int(at),
        "action_source": "system_generated",
        "user_data": {"external_id": [hashlib.sha256(b"offline-capi-connection-test").hexdigest()]},
    }


# ---------------------------------------------------------------------------------------------- reading the answer


def _judge_test(answer: Response) -> tuple[Verdict, str] | None:
    if not answer.ok:
        return None
    received = answer.data.get("events_received")
    if answer.status == 200 and received == 1:
        return "good", "the test event was received"
    return "fault", f"Meta answered HTTP {answer.status} and did not count the test event; look into Events Manager"


def _judge_probe(answer: Response) -> tuple[Verdict, str] | None:
    if (answer.code, answer.subcode) == TOO_OLD:
        return "good", "token, pixel and permission are right; nothing was stored"
    if answer.ok:
        return "good", "token, pixel and permission are right; Meta took the event although it is 8 days old"
    return None


_JUDGES: dict[str, Callable[[Response], tuple[Verdict, str] | None]] = {"test": _judge_test, "probe": _judge_probe}


def read_refusal(answer: Response) -> tuple[Verdict, str]:
    """Whether a refusal tells of the client's access, in words.

    What passes by itself, concerns everybody or faults our event, as a wrong clock does, tells nothing of the client.
    An invalid parameter without a subcode does, where a single event that is right fails with it (meta-capi.md 6.2).
    """
    if answer.code is None:
        return "unclear", f"Meta answered HTTP {answer.status} without a word of its own; try again later"
    entry = explain(answer.code, answer.subcode, answer.error_text)
    passes = (
        entry.action in (Action.RETRY, Action.WAIT)
        or entry.scope is Scope.APP
        or (entry.scope is Scope.EVENT and answer.subcode)
    )
    number = f"{answer.code}/{answer.subcode}" if answer.subcode else str(answer.code)
    return "unclear" if passes else "fault", f"Meta answered {number}: {entry.means}. What now: {entry.do}"
