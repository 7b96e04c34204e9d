"""Nights whose staged files are no files of any machine: tasks find them by their URL alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Fate
from offline_capi.report import Status
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import Night
from tests.support.object_storage import BUCKET, HOW_TO_GET_ONE, is_here, running_object_storage

UPLOAD, TOKEN = "credit_approvals", SAMPLE_TOKENS["ACME_BANK_TOKEN"]


@pytest.fixture(scope="session")
def object_storage() -> Iterator[dict[str, str]]:
    """The environment by which a running S3 server is found; skips where none can be had."""
    if not is_here():
        pytest.skip(HOW_TO_GET_ONE)
    with running_object_storage() as found:
        yield found


@dataclass
class StagedElsewhere:
    """A sample night on a stage that is an fsspec URL, with the environment that the URL needs."""

    night: SampleNight
    stage: str
    settings: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.night.environment, **self.settings, "OFFLINE_CAPI_STAGE": self.stage}

    def night_with_a_revoked_token(self) -> Night:
        """Everything is staged, and nothing of it is sent."""
        self.night.sandbox.revoke(TOKEN)
        return self.night.airflow.run(UPLOAD, self.environment, **self.night.window)

    def night_once_it_is_renewed(self, run_id: str) -> Night:
        """The same run, from sending on."""
        self.night.sandbox.grant(TOKEN, [self.night.pixel("acme_bank")])
        return self.night.airflow.clear(UPLOAD, self.environment, run_id, "upload", "reconcile", "purge")

    def objects(self) -> set[str]:
        """The names of the objects in the bucket below this stage."""
        from s3fs import S3FileSystem

        keys = {"key": self.settings["AWS_ACCESS_KEY_ID"], "secret": self.settings["AWS_SECRET_ACCESS_KEY"]}
        storage = S3FileSystem(**keys, endpoint_url=self.settings["AWS_ENDPOINT_URL"], use_listings_cache=False)
        return {PurePosixPath(path).name for path in storage.find(self.stage)}


@pytest.fixture(params=["memory", "s3"])
def elsewhere(request: pytest.FixtureRequest, night: SampleNight) -> StagedElsewhere:
    name = night.home.name
    if request.param == "memory":
        return StagedElsewhere(night, f"memory://stage/{name}", {})
    return StagedElsewhere(night, f"s3://{BUCKET}/{name}", request.getfixturevalue("object_storage"))


def test_a_night_on_object_storage_sends_what_an_earlier_try_has_staged(elsewhere: StagedElsewhere):
    failed = elsewhere.night_with_a_revoked_token()

    done = elsewhere.night_once_it_is_renewed(failed.run_id)

    (report,) = elsewhere.night.reports()
    assert (failed.state, failed.tasks["upload acme_bank"]) == ("failed", "failed")
    assert (done.state, done.tries["prepare"]) == ("success", 1), "nothing was staged again"
    assert report.status is Status.COMPLETE
    assert report.tally.count(Fate.SENT) == len(elsewhere.night.sandbox.accepted_ids) > 100
    assert not (elsewhere.night.home / "stage").exists()


def test_a_bucket_holds_whole_files_only_and_no_events_of_a_run_that_delivered_them(
    night: SampleNight, object_storage: dict[str, str]
):
    elsewhere = StagedElsewhere(night, f"s3://{BUCKET}/{night.home.name}", object_storage)

    failed = elsewhere.night_with_a_revoked_token()
    kept = elsewhere.objects()
    elsewhere.night_once_it_is_renewed(failed.run_id)

    assert {"events-acme_bank.parquet", "rejects.parquet"} <= kept
    assert not [name for name in kept if name.endswith(".part")]
    assert not [name for name in elsewhere.objects() if name.startswith("events-")]
