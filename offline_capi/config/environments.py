"""Environments: one folder, two lives. What one of them changes is laid over ``clients.yml`` before it is validated.

An environment has a ledger and a stage of its own, whatever it says: a run there must not close days of the other, nor
mark events as sent. It has pixels of its own as well, and a client without one does not send there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from offline_capi.config.client_table import is_table
from offline_capi.config.deployment import Environment
from offline_capi.config.platform import Platform
from offline_capi.config.wording import Finding, check_name, describe_errors
from offline_capi.errors import Problem
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["VARIABLE", "Overlaid", "overlay_environment"]

#: Which environment a process is for; the option ``--environment`` sets it.
VARIABLE = "OFFLINE_CAPI_ENVIRONMENT"

LEDGER_VARIABLE, STAGE_VARIABLE = "OFFLINE_CAPI_LEDGER", "OFFLINE_CAPI_STAGE"

_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!file:|:memory:)([^?]+?)(\.\w+)?(\?.*)?", re.IGNORECASE)
_PIXEL_KEYS = ("pixel_id", "dataset_id")


class Overlaid(NamedTuple):
    """The sections as the chosen environment has them; ``name`` is empty where none was chosen."""

    platform: dict[str, Any]
    clients: dict[str, Any]
    name: str = ""
    connections: Mapping[str, str] = {}


def overlay_environment(
    environments: Mapping[str, Any],
    platform: dict[str, Any],
    clients: dict[str, Any],
    environ: Mapping[str, str],
    found: list[Finding],
) -> tuple[Overlaid, list[Problem]]:
    """The sections with the environment that ``environ`` chooses laid over them. All environments are checked."""
    valid: dict[str, Environment] = {}
    for name, data in environments.items():
        faults = [*_find_faults(name, data, platform, clients)]
        faults += [] if faults else _find_shared_stores(name, data, {other: environments[other] for other in valid})
        found += faults
        if not faults:
            valid[name] = Environment.model_validate(data)
    chosen = environ.get(VARIABLE)
    if not chosen:
        return Overlaid(platform, clients), []
    if chosen not in environments:
        guess = did_you_mean(chosen, environments, otherwise=f"; it has {', '.join(environments) or 'none'}")
        message = f'there is no environment "{chosen}" in clients.yml{guess}'
        return Overlaid(platform, clients), [Problem("environment", None, VARIABLE, message)]
    if chosen not in valid:
        return Overlaid(platform, clients), []
    if valid[chosen].ledger is None and not _is_sqlite_file(environ.get(LEDGER_VARIABLE) or "sqlite:///any"):
        message = f"is no SQLite file, from which a path could be derived: give environments.{chosen}.ledger"
        return Overlaid(platform, clients), [Problem("environment", None, LEDGER_VARIABLE, message)]
    return _apply_environment(chosen, valid[chosen], environments[chosen], platform, clients, environ), []


# ---------------------------------------------------------------------------------------------- what is wrong


def _find_faults(name: str, data: Any, platform: Mapping[str, Any], clients: Mapping[str, Any]) -> Iterator[Finding]:
    here = ("environments", name)
    yield from ((here, message) for message in check_name(name))
    try:
        environment = Environment.model_validate(data)
    except ValidationError as error:
        yield from (((*here, *loc), message) for loc, message in describe_errors(error, Environment, data))
        return
    if is_table(clients):
        yield here, "needs clients that are written in this file; those of a table have one pixel each"
        return
    taken = {pixel: client for client, one in clients.items() for pixel in _list_pixels(one)}
    for client, one in environment.clients.items():
        if client not in clients:
            yield (*here, "clients", client), f'client "{client}" is not under clients{did_you_mean(client, clients)}'
        for pixel in one.pixel_id:
            if pixel.id in taken:
                yield (
                    (*here, "clients", client, "pixel_id"),
                    f'is the pixel of client "{taken[pixel.id]}" outside of this environment: events would count there',
                )
    if data.get("ledger") is not None and data["ledger"] == platform.get("ledger", _get_default("ledger")):
        yield (*here, "ledger"), "is the platform's ledger; an environment needs one of its own"
    if data.get("stage") is not None and data["stage"] == platform.get("stage", _get_default("stage")):
        yield (*here, "stage"), "is the platform's stage; an environment needs one of its own"
    if data.get("ledger") is None and not _is_sqlite_file(platform.get("ledger", _get_default("ledger"))):
        yield here, "needs a ledger: the platform's is no SQLite file, from which a path could be derived"


def _find_shared_stores(name: str, data: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[Finding]:
    """Ledgers and stages that an environment shares with another."""
    for key in ("ledger", "stage"):
        for other, its in others.items():
            if data.get(key) is not None and data[key] == its.get(key):
                yield ("environments", name, key), f"is that of the environment {other}; each needs one of its own"


def _get_default(setting: str) -> Any:
    return Platform.model_fields[setting].default


def _is_sqlite_file(ledger: object) -> bool:
    return isinstance(ledger, str) and _SQLITE_FILE.fullmatch(ledger) is not None


def _list_pixels(client: object) -> Iterator[str]:
    """The pixels of a client as it is written, valid or not."""
    data = client if isinstance(client, dict) else {}
    for value in (data.get(key) for key in _PIXEL_KEYS):
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield str(one.get("id") if isinstance(one, dict) else one)


# ---------------------------------------------------------------------------------------------- what is laid over


def _apply_environment(
    name: str,
    environment: Environment,
    data: Mapping[str, Any],
    platform: Mapping[str, Any],
    clients: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Overlaid:
    ledger = data.get("ledger") or environ.get(LEDGER_VARIABLE) or platform.get("ledger", _get_default("ledger"))
    stage = data.get("stage") or environ.get(STAGE_VARIABLE) or platform.get("stage", _get_default("stage"))
    own: dict[str, Any] = {
        "ledger": ledger if data.get("ledger") else _derive_ledger(ledger, name),
        "stage": stage if data.get("stage") else f"{str(stage).rstrip('/')}-{name}",
    }
    url = {"graph_url": data["graph_url"]} if data.get("graph_url") else {}
    if environment.dbt_manifest is not None:
        dbt = platform.get("dbt")
        own["dbt"] = {**(dbt if isinstance(dbt, dict) else {}), "manifest": environment.dbt_manifest}
    merged = {client: _overlay_client(one, data["clients"].get(client)) for client, one in clients.items()}
    return Overlaid({**platform, **url, **own}, merged, name, environment.connections)


def _derive_ledger(ledger: Any, name: str) -> Any:
    """``sqlite:///ledger.db`` → ``sqlite:///ledger.staging.db``; all else is left, and refused by ``_find_faults``."""
    match = _SQLITE_FILE.fullmatch(ledger) if isinstance(ledger, str) else None
    return f"{match[1]}{match[2]}.{name}{match[3] or ''}{match[4] or ''}" if match else ledger


def _overlay_client(base: Any, own: Mapping[str, Any] | None) -> Any:
    """A client as an environment has it; without a pixel there, it sends nothing."""
    if not isinstance(base, dict):
        return base
    if own is None:
        return {**base, "active": False}
    kept: Iterable[tuple[str, Any]] = ((key, value) for key, value in base.items() if key not in _PIXEL_KEYS)
    return {**dict(kept), **own}
