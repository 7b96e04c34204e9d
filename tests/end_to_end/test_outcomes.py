"""Green means delivered: the whole table of what happened, the status, the exit code and Airflow's state (P21)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from offline_capi import model
from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.config.paths import anchor_path, anchor_url, find_project_folder
from offline_capi.errors import PartialLossError
from offline_capi.ledger import Ledger
from offline_capi.model import Window
from offline_capi.pipeline import begin_run, open_services, reconcile, send_staged, stage_upload
from offline_capi.sandbox import SandboxServer
from tests.support.night import Said
from tests.support.outcomes import ZONE, Project, days_before, problem_of, row
from tests.support.sandbox_server import Sandbox


@dataclass(frozen=True)
class Outcome:
    """One row of the table. ``rows`` are those of yesterday's file, ``None`` where there is no file."""

    status: str | None
    code: int
    says: str = ""
    rows: tuple[dict[str, str], ...] | None = ({}, {})
    source: str = ""
    more: str = ""
    path: str = ""
    client: str = "acme"
    options: tuple[str, ...] = ()
    days_with_rows: int = 0
    again: bool = False
    late: bool = False


NO = {"consent": "no"}
GRANTED = {"consent": "granted"}
BAD = {"amount": "much"}
OPTIONAL = ", optional: true"

