"""A real Airflow in a process of its own: it runs DAGs in-process when told to, one JSON line each way.

Runs by hand are ``dag.test()``; those that it cannot make (of a schedule, of a backfill, cleared ones) are made here.

Starting Airflow takes ten seconds and a run about one, so that the tests of a session share one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from offline_capi.airflow_provider.local.home import make_demo_environment
from offline_capi.demo.samples import SAMPLE_TOKENS

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"
#: What a test may set for one run; anything else of these is removed, so that runs do not hear of each other.
OWN = (
    "OFFLINE_CAPI_",
    "AIRFLOW_CONN_",
    "AIRFLOW_VAR_",
    "AIRFLOW__METRICS__",
    "AIRFLOW__CORE__MAX_MAP_LENGTH",
    "AWS_",
    *SAMPLE_TOKENS,
)


def clean_environment(home: Path, dags: Path = DAGS) -> dict[str, str]:
    """The environment for an Airflow in ``home``, without whatever Airflow settings the machine has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", *OWN))}
    return {**kept, **make_demo_environment(home, dags)}


@dataclass(frozen=True)
class Night:
    """What became of one run: its state, and of each task (``upload acme_bank``) the state and the number of tries."""

    run_id: str
    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]
    links: dict[str, dict[str, str]]


class EmbeddedAirflow:
    """The test's end of the line."""

    def __init__(self, home: Path, dags: Path = DAGS) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self._log = home, (home / "process.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.airflow_provider.embedded"],
            cwd=REPOSITORY,
            env=clean_environment(home, dags),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(
        self,
        upload: str,
        environment: Mapping[str, str],
        *,
        retries: int | None = None,
        kind: str = "manual",
        **conf: Any,
    ) -> Night:
        """One run. Any but a manual one has the partition that ``since`` names, as the timetable gives it; ``due`` in
        the conf says when it should have begun."""
        answer = self._ask("night", upload=upload, environment=dict(environment), conf=conf, retries=retries, kind=kind)
        return Night(**answer)

    def clear(self, upload: str, environment: Mapping[str, str], run_id: str, *tasks: str) -> Night:
        """Clear some tasks of a run that has ended, and let it run to its end again."""
        return Night(**self._ask("cleared", upload=upload, environment=dict(environment), run_id=run_id, tasks=tasks))

    @property
    def log(self) -> str:
        """All that Airflow and its tasks have logged."""
        return (self.home / "process.log").read_text(errors="replace")

    def rendered(self, run_id: str) -> dict[str, Any]:
        """The template fields of a run's tasks as Airflow's pages show them, rendered."""
        return dict(self._ask("rendered", run_id=run_id))

    def dag_bag(self, folder: Path) -> dict[str, Any]:
        """The DAGs of a folder and the import errors of its files."""
        return dict(self._ask("dag_bag", folder=str(folder)))

    def dag_hashes(self, folder: Path) -> dict[str, str]:
        """By what Airflow tells whether it has to store a new version of each DAG of a folder."""
        return dict(self._ask("dag_hashes", folder=str(folder)))

    def connection_test(self, name: str, environment: Mapping[str, str]) -> tuple[bool, str]:
        """What the *Test* button of a connection says."""
        ok, message = self._ask("connection_test", name=name, environment=dict(environment))
        return ok, message

    def pages(self, environment: Mapping[str, str], *paths: str, user: str | None = "admin") -> list[tuple[int, str]]:
        """Status and text of pages of the UI, as the API server gives them to a user of this role, or to nobody.

        A ``viewer of UPLOAD`` may see the DAG of that upload alone.
        """
        found = self._ask("pages", environment=dict(environment), paths=paths, user=user)
        return [(status, text) for status, text in found]

    def lineage(self) -> dict[str, Any]:
        """What the tasks told Airflow's hook lineage since the last time somebody asked."""
        return dict(self._ask("lineage"))

    def secrets(self, environment: Mapping[str, str], **wanted: str) -> dict[str, str]:
        """What ``AirflowSecrets`` finds: of a connection, its ``token`` or its ``url``."""
        return dict(self._ask("secrets", environment=dict(environment), wanted=wanted))

    def masked(self, environment: Mapping[str, str], **wanted: str) -> dict[str, str]:
        """The same, as Airflow's log would show it."""
        return dict(self._ask("secrets", environment=dict(environment), wanted=wanted, masked=True))

    def metadata(self) -> dict[str, str]:
        """Every row of every table of Airflow's metadata database as text, the DAGs as they now are included."""
        return dict(self._ask("metadata"))

    def load_again(self, *folders: Path) -> None:
        """Import the hooks of the test's project anew, and the package where ``folders`` are others than before."""
        self._ask("load_again", folders=[str(folder) for folder in folders])

    def _ask(self, what: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("Airflow ended:\n" + (self.home / "process.log").read_text()[-4000:])
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["answer"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=180)
        self._log.close()


# ---------------------------------------------------------------------------------------------- Airflow's end


def _night(
    upload: str, environment: Mapping[str, str], conf: dict[str, Any], retries: int | None, kind: str
) -> dict[str, Any]:
    _set_environment(environment)
    dag = _dag(upload)
    if retries is not None:
        for task in dag.tasks:
            task.retries = retries
    return _told(dag.test(run_conf=conf) if kind == "manual" else _run_of_partition(dag, kind, conf))


def _cleared(upload: str, environment: Mapping[str, str], run_id: str, tasks: list[str]) -> dict[str, Any]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    _set_environment(environment)
    dag = _dag(upload)
    with create_session() as session:
        stored = _as_scheduler_has_it(dag)
        stored.clear(run_id=run_id, task_ids=tasks, dag_run_state=DagRunState.RUNNING, session=session)
        session.commit()
        run = session.scalar(select(DagRun).where(DagRun.run_id == run_id))
        run.dag = stored
        return _told(_run_to_end(dag, run, session))


def _dag(upload: str) -> Any:
    from offline_capi.airflow_provider.dags.dag_factory import make_dag_id

    dags = _bag().dags
    dag = dags.get(upload) or dags[make_dag_id(upload)]
    dag.deadline = None  # Airflow 3.3's dag.test() fails on any DAG that has one
    return dag


def _as_scheduler_has_it(dag: Any) -> Any:
    from airflow.serialization.serialized_objects import DagSerialization

    stored: Any = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    stored.on_failure_callback, stored.on_success_callback = dag.on_failure_callback, dag.on_success_callback
    return stored


def _run_of_partition(dag: Any, kind: str, conf: dict[str, Any]) -> Any:
    """A run as the scheduler makes it: with a partition, without dates in its form."""
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from pendulum import now, parse

    day = conf.pop("since")
    conf.pop("until")
    due = parse(conf.pop("due")) if "due" in conf else now()
    _store_dags()
    stored = _as_scheduler_has_it(dag)
    with create_session() as session:
        run = stored.create_dagrun(
            run_id=f"{kind}__{day}__{now().isoformat()}",
            run_after=due,
            run_type=DagRunType(kind),
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=now(),
            partition_key=day,
            partition_date=stored.timetable.resolve_partition_date(day),
            conf=conf,
            session=session,
        )
        return _run_to_end(dag, run, session)


def _run_to_end(dag: Any, run: Any, session: Any) -> Any:
    """What a scheduler and a worker do, one task after the other."""
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.state import DagRunState, TaskInstanceState
    from pendulum import now

    while run.state == DagRunState.RUNNING:
        session.expire_all()
        for instance in run.update_state(session=session)[0]:
            instance.try_number += 1
            instance.state, instance.scheduled_dttm = TaskInstanceState.SCHEDULED, now()
        session.commit()
        for instance in run.get_task_instances(session=session, state=[TaskInstanceState.SCHEDULED]):
            with suppress(Exception):  # as dag.test() does: the task's state says that it failed
                _run_task(ti=instance, task=dag.task_dict[instance.task_id])
    return run


def _store_dags() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(_bag(), "dags-folder", None)


def _told(run: Any) -> dict[str, Any]:
    tasks = {_label(ti): ti for ti in run.get_task_instances()}
    left = _xcoms(run, tasks)
    return {
        "run_id": run.run_id,
        "state": str(run.state),
        "tasks": {label: str(ti.state) for label, ti in tasks.items()},
        "tries": {label: ti.try_number for label, ti in tasks.items()},
        "xcoms": {label: found["return_value"] for label, found in left.items() if "return_value" in found},
        "links": {label: {key: url for key, url in found.items() if key in _LINKS} for label, found in left.items()},
    }


def _label(ti: Any) -> str:
    return f"{ti.task_id} {ti.rendered_map_index}" if ti.rendered_map_index else str(ti.task_id)


#: What tasks leave in XComs beside what they return.
_LINKS = ("events_manager",)


def _xcoms(run: Any, tasks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All XComs of each task by their key."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    labels = {(ti.task_id, ti.map_index): label for label, ti in tasks.items()}
    found: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        for xcom in session.scalars(select(XComModel).where(XComModel.run_id == run.run_id)):
            value = XComModel.deserialize_value(xcom)
            found.setdefault(labels[xcom.task_id, xcom.map_index], {})[xcom.key] = value
    return found


def _bag(folder: str | None = None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    folder = folder or os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    return DagBag(dag_folder=folder, bundle_path=Path(folder))


def _rendered(run_id: str) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.run_id == run_id))
        return {one.task_id: one.rendered_fields for one in found}


def _dag_bag(folder: str) -> dict[str, Any]:
    bag = _bag(folder)
    return {"dags": sorted(bag.dags), "import_errors": {Path(f).name: e for f, e in bag.import_errors.items()}}


def _dag_hashes(folder: str) -> dict[str, str]:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization

    dags = _bag(folder).dags.values()
    return {dag.dag_id: SerializedDagModel.hash(DagSerialization.to_dict(dag)) for dag in dags}


def _metadata() -> dict[str, str]:
    import zlib

    import sqlalchemy as sa
    from airflow.utils.session import create_session

    _store_dags()
    tables: dict[str, str] = {}
    with create_session() as session:
        for name in sa.inspect(session.get_bind()).get_table_names():
            rows = session.execute(sa.text(f'SELECT * FROM "{name}"')).all()
            packed = [value for row in rows for value in row if isinstance(value, bytes) and value[:1] == b"\x78"]
            # Each value by itself: the text of a whole SQLAlchemy row cuts long values short.
            values = (str(value) for row in rows for value in row)
            tables[name] = "\n".join([*values, *(zlib.decompress(one).decode() for one in packed)])
    return tables


#: Folders that ``_load_again`` has put before all others.
_FOLDERS: list[str] = []


def _load_again(folders: list[str]) -> None:
    own = {"hooks"} if folders == _FOLDERS else {"hooks", "offline_capi"}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    if folders == _FOLDERS:
        if transform := sys.modules.get("offline_capi.mapping.transform"):
            transform.load_hook.cache_clear()
        return
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in _FOLDERS)]
    _FOLDERS[:] = folders
    _api_server.cache_clear()


