"""``offline-capi demo``: a whole night on ``data_samples/`` against the sandbox, through the real Airflow DAGs.

Everything lives in one folder (``.demo``), everything started is stopped, nothing leaves the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console

from offline_capi.errors import UsageError

__all__ = ["demo_settings", "run_demo"]

DAGS = Path("dags")
UPLOADS = ("credit_approvals", "store_purchases")
STEPS = 4


def run_demo(home: Path, console: Console, *, today: date | None = None) -> int:
    """Run the demo night; returns the exit code. ``today`` is the day after the night that is sent."""
    for folder in ("dags", "data_samples", "sql"):
        if not Path(folder).is_dir():
            raise UsageError(f"demo: run it in a checkout of offline_capi; there is no {folder}/ here")
    home = home.resolve()
    night = (today or date.today()) - timedelta(days=1)  # noqa: DTZ011  the day of whoever runs the demo
    step = _Steps(console)
    with _sandbox() as url:
        settings = demo_settings(home, url)
        step(f"sandbox: a local Graph API at {url}; nothing leaves this machine")
        _build_samples(home, night)
        step(f"rows: {_short(home)}/warehouse.db and {_short(home)}/store_purchases/, as of {night}")
        step(f"Airflow: one night of {len(UPLOADS)} DAGs, in-process, metadata database in {_short(home)}/airflow")
        codes = [_run_dag(upload, night, settings) for upload in UPLOADS]
        step("reports, from the ledger")
        _print_reports(settings, console)
    _print_next(home, console)
    return max(codes)


def demo_settings(home: Path, graph_url: str) -> dict[str, str]:
    """The environment of the demo: where the sandbox, warehouse, files, ledger and Airflow's home are."""
    from offline_capi.samples import SAMPLE_TOKENS

    return {
        "OFFLINE_CAPI_GRAPH_URL": graph_url,
        "OFFLINE_CAPI_DATA": str(home),
        "OFFLINE_CAPI_LEDGER": f"sqlite:///{home / 'ledger.db'}",
        "OFFLINE_CAPI_STAGE": str(home / "stage"),
        "OFFLINE_CAPI_CONN_WAREHOUSE": f"sqlite:///{home / 'warehouse.db'}",
        "AIRFLOW_HOME": str(home / "airflow"),
        **SAMPLE_TOKENS,
    }


class _Steps:
    def __init__(self, console: Console) -> None:
        self._console, self._done = console, 0

    def __call__(self, text: str) -> None:
        self._done += 1
        self._console.print(f"[bold]demo {self._done}/{STEPS}[/]  {text}", highlight=False)


@contextmanager
def _sandbox() -> Iterator[str]:
    from offline_capi.config import load_config
    from offline_capi.samples import SAMPLE_TOKENS
    from offline_capi.sandbox import GrantSpec, SandboxServer, SandboxSpec

    clients = load_config(DAGS).clients.values()
    grants = [GrantSpec(SAMPLE_TOKENS[str(client.token.env)], [client.pixel_id]) for client in clients]
    with SandboxServer(SandboxSpec(grants)) as server:
        yield server.url


def _build_samples(home: Path, night: date) -> None:
    from offline_capi.samples import build_samples

    home.mkdir(parents=True, exist_ok=True)
    build_samples(home, night)


def _run_dag(upload: str, night: date, settings: Mapping[str, str]) -> int:
    """One night of one DAG, in a process of its own: Airflow reads its settings when it is imported."""
    until = night + timedelta(days=1)
    command = [sys.executable, "-m", "offline_capi.airflow_provider.one_night", "--dags", "dags"]
    command += ["--upload", upload, "--since", night.isoformat(), "--until", until.isoformat()]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode  # noqa: S603  our own module


def _print_reports(settings: Mapping[str, str], console: Console) -> None:
    from offline_capi.ledger import Ledger
    from offline_capi.report import RunReport, print_report

    with Ledger(settings["OFFLINE_CAPI_LEDGER"]) as ledger:
        for record in reversed(ledger.runs(len(UPLOADS))):
            if record.report is not None:
                console.print()
                print_report(RunReport.from_json(record.report), console)


def _print_next(home: Path, console: Console) -> None:
    console.print(
        f"\nWhere to look next\n"
        f"  make demo                       again: sends 0 events, the ledger remembers\n"
        f"  {_short(home)}/report-*.html            the reports as pages\n"
        f"  dags/uploads/                   the two uploads as YAML\n"
        f"  offline-capi sandbox            the local Graph API, for your own first upload",
        highlight=False,
    )


def _short(path: Path) -> str:
    return os.path.relpath(path)