TABLE: dict[str, Outcome] = {
    # What is not known to be delivered, by an answer that is lost, comes first: the fault is for the first request.
    "an answer was lost": Outcome("partial", 1, "2 unconfirmed"),
    "all sent": Outcome("complete", 0),
    "all sent before": Outcome("complete", 0, again=True),
    "some without consent": Outcome("complete", 0, rows=({}, NO)),
    "some invalid within the limit": Outcome("complete", 0, rows=({}, BAD), more="limits: {max_invalid: 50%}"),
    "some invalid beyond the limit": Outcome("partial", 1, "limits.max_invalid is 0.0%", rows=({}, BAD)),
    "all invalid and the limit is 100%": Outcome("complete", 0, rows=(BAD,), more="limits: {max_invalid: 100%}"),
    "all expired": Outcome("partial", 1, "limits.max_expired is 50.0%", late=True),
    "all expired and the limit is 100%": Outcome("complete", 0, late=True, more="limits: {max_expired: 100%}"),
    "consent changed from yes to granted": Outcome(
        "partial", 1, "2 suppressed (100.0%; limits.max_suppressed is 95.0%); look whether", rows=(GRANTED, GRANTED)
    ),
    "all suppressed and the limit is 100%": Outcome(
        "complete", 0, rows=(GRANTED,), more="limits: {max_suppressed: 100%}"
    ),
    "nothing delivered and every limit kept": Outcome(
        "partial", 1, "none of the 2 rows read was delivered: 1 invalid and 1 suppressed",
        rows=(BAD, NO), more="limits: {max_invalid: 60%}",
    ),
    "nothing delivered and the other limit is 100%": Outcome(
        "partial", 1, "Where that may be, set limits.max_invalid: 100%",
        rows=(BAD, NO), more="limits: {max_invalid: 60%, max_suppressed: 100%}",
    ),
    "nothing delivered and both limits are 100%": Outcome(
        "complete", 0, rows=(BAD, NO), more="limits: {max_invalid: 100%, max_suppressed: 100%}"
    ),
    "refused by Meta": Outcome("partial", 1, "2 rejected by Meta"),
    "the token does not work": Outcome("partial", 1, "2 deferred", client="locked"),
    "a client nobody knows": Outcome("partial", 1, "2 deferred", client="{column: consent}"),
    "a gate stops": Outcome(
        "partial", 1, "gate suppressed stopped the run", rows=({}, NO),
        more="gates: {suppressed: {action: stop, max: 40%}}",
    ),
    "a gate is forced": Outcome(
        "complete", 0, rows=({}, NO), more="gates: {suppressed: {action: stop, max: 40%}}", options=("--force-gates",)
    ),
    "a check of the rows stops": Outcome(
        "partial", 1, "gate expect consent accepted stopped the run", rows=({}, NO),
        more='expect: [{column: consent, accepted: ["yes"], action: stop}]',
    ),
    "a check of the rows warns": Outcome(
        "complete", 0, "expect consent accepted: 1 of 2 rows fail", rows=({}, NO),
        more='expect: [{column: consent, accepted: ["yes"]}]',
    ),
    "a column drifts and may not": Outcome(
        "partial", 1, "gate drift consent stopped the run", rows=(GRANTED, GRANTED, {}), days_with_rows=1,
        more="drift: stop",
    ),
    "a column drifts": Outcome(
        "complete", 0, "drift consent: words in 2 of 3 values sampled", rows=(GRANTED, GRANTED, {}), days_with_rows=1
    ),
    "a column drifts and a person forces it": Outcome(
        "complete", 0, rows=(GRANTED, GRANTED, {}), days_with_rows=1, more="drift: stop", options=("--force-gates",)
    ),
    "a dated file did not come": Outcome("partial", 1, "source missing: no file for {day} (data/", rows=None),
    "a dated file did not come and is optional": Outcome("complete", 0, rows=None, source=OPTIONAL),
    "a pattern matches nothing": Outcome(
        "partial", 1, "no file for the whole window (data/none*.csv)", rows=None, path="data/none*.csv"
    ),
    "a pattern matches nothing and is optional": Outcome(
        "complete", 0, rows=None, path="data/none*.csv", source=OPTIONAL
    ),
    "an undated file is not there": Outcome(
        None, 1, "source.optional: true. Nothing was sent; repeating is safe", rows=None, path="data/none.csv"
    ),
    "an undated file is not there and is optional": Outcome(
        "complete", 0, rows=None, path="data/none.csv", source=OPTIONAL
    ),
    "the folder is not there": Outcome(None, 1, "there is no", rows=None, path="nowhere/x_{{date}}.csv"),
    "the folder is not there and its files are optional": Outcome(
        None, 1, "there is no", rows=None, path="nowhere/x_{{date}}.csv", source=OPTIONAL
    ),
    "the variable of the folder is not set": Outcome(
        None, 1, "the environment variable NOWHERE is not set", rows=None, path="${{NOWHERE}}/x.csv", source=OPTIONAL
    ),
    "no rows on the first night": Outcome("complete", 0, rows=()),
    "no rows where there were some": Outcome(
        "partial", 1, "no row was read, usual are 1 (median of", rows=(), days_with_rows=3
    ),
    "no rows where there were some and the gate warns": Outcome(
        "complete", 0, "no row was read, usual are 1", rows=(), days_with_rows=3, more="gates: {rows: warn}"
    ),
    "no rows where there were some and a person forces it": Outcome(
        "complete", 0, rows=(), days_with_rows=3, options=("--force-gates",)
    ),
    "the configuration is faulty": Outcome(None, 2, "ConfigError"),
    "there is no such upload": Outcome(None, 2, "UsageError"),
}  # fmt: skip
#: Rows that are run in a project of their own, or have no upload.
FAULTY, UNKNOWN = "the configuration is faulty", "there is no such upload"


def name_of(case: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in case)


@dataclass(frozen=True)
class Table:
    """The project after all commands, and what each said."""

    project: Project
    day: date
    said: dict[str, Said]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, sandbox_server: SandboxServer) -> Table:
    """Every row of the table, run once, by one process."""
    sandbox = Sandbox(sandbox_server)
    sandbox.reset()
    day = model.find_yesterday(ZONE, datetime.now(UTC))
    project = Project(tmp_path_factory.mktemp("outcomes"), sandbox.url)
    sandbox.cut_next(stored=True)
    sandbox.refuse(*(f"refused_by_Meta-{number}" for number in range(2)))
    commands: list[tuple[str, list[str]]] = []
    for case, outcome in TABLE.items():
        name = name_of(case)
        if case == FAULTY:
            continue
        upload = [name, *outcome.options, "--since", str(day), "--json"]
        if case != UNKNOWN:
            lay(project, name, outcome, day)
            earlier = days_before(day, outcome.days_with_rows)
            commands += [(case, ["upload", name, "--since", str(one), "--json"]) for one in earlier]
            commands += [(case, ["upload", *upload])] if outcome.again else []
        commands.append((case, ["upload", *upload]))
    said = dict(zip([case for case, _ in commands], project.run_all([words for _, words in commands]), strict=True))
    return Table(project, day, said | {FAULTY: faulty(project)})


