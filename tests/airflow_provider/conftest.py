"""Airflow changes the process that imports it: root logging, structlog, files in its home. Here it is kept apart.

Pure tests import it with a throw-away home and everything put back; whatever runs DAGs does so in other processes.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile

import structlog


def _import_airflow_apart() -> None:
    handlers, level, config = logging.root.handlers[:], logging.root.level, structlog.get_config()
    kept = os.environ.get("AIRFLOW_HOME")
    os.environ["AIRFLOW_HOME"] = home = tempfile.mkdtemp(prefix="airflow-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    import airflow.sdk
    import airflow.timetables.trigger  # noqa: F401

    os.environ.pop("AIRFLOW_HOME") if kept is None else os.environ.update(AIRFLOW_HOME=kept)
    logging.root.handlers[:], logging.root.level = handlers, level
    structlog.configure(**config)


_import_airflow_apart()


# Everything below may import what it likes: Airflow is in, and its changes are undone.
from collections.abc import Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from datetime import date, timedelta  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from offline_capi.config import load_config  # noqa: E402
from offline_capi.demo.night import demo_settings  # noqa: E402
from offline_capi.demo.samples import SAMPLE_TOKENS, build_samples  # noqa: E402
from offline_capi.ledger import Ledger  # noqa: E402
from offline_capi.report import RunReport  # noqa: E402
from tests.airflow_provider.embedded import DAGS, REPOSITORY, EmbeddedAirflow, Night  # noqa: E402
from tests.support.night import APPROVALS_ZONE, yesterday  # noqa: E402
from tests.support.sandbox_server import Sandbox  # noqa: E402

#: The samples hold a few rows that are invalid: here they stop the night, and a failed night tells about itself.
GATED = """
gates: {invalid: {action: stop, max: 0%}}
airflow:
  notify: {failure: {call: "tests.airflow_provider.told:keep", arguments: {name: red}}}
"""

#: An upload that waits for its files.
AWAITED = "awaited_purchases"
WAITING = 'schedule: {after: {files: true}, until: "23:59", every: 1s}'

#: A DAG of somebody's own.
OWN_DAG = """
from pathlib import Path
from airflow.sdk import DAG
from offline_capi.airflow_provider import UploadConversionsOperator

FORM = {"what": "credit_approvals", "since": None, "until": None, "clients": []}
with DAG("offline_capi__own", schedule=None, params=FORM, render_template_as_native_obj=True):
    UploadConversionsOperator(
        task_id="send",
        folder=str(Path(__file__).parent),
        upload="{{ params.what }}",
        since="{{ params.since }}",
        until="{{ params.until }}",
        clients="{{ params.clients }}",
        retries=0,
    )
"""


#: Two DAGs with a sensor: one looks before the upload of its own DAG is sent, one gives up after its first look.
WAITING_DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from offline_capi.airflow_provider import DeliveredUpToSensor, UploadConversionsOperator

FORM = {"folder": "", "upload_name": "", "since": None, "until": None}
WHAT = {"folder": "{{ params.folder }}", "upload": "{{ params.upload_name }}"}
with DAG("offline_capi__waiting", schedule=None, params=FORM):
    DeliveredUpToSensor(task_id="wait", **WHAT, day="{{ params.since }}", poke_interval=1, timeout=300)
    EmptyOperator(task_id="before") >> UploadConversionsOperator(
        task_id="send", **WHAT, since="{{ params.since }}", until="{{ params.until }}", retries=0
    )
with DAG("offline_capi__impatient", schedule=None, params=FORM):
    DeliveredUpToSensor(task_id="wait", **WHAT, day="{{ params.since }}", timeout=0, retries=0)
"""


#: Somebody is told of what the daily look at the clients finds, and somebody of faults of the nights.
WATCHED = """platform:
  python: [tests]
  airflow:
    health: {notify: {call: "tests.airflow_provider.told:hear"}}
    notify:
      alert: {call: "tests.airflow_provider.told:Pager", arguments: {text: "{{ alert.change }} {{ alert.message }}"}}
"""

