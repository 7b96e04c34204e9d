"""The ways to obtain a token that may send for a client (meta-capi.md 8.1 to 8.5).

Each way does all that an API can do, and is safe to repeat: what is done already is found done. What only a person can
do comes back as ``by_hand``, and the same command goes on from there. A token that was obtained is tested against the
client's pixel, then put into the store at one stroke, then the one before it is revoked; a token that fails its test
changes nothing.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from offline_capi.clients.connection import ClientAccess, probe_pixel, read_refusal
from offline_capi.clients.health import app_credentials, inspect_token
from offline_capi.clients.status import StatusBook
from offline_capi.clients.token_facts import SENDING_SCOPES
from offline_capi.config import Client, Platform, Secret, SecretResolver
from offline_capi.config.settings import Method, PlatformApp
from offline_capi.config.token_store import TokenStore
from offline_capi.errors import AccessDeniedError, ConfigError, TemporaryError, UsageError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.graph.response import Response

__all__ = ["Authorisation", "Desk", "Prerequisite", "authorise", "prerequisites", "revoke_replaced", "rotate"]

#: What the platform's own system user is given on a pixel; UPLOAD is the task of sending (meta-capi.md 8.5).
TASKS = ("ANALYZE", "UPLOAD")
AGENCY_TASKS = ("ADVERTISE", "ANALYZE", "UPLOAD")
#: What a token of ours is asked to allow: sending, and reading Meta's own counts back.
SCOPES = (*SENDING_SCOPES, "ads_read")
#: What App Review has to grant (D:set-up-conversions-api-as-a-platform; business_management: meta-capi.md 8.2).
REVIEWED = ("ads_management", "pages_read_engagement", "ads_read", "business_management")
DIALOG = "https://www.facebook.com"


@dataclass(frozen=True, slots=True)
class Authorisation:
    """How far it came: what was done, and what a person has to do before it can go on."""

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
class Desk:
    """What authorising needs from outside. ``given`` is what a person brought: a token, or the code of a login."""

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

    def of_app(self, setting: str) -> Any:
        """A setting of the app that this way cannot do without."""
        value = getattr(self.app, setting)
        if value is None:
            raise ConfigError(f"platform.app.{setting} is missing in clients.yml, and this way needs it")
        return value

    def credentials(self, token: Secret) -> Credentials:
        """Calls with a token of our own app carry the proof."""
        return Credentials(token, self.secrets.token(self.app.secret))

    @property
    def own(self) -> Credentials:
        """The platform's system user."""
        return self.credentials(self.secrets.token(self.of_app("token")))

    def call(self, what: str, path: str, who: Credentials | None, method: _Verb = "get", **fields: Any) -> Response:
        """The answer to a call that has to succeed; otherwise the error says what could not be done, and why."""
        answer = self.graph.call(path, who, method=method, **fields)
        if answer.ok:
            return answer
        verdict, words = read_refusal(answer)
        kind = AccessDeniedError if verdict == "fault" else TemporaryError
        trace = f" (trace {answer.trace_id})" if answer.trace_id else ""
        raise kind(f"{what}: {words}{trace}. Nothing of the client was changed; repeating is safe.")

    def minted(self, what: str, path: str, who: Credentials | None, method: _Verb = "post", **fields: Any) -> Secret:
        """The token that a call makes."""
        token = self.call(what, path, who, method, **fields).data.get("access_token")
        if not isinstance(token, str) or not token:
            raise AccessDeniedError(f"{what}: Meta's answer holds no token; repeating is safe")
        return Secret(token)


_Verb = Literal["get", "post", "delete"]
#: A way leads to a token, or to what a person has to do first.
Way = Callable[[Client, Desk], Secret | tuple[str, ...]]


def authorise(client: Client, method: Method, desk: Desk, *, revoke: bool = True) -> Authorisation:
    """Obtain a token by ``method``, test it, switch to it, and revoke the one before it unless told not to.

    Raises ``AccessDeniedError`` where Meta refuses a step or the new token fails its test: the old one stays in use.
    """
    desk.store.check()
    found = WAYS[method](client, desk)
    if isinstance(found, tuple):
        return _remembered(Authorisation(client.name, method, tuple(desk.done), found), desk)
    return _adopt(client, method, found, desk, revoke=revoke)


