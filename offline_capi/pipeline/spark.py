"""Pieces on Spark: one call of ``mapInArrow`` over their numbers, on a session here, on a cluster, or over Connect.

Spark moves numbers to executors and results back; rows are read, hashed and written by our own code there, and nothing
that Spark keeps on a disk holds any of them. Rows of a table (``sources.spark_table``) are read by Spark, and go from
the scan into the same code. Where executors may not write to the stage, Spark writes the hashed events. Nothing here
uses the RDD API, accumulators, broadcast variables, caches, shuffles or ``sparkContext``, so that the same code runs on
Spark Connect, where these do not exist.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

import offline_capi
from offline_capi import errors
from offline_capi.config.platform import Spark
from offline_capi.config.secrets import SecretResolver
from offline_capi.config.types import Scalar
from offline_capi.errors import ConfigError, OfflineCapiError, TemporaryError
from offline_capi.pipeline.pieces import (
    ExecutorTask,
    Piece,
    PieceResult,
    PieceTask,
    list_answer_fields,
    store_answers,
    write_probe,
)
from offline_capi.sources.spark_table import TableLayout, explain_change, name_error
from offline_capi.storage.private_files import FileAccess
from offline_capi.storage.staging import RUN_ID_TIME, Stage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SparkEngine", "check_executors", "open_session"]

#: Where a Connect server listens unless its address says otherwise, and how long one may take to accept.
CONNECT_PORT, CONNECT_SECONDS = 15_002, 15
#: What a piece costs beside its rows (30 ms), what a task is worth that has several, and the bytes of a row in a file
#: that was not read, compressed or not. A task costs 65 ms of a worker's time besides, mostly for Python's ``gc``.
PIECE_ROWS_WORTH, TASK_ROWS, MIN_ROW_BYTES = 2_048, 32_768, 16
#: Tasks that a check sends out: more than one executor answers, where there are several.
PROBES = 4

#: For a session that we start, unless the configuration says otherwise. A local one listens on this machine alone.
_QUIET = {"spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_SAFE = "Nothing was sent; repeating is safe."
_HOW_TO_INSTALL = (
    "Install the same version there as here ({package}, with Python {python}): in the executors' image or as a library"
    " of the cluster, or packed with venv-pack and given by spark.archives."
)


class SparkEngine:
    """Maps pieces, and rows of tables, on the session of ``settings``, which is opened when it is needed, and kept."""

    def __init__(self, settings: Spark, secrets: SecretResolver) -> None:
        self._settings, self._secrets = settings, secrets

    def __call__(self, task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        session = open_session(self._settings, self._secrets)
        groups = _group_pieces(pieces)
        numbers = session.range(0, len(groups), 1, len(groups))
        if self._settings.writes == "spark":
            yield from self._write(numbers, ExecutorTask(task, groups, returns_events=True))
        else:
            yield from map(PieceResult.from_text, _collect(numbers, ExecutorTask(task, groups)))

    def map_table(self, task: PieceTask, frame: DataFrame, layout: TableLayout) -> Iterator[PieceResult]:
        """The same of a table's rows, as ``SparkTableReader.open_frame`` gives them; pieces have no numbers yet."""
        if self._settings.writes == "spark":
            yield from self._write(frame, ExecutorTask(task, layout=layout, returns_events=True))
        else:
            yield from map(PieceResult.from_text, _collect(frame, ExecutorTask(task, layout=layout)))

    def _write(self, frame: DataFrame, wanted: ExecutorTask) -> Iterator[PieceResult]:
        """Let Spark write and commit events and results, and take over what it committed, file by file."""
        task: PieceTask = wanted.common
        stage, name = Stage(task.stage, task.access), f"events-,spark-{uuid.uuid4().hex}.parquet.part"
        folder = stage.path(task.run_id, name)
        stage.filesystem.makedirs(folder.rsplit("/", 1)[0], exist_ok=True)
        theirs = self._settings.stage
        url = stage.address(task.run_id, name, theirs or task.stage)
        try:
            rows = _write_counted(_map(frame, wanted), url, wanted)
            stage.filesystem.invalidate_cache()
            files = [path for path in sorted(stage.filesystem.glob(f"{folder}/part-*")) if path.endswith(".parquet")]
            results: list[PieceResult] = []
            for path in files:
                with stage.filesystem.open(path, "rb") as file:
                    rows -= pq.ParquetFile(file).metadata.num_rows
                    results += map(PieceResult.from_text, _raise_errors(store_answers(task, file)))
            if rows:
                raise ConfigError(
                    "platform.stage: not all that Spark wrote there can be seen from here.\nName a folder that all its"
                    f" machines share, or an object store; and with platform.spark.stage the same one. {_SAFE}"
                )
            yield from results
        finally:
            if stage.filesystem.exists(folder):
                stage.filesystem.rm(folder, recursive=True)


