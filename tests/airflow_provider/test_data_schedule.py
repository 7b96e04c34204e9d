"""Uploads that run after data is there: which DAG they become, which day a run covers, and how long one waits."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG, Asset, AssetAll, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.assets import AssetOrTimeSchedule as StoredAssetOrTime

from offline_capi.airflow_provider.dags.dag_factory import build_dag, check_uploads, upload_dags
from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable
from offline_capi.airflow_provider.operators.task_context import get_window
from offline_capi.airflow_provider.sensors.data_ready import DataReadySensor, find_deadline
from offline_capi.config import load_config
from offline_capi.errors import ConfigError, UsageError
from offline_capi.report import Status
from offline_capi.sources.dbt import read_manifest
from tests.airflow_provider.conftest import AWAITED, SampleNight
from tests.sources.test_dbt import PROJECT

TABLE = "postgres://dwh.example.com:5432/analytics/marts/purchases"
PLACES = """platform:
  airflow:
    assets: {table: "postgres://dwh.example.com:5432", dbt: "postgres://dwh.example.com:5432/analytics/marts/"}
"""
BERLIN, NAME = ZoneInfo("Europe/Berlin"), "purchases"
#: One upload of files.
UPLOAD = """
client: corner_shop
source: {{path: "sales_{{date}}.csv"}}
window: {{column: sold_at, timezone: Europe/Berlin}}
event: {{name: Purchase, id: "{{sale}}", action_source: email}}
user_data: {{em: email}}
schedule: {schedule}
"""
CLIENTS = """
clients:
  corner_shop: {pixel_id: "1200000000000002", token: {env: CORNER_SHOP_TOKEN}}
