"""Who may be authorised, and how: businesses, pixels, installs, logins and tokens of a small world (meta-capi.md 8).

The calls are those of section 8.3 to 8.6. A call is what its method says, or what the field ``method`` of a POST says.
A token that is made here may write to the pixels that its user is assigned with the task UPLOAD, at the events edge as
well.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from offline_capi.sandbox import read_back
from offline_capi.sandbox.access import Access, version_headers
from offline_capi.sandbox.answers import ERRORS, Refusal, Reply, answered, refused
from offline_capi.sandbox.memory import Memory
from offline_capi.sandbox.wire import bearer_token

__all__ = ["PlatformEdge", "World", "WorldBody"]

SIXTY_DAYS = 60 * 86_400


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PixelBody(_Body):
    """A pixel: its owner, the businesses it is shared with or offered to, and who may do what."""

    owner: str
    shared: list[str] = []
    offered: list[str] = []
    assigned: dict[str, list[str]] = {}


class TokenBody(_Body):
    """A token that exists already. ``pixels`` are those that it may write to without an assignment of its user."""

    token: str
    app: str
    kind: str = "USER"
    user: str = ""
    scopes: list[str] = []
    granular: dict[str, list[str]] = {}
    expires_at: int = 0
    pixels: list[str] = []
    businesses: list[str] = []


class InstallBody(_Body):
    """What Facebook Business Extension knows of an install; without a business the flow was left half way."""

    business_manager_id: str | None = None
    pixel_id: str | None = None


class WorldBody(_Body):
    """A whole world; telling it replaces the one before."""

    apps: dict[str, str] = {}
    pixels: dict[str, PixelBody] = {}
    tokens: list[TokenBody] = []
    installs: dict[str, InstallBody] = {}
    codes: dict[str, str] = {}
    tier: str | None = None


@dataclass(slots=True)
class World:
    """What is the case; ``codes`` are codes of logins, and the pixel that each was granted for."""

    apps: dict[str, str] = field(default_factory=dict)
    pixels: dict[str, PixelBody] = field(default_factory=dict)
    tokens: dict[bytes, TokenBody] = field(default_factory=dict)
    installs: dict[str, InstallBody] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    tier: str | None = None
    revoked: set[bytes] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, body: WorldBody, access: Access) -> World:
        world = cls(body.apps, body.pixels, {}, body.installs, body.codes, body.tier)
        for token in body.tokens:
            world.add(token, access)
        return world

    def add(self, token: TokenBody, access: Access) -> None:
        self.tokens[_digest(token.token)] = token
        self.refresh(access)

    def refresh(self, access: Access) -> None:
        """Let every token write to what its user may write to now."""
        for digest, token in self.tokens.items():
            if digest not in self.revoked:
                assigned = [
                    name for name, pixel in self.pixels.items() if "UPLOAD" in pixel.assigned.get(token.user, [])
                ]
                access.grant(token.token, {*token.pixels, *assigned}, self._secret_asked_of(token))

    def _secret_asked_of(self, token: TokenBody) -> str | None:
        """Our own app requires the proof; of the client's apps nobody here knows the secret."""
        return self.apps.get(token.app) if token.kind == "SYSTEM_USER" else None

    def find(self, token: str) -> TokenBody:
        found = self.tokens.get(_digest(token))
        if found is None:
            raise Refusal("bad_token")
        if _digest(token) in self.revoked:
            raise Refusal("revoked_token")
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# ---------------------------------------------------------------------------------------------- the endpoint


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was understood. ``names`` are the ids in its path."""

    world: World
    access: Access
    memory: Memory
    telling: read_back.Telling
    now: float
    token: str | None
    fields: Mapping[str, str]
    names: tuple[str, ...]

    @property
    def who(self) -> TokenBody:
        if not self.token:
            raise Refusal("no_token")
        return self.world.find(self.token)

    def wants(self, name: str) -> str:
        if not self.fields.get(name):
            raise Refusal("bad_request", f"The parameter {name} is required")
        return self.fields[name]

    def list_of(self, name: str) -> list[str]:
        try:
            return [str(value) for value in json.loads(self.wants(name))]
        except (ValueError, TypeError) as error:
            raise Refusal("bad_request", f"The parameter {name} must be an array") from error

    def app_with_secret(self) -> str:
        app = self.wants("client_id")
        if self.world.apps.get(app) != self.wants("client_secret"):
            raise Refusal("bad_request", "Error validating client secret")
        return app

    def pixel(self, name: str) -> PixelBody:
        if name not in self.world.pixels:
            raise Refusal("no_object", f"Object with ID '{name}' does not exist or cannot be loaded")
        return self.world.pixels[name]

    def mint(self, app: str, user: str, scopes: list[str], **more: Any) -> dict[str, Any]:
        expires = int(self.now) + SIXTY_DAYS if self.fields.get("set_token_expires_in_60_days") == "true" else 0
        value = "EAA" + secrets.token_hex(24)
        made = TokenBody(token=value, app=app, kind="SYSTEM_USER", user=user, scopes=scopes, expires_at=expires, **more)
        self.world.add(made, self.access)
        return {"access_token": value, "token_type": "bearer"}


class PlatformEdge:
    """Every path of Meta's that is not the events edge."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        reply = await _reply(request)
        response = Response(reply.body, reply.status, dict(reply.headers), reply.content_type)
        await response(scope, receive, send)