def _connection_test(name: str, environment: Mapping[str, str]) -> list[Any]:
    from offline_capi.airflow_provider.hooks.meta_capi import MetaConversionsHook

    _set_environment(environment)
    return list(MetaConversionsHook(name).test_connection())


def _lineage() -> dict[str, Any]:
    from airflow.sdk.lineage import get_hook_lineage_collector

    told = get_hook_lineage_collector().collected_assets
    get_hook_lineage_collector.cache_clear()
    return {
        "inputs": sorted({info.asset.uri for info in told.inputs}),
        "outputs": {info.asset.uri: info.asset.extra for info in told.outputs},
    }


def _secrets(environment: Mapping[str, str], wanted: Mapping[str, str], *, masked: bool = False) -> dict[str, Any]:
    from airflow.sdk.log import redact

    from offline_capi.airflow_provider.hooks.secrets import AirflowSecrets
    from offline_capi.config import SecretRef

    _set_environment(environment)
    secrets = AirflowSecrets()
    ways = {"token": lambda name: secrets.token(SecretRef(connection=name)), "url": secrets.connection_url}
    found = {way: ways[way](name).reveal() for way, name in wanted.items()}
    return {way: redact(secret) for way, secret in found.items()} if masked else found


def _pages(environment: Mapping[str, str], paths: list[str], user: str | None) -> list[Any]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    _set_environment(environment)
    if not paths:
        return []
    client = TestClient(_api_server())
    if user is not None:
        role = user.partition(" of ")[0]
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=user, role=role))
        client.headers["Authorization"] = f"Bearer {token}"
    return [_answer(client, path) for path in paths]


