"""The night itself: trigger the run, kill a worker in the middle, wait for the end, and see who did what."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tests.airflow_provider.live import kill
from tests.distributed.cluster import Cluster
from tests.distributed.deployment import DAG, Deployment
from tests.support.sandbox_server import Sandbox

__all__ = ["Death", "Deeds", "Night", "Share"]

#: Of all events: when so much of them has been counted, a worker dies.
MIDDLE = 0.4


@dataclass(frozen=True)
class Death:
    """A worker that was killed: when, what it was sending, and how much had been counted by then."""

    worker: str
    at: datetime
    clients: Sequence[str]
    counted: int
    processes: int


@dataclass(frozen=True)
class Share:
    """What one worker did: tasks that it brought to their end, clients that it sent for, events of its requests."""

    tasks: int
    clients: int
    events: int


@dataclass(frozen=True)
class Night:
    """One deployment on one cluster, for which there is ``patience`` in seconds."""

    deployment: Deployment
    sandbox: Sandbox
    cluster: Cluster
    patience: float
    _begun: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Wait until Airflow is there and knows the DAG."""
        self._wait_for("the API server", self.cluster.api.sign_in)
        self._wait_for("the DAG", self.cluster.api.dag_is_there)

    def trigger(self) -> str:
        """Start a run over the deployment's day; returns its id."""
        api = self.cluster.api
        api.ask("PATCH", f"dags/{DAG}", is_paused=False)
        run: dict[str, Any] = api.ask("POST", f"dags/{DAG}/dagRuns", logical_date=None, conf=self.deployment.window)
        return str(run["dag_run_id"])

    def kill_in_the_middle(self, run_id: str, *, orphans: bool) -> Death:
        """Wait until a good part was counted, and kill the worker that sends most at that moment; see ``kill``."""
        enough = MIDDLE * self.deployment.total
        self._wait_for("the middle of sending", lambda: self.counted() >= enough, every=0.2)
        worker, clients = self._wait_for("a worker that sends", lambda: self._busiest(run_id), every=0.2)
        processes = kill(self.cluster.workers[worker], orphans=orphans)
        return Death(worker, datetime.now(UTC), clients, self.counted(), processes)

    def end(self, run_id: str) -> str:
        """Wait until a run and all before it have ended; returns its state."""
        ended = self._wait_for("the end of the run", lambda: self.cluster.api.ended_runs(1))
        return str(next(run["state"] for run in ended if run["dag_run_id"] == run_id))

    def counted(self) -> int:
        return sum(int(pixel["counted"]) for pixel in self.sandbox.totals.values())

    def arrived(self) -> set[tuple[str, str | None]]:
        """Every event that was counted, with its pixel."""
        return {(pixel, event_id) for pixel, _, event_id, _, _ in self.sandbox.tally()}

    def deeds(self, run_id: str) -> Deeds:
        """Who did what in a run that has ended."""
        api = self.cluster.api
        instances = api.instances(run_id)
        tries = {self._client(task): api.attempts(run_id, task) for task in _uploads(instances)}
        return Deeds(instances, tries, self.sandbox.requests, self.deployment.pixels)

    def _busiest(self, run_id: str) -> tuple[str, list[str]] | None:
        """The worker that sends for most clients just now, and these."""
        sending: dict[str, list[str]] = {}
        for task in _uploads(self.cluster.api.instances(run_id)):
            if task["state"] == "running":
                sending.setdefault(task["hostname"], []).append(self._client(task))
        return max(sending.items(), key=lambda found: len(found[1]), default=None)

    def _client(self, task: Mapping[str, Any]) -> str:
        """Whose task of the mapped ones this is: clients are mapped in the order of their names."""
        place: int = task["map_index"]
        return self.deployment.names[place]

    def _wait_for(self, what: str, ask: Any, *, every: float = 1.0) -> Any:
        return self.cluster.api.wait_for(what, ask, self._begun + self.patience, every=every)


@dataclass(frozen=True)
class Deeds:
    """Airflow's record of every task and every try of ``upload``, beside the sandbox's of every request."""

    instances: Sequence[Mapping[str, Any]]
    tries: Mapping[str, Sequence[Mapping[str, Any]]]
    requests: Sequence[Mapping[str, Any]]
    client_of: Mapping[str, str]

    def share(self, worker: str) -> Share:
        done = sum(task["state"] == "success" and task["hostname"] == worker for task in self.instances)
        sent = self._sent
        return Share(done, sum(by == worker for by, _ in sent), sum(sent[key] for key in sent if key[0] == worker))

    @property
    def retried(self) -> dict[str, list[str]]:
        """The clients that took more than one try, with the worker of each try."""
        return {client: [one["hostname"] for one in tries] for client, tries in self.tries.items() if len(tries) > 1}

    @cached_property
    def _sent(self) -> Counter[tuple[str, str]]:
        """Events that were stored, by worker and client."""
        sent: Counter[tuple[str, str]] = Counter()
        for request in self.requests:
            client = self.client_of[request["pixel"]]
            sent[_at_work(self.tries[client], request["at"]), client] += request["stored"]
        return sent


def _uploads(instances: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [task for task in instances if task["task_id"] == "upload"]


def _at_work(tries: Sequence[Mapping[str, Any]], moment: float) -> str:
    """The worker of the last try that had begun by this moment."""
    begun = [one for one in tries if datetime.fromisoformat(one["start_date"]).timestamp() <= moment]
    return str(begun[-1]["hostname"]) if begun else "nobody"
