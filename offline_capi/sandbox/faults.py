"""Misbehaviour on demand, as data: a fault says which requests it strikes, how often, and what then goes wrong.

``KINDS`` names the ways to misbehave. Every part of a kind can be overridden in the ``Fault`` (another status, another
moment of storing), so that kinds combine: a slow 503, a cut after half an answer, a 429 whose events were stored.

Of the faults that decide an answer, the first that strikes wins, in the order of posting. Faults that only decorate
(usage headers, slowness) and faults that mark single events all apply together.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from offline_capi.sandbox.answers import ERRORS, GraphError, Reply, refused

__all__ = ["KINDS", "TELLS", "Fault", "FaultBook", "Kind", "Shot", "Told", "reply_of", "usage_headers"]

Store = Literal["before", "after", "never"]
Answer = Literal["usual", "error", "html", "malformed"]
Cut = Literal["before_body", "before_answer", "amid_answer"]
Tell = Literal["path", "nothing", "event_index", "event_index_text", "blamed", "blamed_steps_encoded"]


class Kind(NamedTuple):
    """A way to misbehave: what is answered, when events are stored, how the bytes travel."""

    meaning: str
    answer: Answer = "usual"
    error: GraphError | None = None
    store: Store = "never"
    cut: Cut | None = None
    delay: float = 0.0
    drip: float = 0.0
    retry_after: float | None = None
    usage: float | None = None
    marks: Literal["refused", "unacknowledged"] | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _error(meaning: str, status: int, code: int, subcode: int | None = None, **more: Any) -> Kind:
    transient = more.pop("is_transient", False)
    return Kind(meaning, "error", GraphError(status, code, subcode, meaning, is_transient=transient), **more)


def _denied(meaning: str, error: str) -> Kind:
    return Kind(meaning, "error", ERRORS[error])


_UPGRADED = (("X-Ad-Api-Version-Warning", "The call has been auto-upgraded to v27.0."),)

KINDS: Mapping[str, Kind] = {  # codes: meta-capi.md 6.2; headers: 5.5
    "unavailable": _error("Service temporarily unavailable", 503, 2, is_transient=True),
    "unknown_error": _error("An unknown error occurred", 500, 1, 99),
    "store_then_fail": _error("The events are stored, then the answer fails", 500, 1, store="before"),
    "fail_then_store": _error("The answer fails, then the events are stored", 500, 1, store="after"),
    "too_many_requests": _error("Too many requests", 429, 4, is_transient=True, retry_after=1.0),
    "app_throttled": _error("Application request limit reached", 400, 4, usage=100.0),
    "user_throttled": _error("User request limit reached", 400, 17, 2446079, usage=100.0),
    "account_throttled": _error("Too many calls to this ad account", 400, 80004, 2446079, usage=100.0),
    "usage": Kind("Usage headers beside the usual answer", store="before", usage=80.0),
    "html": Kind("An HTML page instead of an answer", "html"),
    "malformed": Kind("A 200 whose JSON breaks off", "malformed", store="before"),
    "version_warning": Kind("A header says that the version was upgraded", store="before", headers=_UPGRADED),
    "slow": Kind("The first byte comes late", store="before", delay=1.0),
    "drip": Kind("The answer comes byte by byte", store="before", drip=0.02),
    "cut_before_body": Kind("The connection is cut before the body was read", cut="before_body"),
    "cut_before_store": Kind("The connection is cut after the body, nothing is stored", cut="before_answer"),
    "cut_after_store": Kind("The connection is cut after the events were stored", store="before", cut="before_answer"),
    "cut_amid_answer": Kind("The connection is cut amid the answer", store="before", cut="amid_answer"),
    "revoked_token": _denied("The token was revoked", "revoked_token"),
    "expired_token": _error("The token has expired", 401, 190, 463),
    "no_permission": _denied("The permission is missing", "no_permission"),
    "no_object": _denied("The pixel is missing or may not be written to", "no_object"),
    "no_proof": _denied("appsecret_proof is missing", "no_proof"),
    "old_version": _denied("The version is retired", "old_version"),
    "refuse_events": Kind("Single events are refused as invalid", "error", ERRORS["parameter"], marks="refused"),
    "short_answer": Kind("Single events are dropped and events_received is smaller", marks="unacknowledged"),
}


class Told(NamedTuple):
    """What an answer says of the event at fault: in its message, and in ``error_data``."""

    where: str = ""
    error_data: object = None


def _index(place: int) -> dict[str, Any]:
    return {"error": {"event_index": place, "message": "Invalid parameter", "code": 100}}


#: How the event at fault is named, by its place in the request. ``error_data`` is an object, a text of JSON, or that
#: once more encoded (meta-capi.md 6.1).
TELLS: Mapping[Tell, Callable[[int], Told]] = {
    "nothing": lambda _: Told(),
    "path": lambda place: Told(f" on param \"$['data'][{place}]\""),  # NODE258
    "event_index": lambda place: Told(error_data=_index(place)),  # offline-uploader issue #26
    "event_index_text": lambda place: Told(error_data=json.dumps(_index(place))),
    "blamed": lambda place: Told(error_data={"blame_field_specs": [[f"data[{place}]"]]}),
    "blamed_steps_encoded": lambda place: Told(
        error_data=json.dumps(json.dumps({"blame_field_specs": [["data", place]]}))
    ),
}


class Fault(BaseModel):
    """One instruction to misbehave. All conditions must hold; without any, every request is struck.

    For ``refuse_events`` and ``short_answer`` the fault strikes single events: those in ``event_ids``, a seeded random
    ``event_share`` of all, or the last ``last_events`` of a request. For other kinds ``event_ids`` strikes the
    requests that hold one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="one of KINDS")
    times: int | None = Field(None, ge=1, description="how many requests it strikes; without it, all")

    pixel: str | None = None
    token: str | None = Field(None, description="fingerprint of a token")
    first_request: int | None = Field(None, description="number of the first request it may strike, counted from 1")
    last_request: int | None = None
    every: int | None = Field(None, ge=1, description="every n-th request only")
    min_events: int | None = Field(None, description="requests with at least so many events only")
    since: float | None = Field(None, description="from this time of the sandbox's clock on")
    until: float | None = None
    event_ids: frozenset[str] = frozenset()
    event_share: float = Field(0.0, ge=0, le=1)
    last_events: int = Field(0, ge=0)
    share: float = Field(1.0, ge=0, le=1, description="strikes this share of the requests at random, by seed")
    seed: int = 0

    status: int | None = Field(None, ge=200, le=599)
    code: int | None = None
    subcode: int | None = None
    is_transient: bool | None = None
    store: Store | None = None
    store_delay: float = Field(0.0, ge=0, description="seconds from the answer to the late store")
    cut: Cut | None = None
    delay: float | None = Field(None, ge=0, description="seconds before the first byte")
    drip: float | None = Field(None, ge=0, description="seconds between two bytes")
    retry_after: float | None = Field(None, ge=0)
    usage: float | None = Field(None, ge=0, description="percent, for all usage headers")
    regain_minutes: int = Field(0, ge=0, description="how long the usage headers tell the sender to wait")
    headers: dict[str, str] = {}
    message: str | None = Field(None, description="the text of the error that is answered")
    messages: list[str] = Field([], description="the messages of a success")
    tell: Tell = Field("path", description="how the answer names the refused event, if it does")

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"one of {', '.join(KINDS)}")
        return kind

    @property
    def spec(self) -> Kind:
        """The kind, with what this fault overrides."""
        spec = KINDS[self.kind]
        names = ("store", "cut", "delay", "drip", "retry_after", "usage")
        own = {name: value for name in names if (value := getattr(self, name)) is not None}
        return spec._replace(**own, error=self._error(spec.error))

    def _error(self, error: GraphError | None) -> GraphError | None:
        if error is None:
            return None
        own = {name: getattr(self, name) for name in ("status", "code", "subcode") if getattr(self, name) is not None}
        if "code" in own and self.subcode is None:
            own["subcode"] = None  # the kind's subcode belongs to the kind's code
        if self.is_transient is not None:
            own["is_transient"] = self.is_transient
        if self.message is not None:
            own["title"] = self.message
        return error._replace(**own)


