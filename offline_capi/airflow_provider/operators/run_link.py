"""Which run of the ledger belongs to a run of Airflow, and the record of a run that failed before it had one.

A task leaves the id of its ledger run as an XCom as soon as it has one, so that the Conversions tab finds the report
also of a dry run, of a test and of a run whose first task failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.operators.task_context import (
    TaskLocation,
    get_run_type,
    get_window,
    load_clients,
)
from offline_capi.errors import OfflineCapiError, UsageError
from offline_capi.runtime.bugs import as_internal

if TYPE_CHECKING:
    from offline_capi.config import Deployment
    from offline_capi.model import Window

__all__ = ["RUN_XCOM_KEY", "leave_run_id", "record_failed_start", "record_failing_start"]

#: The XCom that names the run of the ledger.
RUN_XCOM_KEY = "offline_capi_run"

_log = structlog.get_logger(__name__)


def leave_run_id(run_id: str) -> None:
    """Name the ledger run of this task for the Conversions tab."""
    context: Any = get_current_context()
    context["ti"].xcom_push(key=RUN_XCOM_KEY, value=run_id)


@contextmanager
def record_failing_start(location: TaskLocation) -> Iterator[None]:
    """An error inside, before a run was opened, is recorded as a failed run with its message."""
    try:
        yield
    except Exception as error:
        record_failed_start(location, as_internal(error))
        raise


def record_failed_start(location: TaskLocation, error: OfflineCapiError) -> None:
    """Record a run that failed before it was opened. Where that cannot be done, the task's log alone has the error."""
    from offline_capi.pipeline import open_services, record_failed_start
    from offline_capi.storage.filesystem import translate_storage_errors

    try:
        context: Any = get_current_context()
        deployment, secrets = load_clients(location.folder)
        with translate_storage_errors(), open_services(deployment, secrets) as services:
            window = _find_window(deployment, location, context)
            leave_run_id(record_failed_start(location.upload, window, error, services, trigger=get_run_type(context)))
    except Exception as failure:  # noqa: BLE001  the error that is reported is the first one
        _log.warning(f"the failed run could not be recorded: {type(as_internal(failure)).__name__}")


def _find_window(deployment: Deployment, location: TaskLocation, context: Any) -> Window:
    """The window that the run would have had; yesterday where that cannot be known any more."""
    from offline_capi.config import load_each
    from offline_capi.model import Window, find_yesterday

    found, _ = load_each(location.folder, environ=deployment.environ, only=location.upload)
    upload = found.uploads.get(location.upload)
    zone = upload.window.timezone if upload else "UTC"
    if upload is not None:
        with suppress(UsageError):
            return get_window(upload, context)
    return Window.of_day(find_yesterday(zone, datetime.now(UTC)), zone)