def rotate(client: Client, desk: Desk, *, revoke: bool = True) -> Authorisation:
    """Exchange the client's token for one with a new term (fb_exchange_token, meta-capi.md 8.4); no gap, as above."""
    method = client.authorized_by or "token"
    if method == "token":
        raise UsageError(
            f"{client.name}: only tokens of our own app can be exchanged (authorized_by: owned, fbe, shared or login). "
            "Let the client make a new one, and give it to `clients authorize --method token`."
        )
    desk.store.check()
    token = desk.minted(
        "exchange of the token",
        "oauth/access_token",
        None,
        "get",
        grant_type="fb_exchange_token",
        client_id=desk.app.id,
        client_secret=desk.secrets.token(desk.app.secret),
        fb_exchange_token=desk.secrets.token(client.token),
        set_token_expires_in_60_days=True,
    )
    desk.done.append("the token was exchanged for one with a new term")
    return _adopt(client, method, token, desk, revoke=revoke)


# ---------------------------------------------------------------------------------------------- the ways


def _owned(client: Client, desk: Desk) -> Secret | tuple[str, ...]:
    """A pixel that the platform's own business owns or manages."""
    business = desk.of_app("business_id")
    if not _holds(desk, business, client.pixel_id, "owned_pixels", "client_pixels"):
        return (
            f"Look in Business settings, Datasets, whether pixel {client.pixel_id} is in your business {business}; "
            "where it is the client's, the method is shared.",
            *AGAIN,
        )
    desk.done.append(f"pixel {client.pixel_id} is in business {business}")
    return _token_of_own_user(client, desk)


def _shared(client: Client, desk: Desk) -> Secret | tuple[str, ...]:
    """A pixel that its owner shares with the platform's business; with a token of the owner we share it ourselves."""
    business = desk.of_app("business_id")
    if not _holds(desk, business, client.pixel_id, "client_pixels") and desk.given is not None:
        fields = {"business": business, "permitted_tasks": AGENCY_TASKS}
        desk.call("sharing of the pixel", f"{client.pixel_id}/agencies", Credentials(desk.given), "post", **fields)
        desk.done.append(f"pixel {client.pixel_id} was shared with business {business}")
    if not _holds(desk, business, client.pixel_id, "client_pixels"):
        return _to_be_shared(client, desk, business)
    desk.done.append(f"pixel {client.pixel_id} is shared with business {business}")
    return _token_of_own_user(client, desk)


def _to_be_shared(client: Client, desk: Desk, business: str) -> tuple[str, ...]:
    if _holds(desk, business, client.pixel_id, "pending_shared_pixels"):
        return (f"Accept pixel {client.pixel_id} in Business settings of {business}: it was offered already.", *AGAIN)
    return (
        f"The client opens Business settings, Data sources, Datasets, and chooses pixel {client.pixel_id}.",
        f"The client chooses Assign partners, enters business {business}, and allows Use events dataset.",
        *AGAIN,
    )


def _fbe(client: Client, desk: Desk) -> Secret | tuple[str, ...]:
    """Facebook Business Extension: a system user in the client's own business (meta-capi.md 8.3)."""
    ours = client.external_business_id
    if ours is None:
        raise ConfigError(f"clients.{client.name}.external_business_id is missing in clients.yml: FBE needs it")
    if desk.given is None:
        return (
            "The client runs the Facebook Business Extension flow in your own screens, to its end.",
            "Keep the user access token that the flow returns; an existing user logs in again first.",
            "Give the token with --from env:NAME, --from file:PATH or, from standard input, --from -.",
            *AGAIN,
        )
    user = desk.credentials(desk.given)
    installs = desk.call(
        "look-up of the install", "fbe_business/fbe_installs", user, fbe_external_business_id=ours
    ).rows
    if not installs or not installs[0].get("business_manager_id"):
        return (
            "The client left the Facebook Business Extension flow half way: let it run the flow to its end.",
            *AGAIN,
        )
    _same_pixel(client, installs[0].get("pixel_id"))
    desk.done.append("the client has installed Facebook Business Extension")
    token = desk.minted(
        "token of the client's system user",
        f"{installs[0]['business_manager_id']}/access_token",
        user,
        app_id=desk.app.id,
        scope=SCOPES,
        fbe_external_business_id=ours,
    )
    desk.done.append("Meta gave the token of the system user in the client's business")
    return token


def _same_pixel(client: Client, installed: object) -> None:
    if str(installed) != client.pixel_id:
        raise AccessDeniedError(
            f"the client installed another pixel than {client.pixel_id} of clients.yml. Nothing was changed: correct "
            "pixel_id there, or let the client run the flow again with the right pixel."
        )


def _token(client: Client, desk: Desk) -> Secret | tuple[str, ...]:
    """A token that the client generates and hands over."""
    if desk.given is not None:
        return desk.given
    return (
        f"The client opens Events Manager, chooses pixel {client.pixel_id}, and there Settings, Conversions API.",
        "The client chooses Generate access token; Meta shows it once and does not keep it.",
        "The client hands it over by a safe way: not by e-mail, and never in a ticket.",
        "Give it with --from env:NAME, --from file:PATH or, from standard input, --from -.",
        *AGAIN,
    )


