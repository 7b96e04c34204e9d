"""Relations of dbt: the manifests are those that dbt 1.5, 1.6, 1.7 and 1.11 wrote for ``dbt_project``, shortened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offline_capi.config.dbt import parse_dbt_name
from offline_capi.config.platform import Dbt
from offline_capi.config.source import DbtSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import Window
from offline_capi.model.contract import classify_sql_type
from offline_capi.sources import Source, SourceAccess, open_source
from offline_capi.sources.dbt.manifest import DbtManifest, read_manifest
from tests.sources.reading import WINDOW, ZONE
from tests.sources.scripts import script
from tests.sources.test_lakehouse import placed_by

PROJECT = Path(__file__).parent / "dbt_project"
SCHEMAS = ("v9", "v10", "v11", "v12")
ROWS = """
CREATE SCHEMA marts;
CREATE TABLE marts.fct_approvals AS
    SELECT * FROM (VALUES ('A-3', TIMESTAMP '2026-11-24 00:00:00'), ('A-2', '2026-11-23 23:59:59'),
                          ('A-1', '2026-11-23 00:00:00'), ('A-0', '2026-11-22 23:59:59'), ('A-?', NULL))
        AS t(application_id, approved_at);
CREATE TABLE marts.fct_leads_v1 AS SELECT 'L-1' AS lead_id, TIMESTAMP '2026-11-23 09:00:00' AS created_at;
CREATE TABLE marts.fct_leads_v2 AS SELECT * FROM (VALUES
    ('L-2', TIMESTAMPTZ '2026-11-22 23:00:00+00', 'a@example.com'), ('L-3', '2026-11-23 23:00:00+00', 'b@example.com'))
        AS t(lead_id, created_at, "E-Mail");
CREATE TABLE main.orders_v3 AS SELECT 7::BIGINT AS order_id, TIMESTAMPTZ '2026-11-23 12:00:00+00' AS ordered_at,
    'a@example.com' AS buyer_email;
"""

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as warehouse:
        warehouse.execute(ROWS)
    return tmp_path


def write_manifest(project: Path, schema: str = "v12", change: Change | None = None) -> None:
    data = json.loads((PROJECT / f"manifest_{schema}.json").read_text())
    if change is not None:
        change(data)
    (project / "target" / "manifest.json").write_text(json.dumps(data))
    read_manifest.__globals__["_load_manifest"].cache_clear()  # files of one test may have one time


def open_dbt(project: Path, name: str, column: str | None = None, *, url: str = "", **settings: Any) -> Source:
    access = SourceAccess(
        ZONE,
        lambda _: url or f"duckdb:///{project / 'shop.duckdb'}",
        folder=project,
        environ={"TARGET": "target"},
        dbt=Dbt(**{"manifest": "${TARGET}/manifest.json", "connection": "warehouse", **settings}),
        placement=placed_by(column) if column else None,
    )
    return open_source(DbtSource(dbt=name), access)


def read(source: Source, *columns: str, window: Window = WINDOW) -> list[tuple[Any, ...]]:
    return [
        tuple(row[name] for name in columns)
        for part in source.read(window, columns=columns)
        for row in part.batch.to_pylist()
    ]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_relation_is_read_by_every_schema_of_manifests(project: Path, schema: str) -> None:
    write_manifest(project, schema)

    # approved_at is not_null by its contract, so that rows without a time need not be asked for.
    assert read(open_dbt(project, "ref('fct_approvals')", "approved_at"), "application_id") == [("A-1",), ("A-2",)]
    assert read(open_dbt(project, "ref('fct_leads', v=1)"), "lead_id") == [("L-1",)]
    assert read(open_dbt(project, "ref('shop', 'fct_leads')"), "E-Mail") == [("a@example.com",), ("b@example.com",)]
    ordered = open_dbt(project, "{{ source('crm', 'orders') }}", "ordered_at")
    assert read(ordered, "order_id", "ordered_at") == [(7, datetime(2026, 11, 23, 12, tzinfo=UTC))]
    assert ordered.list_datasets() == [(project / "shop.duckdb").as_uri()]
    (lead,) = ordered.trace_columns(["order_id"], "any").columns["order_id"]
    assert lead.column == "shop.main.orders_v3.order_id"


def test_types_are_looked_up_in_the_catalog_and_else_the_whole_relation_is_read(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``fct_leads`` documents its columns without types; days begin in Berlin, an hour before those of UTC."""
    write_manifest(project)
    leads = "ref('fct_leads')"

    assert read(open_dbt(project, leads, "created_at"), "lead_id") == [("L-2",), ("L-3",)]
    assert "every run reads the whole of dbt's ref('fct_leads')" in caplog.text
    caplog.clear()
    shutil.copy(PROJECT / "catalog.json", project / "target")
    write_manifest(project)

    assert read(open_dbt(project, leads, "created_at"), "lead_id") == [("L-2",)]
    assert caplog.text == ""


