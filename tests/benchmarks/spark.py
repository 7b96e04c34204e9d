"""``make spark``: a night prepared on a standalone cluster of a master and two workers of one core each.

One worker first, then both: rows to balance, events to a counting sink, a second run that has to send 0, each worker's
share by its processor time, and how much sooner two are done than one. ``ROWS=200000`` is the quick form: six seconds
of preparing, too short for that ratio to be judged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pyarrow import parquet

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.config.platform import Spark
from offline_capi.model import Fate, Window
from offline_capi.pipeline import open_services, plan_upload, run_upload, stages
from offline_capi.pipeline.pieces import Piece, PieceResult, PieceTask
from offline_capi.pipeline.spark import SparkEngine
from tests.benchmarks.__main__ import say
from tests.benchmarks.data import store_rows
from tests.benchmarks.night import NIGHT, NOW
from tests.benchmarks.sink import Sink
from tests.support.golden import environment

#: How many times as fast two workers prepare as one, from so many rows on.
AIM, MIN_JUDGED_ROWS = 1.6, 1_000_000
PIECES = 16
UPLOAD = "store_purchases"
ROOT = Path(__file__).parents[2]
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------- the cluster


@contextmanager
def start_jvm(folder: Path, *arguments: str) -> Iterator[int]:
    """A part of the cluster, as Spark's own scripts start it; gives its process id."""
    import pyspark

    home = Path(pyspark.__file__).parent
    variables = {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }
    with (folder / f"{arguments[0].rpartition('.')[2]}-{time.monotonic_ns()}.log").open("wb") as log:
        command = [str(home / "bin/spark-class"), *arguments]
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("the master did not start")


def read_cpu_seconds(pid: int) -> float:
    """Of a process and all that descend from it, those that have ended included."""
    parents: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(path.name))
            used[int(path.name)] = sum(map(int, fields[11:15]))

    def add(one: int) -> int:
        return used.get(one, 0) + sum(map(add, parents.get(one, ())))

    return add(pid) / _TICKS_A_SECOND


# ---------------------------------------------------------------------------------------------- one client of it


