"""``make test-fast``: the tests of the rooms that changed since the last commit on main, without the slow ones.

A room is a folder of ``offline_capi`` with its folder of ``tests``. What changed are the files that differ from the
commit at which this branch left ``main`` (on ``main``: from the last commit), and untracked ones. Tests that start an
Airflow, a cluster or many processes are left to ``make test``, unless it is one of them that changed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Files whose tests take longer than all others of their room together.
SLOW = (
    "tests/airflow_provider",
    "tests/benchmarks",
    "tests/distributed",
    "tests/end_to_end",
    "tests/delivery/test_killed_upload.py",
    "tests/delivery/test_thousand_runs.py",
    "tests/ledger/test_killed.py",
    "tests/ledger/test_poolers.py",
    "tests/ledger/test_processes.py",
    "tests/sources/test_csv_quotes.py",
    "tests/sources/test_mariadb.py",
    "tests/sources/test_forged_parquet.py",
)
#: What every room stands on: a change here is a change of all, of which these tests see most.
BELOW_ALL = {"model", "runtime", "errors.py", "__init__.py"}
SMALL_AND_WIDE = ["tests/events", "tests/mapping/test_map_rows.py", "tests/pipeline/test_recipe.py", "tests/model"]


def list_changed_files() -> list[str]:
    base = (
        run_git("merge-base", "HEAD", "main")
        if run_git("rev-parse", "HEAD") != run_git("rev-parse", "main")
        else "HEAD"
    )
    changed = run_git("diff", "--name-only", base).splitlines()
    return [*changed, *run_git("ls-files", "--others", "--exclude-standard").splitlines()]


def run_git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def choose_tests(changed: list[str]) -> list[str]:
    """Folders and files of tests, each once; empty if nothing changed that has tests."""
    chosen: dict[str, None] = {}
    for file in changed:
        parts = Path(file).parts
        if parts[0] == "tests" and parts[-1].startswith("test_"):
            chosen[file] = None
        elif parts[0] == "offline_capi" and len(parts) > 1:
            room = f"tests/{parts[1]}"
            if (ROOT / room).is_dir() and room not in SLOW:
                chosen[room] = None
            if parts[1] in BELOW_ALL:
                chosen |= dict.fromkeys(SMALL_AND_WIDE)
    return [test for test in chosen if (ROOT / test).exists()]


def main() -> int:
    tests = choose_tests(list_changed_files())
    if not tests:
        print("test-fast: nothing that has tests changed; `make test` runs all")
        return 0
    print("test-fast:", " ".join(tests), flush=True)
    left_out = [f"--ignore={slow}" for slow in SLOW if not any(test.startswith(slow) for test in tests)]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
    return subprocess.run([*command, *left_out, *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
