"""What tests on Spark need from the machine: without it they are skipped here, and fail in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def require_spark(*, java: bool = True) -> None:
    """Skip where PySpark is missing, or the Java that a session here runs in; a client of Connect needs none."""
    if importlib.util.find_spec("pyspark") is None or (java and shutil.which("java") is None):
        how = "Spark needs PySpark (make install-spark) and Java (apt-get install openjdk-17-jre-headless)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(how)
