"""Children under 13: no data about them may be sent (Business Tools Terms, 1.h; meta-capi.md 10.3).

Birth dates are few: every digest of one that may belong to a child is known beforehand. So the judgement is the same
for a readable column and for one that came hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.runtime.lookup import TextIndex
from offline_capi.runtime.sha256 import hash_to_hex

__all__ = ["find_under_13"]

MIN_AGE_YEARS = 13
# Meta takes no event older than 62 days; for older ones, which expire anyway, this reaches back seven years.
_YEARS_BACK = 20


class _Births(NamedTuple):
    digests: TextIndex
    thirteenth: np.ndarray[tuple[int], np.dtype[np.int64]]  # days since 1970 on which somebody born that day is 13


def find_under_13(
    births: Sequence[pa.Array], event_time: pa.Array | None, zone: str, today: date
) -> pa.BooleanArray | None:
    """Where a digest of a birth date is that of somebody under 13 on the event's day in ``zone``; ``None``: nowhere.

    An event without a time is judged by ``today``.
    """
    found: pa.BooleanArray | None = None
    known = _load_births(today)
    for digests in births:
        position, _ = known.digests.find(digests)
        if position.null_count == len(position):
            continue
        young = pc.is_valid(position)
        days = _count_days(None if event_time is None else event_time.filter(young), zone, today)
        child = pa.array(known.thirteenth[position.drop_null().to_numpy()] > days)
        where = pc.replace_with_mask(young, young, child)
        found = where if found is None else pc.or_(found, where)
    return found if found is not None and pc.any(found).as_py() else None


def _count_days(
    event_time: pa.Array | None, zone: str, today: date
) -> int | np.ndarray[tuple[int], np.dtype[np.int64]]:
    fallback = (today - date(1970, 1, 1)).days
    if event_time is None:
        return fallback
    moments = pl.Series(event_time.cast(pa.timestamp("s", "UTC"))).dt.convert_time_zone(zone)
    return moments.dt.date().to_physical().cast(pl.Int64).fill_null(fallback).to_numpy()


@cache
def _load_births(today: date) -> _Births:
    days = [today - timedelta(days=back) for back in range(-1, _YEARS_BACK * 366)]
    digests = TextIndex()
    digests.add(hash_to_hex(pa.array([day.isoformat().replace("-", "") for day in days])))
    return _Births(
        digests,
        np.array([(_find_birthday(day, MIN_AGE_YEARS) - date(1970, 1, 1)).days for day in days], np.int64),
    )


def _find_birthday(born: date, age: int) -> date:
    try:
        return born.replace(year=born.year + age)
    except ValueError:  # 29 February
        return date(born.year + age, 3, 1)
