"""One task for a whole upload, for DAGs of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import BaseOperator, BaseOperatorLink

from offline_capi.airflow_provider.observability.alerting import send_alerts
from offline_capi.airflow_provider.observability.lineage import report_lineage
from offline_capi.airflow_provider.observability.metrics import count_events, count_sending
from offline_capi.airflow_provider.observability.task_logging import count_fates, log_plan, log_report
from offline_capi.airflow_provider.operators.failures import raise_for_undelivered, raise_for_unsettled
from offline_capi.airflow_provider.operators.retries import upload_retry_policy
from offline_capi.airflow_provider.operators.run_link import leave_run_id
from offline_capi.airflow_provider.operators.task_context import (
    SCHEDULED,
    TaskLocation,
    bind_log_context,
    get_run_type,
    get_window,
    open_upload,
    require_clients,
)
from offline_capi.model import Fate
from offline_capi.runtime.bugs import contain

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

    from offline_capi.config import Upload
    from offline_capi.model import Window
    from offline_capi.pipeline import Services
    from offline_capi.pipeline.settle import SettlementResult
    from offline_capi.report import RunReport

__all__ = ["EventsManagerLink", "UploadConversionsOperator"]

#: Where a pixel is shown to people; third-party, not in Meta's documentation.
_EVENTS_MANAGER = "https://business.facebook.com/events_manager2/list/dataset/{pixel}/overview"


_log = structlog.get_logger(__name__)


class EventsManagerLink(BaseOperatorLink):
    """A button from the task to the pixel in Meta's Events Manager; of an upload with one client only."""

    name = "Events Manager"
    xcom_key = "events_manager"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  as Airflow calls it
        """What the task found out while it ran; Airflow asks it at its end, and keeps the answer as an XCom."""
        return str(getattr(operator, "events_manager", ""))


class UploadConversionsOperator(BaseOperator):
    """Send what an upload's source holds for the run's window and the ledger has not seen sent.

    The same as ``offline-capi upload`` in one task: repeating it sends nothing twice, and anything that did not arrive
    fails it. ``folder`` is the configuration folder, ``upload`` a file in its ``uploads/``. ``since`` and ``until`` are
    days or times in the upload's zone; without them, the run's partition or data interval is the window. Returns the
    run's id, status and numbers. With ``dry_run`` it plans only, and nothing is recorded.
    """

    template_fields: Sequence[str] = ("folder", "upload", "since", "until", "clients")
    operator_extra_links = (EventsManagerLink(),)
    ui_color = "#e7f0fd"

    def __init__(
        self,
        *,
        folder: str,
        upload: str,
        since: str | None = None,
        until: str | None = None,
        clients: Sequence[str] = (),
        dry_run: bool = False,
        force_gates: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"retry_policy": upload_retry_policy(), **kwargs})
        self.folder, self.upload = folder, upload
        self.since, self.until, self.clients = since, until, clients
        self.only_plan, self.force_gates = dry_run, force_gates

    @contain
    def execute(self, context: Any) -> dict[str, Any]:
        """Open, send, print the report, fail if anything is missing."""
        with open_upload(TaskLocation(self.folder, self.upload)) as (upload, services):
            form = {"since": self.since, "until": self.until}
            window, trigger = get_window(upload, {**context, "params": form}), get_run_type(context)
            report, settled = self._run(upload, window, services, trigger)
            if not report.planned:
                leave_run_id(report.run_id)
            self.events_manager = _make_events_manager_url(upload, services)
            for made in (*settled.reports, report):
                if not made.planned:
                    _report_run(made, upload, services)
                    send_alerts(made, services)
        for made in (*settled.reports, report):
            log_plan(made) if made.planned else log_report(made)
        if report.problems and not report.planned:
            raise_for_undelivered(self.upload, report.tally)
            report.raise_for_loss()
        raise_for_unsettled(self.upload, settled)
        return {"run": report.run_id, "status": report.status.value, **count_fates(report.tally)}

    def _run(
        self, upload: Upload, window: Window, services: Services, trigger: str
    ) -> tuple[RunReport, SettlementResult]:
        """The report of the window; a scheduled run for all clients also takes up what earlier runs left open."""
        from offline_capi.pipeline import plan_upload, run_upload
        from offline_capi.pipeline.settle import SettlementResult, run_nightly

        clients = require_clients(self.clients, services)
        if self.only_plan:
            return plan_upload(upload, window, services, clients=clients), SettlementResult()
        if trigger in SCHEDULED and not clients and window.reaches_last_day(services.clock()):
            night = run_nightly(
                upload, window, services, trigger=trigger, force_gates=self.force_gates, announce=_log.info
            )
            return night.report, night.settled
        report = run_upload(upload, window, services, trigger=trigger, clients=clients, force_gates=self.force_gates)
        return report, SettlementResult()


def _report_run(report: RunReport, upload: Upload, services: Services) -> None:
    """To Airflow's metrics and lineage."""
    bind_log_context(upload_run_id=report.run_id)
    count_sending(report.tally, report.ended_at - report.started_at, upload=report.upload)
    count_events(report, services.deployment.recipients)
    sent = ((client, fates.get(Fate.SENT, 0)) for client, fates in report.by_client().items())
    report_lineage(upload, services, {client: events for client, events in sent if events})


def _make_events_manager_url(upload: Upload, services: Services) -> str:
    client = services.deployment.clients.get(str(upload.client.constant))
    return _EVENTS_MANAGER.format(pixel=client.pixel_id) if client else ""
