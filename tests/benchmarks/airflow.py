"""``make bench-airflow``: what Airflow adds. How long DAG files take to parse, and the DAG beside the command line.

DAGs run by ``dag.test()`` in one process that has run a DAG before: what is measured is our tasks and Airflow's task
runner, not the scheduler and not the start of a worker process for each task. So they are held against the run of the
command line, from opening to closing its books; what the whole command takes, with its interpreter and imports, stands
beside it. It runs before and after the DAG. All send the same rows to the same counting sink, each with a ledger of its
own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pyarrow import csv

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.airflow_provider.embedded import DAGS, EmbeddedAirflow, clean_environment
from tests.benchmarks.__main__ import say
from tests.benchmarks.data import store_rows
from tests.benchmarks.sink import Sink
from tests.support.night import STORE_ZONE, yesterday

UPLOADS = 300
PARSE_BOUND = 5.0  # seconds
SIZES = (1_000, 100_000)  # rows of one client
CLIENTS = (1, 10, 100)
ROWS_A_CLIENT = 100
YESTERDAY = yesterday(STORE_ZONE)  # tasks look at the clock of this machine


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as folder:
        home = Path(folder)
        say(f"parsing: {UPLOADS} uploads in one folder, processor time in a process that has imported Airflow")
        parsing(home / "many")
        with Sink() as sink:
            running(Place.made(home / "few", sink.url))


# ---------------------------------------------------------------------------------------------- parsing


def parsing(folder: Path) -> None:
    shutil.copytree(DAGS, folder / "dags")
    shutil.copytree(DAGS.parent / "sql", folder / "sql")
    text = (DAGS / "uploads" / "credit_approvals.yml").read_text(encoding="utf-8")
    for number in range(UPLOADS - 2):
        (folder / "dags" / "uploads" / f"upload_{number}.yml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "tests.benchmarks.airflow", str(folder / "dags")]
    environment = clean_environment(folder / "home", folder / "dags")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    for what, seconds in took.items():
        say(f"  {what:<40}{seconds:8.2f} s")
    say(f"  {'an upload':<40}{1e3 * took[ALL_DAGS] / UPLOADS:8.2f} ms")
    say(f"  {'of the bound of 5 s':<40}{took[ALL_DAGS] / PARSE_BOUND:8.0%}")


ALL_DAGS = f"{UPLOADS} DAGs"


def parse(folder: str) -> dict[str, float]:
    """In a process of its own: seconds for what each DAG processor and each task does."""
    import airflow.sdk
    import airflow.timetables.trigger  # noqa: F401  loaded by Airflow in any case

    from offline_capi.airflow_provider import upload_dags
    from offline_capi.config import load_each

    read = seconds_of(lambda: load_each(folder))
    every = seconds_of(lambda: upload_dags(folder))
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "offline_capi__store_purchases"
    return {
        "YAML alone, read and validated": read,
        ALL_DAGS: every,
        "as a task starts: its DAG alone": seconds_of(lambda: upload_dags(folder)),
    }


def seconds_of(work: Callable[[], Any]) -> float:
    """Of the processor: one thread that waits for nothing but small files, and others do not count."""
    started = time.process_time()
    work()
    return time.process_time() - started


# ---------------------------------------------------------------------------------------------- running


@dataclass(frozen=True)
class Place:
    """A configuration folder with uploads of each size, their rows, and where they are sent."""

    home: Path
    url: str

    @classmethod
    def made(cls, home: Path, url: str) -> Place:
        shutil.copytree(DAGS, home / "dags", ignore=shutil.ignore_patterns("uploads"))
        (home / "dags" / "uploads").mkdir()
        (home / "dags" / "clients.yml").write_text(yaml.safe_dump(_clients(max(CLIENTS))), encoding="utf-8")
        for rows in SIZES:
            _add(home, f"rows_{rows}", rows, clients=1)
        for clients in CLIENTS:
            _add(home, f"clients_{clients}", ROWS_A_CLIENT * clients, clients)
        return cls(home, url)

    def environment(self, run: str) -> dict[str, str]:
        """With an empty ledger for each ``run``."""
        return {
            "OFFLINE_CAPI_GRAPH_URL": self.url,
            "OFFLINE_CAPI_DATA": str(self.home),
            "OFFLINE_CAPI_LEDGER": f"sqlite:///{self.home / run}.db",
            "OFFLINE_CAPI_STAGE": str(self.home / f"stage-{run}"),
            **SAMPLE_TOKENS,
        }

    @property
    def window(self) -> dict[str, str]:
        return {"since": YESTERDAY.isoformat(), "until": (YESTERDAY + timedelta(days=1)).isoformat()}


def _clients(number: int) -> dict[str, Any]:
    (token, *_) = SAMPLE_TOKENS
    return {
        "clients": {
            f"client_{n}": {"pixel_id": str(1_300_000_000_000_000 + n), "token": {"env": token}} for n in range(number)
        }
    }


def _add(home: Path, name: str, rows: int, clients: int) -> None:
    """The upload of the samples' purchases, of so many clients, and its rows."""
    upload = yaml.safe_load((DAGS / "uploads" / "store_purchases.yml").read_text(encoding="utf-8"))
    upload |= {"client": {"column": "store_brand"}, "schedule": "none", "limits": {"max_invalid": 1, "max_expired": 1}}
    upload["source"] |= {"path": f"${{OFFLINE_CAPI_DATA}}/{name}/*{{date}}*"}
    (home / "dags" / "uploads" / f"{name}.yml").write_text(yaml.safe_dump(upload), encoding="utf-8")
    (home / name).mkdir()
    table = pa.concat_tables(store_rows(rows, YESTERDAY))
    brands = pa.array([f"client_{number % clients}" for number in range(rows)])
    table = table.set_column(table.column_names.index("store_brand"), "store_brand", brands)
    csv.write_csv(table, home / name / f"{YESTERDAY}.csv")


