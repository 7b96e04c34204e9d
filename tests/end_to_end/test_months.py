"""P20 over months of nights; `make month` runs the large form of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.months import check_month, simulate
from tests.support.sandbox_server import Sandbox

#: In a small form: 200 months with fixed seeds, of few nights and few rows, ten months a test.
SEEDS, SEEDS_A_TEST, NIGHTS, ROWS = 200, 10, 8, 3


@pytest.mark.parametrize("start", range(0, SEEDS, SEEDS_A_TEST))
def test_p20_in_months_of_faults_every_row_is_sent_once_or_told_once(
    tmp_path: Path, sandbox: Sandbox, start: int
) -> None:
    faults: list[str] = []
    red = 0
    for seed in range(start, start + SEEDS_A_TEST):
        sandbox.reset()
        month, project = simulate(tmp_path / str(seed), sandbox, seed, nights=NIGHTS, rows=ROWS)
        red += month.red_nights
        faults += check_month(project, month)

    assert faults == []
    assert red >= SEEDS_A_TEST  # the months were not quiet
