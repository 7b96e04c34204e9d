"""What a task needs: its upload, the services of its process, the window of its run.

Imports nothing heavy before it is asked for something: DAG files load this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from structlog.contextvars import bind_contextvars

from offline_capi.airflow_provider.dags.windows import resolve_window
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.airflow_provider.hooks.secrets import AirflowSecrets
    from offline_capi.config import Deployment, Upload
    from offline_capi.model import Window
    from offline_capi.pipeline import Services

__all__ = [
    "SCHEDULED",
    "TaskLocation",
    "bind_log_context",
    "describe_actor",
    "get_run_type",
    "get_window",
    "load_clients",
    "open_client_services",
    "open_upload",
    "refuse_unknown_conf",
    "require_clients",
]


#: Types of runs that nobody asked for: they take up open days, and log no forecast.
SCHEDULED = frozenset({"scheduled", "asset_triggered"})


class TaskLocation(NamedTuple):
    """Which upload of which configuration folder a task works for."""

    folder: str
    upload: str


def bind_log_context(**ids: str | None) -> None:
    """Add these fields to every record that the task logs from now on; Airflow clears them when the task has ended.

    ``upload``, ``upload_run_id`` (the ledger's; Airflow's own ``run_id`` stands there already) and ``client``.
    """
    bind_contextvars(**{name: value for name, value in ids.items() if value is not None})


@contextmanager
def open_upload(location: TaskLocation, run_id: str | None = None) -> Iterator[tuple[Upload, Services]]:
    """The upload and the services of this process, with secrets from Airflow's connections.

    A disk or an object store that cannot be used raises the same message as on the command line.
    """
    from offline_capi.runtime.process import set_up_process

    set_up_process()
    from offline_capi.airflow_provider.hooks.secrets import AirflowEnvironment, AirflowSecrets
    from offline_capi.config import load_one
    from offline_capi.pipeline import open_services
    from offline_capi.storage.filesystem import translate_storage_errors

    bind_log_context(upload=location.upload, upload_run_id=run_id)
    environment = AirflowEnvironment()
    deployment = load_one(location.folder, location.upload, environ=environment)
    with translate_storage_errors(), open_services(deployment, AirflowSecrets(environment)) as services:
        yield deployment.uploads[location.upload], services


@contextmanager
def open_client_services(folder: str) -> Iterator[Services]:
    """The services of this process for what is about clients and no upload, with secrets from Airflow's connections."""
    from offline_capi.runtime.process import set_up_process

    set_up_process()
    from offline_capi.pipeline import open_services
    from offline_capi.storage.filesystem import translate_storage_errors

    deployment, secrets = load_clients(folder)
    with translate_storage_errors(), open_services(deployment, secrets) as services:
        yield services


def load_clients(folder: str) -> tuple[Deployment, AirflowSecrets]:
    """The platform and its clients; raises the ``ConfigError`` of ``clients.yml`` where that is faulty."""
    from offline_capi import config
    from offline_capi.airflow_provider.hooks.secrets import AirflowEnvironment, AirflowSecrets

    environment = AirflowEnvironment()
    return config.load_clients(folder, environ=environment), AirflowSecrets(environment)


def get_window(upload: Upload, context: Mapping[str, Any]) -> Window:
    """The window of the run that ``context`` belongs to."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    interval = (start, end) if start and end else None
    run = context["dag_run"]
    # An asset, or the clock beside it, names no day: such a run covers the last one that is over, as one by hand does.
    names_no_day = getattr(upload.schedule, "assets", ()) or get_run_type(context) == "manual"
    due = run.run_after if names_no_day else None
    return resolve_window(context["params"], run.partition_key, interval, upload.window.timezone, triggered_at=due)


def refuse_unknown_conf(context: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for keys of the run's conf that its trigger form does not have.

    Airflow takes any key and uses none that no form declares: a ``dryrun`` would send everything.
    """
    known = [*context["dag"].params]
    unknown = sorted(str(key) for key in (context["dag_run"].conf or {}) if key not in known)
    if unknown:
        fields = f"It has {', '.join(known)}" if known else "This DAG has no form"
        raise UsageError(
            f"the conf of this run has what the trigger form has not: {_name_unknown(unknown, known)} {fields}. "
            f"Correct it and trigger again: nothing was read and nothing was sent."
        )


def get_run_type(context: Mapping[str, Any]) -> str:
    """``scheduled``, ``manual``, ``backfill``, …"""
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))


def describe_actor(context: Mapping[str, Any]) -> str:
    """Who started a run, for the audit log: the user who triggered it, or the run type, and the DAG run."""
    run = context["dag_run"]
    user = getattr(run, "triggering_user_name", None)
    return f"{user or get_run_type(context)} (Airflow {run.dag_id} {run.run_id})"


def require_clients(wanted: Iterable[str], services: Services) -> list[str]:
    """The wanted clients in order, each once; raises ``UsageError`` for unknown names."""
    clients = services.deployment.clients
    if unknown := sorted(set(wanted) - set(clients)):
        named = _name_unknown(unknown, clients)
        raise UsageError(f"no such client in clients.yml: {named} Nothing was read and nothing was sent.")
    return sorted(set(wanted))


def _name_unknown(names: Iterable[str], known: Iterable[str]) -> str:
    """The names with their likely spellings, as the end of a sentence."""
    from offline_capi.runtime.nearest import did_you_mean

    named = ", ".join(f'"{name}"{did_you_mean(name, known)}' for name in names)
    return named if named.endswith("?") else f"{named}."
