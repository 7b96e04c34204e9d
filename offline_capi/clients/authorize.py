"""Methods to obtain a token that may send for a client (meta-capi.md 8.1 to 8.5).

Each method does all that an API can do, and is idempotent. What only a person can do is returned as ``by_hand``, and
the same command continues from there. A new token is tested against the client's pixel, then put into the store
atomically, then the one before it is revoked; a token that fails its test changes nothing.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from offline_capi.clients.connection import ClientAccess, probe_pixel, read_refusal
from offline_capi.clients.health import inspect_token, make_app_credentials
from offline_capi.clients.status import StatusBook
from offline_capi.clients.token_facts import SENDING_SCOPES
from offline_capi.config import Client, Platform, Secret, SecretResolver
from offline_capi.config.client import Method
from offline_capi.config.platform import PlatformApp
from offline_capi.config.token_store import TokenStore
from offline_capi.errors import AccessDeniedError, ConfigError, TemporaryError, UsageError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.graph.response import Response

__all__ = [
    "Authorization",
    "AuthorizationContext",
    "Prerequisite",
    "authorize",
    "check_prerequisites",
    "revoke_replaced",
    "rotate",
]

#: What the platform's own system user is given on a pixel; UPLOAD is the task of sending (meta-capi.md 8.5).
TASKS = ("ANALYZE", "UPLOAD")
AGENCY_TASKS = ("ADVERTISE", "ANALYZE", "UPLOAD")
#: What a token of ours is asked to allow: sending, and reading Meta's own counts back.
SCOPES = (*SENDING_SCOPES, "ads_read")
#: What App Review has to grant (D:set-up-conversions-api-as-a-platform; business_management: meta-capi.md 8.2).
REVIEWED_PERMISSIONS = ("ads_management", "pages_read_engagement", "ads_read", "business_management")
DIALOG_URL = "https://www.facebook.com"


@dataclass(frozen=True, slots=True)
class Authorization:
    """Progress: what was done, and what a person has to do before it can continue."""

    client: str
    method: str
    done: tuple[str, ...]
    by_hand: tuple[str, ...] = ()
    stored_as: str | None = None
    fingerprint: str | None = None

    @property
    def complete(self) -> bool:
        return self.stored_as is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "method": self.method,
            "complete": self.complete,
            "done": list(self.done),
            "by_hand": list(self.by_hand),
            "stored_as": self.stored_as,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, slots=True)
class AuthorizationContext:
    """What an authorization needs from outside. ``given`` is what a person brought: a token, or the code of a login."""

    platform: Platform
    secrets: SecretResolver
    store: TokenStore
    graph: GraphClient
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    given: Secret | None = None
    done: list[str] = field(default_factory=list)

    @property
    def app(self) -> PlatformApp:
        if self.platform.app is None:
            raise ConfigError("platform.app is missing in clients.yml: give the app's id and secret")
        return self.platform.app

    def require_app_setting(self, setting: str) -> Any:
        """A setting of the app that this method needs."""
        value = getattr(self.app, setting)
        if value is None:
            raise ConfigError(f"platform.app.{setting} is missing in clients.yml, and this way needs it")
        return value

    def make_credentials(self, token: Secret) -> Credentials:
        """Calls with a token of our own app carry the proof."""
        return Credentials(token, self.secrets.token(self.app.secret))

    @property
    def system_user(self) -> Credentials:
        """The platform's system user."""
        return self.make_credentials(self.secrets.token(self.require_app_setting("token")))

    def call(self, what: str, path: str, who: Credentials | None, method: _Verb = "get", **fields: Any) -> Response:
        """The answer to a call that has to succeed; otherwise the error says what could not be done, and why."""
        answer = self.graph.call(path, who, method=method, **fields)
        if answer.ok:
            return answer
        verdict, words = read_refusal(answer)
        kind = AccessDeniedError if verdict == "fault" else TemporaryError
        trace = f" (trace {answer.trace_id})" if answer.trace_id else ""
        raise kind(f"{what}: {words}{trace}. Nothing of the client was changed; repeating is safe.")

    def request_token(
        self, what: str, path: str, who: Credentials | None, method: _Verb = "post", **fields: Any
    ) -> Secret:
        """A call that creates a token."""
        token = self.call(what, path, who, method, **fields).data.get("access_token")
        if not isinstance(token, str) or not token:
            raise AccessDeniedError(f"{what}: Meta's answer holds no token; repeating is safe")
        return Secret(token)