def lay(project: Project, name: str, outcome: Outcome, day: date) -> None:
    """The upload of an outcome, and its files."""
    path = outcome.path.format() if "{{" in outcome.path else outcome.path
    project.upload(name, path, source=outcome.source, more=outcome.more, client=outcome.client)
    for earlier in days_before(day, outcome.days_with_rows):
        project.rows(f"{name}_{earlier}.csv", row(f"{earlier}", earlier))
    if outcome.rows is not None:
        of = day - timedelta(days=9) if outcome.late else day
        project.rows(f"{name}_{day}.csv", *(row(str(n), of, **other) for n, other in enumerate(outcome.rows)))


def faulty(project: Project) -> Said:
    broken = Project(project.home / "broken", "http://127.0.0.1:9")
    broken.upload("x", more="gates: {rows: perhaps}")
    return broken.run("upload", "x", "--json")


@pytest.mark.parametrize("case", TABLE)
def test_p21_each_outcome_has_its_status_and_exit_code(table: Table, case: str) -> None:
    said, expected = table.said[case], TABLE[case]

    data: dict[str, Any] = said.json
    told = f"{data.get('error', '')} {problem_of(said)}"
    assert (data.get("status"), said.code) == (expected.status, expected.code), told
    assert expected.says.replace("{day}", str(table.day)) in told
    assert (expected.status == "complete") == (said.code == 0 and not data["problems"]), told


# ---------------------------------------------------------------------------------------------- Airflow's three tasks

STAGED = [
    "all sent",
    "consent changed from yes to granted",
    "a dated file did not come",
    "a dated file did not come and is optional",
    "no rows where there were some",
]


@pytest.mark.parametrize("case", STAGED)
def test_p21_airflows_last_task_ends_like_the_command_line(table: Table, case: str) -> None:
    """In three stages, as its tasks do it: the books of the last one are those of the command."""
    project, window = table.project, Window.of_day(table.day, ZONE)
    environ = dict(project.env)
    deployment = load_config(project.home / "dags", environ=environ)
    with open_services(deployment, EnvironmentSecrets(environ)) as services:
        upload = deployment.uploads[name_of(case)]
        run = begin_run(upload, window, services, trigger="scheduled")
        for unit in stage_upload(upload, window, services, run):
            send_staged(unit, upload, services)
        report = reconcile(run, upload, services)

    said = table.said[case].json
    assert (report.status, list(report.problems)) == (said["status"], said["problems"])
    if report.status == "complete":
        report.raise_for_loss()
    else:
        with pytest.raises(PartialLossError) as raised:
            report.raise_for_loss()
        assert TABLE[case].says.replace("{day}", str(table.day)) in str(raised.value)


# ---------------------------------------------------------------------------------------------- a file that is missing


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Project:
    return Project(tmp_path / "first", sandbox.url)


def test_p21_of_several_days_the_one_without_a_file_is_named_and_the_others_are_sent(
    project: Project, sandbox: Sandbox
) -> None:
    """Nothing is told of the days of the look-back: their own runs have done so. It is read when it has come."""
    day = model.find_yesterday(ZONE, datetime.now(UTC))
    before, lacking, _ = days = [day - timedelta(days=ago) for ago in (2, 1, 0)]
    project.upload("x", more="")
    project.write("dags/uploads/x.yml", (project.home / "dags/uploads/x.yml").read_text().replace(
        "timezone: Europe/Berlin", "timezone: Europe/Berlin, lookback: 3d"))  # fmt: skip
    for one in (before, day):
        project.rows(f"x_{one}.csv", row(str(one), one))
    command = ["upload", "x", "--since", str(before), "--until", str(day + timedelta(days=1)), "--json"]

    first = project.run(*command)
    project.rows(f"x_{lacking}.csv", row(str(lacking), lacking))
    again, listed = project.run_all([command, ["status", "--json"]])

    pattern = f"data/x_{lacking}.csv"
    assert (first.code, first.json["status"]) == (1, "partial")
    assert first.json["missing"] == [{"day": str(lacking), "pattern": pattern, "optional": False}]
    assert (first.json["rows"]["sent"], again.json["rows"]["sent"]) == (2, 1)
    assert (again.code, again.json["missing"]) == (0, [])
    assert [run["report"]["missing"] for run in listed.json["runs"]] == [[], first.json["missing"]]
    assert sorted(filter(None, sandbox.accepted_ids)) == [f"x-{one}" for one in days]


