"""One DAG per upload, from its YAML file, and small ones: clients' health and quality, settling.

Two DAG files use this: one makes the DAGs, and a broken YAML becomes a DAG of its name whose only task fails with the
problems, so that the run goes red instead of missing. The other raises all problems as one import error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial, wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import (
    DAG,
    Asset,
    AssetAll,
    AssetAny,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    TriggerRule,
    get_parsing_context,
    task,
)
from airflow.sdk.definitions.param import ParamsDict

from offline_capi.airflow_provider.dags.descriptions import (
    HEALTH_PAGE,
    QUALITY_PAGE,
    SETTLE_PAGE,
    describe_in_one_line,
    describe_upload,
)
from offline_capi.airflow_provider.dags.health import check_clients, make_failure_callbacks
from offline_capi.airflow_provider.dags.quality import pull_clients_quality
from offline_capi.airflow_provider.dags.settling import settle_one
from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable, is_daily
from offline_capi.airflow_provider.dags.trigger_form import build_trigger_form
from offline_capi.airflow_provider.observability.alerting import FailureAlert
from offline_capi.airflow_provider.observability.callbacks import (
    find_missing_module,
    make_callbacks,
    make_deadline_alerts,
)
from offline_capi.airflow_provider.operators import tasks
from offline_capi.airflow_provider.operators.retries import upload_retry_policy
from offline_capi.airflow_provider.operators.run_link import record_failed_start
from offline_capi.airflow_provider.operators.task_context import TaskLocation
from offline_capi.airflow_provider.sensors.data_ready import DataReadySensor
from offline_capi.config import Deployment, Upload, load_each
from offline_capi.config.airflow import AirflowSettings, HealthSettings, Notifier, QualitySettings, SettleSettings
from offline_capi.config.schedule import AwaitedData, DataSchedule
from offline_capi.errors import ConfigError, Problem, SourceError
from offline_capi.runtime.bugs import contain

if TYPE_CHECKING:
    from offline_capi.sources.dbt.assets import ModelAssets

__all__ = [
    "HEALTH",
    "PREFIX",
    "QUALITY",
    "SETTLE",
    "build_dag",
    "check_uploads",
    "make_dag_id",
    "make_delivered_asset",
    "upload_dags",
]

PREFIX = "offline_capi__"
#: The DAG that checks every client's token and pixel; no upload's has this id.
HEALTH = "offline_capi_health"
#: The DAG that asks Meta what it got of every client.
QUALITY = "offline_capi_quality"
#: The DAG that settles what earlier runs owe; only where the folder gives it a schedule.
SETTLE = "offline_capi_settle"
TAG = "offline-capi"
CLIENTS_FILE = "clients.yml"
_HEALTH_PATH = "platform.airflow.health"
#: Before the first partition anybody may backfill; with ``catchup=False`` it starts nothing by itself.
_START = datetime(2020, 1, 1, tzinfo=UTC)
_LONGEST_RETRY_DELAY = timedelta(hours=1)


def make_dag_id(upload: str) -> str:
    """Airflow's id of an upload's DAG; characters that Airflow refuses become underscores."""
    return PREFIX + re.sub(r"[^\w.-]", "_", upload)


def upload_dags(folder: str | Path) -> dict[str, DAG]:
    """The DAGs of a configuration folder by their id; for a DAG file: ``globals().update(upload_dags(folder))``.

    One per upload, the daily checks of clients, and the settling of open days where it has a schedule. When Airflow
    is about to run a task of one DAG, only that DAG is built.
    """
    deployment, broken, assets = _load(Path(folder))
    wanted = get_parsing_context().dag_id
    names = sorted({*deployment.uploads, *broken} - {CLIENTS_FILE, HEALTH})
    makers = {
        make_dag_id(name): partial(_build_upload_dag, deployment, name, broken.get(name), assets) for name in names
    }
    makers[HEALTH] = partial(_build_health_dag, deployment, broken.get(CLIENTS_FILE) or broken.get(HEALTH))
    makers[QUALITY] = partial(_build_quality_dag, deployment, broken.get(CLIENTS_FILE))
    if deployment.platform.airflow.settle.schedule != "none":
        makers[SETTLE] = partial(_build_settle_dag, deployment, sorted({*deployment.uploads} - {*broken}))
    return {dag_id: make() for dag_id, make in makers.items() if wanted in (None, dag_id)}


def check_uploads(folder: str | Path) -> None:
    """Raise all problems of a configuration folder as one ``ConfigError``; Airflow shows it as an import error."""
    deployment, broken, _ = _load(Path(folder))
    problems = list(dict.fromkeys(problem for error in broken.values() for problem in error.problems))
    if problems:
        raise ConfigError(f"{len(problems)} problems in {deployment.folder}", problems)


def explain_config(folder: str, names: Iterable[str]) -> None:
    """The one task of an upload whose file is broken: fail with everything that is wrong with it now.

    The configuration is loaded again here. A problem quotes what the file holds, and Airflow would render that text
    if it was an argument of the task.
    """
    _, broken, _ = _load(Path(folder))
    for name in names:
        if name in broken:
            if name not in (CLIENTS_FILE, HEALTH) and CLIENTS_FILE not in broken:  # else no ledger is known
                record_failed_start(TaskLocation(folder, name), broken[name])
            raise broken[name]
    raise ConfigError("Its file is good by now: Airflow has a DAG of the older one. Wait until it is parsed again.")


def _build_upload_dag(deployment: Deployment, name: str, error: ConfigError | None, assets: ScheduleAssets) -> DAG:
    if error is not None:
        return _build_broken_dag(deployment, make_dag_id(name), error, name)
    return build_dag(deployment, name, assets)


def build_dag(deployment: Deployment, name: str, assets: ScheduleAssets | None = None) -> DAG:
    """The DAG of one good upload: plan, prepare, upload (one task a client), reconcile, purge.

    ``assets`` are those of the deployment, where they are known already.
    """
    upload = deployment.uploads[name]
    settings = deployment.resolve_airflow(upload)
    with DAG(
        make_dag_id(name),
        description=describe_in_one_line(upload, deployment.resolve_schedule(upload)),
        doc_md=describe_upload(upload, schedule=deployment.resolve_schedule(upload), settings=settings),
        schedule=_schedule(deployment, upload, assets or ScheduleAssets(deployment)),
        start_date=_START,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        default_args=_make_default_args(settings),
        tags=_make_tags(upload, settings),
        deadline=make_deadline_alerts(settings),
        on_failure_callback=make_callbacks(settings.notify.failure) or None,
        on_success_callback=make_callbacks(settings.notify.success) or None,
    ) as dag:
        _chain_tasks({"folder": _get_folder(deployment), "upload": name}, settings, upload.schedule)
    # Only now: tasks that are made under a form get a copy of it each, which Airflow checks whenever it parses.
    dag.params = ParamsDict(build_trigger_form(deployment, upload))
    return dag


def _build_health_dag(deployment: Deployment, error: ConfigError | None) -> DAG:
    """The daily check of the clients; its one task is red as long as one of them cannot be sent for."""
    if error is not None:
        return _build_broken_dag(deployment, HEALTH, error, CLIENTS_FILE, HEALTH)
    settings = deployment.platform.airflow
    description = "Check every client's token and pixel before the scheduled runs"
    with _build_small_dag(deployment, HEALTH, settings.health, description, HEALTH_PAGE) as dag:
        look = task(task_id="check_clients", on_failure_callback=make_failure_callbacks(settings) or None)
        look(_bind(check_clients, folder=_get_folder(deployment)))()
    return dag


def _build_quality_dag(deployment: Deployment, error: ConfigError | None) -> DAG:
    """The daily query of Meta's counts; its one task is red where Meta did not answer everything."""
    if error is not None:
        return _build_broken_dag(deployment, QUALITY, error, CLIENTS_FILE)
    settings = deployment.platform.airflow
    description = "Ask Meta what it counted, for the morning's reports"
    with _build_small_dag(deployment, QUALITY, settings.quality, description, QUALITY_PAGE) as dag:
        dag.on_failure_callback = make_callbacks(settings.notify.failure) or None
        task(task_id="pull_quality")(_bind(pull_clients_quality, folder=_get_folder(deployment)))()
    return dag