_Verb = Literal["get", "post", "delete"]
#: Returns a token, or what a person has to do first.
TokenSource = Callable[[Client, AuthorizationContext], Secret | tuple[str, ...]]


def authorize(client: Client, method: Method, context: AuthorizationContext, *, revoke: bool = True) -> Authorization:
    """Obtain a token by ``method``, test it, switch to it, and revoke the one before it unless told not to.

    Raises ``AccessDeniedError`` where Meta refuses a step or the new token fails its test: the old one stays in use.
    """
    context.store.check()
    found = TOKEN_SOURCES[method](client, context)
    if isinstance(found, tuple):
        return _record(Authorization(client.name, method, tuple(context.done), found), context)
    return _replace_token(client, method, found, context, revoke=revoke)


def rotate(client: Client, context: AuthorizationContext, *, revoke: bool = True) -> Authorization:
    """Exchange the client's token for one with a new term (fb_exchange_token, meta-capi.md 8.4); no gap, as above."""
    method = client.authorized_by or "token"
    if method == "token":
        raise UsageError(
            f"{client.name}: only tokens of our own app can be exchanged (authorized_by: owned, fbe, shared or login). "
            "Let the client make a new one, and give it to `clients authorize --method token`."
        )
    context.store.check()
    token = context.request_token(
        "exchange of the token",
        "oauth/access_token",
        None,
        "get",
        grant_type="fb_exchange_token",
        client_id=context.app.id,
        client_secret=context.secrets.token(context.app.secret),
        fb_exchange_token=context.secrets.token(client.token),
        set_token_expires_in_60_days=True,
    )
    context.done.append("the token was exchanged for one with a new term")
    return _replace_token(client, method, token, context, revoke=revoke)


# ---------------------------------------------------------------------------------------------- the ways


def _authorize_owned(client: Client, context: AuthorizationContext) -> Secret | tuple[str, ...]:
    """A pixel that the platform's own business owns or manages."""
    business = context.require_app_setting("business_id")
    if not _has_pixel(context, business, client.pixel_id, "owned_pixels", "client_pixels"):
        return (
            f"Look in Business settings, Datasets, whether pixel {client.pixel_id} is in your business {business}; "
            "where it is the client's, the method is shared.",
            *RUN_AGAIN,
        )
    context.done.append(f"pixel {client.pixel_id} is in business {business}")
    return _request_own_token(client, context)


def _authorize_shared(client: Client, context: AuthorizationContext) -> Secret | tuple[str, ...]:
    """A pixel that its owner shares with the platform's business; with a token of the owner we share it ourselves."""
    business = context.require_app_setting("business_id")
    if not _has_pixel(context, business, client.pixel_id, "client_pixels") and context.given is not None:
        fields = {"business": business, "permitted_tasks": AGENCY_TASKS}
        context.call(
            "sharing of the pixel", f"{client.pixel_id}/agencies", Credentials(context.given), "post", **fields
        )
        context.done.append(f"pixel {client.pixel_id} was shared with business {business}")
    if not _has_pixel(context, business, client.pixel_id, "client_pixels"):
        return _request_sharing(client, context, business)
    context.done.append(f"pixel {client.pixel_id} is shared with business {business}")
    return _request_own_token(client, context)


def _request_sharing(client: Client, context: AuthorizationContext, business: str) -> tuple[str, ...]:
    if _has_pixel(context, business, client.pixel_id, "pending_shared_pixels"):
        return (
            f"Accept pixel {client.pixel_id} in Business settings of {business}: it was offered already.",
            *RUN_AGAIN,
        )
    return (
        f"The client opens Business settings, Data sources, Datasets, and chooses pixel {client.pixel_id}.",
        f"The client chooses Assign partners, enters business {business}, and allows Use events dataset.",
        *RUN_AGAIN,
    )


