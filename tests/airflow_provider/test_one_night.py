"""``python -m offline_capi.airflow_provider.local.one_night``: what the demo runs, as it runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import REPOSITORY, clean_environment


def one_night(night: SampleNight, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "offline_capi.airflow_provider.local.one_night", "--dags", "dags"]
    window = ["--since", night.window["since"], "--until", night.window["until"]]
    return subprocess.run(
        [*command, "--upload", "store_purchases", *window, *more],
        env={**clean_environment(home), **night.environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_prints_a_line_a_task_and_works_twice_in_a_row(night: SampleNight, tmp_path: Path):
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    red = one_night(night, tmp_path / "airflow home")
    night.sandbox.grant(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"], [night.pixel("nordic_outlet")])

    green = one_night(night, tmp_path / "airflow home")

    assert (red.returncode, green.returncode) == (1, 0), red.stdout + red.stderr + green.stdout + green.stderr
    assert re.search(r"upload nordic_outlet +failed +.* s  AccessDeniedError: nordic_outlet: ", red.stdout)
    assert re.search(r"purge +upstream_failed", red.stdout)
    assert re.search(r"3 failed; Airflow's log is .*one_night\.log", red.stdout)
    assert [line.split()[0] for line in green.stdout.splitlines()[1:]] == [
        *("plan", "prepare", "upload", "upload", "reconcile", "purge"),
    ]
    assert "Traceback" not in red.stdout + red.stderr + green.stdout + green.stderr


def test_an_upload_that_does_not_exist_is_one_message_with_the_names_of_those_that_do(night: SampleNight, tmp_path):
    answer = one_night(night, tmp_path / "airflow", "--upload", "store_purchase")

    assert answer.returncode == 2
    assert "store_purchases" in answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
