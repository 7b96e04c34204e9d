"""The command line as processes that a test kills: one at a time, each known by its process id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.support.starter import ROOT, Running, start_python


class Commands:
    """Starts commands in a project folder, one at a time."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home, self._environment = home, {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._running: Running | None = None

    def start(self, *arguments: str) -> int:
        """The process id of a new one."""
        command = ("-m", "offline_capi", *arguments)
        self._running = start_python(command, cwd=self._home, env=self._environment)
        return self._running.pid

    def ended(self) -> int | None:
        """Wait for it; its exit code, or the negative signal that killed it."""
        assert self._running is not None
        return self._running.wait()
