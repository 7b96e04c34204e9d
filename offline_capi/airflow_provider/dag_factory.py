"""One DAG an upload, from its YAML file.

Two DAG files use this: one makes the DAGs, and a broken YAML becomes a DAG of its name whose only task fails with the
problems, so that the night goes red instead of missing. The other raises all problems as one import error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule, get_parsing_context, task

from offline_capi.airflow_provider import tasks
from offline_capi.airflow_provider.describe import describe_upload
from offline_capi.airflow_provider.retries import upload_retry_policy
from offline_capi.airflow_provider.timetable import DailyPartitionTimetable, runs_daily
from offline_capi.config import Deployment, Upload, load_each
from offline_capi.errors import ConfigError, Problem

__all__ = ["PREFIX", "build_dag", "check_uploads", "dag_id_of", "upload_dags"]

PREFIX = "offline_capi__"
CLIENTS_FILE = "clients.yml"
#: Before the first partition anybody may backfill; with ``catchup=False`` it starts nothing by itself.
_START = datetime(2020, 1, 1, tzinfo=UTC)
_DEFAULTS: Mapping[str, Any] = {
    "owner": "offline_capi",
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}


def dag_id_of(upload: str) -> str:
    """Airflow's id of an upload's DAG; characters that Airflow refuses become underscores."""
    return PREFIX + re.sub(r"[^\w.-]", "_", upload)


def upload_dags(folder: str | Path) -> dict[str, DAG]:
    """The DAGs of a configuration folder by their id; for a DAG file: ``globals().update(upload_dags(folder))``.

    When Airflow is about to run a task of one DAG, only that DAG is built.
    """
    deployment, broken = _loaded(Path(folder))
    wanted = get_parsing_context().dag_id
    names = (name for name in sorted({*deployment.uploads, *broken}) if wanted in (None, dag_id_of(name)))
    return {
        dag_id_of(name): _broken_dag(name, broken[name]) if name in broken else build_dag(deployment, name)
        for name in names
    }


def check_uploads(folder: str | Path) -> None:
    """Raise all problems of a configuration folder as one ``ConfigError``; Airflow shows it as an import error."""
    _, broken = load_each(folder)
    deployment, unscheduled = _loaded(Path(folder))
    problems = list(dict.fromkeys(p for error in {**unscheduled, **broken}.values() for p in error.problems))
    if problems:
        raise ConfigError(f"{len(problems)} problems in {deployment.folder}", problems)


def build_dag(deployment: Deployment, name: str) -> DAG:
    """The DAG of one good upload: plan, prepare, upload (one task a client), reconcile, purge."""
    upload = deployment.uploads[name]
    with DAG(
        dag_id_of(name),
        description=upload.description or f"Offline conversions: {name}",
        doc_md=describe_upload(upload),
        schedule=_schedule(upload),
        start_date=_START,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        default_args={**_DEFAULTS, "retry_policy": upload_retry_policy()},
        params=_form(deployment, upload),
        tags=["offline-capi", *([str(upload.client.constant)] if upload.client.constant else [])],
    ) as dag:
        _chain_tasks({"folder": str(deployment.folder.resolve()), "upload": name})
    return dag


def _chain_tasks(place: Mapping[str, str]) -> None:
    # Airflow's decorators keep a function's types, but what they return is a promise of its value.
    manifest: Any = task(task_id="plan")(tasks.plan)(**place)
    units: Any = task(task_id="prepare")(tasks.prepare)(**place, manifest=manifest)
    send = task(task_id="upload", map_index_template="{{ client }}")(tasks.send_client)
    sent = send.partial(**place).expand(unit=units)
    close = task(task_id="reconcile", trigger_rule=TriggerRule.ALL_DONE)(tasks.reconcile)
    closed = close(**place, manifest=manifest)
    sent >> closed >> task(task_id="purge")(tasks.purge)(**place, manifest=manifest)


def _schedule(upload: Upload) -> DailyPartitionTimetable | None:
    if upload.schedule is None:
        return None
    return DailyPartitionTimetable(upload.schedule, timezone=upload.window.timezone)


def _form(deployment: Deployment, upload: Upload) -> dict[str, Param]:
    """The trigger form; all its fields empty is what a scheduled run has."""
    day: dict[str, Any] = {"type": ["null", "string"], "format": "date", "section": "Window"}
    zone = upload.window.timezone
    return {
        "since": Param(None, title="Since", description_md=f"First day, in {zone}. Empty: the partition's day.", **day),
        "until": Param(None, title="Until", description_md="First day **not** included. Empty: one day.", **day),
        "clients": Param(
            [],
            type="array",
            examples=_client_names(deployment, upload),
            title="Clients",
            description_md="Only rows of these clients. Empty: all.",
            section="What to do",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Show in the plan task's log what would go; send and record nothing.",
            section="What to do",
        ),
    }


def _client_names(deployment: Deployment, upload: Upload) -> list[str]:
    """The upload's one client, or all where a column tells them apart."""
    constant = upload.client.constant
    return sorted(deployment.clients) if constant is None else [str(constant)]


# ---------------------------------------------------------------------------------------------- broken files


def _loaded(folder: Path) -> tuple[Deployment, dict[str, ConfigError]]:
    """The deployment, and the errors of the uploads that cannot become a DAG of their own, by upload."""
    deployment, broken = load_each(folder)
    unfit = {name: error for name, upload in deployment.uploads.items() if (error := _unfit(deployment, upload))}
    return deployment, {name: error for name, error in {**broken, **unfit}.items() if name != CLIENTS_FILE}


def _unfit(deployment: Deployment, upload: Upload) -> ConfigError | None:
    if upload.schedule is None or runs_daily(upload.schedule):
        return None
    message = (
        f'"{upload.schedule}" does not run every day, and a run covers one day: the days between would be lost; '
        f'run daily ("0 3 * * *"), or leave schedule out and trigger the DAG'
    )
    problem = Problem(deployment.place(upload, "schedule"), None, "schedule", message)
    return ConfigError(f"{upload.name} cannot be scheduled", [problem])


def _broken_dag(name: str, error: ConfigError) -> DAG:
    """A DAG under the upload's name that fails each night with the problems of its file."""
    with DAG(
        dag_id_of(name),
        description="Its YAML is broken: the task's log and the page of this DAG list the problems",
        doc_md=f"```\n{error}\n```",
        schedule="@daily",
        start_date=_START,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": _DEFAULTS["owner"], "retries": 0},
        tags=["offline-capi", "config-error"],
    ) as dag:
        task(task_id="config_error")(tasks.explain_config)(problems=str(error))
    return dag
