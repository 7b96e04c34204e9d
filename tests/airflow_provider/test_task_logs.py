"""What every line of a task's log says beside its text: whose run it is, of which client, which request."""

from __future__ import annotations

import re

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.airflow_provider.conftest import SampleNight

UPLOAD = "store_purchases"


def lines(night: SampleNight, text: str, since: int) -> list[dict[str, str]]:
    """The keys and values of the lines that say ``text``, as Airflow's console prints them."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", night.airflow.log[since:])
    return [
        dict(re.findall(r"(\w+)=(\S+)", line))
        for line in plain.splitlines()
        if re.search(rf"\] +{re.escape(text)}", line)
    ]


def test_every_task_says_which_upload_and_run_it_works_for(night: SampleNight):
    since = len(night.airflow.log)
    night.run(UPLOAD)
    (report,) = night.reports()

    said = {text: lines(night, text, since)[-1] for text in ("planned", "staged", "sending ended", report.balance)}
    assert {(line["upload"], line["upload_run_id"]) for line in said.values()} == {(UPLOAD, report.run_id)}


def test_sending_says_for_which_client_and_no_other_task_does(night: SampleNight):
    since = len(night.airflow.log)
    night.run(UPLOAD)
    (report,) = night.reports()

    sent_for = [line["client"] for line in lines(night, "sending ended", since)]
    assert sorted(sent_for) == ["corner_shop", "nordic_outlet"], "in whichever order they come"
    assert not any("client" in line for line in lines(night, report.balance, since))


def test_a_request_that_was_not_accepted_is_named_with_metas_answer(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    since = len(night.airflow.log)
    night.run(UPLOAD, retries=0)

    (failed,) = lines(night, "request not accepted", since)
    (request,) = night.sandbox.requests_to(night.pixel("nordic_outlet"))
    assert (failed["client"], failed["pixel"]) == ("nordic_outlet", night.pixel("nordic_outlet"))
    assert (failed["code"], failed["trace_id"]) == ("190", request["trace_id"])
    assert failed["request_id"].isdigit()


def test_a_place_that_cannot_be_used_is_told_as_on_the_command_line(night: SampleNight):
    """What is wrong, where, what to do. Mended, the same run goes on, and nothing counts twice."""
    stage = night.home / "stage"
    stage.write_text("somebody's notes")
    since = len(night.airflow.log)

    failed = night.run(UPLOAD, retries=0)

    said = night.airflow.log[since:]
    stage.unlink()
    mended = night.clear(UPLOAD, failed.run_id, "plan", "prepare", "upload", "reconcile", "purge")
    assert (failed.state, failed.tasks["plan"]) == ("failed", "failed")
    assert re.search(rf"OfflineCapiError: {re.escape(str(stage))}\S* cannot be used: ", said)
    assert "OFFLINE_CAPI_STAGE" in said
    assert mended.state == "success"
    assert {times for _, _, _, times, _ in night.sandbox.tally()} == {1}
