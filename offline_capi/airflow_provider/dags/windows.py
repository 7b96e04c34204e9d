"""Which range of source time a run covers: one function that does not read the clock.

A manual run in Airflow 3 has neither a logical date nor a data interval, and a plain cron string gives an interval of
no length. So the window comes from what the person or the timetable said, in this order: the form's ``since`` and
``until``, the partition key (a day), a data interval that has a length, and for a run by hand the day before it was
triggered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from offline_capi.errors import UsageError
from offline_capi.model import Window, convert_to_zone

__all__ = ["resolve_window"]

_ADVICE = (
    "Give since and until in the trigger form (dates in the upload's time zone, until is the first day not included), "
    "or a partition key such as 2026-11-22. Nothing was read and nothing was sent."
)


def resolve_window(
    params: Mapping[str, Any],
    partition_key: str | None,
    data_interval: tuple[datetime, datetime] | None,
    zone: str,
    *,
    triggered_at: datetime | None = None,
) -> Window:
    """The window of a run in ``zone``; the same arguments give the same window at any time.

    ``triggered_at`` is given for runs by hand, and for those that an asset starts. Raises ``UsageError`` when nothing
    says which days, or when what is said cannot be read.
    """
    try:
        if params.get("since") or params.get("until"):
            return _parse_form(params, ZoneInfo(zone))
        if partition_key:
            return _parse_partition_key(partition_key, zone)
        if data_interval and data_interval[0] < data_interval[1]:
            return Window(*(convert_to_zone(at, ZoneInfo(zone)) for at in data_interval))
        if triggered_at is not None:
            return Window.of_day(convert_to_zone(triggered_at, ZoneInfo(zone)).date() - timedelta(days=1), zone)
    except OverflowError:
        raise UsageError(f"a day of this run is at the end of the calendar (year 1 or 9999). {_ADVICE}") from None
    raise UsageError(f"this run does not say which days it covers. {_ADVICE}")


def _parse_form(params: Mapping[str, Any], zone: ZoneInfo) -> Window:
    """``until`` may be left out: the window is then one day long, as on the command line."""
    if not params.get("since"):
        raise UsageError(f"until is given without since. {_ADVICE}")
    since = _parse_moment("since", params["since"], zone)
    until = _parse_moment("until", params["until"], zone) if params.get("until") else since + timedelta(days=1)
    if since.astimezone(UTC) >= until.astimezone(UTC):
        raise UsageError(
            f"since {params['since']} is not before until {params['until']}. Until is not included: for one day, "
            f"give the day after it. Nothing was read and nothing was sent."
        )
    return Window(since, until)


def _parse_moment(name: str, value: str, zone: ZoneInfo) -> datetime:
    """A date (its local midnight), or a time; naive times are in ``zone``, aware ones are turned to it."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is not a date such as 2026-11-22. {_ADVICE}") from error
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else convert_to_zone(moment, zone)


def _parse_partition_key(partition_key: str, zone: str) -> Window:
    try:
        day = date.fromisoformat(partition_key)
    except ValueError as error:
        raise UsageError(f'the partition key "{partition_key}" is not a day such as 2026-11-22. {_ADVICE}') from error
    try:
        return Window.of_day(day, zone)
    except ValueError as error:
        raise UsageError(f"{error}. {_ADVICE}") from error
