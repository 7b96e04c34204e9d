"""``POST /v{N}.0/{pixel}/events``: read, admit, judge, misbehave if told to, store, answer, remember."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from offline_capi.sandbox.access import fingerprint, version_headers
from offline_capi.sandbox.answers import ERRORS, GraphError, Refusal, Reply, accepted, refused
from offline_capi.sandbox.faults import TELLS, Cut, Fault, Shot, Told, headers_of, reply_of
from offline_capi.sandbox.memory import RequestRecord
from offline_capi.sandbox.rules import Objection, find_objection
from offline_capi.sandbox.state import SandboxState
from offline_capi.sandbox.wire import Incoming, bearer_token, read_incoming

__all__ = ["TRANSPORT", "EventsEdge"]

TRANSPORT = "offline_capi.transport"  # where the server leaves the connection in the scope, see server.py

Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What Meta would do with a request: its answer, and the events that it keeps."""

    reply: Reply
    kept: Events = ()


class EventsEdge:
    """The endpoint, as a bare ASGI application. Whatever happens, the request is remembered exactly once.

    It is remembered before the answer goes out: who has an answer can ask about the request at once.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        state: SandboxState = request.app.state.sandbox
        record = _arrival(state, request)
        in_flight = state.in_flight  # a reset begins another count
        in_flight[record.pixel] = record.in_flight
        try:
            response = await _remembered(state, request, record)
            await response(scope, receive, send)
        finally:
            in_flight[record.pixel] -= 1
        if isinstance(response, FaultyResponse) and response.afterwards:
            await response.afterwards()


async def _remembered(state: SandboxState, request: Request, record: RequestRecord) -> Response:
    try:
        return await _receive(state, request, record)
    finally:
        record.seconds = time.monotonic() - state.started - record.elapsed
        state.memory.record(record)


def _version(path_params: Mapping[str, Any]) -> int | None:
    """``v26.0`` → 26, no version → ``None``, anything else in its place → -1."""
    if "version" not in path_params:
        return None
    version = re.fullmatch(r"v(\d{1,3})\.\d", path_params["version"])
    return int(version[1]) if version else -1


def _arrival(state: SandboxState, request: Request) -> RequestRecord:
    state.arrived += 1
    pixel = request.path_params["pixel"]
    token = request.query_params.get("access_token") or bearer_token(request.headers)
    return RequestRecord(
        number=state.arrived,
        at=state.clock.now(),
        elapsed=time.monotonic() - state.started,
        in_flight=state.in_flight.get(pixel, 0) + 1,
        pixel=pixel,
        version=_version(request.path_params),
        token=fingerprint(token) if token else None,
        bytes=int(request.headers.get("content-length") or 0),
    )


async def _receive(state: SandboxState, request: Request, record: RequestRecord) -> Response:
    if fault := state.faults.before_body(_shot(record, None)):
        record.fault = fault.kind
        return FaultyResponse(Reply(0, b""), cut="before_body")
    try:
        incoming = await _read(state, request)
    except ClientDisconnect:
        record.fault = "the client left"
        return Response()
    except Refusal as refusal:
        return _answer(state, record, Judgement(refused(refusal.error, refusal.detail)), ())
    _note(record, incoming)
    return _answer(state, record, _judge(state, record, incoming), record.event_ids)


async def _read(state: SandboxState, request: Request) -> Incoming:
    if state.sink:
        body = await request.body()
        return Incoming([{}] * body.count(b'"event_name"'), bearer_token(request.headers), None, {}, "")
    return await read_incoming(request)


def _note(record: RequestRecord, incoming: Incoming) -> None:
    record.token = fingerprint(incoming.token) if incoming.token else record.token
    record.form, record.fields, record.events = incoming.form, incoming.fields, len(incoming.events)
    record.event_ids = [_event_id(event) for event in incoming.events]


def _event_id(event: Any) -> str | None:
    value = event.get("event_id") if isinstance(event, dict) else None
    return value if isinstance(value, str) else None


def _shot(record: RequestRecord, event_ids: Sequence[str | None] | None) -> Shot:
    return Shot(record.number, record.pixel, record.token, record.at, event_ids)


# ---------------------------------------------------------------------------------------------- judging


def _judge(state: SandboxState, record: RequestRecord, incoming: Incoming) -> Judgement:
    """Answer as Meta does: the version, then the credentials, then every event."""
    if state.sink:
        return Judgement(accepted(len(incoming.events)))
    try:
        version = version_headers(record.version, record.at, forward=state.forward)
        state.access.check(record.pixel, incoming.token, incoming.proof)
    except Refusal as refusal:
        return Judgement(refused(refusal.error, refusal.detail))
    limit = state.meters.count(record.pixel, record.at)
    judged = Judgement(refused(limit)) if limit else _judge_events(state, record, incoming.events)
    usage = state.meters.headers(record.pixel, record.at)
    return Judgement(replace(judged.reply, headers={**judged.reply.headers, **version, **usage}), judged.kept)


def _judge_events(state: SandboxState, record: RequestRecord, events: list[Any]) -> Judgement:
    marks = state.faults.marking(_shot(record, record.event_ids))
    refusals = _refusals(events, record.at)
    refusals |= {place: _told(fault, place) for fault, places in marks if fault.spec.error for place in places}
    dropped = {place for fault, places in marks if not fault.spec.error for place in places}
    record.fault = ", ".join(dict.fromkeys(fault.kind for fault, _ in marks))
    kept = [event for place, event in enumerate(events) if place not in dropped]
    if not refusals:
        return Judgement(accepted(len(kept)), kept)
    error, text, told = refusals[min(refusals)]
    spared = [event for place, event in enumerate(events) if place not in refusals and place not in dropped]
    kept = [event for event in spared if "event_id" in event] if state.bad_event == "keep_valid" else []
    return Judgement(refused(error, text + told.where, error_data=told.error_data), kept)


_Refused = tuple[GraphError, str, Told]


def _refusals(events: Sequence[Any], now: float) -> dict[int, _Refused]:
    """Place → error, text and what it says of the place, for every event that Meta would not take."""
    objections = ((place, find_objection(event, now)) for place, event in enumerate(events))
    return {place: _worded(objection, place) for place, objection in objections if objection}


def _worded(objection: Objection, place: int) -> _Refused:
    """Only the parameter error is known to name its event (NODE258); the others leave the sender to search."""
    where = f" on param \"$['data'][{place}]{objection.path}\"" if objection.error == "parameter" else ""
    return ERRORS[objection.error], objection.problem, Told(where)


def _told(fault: Fault, place: int) -> _Refused:
    return fault.spec.error or ERRORS["parameter"], "Invalid parameter", TELLS[fault.tell](place)


# ---------------------------------------------------------------------------------------------- answering


def _answer(
    state: SandboxState, record: RequestRecord, judgement: Judgement, event_ids: Sequence[str | None]
) -> Response:
    """Put the judgement on the wire, bent by the faults that strike."""
    shot = _shot(record, event_ids)
    deciding = state.faults.deciding(shot)
    faults = [*state.faults.decorating(shot), *([deciding] if deciding else [])]
    store = deciding.spec.store if deciding else "before"
    reply = reply_of(deciding, record.pixel, judgement.reply) if deciding else judgement.reply
    messages = [text for fault in faults for text in fault.messages]
    if messages and reply.events_received is not None:
        reply = accepted(reply.events_received, messages, reply.headers)
    _conclude(record, reply, faults)
    late = None
    if store == "before":
        _store(state, record, judgement.kept)
    elif store == "after" and deciding:
        late = _late_store(state, record.number, record.pixel, judgement.kept, deciding.store_delay)
    return FaultyResponse(
        reply,
        headers={name: value for fault in faults for name, value in headers_of(fault, record.pixel).items()},
        cut=deciding.spec.cut if deciding else None,
        delay=sum(fault.spec.delay for fault in faults),
        drip=max((fault.spec.drip for fault in faults), default=0.0),
        afterwards=late,
    )


def _conclude(record: RequestRecord, reply: Reply, faults: Sequence[Fault]) -> None:
    cut = any(fault.spec.cut for fault in faults)
    record.fault = ", ".join(filter(None, [record.fault, *(fault.kind for fault in faults)]))
    record.status = None if cut else reply.status
    record.code, record.subcode, record.trace_id = reply.code, reply.subcode, reply.trace_id
    record.events_received = None if cut else reply.events_received


def _store(state: SandboxState, record: RequestRecord, events: Events) -> None:
    if events:
        state.memory.store(record.pixel, events, record.at)
    record.stored = len(events)


def _late_store(state: SandboxState, number: int, pixel: str, events: Events, delay: float) -> Callable[[], Any]:
    night = state.night

    async def store() -> None:
        if delay:  # without one, nothing else may come between the answer and the store
            await asyncio.sleep(delay)
        if events and state.night == night:
            state.memory.store(pixel, events, state.clock.now())
            state.memory.add_stored(number, len(events))

    return store


class FaultyResponse(Response):
    """An answer that can come late, byte by byte, not to its end, or not at all.

    A cut aborts the connection's transport, as a failing network or a dying server does: the sender sees a closed
    socket, never an HTTP answer.
    """

    def __init__(
        self,
        reply: Reply,
        *,
        headers: Mapping[str, str] | None = None,
        cut: Cut | None = None,
        delay: float = 0.0,
        drip: float = 0.0,
        afterwards: Callable[[], Any] | None = None,
    ) -> None:
        self.cut, self.delay, self.drip, self.afterwards = cut, delay, drip, afterwards
        super().__init__(reply.body, reply.status, {**reply.headers, **(headers or {})}, reply.content_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.delay and await _leaves_within(self.delay, receive):
            return
        if self.cut in ("before_body", "before_answer"):
            await _abort(scope, receive)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self.cut == "amid_answer":
            await self._send_half(scope, receive, send)
            return
        await self._send_body(send)

    async def _send_body(self, send: Send) -> None:
        body = bytes(self.body)
        if self.drip:
            for place in range(len(body)):
                await send({"type": "http.response.body", "body": body[place : place + 1], "more_body": True})
                await asyncio.sleep(self.drip)
            body = b""
        await send({"type": "http.response.body", "body": body})

    async def _send_half(self, scope: Scope, receive: Receive, send: Send) -> None:
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _abort(scope, receive)


async def _leaves_within(seconds: float, receive: Receive) -> bool:
    """Whether the sender gives up before the time has passed."""
    try:
        await asyncio.wait_for(receive(), seconds)
    except TimeoutError:
        return False
    return True


async def _abort(scope: Scope, receive: Receive) -> None:
    """Close the socket under the sender, and wait until the server has noticed."""
    scope[TRANSPORT].abort()
    while (await receive())["type"] != "http.disconnect":
        pass
