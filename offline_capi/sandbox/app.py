"""The sandbox as a FastAPI application: Meta's edge, our questions under ``/_sandbox/``, and the page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Iterable
from email.utils import formatdate
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offline_capi.sandbox.access import fingerprint
from offline_capi.sandbox.answers import GraphError
from offline_capi.sandbox.faults import Fault
from offline_capi.sandbox.graph import EventsEdge
from offline_capi.sandbox.meters import Limits, Meters
from offline_capi.sandbox.platform import PlatformEdge, World, WorldBody
from offline_capi.sandbox.read_back import Telling
from offline_capi.sandbox.state import SandboxState

__all__ = ["create_app"]

_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_LATEST = 50
#: RFC 6761 section 6.3, RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
_THIS_MACHINE = re.compile(r"(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|::1")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClockBody(_Body):
    """``now`` in Unix seconds stops the clock there; null lets it go. ``advance`` moves a stopped clock."""

    now: float | None = None
    advance: float | None = None


class GrantBody(_Body):
    """What a token may do, or, with ``revoked``, the code and subcode that it is answered with from now on."""

    token: str
    pixels: list[str] = []
    app_secret: str | None = None
    revoked: tuple[int, int | None] | None = None


class SettingsBody(_Body):
    """What is not given stays. ``forward`` answers a retired version as a newer one."""

    bad_event: Literal["reject_all", "keep_valid"] | None = None
    forward: bool | None = None


def create_app(state: SandboxState | None = None, hosts: Collection[str] = ()) -> FastAPI:
    """A sandbox around ``state``. Serve it with ``SandboxServer`` or ``run_sandbox``: cuts need their transport.

    It answers under the names of this machine and ``hosts``, and to no page of another origin.
    """
    app = FastAPI(
        title="offline-capi sandbox",
        openapi_url="/_sandbox/openapi.json",
        docs_url=None,  # both pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.sandbox = state or SandboxState()
    app.add_middleware(_Dated, state=app.state.sandbox)
    app.add_middleware(_OwnNames, hosts=frozenset(hosts))
    app.add_api_route("/", _page, response_class=HTMLResponse, include_in_schema=False)
    for path, method, endpoint in _QUESTIONS:
        app.add_api_route(f"/_sandbox/{path}", endpoint, methods=[method], response_model=None)
    for path in ("/{version}/{pixel}/events", "/{pixel}/events"):
        app.router.routes.append(Route(path, EventsEdge(), methods=["POST"]))
    app.router.routes.append(Route("/{version}/{path:path}", PlatformEdge(), methods=["GET", "POST", "DELETE"]))
    return app


class _OwnNames:
    """Refuses what a page of another site makes a browser send: there, the sandbox shows what it was sent.

    By DNS rebinding such a page is of the same origin, under a name of its own; else its origin is another one.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(refused, status_code=403)(scope, receive, send)

    def _refusal(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = re.sub(r":\d+$", "", host).strip("[]")
        if not (_THIS_MACHINE.fullmatch(name) or name in self._hosts):
            return (
                "The sandbox answers only under the names of this machine; others: offline-capi sandbox --name NAME\n"
            )
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "The sandbox does not answer to pages of another origin.\n"
        return None


class _Dated:
    """Every answer tells the time by the sandbox's clock; a HEAD is for nothing else, as Meta answers one too."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start" and not any(name == b"date" for name, _ in message["headers"]):
                date = formatdate(self._state.clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await Response(status_code=400)(scope, receive, dated)
        else:
            await self._app(scope, receive, dated)


def _state(request: Request) -> SandboxState:
    state: SandboxState = request.app.state.sandbox
    return state


# ---------------------------------------------------------------------------------------------- the page


def _view(state: SandboxState) -> dict[str, Any]:
    """What the page shows: ids, names, numbers; no customer data and no token."""
    return {
        "now": state.clock.now(),
        "clock_set": state.clock.fixed is not None,
        "bad_event": state.bad_event,
        "pixels": state.access.pixels(),
        "totals": state.memory.totals(),
        "requests": state.memory.requests(limit=_LATEST, latest=True),
        "events": [_shown(event) for event in state.memory.events(limit=_LATEST, latest=True)],
        "faults": state.faults.listing(),
    }


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    body = event.pop("body") or {}
    return {**event, "identity": sorted(body.get("user_data", {}))}


async def _page(request: Request) -> HTMLResponse:
    view = json.dumps(_view(_state(request))).replace("<", "\\u003c")
    return HTMLResponse(_TEMPLATES.get_template("page.html.j2").render(view=view))


async def _get_view(request: Request) -> dict[str, Any]:
    return _view(_state(request))


# ---------------------------------------------------------------------------------------------- questions

# The endpoints are coroutines, so that all work on the state happens in the one thread of the event loop.


async def _get_health() -> dict[str, bool]:
    return {"ready": True}


async def _get_totals(request: Request) -> dict[str, Any]:
    return _state(request).memory.totals()


async def _get_requests(
    request: Request,
    pixel: str | None = None,
    status: int | None = None,
    code: int | None = None,
    token: str | None = None,
    after: int = 0,
    limit: int = 1000,
    latest: bool = False,
) -> list[dict[str, Any]]:
    equal = {"pixel": pixel, "status": status, "code": code, "token": token}
    return _state(request).memory.requests(limit=limit, after=after, latest=latest, **equal)


async def _get_events(
    request: Request,
    pixel: str | None = None,
    event_id: str | None = None,
    event_name: str | None = None,
    action_source: str | None = None,
    after: int = 0,
    limit: int = 1000,
    latest: bool = False,
) -> list[dict[str, Any]]:
    equal = {"pixel": pixel, "event_id": event_id, "event_name": event_name, "action_source": action_source}
    return _state(request).memory.events(limit=limit, after=after, latest=latest, **equal)


async def _get_count(
    request: Request, pixel: str | None = None, event_id: str | None = None, event_name: str | None = None
) -> dict[str, int]:
    return _state(request).memory.count(pixel=pixel, event_id=event_id, event_name=event_name)


async def _get_tally(request: Request, pixel: str | None = None) -> StreamingResponse:
    """Every event as one JSON line: [pixel, event_name, event_id, times it counted, times it came]."""
    return StreamingResponse(_lines(_state(request).memory.tally(pixel=pixel)), media_type="application/x-ndjson")


async def _lines(rows: Iterable[Any]) -> AsyncIterator[str]:
    """A million rows need no memory; the loop has time for other requests in between."""
    rest = iter(rows)
    while some := list(islice(rest, 10_000)):
        yield "".join(json.dumps(row) + "\n" for row in some)


async def _get_faults(request: Request) -> list[dict[str, Any]]:
    return _state(request).faults.listing()


async def _post_faults(request: Request, fault: Fault) -> list[dict[str, Any]]:
    _state(request).faults.add(fault)
    return _state(request).faults.listing()


async def _delete_faults(request: Request) -> list[dict[str, Any]]:
    _state(request).faults.clear()
    return []


async def _get_clock(request: Request) -> dict[str, Any]:
    clock = _state(request).clock
    return {"now": clock.now(), "fixed": clock.fixed is not None}


async def _put_clock(request: Request, body: ClockBody) -> dict[str, Any]:
    clock = _state(request).clock
    if body.advance is not None:
        if clock.fixed is None:
            raise HTTPException(409, "the clock runs: set it with now before moving it")
        clock.fixed += body.advance
    else:
        clock.fixed = body.now
    return await _get_clock(request)


async def _put_access(request: Request, body: GrantBody) -> dict[str, str]:
    access = _state(request).access
    if body.revoked:
        code, subcode = body.revoked
        access.revoke(body.token, GraphError(401 if code == 190 else 403, code, subcode, "Access was withdrawn"))
    else:
        access.grant(body.token, body.pixels, body.app_secret)
    return {"token": fingerprint(body.token)}


async def _put_settings(request: Request, body: SettingsBody) -> dict[str, Any]:
    state = _state(request)
    for name, value in body.model_dump(exclude_none=True).items():
        setattr(state, name, value)
    return {"bad_event": state.bad_event, "forward": state.forward}


async def _put_telling(request: Request, body: Telling) -> dict[str, Any]:
    """How Meta tells of its counts from now on."""
    _state(request).telling = body
    return body.model_dump()


async def _put_limits(request: Request, body: Limits) -> dict[str, Any]:
    """Allowances from now on, all of them unused."""
    _state(request).meters = Meters(body)
    return body.model_dump()


async def _put_world(request: Request, body: WorldBody) -> dict[str, int]:
    state = _state(request)
    state.world = World.of(body, state.access)
    return {"tokens": len(body.tokens)}


async def _get_calls(request: Request) -> list[str]:
    """The calls about access so far, as method and path; fields may hold tokens and are not kept."""
    return _state(request).world.calls


async def _post_reset(request: Request) -> dict[str, bool]:
    _state(request).reset()
    return {"ready": True}


_QUESTIONS = (
    ("health", "GET", _get_health),
    ("view", "GET", _get_view),
    ("totals", "GET", _get_totals),
    ("requests", "GET", _get_requests),
    ("events", "GET", _get_events),
    ("count", "GET", _get_count),
    ("tally", "GET", _get_tally),
    ("faults", "GET", _get_faults),
    ("faults", "POST", _post_faults),
    ("faults", "DELETE", _delete_faults),
    ("clock", "GET", _get_clock),
    ("clock", "PUT", _put_clock),
    ("access", "PUT", _put_access),
    ("settings", "PUT", _put_settings),
    ("telling", "PUT", _put_telling),
    ("limits", "PUT", _put_limits),
    ("world", "PUT", _put_world),
    ("calls", "GET", _get_calls),
    ("reset", "POST", _post_reset),
)