def _login(client: Client, desk: Desk) -> Secret | tuple[str, ...]:
    """Facebook Login for Business: the client grants in a dialog, whose code becomes a token."""
    config, place = desk.of_app("login_config_id"), desk.of_app("redirect_uri")
    if desk.given is None:
        asked = {
            "client_id": desk.app.id,
            "config_id": config,
            "redirect_uri": place,
            "response_type": "code",
            "override_default_response_type": "true",
            "state": randomness.token_urlsafe(16),
        }
        return (
            f"The client opens {DIALOG}/{desk.platform.versions['management']}/dialog/oauth?{urlencode(asked)}",
            f"The client grants access to pixel {client.pixel_id}, and returns to {place} with state and code.",
            "Look whether state is the one above; then give code with --from env:NAME, file:PATH or -, within minutes.",
            *AGAIN,
        )
    token = desk.minted(
        "exchange of the login's code",
        "oauth/access_token",
        None,
        "get",
        client_id=desk.app.id,
        client_secret=desk.secrets.token(desk.app.secret),
        redirect_uri=place,
        code=desk.given,
    )
    desk.done.append("the login's code was exchanged for a token")
    return token


AGAIN = ("Then run this command again: it goes on from there.",)
WAYS: Mapping[Method, Way] = {"owned": _owned, "fbe": _fbe, "token": _token, "shared": _shared, "login": _login}


# ---------------------------------------------------------------------------------------------- our own system user


def _holds(desk: Desk, business: str, pixel: str, *edges: str) -> bool:
    """Whether an inventory of the business has the pixel."""
    rows = (
        row for edge in edges for row in desk.call(f"list of {edge}", f"{business}/{edge}", desk.own, limit=5000).rows
    )
    return any(str(row.get("id")) == pixel for row in rows)


def _token_of_own_user(client: Client, desk: Desk) -> Secret:
    """Let the platform's system user send to the pixel, and make a token of it for this client alone."""
    user, business = desk.of_app("system_user_id"), desk.of_app("business_id")
    if not _is_assigned(desk, client.pixel_id, user, business):
        fields = {"user": user, "tasks": TASKS}
        desk.call("assignment of the pixel", f"{client.pixel_id}/assigned_users", desk.own, "post", **fields)
        desk.done.append(f"system user {user} may now send to pixel {client.pixel_id}")
    desk.call("installation of the app", f"{user}/applications", desk.own, "post", business_app=desk.app.id)
    token = desk.minted(
        "token of the system user",
        f"{user}/access_tokens",
        desk.own,
        business_app=desk.app.id,
        scope=SCOPES,
        set_token_expires_in_60_days=True,
    )
    desk.done.append(f"Meta gave a token of system user {user}")
    return token


def _is_assigned(desk: Desk, pixel: str, user: str, business: str) -> bool:
    rows = desk.call("list of assigned users", f"{pixel}/assigned_users", desk.own, business=business).rows
    return any(str(row.get("id")) == user and "UPLOAD" in (row.get("tasks") or ()) for row in rows)


# ---------------------------------------------------------------------------------------------- test, switch, revoke


def _adopt(client: Client, method: Method, token: Secret, desk: Desk, *, revoke: bool) -> Authorisation:
    ours = client.app_secret or (desk.platform.app.secret if desk.platform.app and method != "token" else None)
    credentials = Credentials(token, desk.secrets.token(ours) if ours else None)
    access = ClientAccess(credentials, client.partner_agent or desk.platform.partner_agent)
    _prove(client, access, desk)
    name = client.token.store or client.name
    desk.store.put(name, token)
    desk.done.append(f'the token is now "{name}" in the store, and is sent with from now on')
    by_hand = _to_write(client, name, method)
    if revoke:
        by_hand += revoke_replaced(name, desk)
    found = Authorisation(client.name, method, tuple(desk.done), by_hand, name, credentials.fingerprint)
    return _remembered(found, desk)


def _to_write(client: Client, name: str, method: Method) -> tuple[str, ...]:
    """What clients.yml has to say of this, where it does not yet."""
    lines = []
    if client.authorized_by != method:
        lines.append(f"Write authorized_by: {method} for {client.name} in clients.yml.")
    if client.token.store != name:
        lines.append(f"Write token: {{store: {name}}} there, in place of {client.token}; then revoke the token there.")
    return tuple(lines)