# ---------------------------------------------------------------------------------------------- where paths begin


def test_p21_an_upload_from_another_folder_knows_what_was_sent(project: Project, sandbox: Sandbox) -> None:
    """The ledger, the stage and the files are those of the project; the making of a ledger is said, once."""
    day = model.find_yesterday(ZONE, datetime.now(UTC))
    elsewhere = project.home.parent / "elsewhere"
    elsewhere.mkdir()
    project.upload("x", "data/*.csv")
    project.rows("x.csv", row("1", day), row("2", day, amount="much"))

    first = project.run("upload", "x", "--json")
    again = project.run("upload", "x", "--json", "--config", "../first/dags", folder=elsewhere)
    inside = project.run("upload", "x", "--json", "--config", ".", folder=project.home / "dags")

    place = f"sqlite:///{project.home}/offline_capi_ledger.db"
    assert (first.json["ledger"], first.err.strip()) == (place, f"! new ledger: {place}")
    assert [notice for notice in first.json["notices"] if f"the ledger {place} is new" in notice]
    assert [(one.json["rows"]["already_sent"], one.json["ledger"], one.err) for one in (again, inside)] == [
        (1, place, "")
    ] * 2
    assert again.json["notices"] == inside.json["notices"] == []
    assert len(sandbox.accepted_ids) == 1
    assert [path.name for path in elsewhere.iterdir()] == []
    assert (project.home / "stage").is_dir()
    assert sorted(path.name for path in (project.home / "dags").iterdir()) == ["clients.yml", "uploads"]


@pytest.mark.parametrize(
    ("clients", "env", "place"),
    [
        ("platform: {ledger: 'sqlite:///books/a.db', stage: s}", {}, "books/a.db"),
        ("", {"OFFLINE_CAPI_LEDGER": "sqlite:///b.db", "OFFLINE_CAPI_STAGE": "s"}, "b.db"),
        ("", {"OFFLINE_CAPI_LEDGER": "sqlite:///at@home.db", "OFFLINE_CAPI_STAGE": "s"}, "at%40home.db"),
        ("platform: {ledger: {env: BOOKS}, stage: s}", {"BOOKS": "sqlite:///c.db?timeout=9"}, "c.db"),
        ("platform: {ledger: {connection: books}, stage: s}", {"AIRFLOW_CONN_BOOKS": "sqlite:///d.db"}, "d.db"),
    ],
)
def test_a_relative_path_begins_at_the_project_wherever_it_is_named(
    project: Project, clients: str, env: dict[str, str], place: str
) -> None:
    """In the YAML, in a variable of the environment, in a connection; so does the file of a token."""
    text = (project.home / "dags/clients.yml").read_text().replace("{env: ACME_TOKEN}", "{file: token.txt}")
    project.write("dags/clients.yml", f"{clients}\n{text}")
    project.write("token.txt", project.env["ACME_TOKEN"])
    project.write("data/here/x.csv", "sale,sold_at,email,amount,consent\n" + row("1", date(2026, 1, 1)))
    project.upload("x", "${{PLACE}}/x.csv".format(), more="limits: {max_expired: 100%}")

    said = project.run("upload", "x", "--since", "2026-01-01", "--json", "--config", str(project.home / "dags"),
                       folder=project.home.parent, PLACE="data/here", **env)  # fmt: skip

    assert (said.code, said.json["rows"]["read"]) == (0, 1), said.out
    assert said.json["ledger"] == f"sqlite:///{project.home / place}"
    assert (project.home / unquote(place)).is_file()
    assert [path.name for path in project.home.parent.iterdir()] == [project.home.name]