def _group_pieces(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """What one task prepares: one piece, or small ones next to each other, after each of which Spark would clean up."""
    groups: list[list[Piece]] = []
    held = TASK_ROWS
    for piece in pieces:
        rows, size = piece.part.rows, piece.part.file_bytes
        if rows is None:
            rows = TASK_ROWS if size is None else size // MIN_ROW_BYTES
        cost = PIECE_ROWS_WORTH + rows
        if held + cost > TASK_ROWS:
            groups.append([])
            held = 0
        groups[-1].append(piece)
        held += cost
    return groups


def check_executors(settings: Spark, secrets: SecretResolver, root: str, access: FileAccess) -> None:
    """Raise ``ConfigError`` where executors lack this package, or cannot write files that are seen from here."""
    stage, run_id = Stage(root, access), f"{datetime.now(UTC):{RUN_ID_TIME}}-probe-{uuid.uuid4().hex[:8]}"
    session = open_session(settings, secrets)
    if settings.writes == "spark":
        _collect(session.range(0, PROBES, 1, PROBES), ExecutorTask(None, range(PROBES), write_probe))
        return
    try:
        probes = ExecutorTask((root, access, run_id), range(PROBES), write_probe)
        names = list(_collect(session.range(0, PROBES, 1, PROBES), probes))
        stage.filesystem.invalidate_cache()
        seen = [name for name in names if stage.filesystem.exists(stage.path(run_id, name))]
    finally:
        stage.purge_events(run_id)
    if len(seen) < len(names):
        raise ConfigError(
            "platform.stage: a file that an executor wrote there cannot be seen from here.\nName a folder that all of"
            f" them share, or an object store. {_SAFE}"
        )


# ---------------------------------------------------------------------------------------------- the session


def open_session(settings: Spark, secrets: SecretResolver) -> SparkSession:
    """The session that the settings describe; raises ``ConfigError`` or ``TemporaryError`` where there is none."""
    try:
        with warnings.catch_warnings(action="ignore"):
            from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError(f"engine: spark needs PySpark here: pip install 'offline-capi[spark]'. {_SAFE}") from None
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
    # PySpark writes Spark's errors to standard error as well, with the values that they quote.
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL + 1)
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
    builder, given = SparkSession.builder, {name: _spell(value) for name, value in settings.conf.items()}
    if settings.remote is not None:
        address = secrets.token(settings.remote).reveal()
        _check_reachable(address, settings)
        builder = builder.remote(address)
        conf = given
    else:
        conf = {**_choose_defaults(given, SparkSession.getActiveSession() is not None), **given}
    for name, value in conf.items():
        builder = builder.config(name, value)
    failure: OfflineCapiError
    try:
        return builder.getOrCreate()
    except Exception as error:  # noqa: BLE001  of Java, gRPC or PySpark: their texts quote the address, and its token
        failure = _explain_session(error, settings)
    raise failure from None


