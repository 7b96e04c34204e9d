"""Pages inside Airflow's UI, behind its own login: runs and their reports, clients, key coverage, unconfirmed requests.

A user who may see the DAG of an upload sees its runs and the clients it sends for. A page holds numbers and reasons,
never a value of a row; all of it is read from the ledger and from the status files of the clients.
"""

# Without postponed annotations: FastAPI has to see what the functions depend on.
import json
from collections.abc import Collection, Iterator
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
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from offline_capi.airflow_provider.dags.dag_factory import make_dag_id
from offline_capi.airflow_provider.dags.trigger_form import list_possible_clients
from offline_capi.airflow_provider.operators.run_link import RUN_XCOM_KEY
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import format_utc
from offline_capi.runtime.bugs import as_internal

if TYPE_CHECKING:
    from offline_capi.config import Client, Deployment, SecretResolver
    from offline_capi.guards.quality_gates import Day
    from offline_capi.ledger import Ledger, RunRecord

__all__ = ["app"]

#: What the page of runs shows for a dry run in place of the status that its run would have.
DRY_RUN = "dry run"
#: How a run can stand on the page of runs, for its filter.
RUN_STATUSES = ("complete", "partial", "failed", "running", DRY_RUN)
#: How many runs the page of runs shows.
LAST_RUNS = 100
#: How many days the plots show.
NIGHTS = 30
#: Runs read to find them: some days have a backfill or a replay in addition to the scheduled run.
RUNS_LOOKED_AT = 2 * NIGHTS
#: Uploads that the page of plots shows at once: the reports of each are read.
UPLOADS_SHOWN = 10

app = FastAPI(title="offline_capi", docs_url=None, redoc_url=None, openapi_url=None)


# ---------------------------------------------------------------------------------------------- pages


@app.get("/runs", response_class=HTMLResponse)
def show_runs(user: GetUserDep, upload: str = "", status: str = "") -> str:
    """The last runs of every upload whose DAG this user may see, or of one of them, or those that ended in one way."""
    seen = _Visibility(user)
    with _open_ledger() as (_, __, ledger):
        names = [name for name in ledger.runs.list_uploads() if seen.upload(name)]
        chosen = [name for name in names if upload in ("", name)]
        planned = status == DRY_RUN
        runs = ledger.runs.list_newest(
            LAST_RUNS,
            uploads=chosen,
            status="" if planned else status,
            plans="only" if planned else "without" if status else "with",
        )
    links = _find_airflow_runs({make_dag_id(run.upload) for run in runs}, [run.id for run in runs]) if runs else {}
    filters = {"uploads": names, "upload": upload, "statuses": RUN_STATUSES, "status": status}
    return _render_page("runs", "Conversions sent", runs=runs, links=links, last=LAST_RUNS, **filters)


@app.get("/runs/{ledger_run}", response_class=HTMLResponse)
def show_report(ledger_run: str, user: GetUserDep) -> str:
    """The report of one run of the ledger, with what Meta counts of it once it has been asked."""
    from offline_capi.errors import UsageError
    from offline_capi.operations.quality import load_quality
    from offline_capi.pipeline import Services
    from offline_capi.report import Quality, RunReport, render_html

    with _open_ledger() as (deployment, secrets, ledger):
        try:
            run = ledger.runs.get(ledger_run)
        except UsageError:
            raise HTTPException(404, "the ledger has no such run") from None
        report = RunReport.from_json(run.report) if run.report else None
        quality = load_quality(report, Services(deployment, secrets, ledger)) if report else Quality()
    details = DagDetails(id=make_dag_id(run.upload))
    if not get_auth_manager().is_authorized_dag(method="GET", details=details, user=user):
        raise HTTPException(403, "you may not see the DAG of this upload")
    if report is None:
        return _render_page("message", f"{run.upload}: {run.status}", lines=[_describe_unreported(run)])
    return render_html(report, quality=quality, head=_load_templates().get_template("frame.html.j2").render())


@app.get("/clients", response_class=HTMLResponse)
def show_clients(user: GetUserDep) -> str:
    """The state of every client that an upload which this user may see sends for, or can send for."""
    from offline_capi.clients import StatusBook, build_overviews, find_hint
    from offline_capi.ledger import find_last_accepted

    with _open_ledger(whole=True) as (deployment, _, ledger):
        recipients, accepted = (
            _list_visible_recipients(_Visibility(user), deployment, ledger),
            find_last_accepted(ledger),
        )
    # No token is looked up: a web server has no need of any client's secret.
    found = build_overviews(recipients, None, StatusBook(deployment.platform.stage), datetime.now(UTC), accepted)
    return _render_page("clients", "Clients", overviews=found, hint=find_hint(found))


