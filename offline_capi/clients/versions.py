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

__all__ = ["VersionCheck", "check_versions"]

#: The version is retired; the path, which is right, is unknown to a version that Meta does not know (meta-capi.md 6.2).
_REFUSED_CODES = (2635, 2500)

VersionState = Literal["served", "other", "refused", "unclear"]


@dataclass(frozen=True, slots=True)
class VersionCheck:
    """How Meta serves one version. ``other``: as the version ``served_as``. ``ends`` is from our own table."""

    version: str
    families: tuple[Family, ...]
    verdict: VersionState
    words: str
    served_as: str | None = None
    ends: date | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ends": self.ends.isoformat() if self.ends else None}


def check_versions(
    graph: GraphClient,
    platform: Platform,
    secrets: SecretResolver,
    clients: Iterable[Client],
    *,
    app: Credentials | None,
) -> tuple[VersionCheck, ...]:
    """Ask for our app, or else for the pixel of a client, in each version; nothing without a token to ask with.

    Whether the token may read does not matter: a refusal of it is an answer of that version.
    """
    asker = (platform.app.id, app) if platform.app and app else _find_first_token(clients, secrets)
    if asker is None:
        return ()
    return tuple(
        _check_version(graph, version, families, asker)
        for version, families in _group_by_version(platform.versions).items()
    )


def _find_first_token(clients: Iterable[Client], secrets: SecretResolver) -> tuple[str, Credentials] | None:
    for client in clients:
        try:
            secret = secrets.token(client.app_secret) if client.app_secret else None
            return client.pixel_id, Credentials(secrets.token(client.token), secret)
        except ConfigError:  # reported by the check of this client
            continue
    return None


def _group_by_version(versions: Mapping[Family, str]) -> dict[str, tuple[Family, ...]]:
    names = dict.fromkeys(versions.values())
    return {name: tuple(family for family, version in versions.items() if version == name) for name in names}


def _check_version(
    graph: GraphClient, version: str, families: tuple[Family, ...], asker: tuple[str, Credentials]
) -> VersionCheck:
    path, who = asker
    ends = end_of(version, families[0]).day
    try:
        answer = graph.call(path, who, family=families[0], fields="id")
    except (TemporaryError, ConfigError) as error:
        return VersionCheck(version, families, "unclear", str(error), ends=ends)
    return VersionCheck(version, families, *_classify(version, answer), answer.version, ends)


def _classify(version: str, answer: Response) -> tuple[VersionState, str]:
    if answer.code in _REFUSED_CODES:
        return "refused", f"Meta refuses version {version}: {read_refusal(answer)[1]}"
    if answer.upgraded or answer.version not in (None, version):
        return "other", f"Meta answers version {version} as {answer.version or 'another'}: raise it in clients.yml"
    if answer.ok or answer.code is not None:
        return "served", f"Meta serves version {version}"
    return "unclear", read_refusal(answer)[1]
