"""``offline-capi demo``: a whole night on ``data_samples/`` against the sandbox, through the real Airflow DAGs.

Everything lives in one folder (``.demo``), everything started is stopped, nothing leaves the machine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from offline_capi.errors import UsageError
from offline_capi.model import Fate, find_yesterday
from offline_capi.runtime.process import PYTHON
from offline_capi.storage.private_files import replace_file

if TYPE_CHECKING:
    from offline_capi.sandbox import SandboxServer

__all__ = ["demo_settings", "last_night", "run_demo"]

DAGS = Path("dags")
UPLOADS = ("credit_approvals", "store_purchases")
STEPS = 4


def run_demo(home: Path, console: Console) -> int:
    """Run the demo night; returns the exit code."""
    for folder in ("dags", "data_samples", "sql"):
        if not Path(folder).is_dir():
            raise UsageError(f"demo: run it in a checkout of offline_capi; there is no {folder}/ here")
    home = home.resolve()
    night = last_night(datetime.now(UTC))
    step = _Steps(console)
    with _sandbox() as sandbox:
        settings = demo_settings(home, sandbox.url)
        step(f"sandbox: a local Graph API at {sandbox.url}; nothing leaves this machine")
        _build_samples(home, night)
        step(f"rows: {_short(home)}/warehouse.db and {_short(home)}/store_purchases/, as of {night}")
        step(f"Airflow: one night of {len(UPLOADS)} DAGs, in-process, metadata database in {_short(home)}/airflow")
        codes = [_run_dag(upload, night, home, settings) for upload in UPLOADS]
        step("reports, from the ledger")
        sent = _show_reports(settings, home, console)
        _print_count(sent, sum(pixel["counted"] for pixel in sandbox.get("totals").values()), console)
    _print_next(home, console)
    return max(codes)


def demo_settings(home: Path, graph_url: str) -> dict[str, str]:
    """The environment of the demo: where the sandbox, warehouse, files, ledger and Airflow's home are."""
    from offline_capi.demo.samples import SAMPLE_TOKENS

    return {
        "OFFLINE_CAPI_GRAPH_URL": graph_url,
        "OFFLINE_CAPI_DATA": str(home),
        "OFFLINE_CAPI_LEDGER": f"sqlite:///{home / 'ledger.db'}",
        "OFFLINE_CAPI_STAGE": str(home / "stage"),
        "OFFLINE_CAPI_CONN_WAREHOUSE": f"sqlite:///{home / 'warehouse.db'}",
        "AIRFLOW_HOME": str(home / "airflow"),
        **SAMPLE_TOKENS,
    }


def last_night(now: datetime) -> date:
    """The last day that is over in the zones of both uploads: in Sydney's morning New York still has rows to come."""
    from offline_capi.config import load_config

    uploads = load_config(DAGS).uploads
    return min(find_yesterday(uploads[name].window.timezone, now) for name in UPLOADS)


class _Steps:
    def __init__(self, console: Console) -> None:
        self._console, self._done = console, 0

    def __call__(self, text: str) -> None:
        self._done += 1
        self._console.print(f"[bold]demo {self._done}/{STEPS}[/]  {text}", highlight=False)


@contextmanager
def _sandbox() -> Iterator[SandboxServer]:
    from offline_capi.config import load_config
    from offline_capi.demo.samples import SAMPLE_TOKENS
    from offline_capi.sandbox import GrantSpec, SandboxServer, SandboxSpec

    clients = load_config(DAGS).clients.values()
    grants = [GrantSpec(SAMPLE_TOKENS[str(client.token.env)], [client.pixel_id]) for client in clients]
    with SandboxServer(SandboxSpec(grants)) as server:
        yield server


def _build_samples(home: Path, night: date) -> None:
    from offline_capi.demo.samples import build_samples

    home.mkdir(parents=True, exist_ok=True)
    build_samples(home, night)


def _run_dag(upload: str, night: date, home: Path, settings: Mapping[str, str]) -> int:
    """One night of one DAG, in a process of its own: Airflow reads its settings when it is imported."""
    from offline_capi.airflow_provider.local.home import make_demo_environment

    until = night + timedelta(days=1)
    command = [*PYTHON, "-m", "offline_capi.airflow_provider.local.one_night", "--dags", str(DAGS)]
    command += ["--upload", upload, "--since", night.isoformat(), "--until", until.isoformat()]
    environment = {**os.environ, **make_demo_environment(home / "airflow", DAGS), **settings}
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603  our own module


def _show_reports(settings: Mapping[str, str], home: Path, console: Console) -> int:
    """Print each upload's report and leave it as a page; returns how many events were sent."""
    from offline_capi.ledger import Ledger
    from offline_capi.report import RunReport, print_report, render_html

    sent = 0
    with Ledger(settings["OFFLINE_CAPI_LEDGER"]) as ledger:
        for record in reversed(ledger.runs.list_newest(len(UPLOADS))):
            if record.report is not None:
                report = RunReport.from_json(record.report)
                console.print()
                print_report(report, console)
                with replace_file(home / f"report-{report.upload}.html") as file:
                    file.write(render_html(report).encode())
                sent += report.tally.count(Fate.SENT)
    return sent


def _print_count(sent: int, counted: int, console: Console) -> None:
    """Our count beside the other side's."""
    again = "" if sent else ": the ledger knows that they were sent before"
    console.print(f"\n[bold]{sent:,} events sent, {counted:,} counted by the sandbox[/]{again}", highlight=False)


def _print_next(home: Path, console: Console) -> None:
    console.print(
        f"\nWhere to look next\n"
        f"  make demo                  again: sends 0 events, the ledger remembers\n"
        f"  {_short(home)}/report-*.html       the reports as pages\n"
        f"  dags/uploads/              the two uploads as YAML\n"
        f"  .venv/bin/offline-capi     the command line; `sandbox` is the local Graph API",
        highlight=False,
    )


def _short(path: Path) -> str:
    return os.path.relpath(path)