def _check_reachable(address: str, settings: Spark) -> None:
    """Raise ``TemporaryError`` where nobody listens: the client of Spark tries for ten minutes before it says so."""
    place = re.fullmatch(r"sc://(\[[0-9A-Fa-f:]+\]|[^/:;@\[\]]+)(?::(\d{1,5}))?(?:/.*)?", address)
    if place is None:
        raise ConfigError(
            f"platform.spark.remote: {settings.remote} is no address of Spark Connect, such as sc://HOST:15002. {_SAFE}"
        )
    if any(os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy")):
        return
    host, port = place[1].strip("[]"), int(place[2] or CONNECT_PORT)
    failure = ""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            pass
    except OSError as error:
        failure = type(error).__name__
    if failure:
        raise TemporaryError(
            f"engine: spark could not reach the Spark Connect server of {settings.remote} ({failure}).\nLook whether it"
            f" runs, and whether its host and port can be reached from here. {_SAFE}"
        )


def _spell(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choose_defaults(conf: Mapping[str, str], is_running: bool) -> dict[str, str]:
    """What a session gets that is neither running nor started by spark-submit, which has settings of its own."""
    if is_running or "PYSPARK_GATEWAY_PORT" in os.environ or os.environ.get("SPARK_REMOTE"):
        return {}
    master = conf.get("spark.master", "local[*]")
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # its workers are of this machine: the same Python
    return {"spark.master": master, **_QUIET, **(_LOCAL if master.startswith("local") else {})}


def _explain_session(error: Exception, settings: Spark) -> OfflineCapiError:
    if "JAVA_GATEWAY_EXITED" in str(error) or isinstance(error, FileNotFoundError):
        return ConfigError(
            "engine: spark found no Java here that it can start.\nInstall Java 17 or newer (on Debian: apt-get install"
            f" openjdk-17-jre-headless), or name a Spark Connect server with platform.spark.remote. {_SAFE}"
        )
    where = f"the Spark Connect server of {settings.remote}" if settings.remote else "a Spark session"
    return TemporaryError(
        f"engine: spark could not open {where} ({_name(error)}).\nLook whether it runs and can be reached from here,"
        f" and at platform.spark. {_SAFE}"
    )


# ---------------------------------------------------------------------------------------------- the one call


def _collect(frame: DataFrame, wanted: ExecutorTask) -> Iterator[str]:
    """The answers of all tasks, as texts; raises the first error that an executor met."""
    with _explained_run(wanted):
        rows = _map(frame, wanted).collect()
    return _raise_errors((kind, text) for kind, text in rows)


def _write_counted(frame: DataFrame, url: str, wanted: ExecutorTask) -> int:
    """Let Spark write; how many rows its tasks gave. A folder that they do not share would lack files silently."""
    from pyspark.sql import Observation, functions

    counted = Observation()
    with _explained_run(wanted):
        observed = frame.observe(counted, functions.count(functions.lit(1)).alias("rows"))
        observed.write.option("compression", "zstd").parquet(url)
        return int(counted.get["rows"])


def _raise_errors(answers: Iterable[tuple[str, str]]) -> Iterator[str]:
    texts = []
    for kind, text in answers:
        if kind:
            raise _restore_error(kind, text)
        texts.append(text)
    return iter(texts)


def _map(frame: DataFrame, wanted: ExecutorTask) -> DataFrame:
    fields = list_answer_fields(wanted.common if wanted.returns_events else None)
    work = _make_work(pickle.dumps(wanted, protocol=5), offline_capi.__version__, fields)
    columns = ", ".join(f"`{one.name}` {_SPARK_TYPES[str(one.type)]}" for one in fields)
    with warnings.catch_warnings(action="ignore"):  # PySpark says at each call that it was not tried with pandas 3
        return frame.mapInArrow(work, columns)


#: Of the columns of answers.
_SPARK_TYPES = {
    "string": "string",
    "int64": "bigint",
    "date32[day]": "date",
    "double": "double",
    "binary": "binary",
    "bool": "boolean",
}


@contextmanager
def _explained_run(wanted: ExecutorTask) -> Iterator[None]:
    failure: OfflineCapiError | None
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:  # noqa: BLE001  its text holds that of the executors
        failure = explain_change(f"Spark table {wanted.layout.name}", error) if wanted.layout else None
        failure = failure or _explain_run(error)
    else:
        return
    raise failure from None


def _make_work(payload: bytes, package: str, fields: pa.Schema) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What an executor runs. A nested function travels by value: it can say that the package is not there."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        try:
            import offline_capi as there
        except ImportError:
            kind, text = "missing", ""
        else:
            kind, text = "version", there.__version__
            if there.__version__ == package:
                from offline_capi.runtime.process import set_up_worker

                set_up_worker()
                from offline_capi.pipeline.pieces import answer_packed

                yield from answer_packed(payload, batches)
                return
        answer = {fields[-2].name: pa.array([kind]), fields[-1].name: pa.array([text])}
        columns = [answer.get(one.name, pa.nulls(1, one.type)) for one in fields]
        yield pa.RecordBatch.from_arrays(columns, schema=fields)

    return work


def _restore_error(kind: str, text: str) -> OfflineCapiError:
    """The error of an executor as one of ours: all of them are made of safe words there."""
    how = _HOW_TO_INSTALL.format(package=offline_capi.__version__, python=_format_python())
    if kind == "missing":
        return ConfigError(f"engine: spark: the executors do not have offline_capi.\n{how} {_SAFE}")
    if kind == "version":
        found = text if re.fullmatch(r"[\w.+-]{1,40}", text) else "another version"
        return ConfigError(f"engine: spark: the executors have offline_capi {found}.\n{how} {_SAFE}")
    found_kind = getattr(errors, kind, None)
    if isinstance(found_kind, type) and issubclass(found_kind, OfflineCapiError):
        return found_kind(text)
    return OfflineCapiError(text)


def _explain_run(error: Exception) -> OfflineCapiError:
    """What ended Spark's own work; its text is not passed on."""
    text = str(error)
    how = _HOW_TO_INSTALL.format(package=offline_capi.__version__, python=_format_python())
    if "PYTHON_VERSION_MISMATCH" in text:
        return ConfigError(f"engine: spark: the executors have another version of Python.\n{how} {_SAFE}")
    if missing := re.search(r"No module named '(\w{1,40})", text):
        return ConfigError(f'engine: spark: the executors have no Python package "{missing[1]}".\n{how} {_SAFE}')
    return TemporaryError(
        f"engine: spark: Spark could not prepare the window ({_name(error)}); its own log says more.\nA task that is"
        f" lost again and again often finds no memory: a Python worker takes up to 400 MiB. {_SAFE}"
    )


def _name(error: Exception) -> str:
    """The kind of an error, with Spark's name of its cause where it has one."""
    return " ".join(filter(None, (type(error).__name__, name_error(error))))


def _format_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
