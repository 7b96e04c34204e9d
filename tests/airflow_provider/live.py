"""Airflow's own processes, started and ended by a test, and its REST API as far as tests ask it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from tests.airflow_provider.embedded import REPOSITORY, clean_environment

__all__ = ["Api", "address", "end", "kill", "running_airflow", "started"]

Found = TypeVar("Found")


class Api:
    """Airflow's REST API for one DAG; ``logs`` is where its processes write, for whoever waits in vain."""

    def __init__(self, url: str, dag: str, logs: Path) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._dag, self._logs = dag, logs

    def of(self, dag: str) -> Api:
        """The same for another DAG; who is signed in stays signed in."""
        other = copy(self)
        other._dag = dag
        return other

    def wait_for(self, what: str, ask: Callable[[], Found | None], until: float, *, every: float = 1.0) -> Found:
        while time.monotonic() < until:
            try:
                found = ask()
            except httpx.TransportError:
                found = None
            if found:
                return found
            time.sleep(every)
        tails = (f"{path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in self._logs.glob("*.log"))
        raise AssertionError("\n".join([f"waited in vain for {what}:", *tails]))

    def sign_in(self) -> bool:
        answer = self._http.get("/auth/token")
        if answer.is_success:
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer.is_success

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self._http.request(method, f"/api/v2/{path}", json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def instances(self, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, each as it stands now."""
        found: list[dict[str, Any]] = self.ask("GET", f"{self._run(run_id)}/taskInstances?limit=100")["task_instances"]
        return found

    def attempts(self, run_id: str, instance: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Every try of a mapped task instance, the first one first."""
        path = f"{self._run(run_id)}/taskInstances/{instance['task_id']}/{instance['map_index']}/tries"
        found: list[dict[str, Any]] = self.ask("GET", path)["task_instances"]
        return sorted(found, key=lambda attempt: attempt["try_number"])

    def tries(self, run_id: str) -> dict[str, list[Any]]:
        """Each task of a run, with the client that its row in the grid is labelled by: its state and tries."""
        found = self.instances(run_id)
        labels = (" ".join(filter(None, [task["task_id"], task["rendered_map_index"]])) for task in found)
        return {label: [task["state"], task["try_number"]] for label, task in zip(labels, found, strict=True)}

    def process_of(self, task_id: str) -> int | None:
        """The process that runs this task of the one run there is, known by its title."""
        (run,) = self.runs()
        found = self.instances(run["dag_run_id"])
        titles = {f"airflow worker -- {task['id']}".encode() for task in found if task["task_id"] == task_id}
        return next((pid for pid, title in _process_titles() if title in titles), None)

    def dag_is_there(self) -> bool:
        return self._http.get(f"/api/v2/dags/{self._dag}").is_success

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", f"dags/{self._dag}/dagRuns")["dag_runs"]
        return found

    def ended_runs(self, number: int) -> list[dict[str, Any]] | None:
        """All runs by partition, once there are ``number`` and all have ended."""
        runs = self.runs()
        ended = [run for run in runs if run["state"] in ("success", "failed")]
        return sorted(ended, key=lambda run: run["partition_key"] or "") if len(ended) == len(runs) >= number else None

    def _run(self, run_id: str) -> str:
        return f"dags/{self._dag}/dagRuns/{quote(run_id)}"


@contextmanager
def running_airflow(home: Path, dags: Path, environment: Mapping[str, str], dag: str) -> Iterator[Api]:
    """``airflow standalone`` in a process group of its own, which is ended whatever happens."""
    home.mkdir(parents=True)
    here = address()
    process = started(
        home / "standalone.log",
        [str(Path(sys.executable).with_name("airflow")), "standalone"],
        {**clean_environment(home, dags), **environment, **here},
    )
    try:
        yield Api(here["AIRFLOW__API__BASE_URL"], dag, home)
    finally:
        end(process)


def address() -> dict[str, str]:
    """Settings of an API server on a free port, and of those who ask it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # standalone starts "airflow" by name
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    }


def started(log: Path, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process in a session of its own, so that it and all that it starts can be ended together."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and its group to end, then make it and all that it started."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    kill(process)


def kill(process: subprocess.Popen[bytes], *, orphans: bool = False) -> int:
    """End a process and all that it started, as a machine that loses power does; returns how many they were.

    Airflow gives each task a process group of its own, but all are of one session. With ``orphans`` only the group of
    the process itself is ended: its tasks work on, and nobody hears of them any more.
    """
    belongs = os.getpgid if orphans else os.getsid
    ended = [pid for pid in _processes() if _asked(belongs, pid) == process.pid]
    for pid in ended:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=20)
    return len(ended)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _asked(belongs: Callable[[int], int], pid: int) -> int | None:
    with suppress(ProcessLookupError):  # it has ended meanwhile
        return belongs(pid)
    return None


def _process_titles() -> Iterator[tuple[int, bytes]]:
    for pid in _processes():
        with suppress(OSError):  # it has ended meanwhile
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
