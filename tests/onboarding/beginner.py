"""A person who begins: an empty folder, an export, and the command line; nothing else."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from offline_capi.cli import app
from offline_capi.config import Deployment, load_config
from offline_capi.errors import ConfigError, OfflineCapiError
from tests.support.night import ROOT, Said, yesterday
from tests.support.sandbox_server import PIXEL
from tests.support.starter import run_python

#: What nobody but a person knows of the sales below.
KNOWN = ("--client", "acme", "--pixel", PIXEL, "--event", "Purchase", "--action-source", "physical_store",
         "--timezone", "UTC", "--country", "US")  # fmt: skip
_UNSET = {name: None for name in os.environ if name.startswith("OFFLINE_CAPI_")}
CANARY = "zelda.fitzgerald"


def sales(count: int = 60) -> list[dict[str, Any]]:
    """Yesterday's export as shops have it, with a bad e-mail address in every twentieth row."""
    day = yesterday("UTC")
    return [
        {
            "order_no": f"A-{1000 + at}",
            "sold_at": f"{day} 09:{at % 60:02}:00",
            "mail_addr": f"{CANARY}{at} at example" if at % 20 == 9 else f"{CANARY}{at}@example.com",
            "telephone": f"(415) 555-{1000 + at}",
            "first_name": "Zelda",
            "total": f"{at + 1}.50",
            "currency": "USD",
        }
        for at in range(count)
    ]


@dataclass
class Beginner:
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def csv(
        self, name: str, rows: Sequence[Mapping[str, Any]], *, delimiter: str = ",", encoding: str = "utf-8"
    ) -> str:
        with (self.home / name).open("w", newline="", encoding=encoding) as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        return name

    def init(self, *arguments: str, typed: Sequence[str] = ()) -> Said:
        """The command in this process; ``typed`` are the answers to its prompts. An error of a user is its message."""
        return self.call("init", *arguments, typed=typed)

    def call(self, *arguments: str, typed: Sequence[str] = ()) -> Said:
        with chdir(self.home):
            done = CliRunner().invoke(
                app, [*arguments], input="".join(f"{line}\n" for line in typed), env={**_UNSET, **self.env}
            )
        if isinstance(done.exception, OfflineCapiError):
            return Said(2 if isinstance(done.exception, ConfigError) else 1, done.stdout, str(done.exception))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    def run(self, *arguments: str, typed: str = "", env: Mapping[str, str] | None = None) -> Said:
        environment = {**own_environment(), **self.env, **(env or {})}
        done = run_python(("-m", "offline_capi", *arguments), cwd=self.home, env=environment, input=typed, timeout=120)
        return Said(done.returncode, done.stdout, done.stderr)

    def shell(self, command: Sequence[str], typed: str = "", env: Mapping[str, str] | None = None) -> Said:
        done = subprocess.run(
            command,
            cwd=self.home,
            env={**own_environment(), **self.env, **(env or {})},
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def text(self, path: str) -> str:
        return (self.home / path).read_text(encoding="utf-8")

    def upload(self, name: str) -> Any:
        return yaml.safe_load(self.text(f"dags/uploads/{name}.yml"))

    def config(self) -> Deployment:
        return load_config(self.home / "dags", environ={})

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())


def own_environment() -> dict[str, str]:
    ours = ("OFFLINE_CAPI_", "AIRFLOW_", "FORCE_COLOR", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
