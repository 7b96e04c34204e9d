"""Pages inside Airflow's UI, behind its own login: runs and their reports, clients, key coverage, what is unconfirmed.

Whoever may see the DAG of an upload may see its runs and the clients it sends for. A page holds numbers and reasons,
never a value of a row; all of it is read from the ledger and from what the last look at each client found.
"""

# Without postponed annotations: FastAPI has to see what the functions depend on.
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from offline_capi.airflow_provider.dags.dag_factory import dag_id_of
from offline_capi.model import format_utc
from offline_capi.runtime.bugs import as_internal

if TYPE_CHECKING:
    from offline_capi.config import Client, Deployment, SecretResolver
    from offline_capi.guards.quality_gates import Day
    from offline_capi.ledger import Ledger

__all__ = ["app"]

#: How many runs the page of runs shows.
LAST_RUNS = 100
#: How many nights the plots show.
NIGHTS = 30
#: Runs that are looked at to find them: some nights have a backfill or a replay beside the nightly run.
RUNS_LOOKED_AT = 2 * NIGHTS
#: Uploads that the page of plots shows at once: the reports of each are read.
UPLOADS_SHOWN = 10

app = FastAPI(title="offline_capi", docs_url=None, redoc_url=None, openapi_url=None)


# ---------------------------------------------------------------------------------------------- pages


@app.get("/runs", response_class=HTMLResponse)
def show_runs(user: GetUserDep) -> str:
    """The last runs of every upload whose DAG this user may see."""
    seen = _Sight(user)
    with _opened() as (_, __, ledger):
        runs = [run for run in ledger.runs.list_newest(LAST_RUNS) if seen.upload(run.upload)]
    return _page("runs", "Conversions sent", runs=runs)


@app.get("/runs/{ledger_run}", response_class=HTMLResponse)
def show_report(ledger_run: str, user: GetUserDep) -> str:
    """The report of one run of the ledger, with what Meta counts of it once it has been asked."""
    from offline_capi.errors import UsageError
    from offline_capi.operations.quality import load_quality
    from offline_capi.pipeline import Services
    from offline_capi.report import Quality, RunReport, render_html

    with _opened() as (deployment, secrets, ledger):
        try:
            run = ledger.runs.get(ledger_run)
        except UsageError:
            raise HTTPException(404, "the ledger has no such run") from None
        report = RunReport.from_json(run.report) if run.report else None
        told = load_quality(report, Services(deployment, secrets, ledger)) if report else Quality()
    details = DagDetails(id=dag_id_of(run.upload))
    if not get_auth_manager().is_authorized_dag(method="GET", details=details, user=user):
        raise HTTPException(403, "you may not see the DAG of this upload")
    if report is None:
        raise HTTPException(404, f"run {run.id} is {run.status} and has no report")
    return render_html(report, quality=told, head=_templates().get_template("frame.html.j2").render())


@app.get("/clients", response_class=HTMLResponse)
def show_clients(user: GetUserDep) -> str:
    """How the clients stand for which any upload sends that this user may see."""
    from offline_capi.clients import StatusBook, build_overviews
    from offline_capi.ledger import find_last_accepted

    with _opened(whole=True) as (deployment, _, ledger):
        recipients, accepted = _recipients_seen(_Sight(user), deployment, ledger), find_last_accepted(ledger)
    # No token is looked up: a web server has no need of any client's secret.
    found = build_overviews(recipients, None, StatusBook(deployment.platform.stage), datetime.now(UTC), accepted)
    return _page("clients", "Clients", overviews=found)


@app.get("/coverage", response_class=HTMLResponse)
def show_coverage(user: GetUserDep, upload: str = "", after: str = "") -> str:
    """By what the events of each night can be matched: of one upload, or of those whose names come after ``after``."""
    from offline_capi.airflow_provider.ui.plots import FRAME, key_plots

    seen, now = _Sight(user), datetime.now(UTC)
    with _opened() as (_, __, ledger):
        names = [
            name for name in ledger.runs.list_uploads() if seen.upload(name) and name > after and upload in ("", name)
        ]
        nights = {name: _nights(name, ledger, now) for name in names[:UPLOADS_SHOWN]}
    uploads = [(name, days, key_plots(days)) for name, days in nights.items()]
    more = names[UPLOADS_SHOWN - 1] if len(names) > UPLOADS_SHOWN else ""
    return _page("coverage", "Key coverage", uploads=uploads, frame=FRAME, nights=NIGHTS, more=more)


