"""The demo's night, wherever whoever runs it sits; that the demo runs is what CI's ``make demo`` shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from offline_capi.demo.night import UPLOADS, last_night
from offline_capi.model import Window
from tests.support.night import APPROVALS_ZONE, STORE_ZONE

FRIDAY = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize("hour", range(24))
def test_the_night_is_over_for_both_uploads_at_every_hour(hour: int) -> None:
    """Else the last rows of its day lay in the future, and were invalid: in Sydney it is Saturday while New York
    has Friday noon."""
    now = FRIDAY + timedelta(hours=hour, minutes=59)

    ends = [Window.of_day(last_night(now), zone).until for zone in (APPROVALS_ZONE, STORE_ZONE)]

    assert now - timedelta(hours=30) < max(ends) <= now


def test_the_night_is_new_yorks_yesterday() -> None:
    assert len(UPLOADS) == 2
    assert last_night(FRIDAY + timedelta(hours=4, minutes=59)) == date(2026, 11, 25)
    assert last_night(FRIDAY + timedelta(hours=5)) == date(2026, 11, 26)