@app.get("/clients/{client}", response_class=HTMLResponse)
def show_client_report(client: str, user: GetUserDep, month: str | None = None) -> str:
    """The page for a client of the uploads that this user may see, counted from those uploads alone."""
    from offline_capi.errors import UsageError
    from offline_capi.operations.client_report import make_client_report
    from offline_capi.pipeline import Services
    from offline_capi.report.client_page import render_client_page

    with _open_ledger(whole=True) as (deployment, secrets, ledger):
        seen = _Visibility(user)
        if client not in _list_visible_recipients(seen, deployment, ledger):
            raise HTTPException(404, "no such client of an upload whose DAG you may see")
        names = {*deployment.uploads, *ledger.runs.list_uploads()}
        visible = {name for name in names if seen.upload(name)}
        try:
            report = make_client_report(client, Services(deployment, secrets, ledger), month=month, uploads=visible)
        except UsageError as error:
            raise HTTPException(400, str(error)) from None
    return render_client_page(report, head=_load_templates().get_template("frame.html.j2").render())


@app.get("/coverage", response_class=HTMLResponse)
def show_coverage(user: GetUserDep, upload: str = "", after: str = "") -> str:
    """Key coverage by day: of one upload, or of those whose names come after ``after``."""
    from offline_capi.airflow_provider.ui.plots import FRAME, make_key_plots

    seen, now = _Visibility(user), datetime.now(UTC)
    with _open_ledger() as (_, __, ledger):
        names = [
            name for name in ledger.runs.list_uploads() if seen.upload(name) and name > after and upload in ("", name)
        ]
        nights = {name: _list_nights(name, ledger, now) for name in names[:UPLOADS_SHOWN]}
    uploads = [(name, days, make_key_plots(days)) for name, days in nights.items()]
    more = names[UPLOADS_SHOWN - 1] if len(names) > UPLOADS_SHOWN else ""
    return _render_page("coverage", "Key coverage", uploads=uploads, frame=FRAME, nights=NIGHTS, more=more)


@app.get("/unconfirmed", response_class=HTMLResponse)
def show_unconfirmed(user: GetUserDep) -> str:
    """Requests with an unconfirmed outcome, of every upload whose DAG this user may see."""
    seen, now = _Visibility(user), datetime.now(UTC)
    with _open_ledger() as (_, __, ledger):
        unconfirmed = [one for one in ledger.journal.find_unconfirmed(now) if seen.upload(one.upload)]
    return _render_page("unconfirmed", "Unconfirmed", requests=unconfirmed, now=now)


@app.get("/days", response_class=HTMLResponse)
def show_days(user: GetUserDep, upload: str = "", after: str = "") -> str:
    """What is owed for each day: of one upload, or of those whose names come after ``after``."""
    from offline_capi.pipeline.open_days import read_calendar

    seen, now = _Visibility(user), datetime.now(UTC)
    with _open_ledger(whole=True) as (deployment, _, ledger):
        visible = [name for name in sorted(deployment.uploads) if seen.upload(name) and name > after]
        names = [name for name in visible if upload in ("", name)]
        shown = [deployment.uploads[name] for name in names[:UPLOADS_SHOWN]]
        calendars = [read_calendar(one, deployment, ledger, now) for one in shown]
    more = names[UPLOADS_SHOWN - 1] if len(names) > UPLOADS_SHOWN else ""
    return _render_page("days", "Days", calendars=calendars, more=more)


@app.get("/dags/{dag_id}/runs/{run_id:path}", dependencies=[Depends(requires_access_dag("GET"))])
def find_report(dag_id: str, run_id: str, request: Request) -> Response:
    """From a run of Airflow's to that of the ledger, which one of its tasks names; else what Airflow knows of it."""
    ledger_run = _find_ledger_run(dag_id, run_id)
    if ledger_run is not None:
        return RedirectResponse(f"{request.scope['root_path']}/runs/{quote(ledger_run)}")
    failed = _list_failed_tasks(dag_id, run_id)
    lines = [
        f"{', '.join(failed)} failed before a run was recorded in the ledger. Nothing was sent. The task's log has the "
        f"error and what to do; running again is safe."
        if failed
        else "No task of this run has opened a run in the ledger yet. The report appears here when it has ended."
    ]
    return HTMLResponse(_render_page("message", "No report yet" if not failed else "Failed", lines=lines))


@app.exception_handler(HTTPException)
def show_error(_: Request, error: HTTPException) -> Response:
    """What cannot be shown, as a page instead of JSON."""
    text = _render_page("message", "Not available", lines=[str(error.detail)])
    return HTMLResponse(text, error.status_code, error.headers)