def test_a_ledger_where_earlier_versions_made_it_is_not_left_behind(project: Project, sandbox: Sandbox) -> None:
    """They took the shell's folder: a new ledger elsewhere would send everything again."""
    day = model.find_yesterday(ZONE, datetime.now(UTC))
    elsewhere = project.home.parent / "elsewhere"
    elsewhere.mkdir()
    project.upload("x")
    project.rows(f"x_{day}.csv", row("1", day))
    command = ["upload", "x", "--config", "../first/dags", "--json"]
    (elsewhere / "offline_capi_ledger.db").write_bytes(b"")

    refused = project.run(*command, folder=elsewhere)
    (elsewhere / "offline_capi_ledger.db").rename(project.home / "offline_capi_ledger.db")
    moved = project.run(*command, folder=elsewhere)

    assert (refused.code, refused.json["error"]) == (2, "ConfigError")
    assert f"there is no ledger at {project.home}/offline_capi_ledger.db, and one at {elsewhere}" in refused.out
    assert (moved.code, len(sandbox.accepted_ids)) == (0, 1)


@pytest.mark.parametrize(("below", "written"), [("first", "data/x.csv"), ("", "{home}/x.csv")])
def test_init_names_a_file_as_its_project_sees_it(project: Project, below: str, written: str) -> None:
    """Typed in another folder than that of the project: what it writes is read from everywhere."""
    day = model.find_yesterday(ZONE, datetime.now(UTC))
    folder, file = project.home.parent, f"{below}/data/x.csv" if below else "x.csv"
    (folder / file).write_text("sale,sold_at,email,amount,consent\n" + "\n".join(row(str(n), day) for n in range(9)))
    init = ["init", file, "--client", "acme", "--event", "Lead", "--action-source", "other", "--timezone", ZONE]

    said = project.run(*init, "--id", "sale", "--yes", "--config", "first/dags", folder=folder)

    made = (project.home / "dags/uploads/x.yml").read_text(encoding="utf-8")
    assert f"path: {written.format(home=folder)}\n" in made, said.out + said.err


@pytest.mark.parametrize(
    ("folder", "project_"),
    [
        ("/a/dags", "/a"),
        ("/a/dags/acme", "/a/dags/acme"),
        ("/a/conf", "/a/conf"),
        ("/a/b/../dags", "/a"),
        ("/a", "/a"),
    ],
)
def test_the_project_folder_is_told_by_the_name_alone(folder: str, project_: str) -> None:
    assert find_project_folder(Path(folder)) == Path(project_)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sqlite:///a/b.db", "sqlite:////p/a/b.db"),
        ("sqlite+pysqlite:///b.db?timeout=5", "sqlite+pysqlite:////p/b.db?timeout=5"),
        ("sqlite:////var/b.db", "sqlite:////var/b.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file:b.db?mode=ro&uri=true", "sqlite:///file:b.db?mode=ro&uri=true"),
        ("postgresql://host/b.db", "postgresql://host/b.db"),
    ],
)
def test_only_the_relative_file_of_an_sqlite_url_is_moved(url: str, seen: str) -> None:
    assert anchor_url(url, Path("/p")) == seen


def test_a_project_folder_with_any_name_keeps_its_ledger(tmp_path: Path) -> None:
    """SQLAlchemy takes what stands after a question mark or a percent sign for something else."""
    project = tmp_path / "50%25 a?b #1 ü"
    url = anchor_url("sqlite:///x.db", project)

    with Ledger(url):
        pass

    assert (project / "x.db").is_file()


@pytest.mark.parametrize(
    ("path", "seen"),
    [("data/x.csv", "/p/data/x.csv"), ("/x.csv", "/x.csv"), ("s3://b/x", "s3://b/x"), ("~/x", "~/x"), ("d/", "/p/d/")],
)
def test_absolute_paths_and_urls_stay_as_they_are(path: str, seen: str) -> None:
    assert anchor_path(path, Path("/p")) == seen
