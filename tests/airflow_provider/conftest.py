"""Airflow changes the process that imports it: root logging, structlog, files in its home. Here it is kept apart.

Pure tests import it with a throw-away home and everything put back; whatever runs DAGs does so in other processes.
"""

from __future__ import annotations

import logging
import os
import tempfile

import structlog


def _import_airflow_apart() -> None:
    handlers, level, config = logging.root.handlers[:], logging.root.level, structlog.get_config()
    kept = os.environ.get("AIRFLOW_HOME")
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    import airflow.sdk
    import airflow.timetables.trigger  # noqa: F401

    os.environ.pop("AIRFLOW_HOME") if kept is None else os.environ.update(AIRFLOW_HOME=kept)
    logging.root.handlers[:], logging.root.level = handlers, level
    structlog.configure(**config)


_import_airflow_apart()