class Shot(NamedTuple):
    """What a fault may look at. ``event_ids`` is ``None`` before the body was read."""

    number: int
    pixel: str
    token: str | None
    now: float
    event_ids: Sequence[str | None] | None


def _chance(fault: Fault, subject: object) -> float:
    """A number in [0, 1) that depends on the seed and the subject alone: the same night twice has the same faults."""
    return zlib.crc32(f"{fault.seed}:{fault.kind}:{subject}".encode()) / 2**32


def _strikes(fault: Fault, shot: Shot) -> bool:
    ids = shot.event_ids or ()
    by_event = fault.spec.marks is None and bool(fault.event_ids)
    return (
        fault.pixel in (None, shot.pixel)
        and fault.token in (None, shot.token)
        and (fault.first_request or 0) <= shot.number <= (fault.last_request or shot.number)
        and shot.number % (fault.every or 1) == 0
        and len(ids) >= (fault.min_events or 0)
        and (fault.since or shot.now) <= shot.now <= (fault.until or shot.now)
        and (not by_event or not fault.event_ids.isdisjoint(ids))
        and (fault.share >= 1 or _chance(fault, shot.number) < fault.share)
    )


def _marked(fault: Fault, ids: Sequence[str | None]) -> Iterator[int]:
    """Places in the request of the events that ``fault`` strikes."""
    everything = not (fault.event_ids or fault.event_share or fault.last_events)
    for place, event_id in enumerate(ids):
        if (
            everything
            or event_id in fault.event_ids
            or place >= len(ids) - fault.last_events
            or (fault.event_share and _chance(fault, event_id) < fault.event_share)
        ):
            yield place