"""


def configure(folder: Path, schedule: str) -> Path:
    (folder / "uploads").mkdir(parents=True, exist_ok=True)
    (folder / "clients.yml").write_text(PLACES + CLIENTS)
    (folder / "uploads" / f"{NAME}.yml").write_text(UPLOAD.format(schedule=schedule))
    return folder


def make_dag(folder: Path, schedule: str) -> DAG:
    return build_dag(load_config(configure(folder, schedule)), NAME)


ASSET = Asset(name=TABLE, uri=TABLE)
ORDERS = Asset(name="orders", uri="s3://lake/orders")


@pytest.mark.parametrize(
    ("schedule", "condition"),
    [
        (f'{{after: {{asset: "{TABLE}"}}}}', AssetAll(ASSET)),
        ("{after: {table: analytics.marts.purchases}}", AssetAll(ASSET)),
        ('{after: [{dbt: purchases}, {asset: "s3://lake/orders", name: orders}]}', AssetAll(ASSET, ORDERS)),
        ('{after: [{dbt: purchases}, {asset: "s3://lake/orders", name: orders}], any: true}', AssetAny(ASSET, ORDERS)),
    ],
)
def test_assets_start_a_run_by_airflows_own_schedule(tmp_path: Path, schedule: str, condition: Any) -> None:
    alone = make_dag(tmp_path / "a", schedule)
    beside = make_dag(tmp_path / "b", schedule.removesuffix("}") + ', or: "0 6 * * *"}')

    assert alone.timetable.asset_condition == condition
    assert isinstance(beside.timetable, AssetOrTimeSchedule)
    assert beside.timetable.asset_condition == condition
    assert beside.timetable.timetable == CronTriggerTimetable("0 6 * * *", timezone="Europe/Berlin")
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(beside))
    assert isinstance(stored.timetable, StoredAssetOrTime)
    assert "wait" not in alone.task_dict


NO_PLACES = "platform: {dbt: {manifest: manifest.json, connection: warehouse}}\n"


def configure_manifest(folder: Path, schedule: str, adapter: str = "postgres", platform: str = NO_PLACES) -> Path:
    configure(folder, schedule)
    (folder / "clients.yml").write_text(platform + CLIENTS)
    manifest = json.loads((PROJECT / "manifest_v12.json").read_text())
    manifest["metadata"]["adapter_type"] = adapter
    (folder / "manifest.json").write_text(json.dumps(manifest))
    read_manifest.__globals__["_load_manifest"].cache_clear()  # files of one test may have one time
    return folder


@pytest.mark.parametrize(
    ("adapter", "connection", "begins"),
    [
        ("postgres", "postgresql+psycopg2://me:secret@dwh.example.com/other", "postgres://dwh.example.com:5432"),
        ("redshift", "redshift+psycopg2://me@dwh.example.com:5440/other", "redshift://dwh.example.com:5440"),
        ("bigquery", "bigquery://another-project", "bigquery"),
        ("snowflake", "snowflake://me:secret@acme-eu1/db/schema", "snowflake://acme-eu1"),
        ("snowflake", "snowflake://me:secret@ab12345.us-east-1/db", "snowflake://ab12345.us-east-1.aws"),
        ("snowflake", "snowflake://me:secret@ab12345/db", "snowflake://ab12345.us-west-1.aws"),
        ("databricks", "databricks://token:secret@adb-1.azuredatabricks.net:443", "databricks://adb-1.azuredatabricks.net"),
        ("sqlserver", "mssql+pyodbc://me:secret@dwh.example.com/db", "mssql://dwh.example.com:1433"),
        ("duckdb", "duckdb:////data/shop.duckdb", "duckdb:///data/shop.duckdb"),
    ],
)  # fmt: skip
def test_a_model_is_the_asset_that_cosmos_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str, connection: str, begins: str
) -> None:
    """Expected by hand from Cosmos 1.10 (cosmos/dataset.py) for Airflow 3: its namespace, database/schema/alias."""
    monkeypatch.setenv("OFFLINE_CAPI_CONN_WAREHOUSE", connection)
    folder = configure_manifest(tmp_path, "{after: [{dbt: fct_approvals}, {dbt: \"ref('fct_leads', v=1)\"}]}", adapter)

    dag = upload_dags(folder)[f"offline_capi__{NAME}"]

    uris = [f"{begins}/shop/marts/fct_approvals", f"{begins}/shop/marts/fct_leads_v1"]
    assert dag.timetable.asset_condition == AssetAll(*(Asset(name=uri, uri=uri) for uri in uris))
    assert "secret" not in str(DagSerialization.serialize_dag(dag))


@pytest.mark.parametrize(
    ("platform", "uri"),
    [
        (
            '{dbt: {manifest: manifest.json}, airflow: {assets: {table: "postgres://dwh:5432/"}}}',
            "postgres://dwh:5432/shop/marts/fct_approvals",
        ),
        ('{airflow: {assets: {dbt: "postgres://dwh/a/b"}}}', "postgres://dwh/a/b/fct_approvals"),
    ],
    ids=["where tables lie, without a connection", "where models lie, without a manifest"],
)
def test_what_is_said_of_the_place_comes_before_what_is_found(tmp_path: Path, platform: str, uri: str) -> None:
    folder = configure_manifest(tmp_path, "{after: {dbt: fct_approvals}}", platform=f"platform: {platform}\n")

    dag = upload_dags(folder)[f"offline_capi__{NAME}"]

    assert dag.timetable.asset_condition == AssetAll(Asset(name=uri, uri=uri))


@pytest.mark.parametrize(
    ("model", "adapter", "told"),
    [
        ("fct_aprovals", "postgres", "ref('fct_aprovals') is not in the manifest; did you mean \"fct_approvals\"?"),
        ("fct_approvals", "postgres", 'connection "warehouse"'),
        ("fct_approvals", "vertica", "how assets of dbt's adapter vertica are named is not known"),
        ("", "postgres", "platform.dbt.manifest: there is no manifest.json."),
    ],
)
def test_a_model_without_a_known_place_is_a_red_dag_and_an_import_error(
    tmp_path: Path, model: str, adapter: str, told: str
) -> None:
    folder = configure_manifest(tmp_path, f"{{after: {{dbt: {model or 'any'}}}}}", adapter)
    if not model:
        (folder / "manifest.json").unlink()

    dag = upload_dags(folder)[f"offline_capi__{NAME}"]

    assert [*dag.task_dict] == ["config_error"]
    with pytest.raises(ConfigError) as caught:
        check_uploads(folder)
    assert f"{NAME}.yml:7  schedule.after.dbt  {told}" in str(caught.value)


def test_a_model_needs_to_know_where_dbt_builds(tmp_path: Path) -> None:
    configure_manifest(tmp_path, "{after: {dbt: fct_approvals}}", platform="")

    with pytest.raises(ConfigError, match=r"schedule\.after\.dbt  needs platform\.dbt\.connection in clients\.yml"):
        load_config(tmp_path)


def test_files_are_waited_for_by_the_one_run_of_their_day(tmp_path: Path) -> None:
    """The timetable stays as it is: a partition for each day, and a backfill gets each of them."""
    dag = make_dag(tmp_path, '{after: {files: true}, until: "06:00", every: 90s}')
    wait = dag.task_dict["wait"]

    assert isinstance(dag.timetable, DailyPartitionTimetable)
    assert dag.timetable.serialize()["expression"] == "5 0 * * *"
    assert isinstance(wait, DataReadySensor)
    assert (wait.reschedule, wait.poke_interval, wait.downstream_task_ids) == (True, 90, {"plan"})
    assert "wait" in make_dag(tmp_path, '{after: [{dbt: a}, {files: true}], until: "06:00"}').task_dict
    assert dag.description is not None
    assert dag.description.endswith("Runs after its files, from 5 0 * * * on, until 06:00 Europe/Berlin.")


def test_a_cron_beside_assets_has_to_run_every_day(tmp_path: Path) -> None:
    dags = upload_dags(configure(tmp_path, '{after: {dbt: a}, or: "0 6 * * 1"}'))

    assert [*dags[f"offline_capi__{NAME}"].task_dict] == ["config_error"]


def run_of(kind: str, due: str, **more: Any) -> dict[str, Any]:
    run = SimpleNamespace(run_type=kind, run_after=datetime.fromisoformat(due), partition_key=None, conf={})
    return {"params": {"since": None, "until": None}, "dag_run": SimpleNamespace(**{**vars(run), **more})}


@pytest.mark.parametrize("kind", ["asset_triggered", "scheduled", "manual", "backfill"])
@pytest.mark.parametrize(
    ("due", "day"),
    [("2026-11-24T22:59:00Z", 23), ("2026-11-24T23:01:00Z", 24), ("2026-11-25T12:00:00Z", 24)],
    ids=["just before midnight", "just after", "at noon"],
)
def test_a_run_that_an_asset_starts_covers_the_last_day_that_is_over(
    tmp_path: Path, kind: str, due: str, day: int
) -> None:
    """In the upload's zone; and so does the clock beside it, whose interval has no length in Airflow."""
    upload = load_config(configure(tmp_path, '{after: {dbt: a}, or: "0 6 * * *"}')).uploads[NAME]
    context = run_of(kind, due)
    at = context["dag_run"].run_after

    window = get_window(upload, {**context, "data_interval_start": at, "data_interval_end": at})

    assert str(window) == f"2026-11-{day} (Europe/Berlin)"
    named = run_of(kind, due, partition_key="2026-11-02")
    assert str(get_window(upload, named)).startswith("2026-11-02")