def running(place: Place) -> None:
    airflow = EmbeddedAirflow(place.home / "airflow", place.home / "dags")
    try:
        dag_seconds(place, airflow, "clients_1", "warm")
        say("\none client: the DAG (5 tasks, dag.test) beside the command line")
        for rows in SIZES:
            both(place, airflow, f"rows_{rows}", f"{rows:,} rows")
        say(f"\nmapped clients, {ROWS_A_CLIENT} rows each: the same")
        took = {clients: both(place, airflow, f"clients_{clients}", f"{clients} clients") for clients in CLIENTS}
    finally:
        airflow.close()
    fewest, most = min(CLIENTS), max(CLIENTS)
    dag, command = ((took[most][way] - took[fewest][way]) / (most - fewest) for way in (0, 1))
    say(f"  each further client: {dag:.3f} s in the DAG, {command:.3f} s on the command line")


def both(place: Place, airflow: EmbeddedAirflow, upload: str, what: str) -> tuple[float, float]:
    """Seconds of the DAG and of the command line's run."""
    before = command_seconds(place, upload, "before")
    dag = dag_seconds(place, airflow, upload, "dag")
    after = command_seconds(place, upload, "after")
    run, whole = ((one + other) / 2 for one, other in zip(before, after, strict=True))
    ratio = f"{dag - run:+7.2f} s, {dag / run:5.1f} times"
    say(f"  {what:<14} DAG {dag:6.2f} s   command line {run:6.2f} s (whole {whole:6.2f} s)   {ratio}")
    return dag, run


def dag_seconds(place: Place, airflow: EmbeddedAirflow, upload: str, run: str) -> float:
    environment = place.environment(f"{upload}-{run}")
    started = time.perf_counter()
    done = airflow.run(upload, environment, retries=0, **place.window)
    seconds = time.perf_counter() - started
    assert done.state == "success", done
    return seconds


def command_seconds(place: Place, upload: str, run: str) -> tuple[float, float]:
    """Seconds of the run, and of the whole command."""
    command = [sys.executable, "-m", "offline_capi", "upload", upload, "--config", str(place.home / "dags"), "--json"]
    command += [part for name, value in place.window.items() for part in (f"--{name}", value)]
    environment = {**os.environ, **place.environment(f"{upload}-{run}")}
    started = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    whole = time.perf_counter() - started
    begun, ended = (datetime.fromisoformat(json.loads(done.stdout)[end]) for end in ("started_at", "ended_at"))
    return (ended - begun).total_seconds(), whole


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(parse(sys.argv[1])))  # noqa: T201  read by the benchmark
    else:
        main()
