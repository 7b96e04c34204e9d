"""Does Meta still serve the configured versions? One cheap question a version, which changes and stores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from offline_capi.clients.connection import read_refusal
from offline_capi.config import Client, Platform, SecretResolver
from offline_capi.errors import ConfigError, TemporaryError
from offline_capi.meta.graph.client import Credentials, GraphClient
from offline_capi.meta.graph.response import Response
from offline_capi.meta.versions import Family, end_of

__all__ = ["VersionLook", "look_at_versions"]

#: The version is retired; the path, which is right, is unknown to a version that Meta does not know (meta-capi.md 6.2).
_REFUSED = (2635, 2500)

Verdict = Literal["served", "other", "refused", "unclear"]


@dataclass(frozen=True, slots=True)
class VersionLook:
    """One version as Meta takes it. ``other``: it answered, as the version ``served_as``. ``ends`` by our own table."""

    version: str
    families: tuple[Family, ...]
    verdict: Verdict
    words: str
    served_as: str | None = None
    ends: date | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ends": self.ends.isoformat() if self.ends else None}


def look_at_versions(
    graph: GraphClient,
    platform: Platform,
    secrets: SecretResolver,
    clients: Iterable[Client],
    *,
    app: Credentials | None,
) -> tuple[VersionLook, ...]:
    """Ask for our app, or else for the pixel of a client, in each version; nothing where there is no token to ask with.

    Whether the token may read does not matter: a refusal of it is an answer of that version.
    """
    asker = (platform.app.id, app) if platform.app and app else _first_token(clients, secrets)
    if asker is None:
        return ()
    return tuple(_look(graph, version, families, asker) for version, families in _by_version(platform.versions).items())


def _first_token(clients: Iterable[Client], secrets: SecretResolver) -> tuple[str, Credentials] | None:
    for client in clients:
        try:
            secret = secrets.token(client.app_secret) if client.app_secret else None
            return client.pixel_id, Credentials(secrets.token(client.token), secret)
        except ConfigError:  # this client's own matter, which the look at it tells
            continue
    return None


def _by_version(versions: Mapping[Family, str]) -> dict[str, tuple[Family, ...]]:
    names = dict.fromkeys(versions.values())
    return {name: tuple(family for family, version in versions.items() if version == name) for name in names}


def _look(
    graph: GraphClient, version: str, families: tuple[Family, ...], asker: tuple[str, Credentials]
) -> VersionLook:
    path, who = asker
    ends = end_of(version, families[0]).day
    try:
        answer = graph.call(path, who, family=families[0], fields="id")
    except (TemporaryError, ConfigError) as error:
        return VersionLook(version, families, "unclear", str(error), ends=ends)
    return VersionLook(version, families, *_judged(version, answer), answer.version, ends)


def _judged(version: str, answer: Response) -> tuple[Verdict, str]:
    if answer.code in _REFUSED:
        return "refused", f"Meta refuses version {version}: {read_refusal(answer)[1]}"
    if answer.upgraded or answer.version not in (None, version):
        return "other", f"Meta answers version {version} as {answer.version or 'another'}: raise it in clients.yml"
    if answer.ok or answer.code is not None:
        return "served", f"Meta serves version {version}"
    return "unclear", read_refusal(answer)[1]
