"""Spark prepares what one process prepares, also where a worker is killed, and no file of its own holds a value.

One session for all tests: it starts in ten to thirty seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import offline_capi
from offline_capi.config import EnvironmentSecrets, Upload
from offline_capi.config.platform import Spark
from offline_capi.config.source import SparkTableSource
from offline_capi.config.types import SecretRef
from offline_capi.config.upload import Engine
from offline_capi.errors import ConfigError, InternalError, OfflineCapiError, SourceSchemaError, TemporaryError
from offline_capi.model import Fate, Window
from offline_capi.pipeline import plan_upload, read_rows, reconcile, run_upload, send_staged, stages
from offline_capi.pipeline.pieces import MapPieces, Piece, PieceResult, PieceTask, list_answer_fields, read_answers
from offline_capi.pipeline.spark import (
    SparkEngine,
    _group_pieces,
    _make_work,
    _raise_errors,
    check_executors,
    open_session,
)
from offline_capi.sources import FilePart, SourceAccess
from offline_capi.sources.spark_table import SparkTableReader
from offline_capi.storage.private_files import FileAccess
from tests.support.night import Night
from tests.support.pieces import (
    assert_same,
    cut_small_csv,
    make_parquet_night,
    multiply_receipts,
    open_upload,
    spread_over_clients,
    stage_window,
)
from tests.support.sandbox_server import Sandbox
from tests.support.spark import require_spark

#: Of the samples' readable values: too long to be in a digest or a name by chance.
MIN_CANARY_CHARS = 6
KILLED_ROWS = 50_000
#: Of a run whose cost lies in their number: a thousand of each with ``make spark``.
PIECES, CLIENTS = (int(os.environ.get(name, "200")) for name in ("PIECES", "CLIENTS"))
LARGE_ROWS = 160_000


@pytest.fixture(scope="session")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_spark()
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="session")
def conf(spark_home: Path) -> dict[str, str]:
    """Everything that Spark writes is written as it is, in one folder; a task is tried four times."""
    for name in ("local", "events", "warehouse"):
        (spark_home / name).mkdir()
    off = ("spark.shuffle.compress", "spark.shuffle.spill.compress", "spark.broadcast.compress", "spark.rdd.compress")
    return {
        "spark.master": "local[2,4]",
        "spark.driver.memory": "768m",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.local.dir": str(spark_home / "local"),
        "spark.sql.warehouse.dir": str(spark_home / "warehouse"),
        "spark.sql.files.maxPartitionBytes": "6000",  # a file of a table has several partitions
        "spark.sql.files.openCostInBytes": "0",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": (spark_home / "events").as_uri(),
        **dict.fromkeys(off, "false"),
    }


@pytest.fixture(scope="session")
def spark(conf: dict[str, str]) -> Iterator[SparkEngine]:
    yield SparkEngine(Spark(conf=conf), None)  # type: ignore[arg-type]  # no secret is needed
    from pyspark.sql import SparkSession

    if session := SparkSession.getActiveSession():
        session.stop()


@pytest.mark.parametrize("name", ["credit_approvals", "store_purchases"])
def test_p25_spark_prepares_what_one_process_prepares(
    name: str, tmp_path: Path, sandbox: Sandbox, spark: MapPieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stores' files as they are (CSV in two encodings, cut, compressed, Parquet); the approvals in row groups."""
    monkeypatch.setattr(stages, "PIECE_ROWS", 30)
    cut_small_csv(monkeypatch)
    seen: list[int] = []

    def engine(task: PieceTask, pieces: list[Piece]) -> Iterator[PieceResult]:
        seen.append(len(pieces))
        return spark(task, pieces)

    night = Night(tmp_path, sandbox).fill()
    if name == "credit_approvals":
        night, _ = make_parquet_night(tmp_path / "in parquet", sandbox, name)
    with open_upload(night, name) as (upload, window, services):
        whole, on_spark = (stage_window(upload, window, services, one) for one in (None, engine))

    assert_same(whole, on_spark)
    assert len(on_spark["events"]) > 100
    assert seen[0] > 4


