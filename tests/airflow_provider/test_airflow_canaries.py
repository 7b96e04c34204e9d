"""P9 in Airflow on every way to fail: readable canaries in every column, and none of them on any of its surfaces.

The ways are those of ``tests/end_to_end/test_canaries.py``, run by one embedded Airflow; an error without one fails the
test.
Searched are the log, every table of the metadata database (XComs, rendered templates, serialised DAGs, notes, events of
assets), the pages and the API, what notifiers and alerts get, metrics, lineage, the files that are left, and what Meta
got. ``SURFACES`` let a canary out on each surface on purpose, ``BREAKS`` break the border in each room: the same search
has to find both.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from offline_capi import errors
from tests.airflow_provider.embedded import EmbeddedAirflow
from tests.airflow_provider.embedded import Night as Done
from tests.airflow_provider.test_metrics import StatsD
from tests.airflow_provider.test_web import PAGES
from tests.end_to_end import test_canaries as canaries
from tests.end_to_end.test_canaries import BREAKS, BUGS, CANARIES, HELD, NAMED, SIGHTS, TROUBLED, Way, changed, seen
from tests.support.night import ROOT, Night, Said, yesterday
from tests.support.sales import ZONE, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

DAG = "offline_capi__sales"
#: Everybody who can be told of a run is told everything.
NOTIFIED = """platform:
  python: [tests, hooks]
  airflow:
    retries: 0
    notify:
      failure: {call: "tests.airflow_provider.told:hear_all"}
      success: {call: "tests.airflow_provider.told:hear_all"}
      alert: {call: "tests.airflow_provider.told:hear_all"}
