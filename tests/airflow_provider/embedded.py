"""A real Airflow in a process of its own: it runs DAGs with ``dag.test()`` when told to, one JSON line each way.

Starting Airflow takes ten seconds and a run about one, so that the tests of a session share one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_capi.airflow_provider.local_home import demo_environment

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"
#: What a test may set for one run; anything else of these is removed, so that runs do not hear of each other.
OWN = ("OFFLINE_CAPI_", "AIRFLOW_CONN_")


def clean_environment(home: Path, dags: Path = DAGS) -> dict[str, str]:
    """The environment for an Airflow in ``home``, without whatever Airflow settings the machine has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", *OWN))}
    return {**kept, **demo_environment(home, dags)}


@dataclass(frozen=True)
class Night:
    """What became of one run: its state, and of each task (``upload acme_bank``) the state and the number of tries."""

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]


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

    def run(self, upload: str, environment: Mapping[str, str], *, retries: int | None = None, **conf: Any) -> Night:
        answer = self._ask("night", upload=upload, environment=dict(environment), conf=conf, retries=retries)
        return Night(**answer)

    def dag_bag(self) -> dict[str, Any]:
        """The DAGs of the folder and the import errors of its files."""
        return dict(self._ask("dag_bag"))

    def connection_test(self, name: str, environment: Mapping[str, str]) -> tuple[bool, str]:
        """What the *Test* button of a connection says."""
        ok, message = self._ask("connection_test", name=name, environment=dict(environment))
        return ok, message

    def secrets(self, environment: Mapping[str, str], **wanted: str) -> dict[str, str]:
        """What ``AirflowSecrets`` finds: of a connection, its ``token`` or its ``url``."""
        return dict(self._ask("secrets", environment=dict(environment), wanted=wanted))

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
        self._process.wait(timeout=30)
        self._log.close()


# ---------------------------------------------------------------------------------------------- Airflow's end


def _night(upload: str, environment: Mapping[str, str], conf: dict[str, Any], retries: int | None) -> dict[str, Any]:
    from offline_capi.airflow_provider.dag_factory import dag_id_of

    _set_environment(environment)
    dag = _bag().dags[dag_id_of(upload)]
    if retries is not None:
        for task in dag.tasks:
            task.retries = retries
    run = dag.test(run_conf=conf)
    tasks = {_label(ti): ti for ti in run.get_task_instances()}
    return {
        "state": str(run.state),
        "tasks": {label: str(ti.state) for label, ti in tasks.items()},
        "tries": {label: ti.try_number for label, ti in tasks.items()},
        "xcoms": _xcoms(run, tasks),
    }


def _label(ti: Any) -> str:
    return f"{ti.task_id} {ti.rendered_map_index}" if ti.rendered_map_index else str(ti.task_id)


def _xcoms(run: Any, tasks: Mapping[str, Any]) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    labels = {(ti.task_id, ti.map_index): label for label, ti in tasks.items()}
    wanted = select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "return_value")
    with create_session() as session:
        found = session.scalars(wanted).all()
        return {labels[x.task_id, x.map_index]: XComModel.deserialize_value(x) for x in found}


def _bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    return DagBag(dag_folder=folder, bundle_path=Path(folder))


def _dag_bag() -> dict[str, Any]:
    bag = _bag()
    return {"dags": sorted(bag.dags), "import_errors": {Path(f).name: e for f, e in bag.import_errors.items()}}


def _connection_test(name: str, environment: Mapping[str, str]) -> list[Any]:
    from offline_capi.airflow_provider.hook import MetaConversionsHook

    _set_environment(environment)
    return list(MetaConversionsHook(name).test_connection())


def _secrets(environment: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    from offline_capi.airflow_provider.secrets import AirflowSecrets
    from offline_capi.config import SecretRef

    _set_environment(environment)
    secrets = AirflowSecrets()
    ways = {"token": lambda name: secrets.token(SecretRef(connection=name)), "url": secrets.connection_url}
    return {way: ways[way](name).reveal() for way, name in wanted.items()}


def _set_environment(environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(OWN)]:
        del os.environ[name]
    os.environ.update(environment)


def _serve() -> None:
    """Answer until the line is closed. Standard output is the line; what Airflow prints goes to the log."""
    line = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from airflow.utils.db import initdb

    initdb()
    warnings.filterwarnings("error", category=DeprecationWarning, module="offline_capi")
    doors = {"night": _night, "dag_bag": _dag_bag, "connection_test": _connection_test, "secrets": _secrets}
    for asked in sys.stdin:
        request = json.loads(asked)
        try:
            answer = {"answer": doors[request.pop("what")](**request)}
        except Exception as error:  # noqa: BLE001  whatever it is, the test that asked is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        line.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _serve()
