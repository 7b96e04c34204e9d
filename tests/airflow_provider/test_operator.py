"""``UploadConversionsOperator`` in a DAG of somebody's own."""

from __future__ import annotations

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Fate
from tests.airflow_provider.conftest import SampleNight

EVENTS_MANAGER = "https://business.facebook.com/events_manager2/list/dataset/1200000000000001/overview"


def test_one_task_sends_the_upload_and_again_sends_nothing(night: SampleNight):
    first = night.run("own")
    requests = len(night.sandbox.requests)
    second = night.run("own")

    reports = night.reports()
    assert (first.state, second.state) == ("success", "success")
    assert first.xcoms["send"]["sent"] == len(night.sandbox.accepted_ids) == reports[0].tally.count(Fate.SENT) > 100
    assert second.xcoms["send"]["run"] == reports[1].run_id
    assert len(night.sandbox.requests) == requests
    assert first.links == {"send": {"events_manager": EVENTS_MANAGER}}, "its button leads to the pixel"


def test_p14_a_token_that_was_revoked_fails_the_task_at_once(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["ACME_BANK_TOKEN"])

    done = night.run("own")

    assert (done.state, done.tries["send"]) == ("failed", 1)
    assert len(night.sandbox.requests) == 1


def test_rows_of_unknown_clients_within_the_limit_fail_no_task(night: SampleNight):
    done = night.run("own", what="store_purchases")

    (report,) = night.reports()
    assert report.tally.count_reasons(Fate.DEFERRED) == {("unknown_client", "client"): 2}
    assert (done.state, done.xcoms["send"]["status"]) == ("success", "complete")


def test_clients_and_upload_may_be_templates_and_only_those_clients_are_sent(night: SampleNight):
    done = night.run("own", what="store_purchases", clients=["nordic_outlet"])

    assert done.state == "success"
    assert night.sandbox.ids_of(night.pixel("corner_shop")) == []
    assert night.sandbox.ids_of(night.pixel("nordic_outlet"))
    assert done.links == {"send": {"events_manager": ""}}, "of several clients there is no one pixel"
