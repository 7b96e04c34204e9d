"""The five tasks of a night. Each opens what it needs, calls one function of ``pipeline`` and hands on a few numbers.

Nothing heavy is imported before a task runs: this module is loaded whenever a DAG file is parsed. What passes between
tasks is a ``Plan`` and one small manifest a client; rows travel as hashed Parquet files, fates in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from offline_capi.errors import (
    AccessDeniedError,
    ConfigError,
    OfflineCapiError,
    PartialLossError,
    TemporaryError,
    UsageError,
)
from offline_capi.model import Fate, Reason

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.model import Tally, Window
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport

__all__ = ["Place", "explain_config", "plan", "prepare", "purge", "reconcile", "send_client"]


_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Which upload of which configuration folder a task works for."""

    folder: str
    upload: str


# ---------------------------------------------------------------------------------------------- the tasks


def plan(folder: str, upload: str) -> dict[str, Any]:
    """Resolve the window and open a run; for whoever triggered by hand, say first what will go.

    A dry run ends here: it opens no run, and nothing is recorded.
    """
    from offline_capi.pipeline import begin_run

    context = get_current_context()
    trigger, params = str(_run_type(context)), context["params"]
    with opened(Place(folder, upload)) as (one, services):
        window = window_of(one, context)
        wanted = _known_clients(params.get("clients") or (), services)
        found = {} if trigger == "scheduled" else _foresee(one, window, services, wanted)
        run_id = None if params.get("dry_run") else begin_run(one, window, services, trigger=trigger)
    return {"run": run_id, "window": [window.since.isoformat(), window.until.isoformat()], "clients": wanted, **found}