def _authorize_fbe(client: Client, context: AuthorizationContext) -> Secret | tuple[str, ...]:
    """Facebook Business Extension: a system user in the client's own business (meta-capi.md 8.3)."""
    ours = client.external_business_id
    if ours is None:
        raise ConfigError(f"clients.{client.name}.external_business_id is missing in clients.yml: FBE needs it")
    if context.given is None:
        return (
            "The client runs the Facebook Business Extension flow in your own screens, to its end.",
            "Keep the user access token that the flow returns; an existing user logs in again first.",
            "Give the token with --from env:NAME, --from file:PATH or, from standard input, --from -.",
            *RUN_AGAIN,
        )
    user = context.make_credentials(context.given)
    installs = context.call(
        "look-up of the install", "fbe_business/fbe_installs", user, fbe_external_business_id=ours
    ).rows
    if not installs or not installs[0].get("business_manager_id"):
        return (
            "The client left the Facebook Business Extension flow half way: let it run the flow to its end.",
            *RUN_AGAIN,
        )
    _check_pixel(client, installs[0].get("pixel_id"))
    context.done.append("the client has installed Facebook Business Extension")
    token = context.request_token(
        "token of the client's system user",
        f"{installs[0]['business_manager_id']}/access_token",
        user,
        app_id=context.app.id,
        scope=SCOPES,
        fbe_external_business_id=ours,
    )
    context.done.append("Meta gave the token of the system user in the client's business")
    return token


def _check_pixel(client: Client, installed: object) -> None:
    if str(installed) != client.pixel_id:
        raise AccessDeniedError(
            f"the client installed another pixel than {client.pixel_id} of clients.yml. Nothing was changed: correct "
            "pixel_id there, or let the client run the flow again with the right pixel."
        )


def _authorize_token(client: Client, context: AuthorizationContext) -> Secret | tuple[str, ...]:
    """A token that the client generates and hands over."""
    if context.given is not None:
        return context.given
    return (
        f"The client opens Events Manager, chooses pixel {client.pixel_id}, and there Settings, Conversions API.",
        "The client chooses Generate access token; Meta shows it once and does not keep it.",
        "The client hands it over by a safe way: not by e-mail, and never in a ticket.",
        "Give it with --from env:NAME, --from file:PATH or, from standard input, --from -.",
        *RUN_AGAIN,
    )


def _authorize_login(client: Client, context: AuthorizationContext) -> Secret | tuple[str, ...]:
    """Facebook Login for Business: the client grants in a dialog, whose code becomes a token."""
    config, place = context.require_app_setting("login_config_id"), context.require_app_setting("redirect_uri")
    if context.given is None:
        asked = {
            "client_id": context.app.id,
            "config_id": config,
            "redirect_uri": place,
            "response_type": "code",
            "override_default_response_type": "true",
            "state": randomness.token_urlsafe(16),
        }
        return (
            f"The client opens {DIALOG_URL}/{context.platform.versions['management']}/dialog/oauth?{urlencode(asked)}",
            f"The client grants access to pixel {client.pixel_id}, and returns to {place} with state and code.",
            "Look whether state is the one above; then give code with --from env:NAME, file:PATH or -, within minutes.",
            *RUN_AGAIN,
        )
    token = context.request_token(
        "exchange of the login's code",
        "oauth/access_token",
        None,
        "get",
        client_id=context.app.id,
        client_secret=context.secrets.token(context.app.secret),
        redirect_uri=place,
        code=context.given,
    )
    context.done.append("the login's code was exchanged for a token")
    return token


RUN_AGAIN = ("Then run this command again: it goes on from there.",)
TOKEN_SOURCES: Mapping[Method, TokenSource] = {
    "owned": _authorize_owned,
    "fbe": _authorize_fbe,
    "token": _authorize_token,
    "shared": _authorize_shared,
    "login": _authorize_login,
}


