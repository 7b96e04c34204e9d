"""The tasks of a run. Each opens what it needs, calls one function of ``pipeline`` and returns a few numbers.

Nothing heavy is imported before a task runs: this module is loaded whenever a DAG file is parsed. What passes between
tasks is a plan's figures and a small manifest of each client's files; rows travel as hashed Parquet files, fates in
the ledger.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from airflow.sdk import get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from offline_capi.airflow_provider.dags.windows import resolve_window
from offline_capi.airflow_provider.observability.alerting import send_alerts
from offline_capi.airflow_provider.observability.lineage import report_lineage
from offline_capi.airflow_provider.observability.metrics import count_events, count_sending
from offline_capi.airflow_provider.observability.task_logging import count_fates, log_plan, log_report, log_sending
from offline_capi.airflow_provider.operators.batches import (
    MAX_UNITS,
    describe_failure,
    join_failures,
    make_units,
    read_staged,
)
from offline_capi.airflow_provider.operators.failures import raise_for_undelivered, raise_for_unsettled
from offline_capi.airflow_provider.operators.run_link import leave_run_id, record_failing_start
from offline_capi.airflow_provider.operators.task_context import (
    SCHEDULED,
    TaskLocation,
    bind_log_context,
    describe_actor,
    get_run_type,
    get_window,
    open_upload,
    refuse_unknown_conf,
    require_clients,
)
from offline_capi.errors import (
    AccessDeniedError,
    LedgerError,
    OfflineCapiError,
    PartialLossError,
    UsageError,
)
from offline_capi.model import Fate, Reason
from offline_capi.runtime.bugs import as_internal

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.guards.quotas import Quotas
    from offline_capi.model import Window
    from offline_capi.pipeline import Services
    from offline_capi.pipeline.settle import SettlementResult
    from offline_capi.report import RunReport
    from offline_capi.storage.staging import StagedEvents

__all__ = ["plan", "prepare", "purge", "reconcile", "send_client"]

#: In place of the clients, where a test event code sends everything in one task.
_TEST_UNIT = {"client": "test events", "staged": []}

#: Failed requests of a client that its log names; halving may make hundreds of one.
MAX_LOGGED_REQUESTS = 20

_log = structlog.get_logger(__name__)


def plan(folder: str, upload: str) -> dict[str, Any]:
    """Resolve the window and open a run; unless it is scheduled, log first what it would send.

    A scheduled run also opens one for each day that earlier runs left open, and logs which. A dry run ends here: its
    report is kept and nothing else. A run with a test event code opens its run where it is sent.
    """
    with record_failing_start(TaskLocation(folder, upload)):
        return _plan(folder, upload)


def _plan(folder: str, upload: str) -> dict[str, Any]:
    from offline_capi.delivery import check_test_event_code
    from offline_capi.pipeline import begin_run

    context = get_current_context()
    refuse_unknown_conf(context)
    trigger, form = get_run_type(context), context["params"]
    check_test_event_code(form.get("test_event_code") or None, trigger)
    with open_upload(TaskLocation(folder, upload)) as (one, services):
        window = get_window(one, context)
        wanted = require_clients(form.get("clients") or (), services)
        found = {} if trigger in SCHEDULED else _log_forecast(one, window, services, wanted, form)
        recorded = not (form.get("dry_run") or form.get("test_event_code"))
        settles = _open_settling_runs(one, window, services) if trigger in SCHEDULED and recorded else []
        run_id = begin_run(one, window, services, trigger=trigger, narrowed=bool(wanted)) if recorded else None
    if run_id:
        bind_log_context(upload_run_id=run_id)
        leave_run_id(run_id)
    _log.info("planned", since=window.since.isoformat(), until=window.until.isoformat(), trigger=trigger)
    manifest = {"run": run_id, "window": _list_ends(window), "clients": wanted, **found}
    return {**manifest, "settles": settles} if settles else manifest


def prepare(folder: str, upload: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read, map, hash and check the window; stage one hashed file a client. Returns what each mapped task sends.

    One task for all clients, although sending is mapped: clients share a source, so that a task each would query it
    and scan it once a client, and each would reject the rows of the others. Which clients there are is known only when
    the rows have been read.
    """
    from offline_capi.pipeline import record_failure, stage_upload

    form = get_current_context()["params"]
    if form.get("test_event_code") and not form.get("dry_run"):
        return [{**_TEST_UNIT, "window": manifest["window"]}]
    run_id = _require_run(manifest)
    with open_upload(TaskLocation(folder, upload), run_id) as (one, services):
        window = _parse_window(manifest["window"], one.window.timezone)
        force = bool(form.get("force_gates"))
        record_choices(one, services, run_id, form)
        try:
            staged = _stage_open_days(manifest.get("settles", ()), one, services)
            staged += stage_upload(one, window, services, run_id, clients=manifest["clients"], force_gates=force)
            if form.get("resend"):
                _forget_rejected(run_id, services)
        except LedgerError:
            raise
        except Exception as error:
            record_failure(run_id, error, services)
            raise
        limit = min(MAX_UNITS, conf.getint("core", "max_map_length", fallback=MAX_UNITS))
        units = make_units(staged, services.stage, run_id, limit=limit)
    for file in staged:
        _log.info("staged", client=file.client, events=file.events)
    return units


