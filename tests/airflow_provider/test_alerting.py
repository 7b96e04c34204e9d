"""Faults of the nights as Airflow's notifiers tell them: one message a fault, however many tasks and nights it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import Night

OUTLET, SHOP = SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"], SAMPLE_TOKENS["CORNER_SHOP_TOKEN"]
Told = Callable[[], list[str]]


@pytest.fixture
def told(night: SampleNight) -> Told:
    """First lines of what was told since somebody looked."""
    paged = night.airflow.home / "paged.txt"
    paged.write_text("")

    def look() -> list[str]:
        lines = [line for line in paged.read_text().splitlines() if line.startswith(("began ", "ended "))]
        paged.write_text("")
        return lines

    return look


def test_a_fault_of_two_clients_tasks_and_two_nights_is_two_messages_and_its_end_two(night: SampleNight, told: Told):
    for token in (OUTLET, SHOP):
        night.sandbox.revoke(token)
    first, began = night.run("store_purchases", retries=0), told()
    second, silence = night.run("store_purchases", retries=0), told()
    night.sandbox.grant(OUTLET, [night.pixel("nordic_outlet")])
    night.sandbox.grant(SHOP, [night.pixel("corner_shop")])
    third, ended = night.run("store_purchases"), told()

    assert [run.state for run in (first, second, third)] == ["failed", "failed", "success"]
    assert began == [f"began {name}: Meta refused its token or pixel" for name in ("corner_shop", "nordic_outlet")]
    assert silence == []
    assert ended == [f"ended {name}: is sent for again" for name in ("corner_shop", "nordic_outlet")]


def test_the_message_of_a_loss_has_the_balance_the_reason_and_what_to_do(night: SampleNight, told: Told):
    night.sandbox.refuse("receipt-C100201-1")
    done = night.run("store_purchases", retries=0)
    text = (night.airflow.home / "paged.txt").read_text()

    (report,) = night.reports()
    assert done.state == "failed"
    assert len(told()) == 1
    assert report.balance in text
    assert "1 rejected by Meta: Meta answered" in text
    assert f"offline-capi report {report.run_id}" in text


def test_a_source_that_cannot_be_read_is_told_once_with_its_reason_and_its_end(night: SampleNight, told: Told):
    warehouse = night.home / "warehouse.db"
    good = warehouse.read_bytes()
    warehouse.write_text("no database any more")
    runs: list[Night] = [night.run("credit_approvals", retries=0) for _ in range(2)]
    began = told()
    warehouse.write_bytes(good)
    runs.append(night.run("credit_approvals"))

    assert [run.state for run in runs] == ["failed", "failed", "success"]
    assert began == ["began credit_approvals: the run failed"]
    assert told() == ["ended credit_approvals: a fault is over"]


def test_a_person_who_mistypes_is_not_told_by_an_alert(night: SampleNight, told: Told):
    night.run("store_purchases", dryrun=True)

    assert told() == []


def test_a_notifier_that_is_broken_changes_nothing_of_the_run(night: SampleNight, told: Told):
    """The folder in which this one writes is a file."""
    paged = night.airflow.home / "paged.txt"
    paged.unlink()
    paged.mkdir()
    night.sandbox.revoke(OUTLET)
    since = len(night.airflow.log)
    done = night.run("store_purchases", retries=0)
    paged.rmdir()
    paged.write_text("")
    again = night.run("store_purchases", retries=0)

    assert done.tasks["upload corner_shop"] == again.tasks["upload corner_shop"] == "success"
    assert done.tries["reconcile"] == 1
    assert "1 messages could not be delivered (IsADirectoryError)" in night.airflow.log[since:]
    assert told() == ["began nordic_outlet: Meta refused its token or pixel"]


# ---------------------------------------------------------------------------------------------- small DAGs

QUALITY = "offline_capi_quality"


def test_what_meta_counts_is_asked_each_day_and_stands_in_the_report_of_the_run(night: SampleNight):
    sent = night.run("store_purchases")
    run_id = sent.xcoms["reconcile"]["run"]
    ((_, before),) = night.airflow.pages(night.environment, f"/offline_capi/runs/{run_id}")

    done = night.airflow.run(QUALITY, night.environment, retries=0)

    ((status, after),) = night.airflow.pages(night.environment, f"/offline_capi/runs/{run_id}")
    assert (done.state, done.tasks) == ("success", {"pull_quality": "success"})
    assert done.xcoms["pull_quality"]["days"] >= 1
    assert (status, "What Meta counts" in before, "What Meta counts" in after) == (200, False, True)


def test_what_meta_does_not_tell_reddens_the_task_once_and_names_the_client(night: SampleNight):
    night.sandbox.revoke(OUTLET)
    since = len(night.airflow.log)

    done = night.airflow.run(QUALITY, night.environment)

    assert (done.state, done.tries) == ("failed", {"pull_quality": 1})
    assert "Meta did not answer everything for nordic_outlet" in night.airflow.log[since:]


def test_a_small_dag_refuses_settings_that_it_does_not_have(night: SampleNight):
    since = len(night.airflow.log)

    done = night.airflow.run(QUALITY, night.environment, client="nordic_outlet")

    assert (done.state, done.tries) == ("failed", {"pull_quality": 1})
    assert 'the trigger form has not: "client". This DAG has no form.' in night.airflow.log[since:]
