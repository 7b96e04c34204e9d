"""A command that is forked from the starter is what a new interpreter would be: tests believe what it says."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.starter import ROOT, run_python

LOOKS = """
import json, os, signal, sys, threading
told = sys.stdin.read()
print(json.dumps([
    sys.argv, os.getcwd(), os.environ.get("MINE"), told, sys.stdout.isatty(), threading.active_count(), __name__,
    [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)], os.umask(0),
    sorted(os.listdir("/proc/self/fd"))[:3],
]))
print("to standard error", file=sys.stderr)
import atexit
atexit.register(print, "at the end")
sys.exit(7)
"""


def run(*arguments: str, cwd: Path, new_interpreter: bool = False, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MINE": "yes"}
    return run_python(arguments, cwd=cwd, env=environment, new_interpreter=new_interpreter, **more)  # type: ignore[arg-type]


def test_it_is_as_a_new_interpreter_would_be(tmp_path: Path) -> None:
    forked, new = (
        run("-c", LOOKS, "--flag", "é", cwd=tmp_path, input="typed\n", new_interpreter=new) for new in (False, True)
    )

    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)
    assert forked.stdout.endswith("at the end\n")


def test_it_imports_no_module_of_the_folder_in_which_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('not this one')")

    assert run("-m", "offline_capi", "version", cwd=tmp_path).returncode == 0


def test_commands_know_nothing_of_each_other_and_run_beside_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, offline_capi.model as m; print(getattr(m, 'left', 0)); m.left = 1; sys.stdout.write(sys.argv[1])"
    )
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda at: run("-c", code, str(at), cwd=tmp_path).stdout, range(8)))

    assert done == [f"0\n{at}" for at in range(8)]


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    with pytest.raises(subprocess.TimeoutExpired):
        run("-c", code, cwd=tmp_path, timeout=3)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_signal_is_told_as_subprocess_tells_it(tmp_path: Path) -> None:
    assert run("-c", "import os; os.kill(os.getpid(), 9)", cwd=tmp_path).returncode == -9


@pytest.mark.parametrize("name", ["POLARS_MAX_THREADS", "TZ", "OFFLINE_CAPI_KERNEL", "PYTHONUTF8"])
def test_what_is_read_at_the_start_gets_an_interpreter_of_its_own(tmp_path: Path, name: str) -> None:
    value = {"POLARS_MAX_THREADS": "3", "TZ": "Asia/Tokyo", "OFFLINE_CAPI_KERNEL": "off"}.get(name, "1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), name: value}
    code = "import sys; print('numpy' in sys.modules)"

    assert run_python(("-c", code), cwd=tmp_path, env=environment).stdout == "False\n"
    assert run("-c", code, cwd=tmp_path).stdout == "True\n"
