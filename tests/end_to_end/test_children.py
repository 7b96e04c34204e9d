"""Processes that this package starts import nothing from the folder in which somebody stands."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

#: Modules that one of the processes imports, or looks for, when it starts or works.
NAMES = [
    "platform",
    "offline_capi",
    "pandas",
    "polars",
    "pyarrow",
    "sqlalchemy",
    "uvicorn",
    "socket",
    "airflow",
    "pickle",
]

READ = """
from pathlib import Path
from tests.sources.reading import WINDOW, open_at, query

rows = open_at(query("SELECT 1 id"), URL).read(WINDOW, batch_rows=9, in_subprocess=True)
print(sum(map(len, rows)), "rows")
"""
SERVE = """
from offline_capi.sandbox import SandboxServer

with SandboxServer() as server:
    server.get("health")
    print("health answered")
"""
NIGHT = """
from datetime import date
from pathlib import Path
from offline_capi import demo
from offline_capi.config import load_config

print(demo._run_dag("nothing", date(2026, 11, 1), Path("home").absolute(), {}))
"""


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A folder into which others put files: each of these says that it was run, and ends."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for name in NAMES:
        code = f"import os\nopen({str(tmp_path / 'ran')!r}, 'a').write(__name__)\nos._exit(7)\n"
        (folder / f"{name}.py").write_text(code)
    return folder


def run(landing: Path, *command: str) -> str:
    repository = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": repository, "AIRFLOW_HOME": str(landing.parent / "airflow")}
    done = subprocess.run(
        [sys.executable, *command], cwd=landing, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def ran(landing: Path) -> str:
    file = landing.parent / "ran"
    return file.read_text() if file.exists() else ""


def test_the_files_would_run_where_python_looks_for_modules_first(landing: Path):
    """Without this, a name that nobody imports would make all below pass."""
    run(landing, "-c", "import platform")

    assert ran(landing) == "platform"


@pytest.mark.parametrize(
    ("code", "said"), [(READ, "1 rows"), (SERVE, "health answered"), (NIGHT, "")], ids=["source", "sandbox", "demo"]
)
def test_p23_no_process_of_ours_runs_what_lies_in_the_current_folder(landing: Path, code: str, said: str):
    """Reading a database started ``python -c`` there: a ``platform.py`` of a landing folder saw all secrets (S6)."""
    with sqlite3.connect(landing.parent / "shop.db"):
        pass

    output = run(landing, "-P", "-c", code.replace("URL", repr(f"sqlite:///{landing.parent / 'shop.db'}")))

    assert ran(landing) == ""
    assert said in output


def test_p23_the_command_line_runs_nothing_of_the_current_folder(landing: Path):
    (landing / "offline_capi.py").unlink()  # `python -m` finds the package itself where it looks first

    assert "Usage:" in run(landing, "-m", "offline_capi", "--help")
    assert ran(landing) == ""
