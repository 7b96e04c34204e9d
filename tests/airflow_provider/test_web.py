"""Pages in Airflow's UI: the last runs, and the report behind each run."""

from __future__ import annotations

from urllib.parse import quote

from tests.airflow_provider.conftest import SampleNight

RUNS = "/offline_capi/runs"
DAG = "offline_capi__store_purchases"


def test_the_last_runs_and_the_report_of_each_are_shown_to_whoever_may_see_the_dag(night: SampleNight):
    night.sandbox.revoke("sandbox-token-of-nordic-outlet")
    done = night.run("store_purchases")
    (report,) = night.reports()

    tab = f"/offline_capi/dags/{DAG}/runs/{quote(done.run_id)}"
    runs, own, by_airflow = night.airflow.pages(night.environment, RUNS, f"{RUNS}/{report.run_id}", tab)

    assert (runs[0], own[0], by_airflow[0]) == (200, 200, 200)
    assert report.balance in runs[1]
    assert f'href="runs/{report.run_id}"' in runs[1]
    assert report.balance in own[1]
    assert "nordic_outlet" in own[1]
    assert own[1] == by_airflow[1]


def test_nobody_sees_a_page_without_a_login(night: SampleNight):
    paths = (RUNS, f"{RUNS}/x", f"/offline_capi/dags/{DAG}/runs/x")

    assert [status for status, _ in night.airflow.pages(night.environment, *paths, user=None)] == [401, 401, 401]


def test_what_has_no_report_says_so(night: SampleNight):
    done = night.run("store_purchases", dry_run=True)

    unknown, dry, empty = night.airflow.pages(
        night.environment, f"{RUNS}/20200101T000000-0000", f"/offline_capi/dags/{DAG}/runs/{quote(done.run_id)}", RUNS
    )

    assert (unknown[0], dry[0], empty[0]) == (404, 404, 200)
    assert "opened none in the ledger" in dry[1]
    assert "No run yet" in empty[1]