def _build_settle_dag(deployment: Deployment, uploads: list[str]) -> DAG:
    """One task per upload, which settles what its earlier runs owe, between two scheduled runs."""
    settings = deployment.platform.airflow
    description = "Settle what earlier runs owe: open days, unconfirmed events, deferred events"
    with _build_small_dag(deployment, SETTLE, settings.settle, description, SETTLE_PAGE) as dag:
        dag.on_failure_callback = make_callbacks(settings.notify.failure) or None
        settle = task(
            task_id="settle", map_index_template="{{ upload }}", **_make_pool_arguments(settings.pools.upload)
        )
        # Airflow renders literal values of expand() too; names of good uploads hold letters, digits, _ . and - only.
        settle(_bind(settle_one, folder=_get_folder(deployment))).expand(upload=uploads)
    return dag


def _build_small_dag(
    deployment: Deployment,
    dag_id: str,
    when: HealthSettings | QualitySettings | SettleSettings,
    description: str,
    page: str,
) -> DAG:
    """A DAG without a form, at its own cron."""
    settings = deployment.platform.airflow
    return DAG(
        dag_id,
        description=description,
        doc_md=page,
        schedule=None if when.schedule == "none" else CronTriggerTimetable(when.schedule, timezone=when.timezone),
        start_date=_START,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        default_args=_make_default_args(settings),
        tags=[TAG, *settings.tags],
    )