"""
#: Pages of Airflow's own, filled in for a run.
API = [
    f"/api/v2/dags/{DAG}/details",
    f"/api/v2/dags/{DAG}/dagRuns/RUN",
    f"/api/v2/dags/{DAG}/dagRuns/RUN/taskInstances",
    f"/api/v2/dags/{DAG}/dagRuns/RUN/taskInstances/plan/xcomEntries/return_value",
    "/api/v2/assets/events",
    "/api/v2/importErrors",
    "/api/v2/eventLogs",
]


@dataclass(frozen=True)
class Case:
    """A way to fail, with the form of the run; ``later`` is what happens once the run has ended."""

    way: Way
    conf: dict[str, Any] = field(default_factory=dict)
    later: Callable[[Room, Done], None] = lambda *_: None


def more_is_planned_than_allowed(_: Night) -> list[list[str]]:
    return []


def its_books_are_changed(night: Night) -> list[list[str]]:
    """Of a run that is not complete, for the books of others are not closed again."""
    night.sandbox.refuse("s-0")
    return []


def close_changed_books(room: Room, done: Done) -> None:
    """A bug of ours, made by hand: one row more was read than has a fate."""
    with sqlite3.connect(room.night.home / "ledger.db") as ledger:
        for run_id, text in ledger.execute("SELECT run_id, tally FROM run_part WHERE part = 'prepare'").fetchall():
            tally = json.loads(text)
            tally["read"] += 1
            ledger.execute("UPDATE run_part SET tally = ? WHERE run_id = ?", [json.dumps(tally), run_id])
    room.airflow.clear("sales", room.environment, done.run_id, "reconcile")


#: Of the command line's ways, those that need something else here.
INSTEAD = {errors.UsageError, errors.BalanceError}
CASES = [
    *(Case(way) for way in canaries.WAYS if way.error not in INSTEAD),
    Case(Way(errors.UsageError, more_is_planned_than_allowed), {"limit": 1}),
    Case(Way(errors.BalanceError, its_books_are_changed), later=close_changed_books),
]


def test_p09_every_error_has_a_way_in_airflow() -> None:
    """Also a new one; but for the class that is only raised as one of its kinds. ``BUGS`` has InternalError."""
    tree = {one for one in canaries.error_tree(errors.OfflineCapiError) if one.__module__ == errors.__name__}

    assert len(tree) > 10
    assert tree - {case.way.error for case in CASES} == {errors.DeliveryError, errors.InternalError}


# ---------------------------------------------------------------------------------------------- the search


class Room:
    """One Airflow and one project, which is made anew for each case."""

    def __init__(self, place: Path, sandbox: Sandbox, statsd: StatsD) -> None:
        self.place, self.sandbox, self.statsd = place, sandbox, statsd
        (place / "project" / "dags").mkdir(parents=True)
        shutil.copyfile(ROOT / "dags/offline_capi_dags.py", place / "project/dags/offline_capi_dags.py")
        plugins = place / "home" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "catalogue.py").write_text(CATALOGUE, encoding="utf-8")
        self.airflow = EmbeddedAirflow(place / "home", place / "project" / "dags")
        self.night = Night.__new__(Night)
        self._before: Counter[tuple[str, str]] = Counter()
        self._read = 0

    @property
    def environment(self) -> dict[str, str]:
        return {**self.night.env, **self.statsd.settings}

    def lay_out(self, way: Way) -> None:
        """A project with canaries in every column, and whatever makes the way fail."""
        home = self.place / "project"
        for left in home.iterdir():
            if left.name != "dags":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.rmtree(home / "dags" / "uploads", ignore_errors=True)
        self.sandbox.reset()
        self.night = sales_night(home, self.sandbox)
        for upload in (home / "dags" / "uploads").glob("*.yml"):
            if upload.name != "sales.yml":
                upload.unlink()
        self.night.edit("dags/clients.yml", ("country: GB\n", "country: GB\n    external_id: {send: raw}\n"))
        rows = [{**CANARIES, "number": f"C-{n}", **row} for n, row in enumerate([{}, {}, *TROUBLED])]
        write(self.night, [sale(f"s-{n}", **row) for n, row in enumerate(rows)])
        way.prepare(self.night)
        clients = home / "dags" / "clients.yml"
        text = clients.read_text(encoding="utf-8").replace("  python: [hooks]\n", "")
        clients.write_text(text.replace("platform:\n", NOTIFIED), encoding="utf-8")

    def walk(self, case: Case, package: Path = ROOT, *, pages: bool = True) -> tuple[Done, dict[str, str]]:
        """One run, and what stands on each surface after it; an API server of a changed package takes seconds."""
        self.lay_out(case.way)
        self.airflow.load_again(package, self.place / "project")
        self.airflow.lineage()
        day = yesterday(ZONE)
        window = {"since": day.isoformat(), "until": (day + timedelta(days=1)).isoformat()}
        done = self.airflow.run("sales", self.environment, retries=0, **window, **case.conf)
        case.later(self, done)
        while HELD:
            HELD.pop().close()
        return done, self._surfaces(done, pages=pages)

    def _surfaces(self, done: Done, *, pages: bool) -> dict[str, str]:
        paths = [*PAGES, f"/offline_capi/dags/{DAG}/runs/{done.run_id}", *API] if pages else []
        shown = self.airflow.pages(self.environment, *(path.replace("RUN", done.run_id) for path in paths))
        home = self.airflow.home
        log, self._read = self.airflow.log[self._read :], len(self.airflow.log)
        files = [path for path in home.rglob("*") if path.is_file() and "airflow.db" not in path.name]
        return {
            "log": log,
            "pages": "\n".join(text for _, text in shown),
            "metrics": "\n".join(self.statsd.lines()),
            "lineage": json.dumps(self.airflow.lineage()),
            **{f"table {name}": text for name, text in self.airflow.metadata().items()},
            **{
                f"file {path.relative_to(home)}": path.read_text(errors="replace")
                for path in files
                if path.name != "process.log"
            },
        }

    def found(self, surfaces: dict[str, str]) -> dict[str, list[str]]:
        """The canaries on each surface that were not there after the case before, and in what is left or was sent."""
        now = Counter({(name, sight): text.lower().count(sight) for name, text in surfaces.items() for sight in SIGHTS})
        new, self._before = now - self._before, now
        on_surfaces: dict[str, list[str]] = {}
        for name, sight in new:
            on_surfaces.setdefault(name, []).append(sight)
        return on_surfaces | seen(self.night, Said(0, "", ""))


#: Somebody who reads hook lineage, as OpenLineage's provider does: without one, Airflow collects none.
CATALOGUE = """
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.lineage import HookLineageReader

class Catalogue(AirflowPlugin):
    name = "catalogue"
    hook_lineage_readers = [HookLineageReader]
