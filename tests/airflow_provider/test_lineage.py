"""Where rows come from and where events go, as Airflow's hook lineage hears it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from airflow.sdk import Asset
from openlineage.client.serde import Serde

from offline_capi.airflow_provider.observability.lineage import convert_pixel_to_openlineage
from offline_capi.audit.lineage import trace_upload
from offline_capi.config import Deployment, EnvironmentSecrets, Upload, load_config
from offline_capi.model import Fate
from offline_capi.pipeline import make_source_access
from offline_capi.sources import open_source
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import DAGS


def test_what_was_read_and_how_many_events_each_pixel_got(night: SampleNight):
    night.airflow.lineage()  # whatever other tests left there

    night.run("store_purchases")

    told, (report,) = night.airflow.lineage(), night.reports()
    host, clients = night.sandbox.url.removeprefix("http://"), report.by_client()
    assert told["inputs"] == [(night.home / "store_purchases").as_uri()]
    assert {uri: extra["events"] for uri, extra in told["outputs"].items()} == {
        f"meta-capi://{host}/{night.pixel(client)}": clients[client][Fate.SENT]
        for client in ("corner_shop", "nordic_outlet")
    }
    for extra in told["outputs"].values():
        (em,) = extra["columnLineage"]["fields"]["user_data.em"]["inputFields"]
        assert (em["name"], em["field"]) == (str(night.home / "store_purchases"), "email")
        assert em["transformations"] == [{"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": True}]


@pytest.mark.parametrize("upload", ["credit_approvals", "own"])
def test_an_sqlite_warehouse_is_its_file(night: SampleNight, upload: str):
    night.airflow.lineage()

    night.run(upload)

    told = night.airflow.lineage()
    assert told["inputs"] == [(night.home / "warehouse.db").as_uri()]
    assert [uri.rpartition("/")[2] for uri in told["outputs"]] == [night.pixel("acme_bank")]


def test_a_night_that_sends_nothing_for_a_client_that_is_stopped_says_so(night: SampleNight):
    night.airflow.lineage()
    night.sandbox.fail_next(400, times=100, code=190)

    night.run("store_purchases")

    assert {extra["events"] for extra in night.airflow.lineage()["outputs"].values()} == {0}


def inputs(source: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """What is told of a source, in the repository's configuration otherwise."""
    upload, deployment, secrets = load_approvals(environ)
    upload = upload.model_copy(update={"source": load_source(source)})
    access = make_source_access(upload, deployment, secrets)
    return open_source(upload.source, access).list_datasets()


def load_approvals(environ: Mapping[str, str]) -> tuple[Upload, Deployment, EnvironmentSecrets]:
    deployment = load_config(DAGS, environ={"OFFLINE_CAPI_LEDGER": "sqlite://", **environ})
    return deployment.uploads["credit_approvals"], deployment, EnvironmentSecrets(environ)


def load_source(source: Mapping[str, str]):
    from offline_capi.config.source import FileSource, SqlSource

    return (SqlSource if "sql" in source else FileSource).model_validate(source)


@pytest.mark.parametrize(
    ("url", "table", "uri"),
    [
        ("postgresql://me:secret@db/shop", "orders", "postgres://db/shop/public/orders"),
        ("postgresql+psycopg://me@db:5433/shop", "sales.orders", "postgres://db:5433/shop/sales/orders"),
        ("postgresql://db/shop", "other.sales.orders", "postgres://db/other/sales/orders"),
        ("mysql+pymysql://me:secret@db/shop", "orders", "mysql://db/shop/orders"),
        ("mysql://db/shop", "other.orders", "mysql://db/other/orders"),
        ("snowflake://me:secret@account/db/sales", "orders", "snowflake://account/db/sales/orders"),
        ("snowflake://account/db/sales", "hr.people", "snowflake://account/db/hr/people"),
        ("bigquery://project/shop", "orders", "bigquery://project/shop/orders"),
        ("bigquery://project/shop", "crm.orders", "bigquery://project/crm/orders"),
        ("bigquery://project/shop", "other-1.crm.orders", "bigquery://other-1/crm/orders"),
        ("bigquery://project", "other-1.crm.orders", "bigquery://other-1/crm/orders"),
    ],
)
def test_a_table_is_named_as_airflow_names_assets_without_user_and_password(
    tmp_path: Path, url: str, table: str, uri: str
):
    source = {"connection": "warehouse", "sql": f"SELECT * FROM {table} WHERE a > :since AND a < :until"}

    assert inputs(source, {"OFFLINE_CAPI_CONN_WAREHOUSE": url}) == [uri]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/data/sales/*{date}*.csv", "file:///data/sales"),
        ("/data/sales/day.csv", "file:///data/sales/day.csv"),
        ("${OFFLINE_CAPI_LINEAGE}/sales/*", "s3://bucket/sales"),
        ("s3://bucket/sales/{date:%Y}/*.parquet", "s3://bucket/sales"),
        ("s3://key:secret@bucket/sales/a.parquet?token=secret", "s3://bucket/sales/a.parquet"),
    ],
)
def test_files_are_their_folder_without_what_may_be_secret(tmp_path: Path, path: str, uri: str):
    assert inputs({"path": path}, {"OFFLINE_CAPI_LINEAGE": "s3://bucket"}) == [uri]


def test_openlineage_names_a_pixel_by_the_graphs_host():
    lineage = trace_upload(*load_approvals({"OFFLINE_CAPI_CONN_WAREHOUSE": "postgresql://db/shop"}))
    columns = lineage.make_column_lineage(lineage.outputs[0])
    extra = {"events": 7, "columnLineage": columns}

    pixel = convert_pixel_to_openlineage(Asset(uri="meta-capi://graph.facebook.com/12345", extra=extra), None)

    assert (pixel.namespace, pixel.name) == ("meta-capi://graph.facebook.com", "12345")
    assert pixel.outputFacets["outputStatistics"].rowCount == 7
    told = Serde.to_dict(pixel.facets["columnLineage"])
    assert {**told, "_producer": ""} == {**columns, "_producer": ""}
