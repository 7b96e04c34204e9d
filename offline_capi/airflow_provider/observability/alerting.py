"""Alerts through Airflow's notifiers: one when a fault begins, and one when it is over.

They get the task's context with ``alert`` in it: ``{{ alert.title }}``, ``{{ alert.text }}``, ``{{ alert.message }}``
and more in the arguments of a notifier, ``context["alert"]`` in a function; see
``offline_capi.operations.alerts.Alert``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.observability.callbacks import make_callbacks
from offline_capi.errors import OfflineCapiError
from offline_capi.runtime.bugs import contain

if TYPE_CHECKING:
    from offline_capi.config.airflow import AirflowSettings
    from offline_capi.operations.alerts import Alert, Notify
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport

__all__ = ["FailureAlert", "send_alerts"]

_log = structlog.get_logger(__name__)


def send_alerts(report: RunReport, services: Services) -> None:
    """Send alerts for what began and ended with a run. A failure to send is logged and does not change how it ended."""
    from offline_capi.operations.alerts import raise_alerts

    upload = services.deployment.uploads[report.upload]
    tell = _make_sender(services.deployment.resolve_airflow(upload), get_current_context())
    try:
        for alert in raise_alerts(report, services, notify=tell):
            _log.info(f"alert sent: {alert.change}: {alert.title}")
    except OfflineCapiError as error:
        _log.error(str(error))


class FailureAlert:
    """Failure callback of the tasks that run before there are books: one alert with the error."""

    def __init__(self, folder: str, upload: str) -> None:
        self.folder, self.upload = folder, upload

    @contain
    def __call__(self, context: Any) -> None:
        from offline_capi.airflow_provider.operators.task_context import TaskLocation, open_upload
        from offline_capi.errors import UsageError
        from offline_capi.operations.alerts import raise_failure

        error = context.get("exception")
        if not isinstance(error, Exception) or isinstance(error, UsageError):
            return  # whoever triggered the run sees it at once
        with open_upload(TaskLocation(self.folder, self.upload)) as (upload, services):
            tell = _make_sender(services.deployment.resolve_airflow(upload), context)
            raise_failure(self.upload, error, services, notify=tell)


def _make_sender(settings: AirflowSettings, context: Mapping[str, Any]) -> Notify | None:
    """Sends to what ``notify.alert`` names; ``None`` where it names nothing, so that ``platform.notify`` is used."""
    listeners = make_callbacks(settings.notify.alert)
    if not listeners:
        return None

    def tell(alert: Alert) -> None:
        for listener in listeners:
            listener({**context, "alert": alert.to_json()})

    return tell
