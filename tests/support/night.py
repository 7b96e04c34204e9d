"""A night as its owner has it: a copy of the sample configuration, a warehouse, files, and the command line.

``Night(home, sandbox)`` lays everything into ``home``. ``night.run("upload", "credit_approvals")`` calls the command
line in a process of its own; ``night.services()`` opens the same in this one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from offline_capi import model
from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.demo.samples import SAMPLE_TOKENS, build_store_files, build_warehouse
from offline_capi.model import Window
from offline_capi.pipeline import Services, open_services, run_upload
from offline_capi.report import RunReport
from tests.support.golden import environment
from tests.support.sandbox_server import Sandbox
from tests.support.starter import run_python

ROOT = Path(__file__).parents[2]
PIXELS = {
    "ACME_BANK_TOKEN": "1200000000000001",
    "CORNER_SHOP_TOKEN": "1200000000000002",
    "NORDIC_OUTLET_TOKEN": "1200000000000003",
}
#: Where the sample uploads' days begin: for hours of each night they are at different dates.
APPROVALS_ZONE, STORE_ZONE = "America/New_York", "Europe/Berlin"
#: Where a failure ends at once: nothing listens on the discard port.
NOBODY = "http://127.0.0.1:9"


def yesterday(zone: str) -> date:
    return model.find_yesterday(zone, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Night:
    """A project folder of one test, whose sample night is yesterday, in each upload's own zone."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home, self.sandbox = home, sandbox
        self.env = {**environment(home), "OFFLINE_CAPI_GRAPH_URL": sandbox.url}
        for name, pixel in PIXELS.items():
            sandbox.grant(SAMPLE_TOKENS[name], [pixel])
        for name in ("dags/clients.yml", "dags/uploads", "sql"):
            copy = shutil.copytree if (ROOT / name).is_dir() else _copy
            copy(ROOT / name, home / name)

    def fill(self) -> Night:
        """Build the sample warehouse and files."""
        samples = ROOT / "data_samples"
        build_warehouse(f"sqlite:///{self.home / 'warehouse.db'}", yesterday(APPROVALS_ZONE), samples)
        build_store_files(self.home / "store_purchases", yesterday(STORE_ZONE), samples)
        return self

    # ------------------------------------------------------------------------------------------ the command line

    def run(self, *arguments: str, env: dict[str, str] | None = None, timeout: float = 60) -> Said:
        return self._python(("-m", "offline_capi", *arguments), env, timeout)

    def script(
        self,
        code: str,
        *arguments: str,
        env: dict[str, str] | None = None,
        timeout: float = 180,
        new_interpreter: bool = False,
    ) -> Said:
        """Run a program of the test's in a process of its own, where the command line would run.

        ``new_interpreter``: it looks at, or changes, what an interpreter imports.
        """
        return self._python(("-c", code, *arguments), env, timeout, new_interpreter=new_interpreter)

    def _python(
        self, arguments: Sequence[str], env: Mapping[str, str] | None, timeout: float, *, new_interpreter: bool = False
    ) -> Said:
        environment = {**_own_environment(), **self.env, **(env or {})}
        done = run_python(arguments, cwd=self.home, env=environment, timeout=timeout, new_interpreter=new_interpreter)
        return Said(done.returncode, done.stdout, done.stderr)

    # ------------------------------------------------------------------------------------------ this process

    @contextmanager
    def services(self) -> Iterator[Services]:
        deployment = load_config(self.home / "dags", environ=self.env)
        with open_services(deployment, EnvironmentSecrets(self.env)) as services:
            yield services

    def send(self, upload: str, day: date | None = None, **options: Any) -> RunReport:
        """Run an upload for a day, yesterday unless another is given, in this process."""
        with self.services() as services:
            one = services.deployment.uploads[upload]
            window = Window.of_day(day or yesterday(one.window.timezone), one.window.timezone)
            return run_upload(one, window, services, **options)

    # ------------------------------------------------------------------------------------------ the configuration

    def edit(self, file: str, *changes: tuple[str, str]) -> None:
        """Replace texts of a configuration file; each has to be there."""
        path = self.home / file
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, f"{old!r} is not in {file}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def write(self, file: str, text: str) -> Path:
        path = self.home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    # ------------------------------------------------------------------------------------------ what the other side has

    @property
    def counted(self) -> Counter[str]:
        """How often each event counted at Meta, by pixel, name and id."""
        return Counter({f"{pixel}/{name}/{id_}": times for pixel, name, id_, times, _ in self.sandbox.tally()})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _own_environment() -> dict[str, str]:
    """This process's environment without what a developer may have set: a user keeps the bytecode too."""
    ours = ("OFFLINE_CAPI_", "AIRFLOW_", "FORCE_COLOR", "COLUMNS", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PYTHONPATH": str(ROOT)}