# ---------------------------------------------------------------------------------------------- our own system user


def _has_pixel(context: AuthorizationContext, business: str, pixel: str, *edges: str) -> bool:
    """Whether an inventory of the business has the pixel."""
    rows = (
        row
        for edge in edges
        for row in context.call(f"list of {edge}", f"{business}/{edge}", context.system_user, limit=5000).rows
    )
    return any(str(row.get("id")) == pixel for row in rows)


def _request_own_token(client: Client, context: AuthorizationContext) -> Secret:
    """Let the platform's system user send to the pixel, and make a token of it for this client alone."""
    user, business = context.require_app_setting("system_user_id"), context.require_app_setting("business_id")
    if not _is_assigned(context, client.pixel_id, user, business):
        fields = {"user": user, "tasks": TASKS}
        context.call(
            "assignment of the pixel", f"{client.pixel_id}/assigned_users", context.system_user, "post", **fields
        )
        context.done.append(f"system user {user} may now send to pixel {client.pixel_id}")
    context.call(
        "installation of the app", f"{user}/applications", context.system_user, "post", business_app=context.app.id
    )
    token = context.request_token(
        "token of the system user",
        f"{user}/access_tokens",
        context.system_user,
        business_app=context.app.id,
        scope=SCOPES,
        set_token_expires_in_60_days=True,
    )
    context.done.append(f"Meta gave a token of system user {user}")
    return token


def _is_assigned(context: AuthorizationContext, pixel: str, user: str, business: str) -> bool:
    rows = context.call(
        "list of assigned users", f"{pixel}/assigned_users", context.system_user, business=business
    ).rows
    return any(str(row.get("id")) == user and "UPLOAD" in (row.get("tasks") or ()) for row in rows)


# ---------------------------------------------------------------------------------------------- test, switch, revoke


def _replace_token(
    client: Client, method: Method, token: Secret, context: AuthorizationContext, *, revoke: bool
) -> Authorization:
    ours = client.app_secret or (context.platform.app.secret if context.platform.app and method != "token" else None)
    credentials = Credentials(token, context.secrets.token(ours) if ours else None)
    access = ClientAccess(credentials, client.partner_agent or context.platform.partner_agent)
    _test_token(client, access, context)
    name = client.token.store or client.name
    context.store.put(name, token)
    context.done.append(f'the token is now "{name}" in the store, and is sent with from now on')
    by_hand = _list_config_changes(client, name, method)
    if revoke:
        by_hand += revoke_replaced(name, context)
    found = Authorization(client.name, method, tuple(context.done), by_hand, name, credentials.fingerprint)
    return _record(found, context)


def _list_config_changes(client: Client, name: str, method: Method) -> tuple[str, ...]:
    """What clients.yml has to say of this, where it does not yet."""
    lines = []
    if client.authorized_by != method:
        lines.append(f"Write authorized_by: {method} for {client.name} in clients.yml.")
    if client.token.store != name:
        lines.append(f"Write token: {{store: {name}}} there, in place of {client.token}; then revoke the token there.")
    return tuple(lines)


def _test_token(client: Client, access: ClientAccess, context: AuthorizationContext) -> None:
    """Raise unless the token is alive, may send, and reaches every pixel of the client."""
    facts = inspect_token(
        context.graph, make_app_credentials(context.platform, context.secrets), access.credentials.token
    )
    lacking = facts.list_missing_scopes() if facts and facts.valid else ()
    if lacking:
        raise AccessDeniedError(
            f"{client.name}: the new token lacks {', '.join(lacking)}. Nothing was changed: let the client grant it."
        )
    for pixel in client.pixels:
        tested = probe_pixel(context.graph, pixel, access, now=context.clock())
        if tested.verdict != "good":
            kind = AccessDeniedError if tested.verdict == "fault" else TemporaryError
            raise kind(
                f"{client.name}: the new token fails its test at pixel {pixel}. {tested.words}. Nothing was changed."
            )
        context.done.append(f"the token was tested at pixel {pixel}: {tested.words}")


