"""Who has to do something is told by Airflow's notifiers: once when a fault begins, and once when it is over.

They get the task's context with ``alert`` in it: ``{{ alert.title }}``, ``{{ alert.text }}``, ``{{ alert.message }}``
and more in the arguments of a notifier, ``context["alert"]`` in a function; see
``offline_capi.operations.alerts.Alert``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.observability.callbacks import notices
from offline_capi.errors import OfflineCapiError
from offline_capi.runtime.bugs import contain

if TYPE_CHECKING:
    from offline_capi.config.airflow import AirflowSettings
    from offline_capi.operations.alerts import Alert, Notify
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport

__all__ = ["TellFailure", "tell_alerts"]

_log = structlog.get_logger(__name__)


def tell_alerts(report: RunReport, services: Services) -> None:
    """Tell what began and ended with a run. Where that fails, the log says so, and how the run ended stays as it is."""
    from offline_capi.operations.alerts import raise_alerts

    upload = services.deployment.uploads[report.upload]
    tell = _teller(services.deployment.resolve_airflow(upload), get_current_context())
    try:
        for alert in raise_alerts(report, services, notify=tell):
            _log.info(f"told: {alert.change}: {alert.title}")
    except OfflineCapiError as error:
        _log.error(str(error))


class TellFailure:
    """A callback of the tasks before there are books: why the run failed is told once, with its reason."""

    def __init__(self, folder: str, upload: str) -> None:
        self.folder, self.upload = folder, upload

    @contain
    def __call__(self, context: Any) -> None:
        from offline_capi.airflow_provider.operators.task_context import Place, opened
        from offline_capi.errors import UsageError
        from offline_capi.operations.alerts import raise_failure

        error = context.get("exception")
        if not isinstance(error, Exception) or isinstance(error, UsageError):
            return  # what a person gave wrong, they see at once
        with opened(Place(self.folder, self.upload)) as (upload, services):
            tell = _teller(services.deployment.resolve_airflow(upload), context)
            raise_failure(self.upload, error, services, notify=tell)


def _teller(settings: AirflowSettings, context: Mapping[str, Any]) -> Notify | None:
    """Tells those whom ``notify.alert`` names; ``None`` where it names nobody, for ``platform.notify`` to be used."""
    listeners = notices(settings.notify.alert)
    if not listeners:
        return None

    def tell(alert: Alert) -> None:
        for listener in listeners:
            listener({**context, "alert": alert.to_json()})

    return tell
