"""Pieces on Spark: one call of ``mapInArrow`` over their numbers, on a session here, on a cluster, or over Connect.

Spark moves numbers to executors and results back; rows are read, hashed and written by our own code there, and nothing
that Spark keeps on a disk holds any of them. Nothing here uses the RDD API, accumulators, broadcast variables, caches,
shuffles or ``sparkContext``, so that the same code runs on Spark Connect, where these do not exist.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import offline_capi
from offline_capi import errors
from offline_capi.config.platform import Spark
from offline_capi.config.secrets import SecretResolver
from offline_capi.config.types import Scalar
from offline_capi.errors import ConfigError, OfflineCapiError, TemporaryError
from offline_capi.pipeline.pieces import MapPieces, Piece, PieceResult, PieceTask, prepare_as_text, write_probe
from offline_capi.storage.private_files import FileAccess
from offline_capi.storage.staging import RUN_ID_TIME, Stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["check_executors", "make_engine"]

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


def make_engine(settings: Spark, secrets: SecretResolver) -> MapPieces:
    """The engine of a Spark session, which is opened when the first window is mapped, and kept."""

    def map_pieces(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        session = _open_session(settings, secrets)
        for answer in _run(session, prepare_as_text, task, pieces):
            yield PieceResult.from_text(answer)

    return map_pieces


def check_executors(settings: Spark, secrets: SecretResolver, root: str, access: FileAccess) -> None:
    """Raise ``ConfigError`` where executors lack this package, or cannot write files that are seen from here."""
    stage, run_id = Stage(root, access), f"{datetime.now(UTC):{RUN_ID_TIME}}-probe-{uuid.uuid4().hex[:8]}"
    session = _open_session(settings, secrets)
    try:
        names = _run(session, write_probe, (root, access, run_id), range(PROBES))
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


def _open_session(settings: Spark, secrets: SecretResolver) -> SparkSession:
    try:
        with warnings.catch_warnings(action="ignore"):
            from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError(f"engine: spark needs PySpark here: pip install 'offline-capi[spark]'. {_SAFE}") from None
    builder, given = SparkSession.builder, {name: _spell(value) for name, value in settings.conf.items()}
    if settings.remote is not None:
        builder = builder.remote(secrets.token(settings.remote).reveal())
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


def _run(session: SparkSession, function: Callable[[Any, Any], str], common: Any, items: Sequence[Any]) -> list[str]:
    """What a function of ``pieces`` makes of each item, one task each; raises the first error that an executor met."""
    number = len(items)
    work = _make_work(pickle.dumps((function, common, items), protocol=5), offline_capi.__version__)
    try:
        with warnings.catch_warnings(action="ignore"):  # PySpark says at each call that it was not tried with pandas 3
            rows = session.range(0, number, 1, number).mapInArrow(work, "kind string, text string").collect()
    except Exception as error:  # noqa: BLE001  its text holds that of the executors
        failure = _explain_run(error)
    else:
        for kind, text in rows:
            if kind:
                raise _restore_error(kind, text)
        return [text for _, text in rows]
    raise failure from None


def _make_work(payload: bytes, package: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What an executor runs. A nested function travels by value: it can say that the package is not there."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        numbers = [number for batch in batches for number in batch.column(0).to_pylist()]
        try:
            import offline_capi as there
        except ImportError:
            answers = iter([("missing", "")])
        else:
            answers = iter([("version", there.__version__)])
            if there.__version__ == package:
                from offline_capi.pipeline.pieces import answer_packed

                answers = answer_packed(payload, numbers)
        for kind, text in answers:
            yield pa.RecordBatch.from_pydict({"kind": [kind], "text": [text]})

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
    condition = getattr(error, "getCondition", lambda: None)()
    named = f" {condition}" if isinstance(condition, str) and re.fullmatch(r"[A-Z0-9_.]{1,80}", condition) else ""
    return f"{type(error).__name__}{named}"


def _format_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