def test_rows_without_a_time_are_read_unless_the_contract_keeps_the_column_filled(project: Path) -> None:
    def forget(manifest: dict[str, Any]) -> None:
        manifest["nodes"]["model.shop.fct_approvals"]["columns"]["approved_at"]["constraints"] = []

    write_manifest(project, change=forget)

    found = read(open_dbt(project, "ref('fct_approvals')", "approved_at"), "application_id")

    assert sorted(found) == [("A-1",), ("A-2",), ("A-?",)]


def test_of_two_packages_the_project_s_own_counts_as_in_dbt(project: Path) -> None:
    def copy(manifest: dict[str, Any]) -> None:
        node = manifest["nodes"]["model.shop.fct_approvals"]
        relation = '"shop"."elsewhere"."fct_approvals"'
        manifest["nodes"] = {"model.other.x": {**node, "package_name": "other", "relation_name": relation}} | manifest[
            "nodes"
        ]

    write_manifest(project, change=copy)

    assert len(read(open_dbt(project, "ref('fct_approvals')"), "application_id")) == 5


def test_names_in_any_case_come_back_as_they_were_asked_for(project: Path, postgres_db: str) -> None:
    """dbt does not quote names unless it is told to, and PostgreSQL folds those; ``E-Mail`` is quoted."""

    def move(manifest: dict[str, Any]) -> None:
        manifest["metadata"]["adapter_type"] = "postgres"
        node = manifest["nodes"]["model.shop.fct_leads.v2"]
        database = postgres_db.rpartition("/")[2]
        node["relation_name"] = f'"{database}"."public"."fct_leads_v2"'
        node["columns"]["leadId"] = {**node["columns"].pop("lead_id"), "name": "leadId"}
        node["columns"]["created_at"]["data_type"] = "timestamp with time zone"

    write_manifest(project, change=move)
    script(
        postgres_db,
        'CREATE TABLE fct_leads_v2 (leadId TEXT, created_at TIMESTAMPTZ, "E-Mail" TEXT)',
        "INSERT INTO fct_leads_v2 VALUES ('L-2', '2026-11-22 23:00:00Z', 'a@example.com'),"
        " ('L-3', '2026-11-23 23:00:00Z', 'b@example.com')",
    )
    source = open_dbt(project, "ref('fct_leads')", "created_at", url=postgres_db)

    assert read(source, "leadId", "E-Mail") == [("L-2", "a@example.com")]
    assert source.estimate_rows(WINDOW) == 1
    assert source.list_datasets()[0].endswith("/public/fct_leads_v2")


def _no_relation(name: object) -> Change:
    return lambda manifest: manifest["nodes"]["model.shop.fct_approvals"].update(relation_name=name)


def _write_by_old_dbt(manifest: dict[str, Any]) -> None:
    manifest["metadata"]["dbt_schema_version"] = "any/manifest/v8.json"