def _prove(client: Client, access: ClientAccess, desk: Desk) -> None:
    """Raise unless the token is alive, may send, and reaches every pixel of the client."""
    facts = inspect_token(desk.graph, app_credentials(desk.platform, desk.secrets), access.credentials.token)
    lacking = facts.missing() if facts and facts.valid else ()
    if lacking:
        raise AccessDeniedError(
            f"{client.name}: the new token lacks {', '.join(lacking)}. Nothing was changed: let the client grant it."
        )
    for pixel in client.pixels:
        tested = probe_pixel(desk.graph, pixel, access, now=desk.clock())
        if tested.verdict != "good":
            kind = AccessDeniedError if tested.verdict == "fault" else TemporaryError
            raise kind(
                f"{client.name}: the new token fails its test at pixel {pixel}. {tested.words}. Nothing was changed."
            )
        desk.done.append(f"the token was tested at pixel {pixel}: {tested.words}")


def revoke_replaced(name: str, desk: Desk) -> tuple[str, ...]:
    """Revoke the tokens that ``name`` had before; what is left to a person where Meta refuses."""
    left = []
    for old in desk.store.replaced(name):
        try:
            _revoke(name, old, desk)
        except (AccessDeniedError, TemporaryError) as error:
            left.append(f"A token before it is still valid: {error} The next rotation tries again.")
        else:
            desk.store.forget_replaced(name, old)
            desk.done.append("the old token was revoked")
    return tuple(left)


def _revoke(name: str, old: Secret, desk: Desk) -> None:
    if desk.platform.app is None:
        raise AccessDeniedError("without platform.app in clients.yml, only the business that made it can revoke it.")
    facts = inspect_token(desk.graph, app_credentials(desk.platform, desk.secrets), old)
    if facts and not facts.valid:
        return  # it has ended by itself, or somebody was faster
    who, secret = desk.credentials(desk.store.token(name)), desk.secrets.token(desk.app.secret)
    desk.call("revocation", "oauth/revoke", who, client_id=desk.app.id, client_secret=secret, revoke_token=old)


def _remembered(found: Authorisation, desk: Desk) -> Authorisation:
    """Keep in the client's status how far its authorisation came."""
    book = StatusBook(desk.platform.stage)
    state = "complete" if found.complete else "waiting"
    kept = {"method": found.method, "state": state, "at": desk.clock().isoformat(timespec="seconds")}
    book.write(replace(book.read(found.client), authorization=kept))
    return found


# ---------------------------------------------------------------------------------------------- prerequisites


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """One line of the checklist (meta-capi.md 8.2). ``by hand``: no API tells."""

    name: str
    state: Literal["met", "missing", "by hand"]
    words: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "state": self.state, "words": self.words}


def prerequisites(desk: Desk) -> list[Prerequisite]:
    """What a platform needs before it may send for others, looked up as far as the API tells."""
    agent = desk.platform.partner_agent
    return [
        *_of_app(desk),
        Prerequisite("partner_agent", "met", agent)
        if agent
        else Prerequisite("partner_agent", "missing", "give platform.partner_agent, as agreed with Meta"),
        Prerequisite(
            "notice and consent", "by hand", "users are told and have agreed (Business Tools Terms, section 3)"
        ),
        Prerequisite("contact at Meta", "by hand", "has agreed partner_agent, and for fbe manage_business_extension"),
    ]


def _of_app(desk: Desk) -> list[Prerequisite]:
    if desk.platform.app is None or desk.platform.app.token is None:
        return [Prerequisite("app", "missing", "give platform.app with id, secret and token in clients.yml")]
    facts = inspect_token(desk.graph, app_credentials(desk.platform, desk.secrets), desk.own.token)
    if facts is None or not facts.valid or facts.app_id != desk.app.id:
        return [Prerequisite("app", "missing", "platform.app.token is no valid token of platform.app.id; renew it")]
    permissions = [
        Prerequisite(scope, "met", "granted to the platform's token")
        if scope in facts.scopes
        else Prerequisite(scope, "missing", "request it in App Review, and grant it to the platform's system user")
        for scope in REVIEWED
    ]
    return [Prerequisite("app", "met", f"the platform's token is one of app {desk.app.id}"), *permissions, _tier(desk)]


def _tier(desk: Desk) -> Prerequisite:
    """Usage headers tell it, when Meta sends them (meta-capi.md 5.5; tiers were renamed in May 2026)."""
    name = "Marketing API Access Tier"
    tier = None
    if desk.app.business_id:
        tier = desk.call("list of pixels", f"{desk.app.business_id}/owned_pixels", desk.own).tier
    if tier is None:
        return Prerequisite(name, "by hand", "has to be Full; look at App Review, Permissions and features")
    full = tier in ("standard_access", "full_access")  # the header's words are older than the tiers' new names
    return Prerequisite(name, "met" if full else "missing", f"Meta tells {tier}; Full is needed for many clients")