#: Somebody who reads hook lineage, as OpenLineage's provider does: without one, Airflow collects none.
CATALOGUE = """
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.lineage import HookLineageReader

class Catalogue(AirflowPlugin):
    name = "catalogue"
    hook_lineage_readers = [HookLineageReader]
"""


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAirflow]:
    """A real Airflow on an embedded metadata database, reading the repository's ``dags/`` and one upload more."""
    place = tmp_path_factory.mktemp("airflow")
    for folder in ("dags", "sql"):
        shutil.copytree(REPOSITORY / folder, place / folder)
    purchases = (DAGS / "uploads" / "store_purchases.yml").read_text(encoding="utf-8")
    (place / "dags" / "uploads" / "gated_purchases.yml").write_text(f"{purchases}\n{GATED}", encoding="utf-8")
    awaited = purchases.replace('schedule: "30 4 * * *"', WAITING)
    (place / "dags" / "uploads" / f"{AWAITED}.yml").write_text(awaited, encoding="utf-8")
    clients = place / "dags" / "clients.yml"
    clients.write_text(clients.read_text(encoding="utf-8").replace("platform:\n", WATCHED), encoding="utf-8")
    (place / "dags" / "own.py").write_text(OWN_DAG, encoding="utf-8")
    (place / "dags" / "waiting.py").write_text(WAITING_DAGS, encoding="utf-8")
    shutil.copy(REPOSITORY / "offline_capi/airflow_provider/example_dags/example_offline_capi.py", place / "dags")
    (place / "home" / "plugins").mkdir(parents=True)
    (place / "home" / "plugins" / "catalogue.py").write_text(CATALOGUE, encoding="utf-8")
    embedded = EmbeddedAirflow(place / "home", place / "dags")
    yield embedded
    embedded.close()


@dataclass
class SampleNight:
    """Sample rows of yesterday, a fresh ledger, and the sandbox knowing the sample clients."""

    home: Path
    day: date
    sandbox: Sandbox
    airflow: EmbeddedAirflow

    @property
    def environment(self) -> dict[str, str]:
        settings = demo_settings(self.home, self.sandbox.url)
        return {name: value for name, value in settings.items() if name != "AIRFLOW_HOME"}

    @property
    def window(self) -> dict[str, str]:
        return {"since": self.day.isoformat(), "until": (self.day + timedelta(days=1)).isoformat()}

    def run(self, upload: str, **more: Any) -> Night:
        """One run of the upload's DAG over the sample day."""
        return self.airflow.run(upload, self.environment, **{**self.window, **more})

    def clear(self, upload: str, run_id: str, *tasks: str) -> Night:
        return self.airflow.clear(upload, self.environment, run_id, *tasks)

    def reports(self) -> list[RunReport]:
        """What the ledger says of the runs that closed their books, oldest first."""
        with Ledger(self.environment["OFFLINE_CAPI_LEDGER"]) as ledger:
            return [RunReport.from_json(run.report) for run in reversed(ledger.runs.list_newest(100)) if run.report]

    def run_states(self) -> list[str]:
        with Ledger(self.environment["OFFLINE_CAPI_LEDGER"]) as ledger:
            return [run.status for run in reversed(ledger.runs.list_newest(100))]

    def pixel(self, client: str) -> str:
        return load_config(DAGS, environ=self.environment).clients[client].pixel_id

    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.home / "stage").glob("*/events-*"))


@pytest.fixture
def night(airflow: EmbeddedAirflow, sandbox: Sandbox, tmp_path: Path) -> SampleNight:
    day = yesterday(APPROVALS_ZONE)  # over in Berlin too
    build_samples(tmp_path, day, samples=REPOSITORY / "data_samples")
    sample = SampleNight(tmp_path, day, sandbox, airflow)
    for variable, token in SAMPLE_TOKENS.items():
        sandbox.grant(token, [sample.pixel(variable.removesuffix("_TOKEN").lower())])
    return sample
