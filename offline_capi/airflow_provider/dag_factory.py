"""One DAG an upload, from its YAML file.

Two DAG files use this: one makes the DAGs, and a broken YAML becomes a DAG of its name whose only task fails with the
problems, so that the night goes red instead of missing. The other raises all problems as one import error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.sdk import DAG, Asset, TriggerRule, get_parsing_context, task
from airflow.sdk.definitions.param import ParamsDict

from offline_capi.airflow_provider import tasks
from offline_capi.airflow_provider.describe import describe_upload
from offline_capi.airflow_provider.notices import deadline_alerts, missing_module, notices
from offline_capi.airflow_provider.retries import upload_retry_policy
from offline_capi.airflow_provider.timetable import DailyPartitionTimetable, runs_daily
from offline_capi.airflow_provider.trigger_form import trigger_form
from offline_capi.config import Deployment, Upload, load_each
from offline_capi.config.settings import AirflowSettings
from offline_capi.errors import ConfigError, Problem

__all__ = ["PREFIX", "build_dag", "check_uploads", "dag_id_of", "delivered", "upload_dags"]

PREFIX = "offline_capi__"
TAG = "offline-capi"
CLIENTS_FILE = "clients.yml"
#: Before the first partition anybody may backfill; with ``catchup=False`` it starts nothing by itself.
_START = datetime(2020, 1, 1, tzinfo=UTC)
_LONGEST_RETRY_DELAY = timedelta(hours=1)


def dag_id_of(upload: str) -> str:
    """Airflow's id of an upload's DAG; characters that Airflow refuses become underscores."""
    return PREFIX + re.sub(r"[^\w.-]", "_", upload)


def upload_dags(folder: str | Path) -> dict[str, DAG]:
    """The DAGs of a configuration folder by their id; for a DAG file: ``globals().update(upload_dags(folder))``.

    When Airflow is about to run a task of one DAG, only that DAG is built.
    """
    deployment, broken = _loaded(Path(folder))
    wanted = get_parsing_context().dag_id
    names = sorted({*deployment.uploads, *broken} - {CLIENTS_FILE})
    return {
        dag_id_of(name): _broken_dag(deployment, name, broken[name]) if name in broken else build_dag(deployment, name)
        for name in names
        if wanted in (None, dag_id_of(name))
    }


def check_uploads(folder: str | Path) -> None:
    """Raise all problems of a configuration folder as one ``ConfigError``; Airflow shows it as an import error."""
    deployment, broken = _loaded(Path(folder))
    problems = list(dict.fromkeys(problem for error in broken.values() for problem in error.problems))
    if problems:
        raise ConfigError(f"{len(problems)} problems in {deployment.folder}", problems)


def build_dag(deployment: Deployment, name: str) -> DAG:
    """The DAG of one good upload: plan, prepare, upload (one task a client), reconcile, purge."""
    upload = deployment.uploads[name]
    settings = deployment.airflow(upload)
    with DAG(
        dag_id_of(name),
        description=upload.description or f"Offline conversions: {name}",
        doc_md=describe_upload(upload, schedule=deployment.schedule(upload), settings=settings),
        schedule=_schedule(deployment, upload),
        start_date=_START,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        default_args=_default_args(settings),
        tags=_tags(upload, settings),
        deadline=deadline_alerts(settings),
        on_failure_callback=notices(settings.notify.failure) or None,
        on_success_callback=notices(settings.notify.success) or None,
    ) as dag:
        _chain_tasks({"folder": str(deployment.folder.resolve()), "upload": name}, settings)
    # Only now: tasks that are made under a form get a copy of it each, which Airflow checks whenever it parses.
    dag.params = ParamsDict(trigger_form(deployment, upload))
    return dag


def _default_args(settings: AirflowSettings) -> dict[str, Any]:
    return {
        "owner": settings.owner,
        "retries": settings.retries,
        "retry_delay": settings.retry_delay,
        "retry_exponential_backoff": True,
        "max_retry_delay": max(_LONGEST_RETRY_DELAY, settings.retry_delay),
        "retry_policy": upload_retry_policy(settings.retry_delay),
    }


def _tags(upload: Upload, settings: AirflowSettings) -> list[str]:
    client = [str(upload.client.constant)] if upload.client.constant else []
    return list(dict.fromkeys([TAG, *client, *settings.tags]))


def _chain_tasks(place: Mapping[str, str], settings: AirflowSettings) -> None:
    """The graph. ``prepare`` is one task and ``upload`` is mapped: see ``tasks.prepare`` for why."""
    reading, sending = _pool(settings.pools.prepare), _pool(settings.pools.upload)
    # Airflow's decorators keep a function's types, but what they return is a promise of its value.
    manifest: Any = task(task_id="plan", **reading)(tasks.plan)(**place)
    units: Any = task(task_id="prepare", **reading)(tasks.prepare)(**place, manifest=manifest)
    # A pool given to expand() would be ignored: it belongs to the task that is mapped.
    send = task(
        task_id="upload",
        map_index_template="{{ client }}",
        max_active_tis_per_dagrun=settings.clients_at_once,
        **sending,
    )(tasks.send_client)
    sent = send.partial(**place).expand(unit=units)
    close = task(task_id="reconcile", trigger_rule=TriggerRule.ALL_DONE, outlets=[delivered(place["upload"])])
    closed = close(tasks.reconcile)(**place, manifest=manifest)
    sent >> closed >> task(task_id="purge")(tasks.purge)(**place, manifest=manifest)


def delivered(upload: str) -> Asset:
    """The asset that has an event whenever a run of ``upload`` sent everything; for DAGs that wait for it."""
    return Asset(name=dag_id_of(upload), uri=f"offline-capi://{quote(upload)}")


def _pool(name: str | None) -> dict[str, Any]:
    return {"pool": name} if name else {}


def _schedule(deployment: Deployment, upload: Upload) -> DailyPartitionTimetable | None:
    cron = deployment.schedule(upload)
    return None if cron is None else DailyPartitionTimetable(cron, timezone=upload.window.timezone)


# ---------------------------------------------------------------------------------------------- broken files


def _loaded(folder: Path) -> tuple[Deployment, dict[str, ConfigError]]:
    """The deployment, and the errors of the uploads that cannot become a DAG of their own, by upload or file."""
    deployment, broken = load_each(folder)
    unfit = {name: error for name, upload in deployment.uploads.items() if (error := _unfit(deployment, upload))}
    return deployment, {**broken, **unfit}


def _unfit(deployment: Deployment, upload: Upload) -> ConfigError | None:
    """What only Airflow can find wrong with an upload that is valid by itself."""
    problems = [*_unfit_schedule(deployment, upload), *_unfit_notifiers(deployment, upload)]
    return ConfigError(f"{upload.name} cannot be run by Airflow as it is", problems) if problems else None


def _unfit_schedule(deployment: Deployment, upload: Upload) -> Iterator[Problem]:
    cron = deployment.schedule(upload)
    if cron is not None and not runs_daily(cron):
        message = (
            f'"{cron}" does not run every day, and a run covers one day: the days between would be lost; '
            f'run daily ("0 3 * * *"), or by hand only: schedule: none'
        )
        yield Problem(deployment.place(upload, "schedule"), None, "schedule", message)


def _unfit_notifiers(deployment: Deployment, upload: Upload) -> Iterator[Problem]:
    """Found now rather than on the night when somebody should have been told."""
    for kind, notifiers in deployment.airflow(upload).notify:
        for notifier in notifiers:
            module = missing_module(notifier)
            if module:
                message = f'"{notifier.call}" cannot be called: there is no module "{module}" here'
                yield Problem(
                    deployment.place(upload, f"airflow.notify.{kind}"), None, f"airflow.notify.{kind}", message
                )


def _broken_dag(deployment: Deployment, name: str, error: ConfigError) -> DAG:
    """A DAG under the upload's name that fails each night with the problems of its file."""
    settings = deployment.platform.airflow
    with DAG(
        dag_id_of(name),
        description="Its YAML is broken: the task's log and the page of this DAG list the problems",
        doc_md=f"```\n{error}\n```",
        schedule="@daily",
        start_date=_START,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": settings.owner, "retries": 0},
        tags=[TAG, "config-error", *settings.tags],
        on_failure_callback=notices(settings.notify.failure) or None,
    ) as dag:
        task(task_id="config_error")(tasks.explain_config)(problems=str(error))
    return dag