@dataclass(slots=True)
class _Armed:
    fault: Fault
    hits: int = 0

    def strikes(self, shot: Shot) -> bool:
        spent = self.fault.times is not None and self.hits >= self.fault.times
        return not spent and _strikes(self.fault, shot)


def _set(armed: _Armed) -> Iterable[tuple[str, Any]]:
    return armed.fault.model_dump(exclude_unset=True).items()


@dataclass(slots=True)
class FaultBook:
    """The faults in force, with how often each has struck."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        self._armed.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Each fault as it was posted, what it means, and how often it struck."""
        return [
            {
                "fault": {key: sorted(value) if isinstance(value, frozenset) else value for key, value in _set(armed)},
                "meaning": KINDS[armed.fault.kind].meaning,
                "hits": armed.hits,
                "left": None if armed.fault.times is None else armed.fault.times - armed.hits,
            }
            for armed in self._armed
        ]

    def before_body(self, shot: Shot) -> Fault | None:
        """The fault that cuts the connection before the body is read, if one strikes."""
        return self._first(shot, lambda spec: spec.cut == "before_body")

    def deciding(self, shot: Shot) -> Fault | None:
        """The first fault that replaces the usual answer, or cuts it off."""
        return self._first(
            shot, lambda spec: not spec.marks and spec.cut != "before_body" and (spec.answer != "usual" or spec.cut)
        )

    def decorating(self, shot: Shot) -> list[Fault]:
        """Faults that leave the answer as it is and add headers or slowness."""
        return self._all(shot, lambda spec: not spec.marks and spec.answer == "usual" and not spec.cut)

    def marking(self, shot: Shot) -> list[tuple[Fault, list[int]]]:
        """Faults that strike single events of this request, with their places."""
        ids = shot.event_ids or ()
        marked = []
        for armed in self._armed:
            if armed.fault.spec.marks and armed.strikes(shot) and (places := list(_marked(armed.fault, ids))):
                armed.hits += 1
                marked.append((armed.fault, places))
        return marked

    def _first(self, shot: Shot, wanted: Callable[[Kind], object]) -> Fault | None:
        for armed in self._armed:
            if wanted(armed.fault.spec) and armed.strikes(shot):
                armed.hits += 1
                return armed.fault
        return None

    def _all(self, shot: Shot, wanted: Callable[[Kind], object]) -> list[Fault]:
        struck = [armed for armed in self._armed if wanted(armed.fault.spec) and armed.strikes(shot)]
        for armed in struck:
            armed.hits += 1
        return [armed.fault for armed in struck]


# ---------------------------------------------------------------------------------------------- answers


def usage_headers(pixel: str, percent: float, regain_minutes: int = 0) -> dict[str, str]:
    """Meta's three usage headers at ``percent`` (meta-capi.md 5.5: minutes in one of them, seconds in another)."""
    load = {"call_count": percent, "total_cputime": percent, "total_time": percent}
    tier = {"ads_api_access_tier": "limited"}
    business = {"type": "ads_management", **load, "estimated_time_to_regain_access": regain_minutes, **tier}
    account = {"acc_id_util_pct": percent, "reset_time_duration": regain_minutes * 60, **tier}
    return {
        "X-App-Usage": json.dumps(load),
        "X-Business-Use-Case-Usage": json.dumps({pixel: [business]}),
        "X-Ad-Account-Usage": json.dumps(account),
    }


def headers_of(fault: Fault, pixel: str) -> dict[str, str]:
    """The headers that a fault adds to its answer."""
    spec = fault.spec
    headers = dict(spec.headers)
    if spec.usage is not None:
        headers |= usage_headers(pixel, spec.usage, fault.regain_minutes)
    if spec.retry_after is not None:
        headers["Retry-After"] = f"{spec.retry_after:g}"
    return headers | fault.headers


_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"


def reply_of(fault: Fault, pixel: str, usual: Reply) -> Reply:
    """What is answered instead of ``usual``."""
    spec, headers = fault.spec, {**usual.headers, **headers_of(fault, pixel)}
    if spec.answer == "error" and spec.error:
        return refused(spec.error, headers=headers)
    if spec.answer == "html":
        return Reply(fault.status or 500, _PAGE, headers, "text/html; charset=utf-8")
    body = usual.body[: len(usual.body) // 2] if spec.answer == "malformed" else usual.body
    return Reply(fault.status or usual.status, body, headers, trace_id=usual.trace_id)
