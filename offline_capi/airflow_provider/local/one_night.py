"""Run one upload's DAG once in this process, on an embedded metadata database.

::

    python -m offline_capi.airflow_provider.local.one_night --dags dags --upload NAME
        --since 2026-11-22 --until 2026-11-23

Airflow's home is ``AIRFLOW_HOME``. What is set in the environment holds; what is not is set as ``local_home`` says.
One line a task goes to the terminal, Airflow's own log to ``logs/one_night.log`` in that home (with ``--verbose``:
to the terminal). Exit code 1 when a task failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from offline_capi.airflow_provider.local.home import make_demo_environment
from offline_capi.errors import ConfigError, UsageError
from offline_capi.runtime.bugs import contain_hooks

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print, exit code: 0 all well, 1 a task failed, 2 there is no such upload."""
    options = _make_parser().parse_args(arguments)
    try:
        return 1 if _run(options) else 0
    except ConfigError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2


def _run(options: argparse.Namespace) -> int:
    """Run the DAG in the Airflow home of this process; returns how many tasks failed."""
    home = Path(os.environ.get("AIRFLOW_HOME", ".airflow"))
    on_sqlite = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:").startswith("sqlite:")
    for name, value in make_demo_environment(home, options.dags).items():
        if on_sqlite or "CONNECT_ARGS" not in name:  # other drivers refuse SQLite's arguments
            os.environ.setdefault(name, value)
    log = home / "logs" / "one_night.log"
    with _redirect_output(log, verbose=options.verbose) as terminal:
        failed = _run_night(options, terminal)
        if failed and not options.verbose:
            terminal.write(f"  {failed} failed; Airflow's log is {os.path.relpath(log)}\n")
    return failed


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="offline_capi.airflow_provider.local.one_night", description=__doc__)
    parser.add_argument("--dags", type=Path, default=Path("dags"), help="folder of the DAG files")
    parser.add_argument("--upload", required=True, help="name of a file in uploads/, without .yml")
    parser.add_argument("--since", required=True, help="first day, in the upload's time zone")
    parser.add_argument("--until", required=True, help="first day that is not included")
    parser.add_argument("--client", action="append", default=[], help="only this client; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="only plan")
    parser.add_argument("--verbose", action="store_true", help="show Airflow's own log")
    return parser


@contextmanager
def _redirect_output(log: Path, *, verbose: bool) -> Iterator[IO[str]]:
    """Turn everything this process prints to ``log``, by file descriptor, and yield the terminal.

    Airflow writes through several loggers, and some keep the stream they found when they were imported.
    """
    if verbose:
        yield sys.stdout
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", buffering=1) as terminal, log.open("a") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            os.dup2(terminal.fileno(), 1)
            os.dup2(kept, 2)
            os.close(kept)


def _run_night(options: argparse.Namespace, terminal: IO[str]) -> int:
    """Run the DAG to its end; returns how many of its tasks failed."""
    from airflow.sdk.listener import get_listener_manager

    from offline_capi.airflow_provider.observability.console_listener import ConsoleListener

    _migrate()
    dag = _find_dag(options.dags, options.upload)
    announcer = ConsoleListener(terminal)
    listeners: Any = get_listener_manager()
    listeners.add_listener(announcer)
    terminal.write(f"  {dag.dag_id}, {options.since} to {options.until}\n")
    conf = {"since": options.since, "until": options.until, "clients": options.client, "dry_run": options.dry_run}
    run = dag.test(run_conf=conf)
    announcer.print_rest(run.get_task_instances())
    return announcer.failed


def _migrate() -> None:
    """Bring the metadata database up to date; nothing happens where it is already."""
    from airflow.utils import db

    migrations: Any = db
    try:
        migrations.check_migrations(1)
    except TimeoutError:
        migrations.initdb()


def _find_dag(dags: Path, upload: str) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    from offline_capi.airflow_provider.dags.dag_factory import PREFIX, make_dag_id

    bag = DagBag(dag_folder=str(dags.resolve()), bundle_path=dags.resolve())
    if make_dag_id(upload) not in bag.dags:
        known = (
            ", ".join(sorted(dag_id.removeprefix(PREFIX) for dag_id in bag.dags if dag_id.startswith(PREFIX))) or "none"
        )
        raise UsageError("\n".join([f"no upload {upload} in {dags}; known: {known}", *bag.import_errors.values()]))
    dag = bag.dags[make_dag_id(upload)]
    dag.deadline = None  # Airflow 3.3's dag.test() fails on any DAG that has one
    return dag


if __name__ == "__main__":
    contain_hooks()
    sys.exit(main())