def _in_two_packages(manifest: dict[str, Any]) -> None:
    node = manifest["nodes"]["model.shop.fct_approvals"]
    for package in ("one", "two"):
        manifest["nodes"][f"model.{package}.x"] = {**node, "name": "x", "package_name": package}


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("ref('fct_aprovals')", None, 'is not in the manifest; did you mean "fct_approvals"?'),
        ("ref('other', 'fct_approvals')", None, "is not in the manifest"),
        ("ref('fct_leads', v=3)", None, "ref('fct_leads', v=3) is not in the manifest"),
        ("ref('fct_old')", None, "is disabled in dbt"),
        ("ref('stg_approvals')", None, "is ephemeral, so the database has no table of it"),
        ("source('crm', 'order')", None, 'did you mean "crm.orders"?'),
        ("ref('x')", _in_two_packages, "is in several packages (one, two)"),
        *(
            ("ref('fct_approvals')", _no_relation(text), "a relation that is no name of a table")
            for text in ("read_csv('/etc/passwd')", '"a"; DROP TABLE b', "a -- b", 'a."b\n"', "'x.pq'", "a.b.c.d.e")
        ),
        ("ref('fct_approvals')", _write_by_old_dbt, "schema v8"),
        ("ref('fct_approvals')", lambda one: one.pop("metadata"), "is no manifest.json of dbt"),
    ],
)  # fmt: skip
def test_what_the_manifest_cannot_give_is_named(project: Path, name: str, change: Change | None, told: str) -> None:
    write_manifest(project, change=change)

    with pytest.raises(SourceError) as raised:
        read(open_dbt(project, name), "application_id")

    assert told in str(raised.value)
    assert "repeating is safe" in str(raised.value)


def test_a_manifest_that_cannot_be_read_is_named(project: Path) -> None:
    for content, told in (
        (None, "Run `dbt compile`"),
        (b"\xff{", "is not JSON as dbt writes it"),
        (b"[]", "is not JSON"),
    ):
        if content is not None:
            (project / "target" / "manifest.json").write_bytes(content)
        with pytest.raises(SourceError, match=told):
            read(open_dbt(project, "ref('fct_approvals')"), "application_id")
    with pytest.raises(SourceError, match=r"platform\.dbt\.manifest: the environment variable NOWHERE is not set"):
        read(open_dbt(project, "ref('a')", manifest="${NOWHERE}/manifest.json"), "a")
    write_manifest(project)
    with pytest.raises(SourceError, match="no connection is named"):
        read(open_dbt(project, "ref('fct_approvals')", connection=None), "application_id")
    with pytest.raises(SourceSchemaError, match='"emial"; did you mean "email"'):
        read(open_dbt(project, "ref('fct_approvals')"), "emial")


def test_what_is_promised_of_a_relation(project: Path) -> None:
    """By constraints, by tests, and by the types of the contract."""
    write_manifest(project)
    manifest: DbtManifest = read_manifest("target/manifest.json", {}, project)

    approvals = manifest.find_relation(parse_dbt_name("ref('fct_approvals')")).contract
    leads = manifest.find_relation(parse_dbt_name("ref('fct_leads')")).contract

    kinds = {name: column.kind for name, column in approvals.columns.items()}
    assert kinds == {
        "application_id": "text", "approved_at": "local time", "email": "text", "contact": "text",
        "country_code": "text", "credit_limit": "number", "marketing_consent": "boolean",
    }  # fmt: skip
    assert [name for name, column in approvals.columns.items() if column.required] == ["application_id", "approved_at"]
    assert (approvals.is_enforced, approvals.keys) == (True, (("application_id",),))
    assert (leads.is_enforced, leads.keys) == (False, (("lead_id",),))
    assert leads.columns["lead_id"].required


@pytest.mark.parametrize(
    ("declared", "dialect", "kind"),
    [
        ("VARCHAR(20)", "", "text"), ("character varying (20)", "", "text"), ("DECIMAL(12, 2)", "", "number"),
        ("timestamp(6) with time zone", "trino", "instant"), ("TIMESTAMP(6)", "trino", "local time"),
        ("TIMESTAMP", "bigquery", "instant"), ("DATETIME", "bigquery", "local time"),
        ("timestamp", "databricks", "instant"), ("TIMESTAMP_NTZ", "snowflake", "local time"),
        ("TIMESTAMP_LTZ(9)", "snowflake", "instant"), ("Nullable(DateTime64(3, 'UTC'))", "clickhouse", "instant"),
        ("LowCardinality(Nullable(String))", "clickhouse", "text"), ("datetime2(7)", "mssql", "local time"),
        ("datetimeoffset", "mssql", "instant"), ("double precision", "redshift", "float"),
        ("ARRAY<STRING>", "", "other"), ("jsonb", "", "other"), ("varchar[]", "", "other"),
        ("geography", "", "other"), ("", "", None),
    ],
)  # fmt: skip
def test_types_are_told_apart_as_their_database_means_them(declared: str, dialect: str, kind: str | None) -> None:
    assert classify_sql_type(declared, dialect) == kind
