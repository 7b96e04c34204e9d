"""Airflow spread over processes that share what machines would: a database, a broker, the DAG files.

Each worker has a hostname, a home and a log of its own.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.airflow_provider.embedded import clean_environment
from tests.airflow_provider.live import Api, address, end, started

__all__ = ["Cluster", "Parts", "hostname", "running_cluster"]

#: Clients that one worker sends for at the same time.
CONCURRENCY = 2
#: Seconds without a sign of life after which a task's worker counts as dead; Airflow's default is five minutes.
HEARTBEAT_TIMEOUT = 20
_CENTRAL = ("api-server", "scheduler", "dag-processor")
_HOSTNAME = "DISTRIBUTED_HOSTNAME"
#: Settings of an embedded Airflow that only SQLite understands.
_OF_SQLITE = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC")


def hostname() -> str:
    """What this process calls its machine: Airflow's ``hostname_callable``."""
    return os.environ[_HOSTNAME]


@dataclass(frozen=True)
class Cluster:
    """A running Airflow: its REST API, and its workers by hostname."""

    api: Api
    workers: Mapping[str, subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Parts:
    """What the processes share: the DAG files, Airflow's database, the broker, and by what they find the stage."""

    home: Path
    dags: Path
    database: sa.URL
    broker: str
    environment: Mapping[str, str]


@contextmanager
def running_cluster(parts: Parts, dag: str, workers: Sequence[str]) -> Iterator[Cluster]:
    """API server, scheduler, DAG processor and Celery workers; all of them are ended whatever happens."""
    settings, home = _settings(parts), parts.home
    with ExitStack() as stack:

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            process = _start(home, name, command, settings)
            stack.callback(end, process)
            return process

        if start("migration", "db", "migrate").wait():
            raise RuntimeError(f"airflow db migrate failed; its log is {home / 'migration.log'}")
        for name in _CENTRAL:
            start(name, name)
        running = {name: start(name, *_worker(name)) for name in workers}
        yield Cluster(Api(settings["AIRFLOW__API__BASE_URL"], dag, home), running)


def _start(home: Path, name: str, command: Sequence[str], settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    own = home / name
    own.mkdir(parents=True)
    environment = {
        **settings,
        "AIRFLOW_HOME": str(own),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(own / "logs"),
        _HOSTNAME: name,
    }
    return started(home / f"{name}.log", [sys.executable, "-m", "airflow", *command], environment)


def _worker(name: str) -> list[str]:
    return [
        "celery",
        "worker",
        "--celery-hostname",
        f"{name}@%h",
        "--concurrency",
        str(CONCURRENCY),
        "--skip-serve-logs",
    ]


def _settings(parts: Parts) -> dict[str, str]:
    """What all processes of an Airflow have to agree on, secrets first."""
    url = parts.database.render_as_string(hide_password=False)
    shared = {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url.replace("+psycopg:", "+psycopg_async:"),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": parts.broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{url}",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": f"{__name__}.hostname",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    embedded = clean_environment(parts.home, parts.dags)
    for name in _OF_SQLITE:
        del embedded[name]
    return {**embedded, **shared, **parts.environment, **address()}