def test_p02_a_second_run_on_spark_sends_nothing(
    tmp_path: Path, sandbox: Sandbox, spark: MapPieces, conf: dict[str, str]
) -> None:
    """By the settings alone: ``engine: spark`` in the upload, ``platform.spark`` in clients.yml."""
    night = Night(tmp_path, sandbox).fill()
    night.edit("dags/uploads/store_purchases.yml", ('schedule: "30 4 * * *"', 'schedule: "30 4 * * *"\nengine: spark'))
    settings = "".join(f'\n      {name}: "{value}"' for name, value in conf.items())
    night.edit("dags/clients.yml", ("platform:\n", f"platform:\n  spark:\n    conf:{settings}\n"))
    with open_upload(night, "store_purchases") as (upload, window, services):
        assert upload.engine.spark
        local = plan_upload(upload.model_copy(update={"engine": type(upload.engine)()}), window, services)
        first, second = (run_upload(upload, window, services) for _ in range(2))
        left = [path for _, path in services.stage.list_run_files() if "/events-" in path]

    assert first.balance == local.balance
    assert first.tally.count(Fate.SENT) > 200
    assert (second.tally.count(Fate.SENT), second.tally.count(Fate.ALREADY_SENT)) == (0, first.tally.count(Fate.SENT))
    assert set(night.counted.values()) == {1}
    assert left == []


