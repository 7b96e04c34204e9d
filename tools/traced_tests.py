"""A pytest plugin for ``tools/mutants.py``: which tests run which lines, and then only some of them, quick ones first.

``TRACE_TO``: a file to write, per test that passes its seconds and the lines that it runs; ``TRACED`` are the files.
``RUN_ONLY``: a file with the names of the tests to run, in this order.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

_TRACED = [path for path in os.environ.get("TRACED", "").split(os.pathsep) if path]
_TRACER = coverage.Coverage(data_file=None, include=_TRACED, config_file=False) if _TRACED else None
_seconds: dict[str, float] = {}
_failed: set[str] = set()

if _TRACER is not None:  # when the plugin is loaded, so that lines run by an import are seen too
    _TRACER.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if _TRACER is None:
        return (yield)
    _TRACER.switch_context(item.nodeid)
    start = time.monotonic()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = time.monotonic() - start


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not report.passed:
        _failed.add(report.nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (chosen := os.environ.get("RUN_ONLY")) is None:
        return
    order = {name: number for number, name in enumerate(json.loads(Path(chosen).read_text(encoding="utf-8")))}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in order])
    items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


def pytest_sessionfinish() -> None:
    if _TRACER is None:
        return
    _TRACER.stop()
    data = _TRACER.get_data()
    lines = {
        file: {str(line): sorted(tests) for line, tests in data.contexts_by_lineno(file).items()}
        for file in data.measured_files()
    }
    found = {"seconds": _seconds, "failed": sorted(_failed), "lines": lines}
    Path(os.environ["TRACE_TO"]).write_text(json.dumps(found), encoding="utf-8")
