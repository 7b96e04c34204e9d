"""An Airflow home that needs nothing: SQLite metadata, no examples, no login. For the demo and for tests.

Airflow reads its settings when it is imported, so they have to be in the environment of the process before that; this
module therefore imports nothing of it.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["SQLITE_WAIT", "make_demo_environment"]

#: Seconds that Airflow's processes wait for each other's lock on an SQLite file; with SQLite's own 5, schedulers died.
SQLITE_WAIT = {"timeout": 60}


def make_demo_environment(home: Path, dags: Path) -> dict[str, str]:
    """Environment variables for an embedded Airflow in ``home`` that reads the DAG files of ``dags``."""
    home, dags = home.resolve(), dags.resolve()
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "offline_capi.airflow_provider.local.home.SQLITE_WAIT",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": "offline_capi.airflow_provider.local.home.SQLITE_WAIT",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([_bundle(dags)]),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _bundle(dags: Path) -> dict[str, object]:
    return {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
