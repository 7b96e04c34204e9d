"""``make test-fast`` chooses the tests of the rooms that changed."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from test_fast import SLOW, choose_tests  # noqa: E402  a script, not a package


def test_a_changed_room_brings_its_folder_and_a_changed_test_itself() -> None:
    changed = [
        "offline_capi/mapping/rows.py",
        "offline_capi/mapping/times.py",
        "tests/end_to_end/test_fuzz.py",
        "README.md",
    ]

    assert choose_tests(changed) == ["tests/mapping", "tests/end_to_end/test_fuzz.py"]


def test_what_all_rooms_stand_on_brings_tests_of_several() -> None:
    assert {"tests/runtime", "tests/events"} <= set(choose_tests(["offline_capi/runtime/border.py"]))


def test_slow_rooms_are_left_to_make_test() -> None:
    assert choose_tests(["offline_capi/airflow_provider/ui/web.py", "docs/glossary.md"]) == []
    assert all((ROOT / slow).exists() for slow in SLOW), "a file was moved"