@pytest.mark.parametrize(("rows", "clients", "group_rows"), [(PIECES, 2, 1), (10 * CLIENTS, CLIENTS, 3 * CLIENTS)])
def test_p02_many_pieces_or_clients_and_one_with_nearly_all_rows_are_the_run_in_one_process(
    rows: int,
    clients: int,
    group_rows: int,
    tmp_path: Path,
    sandbox: Sandbox,
    spark: MapPieces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A piece a row, and each client in some pieces; the run that follows in one process knows each event."""
    monkeypatch.setattr(stages, "PIECE_ROWS", 1)
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    spread_over_clients(night, rows, clients, group_rows)
    with open_upload(night, name) as (upload, window, services):
        whole, on_spark = (stage_window(upload, window, services, one) for one in (None, spark))
        for unit in on_spark["units"]:
            send_staged(unit, upload, services)
        first = reconcile(on_spark["run"], upload, services)
        second = run_upload(upload, window, services)

    assert_same(whole, on_spark)
    assert clients / 2 < len(on_spark["units"]) <= clients
    assert max(on_spark["counted"].values()) > rows * 3 / 4
    assert sum(first.tally.fates.values()) == first.tally.read == rows - first.tally.outside
    assert first.balance == second.balance.replace("already sent", "sent")
    assert (second.tally.count(Fate.SENT), second.tally.count(Fate.ALREADY_SENT)) == (0, first.tally.count(Fate.SENT))
    assert set(night.counted.values()) == {1}


def test_small_pieces_share_a_task_and_large_ones_or_those_of_unknown_size_do_not() -> None:
    """After each task Spark collects garbage in its Python worker, which takes longer than a small piece."""
    part = FilePart("a.csv", "a.csv", "csv", None)
    parts = {
        "small": [replace(part, rows=1)] * 1_000,
        "small files": [replace(part, file_bytes=5_000)] * 1_000,
        "large": [replace(part, rows=262_144)] * 3,
        "unknown": [part] * 3,
    }
    groups = {name: _group_pieces([Piece(number, one) for number, one in enumerate(of)]) for name, of in parts.items()}

    assert {name: len(of) for name, of in groups.items()} == {
        "small": 67, "small files": 77, "large": 3, "unknown": 3,
    }  # fmt: skip
    for name, of in groups.items():
        assert [piece.number for group in of for piece in group] == list(range(len(parts[name])))


@pytest.mark.parametrize(("name", "writes"), [("store_purchases", "executors"), ("credit_approvals", "spark")])
def test_p25_a_table_that_spark_reads_becomes_what_its_files_become(
    name: str, writes: str, tmp_path: Path, sandbox: Sandbox, spark: SparkEngine, conf: dict[str, str]
) -> None:
    """Texts, and with them numbers, decimals, dates and times; the second file repeats rows of the first.

    Which of two goes is decided by file and row, whatever partitions Spark makes of them. Spark leaves out rows that
    surely lie outside of the window, by a predicate of ours: they count as outside where the files are read whole.
    """
    night, _ = make_parquet_night(tmp_path, sandbox, name)
    if name == "credit_approvals":
        for path in (night.home / "rows").iterdir():
            _type_columns(path)
    table = f"{name}_{uuid.uuid4().hex[:8]}"
    _open(conf).sql(f"CREATE TABLE {table} USING parquet LOCATION '{night.home / 'rows'}'")
    engine = SparkEngine(Spark(conf=conf, writes=writes), None)  # type: ignore[arg-type]
    with open_upload(night, name) as (upload, window, services):
        whole = stage_window(upload, window, services, None)
        in_pieces = stage_window(upload, window, services, engine)
        narrow = _move_upload(upload, table)
        on_spark = stage_window(narrow, window, services, engine)
        left = [path for _, path in services.stage.list_run_files() if "spark-" in path]

    outside = [one["tally"].pop("outside") for one in (whole, in_pieces, on_spark)]
    assert_same(whole, in_pieces)
    assert_same(whole, on_spark)
    assert "a.parquet" in {row[0] for row in on_spark["events"]}
    assert outside[0] == outside[1]
    assert (outside[2] < outside[0]) == (name == "credit_approvals")
    assert left == []


def test_a_plan_or_a_type_that_spark_would_bring_otherwise_is_refused_before_the_first_row(
    tmp_path: Path, conf: dict[str, str], spark: SparkEngine
) -> None:
    """Plans that put readable rows on a disk, functions of others, databases, types; and a table that is not there."""
    session = _open(conf)
    rows = pa.table(
        {"id": ["1"], "at": pa.array([0], pa.timestamp("us", tz="UTC")), "f": pa.array([1.1], pa.float32())}
    )
    folder = tmp_path / "sales"
    folder.mkdir()
    pq.write_table(rows, folder / "a.parquet")
    session.read.parquet(str(folder)).createOrReplaceTempView("sales")
    session.sql("SELECT * FROM sales WHERE id > '0'").createOrReplaceTempView("chosen")
    refused = {
        "joined": "SELECT /*+ MERGE(b) */ a.* FROM sales a JOIN sales b ON a.id = b.id",
        "sorted": "SELECT * FROM sales ORDER BY id",
        "counted": "SELECT id, max(at) AS at, max(f) AS f FROM sales GROUP BY id",
    }
    for name, sql in refused.items():
        session.sql(sql).createOrReplaceTempView(name)
    session.table("sales").withColumn("id", _shout("id")).createOrReplaceTempView("shouted")
    session.table("sales").where("id = '1'").cache().createOrReplaceTempView("kept")
    database = {"url": "jdbc:derby:memory:shop;create=true", "dbtable": "(SELECT '1' AS id FROM sysibm.sysdummy1) t"}
    session.read.format("jdbc").options(**database).load().createOrReplaceTempView("database")
    odd = "SELECT id, map(id, at) m, array(at) instants, struct(at AS at, f AS f) s, INTERVAL '1' DAY i FROM sales"
    session.sql(odd).createOrReplaceTempView("odd")

    said = {name: _refusal(conf, name, ["id"]) for name in [*refused, "shouted", "kept", "odd", "absent"]}
    said["database"] = _refusal(conf, "database", ["ID"])  # as Derby calls it
    types = {name: _refusal(conf, "odd", [name]) for name in ("m", "instants", "s", "i", "s.at", "s.f")}
    columns = _read_table(conf, "odd").read_columns(_ANY)
    (first,) = _read_table(conf, "chosen").read(_ANY, columns=["id", "at", "f"])

    assert (said["odd"], types["s.at"], types["s.f"]) == ("", "", "")
    for name, step in (("joined", "Join"), ("sorted", "Sort"), ("counted", "Aggregate"), ("shouted", "EvalPython")):
        assert step in said[name]
        assert "put readable rows on the disks" in said[name].replace("\n", " ")
    assert "InMemoryTableScan" in said["kept"]
    assert "a table of a database" in said["database"]
    assert "there is no such table in Spark's catalog (TABLE_OR_VIEW_NOT_FOUND)" in said["absent"]
    for name in ("m", "instants", "s", "i"):
        assert f'columns of types that come differently through Spark:\n  "{name}" is ' in types[name]
    assert ("s.f", "double") in columns
    assert ("m", "map<string,timestamp>") in columns
    assert first.batch.to_pylist() == [{"id": "1", "at": datetime(1970, 1, 1, tzinfo=UTC), "f": 1.1}]
    assert (first.origin, first.row_numbers.to_pylist()) == ("chosen partition 000000", [1])  # a view hides its files


def test_a_table_whose_file_is_gone_was_changed_while_it_was_read(
    tmp_path: Path, sandbox: Sandbox, spark: SparkEngine, conf: dict[str, str]
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    table = f"changed_{uuid.uuid4().hex[:8]}"
    session = _open(conf)
    session.sql(f"CREATE TABLE {table} USING parquet LOCATION '{night.home / 'rows'}'")
    session.table(table).schema.simpleString()  # Spark knows its files now
    with open_upload(night, name) as (upload, window, services):
        narrow = _move_upload(upload, table)
        stage_window(narrow, window, services, spark)
        (night.home / "rows/b.parquet").unlink()
        with pytest.raises(TemporaryError, match=r"the table was changed while it was\s+read\.\nRun again"):
            stage_window(narrow, window, services, spark)


_ANY = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def _read_table(conf: dict[str, str], table: str) -> SparkTableReader:
    access = SourceAccess("UTC", str, open_session=lambda: _open(conf))
    return SparkTableReader(SparkTableSource(table=table), access)


def _refusal(conf: dict[str, str], table: str, columns: list[str]) -> str:
    try:
        _read_table(conf, table).open_frame(_ANY, columns)
    except OfflineCapiError as error:
        return str(error)
    return ""


def _shout(column: str) -> Any:
    from pyspark.sql.functions import udf

    return udf(lambda value: value, "string")(column)


def _type_columns(path: Path) -> None:
    """Times without a zone, decimals and days, null where there is no such value; and rows of another year."""
    rows = pq.read_table(path)
    kinds: dict[str, tuple[pa.DataType, Callable[[str], Any]]] = {
        "approved_at": (pa.timestamp("us"), datetime.fromisoformat),
        "ltv": (pa.decimal128(18, 4), lambda text: Decimal(text).quantize(Decimal("0.0001"))),
        "birth_date": (pa.date32(), date.fromisoformat),
    }
    for column, (kind, read) in kinds.items():
        values = [_read_or_none(read, text) for text in rows[column].to_pylist()]
        rows = rows.set_column(rows.schema.names.index(column), column, pa.array(values, kind))
    at = rows.schema.names.index("approved_at")
    assert rows["approved_at"].null_count < len(rows) / 2
    old = rows.slice(0, 3).set_column(at, "approved_at", pa.array([datetime(2020, 1, 1)] * 3, pa.timestamp("us")))  # noqa: DTZ001
    pq.write_table(pa.concat_tables([rows, old]), path, row_group_size=13)


def _read_or_none(read: Callable[[str], Any], text: str | None) -> Any:
    try:
        return read(text or "")
    except (ValueError, ArithmeticError):
        return None


def _move_upload(upload: Upload, table: str) -> Upload:
    return upload.model_copy(update={"source": SparkTableSource(table=table), "engine": Engine(spark=True)})


def _open(conf: dict[str, str]) -> Any:
    return open_session(Spark(conf=conf), None)  # type: ignore[arg-type]


def test_p25_a_worker_that_is_killed_over_a_piece_loses_nothing_and_doubles_nothing(
    tmp_path: Path, sandbox: Sandbox, spark: MapPieces
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    many = multiply_receipts(night, KILLED_ROWS)
    pq.write_table(many, night.home / "rows/a.parquet", row_group_size=20_000)
    killed: list[int] = []

    def engine(task: PieceTask, pieces: list[Piece]) -> Iterator[PieceResult]:
        folder = Path(task.stage) / task.run_id
        with _in_background(lambda: _kill_workers(folder, killed)):
            yield from spark(task, pieces)

    with open_upload(night, name) as (upload, window, services):
        on_spark = stage_window(upload, window, services, engine)
        torn = services.stage.list_torn_files()
        whole = stage_window(upload, window, services, None)

    assert killed
    assert torn == []  # what it had written until then went with the commit
    assert_same(whole, on_spark)


def test_p12_a_worker_of_spark_stays_small_over_one_large_csv(
    tmp_path: Path, sandbox: Sandbox, spark: SparkEngine, conf: dict[str, str]
) -> None:
    """A piece of 40 MB, after 10 MB of which a worker grows no more."""
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    rows = pq.read_table(night.home / "rows/a.parquet")
    many = pa.concat_tables([rows] * (LARGE_ROWS // len(rows)))
    for column, text in (("receipt_no", "K{}"), ("email", "p{}@example.org"), ("customer_no", "C{}")):
        values = pa.array([text.format(number) for number in range(len(many))])
        many = many.set_column(many.schema.names.index(column), column, values)
    csv.write_csv(many, night.home / "rows/large.csv")
    night.edit(f"dags/uploads/{name}.yml", ("rows/*.parquet", "rows/*.csv"))
    with open_upload(night, name) as (upload, window, services):
        plan = plan_upload(upload, window, services, map_pieces=spark)

    def report_peak(batches: Iterator[Any]) -> Iterator[Any]:  # nested, it travels by value
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"mib": [kib // 1024]})

    peaks = _open(conf).range(0, 4, 1, 4).mapInArrow(report_peak, "mib bigint").collect()

    assert plan.tally.read > LARGE_ROWS / 2
    assert max(row.mib for row in peaks) <= 400, peaks


def _kill_workers(folder: Path, killed: list[int]) -> bool:
    """Kill the Python processes that Spark started here, once one of them has written the beginning of a piece."""
    if killed or not any(folder.glob("events-,*.part")):
        return False
    for pid in _find_workers(os.getpid()):
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    return True


def _find_workers(parent: int) -> Iterator[int]:
    """Descendants of a process that are Python workers of Spark, and not the daemon that starts them."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent:
                inner = list(_find_workers(int(path.name)))
                is_worker = b"pyspark" in command and b"daemon" in command and not inner
                yield from [*inner, *([int(path.name)] if is_worker and _has_python_parent(parent) else [])]


def _has_python_parent(pid: int) -> bool:
    return b"daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()


@contextmanager
def _in_background(step: Callable[[], object]) -> Iterator[None]:
    """Repeat a step in a thread as long as the block lasts."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            step()
            time.sleep(0.002)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_p09_no_file_that_spark_makes_holds_a_readable_value(
    tmp_path: Path,
    sandbox: Sandbox,
    spark: MapPieces,
    conf: dict[str, str],
    spark_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files that Spark removes at the end of a query as well: each is hard-linked while it is there.

    The control is the same look at a query that exchanges rows, as nothing of ours does: it has to find them.
    """
    monkeypatch.setattr(stages, "PIECE_ROWS", 60)
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    with open_upload(night, name) as (upload, window, services):
        tables = [one.batch for one in read_rows(upload, window, services)]
        canaries = {
            str(value).encode()
            for table in tables
            for column in ("email", "phone", "last_name")
            for value in table[column].to_pylist()
            if value and len(str(value)) >= MIN_CANARY_CHARS
        }
        table = f"canaries_{uuid.uuid4().hex[:8]}"
        _open(conf).sql(f"CREATE TABLE {table} USING parquet LOCATION '{night.home / 'rows'}'")
        writing = SparkEngine(Spark(conf=conf, writes="spark"), None)  # type: ignore[arg-type]

        def stage_all() -> None:
            stage_window(upload, window, services, spark)
            stage_window(_move_upload(upload, table), window, services, writing)

        ours = _collect_files(spark_home, tmp_path / "links", stage_all)
        staged = [Path(path) for path in services.stage.list_files()]

    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    frame = session.read.parquet(str(night.home / "rows"))  # type: ignore[union-attr]
    control = _collect_files(spark_home, tmp_path / "control", lambda: _exchange(frame))

    assert len(canaries) > 200
    assert any(spark_home / "events" in path.parents for path in spark_home.rglob("*"))
    assert _find_canaries([*ours, *staged, *_list_files(spark_home / "events")], canaries) == set()
    assert _find_canaries(control, canaries)


def _exchange(frame: Any) -> int:
    """Rows that go through an exchange before our kind of function sees them."""
    return len(frame.repartition(3).mapInArrow(lambda batches: batches, frame.schema).collect())


def _collect_files(home: Path, links: Path, act: Callable[[], object]) -> list[Path]:
    """Every file that lies below ``home`` at any time while ``act`` runs."""
    links.mkdir()
    seen: dict[tuple[int, int], Path] = {}

    def link() -> None:
        for path in _list_files(home / "local"):
            try:
                status = path.stat()
                key = (status.st_dev, status.st_ino)
                if key not in seen:
                    seen[key] = links / str(len(seen))
                    os.link(path, seen[key])
            except OSError:  # gone meanwhile
                continue

    with _in_background(link):
        act()
    return [path for path in seen.values() if path.exists()]


def _list_files(folder: Path) -> list[Path]:
    return [Path(where) / name for where, _, names in os.walk(folder) for name in names]


def _find_canaries(files: list[Path], canaries: set[bytes]) -> set[bytes]:
    content = b"\n".join(path.read_bytes() for path in files if path.exists())
    return {canary for canary in canaries if canary in content}


def test_executors_are_looked_at_before_a_run(tmp_path: Path, spark: MapPieces, conf: dict[str, str]) -> None:
    stage = tmp_path / "stage"

    check_executors(Spark(conf=conf), None, str(stage), FileAccess())  # type: ignore[arg-type]
    left = list(stage.rglob("*.json"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OfflineCapiError, match="cannot be used: Not a directory"):
        check_executors(Spark(conf=conf), None, str(tmp_path / "file"), FileAccess())  # type: ignore[arg-type]

    assert stage.exists()
    assert left == []


def test_an_error_of_an_executor_is_ours_and_quotes_nothing(
    tmp_path: Path, sandbox: Sandbox, spark: MapPieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    given: list[tuple[PieceTask, list[Piece]]] = []

    def engine(task: PieceTask, pieces: list[Piece]) -> Iterator[PieceResult]:
        given.append((task, list(pieces)))
        return spark(task, pieces)

    with open_upload(night, name) as (upload, window, services):
        plan_upload(upload, window, services, map_pieces=engine)
        task, pieces = given[0]
        with pytest.raises(InternalError, match=r"Error at offline_capi/\S+\.py:\d+") as unforeseen:
            list(spark(replace(task, now="leo@farah.example"), pieces))  # type: ignore[arg-type]
        rows = pq.read_table(night.home / "rows/b.parquet").drop_columns(["email"])
        pq.write_table(rows, night.home / "rows/b.parquet")
        with pytest.raises(SourceSchemaError, match=r"b\.parquet: columns that the upload names are missing"):
            plan_upload(upload, window, services, map_pieces=spark)
        monkeypatch.setattr(offline_capi, "__version__", "0.0.1")
        with pytest.raises(ConfigError, match=r"executors have offline_capi \d\S+\.\nInstall the same version"):
            list(spark(task, pieces))
        assert [path for run, path in services.stage.list_run_files() if "-plan-" in run] == []

    monkeypatch.setitem(sys.modules, "offline_capi", None)  # type: ignore[arg-type]  # as where it is not installed
    (answer,) = _make_work(b"", "1.0", list_answer_fields(task))(iter([]))
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"executors do not have offline_capi\.\nInstall the same version there"):
        list(_raise_errors(read_answers(answer)))

    assert "farah" not in str(unforeseen.value)
    assert unforeseen.value.__context__ is None or unforeseen.value.__suppress_context__


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("sc://127.0.0.1:9/;token=s3cret-word", r"could not reach the Spark Connect server of env ADDRESS|not reach"),
        ("https://s3cret-word@cluster", r"is no address of Spark Connect, such as sc://HOST:15002"),
    ],
)
def test_a_connect_server_that_is_not_there_is_named_within_seconds_and_not_its_token(address: str, says: str) -> None:
    require_spark(java=False)
    settings = Spark(remote=SecretRef(env="ADDRESS"))
    with pytest.raises(OfflineCapiError, match=says) as refused:
        open_session(settings, EnvironmentSecrets({"ADDRESS": address}))

    assert "s3cret" not in str(refused.value)
