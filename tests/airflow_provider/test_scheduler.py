"""The real thing once: scheduler, DAG processor, API server and LocalExecutor, on a bad night.

The worker that sends is killed half-way, and a backfill over the same days and the same client starts meanwhile.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest

from offline_capi.demo import demo_settings
from offline_capi.ledger import Ledger
from offline_capi.model import Fate
from offline_capi.report import RunReport
from offline_capi.samples import SAMPLE_TOKENS, build_samples
from tests.airflow_provider.embedded import REPOSITORY, clean_environment
from tests.sandbox_server import Sandbox

DAG = "offline_capi__credit_approvals"
ACME_BANK = "1200000000000001"
PATIENCE = 240  # seconds for a machine with other things to do; 80 are usual

Found = TypeVar("Found")


def last_partition(now: datetime) -> date:
    """The day that the schedule of ``credit_approvals`` (03:00 in New York) has covered last."""
    local = now.astimezone(ZoneInfo("America/New_York"))
    return local.date() - timedelta(days=1 if local.hour >= 3 else 2)


class Api:
    """Airflow's REST API, as far as this test asks it."""

    def __init__(self, port: int, log: Path) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._log = log

    def wait_for(self, what: str, ask: Callable[[], Found | None], until: float, *, every: float = 1.0) -> Found:
        while time.monotonic() < until:
            try:
                found = ask()
            except httpx.TransportError:
                found = None
            if found:
                return found
            time.sleep(every)
        raise AssertionError(f"waited in vain for {what}:\n" + self._log.read_text(errors="replace")[-6000:])

    def sign_in(self) -> bool:
        answer = self._http.get("/auth/token")
        if answer.is_success:
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer.is_success

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self._http.request(method, f"/api/v2/{path}", json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def tries(self, run_id: str) -> dict[str, list[Any]]:
        """Each task of a run, with the client that its row in the grid is labelled by: its state and tries."""
        found = self.ask("GET", f"dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances")["task_instances"]
        labels = (" ".join(filter(None, [task["task_id"], task["rendered_map_index"]])) for task in found)
        return {label: [task["state"], task["try_number"]] for label, task in zip(labels, found, strict=True)}

    def process_of(self, task_id: str) -> int | None:
        """The process that runs this task of the one run there is, known by its title."""
        runs = self.ask("GET", f"dags/{DAG}/dagRuns")["dag_runs"]
        (run_id,) = [quote(run["dag_run_id"]) for run in runs]
        found = self.ask("GET", f"dags/{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"]
        titles = {f"airflow worker -- {task['id']}".encode() for task in found if task["task_id"] == task_id}
        return next((pid for pid, title in _process_titles() if title in titles), None)

    def dag_is_there(self) -> bool:
        return self._http.get(f"/api/v2/dags/{DAG}").is_success

    def ended_runs(self, number: int) -> list[dict[str, Any]] | None:
        """All runs by partition, once there are ``number`` and all have ended."""
        runs = self.ask("GET", f"dags/{DAG}/dagRuns")["dag_runs"]
        ended = [run for run in runs if run["state"] in ("success", "failed")]
        return sorted(ended, key=lambda run: run["partition_key"]) if len(ended) == len(runs) >= number else None


@contextmanager
def running_airflow(home: Path, dags: Path, environment: dict[str, str]) -> Iterator[Api]:
    """``airflow standalone`` in a process group of its own, which is ended whatever happens."""
    home.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # standalone starts "airflow" by name
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    }
    log = home / "standalone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("airflow"), "standalone"],
            env={**clean_environment(home, dags), **environment, **address},
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Api(port, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, then make it."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)


def _process_titles() -> Iterator[tuple[int, bytes]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield int(path.parent.name), path.read_bytes().rstrip(b"\0 ")


#: Many small requests one after the other, so that there is a middle to be killed in, and retries that do not wait.
SLOWLY = """
delivery: {max_events: 10, concurrency: 1}
airflow: {retries: 20, retry_delay: 1s, owner: lending}
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    for folder in ("dags", "sql"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    with (tmp_path / "dags" / "uploads" / "credit_approvals.yml").open("a", encoding="utf-8") as upload:
        upload.write(SLOWLY)
    return tmp_path / "dags"


@pytest.fixture
def day(tmp_path: Path, sandbox: Sandbox) -> date:
    night = last_partition(datetime.now(UTC))
    build_samples(tmp_path, night, samples=REPOSITORY / "data_samples")
    sandbox.grant(SAMPLE_TOKENS["ACME_BANK_TOKEN"], [ACME_BANK])
    return night


def test_p03_p15_a_killed_worker_and_a_backfill_at_the_same_time_count_every_event_once(
    tmp_path: Path, sandbox: Sandbox, day: date, dags: Path
):
    until = time.monotonic() + PATIENCE
    environment = {**demo_settings(tmp_path, sandbox.url), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    sandbox.fault("slow", delay=0.4)
    with running_airflow(tmp_path / "airflow", dags, environment) as api:
        api.wait_for("the API server", api.sign_in, until)
        api.wait_for("the DAG", api.dag_is_there, until)

        api.ask("PATCH", f"dags/{DAG}", is_paused=False)
        api.wait_for("three requests", lambda: len(sandbox.requests) >= 3, until, every=0.1)
        sending = api.wait_for("who sends them", lambda: api.process_of("upload"), until, every=0.1)
        os.kill(sending, signal.SIGKILL)
        arrived = len(sandbox.accepted_ids)
        first, last = (f"{at}T00:00:00Z" for at in (day - timedelta(days=2), day))
        api.ask("POST", "backfills", dag_id=DAG, from_date=first, to_date=last, max_active_runs=2)
        sandbox.heal()
        runs = api.wait_for("the night and the backfill", lambda: api.ended_runs(3), until)
        tries = api.tries(runs[2]["dag_run_id"])

    assert 10 < arrived < len(sandbox.accepted_ids)
    assert [run["partition_key"] for run in runs] == [f"{day - timedelta(days=n)}" for n in (2, 1, 0)]
    assert [run["run_type"] for run in runs] == ["backfill", "backfill", "scheduled"], "the third day had a run already"
    assert {run["state"] for run in runs} == {"success"}
    assert tries["upload acme_bank"][0] == "success"
    assert tries["upload acme_bank"][1] >= 2
    assert all(counted == 1 for _, _, _, counted, _ in sandbox.tally())
    assert sum(arrived > 1 for _, _, _, _, arrived in sandbox.tally()) <= 10, "at most one request was in doubt"
    with Ledger(environment["OFFLINE_CAPI_LEDGER"]) as ledger:
        reports = [RunReport.from_json(run.report) for run in ledger.runs(10) if run.report]
    assert {report.status.value for report in reports} == {"complete"}
    assert sum(report.tally.of(Fate.SENT) for report in reports) == len(sandbox.accepted_ids)
    tokens = [token.encode() for token in SAMPLE_TOKENS.values()]
    written = [path.read_bytes() for path in (tmp_path / "airflow").rglob("*") if path.is_file()]
    assert not [token for token in tokens if any(token in text for text in written)], "LocalExecutor echoes task logs"