def test_a_run_by_the_clock_alone_still_has_to_name_its_day(tmp_path: Path) -> None:
    upload = load_config(configure(tmp_path, '"0 6 * * *"')).uploads[NAME]

    with pytest.raises(UsageError, match="does not say which days"):
        get_window(upload, run_of("scheduled", "2026-11-25T12:00:00Z"))


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("{after: {files: true}}", "files and snapshot need until"),
        ('{after: {files: true}, until: "6:00"}', "schedule.until  is not a time of day"),
        ('{after: {snapshot: true}, until: "06:00"}', "schedule.after.snapshot  is for a Delta or Iceberg table"),
        ('{after: {dbt: a}, until: "06:00"}', "at and until are for files and snapshot"),
        ('{after: {files: true}, until: "06:00", or: "0 6 * * *"}', "or and any are for assets"),
        ("{after: {asset: purchases}}", "is not the URI of an asset"),
        ("{after: {dbt: a, files: true}}", "needs one of asset, table, dbt, files and snapshot"),
        ("{after: {tabel: a}}", 'did you mean "table"'),
        ("{after: []}", "is empty"),
    ],
)
def test_a_schedule_that_says_nothing_clear_is_refused(tmp_path: Path, schedule: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        load_config(configure(tmp_path, schedule))


def test_a_table_needs_its_place(tmp_path: Path) -> None:
    configure(tmp_path, "{after: {table: a.b.c}}")
    (tmp_path / "clients.yml").write_text(CLIENTS)

    with pytest.raises(ConfigError, match=r"schedule\.after\.table  needs platform\.airflow\.assets\.table"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("due", "deadline"),
    [
        ("2026-11-24T23:05:00Z", "2026-11-25T05:00:00+00:00"),
        ("2026-11-25T04:59:00Z", "2026-11-25T05:00:00+00:00"),
        ("2026-11-25T05:00:00Z", "2026-11-26T05:00:00+00:00"),
        ("2026-10-24T22:05:00Z", "2026-10-25T05:00:00+00:00"),
    ],
    ids=["at night", "just before", "at it", "the clocks change"],
)
def test_a_run_waits_until_the_next_such_time_of_its_zone(due: str, deadline: str) -> None:
    found = find_deadline(datetime.fromisoformat(due), time(6), BERLIN)

    assert found.astimezone(UTC).isoformat() == deadline


# ---------------------------------------------------------------------------------------------- in Airflow


def test_p21_a_run_waits_for_its_files_and_goes_red_at_its_time(night: SampleNight) -> None:
    """Late: red at once, and the ledger knows why. In time: it waits, holding no worker, until they are there."""
    files = night.home / "store_purchases"
    hidden = files.rename(night.home / "hidden")
    files.mkdir()

    late = night.run(AWAITED, kind="scheduled", due=(datetime.now(UTC) - timedelta(days=2)).isoformat())
    by_hand = night.run(AWAITED, kind="backfill")
    before = len(night.airflow.log)
    arrival = threading.Thread(target=arrive, args=(night, hidden, files, before))
    arrival.start()
    waited = night.run(AWAITED, kind="scheduled")
    arrival.join()

    assert (late.tasks["wait"], late.tasks["plan"], late.state) == ("failed", "upstream_failed", "failed")
    assert late.tries["wait"] == 1
    with_error = night.reports()[0]
    assert with_error.status is Status.FAILED
    assert f"{AWAITED} waited until" in with_error.problems[0]
    assert f"no file for {night.day}" in with_error.problems[0]
    assert (by_hand.tasks["wait"], by_hand.state) == ("success", "failed"), "prepare says what is missing"
    assert (waited.tasks["wait"], waited.tasks["prepare"]) == ("success", "success")
    assert night.reports()[-1].tally.read > 0
    assert "up_for_reschedule" in night.airflow.log[before:]


def arrive(night: SampleNight, hidden: Path, files: Path, before: int) -> None:
    """The files come once the run has said that it waits."""
    ended = threading.Event()
    while f"{AWAITED} waits until" not in night.airflow.log[before:]:
        ended.wait(0.2)
    files.rmdir()
    hidden.rename(files)