def _get_folder(deployment: Deployment) -> str:
    """The configuration folder for the tasks, by the path by which it was read.

    Symbolic links stay as they are: what git-sync or a deployment puts behind one changes with every commit, and each
    change of a path in a DAG makes a new version of the DAG.
    """
    return str(deployment.folder.absolute())


def _make_default_args(settings: AirflowSettings) -> dict[str, Any]:
    return {
        "owner": settings.owner,
        "retries": settings.retries,
        "retry_delay": settings.retry_delay,
        "retry_exponential_backoff": True,
        "max_retry_delay": max(_LONGEST_RETRY_DELAY, settings.retry_delay),
        "retry_policy": upload_retry_policy(settings.retry_delay),
    }


def _make_tags(upload: Upload, settings: AirflowSettings) -> list[str]:
    client = [str(upload.client.constant)] if upload.client.constant else []
    return list(dict.fromkeys([TAG, *client, upload.window.timezone, *settings.tags]))


def _chain_tasks(location: Mapping[str, str], settings: AirflowSettings, schedule: object) -> None:
    """The graph. ``prepare`` is one task and ``upload`` is mapped: see ``tasks.prepare`` for why."""
    reading, sending = _make_pool_arguments(settings.pools.prepare), _make_pool_arguments(settings.pools.upload)
    # Airflow's decorators keep a function's types, but what they return is a promise of its value.
    # Failures before a run has books are reported here; all others by reconcile.
    reading["on_failure_callback"] = FailureAlert(**location)
    manifest: Any = task(task_id="plan", **reading)(_bind(tasks.plan, **location))()
    units: Any = task(task_id="prepare", **reading)(_bind(tasks.prepare, **location))(manifest=manifest)
    # A pool given to expand() would be ignored: it belongs to the task that is mapped.
    send = task(
        task_id="upload",
        map_index_template="{{ client }}",
        max_active_tis_per_dagrun=settings.clients_at_once,
        **sending,
    )(_bind(tasks.send_client, **location))
    sent = send.expand(unit=units)
    close = task(
        task_id="reconcile", trigger_rule=TriggerRule.ALL_DONE, outlets=[make_delivered_asset(location["upload"])]
    )
    closed = close(_bind(tasks.reconcile, **location))(manifest=manifest)
    if isinstance(schedule, DataSchedule) and schedule.waits:
        DataReadySensor(task_id="wait", every=schedule.every, **location, **reading) >> manifest
    sent >> closed >> task(task_id="purge")(_bind(tasks.purge, **location))(manifest=manifest)


