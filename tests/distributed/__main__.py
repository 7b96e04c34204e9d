"""``make distributed``: one upload of many clients on two Celery workers, one of which dies in the middle of it.

PostgreSQL holds Airflow's metadata, the warehouse and the ledger; Redis is the broker; what is staged lies where both
workers see it. At the end every event was counted exactly once, and the report balances.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from offline_capi.ledger import Ledger
from offline_capi.model import Fate
from offline_capi.report import RunReport, Status
from offline_capi.sandbox import SandboxServer, SandboxSpec
from tests.distributed.cluster import Parts, running_cluster
from tests.distributed.deployment import DAG, EVENTS_A_REQUEST, Deployment
from tests.distributed.night import Death, Deeds, Night
from tests.support import object_storage, postgres, redis_server
from tests.support.sandbox_server import Sandbox

WORKERS = ("worker-one", "worker-two")
DATABASES = ("airflow", "warehouse", "ledger")
PATIENCE = 900  # seconds for a machine with other things to do; about 150 are usual
#: How long the sandbox thinks about a request, so that sending has a middle.
THINKING = 0.25


def main() -> None:
    options = argparse.ArgumentParser(prog="make distributed", description=__doc__.partition("\n")[0])
    options.add_argument("--clients", type=int, default=12)
    options.add_argument("--events", type=int, default=3_000, help="of each client")
    options.add_argument("--stage", choices=["folder", "s3"], default="folder", help="what both workers share")
    options.add_argument("--orphans", action="store_true", help="kill the worker alone: its tasks work on unheard")
    chosen = options.parse_args()
    missing = list(_missing(chosen.stage))
    if missing:
        sys.exit("\n".join(f"distributed: {how}" for how in missing))
    with tempfile.TemporaryDirectory(prefix="offline_capi_distributed_") as home:
        well = all_well(Deployment(chosen.clients, chosen.events), Path(home), Story(), chosen)
    sys.exit(0 if well else 1)


def _missing(stage: str) -> Iterator[str]:
    """What has to be installed first, each with how to get it."""
    if postgres.find_binaries() is None:
        yield postgres.HOW_TO_GET_ONE
    if redis_server.find_binary() is None:
        yield redis_server.HOW_TO_GET_ONE
    if importlib.util.find_spec("celery") is None:
        yield "no Celery here: `pip install -c constraints.txt -e '.[all,distributed]'`"
    if stage == "s3" and not object_storage.is_here():
        yield object_storage.HOW_TO_GET_ONE


class Story:
    """Says what is being done, and when."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"distributed {time.monotonic() - self._begun:4.0f} s  {text}", flush=True)  # noqa: T201  it is what one came for


@contextmanager
def scene(deployment: Deployment, home: Path, stage: str, say: Story) -> Iterator[tuple[Night, str]]:
    """Everything started and introduced to each other; yields the night that may begin, and the ledger's URL."""
    with ExitStack() as stack:
        say("starting PostgreSQL, Redis and the sandbox")
        databases = _databases(stack.enter_context(postgres.running_server(_required(postgres.find_binaries()))))
        broker = stack.enter_context(redis_server.running_redis(_required(redis_server.find_binary())))
        sandbox = Sandbox(stack.enter_context(SandboxServer(SandboxSpec(grants=deployment.grants))))
        sandbox.fault("slow", delay=THINKING)
        say(f"writing {deployment.total:,} rows into the warehouse")
        deployment.fill(databases["warehouse"])
        place, found_by = stack.enter_context(STAGES[stage](home))
        dags = deployment.write(home, sandbox.url, place)
        say(f"starting Airflow: API server, scheduler, DAG processor, {' and '.join(WORKERS)}; stage {place}")
        parts = Parts(home, dags, databases["airflow"], broker, found_by)
        cluster = stack.enter_context(running_cluster(parts, DAG, WORKERS))
        night = Night(deployment, sandbox, cluster, PATIENCE)
        night.begin()
        deployment.introduce(cluster.api, {name: databases[name] for name in ("warehouse", "ledger")})
        yield night, databases["ledger"].render_as_string(hide_password=False)