@app.get("/unconfirmed", response_class=HTMLResponse)
def show_doubts(user: GetUserDep) -> str:
    """The requests that nobody knows the end of, of every upload whose DAG this user may see."""
    seen, now = _Sight(user), datetime.now(UTC)
    with _opened() as (_, __, ledger):
        doubts = [one for one in ledger.journal.find_unconfirmed(now) if seen.upload(one.upload)]
    return _page("unconfirmed", "Unconfirmed", doubts=doubts, now=now)


@app.get("/days", response_class=HTMLResponse)
def show_days(user: GetUserDep, upload: str = "", after: str = "") -> str:
    """What is owed for each day: of one upload, or of those whose names come after ``after``."""
    from offline_capi.pipeline.open_days import read_calendar

    seen, now = _Sight(user), datetime.now(UTC)
    with _opened(whole=True) as (deployment, _, ledger):
        visible = [name for name in sorted(deployment.uploads) if seen.upload(name) and name > after]
        names = [name for name in visible if upload in ("", name)]
        shown = [deployment.uploads[name] for name in names[:UPLOADS_SHOWN]]
        calendars = [read_calendar(one, deployment, ledger, now) for one in shown]
    more = names[UPLOADS_SHOWN - 1] if len(names) > UPLOADS_SHOWN else ""
    return _page("days", "Days", calendars=calendars, more=more)


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


# ---------------------------------------------------------------------------------------------- what is seen


class _Sight:
    """What a user may see."""

    def __init__(self, user: Any) -> None:
        self._dags = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")

    def upload(self, name: str) -> bool:
        """Whether they may see the DAG of this upload."""
        return dag_id_of(name) in self._dags


def _recipients_seen(seen: _Sight, deployment: "Deployment", ledger: "Ledger") -> dict[str, "Client"]:
    """All pixels of the clients that a visible upload names, or has sent for where its rows name them."""
    from offline_capi.model.recipients import get_client_name

    visible = {name: upload for name, upload in deployment.uploads.items() if seen.upload(name)}
    constants = (upload.client.constant for upload in visible.values())
    names = {*constants, *(get_client_name(recipient) for recipient in ledger.runs.list_clients(visible))}
    return {name: one for name, one in deployment.recipients.items() if get_client_name(name) in names}


def _nights(upload: str, ledger: "Ledger", now: datetime) -> list["Day"]:
    """The last nights on which the upload had sendable events, oldest first, each as its last run counted it."""
    from offline_capi.guards.quality_gates import list_trailing_days
    from offline_capi.model import Window

    runs = ledger.runs.list_reported(upload, RUNS_LOOKED_AT)
    zone = runs[0].window.since.tzinfo if runs else UTC
    tomorrow = Window.of_day_at(now.astimezone(zone) + timedelta(days=1))
    days = list_trailing_days((run.report for run in runs if run.report), tomorrow, NIGHTS)
    return [day for day in reversed(days) if day.tally.sendable]


# ---------------------------------------------------------------------------------------------- how it is shown


def _page(here: str, title: str, **what: Any) -> str:
    name = f"{here.replace('-', '_')}.html.j2"
    return _templates().get_template(name).render(here=here, title=title, **what)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("offline_capi.airflow_provider.ui"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"moment": _moment, "day": _day, "n": "{:,}".format, "share": "{:.1%}".format}
    return environment


def _moment(moment: datetime | str) -> str:
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return format_utc(at)


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


# ---------------------------------------------------------------------------------------------- what is read


class _Opened(NamedTuple):
    deployment: "Deployment"
    secrets: "SecretResolver"
    ledger: "Ledger"


@contextmanager
def _opened(*, whole: bool = False) -> Iterator[_Opened]:
    """The configuration and its ledger; without ``whole`` no upload of it is looked at."""
    from offline_capi.airflow_provider.hooks.secrets import AirflowEnvironment, AirflowSecrets
    from offline_capi.config import load_each
    from offline_capi.config.secrets import resolve_database_url
    from offline_capi.ledger import Ledger

    environment = AirflowEnvironment()
    folder = conf.get("offline_capi", "config_folder", fallback="") or conf.get_mandatory_value("core", "dags_folder")
    deployment, _ = load_each(folder, environ=environment, only=None if whole else "")
    secrets = AirflowSecrets(environment)
    url = resolve_database_url(deployment.platform.ledger, secrets, deployment.project).reveal()
    with Ledger(url, access=deployment.platform.file_access) as ledger:
        try:
            yield _Opened(deployment, secrets, ledger)
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  whatever a page was made from
            raise as_internal(error) from None