def send_client(folder: str, upload: str, unit: Mapping[str, Any]) -> dict[str, int]:
    """Send what is staged for the clients of a unit and not sent yet; fail at the end when any of it did not arrive.

    A unit is one client, of which there may be staged files of several runs, or several small clients, each sent for
    whether or not the others fail. Killed at any point and repeated, it goes on where it was: the ledger knows each
    request that left, answered or not.
    """
    context: Any = get_current_context()
    context["client"] = unit["client"]  # for map_index_template
    if unit["client"] == _TEST_UNIT["client"]:
        return _send_test(TaskLocation(folder, upload), unit["window"])
    from offline_capi.guards.quotas import Quotas

    sent: Counter[str] = Counter()
    failures: dict[str, OfflineCapiError] = {}
    with open_upload(TaskLocation(folder, upload), unit.get("run_id")) as (one, services):
        staged = read_staged(unit, services.stage)
        if not staged:
            _check_purged(unit["client"], unit["run_id"], services)
        clients = {name: [*files] for name, files in groupby(staged, key=lambda file: file.client)}
        quotas = Quotas(services.deployment.recipients)  # one for the whole run, the oldest day first
        for client, files in clients.items():
            bind_log_context(client=client)
            for file in files:
                try:
                    sent.update(_send_file(file, one, services, quotas))
                except Exception as raised:  # noqa: BLE001  whatever it is, the other clients are sent for
                    error = as_internal(raised)
                    failures.setdefault(client, error)
                    if len(staged) > 1:
                        _log.error(f"{describe_failure(client, error)} What else this task has is sent all the same.")
                    if isinstance(error, AccessDeniedError):
                        break  # Meta would refuse the client's next file as well
    if failures:
        raise join_failures(failures, len(clients))
    return dict(sent)


def _send_file(staged: StagedEvents, upload: Upload, services: Services, quotas: Quotas) -> dict[str, int]:
    """Send one staged file, count and log its outcome; fail when any of it did not arrive."""
    from offline_capi.pipeline import send_staged

    started = time.monotonic()
    bind_log_context(upload_run_id=staged.run_id)
    if not any(map(services.stage.filesystem.exists, staged.paths)):
        _check_purged(staged.client, staged.run_id, services)
        return {}
    tally = send_staged(staged, upload, services, quotas=quotas)
    report_lineage(upload, services, {staged.client: tally.count(Fate.SENT)})
    log_sending(tally, services.ledger.runs.list_failed_requests(staged.run_id, staged.client, MAX_LOGGED_REQUESTS))
    took = timedelta(seconds=time.monotonic() - started)
    count_sending(tally, took, upload=upload.name, client=staged.client)
    raise_for_undelivered(staged.client, tally)
    return count_fates(tally)