def measure(home: Path, url: str, master: str, workers: Sequence[int]) -> dict[str, Any]:
    """A plan with one worker, two runs with several; the seconds are those of preparing, in a session that is warm."""
    environ = environment(home) | {"OFFLINE_CAPI_GRAPH_URL": url}
    os.environ.update(environ)
    deployment = load_config(ROOT / "dags", environ=environ)
    rows = sum(parquet.ParquetFile(path).metadata.num_rows for path in (home / "rows").iterdir())
    upload = deployment.uploads[UPLOAD]
    upload = upload.model_copy(update={"source": type(upload.source)(path=str(home / "rows/*.parquet"))})
    conf = {
        "spark.master": master,
        "spark.cores.max": str(len(workers)),
        "spark.executor.memory": "600m",
        "spark.driver.memory": "600m",
        "spark.local.dir": str(home / "local"),
    }
    engine = SparkEngine(Spark(conf=conf), EnvironmentSecrets(environ))
    seconds: list[float] = []
    shares: list[float] = []

    def prepare(task: PieceTask, pieces: Sequence[Piece]) -> list[PieceResult]:
        if not seconds:
            list(engine(task, pieces[: 2 * len(workers)]))  # every worker has its Python and its classes
        started, before = time.perf_counter(), [read_cpu_seconds(pid) for pid in workers]
        results = list(engine(task, pieces))
        seconds.append(time.perf_counter() - started)
        shares[:] = shares or [read_cpu_seconds(pid) - used for pid, used in zip(workers, before, strict=True)]
        return results

    stages.PIECE_ROWS = max(rows // PIECES, 1)
    window = Window.of_day(NIGHT, upload.window.timezone)
    with open_services(deployment, EnvironmentSecrets(environ), clock=lambda: NOW) as services:
        if len(workers) == 1:
            reports = [plan_upload(upload, window, services, map_pieces=prepare)]
        else:
            reports = [run_upload(upload, window, services, map_pieces=prepare) for _ in range(2)]
    tallies = [report.tally for report in reports]
    return {
        "rows": rows,
        "read": tallies[0].read,
        "booked": sum(tallies[0].fates.values()),
        "sent": [tally.count(Fate.SENT) for tally in tallies],
        "already_sent": [tally.count(Fate.ALREADY_SENT) for tally in tallies],
        "seconds": seconds[0],  # the first of each: a second run finds a warmer JVM
        "shares": shares,
    }


def run_client(home: Path, url: str, master: str, workers: Sequence[int]) -> dict[str, Any]:
    """``measure`` in a process of its own, which ends with its session."""
    command = [sys.executable, "-m", "tests.benchmarks.spark", "--home", str(home), "--url", url, "--master", master]
    environ = {**os.environ, "PYSPARK_PYTHON": sys.executable}  # a client says which Python executors start
    done = subprocess.run([*command, *map(str, workers)], env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(rows: int) -> list[str]:
    """Print the figures; returns what is not as it has to be."""
    with tempfile.TemporaryDirectory(prefix="offline_capi-spark-") as folder, ExitStack() as cluster:
        home = Path(folder)
        (home / "rows").mkdir()
        say(f"making {rows:,} rows ...")
        with ExitStack() as files:
            writer = None
            for piece in store_rows(rows, NIGHT):
                path = home / "rows/a.parquet"
                writer = writer or files.enter_context(parquet.ParquetWriter(path, piece.schema, compression="zstd"))
                writer.write_table(piece, row_group_size=max(rows // PIECES, 1))
        port = find_port()
        at = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(find_port()))
        cluster.enter_context(start_jvm(home, "org.apache.spark.deploy.master.Master", *at))
        wait_for(port)
        master = f"spark://127.0.0.1:{port}"
        worker = (
            "org.apache.spark.deploy.worker.Worker",
            "--cores",
            "1",
            "--memory",
            "1g",
            "--webui-port",
            "0",
            master,
        )
        with Sink() as sink:
            workers = [cluster.enter_context(start_jvm(home, *worker))]
            one = run_client(home, sink.url, master, workers)
            workers.append(cluster.enter_context(start_jvm(home, *worker)))
            time.sleep(5)  # until the master knows it
            two = run_client(home, sink.url, master, workers)
    ratio = one["seconds"] / two["seconds"]
    (first, second), (sent, again) = two["shares"], two["sent"]
    say(
        f"rows {rows:,}: read {two['read']:,}, in the books {two['booked']:,}, sent {sent:,}; second run sent {again:,}"
    )
    say(f"preparing: one worker {one['seconds']:.1f} s, two {two['seconds']:.1f} s, {ratio:.2f} times (aim {AIM})")
    say(f"processor time of the two workers: {first:.1f} s and {second:.1f} s; of the one: {one['shares'][0]:.1f} s")
    say(f"load of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    wrong = {
        "balance": not rows == one["read"] == two["read"] == two["booked"],
        "second run": again != 0 or two["already_sent"][1] != sent,
        "a worker without work": min(first, second) <= 0,
        "second worker": rows >= MIN_JUDGED_ROWS and ratio < AIM,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def main() -> None:
    options = argparse.ArgumentParser(prog="make spark")
    options.add_argument("--rows", type=int, default=2_000_000)
    for name in ("--home", "--url", "--master"):
        options.add_argument(name, help=argparse.SUPPRESS)
    options.add_argument("workers", type=int, nargs="*", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.home:
        say(json.dumps(measure(Path(chosen.home), chosen.url, chosen.master, chosen.workers)))
        return
    if shutil.which("java") is None:
        sys.exit("Spark needs Java: apt-get install openjdk-17-jre-headless")
    if wrong := compare(chosen.rows):
        sys.exit(f"missed: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
