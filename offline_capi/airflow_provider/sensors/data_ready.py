"""A task that waits until the source of an upload holds the data of a run's day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException

from offline_capi.airflow_provider.operators.run_link import record_failed_start
from offline_capi.airflow_provider.operators.task_context import TaskLocation, get_run_type, get_window, open_upload
from offline_capi.errors import SourceError
from offline_capi.runtime.bugs import contain

__all__ = ["DataReadySensor"]

_log = structlog.get_logger(__name__)

#: Runs that nobody waits for: their data is there, or reading says what is missing.
_AT_ONCE = frozenset({"manual", "backfill"})


class DataReadySensor(BaseSensorOperator):
    """Succeed when the files or the table that ``schedule.after`` of an upload names are there for the run's day.

    Between two looks the task holds no worker slot (``mode="reschedule"``); a look needs the same packages and secrets
    as reading, which workers have. At ``schedule.until`` it fails without retries, and the day is recorded as failed:
    the next run takes it up. A run by hand and a backfill do not wait.
    """

    ui_color = "#e7f0fd"

    def __init__(self, *, folder: str, upload: str, every: timedelta = timedelta(minutes=5), **kwargs: Any) -> None:
        super().__init__(
            **{"mode": "reschedule", "poke_interval": every, "timeout": timedelta(days=2), **kwargs},
        )
        self.folder, self.upload = folder, upload

    @contain
    def poke(self, context: Any) -> bool:
        """Whether all of it is there now."""
        from offline_capi.config.schedule import DataSchedule
        from offline_capi.pipeline.readiness import list_missing_data

        if get_run_type(context) in _AT_ONCE:
            return True
        location = TaskLocation(self.folder, self.upload)
        with open_upload(location) as (upload, services):
            window, now = get_window(upload, context), datetime.now(UTC)
            missing = list_missing_data(upload, window, services)
            schedule = upload.schedule
        if not missing or not isinstance(schedule, DataSchedule) or schedule.deadline is None:
            return True
        until = find_deadline(context["dag_run"].run_after, schedule.deadline, window.since.tzinfo)
        required = [what for what, may_go_without in missing if not may_go_without]
        if now < until:
            for what, _ in missing:
                _log.info(f"{self.upload} waits until {until:%H:%M}: {what}")
            return False
        if not required:
            return True
        error = SourceError(
            f"{self.upload} waited until {until:%Y-%m-%d %H:%M} ({until.tzinfo}): {'; '.join(required)}.\n"
            "Look whether what writes it has run. Nothing was read and nothing was sent; the next run takes up the "
            "day, and clearing this task looks again."
        )
        record_failed_start(location, error)
        raise AirflowFailException(str(error))


def find_deadline(started: datetime, until: Any, zone: Any) -> datetime:
    """The first ``until`` on the clock of ``zone`` after a run was due."""
    local = started.astimezone(zone)
    at = datetime.combine(local.date(), until, zone)
    return at if at > local else datetime.combine(local.date() + timedelta(days=1), until, zone)
