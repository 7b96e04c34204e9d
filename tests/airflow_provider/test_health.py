"""The daily look at the clients, by its real DAG against the sandbox; whoever is told writes it into a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from offline_capi.airflow_provider import check_uploads, upload_dags
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import ConfigError
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import REPOSITORY, Night

HEALTH = "offline_capi_health"
TOKEN = SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"]


class Days:
    """Looks at the clients, one a day, and what somebody was told after each."""

    def __init__(self, night: SampleNight) -> None:
        self.night, self._heard = night, night.airflow.home / "heard.txt"

    def look(self, **more: str) -> tuple[Night, list[str]]:
        """With ``more`` in the environment."""
        self._heard.write_text("")
        done = self.night.airflow.run(HEALTH, {**self.night.environment, **more}, retries=0)
        return done, self._heard.read_text().splitlines()


@pytest.fixture
def days(night: SampleNight) -> Days:
    return Days(night)


def test_while_all_is_well_the_task_is_green_and_nobody_is_told(days: Days):
    done, heard = days.look()

    assert (done.state, heard) == ("success", [])
    assert done.xcoms == {"check_clients": {"clients": 3, "began": 0, "ended": 0}}
    assert days.night.sandbox.accepted_ids == [], "nothing is stored at Meta"


def test_a_revoked_token_is_told_once_stays_red_and_its_end_is_told_once(days: Days):
    days.night.sandbox.revoke(TOKEN)
    (first, began), (second, silence) = days.look(), days.look()
    days.night.sandbox.grant(TOKEN, [days.night.pixel("nordic_outlet")])
    (third, ended), (fourth, quiet) = days.look(), days.look()

    assert [run.state for run in (first, second, third, fourth)] == ["failed", "failed", "success", "success"]
    assert first.tries == {"check_clients": 1}
    assert [line.partition(":")[0] for line in began] == ["began nordic_outlet"]
    assert [line.partition(":")[0] for line in ended] == ["ended nordic_outlet"]
    assert (silence, quiet) == ([], [])


def test_it_is_red_while_a_version_of_the_graph_api_ends_within_30_days_or_has_ended(days: Days):
    done, _ = days.look(OFFLINE_CAPI_GRAPH_VERSION="v24.0")

    assert done.state == "failed"
    assert "v24.0 (management, read_back) may have ended on 2026-11-10" in days.night.airflow.log
    assert done.tries == {"check_clients": 1}


def test_the_fault_is_found_before_the_night_which_then_does_not_ask_meta_again(days: Days):
    days.night.sandbox.revoke(TOKEN)
    days.look()
    asked = len(days.night.sandbox.requests_to(days.night.pixel("nordic_outlet")))

    done = days.night.run("store_purchases", retries=0)

    assert (done.tasks["upload corner_shop"], done.tasks["upload nordic_outlet"]) == ("success", "failed")
    assert len(days.night.sandbox.requests_to(days.night.pixel("nordic_outlet"))) == asked


def test_a_look_that_fails_itself_is_told_each_time_and_changes_nothing(days: Days):
    days.night.sandbox.fail_next(503, times=1_000)

    looks = [days.look(), days.look()]

    assert [(done.state, heard) for done, heard in looks] == [("failed", ["failed : TemporaryError"])] * 2


def test_p09_no_token_is_in_what_a_look_leaves_behind(days: Days):
    days.night.sandbox.revoke(TOKEN)
    days.look()

    folders = (days.night.airflow.home, days.night.home / "stage")
    written = [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(b"nordic_outlet" in text for text in written)
    assert [token for token in SAMPLE_TOKENS.values() if any(token.encode() in text for text in written)] == []


# ---------------------------------------------------------------------------------------------- its DAG


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    """``clients.yml`` of the repository, free to be changed."""
    for name in ("dags", "sql"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    return tmp_path / "dags" / "clients.yml"


def say(clients: Path, airflow: str) -> Path:
    """Give the platform these Airflow settings; returns the folder."""
    text = clients.read_text(encoding="utf-8")
    clients.write_text(
        text.replace("platform:\n", f"platform:\n  python: [acme]\n  airflow: {airflow}\n"), encoding="utf-8"
    )
    return clients.parent


def test_it_runs_at_noon_unless_the_folder_says_otherwise(clients: Path):
    usual = upload_dags(clients.parent)[HEALTH].timetable
    own = upload_dags(say(clients, '{health: {schedule: "30 16 * * *", timezone: Europe/Berlin}}'))[HEALTH].timetable

    assert (usual.expression, str(usual.timezone)) == ("0 12 * * *", "UTC")
    assert (own.expression, str(own.timezone)) == ("30 16 * * *", "Europe/Berlin")


def test_it_may_run_by_hand_only(clients: Path):
    assert not upload_dags(say(clients, "{health: {schedule: none}}"))[HEALTH].timetable.can_be_scheduled


def test_who_is_told_of_failures_is_told_of_faults_unless_others_are_named(clients: Path):
    from offline_capi.airflow_provider.dags.health import list_health_notifiers
    from offline_capi.config import load_config

    failure = 'notify: {failure: "acme:page"}'
    usual = load_config(say(clients, f"{{{failure}}}")).platform.airflow
    clients.write_text(clients.read_text().replace(failure, f'{failure}, health: {{notify: "acme:mail"}}'))
    own = load_config(clients.parent).platform.airflow

    assert [notifier.call for settings in (usual, own) for notifier in list_health_notifiers(settings)] == [
        "acme:page",
        "acme:mail",
    ]


def test_somebody_to_tell_who_does_not_exist_is_found_before_the_day(clients: Path):
    folder = say(clients, '{health: {notify: "acme.alerts:page"}}')

    assert upload_dags(folder)[HEALTH].task_ids == ["config_error"]
    assert upload_dags(folder)["offline_capi__credit_approvals"].has_task("plan")
    with pytest.raises(ConfigError, match=r'clients\.yml  platform\.airflow\.health\.notify .*no module "acme"'):
        check_uploads(folder)
