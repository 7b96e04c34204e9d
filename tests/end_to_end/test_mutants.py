"""What ``make mutants`` is told still fits the tree: after a move it would judge fewer files without a word."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from mutants import EQUIVALENT, ROOMS  # noqa: E402  what the tool is told is tested, wherever it lies


def test_the_files_and_tests_of_every_room_exist() -> None:
    for room in ROOMS.values():
        told = [word.removeprefix("--ignore=") for word in (*room.code, *room.quick, *room.slow)]

        assert [name for name in told if "/" in name and not (ROOT / name).exists()] == []
        assert room.files(ROOT)
        assert room.tests(ROOT)


def test_every_equivalent_mutant_changes_a_line_that_exists_and_says_why() -> None:
    judged = {file for room in ROOMS.values() for file in room.files(ROOT)}

    for entry in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        mutant, _, reason = entry.rpartition(" # ")
        name, _, rest = mutant.partition(" | ")
        line, _, change = rest.rpartition(" | ")

        assert ROOT / name in judged, entry
        assert line in map(str.strip, (ROOT / name).read_text(encoding="utf-8").splitlines()), entry
        assert "→" in change, entry
        assert reason, entry
