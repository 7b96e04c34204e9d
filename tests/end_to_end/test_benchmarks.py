"""P13: a speed is a benchmark that fails when its aim is missed by more than the run's own spread."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.benchmarks.__main__ import PARTS, misses_aim


@pytest.mark.parametrize(
    ("ratio", "spread", "missed"), [(8.0, 0.0, False), (7.9, 0.0, True), (7.3, 0.1, False), (7.1, 0.1, True)]
)
def test_p13_an_aim_is_missed_when_the_spread_of_the_run_does_not_explain_it(
    ratio: float, spread: float, missed: bool
) -> None:
    assert misses_aim(ratio, 8.0, spread) is missed


@pytest.mark.parametrize("part", [*PARTS, "airflow", "mapping"])
def test_p13_every_part_still_finds_what_it_measures(part: str) -> None:
    """They are run by hand: a move of the code must not leave one behind."""
    assert import_module(f"tests.benchmarks.{part}").__doc__