def reconcile(folder: str, upload: str, manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Close the books of the run and of the open days that it took up, print them; fail when anything is missing."""
    from offline_capi.privacy import purge_if_due

    if manifest is None:
        raise PartialLossError(f"{upload}: no run was opened, so nothing was read or sent. Look at the plan task.")
    failed = _list_failed_tasks()
    if manifest["run"] is None and failed:
        raise PartialLossError(f"{upload}: {', '.join(failed)} failed; its log says why.")
    run_id = _require_run(manifest)
    with open_upload(TaskLocation(folder, upload), run_id) as (one, services):
        purge_if_due(
            services, who=describe_actor(get_current_context())
        )  # a failed run never gets to the task ``purge``
        settled = _close_open_days(manifest.get("settles", ()), one, services)
        if "prepare" in failed:
            _fail_unprepared(run_id, services)
        before = _find_earlier_report(run_id, services)
        report = _close(run_id, one, services)
        send_alerts(report, services)
        count_events(report, services.deployment.recipients, before)
    for earlier in settled.reports:
        log_report(earlier)
    log_report(report)
    report.raise_for_loss()
    raise_for_unsettled(upload, settled)
    if failed:
        raise PartialLossError(f"run {run_id}: everything arrived, but {', '.join(failed)} failed; its log says why.")
    summary = {"run": run_id, "status": report.status.value, "balance": report.balance, **count_fates(report.tally)}
    _annotate_asset({**summary, "window": manifest["window"]})
    return summary


def purge(folder: str, upload: str, manifest: Mapping[str, Any]) -> None:
    """Remove the staged files of a run whose books are closed; those of a failed run stay, to be sent again.

    And, once a day, what is older than ``platform.retention`` says.
    """
    from offline_capi.privacy import purge_if_due

    run_id = _require_run(manifest)
    with open_upload(TaskLocation(folder, upload), run_id) as (_, services):
        for one in (*(settle["run"] for settle in manifest.get("settles", ())), run_id):
            services.stage.purge_events(one)
        purge_if_due(services, who=describe_actor(get_current_context()))


# ---------------------------------------------------------------------------------------------- helpers


def _log_forecast(
    upload: Upload, window: Window, services: Services, clients: list[str], form: Mapping[str, Any]
) -> dict[str, Any]:
    """Log the plan of the run and return its figures; raise if it is more than the form allows.

    The plan of a dry run is kept, for the Conversions tab.
    """
    from offline_capi.pipeline import plan_upload, record_plan

    report = plan_upload(upload, window, services, clients=clients)
    if form.get("dry_run"):
        report = record_plan(report, services)
        leave_run_id(report.run_id)
    log_plan(report)
    again = report.tally.count(Fate.REJECTED_BY_META) if form.get("resend") else 0
    if again:
        _log.info("events that Meta refused before go again", events=again)
    refused = report.tally.count_reasons(Fate.DEFERRED).get((Reason.CLIENT_STOPPED, ""), 0)  # a run asks Meta once more
    _check_limit(report.tally.count(Fate.SENT) + refused + again, form.get("limit"))
    return {"balance": report.balance, "foreseen": count_fates(report.tally), **({"resent": again} if again else {})}


def _open_settling_runs(upload: Upload, window: Window, services: Services) -> list[dict[str, Any]]:
    """Open a run for each day that earlier runs left open, oldest first, and say which and why."""
    from offline_capi.pipeline import begin_run
    from offline_capi.pipeline.settle import plan_settling

    days = plan_settling(upload, services, besides=window, announce=_log.info)
    return [{"run": begin_run(upload, day, services, trigger="settle"), "window": _list_ends(day)} for day in days]


def _stage_open_days(settles: Sequence[Mapping[str, Any]], upload: Upload, services: Services) -> list[StagedEvents]:
    """Stage the days that earlier runs left open; one whose source fails stays open, and the others have their turn."""
    from offline_capi.pipeline import record_failure, stage_upload

    staged: list[StagedEvents] = []
    for settle in settles:
        window = _parse_window(settle["window"], upload.window.timezone)
        try:
            staged += stage_upload(upload, window, services, settle["run"])
        except LedgerError:
            raise
        except OfflineCapiError as error:
            _log.error(f"{window} stays open: {error}")
            record_failure(settle["run"], error, services)
    return staged


def _close_open_days(settles: Sequence[Mapping[str, Any]], upload: Upload, services: Services) -> SettlementResult:
    """Close the books of the runs over days that were open; those that were never prepared stay open."""
    from offline_capi.pipeline.settle import SettlementResult

    settled = SettlementResult()
    for settle in settles:
        run_id = settle["run"]
        if "prepare" not in services.ledger.runs.load_parts(run_id):
            if services.ledger.runs.get(run_id).ended_at is None:
                services.ledger.runs.finish(run_id, status="failed", report=None, now=services.clock())
            day = _parse_window(settle["window"], upload.window.timezone).since.date()
            settled.failures[day] = PartialLossError("its source could not be prepared; the log of prepare says why")
            continue
        report = _close(run_id, upload, services)
        send_alerts(report, services)
        settled.reports.append(report)
    return settled


def _list_ends(window: Window) -> list[str]:
    return [window.since.isoformat(), window.until.isoformat()]


def _check_limit(events: int, limit: int | None) -> None:
    if limit is not None and events > limit:
        raise UsageError(
            f"the plan would send {events:,} events, more than the {limit:,} that the form allows. Narrow the days or "
            f"clients, or raise the limit. Nothing was sent."
        )


def record_choices(upload: Upload, services: Services, run_id: str, form: Mapping[str, Any]) -> None:
    """In the audit log, who forced a gate or sends again what Meta refused."""
    from offline_capi.ledger import AuditAction, record_audit

    for field, action in (("force_gates", AuditAction.FORCE_GATES), ("resend", AuditAction.RESEND)):
        if form.get(field):
            who = describe_actor(get_current_context())
            record_audit(services.ledger, action, upload.name, now=services.clock(), who=who, run_id=run_id)


def _forget_rejected(run_id: str, services: Services) -> None:
    """Let the ledger take the refused ones among a run's staged events for events that were never sent."""
    for events in services.stage.read_all_events(run_id):
        services.ledger.journal.forget(events.keys, rejected=True)


def _check_purged(client: str, run_id: str, services: Services) -> None:
    """Staged events that are gone have arrived if their run is complete; else raise ``UsageError``."""
    if not _is_complete(run_id, services):
        raise UsageError(
            f"{client}: the staged events of run {run_id} are gone. Clear prepare and all that follows it, "
            f"or trigger the day anew: only what is missing is sent."
        )
    _log.info("everything arrived before and its staged events were purged; nothing is sent")


def _is_complete(run_id: str, services: Services) -> bool:
    return services.ledger.runs.get(run_id).status == "complete"


def _find_earlier_report(run_id: str, services: Services) -> RunReport | None:
    """The books as they were closed before this task was cleared or repeated."""
    from offline_capi.report import RunReport

    report = services.ledger.runs.get(run_id).report
    return RunReport.from_json(report) if report else None


def _close(run_id: str, upload: Upload, services: Services) -> RunReport:
    """Close the books; of a run that was purged, and so was complete, they are closed already."""
    from offline_capi import pipeline

    purged = next(services.stage.read_all_events(run_id, 1), None) is None
    if purged and _is_complete(run_id, services):
        return pipeline.find_report(run_id, services)
    return pipeline.reconcile(run_id, upload, services)


def _annotate_asset(summary: Mapping[str, Any]) -> None:
    """The extra of the asset's event, for DAGs that are scheduled by it."""
    context: Any = get_current_context()
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = dict(summary)


def _send_test(location: TaskLocation, window: list[str]) -> dict[str, int]:
    """Send the whole window with the form's test event code, in this task; the ledger keeps the report alone."""
    from offline_capi.pipeline import run_upload

    context = get_current_context()
    form = context["params"]
    with open_upload(location) as (one, services):
        report = run_upload(
            one,
            _parse_window(window, one.window.timezone),
            services,
            trigger=get_run_type(context),
            clients=form.get("clients") or (),
            test_event_code=form["test_event_code"],
            force_gates=bool(form.get("force_gates")),
        )
    leave_run_id(report.run_id)
    log_report(report)
    report.raise_for_loss()
    return count_fates(report.tally)


def _require_run(manifest: Mapping[str, Any]) -> str:
    if manifest["run"] is None:
        raise AirflowSkipException(
            "no run was opened: a dry run shows only the plan, a test event code goes its own way"
        )
    return str(manifest["run"])


def _parse_window(ends: list[str], zone: str) -> Window:
    return resolve_window({"since": ends[0], "until": ends[1]}, None, None, zone)


def _list_failed_tasks() -> list[str]:
    """Tasks of this run that failed, mapped ones with their index; what the ledger says comes on top of it."""
    context: Any = get_current_context()
    own = context["ti"]
    states = own.get_task_states(dag_id=own.dag_id, run_ids=[own.run_id])
    tasks = (pair for of_run in states.values() for pair in of_run.items())
    return sorted(task for task, state in tasks if state in ("failed", "upstream_failed"))


def _fail_unprepared(run_id: str, services: Services) -> NoReturn:
    """A run that was never prepared has no books to close: without this it would look complete with nothing read."""
    from offline_capi.pipeline import record_failure

    error = PartialLossError(
        f"run {run_id}: the source could not be prepared, so nothing was sent; the log of prepare says why. "
        f"Repeating is safe."
    )
    if services.ledger.runs.get(run_id).report is None:  # it was killed, or its ledger could not be reached
        record_failure(run_id, error, services)
    raise error