def revoke_replaced(name: str, context: AuthorizationContext) -> tuple[str, ...]:
    """Revoke the tokens that ``name`` had before; what is left to a person where Meta refuses."""
    left = []
    for old in context.store.replaced(name):
        try:
            _revoke(name, old, context)
        except (AccessDeniedError, TemporaryError) as error:
            left.append(f"A token before it is still valid: {error} The next rotation tries again.")
        else:
            context.store.forget_replaced(name, old)
            context.done.append("the old token was revoked")
    return tuple(left)


def _revoke(name: str, old: Secret, context: AuthorizationContext) -> None:
    if context.platform.app is None:
        raise AccessDeniedError("without platform.app in clients.yml, only the business that made it can revoke it.")
    facts = inspect_token(context.graph, make_app_credentials(context.platform, context.secrets), old)
    if facts and not facts.valid:
        return  # it has ended by itself, or somebody was faster
    who, secret = context.make_credentials(context.store.token(name)), context.secrets.token(context.app.secret)
    context.call("revocation", "oauth/revoke", who, client_id=context.app.id, client_secret=secret, revoke_token=old)


def _record(found: Authorization, context: AuthorizationContext) -> Authorization:
    """Store the progress in the client's status."""
    book = StatusBook(context.platform.stage)
    state = "complete" if found.complete else "waiting"
    kept = {"method": found.method, "state": state, "at": context.clock().isoformat(timespec="seconds")}
    book.write(replace(book.read(found.client), authorization=kept))
    return found


# ---------------------------------------------------------------------------------------------- prerequisites


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """One line of the checklist (meta-capi.md 8.2). ``by hand``: no API answers it."""

    name: str
    state: Literal["met", "missing", "by hand"]
    words: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "state": self.state, "words": self.words}


def check_prerequisites(context: AuthorizationContext) -> list[Prerequisite]:
    """What a platform needs before it may send for others, looked up where an API answers it."""
    agent = context.platform.partner_agent
    return [
        *_check_app(context),
        Prerequisite("partner_agent", "met", agent)
        if agent
        else Prerequisite("partner_agent", "missing", "give platform.partner_agent, as agreed with Meta"),
        Prerequisite(
            "notice and consent", "by hand", "users are told and have agreed (Business Tools Terms, section 3)"
        ),
        Prerequisite("contact at Meta", "by hand", "has agreed partner_agent, and for fbe manage_business_extension"),
    ]


def _check_app(context: AuthorizationContext) -> list[Prerequisite]:
    if context.platform.app is None or context.platform.app.token is None:
        return [Prerequisite("app", "missing", "give platform.app with id, secret and token in clients.yml")]
    facts = inspect_token(
        context.graph, make_app_credentials(context.platform, context.secrets), context.system_user.token
    )
    if facts is None or not facts.valid or facts.app_id != context.app.id:
        return [Prerequisite("app", "missing", "platform.app.token is no valid token of platform.app.id; renew it")]
    permissions = [
        Prerequisite(scope, "met", "granted to the platform's token")
        if scope in facts.scopes
        else Prerequisite(scope, "missing", "request it in App Review, and grant it to the platform's system user")
        for scope in REVIEWED_PERMISSIONS
    ]
    return [
        Prerequisite("app", "met", f"the platform's token is one of app {context.app.id}"),
        *permissions,
        _check_tier(context),
    ]


def _check_tier(context: AuthorizationContext) -> Prerequisite:
    """Usage headers have it, when Meta sends them (meta-capi.md 5.5; tiers were renamed in May 2026)."""
    name = "Marketing API Access Tier"
    tier = None
    if context.app.business_id:
        tier = context.call("list of pixels", f"{context.app.business_id}/owned_pixels", context.system_user).tier
    if tier is None:
        return Prerequisite(name, "by hand", "has to be Full; look at App Review, Permissions and features")
    full = tier in ("standard_access", "full_access")  # the header's words are older than the tiers' new names
    return Prerequisite(name, "met" if full else "missing", f"Meta tells {tier}; Full is needed for many clients")
