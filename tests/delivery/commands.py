"""The command line as processes that start at once: ``python -m tests.delivery.commands`` forks one a line.

A line holds the arguments as JSON; the child is what ``python -m offline_capi`` is after its imports, which cost a
second each time. It is told by its process id, and, when asked with an empty line, by its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.night import ROOT


@dataclass(frozen=True)
class Commands:
    """Starts commands, one at a time."""

    _parent: subprocess.Popen[str]

    def start(self, *arguments: str) -> int:
        """The process id of a new one."""
        return int(self._ask(json.dumps(arguments)))

    def ended(self) -> int:
        """Wait for it; its exit code, or the negative signal that killed it."""
        return int(self._ask(""))

    def _ask(self, line: str) -> str:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(line + "\n")
        self._parent.stdin.flush()
        return self._parent.stdout.readline()


@contextmanager
def commands(home: Path, environment: Mapping[str, str]) -> Iterator[Commands]:
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.delivery.commands"],
        cwd=home,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started as parent:
        yield Commands(parent)


def main() -> None:
    from offline_capi.runtime.process import set_up_process

    set_up_process()  # before Arrow is imported, as the command line does
    import offline_capi.cli
    import offline_capi.pipeline.run

    child = 0
    for line in sys.stdin:
        if line.strip():
            child = os.fork()
            if not child:
                run(json.loads(line), offline_capi.cli.main)
            say(child)
        else:
            say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def run(arguments: list[str], main_of_the_command: object) -> None:
    """As if this process had been started for the command alone."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(silence, stream)
    sys.argv = ["offline-capi", *arguments]
    try:
        main_of_the_command()  # type: ignore[operator]
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 0)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
