"""A task that waits until the ledger says that the days of an upload are complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import structlog
from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException

from offline_capi.airflow_provider.operators.task_context import TaskLocation, get_window, open_upload
from offline_capi.runtime.bugs import contain

__all__ = ["DeliveredUpToSensor"]

_log = structlog.get_logger(__name__)


class DeliveredUpToSensor(BaseSensorOperator):
    """Succeed when every row of an upload's days has a final fate: nothing of them is owed to Meta.

    ``folder`` is the configuration folder, ``upload`` a file in its ``uploads/``. ``day`` (``YYYY-MM-DD``, in the
    upload's zone) is the last day that has to be complete, by default the last day of the run's partition or data
    interval; ``since`` the first, by default ``day``. Only the ledger is read: no source, no request to Meta.

    Between two looks the task holds no worker slot (``mode="reschedule"``). It fails without retries when a day is
    closed: something was owed when the day became too old for Meta, so that waiting cannot complete it.
    """

    template_fields: Sequence[str] = ("folder", "upload", "day", "since")
    ui_color = "#e7f0fd"

    def __init__(
        self, *, folder: str, upload: str, day: str | None = None, since: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**{"mode": "reschedule", "poke_interval": timedelta(minutes=5), **kwargs})
        self.folder, self.upload, self.day, self.since = folder, upload, day, since

    @contain
    def poke(self, context: Any) -> bool:
        """Whether all of the days are complete now."""
        from offline_capi.errors import UsageError
        from offline_capi.model import DayState
        from offline_capi.pipeline.open_days import judge_days

        with open_upload(TaskLocation(self.folder, self.upload)) as (upload, services):
            last = self._read_last_day(upload, context)
            first = _read_day(self.since, "since") if self.since else last
            if first > last:
                raise UsageError(f"since {first} is after day {last}. Correct the task's arguments; nothing was sent.")
            days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
            found = judge_days(upload, services.deployment, services.ledger, services.clock(), days)
        for one in found:
            if one.state is DayState.CLOSED:
                raise AirflowFailException(
                    f"{self.upload} {one.day} is closed: {one.why}. Meta no longer takes events of that day; waiting "
                    f"cannot complete it. `offline-capi status --days {self.upload}` shows what was lost."
                )
        states = {one.day: one for one in found}
        waiting = [day for day in days if day not in states or states[day].state is not DayState.COMPLETE]
        for day in waiting:
            _log.info(f"{self.upload} {day} is not complete: {states[day].why if day in states else 'it is not over'}")
        return not waiting

    def _read_last_day(self, upload: Any, context: Any) -> date:
        """``day``, or the day in which the run's window ends."""
        if self.day:
            return _read_day(self.day, "day")
        window = get_window(upload, {**context, "params": {"since": None, "until": None}})
        return (window.until - timedelta(microseconds=1)).date()


def _read_day(value: str, name: str) -> date:
    from offline_capi.errors import UsageError

    try:
        return date.fromisoformat(value)
    except ValueError:
        raise UsageError(f"{name} of the sensor is not a day: write YYYY-MM-DD. Nothing was read.") from None