def prepare(folder: str, upload: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read, map, hash and check the window; stage one hashed file a client."""
    from offline_capi.pipeline import stage_upload

    run_id = _opened_run(manifest)
    with opened(Place(folder, upload)) as (one, services):
        window = _window_in_zone(manifest["window"], one.window.timezone)
        units = stage_upload(one, window, services, run_id, clients=manifest["clients"])
    for unit in units:
        _log.info("%s: %d events staged", unit.client, unit.events)
    return [unit.to_json() for unit in units]


def send_client(folder: str, upload: str, unit: Mapping[str, Any]) -> dict[str, int]:
    """Send what is staged for one client and not sent yet; fail when any of it did not arrive."""
    from offline_capi.pipeline import send_staged
    from offline_capi.staging import StagedEvents

    context: Any = get_current_context()
    context["client"] = unit["client"]  # for map_index_template
    with opened(Place(folder, upload)) as (one, services):
        tally = send_staged(StagedEvents(**unit), one, services)
    raise_for_undelivered(unit["client"], tally)
    return _numbers(tally)


def reconcile(folder: str, upload: str, manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Close the run's books from the ledger, print its report; fail when anything is missing."""
    from offline_capi import pipeline

    if manifest is None:
        raise PartialLossError(f"{upload}: no run was opened, so nothing was read or sent. Look at the plan task.")
    run_id, failed = _opened_run(manifest), _failed_tasks()
    with opened(Place(folder, upload)) as (one, services):
        if "prepare" in failed:
            _give_up(run_id, services)
        report = pipeline.reconcile(run_id, one, services)
    _print_report(report)
    report.raise_for_loss()
    if failed:
        raise PartialLossError(f"run {run_id}: everything arrived, but {', '.join(failed)} failed; its log says why.")
    return {"run": run_id, "status": report.status.value, "balance": report.balance, **_numbers(report.tally)}


def purge(folder: str, upload: str, manifest: Mapping[str, Any]) -> None:
    """Remove the staged files of a run whose books are closed; those of a failed run stay, to be sent again."""
    with opened(Place(folder, upload)) as (_, services):
        services.stage.purge_events(_opened_run(manifest))


def explain_config(problems: str) -> None:
    """The one task of an upload whose file is broken: fail with everything that is wrong with it."""
    raise ConfigError(problems)


# ---------------------------------------------------------------------------------------------- what they stand on


@contextmanager
def opened(place: Place) -> Iterator[tuple[Upload, Services]]:
    """The upload and the services of this process, with secrets from Airflow's connections."""
    from offline_capi.process import set_up_process

    set_up_process()
    from offline_capi.airflow_provider.secrets import AirflowSecrets
    from offline_capi.config import load_each
    from offline_capi.pipeline import open_services

    deployment, broken = load_each(place.folder)
    if place.upload in broken:
        raise broken[place.upload]
    with open_services(deployment, AirflowSecrets()) as services:
        yield deployment.uploads[place.upload], services


def window_of(upload: Upload, context: Mapping[str, Any]) -> Window:
    """The window of the run that ``context`` belongs to."""
    from offline_capi.airflow_provider.windows import resolve_window

    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    interval = (start, end) if start and end else None
    return resolve_window(context["params"], context["dag_run"].partition_key, interval, upload.window.timezone)


def _run_type(context: Mapping[str, Any]) -> Any:
    kind = context["dag_run"].run_type
    return getattr(kind, "value", kind)


def _known_clients(wanted: Any, services: Services) -> list[str]:
    unknown = sorted(set(wanted) - set(services.deployment.clients))
    if unknown:
        known = ", ".join(sorted(services.deployment.clients))
        raise UsageError(f"clients not in clients.yml: {', '.join(unknown)}; known are {known}. Nothing was sent.")
    return sorted(set(wanted))


def _foresee(upload: Upload, window: Window, services: Services, clients: list[str]) -> dict[str, Any]:
    from offline_capi.pipeline import plan_upload

    report = plan_upload(upload, window, services, clients=clients)
    _print_report(report)
    return {"balance": report.balance, "foreseen": _numbers(report.tally)}


def _opened_run(manifest: Mapping[str, Any]) -> str:
    if manifest["run"] is None:
        raise AirflowSkipException("dry run: the plan task shows what would go; nothing is sent")
    return str(manifest["run"])


def _window_in_zone(ends: list[str], zone: str) -> Window:
    from offline_capi.airflow_provider.windows import resolve_window

    return resolve_window({"since": ends[0], "until": ends[1]}, None, None, zone)


def _numbers(tally: Tally) -> dict[str, int]:
    return {"read": tally.read, **{fate.value: rows for fate, rows in tally.by_fate().items() if rows}}


def _print_report(report: RunReport) -> None:
    from rich.console import Console

    from offline_capi.report import print_report

    print_report(report, Console(width=120, no_color=True, highlight=False))


# ---------------------------------------------------------------------------------------------- what is a failure


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Which error a fate ends a client's task with; Airflow's retry policy acts on its kind."""

    fates: tuple[Fate, ...]
    reasons: tuple[str, ...]
    error: type[OfflineCapiError]
    advice: str


#: First match wins: somebody who has to act comes before waiting, waiting before a loss that is final.
_VERDICTS = (
    _Verdict(
        (Fate.HELD,), (Reason.CLIENT_STOPPED,), AccessDeniedError,
        "Meta refused the token or the pixel. Renew its permission, then clear this task or run again: "
        "only what is missing is sent",
    ),
    _Verdict(
        (Fate.HELD,), (Reason.UNREACHABLE, Reason.THROTTLED, Reason.OTHER_RUN, Reason.NOT_SENT), TemporaryError,
        "They wait; repeating sends only them",
    ),
    _Verdict((Fate.IN_DOUBT,), (), TemporaryError, "No answer came; repeating uses the same event ids, so Meta counts "
             "each once"),
    _Verdict(
        (Fate.REFUSED, Fate.HELD), (), PartialLossError, "Repeating does not change it: see the report for the reasons"
    ),
)  # fmt: skip


def raise_for_undelivered(client: str, tally: Tally) -> None:
    """Raise the error that fits the worst of what did not arrive; return when everything did."""
    for verdict in _VERDICTS:
        rows = sum(
            rows
            for count, rows in tally.fates.items()
            if count.fate in verdict.fates and (not verdict.reasons or count.reason in verdict.reasons)
        )
        if rows:
            raise verdict.error(f"{client}: {rows:,} events were not delivered. {verdict.advice}.")


def _failed_tasks() -> list[str]:
    """Tasks of this run that failed, mapped ones with their index; what the ledger says comes on top of it."""
    context: Any = get_current_context()
    own = context["ti"]
    states = own.get_task_states(dag_id=own.dag_id, run_ids=[own.run_id])
    tasks = (pair for of_run in states.values() for pair in of_run.items())
    return sorted(task for task, state in tasks if state in ("failed", "upstream_failed"))


def _give_up(run_id: str, services: Services) -> NoReturn:
    """A run that was never prepared has no books to close: without this it would look complete with nothing read."""
    services.ledger.finish_run(run_id, status="failed", report=None, now=services.clock())
    raise PartialLossError(
        f"run {run_id}: the source could not be prepared, so nothing was sent; the log of prepare says why. "
        f"Repeating is safe."
    )
