"""Pages inside Airflow's UI: the last runs by the ledger, and the report of each; behind Airflow's own login.

Whoever may see the DAG of an upload may see its runs. A page holds numbers and reasons, never a value of a row.
"""

# Without postponed annotations: FastAPI has to see what the functions depend on.
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from offline_capi.airflow_provider.dag_factory import dag_id_of

if TYPE_CHECKING:
    from offline_capi.ledger import Ledger

__all__ = ["app"]

#: How many runs the page of runs shows.
LAST_RUNS = 100

app = FastAPI(title="offline_capi", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/runs", response_class=HTMLResponse)
def show_runs(user: GetUserDep) -> str:
    """The last runs of every upload whose DAG this user may see."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    with _ledger() as ledger:
        runs = [run for run in ledger.runs(LAST_RUNS) if dag_id_of(run.upload) in readable]
    environment = Environment(
        loader=PackageLoader("offline_capi.airflow_provider"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("runs.html.j2").render(runs=runs)


@app.get("/runs/{ledger_run}", response_class=HTMLResponse)
def show_report(ledger_run: str, user: GetUserDep) -> str:
    """The report of one run of the ledger."""
    from offline_capi.errors import UsageError
    from offline_capi.report import RunReport, render_html

    with _ledger() as ledger:
        try:
            run = ledger.run(ledger_run)
        except UsageError:
            raise HTTPException(404, "the ledger has no such run") from None
    details = DagDetails(id=dag_id_of(run.upload))
    if not get_auth_manager().is_authorized_dag(method="GET", details=details, user=user):
        raise HTTPException(403, "you may not see the DAG of this upload")
    if run.report is None:
        raise HTTPException(404, f"run {run.id} is {run.status} and has no report")
    return render_html(RunReport.from_json(run.report))


@app.get("/dags/{dag_id}/runs/{run_id:path}", dependencies=[Depends(requires_access_dag("GET"))])
def find_report(dag_id: str, run_id: str, request: Request) -> RedirectResponse:
    """From a run of Airflow's to that of the ledger, which its plan task names."""
    ledger_run = _ledger_run_of(dag_id, run_id)
    if ledger_run is None:
        raise HTTPException(404, "this run opened none in the ledger: it is not planned yet, or a dry run or a test")
    return RedirectResponse(f"{request.scope['root_path']}/runs/{quote(ledger_run)}")


def _ledger_run_of(dag_id: str, run_id: str) -> str | None:
    """The ledger's run that a task of this run returned the id of."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key="return_value")
        values: list[Any] = [XComModel.deserialize_value(xcom) for xcom in session.scalars(found)]
    return next((value["run"] for value in values if isinstance(value, dict) and value.get("run")), None)


@contextmanager
def _ledger() -> "Iterator[Ledger]":
    from offline_capi.airflow_provider.secrets import AirflowEnvironment, AirflowSecrets
    from offline_capi.config import load_each
    from offline_capi.config.secrets import database_url
    from offline_capi.ledger import Ledger

    environment = AirflowEnvironment()
    folder = conf.get("offline_capi", "config_folder", fallback="") or conf.get_mandatory_value("core", "dags_folder")
    deployment, _ = load_each(folder, environ=environment, only="")  # the ledger's place alone: no upload is looked at
    with Ledger(database_url(deployment.platform.ledger, AirflowSecrets(environment)).reveal()) as ledger:
        yield ledger
