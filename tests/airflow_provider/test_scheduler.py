"""The real thing once: scheduler, DAG processor, API server and LocalExecutor, on a bad night.

The worker that sends is killed half-way, and a backfill over the same days and the same client starts meanwhile. Then
an asset starts another upload, which waits for its files.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from offline_capi.demo.night import demo_settings
from offline_capi.demo.samples import SAMPLE_TOKENS, build_samples, build_store_files
from offline_capi.ledger import Ledger
from offline_capi.model import Fate, Window
from offline_capi.report import RunReport
from tests.airflow_provider.embedded import REPOSITORY
from tests.airflow_provider.live import Api, running_airflow
from tests.support.night import PIXELS, STORE_ZONE, yesterday
from tests.support.sandbox_server import Sandbox

DAG = "offline_capi__credit_approvals"
SHOPS_DAG = "offline_capi__store_purchases"
PATIENCE = 240  # seconds for a machine with other things to do; 80 are usual


def last_partition(now: datetime) -> date:
    """The day that the schedule of ``credit_approvals`` (03:00 in New York) has covered last."""
    local = now.astimezone(ZoneInfo("America/New_York"))
    return local.date() - timedelta(days=1 if local.hour >= 3 else 2)


#: Many small requests one after the other, so that there is a middle to be killed in, and retries that do not wait.
SLOWLY = """
delivery: {max_events: 10, concurrency: 1}
airflow: {retries: 20, retry_delay: 1s, owner: lending}
"""


#: The other upload comes after an asset that another program updates, and after its files.
AFTER = """
schedule: {after: [{asset: "s3://lake/purchases"}, {files: true}], until: "23:59", every: 2s}
airflow: {retry_delay: 1s}
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    for folder in ("dags", "sql"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    with (tmp_path / "dags" / "uploads" / "credit_approvals.yml").open("a", encoding="utf-8") as upload:
        upload.write(SLOWLY)
    purchases = tmp_path / "dags" / "uploads" / "store_purchases.yml"
    purchases.write_text(
        purchases.read_text(encoding="utf-8").replace('schedule: "30 4 * * *"', AFTER), encoding="utf-8"
    )
    return tmp_path / "dags"


@pytest.fixture
def day(tmp_path: Path, sandbox: Sandbox) -> date:
    night = last_partition(datetime.now(UTC))
    build_samples(tmp_path, night, samples=REPOSITORY / "data_samples")
    for token, pixel in PIXELS.items():
        sandbox.grant(SAMPLE_TOKENS[token], [pixel])
    for file in (tmp_path / "store_purchases").iterdir():
        file.unlink()
    return night


def test_p03_p15_a_killed_worker_and_a_backfill_at_the_same_time_count_every_event_once(
    tmp_path: Path, sandbox: Sandbox, day: date, dags: Path
):
    until = time.monotonic() + PATIENCE
    environment = {**demo_settings(tmp_path, sandbox.url), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    sandbox.fault("slow", delay=0.4)
    with running_airflow(tmp_path / "airflow", dags, environment, DAG) as api:
        api.wait_for("the API server", api.sign_in, until)
        api.wait_for("the DAG", api.dag_is_there, until)

        api.ask("PATCH", f"dags/{DAG}", is_paused=False)
        api.wait_for("three requests", lambda: len(sandbox.requests) >= 3, until, every=0.1)
        sending = api.wait_for("who sends them", lambda: api.process_of("upload"), until, every=0.1)
        os.kill(sending, signal.SIGKILL)
        arrived = len(sandbox.accepted_ids)
        first, last = (f"{at}T00:00:00Z" for at in (day - timedelta(days=2), day))
        api.ask("POST", "backfills", dag_id=DAG, from_date=first, to_date=last, max_active_runs=2)
        sandbox.heal()
        runs = api.wait_for("the night and the backfill", lambda: api.ended_runs(3), until)
        tries = api.tries(runs[2]["dag_run_id"])
        after_asset, shops_day = run_after_asset(api.of(SHOPS_DAG), tmp_path)

    assert 10 < arrived < len(sandbox.accepted_ids)
    assert [run["partition_key"] for run in runs] == [f"{day - timedelta(days=n)}" for n in (2, 1, 0)]
    assert [run["run_type"] for run in runs] == ["backfill", "backfill", "scheduled"], "the third day had a run already"
    assert {run["state"] for run in runs} == {"success"}
    assert (after_asset["run_type"], after_asset["state"]) == ("asset_triggered", "success")
    assert after_asset["partition_key"] is None
    assert tries["upload acme_bank"][0] == "success"
    assert tries["upload acme_bank"][1] >= 2
    assert all(counted == 1 for _, _, _, counted, _ in sandbox.tally())
    assert sum(arrived > 1 for _, _, _, _, arrived in sandbox.tally()) <= 10, "at most one request was unconfirmed"
    with Ledger(environment["OFFLINE_CAPI_LEDGER"]) as ledger:
        reports = [RunReport.from_json(run.report) for run in ledger.runs.list_newest(10) if run.report]
    assert {report.status.value for report in reports} == {"complete"}
    assert [report.window for report in reports if report.upload == "store_purchases"] == [
        Window.of_day(shops_day, STORE_ZONE)
    ]
    assert sum(report.tally.count(Fate.SENT) for report in reports) == len(sandbox.accepted_ids)
    tokens = [token.encode() for token in SAMPLE_TOKENS.values()]
    written = [path.read_bytes() for path in (tmp_path / "airflow").rglob("*") if path.is_file()]
    assert not [token for token in tokens if any(token in text for text in written)], "LocalExecutor echoes task logs"


def run_after_asset(shops: Api, home: Path) -> tuple[dict[str, Any], date]:
    """The asset is updated; the run waits for the files of the last day that is over, which come then."""
    until = time.monotonic() + PATIENCE
    shops.wait_for("the DAG of the shops", shops.dag_is_there, until)
    shops.ask("PATCH", f"dags/{SHOPS_DAG}", is_paused=False)
    (asset,) = shops.ask("GET", "assets?uri_pattern=lake/purchases")["assets"]
    shops.ask("POST", "assets/events", asset_id=asset["id"])
    (run,) = shops.wait_for("the run that the asset starts", shops.runs, until)

    def waits() -> bool:
        return any(task["state"] == "up_for_reschedule" for task in shops.instances(run["dag_run_id"]))

    shops.wait_for("a look that finds no file", waits, until)
    day = yesterday(STORE_ZONE)
    build_store_files(home / "store_purchases", day, REPOSITORY / "data_samples")
    (ended,) = shops.wait_for("the end of that run", lambda: shops.ended_runs(1), until)
    return ended, day
