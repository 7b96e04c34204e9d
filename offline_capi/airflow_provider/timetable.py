"""When an upload runs and which day it covers: at the cron's time, the calendar day before, in the upload's zone.

A partition, not a data interval: Airflow 3.3 gives a plain cron string an interval of no length, and a partition cron
that is not at midnight loses the last day of a backfill and starts a second run for a day that already has one.
Overriding ``_get_partition_date`` relies on Airflow 3.3; the pin in pyproject.toml stands for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable

if TYPE_CHECKING:
    from pendulum import DateTime

__all__ = ["DailyPartitionTimetable", "runs_daily"]

_PRESETS = ("@daily", "@midnight", "@hourly")


def runs_daily(cron: str) -> bool:
    """Whether ``cron`` fires on every day of the year: each run covers one day, so a skipped day would be lost."""
    return cron in _PRESETS or cron.split()[2:] == ["*", "*", "*"]


class DailyPartitionTimetable(CronPartitionTimetable):
    """Runs at ``cron`` in ``timezone``; the partition is the previous local day, keyed ``2026-11-22``.

    A backfill gets every day from its first to its last, both included, and a day that is not over yet waits for its
    own cron time.
    """

    def __init__(self, cron: str, *, timezone: Any) -> None:
        super().__init__(cron, timezone=timezone, key_format="%Y-%m-%d")
        self.description = f"{self.description}, for the day before"

    def validate(self) -> None:
        super().validate()
        if not runs_daily(self._expression):
            raise AirflowTimetableInvalid(f'"{self._expression}" does not run every day; days between would be lost')

    def serialize(self) -> dict[str, Any]:
        from airflow.serialization.encoders import encode_timezone

        return {"expression": self._expression, "timezone": encode_timezone(self._timezone)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DailyPartitionTimetable:
        return cls(data["expression"], timezone=data["timezone"])

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        return run_date.in_timezone(self._timezone).start_of("day").subtract(days=1).in_timezone("UTC")

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        last = self.localize_partition_datetime(latest)
        day = self._first_midnight(earliest)
        while day <= last:
            after = day.add(days=1)
            yield DagRunInfo(
                run_after=self._align_to_next(after.in_timezone("UTC")),
                data_interval=None,
                partition_date=day.in_timezone("UTC"),
                partition_key=self._format_key(day),
            )
            day = after

    def _first_midnight(self, earliest: datetime) -> DateTime:
        local = self.localize_partition_datetime(earliest).in_timezone(self._timezone)
        midnight = local.start_of("day")
        return midnight if midnight == local else midnight.add(days=1)
