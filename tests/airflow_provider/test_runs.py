"""Runs of every kind (scheduled, backfilled, cleared) and what the trigger form asks for, by the real DAGs."""

from __future__ import annotations

from offline_capi.model import Fate
from tests.airflow_provider.conftest import SampleNight

UPLOAD = "store_purchases"
REFUSED = "receipt-C100201-1"


def test_a_scheduled_run_covers_its_partition_and_reads_the_source_once(night: SampleNight):
    done = night.run(UPLOAD, kind="scheduled")

    (report,) = night.reports()
    assert done.state == "success"
    assert report.window.to_json()["since"] == f"{night.day}T00:00:00+01:00"
    assert "foreseen" not in done.xcoms["plan"]
    assert len(night.sandbox.accepted_ids) == report.tally.count(Fate.SENT) > 100


CLEARED = (
    ["upload"],
    ["reconcile", "purge"],
    ["prepare", "upload", "reconcile", "purge"],
    ["plan", "prepare", "upload", "reconcile", "purge"],
)


def test_a_cleared_run_does_the_same_again_and_sends_nothing_twice(night: SampleNight):
    first = night.run(UPLOAD)
    requests = len(night.sandbox.requests)

    again = [night.clear(UPLOAD, first.run_id, *tasks) for tasks in CLEARED]

    assert [(run.state, run.tasks) for run in again] == [("success", first.tasks)] * len(CLEARED)
    assert len(night.sandbox.requests) == requests


def test_staged_events_that_somebody_removed_are_named_and_nothing_is_sent(night: SampleNight):
    """Without this the upload would look like one that had nothing to send."""
    night.sandbox.fail_next(400, times=100, code=190)
    first = night.run(UPLOAD, retries=0)
    for path in (night.home / "stage").glob("*/events-corner_shop.parquet"):
        path.unlink()
    night.sandbox.heal()

    again = night.clear(UPLOAD, first.run_id, "upload", "reconcile", "purge")

    assert (again.tasks["upload corner_shop"], again.tasks["upload nordic_outlet"]) == ("failed", "success")
    assert again.state == "failed"
    assert night.sandbox.ids_of(night.pixel("corner_shop")) == []


# ---------------------------------------------------------------------------------------------- the form


def test_p19_a_test_event_code_is_refused_on_a_scheduled_run_and_on_a_backfill(night: SampleNight):
    runs = [night.run(UPLOAD, kind=kind, test_event_code="TEST12345") for kind in ("scheduled", "backfill")]

    assert [(run.state, run.tasks["plan"], run.tries["plan"]) for run in runs] == [("failed", "failed", 1)] * 2
    assert night.sandbox.requests == []
    for kind in ("scheduled", "backfill"):
        assert f"a test event code never rides on a {kind} run" in night.airflow.log


def test_a_run_by_hand_with_a_test_event_code_sends_it_and_the_ledger_forgets_it(night: SampleNight):
    done = night.run(UPLOAD, test_event_code="TEST12345")
    codes = {request["fields"]["test_event_code"] for request in night.sandbox.requests}
    real = night.run(UPLOAD)

    assert done.state == "success"
    assert done.tasks == {
        **dict.fromkeys(["plan", "prepare", "upload test events"], "success"),
        **dict.fromkeys(["reconcile", "purge"], "skipped"),
    }
    assert codes == {"TEST12345"}
    assert real.xcoms["reconcile"]["sent"] == done.xcoms["upload test events"]["sent"] > 100


def test_a_test_that_fails_fails_the_run(night: SampleNight):
    night.sandbox.revoke("sandbox-token-of-nordic-outlet")

    done = night.run(UPLOAD, test_event_code="TEST12345")

    assert (done.state, done.tasks["upload test events"], done.tasks["reconcile"]) == ("failed", "failed", "failed")


def test_a_plan_of_more_events_than_the_limit_stops_the_run_before_anything_is_sent(night: SampleNight):
    planned = night.run(UPLOAD, dry_run=True, limit=100_000).xcoms["plan"]["foreseen"]["sent"]

    stopped = night.run(UPLOAD, limit=planned - 1)

    assert (stopped.state, stopped.tasks["plan"], stopped.tries["plan"]) == ("failed", "failed", 1)
    assert f"would send {planned} events, more than the {planned - 1} that the form allows" in night.airflow.log
    assert (night.sandbox.requests, night.run_states()) == ([], ["failed"])


def test_refused_events_go_again_when_the_form_says_so_and_the_plan_tells_it(night: SampleNight):
    night.sandbox.refuse(REFUSED)
    first = night.run(UPLOAD)
    night.sandbox.heal()

    left = night.run(UPLOAD)
    resent = night.run(UPLOAD, resend=True)

    assert (first.state, left.state, resent.state) == ("failed", "failed", "success")
    assert left.xcoms["plan"]["foreseen"]["rejected_by_meta"] == resent.xcoms["plan"]["resent"] == 1
    assert resent.xcoms["reconcile"]["sent"] == night.sandbox.count_of(REFUSED) == 1
    assert all(counted == 1 for _, _, _, counted, _ in night.sandbox.tally())


def test_a_gate_that_stops_a_run_can_be_passed_by_the_form_and_somebody_was_told_of_the_stop(night: SampleNight):
    stopped = night.run("gated_purchases", kind="scheduled")
    nothing = night.sandbox.requests
    passed = night.run("gated_purchases", force_gates=True)

    assert (stopped.state, stopped.tasks["reconcile"], nothing) == ("failed", "failed", [])
    assert (night.airflow.home / "told.txt").read_text() == "red: offline_capi__gated_purchases\n"
    assert (passed.state, len(night.sandbox.accepted_ids)) == ("success", passed.xcoms["reconcile"]["sent"])
