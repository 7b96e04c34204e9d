"""Over Spark Connect, on a cluster of a master, two workers and two executors: what users of a real cluster do.

One server for all tests, started from PySpark itself. Clients are processes of their own: a process has sessions of one
kind only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipeline.test_spark import _in_background
from tests.support.night import ROOT
from tests.support.pieces import make_parquet_night, multiply_receipts
from tests.support.sandbox_server import Sandbox
from tests.support.spark import require_spark

#: For the start of three JVMs on a machine that is busy.
MAX_START_SECONDS = 240
#: For one program over Connect there.
MAX_SECONDS = 900
KILLED_ROWS = 40_000

CONF = {
    "spark.master": "local-cluster[2,1,1024]",
    "spark.driver.memory": "768m",
    "spark.executor.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    # Tasks are started twice as soon as one of them takes longer than the others.
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.multiplier": "1.01",
    "spark.speculation.minTaskRuntime": "100ms",
}


@dataclass(frozen=True, slots=True)
class ConnectServer:
    """A server of Spark Connect: where it listens, and its process."""

    url: str
    pid: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectServer]:
    require_spark()
    import pyspark

    home, folder = Path(pyspark.__file__).parent, tmp_path_factory.mktemp("connect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = {
        **CONF,
        "spark.connect.grpc.binding.port": str(port),
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    settings = [argument for name, value in conf.items() for argument in ("--conf", f"{name}={value}")]
    command = [str(home / "bin/spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *settings, "spark-internal"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(port, process, folder / "log")
        yield ConnectServer(f"sc://127.0.0.1:{port}", process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        for pid in _find_executors(process.pid):  # they have sessions of their own
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + MAX_START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"the Connect server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _find_executors(server: int) -> list[int]:
    """The JVMs of executors whose parent is the server."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1]) if path.name.isdigit() else 0
            if parent == server and b"CoarseGrainedExecutorBackend" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


BESIDE_ONE_PROCESS = """
import json
from offline_capi.config.platform import Spark
from offline_capi.config.secrets import EnvironmentSecrets
from offline_capi.config.types import SecretRef
from offline_capi.pipeline.spark import SparkEngine
from tests.support.night import Night
from tests.support.pieces import assert_same, open_upload, stage_window
from pathlib import Path

class Here(Night):
    def __init__(self): self.home, self.env = Path.cwd(), dict(__import__("os").environ)

engine = SparkEngine(Spark(remote=SecretRef(env="SPARK_SERVER")), EnvironmentSecrets())
with open_upload(Here(), "store_purchases") as (upload, window, services):
    on_spark = stage_window(upload, window, services, engine)
    torn = services.stage.list_torn_files()
    whole = stage_window(upload, window, services, None)
assert_same(whole, on_spark)
print(json.dumps({"events": len(on_spark["events"]), "torn": torn}))
"""


def test_p25_an_executor_that_is_killed_over_a_piece_loses_nothing_and_doubles_nothing(
    tmp_path: Path, sandbox: Sandbox, server: ConnectServer
) -> None:
    """A whole JVM and its Python workers, while tasks are also started twice; nothing tells the client."""
    night, _ = make_parquet_night(tmp_path, sandbox, "store_purchases")
    many = multiply_receipts(night, KILLED_ROWS)
    for part in range(4):  # pieces of one length, and of them more than executors
        pq.write_table(many.slice(part * 10_000, 10_000), night.home / f"rows/a{part}.parquet")
    killed: list[int] = []

    def kill_one() -> None:
        if not killed and any(Path(night.env["OFFLINE_CAPI_STAGE"]).glob("*/events-,*.part")):
            killed.append(_find_executors(server.pid)[0])
            os.kill(killed[0], signal.SIGKILL)

    with _in_background(kill_one):
        said = night.script(BESIDE_ONE_PROCESS, env={"SPARK_SERVER": server.url}, timeout=MAX_SECONDS)

    assert said.code == 0, said.err[-2000:]
    assert killed
    assert json.loads(said.out)["events"] > KILLED_ROWS / 2
    assert json.loads(said.out)["torn"] == []


def test_p02_what_the_command_line_sends_over_connect_is_sent_once(
    tmp_path: Path, sandbox: Sandbox, server: ConnectServer
) -> None:
    """From the address of a server to the second run, with a table that Spark reads and files that Spark writes."""
    night, _ = make_parquet_night(tmp_path, sandbox, "store_purchases")
    night.edit(
        "dags/uploads/store_purchases.yml",
        ('source: {path: "rows/*.parquet"}', "source: {table: spark_catalog.default.purchases}\nengine: spark"),
    )
    night.edit(
        "dags/clients.yml", ("platform:\n", "platform:\n  spark: {remote: {env: SPARK_SERVER}, writes: spark}\n")
    )
    env = {"SPARK_SERVER": server.url}

    missing = night.run("check", "store_purchases", "--connect", env=env, timeout=MAX_SECONDS)
    created = night.script(
        "import os; from pyspark.sql import SparkSession\n"
        "session = SparkSession.builder.remote(os.environ['SPARK_SERVER']).getOrCreate()\n"
        f"session.sql(\"CREATE TABLE purchases USING parquet LOCATION '{night.home / 'rows'}'\")",
        env=env,
        timeout=MAX_SECONDS,
    )
    checked = night.run("check", "store_purchases", "--connect", env=env, timeout=MAX_SECONDS)
    first, second = (night.run("upload", "store_purchases", "--json", env=env, timeout=MAX_SECONDS) for _ in range(2))

    assert missing.code == 1
    assert "Spark table spark_catalog.default.purchases: there is no such table" in missing.err
    assert created.code == 0, created.err[-2000:]
    assert checked.code == 0, checked.err
    assert first.code in {0, 1}, first.err
    assert set(night.counted.values()) == {1}, (first, second)
    assert len(night.counted) > 200
    assert len(sandbox.requests) == first.json["tally"]["requests"]
    assert second.json["tally"]["requests"] == 0, second.err