def _bind(function: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """``function`` with these arguments, out of reach of Airflow's templates, and without messages of others.

    Airflow renders every argument of a task with Jinja, connections' passwords included: a path or the name of a file
    that holds ``{{`` would be evaluated. And it logs what a task raises, with the whole chain.
    """
    contained = contain(function)

    @wraps(function)
    def bound(**more: Any) -> Any:
        return contained(**arguments, **more)

    whole = signature(function)
    rest = [parameter for name, parameter in whole.parameters.items() if name not in arguments]
    bound.__signature__ = whole.replace(parameters=rest)  # type: ignore[attr-defined]  # what Airflow goes by
    return bound


def make_delivered_asset(upload: str) -> Asset:
    """The asset that has an event whenever a run of ``upload`` sent everything; for DAGs that wait for it."""
    return Asset(name=make_dag_id(upload), uri=f"offline-capi://{quote(upload)}")


def _make_pool_arguments(name: str | None) -> dict[str, Any]:
    return {"pool": name} if name else {}


class ScheduleAssets:
    """The assets that uploads wait for. Those of dbt's models are looked up once for all of them."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def locate(self, awaited: AwaitedData) -> Asset:
        """Raises ``SourceError`` or ``ConfigError`` where dbt's manifest, or the connection, does not say where."""
        name, uri = self._deployment.platform.airflow.assets.locate(awaited) or self._models.find_place(awaited)
        return Asset(name=name, uri=uri)

    @cached_property
    def _models(self) -> ModelAssets:
        # Here alone: reading a manifest loads pyarrow, which other folders' DAG files do without.
        from offline_capi.airflow_provider.hooks.secrets import AirflowSecrets
        from offline_capi.sources.dbt.assets import ModelAssets

        return ModelAssets(self._deployment, AirflowSecrets(self._deployment.environ))


def _schedule(deployment: Deployment, upload: Upload, known: ScheduleAssets) -> Any:
    """A partition for each day by the clock; assets start a run that covers the last day that is over: ``windows``."""
    cron, schedule = deployment.resolve_schedule(upload), upload.schedule
    if isinstance(schedule, DataSchedule) and schedule.assets:
        assets = [known.locate(one) for one in schedule.assets]
        condition = AssetAny(*assets) if schedule.any else AssetAll(*assets)
        if cron is None:
            return condition
        by_clock = CronTriggerTimetable(cron, timezone=upload.window.timezone)
        return AssetOrTimeSchedule(timetable=by_clock, assets=condition)
    return None if cron is None else DailyPartitionTimetable(cron, timezone=upload.window.timezone)


# ---------------------------------------------------------------------------------------------- broken files


def _load(folder: Path) -> tuple[Deployment, dict[str, ConfigError], ScheduleAssets]:
    """The deployment, the errors of uploads that cannot become a DAG, by upload or file, and the assets."""
    deployment, broken = load_each(folder)
    assets = ScheduleAssets(deployment)
    unfit = {name: [*_find_problems(deployment, upload, assets)] for name, upload in deployment.uploads.items()}
    unfit[HEALTH] = [
        *_find_missing_notifiers(deployment.platform.airflow.health.notify, CLIENTS_FILE, f"{_HEALTH_PATH}.notify")
    ]
    errors = {name: ConfigError(f"{name} cannot be run by Airflow as it is", bad) for name, bad in unfit.items() if bad}
    return deployment, {**broken, **errors}, assets


def _find_problems(deployment: Deployment, upload: Upload, assets: ScheduleAssets) -> Iterator[Problem]:
    """What only Airflow can find wrong with an upload that is valid by itself."""
    yield from _find_schedule_problems(deployment, upload)
    yield from _find_unknown_assets(deployment, upload, assets)
    for kind, notifiers in deployment.resolve_airflow(upload).notify:
        path = f"airflow.notify.{kind}"
        yield from _find_missing_notifiers(notifiers, deployment.locate(upload, path), path)


def _find_schedule_problems(deployment: Deployment, upload: Upload) -> Iterator[Problem]:
    cron = deployment.resolve_schedule(upload)
    if cron is not None and not is_daily(cron):
        message = (
            f'"{cron}" does not run every day, and a run covers one day: the days between would be lost; '
            f'run daily ("0 3 * * *"), or by hand only: schedule: none'
        )
        yield Problem(deployment.locate(upload, "schedule"), None, "schedule", message)


def _find_unknown_assets(deployment: Deployment, upload: Upload, assets: ScheduleAssets) -> Iterator[Problem]:
    """Models of dbt whose table nobody knows: the DAG would wait for an asset that is never updated."""
    for path, awaited in deployment.list_awaited_models(upload):
        try:
            assets.locate(awaited)
        except (SourceError, ConfigError) as error:
            from offline_capi.sources.dbt.assets import summarise_error

            yield deployment.make_problem(upload, path, summarise_error(error))


def _find_missing_notifiers(notifiers: Iterable[Notifier], file: str, path: str) -> Iterator[Problem]:
    """Notifiers that cannot be called: found now rather than when an alert is due."""
    for notifier in notifiers:
        module = find_missing_module(notifier)
        if module:
            message = f'"{notifier.call}" cannot be called: there is no module "{module}" here'
            yield Problem(file, None, path, message)


def _build_broken_dag(deployment: Deployment, dag_id: str, error: ConfigError, *names: str) -> DAG:
    """A DAG under the usual name that fails each day with the problems of its file."""
    settings = deployment.platform.airflow
    with DAG(
        dag_id,
        description="Its YAML is broken: the task's log and the page of this DAG list the problems",
        doc_md=f"```\n{error}\n```",
        schedule="@daily",
        start_date=_START,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": settings.owner, "retries": 0},
        tags=[TAG, "config-error", *settings.tags],
        on_failure_callback=make_callbacks(settings.notify.failure) or None,
    ) as dag:
        task(task_id="config_error")(_bind(explain_config, folder=_get_folder(deployment), names=names))()
    return dag
