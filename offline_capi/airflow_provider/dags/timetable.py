"""When an upload runs and which day it covers: at the cron's time, the calendar day before, in the upload's zone.

A partition, not a data interval: Airflow 3.3 gives a plain cron string an interval of no length, and a partition cron
that is not at midnight loses the last day of a backfill and starts a second run for a day that already has one.

All is counted in calendar days, and a day begins where ``model.start_of_day`` says. Airflow's own arithmetic adds
hours to midnights, and where clocks change at midnight it makes two runs of one day and none of the next. Overriding
``_get_next``, ``_get_prev`` and ``_get_partition_date`` relies on Airflow 3.3; the pin in pyproject.toml stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.exceptions import AirflowTimetableInvalid, InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable
from croniter import croniter  # type: ignore[import-untyped]  # what Airflow itself reads a cron with

from offline_capi.model import start_of_day

if TYPE_CHECKING:
    from pendulum import DateTime

__all__ = ["DailyPartitionTimetable", "is_daily"]

_PRESETS = ("@daily", "@midnight", "@hourly")
_A_DAY = timedelta(days=1)


def is_daily(cron: str) -> bool:
    """Whether ``cron`` fires on every day of the year: each run covers one day, so a skipped day would be lost."""
    return cron in _PRESETS or cron.split()[2:] == ["*", "*", "*"]


class DailyPartitionTimetable(CronPartitionTimetable):
    """Runs at ``cron`` in ``timezone``; the partition is the previous local day, keyed ``2026-11-22``.

    Every local day is one partition, with one key and one partition date, whether a schedule, a backfill or a person
    names it. A time that the clocks skip comes as much later as they jump, one that they show twice comes once. A
    backfill gets every day from its first to its last, both included, and a day that is not over yet waits for its own
    cron time.
    """

    def __init__(self, cron: str, *, timezone: Any) -> None:
        super().__init__(cron, timezone=timezone, key_format="%Y-%m-%d")
        self.description = f"{self.description}, for the day before"

    def validate(self) -> None:
        super().validate()
        if not is_daily(self._expression):
            raise AirflowTimetableInvalid(f'"{self._expression}" does not run every day; days between would be lost')

    def serialize(self) -> dict[str, Any]:
        from airflow.serialization.encoders import encode_timezone

        return {"expression": self._expression, "timezone": encode_timezone(self._timezone)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DailyPartitionTimetable:
        return cls(data["expression"], timezone=data["timezone"])

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """Every day whose midnight lies between the two, by their wall clocks: Airflow gives dates as midnights."""
        day = earliest.date() if earliest.time() == time() else earliest.date() + _A_DAY
        while day <= latest.date():
            if self._has(day):
                start = self._start(day)
                after = self._align_to_next(self._start(day + _A_DAY))
                yield DagRunInfo(after, data_interval=None, partition_date=start, partition_key=day.isoformat())
            day += _A_DAY

    def _decode_partition_date(self, partition_key: str) -> datetime:
        try:
            day = date.fromisoformat(partition_key)
        except ValueError:
            day = None
        if day is None or day.isoformat() != partition_key or not self._has(day):
            raise InvalidPartitionKeyError(
                f"the partition key {partition_key!r} is not a day of {self._timezone} such as 2026-11-22"
            )
        return self._start(day)

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        today = self._start(self._get_day(run_date))
        return self._start(self._get_day(today - timedelta(microseconds=1)))

    def _format_key(self, partition_date: DateTime) -> str:
        return self._get_day(partition_date).isoformat()

    def _get_next(self, current: DateTime) -> DateTime:
        first = self._get_day(current)
        ticks = (tick for days in count() for tick in self._list_ticks(first + days * _A_DAY))
        return pendulum.instance(next(tick for tick in ticks if tick > current))

    def _get_prev(self, current: DateTime) -> DateTime:
        last = self._get_day(current)
        ticks = (tick for days in count() for tick in reversed(self._list_ticks(last - days * _A_DAY)))
        return pendulum.instance(next(tick for tick in ticks if tick < current))

    @cached_property
    def _times(self) -> list[time]:
        """The cron's times of day."""
        minutes, hours, *_ = (
            [*range(size)] if field == ["*"] else field
            for field, size in zip(croniter(self._expression).expanded, (60, 24), strict=False)
        )
        return sorted(time(int(hour), int(minute)) for hour in hours for minute in minutes)

    def _list_ticks(self, day: date) -> list[datetime]:
        """When it runs on a local day, in order; never on a day that does not exist."""
        if not self._has(day):
            return []
        start, last = self._start(day), self._start(day + _A_DAY) - timedelta(seconds=1)
        times = (datetime.combine(day, at, self._timezone).astimezone(UTC) for at in self._times)
        return sorted({min(max(at, start), last) for at in times})

    def _has(self, day: date) -> bool:
        return self._get_day(self._start(day)) == day

    def _start(self, day: date) -> DateTime:
        return pendulum.instance(start_of_day(day, self._timezone).astimezone(UTC))

    def _get_day(self, moment: datetime) -> date:
        local = moment.astimezone(UTC).astimezone(self._timezone)
        return date(local.year, local.month, local.day)