async def _reply(request: Request) -> Reply:
    state = request.app.state.sandbox
    body = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    fields = {**request.query_params, **body}
    method, now = fields.pop("method", request.method).lower(), state.clock.now()
    token = fields.pop("access_token", None) or bearer_token(request.headers)
    headers: dict[str, str] = {}
    try:
        version = re.fullmatch(r"v(\d{1,3})\.\d", request.path_params["version"])
        headers |= version_headers(int(version[1]) if version else -1, now, forward=state.forward)
        handler, names = _find(method, request.path_params["path"])
        state.world.calls.append(f"{method} {request.path_params['path']}")
        call = Call(state.world, state.access, state.memory, state.telling, now, token, fields, names)
        _check_proof(call)
        return answered(handler(call), headers | _usage(state.world.tier))
    except Refusal as refusal:
        return refused(refusal.error, refusal.detail, headers)


def _find(method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
    for verb, pattern, handler in _EDGES:
        if verb == method and (match := re.fullmatch(pattern, path)):
            return handler, match.groups()
    raise Refusal("unknown_version", f"Unknown path components: /{path}")


def _check_proof(call: Call) -> None:
    """A proof that is given has to be right, and a system user of our own app has to give one."""
    known = call.world.tokens.get(_digest(call.token or ""))
    secret = call.world.apps.get(known.app) if known else None
    if known is None or secret is None:
        return
    proof = call.fields.get("appsecret_proof")
    if proof is None and known.kind == "SYSTEM_USER":
        raise Refusal("no_proof")
    right = hmac.new(secret.encode(), known.token.encode(), hashlib.sha256).hexdigest()
    if proof is not None and not hmac.compare_digest(proof, right):
        raise Refusal("bad_proof")


def _usage(tier: str | None) -> dict[str, str]:
    told = {"1": [{"type": "ads_management", "call_count": 1, "ads_api_access_tier": tier}]}
    return {"X-Business-Use-Case-Usage": json.dumps(told)} if tier else {}


# ---------------------------------------------------------------------------------------------- tokens


def _debug_token(call: Call) -> dict[str, Any]:
    """Asked with the token of an app; of tokens of other apps Meta tells nothing."""
    app, _, secret = (call.token or "").partition("|")
    if not secret or call.world.apps.get(app) != secret:
        raise Refusal("bad_token")
    digest = _digest(call.wants("input_token"))
    known = call.world.tokens.get(digest)
    if known is None:
        return {"data": {"is_valid": False, "error": {"code": 190, "message": "Invalid OAuth access token"}}}
    if known.app != app:
        raise Refusal("bad_request", "The access token does not belong to this app")
    ended = 0 < known.expires_at <= call.now
    told = {
        "app_id": known.app,
        "type": known.kind,
        "user_id": known.user,
        "is_valid": digest not in call.world.revoked and not ended,
        "expires_at": known.expires_at,
        "data_access_expires_at": 0,
        "scopes": known.scopes,
        "granular_scopes": [{"scope": scope, "target_ids": ids} for scope, ids in known.granular.items()],
    }
    error = {"error": {"code": 190, "subcode": 463 if ended else 460, "message": "Error validating access token"}}
    return {"data": told if told["is_valid"] else told | error}


def _access_token(call: Call) -> dict[str, Any]:
    app = call.app_with_secret()
    if call.fields.get("grant_type") == "fb_exchange_token":
        old = call.world.find(call.wants("fb_exchange_token"))
        return call.mint(app, old.user, old.scopes, pixels=old.pixels, granular=old.granular)
    pixel = call.world.codes.pop(call.wants("code"), None)
    if pixel is None:
        raise Refusal("bad_request", "This authorization code has been used or is unknown")
    return call.mint(app, f"9{pixel}"[:15], ["ads_management", "ads_read"], pixels=[pixel])


def _revoke(call: Call) -> dict[str, Any]:
    call.app_with_secret()
    token = call.wants("revoke_token")
    call.world.find(token)
    call.world.revoked.add(_digest(token))
    call.access.revoke(token, ERRORS["revoked_token"])
    return {"success": True}


def _system_user_token(call: Call) -> dict[str, Any]:
    return call.mint(call.wants("business_app"), call.names[0], call.list_of("scope")) if call.who else {}


# ---------------------------------------------------------------------------------------------- installs


def _installs(call: Call) -> dict[str, Any]:
    _ = call.who
    install = call.world.installs.get(call.wants("fbe_external_business_id"))
    return {"data": [install.model_dump(exclude_none=True)] if install else []}


def _uninstall(call: Call) -> dict[str, Any]:
    _ = call.who
    return {"success": call.world.installs.pop(call.wants("fbe_external_business_id"), None) is not None}


def _install_token(call: Call) -> dict[str, Any]:
    """The system user that the extension made in the client's business, with EDIT on the pixel."""
    _ = call.who
    install = call.world.installs.get(call.wants("fbe_external_business_id"))
    if install is None or install.business_manager_id != call.names[0]:
        raise Refusal("no_permission", "The app is not installed for this business")
    return call.mint(call.wants("app_id"), f"8{call.names[0]}"[:15], call.list_of("scope"), pixels=[install.pixel_id])


# ---------------------------------------------------------------------------------------------- pixels


def _inventory(belongs: Callable[[PixelBody, str], bool]) -> Handler:
    def pixels(call: Call) -> dict[str, Any]:
        _ = call.who
        found = [name for name, pixel in call.world.pixels.items() if belongs(pixel, call.names[0])]
        return {"data": [{"id": name, "name": f"Pixel {name}"} for name in found]}

    return pixels


def _assigned(call: Call) -> dict[str, Any]:
    _ = call.who
    users = call.pixel(call.names[0]).assigned
    return {"data": [{"id": user, "tasks": tasks} for user, tasks in users.items()]}


def _assign(call: Call) -> dict[str, Any]:
    """Only who has a pixel in its business may assign it."""
    pixel, mine = call.pixel(call.names[0]), set(call.who.businesses)
    if not mine & {pixel.owner, *pixel.shared}:
        raise Refusal("no_permission")
    pixel.assigned[call.wants("user")] = call.list_of("tasks")
    call.world.refresh(call.access)
    return {"success": True}


def _agencies(call: Call) -> dict[str, Any]:
    _ = call.who
    return {"data": [{"id": business} for business in call.pixel(call.names[0]).shared]}


def _share(call: Call) -> dict[str, Any]:
    """The owner alone shares, and EDIT is not for everybody (meta-capi.md 8.5)."""
    pixel = call.pixel(call.names[0])
    if pixel.owner not in call.who.businesses:
        raise Refusal("no_permission")
    if not set(call.list_of("permitted_tasks")) <= {"ADVERTISE", "ANALYZE", "UPLOAD"}:
        raise Refusal("bad_request", "permitted_tasks holds a task that cannot be given")
    pixel.shared.append(call.wants("business"))
    return {"success": True}


def _unshare(call: Call) -> dict[str, Any]:
    pixel, business = call.pixel(call.names[0]), call.wants("business")
    _ = call.who
    pixel.shared = [one for one in pixel.shared if one != business]
    return {"success": True}


# ---------------------------------------------------------------------------------------------- reading back


def _may_read(call: Call, pixel: str, error: str) -> None:
    """Who may send may read, unless it is known that its token lacks ``ads_read`` (meta-capi.md 9)."""
    call.access.check(pixel, call.token, call.fields.get("appsecret_proof"))
    known = call.world.tokens.get(_digest(call.token or ""))
    if known is not None and "ads_read" not in known.scopes:
        raise Refusal(error)


def _read_list(endpoint: str, rows: Callable[[Call, str], list[dict[str, Any]]]) -> Handler:
    def pages(call: Call) -> dict[str, Any]:
        _may_read(call, call.names[0], "no_permission")
        call.telling.refuse(endpoint)
        return read_back.page_of(rows(call, call.names[0]), call.fields.get("after"), call.telling.page)

    return pages


def _stats(call: Call, pixel: str) -> list[dict[str, Any]]:
    return read_back.stats(call.memory, call.telling, pixel, call.fields, call.now)


def _uploads(call: Call, pixel: str) -> list[dict[str, Any]]:
    return read_back.uploads(call.memory, call.telling, pixel, float(call.fields.get("start_time", 0)))


def _quality(call: Call) -> dict[str, Any]:
    pixel = call.wants("dataset_id")
    if call.world.pixels and pixel not in call.world.pixels:
        raise Refusal("no_dataset")
    _may_read(call, pixel, "not_allowed")
    call.telling.refuse("dataset_quality")
    return read_back.quality(call.memory, pixel, call.wants("fields"))


def _node(call: Call) -> dict[str, Any]:
    """An app for its own token, a pixel for those that may write to it."""
    name, (app, _, secret) = call.names[0], (call.token or "").partition("|")
    if not secret or call.world.apps.get(app) != secret or app != name:
        call.access.check(name, call.token, call.fields.get("appsecret_proof"))
    return {"id": name}


def _done(call: Call) -> dict[str, Any]:
    return {"success": bool(call.who)}


Handler = Callable[[Call], dict[str, Any]]
_ID = r"(\d{5,20})"
_EDGES: tuple[tuple[Literal["get", "post", "delete"], str, Handler], ...] = (
    ("get", "debug_token", _debug_token),
    ("get", "oauth/access_token", _access_token),
    ("get", "oauth/revoke", _revoke),
    ("get", "fbe_business/fbe_installs", _installs),
    ("delete", "fbe_business/fbe_installs", _uninstall),
    ("post", f"{_ID}/access_token", _install_token),
    ("post", f"{_ID}/applications", _done),
    ("post", f"{_ID}/access_tokens", _system_user_token),
    ("get", f"{_ID}/owned_pixels", _inventory(lambda pixel, business: pixel.owner == business)),
    ("get", f"{_ID}/client_pixels", _inventory(lambda pixel, business: business in pixel.shared)),
    ("get", f"{_ID}/pending_shared_pixels", _inventory(lambda pixel, business: business in pixel.offered)),
    ("get", f"{_ID}/assigned_users", _assigned),
    ("post", f"{_ID}/assigned_users", _assign),
    ("get", f"{_ID}/agencies", _agencies),
    ("post", f"{_ID}/agencies", _share),
    ("delete", f"{_ID}/agencies", _unshare),
    ("get", "dataset_quality", _quality),
    ("get", f"{_ID}/stats", _read_list("stats", _stats)),
    ("get", f"{_ID}/da_checks", _read_list("da_checks", lambda call, _: read_back.checks(call.telling))),
    ("get", f"{_ID}/offline_event_uploads", _read_list("offline_event_uploads", _uploads)),
    ("get", _ID, _node),
)
