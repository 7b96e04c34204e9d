"""A project of many uploads, one an outcome, and the command line run for all of them in one process.

A process of its own for each row of a table would cost a second or more; the command line is the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.night import ROOT, Said
from tests.support.sandbox_server import PIXEL, TOKEN
from tests.support.starter import run_python

ZONE = "Europe/Berlin"
CLIENTS = f"""
clients:
  acme: {{pixel_id: "{PIXEL}", token: {{env: ACME_TOKEN}}}}
  locked: {{pixel_id: "9876543210", token: {{env: LOCKED_TOKEN}}}}
"""
UPLOAD = """
client: {client}
source: {{path: "{path}"{source}}}
window: {{column: sold_at, timezone: Europe/Berlin}}
event: {{name: Purchase, id: "{name}-{{sale}}", action_source: other}}
user_data: {{em: email}}
custom_data: {{value: {{column: amount, type: number}}, currency: {{constant: EUR}}}}
consent: {{column: consent, equals: "yes"}}
delivery: {{max_tries: 1}}
{more}
"""
HEADER = "sale,sold_at,email,amount,consent\n"
DRIVER = """
import contextlib, io, json, sys
from offline_capi.cli import main

for arguments in json.load(sys.stdin):
    out, err, sys.argv = io.StringIO(), io.StringIO(), ["offline-capi", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Project:
    """A project folder as `init` lays it: ``dags/`` and ``data/`` beside it; nothing names a ledger."""

    def __init__(self, home: Path, graph_url: str) -> None:
        self.home = home
        self.env = {"OFFLINE_CAPI_GRAPH_URL": graph_url, "ACME_TOKEN": TOKEN, "LOCKED_TOKEN": "no-token-of-anybody"}
        self.write("dags/clients.yml", CLIENTS)
        (home / "data").mkdir()

    def write(self, file: str, text: str) -> None:
        path = self.home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def upload(self, name: str, path: str = "", *, source: str = "", more: str = "", client: str = "acme") -> None:
        """An upload ``name``; ``path`` is ``data/<name>_{date}.csv`` unless given."""
        text = UPLOAD.format(
            name=name, path=path or f"data/{name}_{{date}}.csv", client=client, source=source, more=more
        )
        self.write(f"dags/uploads/{name}.yml", text)

    def rows(self, file: str, *rows: str) -> None:
        self.write(f"data/{file}", HEADER + "".join(f"{row}\n" for row in rows))

    def run(self, *arguments: str, folder: Path | None = None, **env: str) -> Said:
        """One command, from the project's folder unless another is given."""
        (said,) = self.run_all([arguments], folder=folder, **env)
        return said

    def run_all(self, commands: Sequence[Sequence[str]], folder: Path | None = None, **env: str) -> list[Said]:
        """Commands, one after the other."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("OFFLINE_CAPI_", "AIRFLOW"))}
        environment = {**mine, "PYTHONPATH": str(ROOT), **self.env, **env}
        done = run_python(("-c", DRIVER), cwd=folder or self.home, env=environment, input=json.dumps(commands))
        assert done.returncode == 0, done.stderr
        return [Said(*json.loads(line)) for line in done.stdout.splitlines()]


def row(sale: str, day: date, *, consent: str = "yes", amount: str = "5") -> str:
    """A row of noon on ``day``."""
    sold_at = datetime.combine(day, time(12), ZoneInfo(ZONE)).isoformat()
    return f"{sale},{sold_at},{sale}@example.com,{amount},{consent}"


def days_before(day: date, count: int) -> list[date]:
    """The ``count`` days before ``day``, oldest first."""
    return [day - timedelta(days=ago) for ago in range(count, 0, -1)]


def problem_of(said: Said) -> str:
    """What a run says is wrong with it, of a report or of an error."""
    data: dict[str, Any] = said.json
    return (
        " ".join([*data["problems"], *(gate["sentence"] for gate in data["gates"])])
        if "run" in data
        else (str(data.get("message", "")))
    )
