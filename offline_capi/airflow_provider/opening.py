"""What a task stands on: its upload, the services of its process, the window of its run.

Imports nothing heavy before it is asked for something: DAG files load this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from offline_capi.airflow_provider.windows import resolve_window
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.model import Window
    from offline_capi.pipeline import Services

__all__ = ["Place", "known_clients", "opened", "run_type", "window_of"]


class Place(NamedTuple):
    """Which upload of which configuration folder a task works for."""

    folder: str
    upload: str


@contextmanager
def opened(place: Place) -> Iterator[tuple[Upload, Services]]:
    """The upload and the services of this process, with secrets from Airflow's connections."""
    from offline_capi.process import set_up_process

    set_up_process()
    from offline_capi.airflow_provider.secrets import AirflowEnvironment, AirflowSecrets
    from offline_capi.config import load_one
    from offline_capi.pipeline import open_services

    environment = AirflowEnvironment()
    deployment = load_one(place.folder, place.upload, environ=environment)
    with open_services(deployment, AirflowSecrets(environment)) as services:
        yield deployment.uploads[place.upload], services


def window_of(upload: Upload, context: Mapping[str, Any]) -> Window:
    """The window of the run that ``context`` belongs to."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    interval = (start, end) if start and end else None
    return resolve_window(context["params"], context["dag_run"].partition_key, interval, upload.window.timezone)


def run_type(context: Mapping[str, Any]) -> str:
    """``scheduled``, ``manual``, ``backfill``, …"""
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))


def known_clients(wanted: Iterable[str], services: Services) -> list[str]:
    """The wanted clients in order, each once; raises ``UsageError`` for names that nobody has."""
    unknown = sorted(set(wanted) - set(services.deployment.clients))
    if unknown:
        known = ", ".join(sorted(services.deployment.clients))
        raise UsageError(f"clients not in clients.yml: {', '.join(unknown)}; known are {known}. Nothing was sent.")
    return sorted(set(wanted))