def _find_ledger_run(dag_id: str, run_id: str) -> str | None:
    """The ledger's run that a task of this run named, or returned the id of."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        named = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key=RUN_XCOM_KEY)
        values: list[Any] = [XComModel.deserialize_value(xcom) for xcom in session.scalars(named)]
        if values:
            return str(values[-1])
        found = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key="return_value")  # of runs before 0.2
        values = [XComModel.deserialize_value(xcom) for xcom in session.scalars(found)]
    return next((value["run"] for value in values if isinstance(value, dict) and value.get("run")), None)


def _find_airflow_runs(dag_ids: Collection[str], ledger_runs: Collection[str]) -> dict[str, str]:
    """By ledger run, the path of the page of its Airflow run, however long ago it was."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import String, cast, select

    # As Airflow's databases keep a text, which is JSON; as text they compare alike in all of them.
    values = [json.dumps(run) for run in ledger_runs]
    named = select(XComModel).where(
        XComModel.key == RUN_XCOM_KEY, XComModel.dag_id.in_(dag_ids), cast(XComModel.value, String).in_(values)
    )
    with create_session() as session:
        return {
            str(XComModel.deserialize_value(xcom)): f"dags/{quote(xcom.dag_id)}/runs/{quote(xcom.run_id, safe='')}"
            for xcom in session.scalars(named)
        }


def _list_failed_tasks(dag_id: str, run_id: str) -> list[str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    failed = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.state == "failed"
    )
    with create_session() as session:
        return sorted(set(session.scalars(failed)))


def _describe_unreported(run: "RunRecord") -> str:
    if run.ended_at is None:
        return (
            f"Run {run.id} over {run.window} began {format_utc(run.started_at)} and has not ended: its report follows."
        )
    return (
        f"Run {run.id} over {run.window} ended without a report: its process was stopped. What was sent until then is "
        f"recorded, and running again is safe and sends only what is missing. The task's log has more."
    )


# ---------------------------------------------------------------------------------------------- what is seen


class _Visibility:
    """The DAGs that a user may see."""

    def __init__(self, user: Any) -> None:
        self._dags = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")

    def upload(self, name: str) -> bool:
        """Whether they may see the DAG of this upload."""
        return make_dag_id(name) in self._dags


def _list_visible_recipients(seen: _Visibility, deployment: "Deployment", ledger: "Ledger") -> dict[str, "Client"]:
    """All pixels of the clients that a visible upload can send for (see ``list_possible_clients``), or has sent for."""
    from offline_capi.model.recipients import get_client_name

    visible = {name: upload for name, upload in deployment.uploads.items() if seen.upload(name)}
    possible = (name for upload in visible.values() for name in list_possible_clients(deployment, upload))
    names = {*possible, *(get_client_name(recipient) for recipient in ledger.runs.list_clients(visible))}
    return {name: one for name, one in deployment.recipients.items() if get_client_name(name) in names}


def _list_nights(upload: str, ledger: "Ledger", now: datetime) -> list["Day"]:
    """The last days with sendable events, oldest first, each as its last run counted it."""
    from offline_capi.guards.quality_gates import list_trailing_days
    from offline_capi.model import Window

    runs = ledger.runs.list_reported(upload, RUNS_LOOKED_AT)
    zone = runs[0].window.since.tzinfo if runs else UTC
    tomorrow = Window.of_day_at(now.astimezone(zone) + timedelta(days=1))
    days = list_trailing_days((run.report for run in runs if run.report), tomorrow, NIGHTS)
    return [day for day in reversed(days) if day.tally.sendable]


# ---------------------------------------------------------------------------------------------- how it is shown


def _render_page(here: str, title: str, **what: Any) -> str:
    name = f"{here.replace('-', '_')}.html.j2"
    return _load_templates().get_template(name).render(here=here, title=title, **what)


@cache
def _load_templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("offline_capi.airflow_provider.ui"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "moment": _format_moment,
        "day": _format_day,
        "n": "{:,}".format,
        "share": "{:.1%}".format,
        "meaning": _get_meaning,
    }
    return environment


def _format_moment(moment: datetime | str) -> str:
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return format_utc(at)


def _get_meaning(key: str) -> str:
    """``email`` for ``em``; empty where the key says it."""
    found = USER_DATA_KEYS.get(key)
    return found.meaning if found and found.meaning != key else ""


def _format_day(day: date) -> str:
    return f"{day.day} {day:%b}"


# ---------------------------------------------------------------------------------------------- what is read


class _PageContext(NamedTuple):
    deployment: "Deployment"
    secrets: "SecretResolver"
    ledger: "Ledger"


@contextmanager
def _open_ledger(*, whole: bool = False) -> Iterator[_PageContext]:
    """The configuration and its ledger; without ``whole`` no upload is loaded."""
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
            yield _PageContext(deployment, secrets, ledger)
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  whatever a page was made from
            raise as_internal(error) from None