def _answer(client: Any, path: str) -> list[Any]:
    try:
        answer = client.get(path)
    except Exception:  # noqa: BLE001  the API server would log it and answer with 500
        return [500, traceback.format_exc()]
    return [answer.status_code, answer.text]


@cache
def _api_server() -> Any:
    """Airflow's API server with everything that plugins add, and with a login."""
    from airflow.api_fastapi.app import create_app

    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "False"
    os.environ["AIRFLOW__CORE__AUTH_MANAGER"] = "tests.airflow_provider.one_dag_only.OneDagOnly"
    _store_dags()
    return create_app(apps="core")


def _set_environment(environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(OWN)]:
        del os.environ[name]
    os.environ.update(environment)
    _start_metrics()


def _start_metrics() -> None:
    """As each worker process does before its task."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    factory = stats_utils.get_stats_factory()
    stats.initialize(factory=factory, export_legacy_names=conf.getboolean("metrics", "legacy_names_on"))


def _serve() -> None:
    """Answer until the line is closed. Standard output is the line; what Airflow prints goes to the log."""
    line = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from airflow.utils.db import initdb

    initdb()
    warnings.filterwarnings("error", category=DeprecationWarning, module="offline_capi")
    doors = {
        "night": _night,
        "cleared": _cleared,
        "dag_bag": _dag_bag,
        "rendered": _rendered,
        "dag_hashes": _dag_hashes,
        "connection_test": _connection_test,
        "lineage": _lineage,
        "secrets": _secrets,
        "pages": _pages,
    }
    doors |= {"metadata": _metadata, "load_again": _load_again}
    for asked in sys.stdin:
        request = json.loads(asked)
        try:
            answer = {"answer": doors[request.pop("what")](**request)}
        except Exception as error:  # noqa: BLE001  whatever it is, the test that asked is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        line.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _serve()