"""


@pytest.fixture
def room(tmp_path: Path, sandbox: Sandbox) -> Iterator[Room]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        room = Room(tmp_path, sandbox, StatsD(listener))
        yield room
        room.airflow.close()
        while HELD:
            HELD.pop().close()


def test_p09_nothing_readable_is_on_any_surface_of_airflow_on_any_way_to_fail(room: Room) -> None:
    """One Airflow for all ways: what is wrong is collected, by way."""
    wrong: dict[str, Any] = {}
    filled: set[str] = set()
    for case in CASES:
        try:
            done, surfaces = room.walk(case)
        except AssertionError:
            wrong[case.way.name] = traceback.format_exc()
            continue
        text = surfaces["log"] + surfaces["pages"]
        if case.way.error and f"{case.way.error.__name__}: " not in text:
            wrong[case.way.name] = (done.tasks, surfaces["log"][-3000:])
        if found := room.found(surfaces):
            wrong[case.way.name] = found
        filled |= {name for name, text in surfaces.items() if text.strip("{} \n")}

    assert wrong == {}
    # What was searched has something on it.
    tables = {"xcom", "rendered_task_instance_fields", "serialized_dag", "dag_run", "task_instance", "asset_event"}
    assert filled >= {"log", "pages", "metrics", "lineage", "file heard_all.txt", *(f"table {name}" for name in tables)}


# ---------------------------------------------------------------------------------------------- the search is searched

OUT = "Zyxcanlast"
MANIFEST = 'manifest = {"run": run_id,'
#: One change to a copy of the package for each surface, which puts a canary there.
SURFACES: dict[str, tuple[str, str, str] | None] = {
    "log": ("airflow_provider/operators/tasks.py", '_log.info("planned",', f'_log.info("planned {OUT}",'),
    "pages": ("airflow_provider/ui/web.py", "title=title, **what)", f'title=title + "{OUT}", **what)'),
    "metrics": ("airflow_provider/observability/metrics.py", 'UNKNOWN_CLIENT = "unknown"', f'UNKNOWN_CLIENT = "{OUT}"'),
    "lineage": (
        "airflow_provider/observability/lineage.py",
        '{"events": events, **known})',
        f'{{"events": events, "last": "{OUT}", **known}})',
    ),
    "file heard_all.txt": ("operations/alerts.py", '{self.title}\\n{self.text}"', f'{{self.title}}\\n{OUT}"'),
    "table xcom": ("airflow_provider/operators/tasks.py", MANIFEST, MANIFEST.replace("{", f'{{"last": "{OUT}", ')),
    "table rendered_task_instance_fields": None,  # of the task that gets what the other returned
    "table serialized_dag": (
        "airflow_provider/dags/descriptions.py",
        'f"Offline conversions: {upload.name}"',
        f'"{OUT}"',
    ),
}


def test_p09_a_canary_on_any_surface_of_airflow_is_found(room: Room, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(ROOT / "offline_capi", package / "offline_capi", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in filter(None, SURFACES.values()):
        path = package / "offline_capi" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} has to be there once to be changed"
        path.write_text(text.replace(old, new), encoding="utf-8")
    case = Case(NAMED["events_are_refused"])

    _, surfaces = room.walk(case, package)

    assert SURFACES.keys() - room.found(surfaces).keys() == set()


def test_p09_a_break_of_the_border_in_any_room_is_found_in_airflow(room: Room, tmp_path: Path) -> None:
    """And a bug, the package unbroken otherwise, is named by its place and quotes nothing."""
    silent: list[str] = []
    for number, broken in enumerate(BREAKS):
        package = changed(tmp_path / f"broken_{number}", broken)
        _, surfaces = room.walk(Case(NAMED[broken.way]), package, pages=False)
        silent += [broken.room] * (not room.found(surfaces))
    talking: dict[str, Any] = {}
    for number, (bug, kind) in enumerate(BUGS):
        package = changed(tmp_path / f"bug_{number}", bug)
        _, surfaces = room.walk(Case(NAMED[bug.way]), package, pages=number == 0)
        if found := room.found(surfaces):
            talking[f"{kind} in {bug.file}"] = found
        if f"at offline_capi/{bug.file}:" not in surfaces["log"]:
            talking[f"{kind} in {bug.file}"] = surfaces["log"][-3000:]

    assert silent == []
    assert talking == {}
