"""From a folder of YAML to DAGs, and how a broken file shows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, TriggerRule

from offline_capi.airflow_provider import check_uploads, upload_dags
from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable
from offline_capi.errors import ConfigError
from tests.airflow_provider.embedded import DAGS, REPOSITORY, EmbeddedAirflow

CREDIT, STORE = "offline_capi__credit_approvals", "offline_capi__store_purchases"
HEALTH, QUALITY, SETTLE = "offline_capi_health", "offline_capi_quality", "offline_capi_settle"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The repository's uploads, free to be broken."""
    for name in ("dags", "sql"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    return tmp_path / "dags"


def change(folder: Path, upload: str, old: str, new: str) -> None:
    path = folder / "uploads" / f"{upload}.yml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_airflow_takes_both_dag_files_without_an_import_error(airflow: EmbeddedAirflow):
    assert airflow.dag_bag(DAGS) == {"dags": [CREDIT, STORE, HEALTH, QUALITY], "import_errors": {}}


def test_a_dag_is_paused_at_first_runs_one_at_a_time_and_catches_nothing_up():
    dag = upload_dags(DAGS)[CREDIT]

    assert (dag.is_paused_upon_creation, dag.max_active_runs, dag.catchup) == (True, 1, False)


def test_the_schedule_is_the_yamls_cron_in_the_windows_zone():
    timetable = upload_dags(DAGS)[CREDIT].timetable

    assert timetable == DailyPartitionTimetable("0 3 * * *", timezone="America/New_York")


def test_an_upload_without_a_schedule_runs_only_when_triggered(folder: Path):
    change(folder, "credit_approvals", 'schedule: "0 3 * * *"\n', "")

    assert not upload_dags(folder)[CREDIT].timetable.can_be_scheduled


def test_the_tasks_follow_each_other_and_reconcile_runs_whatever_happened_before():
    dag = upload_dags(DAGS)[STORE]

    assert {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} == {
        "plan": ["prepare", "purge", "reconcile"],
        "prepare": ["upload"],
        "upload": ["reconcile"],
        "reconcile": ["purge"],
        "purge": [],
    }
    assert dag.get_task("reconcile").trigger_rule == TriggerRule.ALL_DONE
    assert dag.get_task("upload").is_mapped


def test_the_form_offers_the_uploads_own_clients():
    dags = upload_dags(DAGS)

    assert dags[STORE].params.get_param("clients").schema["examples"] == ["corner_shop", "nordic_outlet"]
    assert dags[CREDIT].params.get_param("clients").schema["examples"] == ["acme_bank"]


@pytest.mark.parametrize(
    "conf",
    [{"since": "tomorrow"}, {"since": "2026-13-01"}, {"clients": "acme_bank"}, {"dry_run": "perhaps"}],
)
def test_the_form_refuses_what_is_no_day_no_list_and_no_switch(conf):
    from airflow.sdk.exceptions import ParamValidationError

    params = upload_dags(DAGS)[STORE].params

    with pytest.raises(ParamValidationError):
        params.update(conf)


def test_the_page_of_a_dag_tells_the_mapping_in_words():
    page = upload_dags(DAGS)[CREDIT].doc_md

    assert "| user_data.em | column `email`; column `secondary_email` |" in page
    assert "| user_data.ph | column `phone`, with the country in `country` |" in page
    assert "the first of column `ltv`, column `credit_limit` that is not empty, as number" in page
    assert "one day of `approved_at` in America/New_York, and the 2 days before it" in page


def test_a_deployment_that_changes_nothing_of_a_dag_makes_no_new_version_of_it(airflow: EmbeddedAirflow, folder: Path):
    """As git-sync lays it out: a worktree a commit, and a symbolic link to the newest, by which Airflow reads."""
    change(folder, "store_purchases", "action_source: physical_store", "action_sauce: physical_store")
    found = []
    for commit in ("1111111", "2222222"):
        worktree = folder.parent / ".worktrees" / commit
        for name in ("dags", "sql"):
            shutil.copytree(folder.parent / name, worktree / name)
        current = folder.parent / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(worktree)
        found.append(airflow.dag_hashes(current / "dags"))

    assert {*found[0]} >= {CREDIT, STORE, HEALTH}
    assert found[0] == found[1]


# ---------------------------------------------------------------------------------------------- settings

DEFAULTS = """platform:
  python: [tests, acme]
  airflow:
    owner: marketing data
    schedule: "30 1 * * *"
    retries: 5
    tags: [nightly]
    pools: {prepare: warehouse}
    deadline: 4h
    notify: {failure: "tests.airflow_provider.told:keep", success: "tests.airflow_provider.told:keep"}
"""
OWN = """
airflow:
  owner: lending
  retry_delay: 90m
  tags: [lending, nightly]
  pools: {upload: meta}
  clients_at_once: 3
  notify:
    failure:
      - {call: "tests.airflow_provider.told:Keeper", arguments: {name: pager}}
"""


@pytest.fixture
def settled(folder: Path) -> Path:
    """A folder with defaults, one upload with settings of its own, one without a schedule."""
    clients = folder / "clients.yml"
    clients.write_text(clients.read_text().replace("platform:\n", DEFAULTS))
    credit = folder / "uploads" / "credit_approvals.yml"
    credit.write_text(credit.read_text() + OWN)
    change(folder, "store_purchases", 'schedule: "30 4 * * *"\n', "")
    return folder


def test_what_an_upload_does_not_say_the_folder_says(settled: Path):
    dag = upload_dags(settled)[STORE]

    assert dag.timetable == DailyPartitionTimetable("30 1 * * *", timezone="Europe/Berlin")
    assert dag.tags == {"offline-capi", "nightly", "Europe/Berlin"}
    assert {(task.owner, task.retries) for task in dag.tasks} == {("marketing data", 5)}
    assert {task.task_id: task.pool for task in dag.tasks if task.pool != "default_pool"} == {
        "plan": "warehouse",
        "prepare": "warehouse",
    }
    assert [notice.call for notice in dag.on_success_callback] == ["tests.airflow_provider.told:keep"]


def test_what_an_upload_says_itself_counts_before_the_folder(settled: Path):
    dag = upload_dags(settled)[CREDIT]

    upload = dag.get_task("upload")
    assert dag.timetable == DailyPartitionTimetable("0 3 * * *", timezone="America/New_York")
    assert dag.tags == {"offline-capi", "acme_bank", "nightly", "lending", "America/New_York"}
    assert (upload.owner, upload.partial_kwargs["retries"]) == ("lending", 5)
    assert upload.partial_kwargs["retry_delay"] == timedelta(minutes=90)
    assert (upload.partial_kwargs["pool"], dag.get_task("plan").pool) == ("meta", "warehouse")
    assert upload.partial_kwargs["max_active_tis_per_dagrun"] == 3
    assert [notice.call for notice in dag.on_failure_callback] == ["tests.airflow_provider.told:Keeper"]


def test_a_deadline_tells_those_who_are_told_of_failures(settled: Path):
    (alert,) = upload_dags(settled)[CREDIT].deadline

    assert (alert.interval, alert.name) == (timedelta(hours=4), "sent within 4 h")
    assert alert.callback.path == "offline_capi.airflow_provider.observability.callbacks.report_missed_deadline"
    assert alert.callback.kwargs == {
        "notifiers": [{"call": "tests.airflow_provider.told:Keeper", "arguments": {"name": "pager"}}]
    }


def test_the_page_says_when_it_runs_and_when_it_is_late(settled: Path):
    dags = upload_dags(settled)

    assert (
        "- **Runs:** at `0 3 * * *` in America/New_York, for the day before; late after 4 hours" in dags[CREDIT].doc_md
    )


def test_an_upload_can_keep_out_of_the_folders_schedule(settled: Path):
    change(settled, "store_purchases", "event:\n", "schedule: none\n\nevent:\n")

    dag = upload_dags(settled)[STORE]

    assert not dag.timetable.can_be_scheduled
    assert "- **Runs:** when triggered" in dag.doc_md


def say(folder: Path, airflow: str) -> Path:
    """Give the platform these Airflow settings."""
    clients = folder / "clients.yml"
    clients.write_text(
        clients.read_text().replace("platform:\n", f"platform:\n  python: [acme]\n  airflow: {airflow}\n")
    )
    return folder


def test_meta_is_asked_what_it_got_at_five_unless_the_folder_says_otherwise(folder: Path):
    usual = upload_dags(folder)[QUALITY].timetable
    own = upload_dags(say(folder, "{quality: {schedule: none}}"))[QUALITY].timetable

    assert (usual.expression, str(usual.timezone)) == ("0 5 * * *", "UTC")
    assert not own.can_be_scheduled


def test_settling_is_a_dag_only_where_it_has_a_schedule_with_a_task_for_each_upload_that_can_be_run(folder: Path):
    assert SETTLE not in upload_dags(folder)
    (folder / "uploads" / "half written.yml").write_text('client: "acme')

    dag = upload_dags(say(folder, '{settle: {schedule: "30 */6 * * *", timezone: Europe/Berlin}}'))[SETTLE]

    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("30 */6 * * *", "Europe/Berlin")
    assert dag.get_task("settle").is_mapped
    assert dag.get_task("settle").op_kwargs_expand_input.value == {"upload": ["credit_approvals", "store_purchases"]}


def test_somebody_to_tell_of_faults_who_does_not_exist_is_found_before_the_night(folder: Path):
    dags = upload_dags(say(folder, '{notify: {alert: "acme.alerts:page"}}'))

    assert tasks_of(dags[CREDIT]) == tasks_of(dags[STORE]) == ["config_error"]


def test_somebody_to_tell_who_does_not_exist_is_found_before_the_night(settled: Path):
    change(settled, "credit_approvals", "tests.airflow_provider.told:Keeper", "acme.alerts:page")

    assert tasks_of(upload_dags(settled)[CREDIT]) == ["config_error"]
    with pytest.raises(ConfigError, match=r'credit_approvals\.yml:\d+  airflow\.notify\.failure .*no module "acme"'):
        check_uploads(settled)


def test_who_is_told_of_failures_is_told_of_a_broken_file(settled: Path):
    change(settled, "credit_approvals", "action_source: system_generated", "action_source: system_generate")

    broken = upload_dags(settled)[CREDIT]

    assert [notice.call for notice in broken.on_failure_callback] == ["tests.airflow_provider.told:keep"]
    assert (broken.get_task("config_error").owner, "nightly" in broken.tags) == ("marketing data", True)


# ---------------------------------------------------------------------------------------------- broken files


def tasks_of(dag: DAG) -> list[str]:
    return [task.task_id for task in dag.tasks]


def test_a_broken_file_is_a_dag_of_its_name_with_one_failing_task_and_the_others_stay(folder: Path):
    change(folder, "credit_approvals", "action_source: system_generated", "action_source: system_generate")

    dags = upload_dags(folder)

    assert tasks_of(dags[CREDIT]) == ["config_error"]
    assert "config-error" in dags[CREDIT].tags
    assert "credit_approvals.yml" in dags[CREDIT].doc_md
    assert "system_generated" in dags[CREDIT].doc_md
    assert "plan" in tasks_of(dags[STORE])
    failing = dags[CREDIT].get_task("config_error")
    with pytest.raises(ConfigError, match="system_generate"):
        failing.python_callable(**failing.op_kwargs)


def test_a_file_that_is_no_yaml_at_all_is_a_failing_dag_too(folder: Path):
    (folder / "uploads" / "half written.yml").write_text('client: "acme')

    assert tasks_of(upload_dags(folder)["offline_capi__half_written"]) == ["config_error"]


def test_broken_clients_make_every_upload_that_needs_them_fail_by_name(folder: Path):
    clients = folder / "clients.yml"
    clients.write_text(clients.read_text().replace("graph_version: v27.0", "graph_version: latest"))

    dags = upload_dags(folder)

    assert {name: tasks_of(dag) for name, dag in dags.items()} == {
        name: ["config_error"] for name in (CREDIT, STORE, HEALTH, QUALITY)
    }


def test_a_schedule_that_would_lose_days_is_a_problem_of_the_file(folder: Path):
    change(folder, "credit_approvals", '"0 3 * * *"', '"0 3 * * 1"')

    assert tasks_of(upload_dags(folder)[CREDIT]) == ["config_error"]
    with pytest.raises(ConfigError, match=r"credit_approvals\.yml:\d+.*schedule.*does not run every day"):
        check_uploads(folder)


def test_the_second_file_raises_all_problems_of_all_files_at_once(folder: Path):
    change(folder, "credit_approvals", "action_source: system_generated", "action_source: system_generate")
    change(folder, "store_purchases", "action_source: physical_store", "action_sauce: physical_store")

    with pytest.raises(ConfigError) as error:
        check_uploads(folder)

    assert {Path(problem.file.split(":")[0]).name for problem in error.value.problems} == {
        "credit_approvals.yml",
        "store_purchases.yml",
    }


def test_a_good_folder_has_nothing_to_complain_of():
    check_uploads(DAGS)


# ---------------------------------------------------------------------------------------------- parsing


def test_a_task_that_is_about_to_run_builds_only_its_own_dag(folder: Path):
    built = _in_a_process(
        f"import os; os.environ['_AIRFLOW_PARSING_CONTEXT_DAG_ID'] = {STORE!r}\n"
        f"from offline_capi.airflow_provider import upload_dags; print(*upload_dags({str(folder)!r}))",
        folder,
    )

    assert built.split() == [STORE]


def test_parsing_300_uploads_makes_300_dags_and_loads_nothing_heavy(settled: Path):
    """SQLAlchemy, httpx and urllib3 come with Airflow itself: what counts is what our files load beyond it."""
    text = (settled / "uploads" / "credit_approvals.yml").read_text()
    for number in range(298):
        (settled / "uploads" / f"upload_{number}.yml").write_text(text)

    dags, errors, *loaded = _in_a_process(
        "import runpy, sys; import airflow.sdk, airflow.timetables.trigger, airflow.sdk.definitions.deadline\n"
        "from pathlib import Path\n"
        "before = set(sys.modules)\n"
        f"found = [runpy.run_path(str(path)) for path in sorted(Path({str(settled)!r}).glob('*.py'))]\n"
        "dags = [dag for names in found for name, dag in names.items() if name.startswith('offline_capi__')]\n"
        "print(len(dags), sum('config-error' in dag.tags for dag in dags), *sorted(set(sys.modules) - before))",
        settled,
    ).split()

    assert (dags, errors) == ("300", "0")
    heavy = {
        "pandas",
        "pyarrow",
        "polars",
        "numpy",
        "phonenumbers",
        "sqlalchemy",
        "httpx",
        "urllib3",
        "jinja2",
        "rich",
        "fsspec",
    }
    assert heavy.isdisjoint(loaded)
    ours = {name.split(".")[1] for name in loaded if name.startswith("offline_capi.")}
    assert ours == {"airflow_provider", "config", "delivery", "errors", "meta", "model", "runtime", "storage"}
    assert [name for name in loaded if name.startswith("offline_capi.delivery.")] == ["offline_capi.delivery.retry"]


def _in_a_process(code: str, folder: Path) -> str:
    from tests.airflow_provider.embedded import clean_environment

    home = folder.parent / "home"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(home, folder),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
