"""What surely lies outside of a window: folders and files by their constants, row groups by their statistics.

Only what is certain is left out, so that a run counts and sends the same as if it had read everything: a row whose time
is null or cannot be read belongs to no window, and is read by all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa

from offline_capi.model import RowPlacement, Window

__all__ = ["Bounds", "find_bounds", "holds_constants", "widen_near_changes"]

#: Where the clocks of a zone change within this much of an end of the window, wall time is no measure of order; no gap
#: in the zone rules is longer than a day.
NEAR_CHANGE = timedelta(days=2)


class Bounds(NamedTuple):
    """The window in the terms of a column: values of it are from ``since`` on and before ``until``."""

    column: str
    since: Any
    until: Any

    def may_hold(self, lowest: Any, highest: Any) -> bool:
        """Whether a value between these two, as statistics have them, may be of the window.

        Whole seconds are compared: some writers cut the statistics of times to milliseconds.
        """
        low, high = (_as_comparable(value, self.since) for value in (lowest, highest))
        return low is None or high is None or bool(high >= self.since and low < self.until)


def find_bounds(placement: RowPlacement | None, window: Window, schema: pa.Schema) -> Bounds | None:
    """``None`` where the order of a column's values does not say which rows are meant."""
    column = placement.column if placement else None
    if placement is None or column is None or schema.names.count(column) != 1:
        return None
    kind = schema.field(column).type
    since, until = (datetime.fromtimestamp(int(end.timestamp()), UTC) for end in (window.since, window.until))
    if pa.types.is_timestamp(kind) and kind.tz:
        return Bounds(column, since, until)
    zone = ZoneInfo(placement.zone)
    first, end = (_to_wall(at, zone) for at in widen_near_changes(since, until, zone))
    if pa.types.is_timestamp(kind):
        return Bounds(column, first, end)
    if pa.types.is_date(kind):
        return Bounds(column, first.date(), end.date() + timedelta(days=end.time() != time()))
    return None


def widen_near_changes(since: datetime, until: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Ends between which all wall times of a window are, also where the clocks change near one of them."""
    return (
        since - (NEAR_CHANGE if _changes_near(since, zone) else timedelta()),
        until + (NEAR_CHANGE if _changes_near(until, zone) else timedelta()),
    )


def _to_wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def _changes_near(at: datetime, zone: ZoneInfo) -> bool:
    return len({(at + step).astimezone(zone).utcoffset() for step in (-NEAR_CHANGE, timedelta(), NEAR_CHANGE)}) > 1


def holds_constants(placement: RowPlacement | None, window: Window, constants: Mapping[str, pa.Scalar]) -> bool:
    """Whether rows that all have these values may be of the window; as the upload's own mapping reads them."""
    if placement is None or not placement.columns or not set(placement.columns) <= constants.keys():
        return True
    row = [pa.array([constants[name].as_py()], constants[name].type) for name in placement.columns]
    (at,) = placement.read(pa.RecordBatch.from_arrays(row, list(placement.columns))).to_pylist()
    return at is None or int(window.since.timestamp()) <= at < int(window.until.timestamp())


def _as_comparable(value: Any, like: Any) -> Any:
    """A statistic in the terms of a bound; ``None`` where it is of another kind, and says nothing."""
    if isinstance(value, datetime) and isinstance(like, datetime):
        same = (value.tzinfo is None) == (like.tzinfo is None)
        return value.replace(microsecond=0) if same else None
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return value if is_day and not isinstance(like, datetime) else None