@contextmanager
def _folder(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    yield str(home / "stage"), {}


@contextmanager
def _bucket(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with object_storage.running_object_storage() as environment:
        yield f"s3://{object_storage.BUCKET}/{home.name}", environment


#: Where staged files lie, and the environment by which workers find it.
STAGES = {"folder": _folder, "s3": _bucket}


def _databases(server: str) -> dict[str, sa.URL]:
    """A database for each purpose."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in DATABASES:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return {name: sa.make_url(server).set(database=name) for name in DATABASES}


def _required(binary: Path | None) -> Path:
    assert binary is not None, "looked for before"
    return binary


# ---------------------------------------------------------------------------------------------- the night


def all_well(deployment: Deployment, home: Path, say: Story, chosen: argparse.Namespace) -> bool:
    """Run the night, and the same day again; whether everything that was promised holds."""
    with scene(deployment, home, chosen.stage, say) as (night, ledger):
        run_id = night.trigger()
        say(f"triggered: {deployment.clients} clients, {deployment.total:,} events, {EVENTS_A_REQUEST} a request")
        death = night.kill_in_the_middle(run_id, orphans=chosen.orphans)
        say(f"killed {death.worker} ({death.processes} processes) while it sent for {', '.join(death.clients)}")
        state, deeds = night.end(run_id), night.deeds(run_id)
        say(f"the run has ended: {state}")
        before = len(night.sandbox.requests)
        repeated = night.end(night.trigger())
        say(f"the same day once more has ended: {repeated}")
        held = {
            "the run and its repetition are green": (state, repeated) == ("success", "success"),
            "what was counted is what the warehouse holds": night.arrived() == deployment.expected,
            "the repetition sent nothing": len(night.sandbox.requests) == before,
            **of_counting(night, death),
            **of_workers(deeds, death),
            **of_books(ledger, deployment),
        }
        print_shares(deeds, death)
    for promise, holds in held.items():
        say(f"{'ok    ' if holds else 'FAILED'}  {promise}")
    return all(held.values())


def of_counting(night: Night, death: Death) -> dict[str, bool]:
    counts = [(counted, arrived) for _, _, _, counted, arrived in night.sandbox.tally()]
    twice, again = sum(counted != 1 for counted, _ in counts), sum(arrived > 1 for _, arrived in counts)
    unconfirmed = len(death.clients) * EVENTS_A_REQUEST
    return {
        f"{len(counts):,} events counted, {twice} of them more than once": twice == 0,
        f"{again} came again under the same event_id, at most one request of each client cut off": again <= unconfirmed,
    }


def of_workers(deeds: Deeds, death: Death) -> dict[str, bool]:
    taken_over = {client for client, tries in deeds.retried.items() if death.worker in tries[:-1]}
    return {
        "both workers sent": all(deeds.share(worker).events for worker in WORKERS),
        f"what {death.worker} was sending was taken over: {', '.join(sorted(taken_over))}": taken_over
        >= set(death.clients),
    }


def of_books(ledger: str, deployment: Deployment) -> dict[str, bool]:
    with Ledger(ledger) as books:
        second, first = [RunReport.from_json(run.report) for run in books.runs.list_newest(10) if run.report]
    return {
        f"the ledger's report balances: {first.balance}": first.complete and first.status is Status.COMPLETE,
        f"the ledger says {first.tally.of(Fate.SENT):,} sent": first.tally.of(Fate.SENT) == deployment.total,
        f"and of the repetition {second.tally.of(Fate.ALREADY_SENT):,} already sent": second.tally.of(Fate.ALREADY_SENT)
        == deployment.total,
    }


def print_shares(deeds: Deeds, death: Death) -> None:
    """Who did what: the events by the tries of Airflow's and the times of the sandbox's requests."""
    line = "  {:<12} {:>10} {:>12} {:>12}   {}"
    print("\n" + line.format("worker", "tasks done", "clients", "events sent", "killed when"))  # noqa: T201
    for worker in WORKERS:
        share = deeds.share(worker)
        killed = f"{death.counted:,} events were counted" if worker == death.worker else "-"
        print(line.format(worker, share.tasks, share.clients, f"{share.events:,}", killed))  # noqa: T201
    print()  # noqa: T201


if __name__ == "__main__":
    main()
