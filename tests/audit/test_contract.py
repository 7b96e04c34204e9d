"""Uploads beside contracts: dbt's own and those of the Open Data Contract Standard; and the exposures that dbt gets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from offline_capi.cli import app
from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.errors import ConfigError
from tests.sources.test_dbt import PROJECT
from tests.support.sandbox_server import PIXEL

CLIENTS = f"""
platform:
  partner_agent: datapartner
  dbt: {{manifest: manifest.json, connection: warehouse, owner: Growth, owner_email: growth@example.com}}
environments:
  staging:
    dbt_manifest: staging.json
    clients: {{acme: {{pixel_id: "1200000000000077"}}}}
clients:
  acme: {{pixel_id: "{PIXEL}", token: {{env: ACME_TOKEN}}, country: US}}
"""
UPLOAD = """
client: acme
source: {dbt: ref('fct_approvals')}
window: {column: approved_at, timezone: America/New_York}
event: {name: CreditApproval, id: "approval-{application_id}", action_source: system_generated}
user_data: {em: email, ph: contact, country: country_code}
custom_data: {value: {column: credit_limit, type: number}, currency: USD}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OFFLINE_CAPI_ENVIRONMENT", raising=False)
    (tmp_path / "uploads").mkdir()
    (tmp_path / "clients.yml").write_text(CLIENTS)
    shutil.copy(PROJECT / "manifest_v12.json", tmp_path / "manifest.json")
    write(tmp_path)
    return tmp_path


def write(folder: Path, text: str = UPLOAD, name: str = "approvals") -> None:
    (folder / "uploads" / f"{name}.yml").write_text(text)


def change_manifest(folder: Path, change: Any) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    (folder / "manifest.json").write_text(json.dumps(data))


def call(folder: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", str(folder)])


def check(folder: Path, *arguments: str) -> list[str]:
    """Warnings, without the place of the configuration; all of an upload that has no errors."""
    done = call(folder, "check", "approvals", *arguments, "--json")
    assert done.exception is None, done.exception
    return [one.replace(f"{folder}/uploads/", "") for one in json.loads(done.output)["warnings"]]


def errors(folder: Path, *arguments: str) -> list[str]:
    done = call(folder, "check", "approvals", *arguments)
    assert isinstance(done.exception, ConfigError), done.output
    return [f"{Path(one.file).name}:{one.line}  {one.path}  {one.message}" for one in done.exception.problems]


# ---------------------------------------------------------------------------------------------- dbt


def test_a_model_that_a_schedule_waits_for_is_one_of_the_manifest(folder: Path) -> None:
    """Without a connection; and of an upload that reads nothing else of dbt's."""
    text = UPLOAD.replace("{dbt: ref('fct_approvals')}", "{path: 'sales_{date}.csv'}")
    write(folder, text + "schedule: {after: [{dbt: fct_aprovals}, {dbt: stg_approvals}, {dbt: fct_returns}]}\n")

    assert errors(folder) == [
        "approvals.yml:8  schedule.after[0].dbt  ref('fct_aprovals') is not in the manifest; "
        'did you mean "fct_approvals"?',
        "approvals.yml:8  schedule.after[1].dbt  ref('stg_approvals') is ephemeral, so the database has no "
        "table of it.",
    ]


def test_a_column_that_left_an_enforced_contract_is_an_error_and_else_a_warning(folder: Path) -> None:
    def leave(manifest: dict[str, Any]) -> None:
        del manifest["nodes"]["model.shop.fct_approvals"]["columns"]["credit_limit"]

    assert check(folder) == []
    change_manifest(folder, leave)
    assert errors(folder) == [
        'approvals.yml:7  custom_data.value  column "credit_limit" is not in the contract of dbt\'s '
        "ref('fct_approvals')"
    ]

    change_manifest(folder, lambda one: one["nodes"]["model.shop.fct_approvals"]["contract"].update(enforced=False))

    assert check(folder) == [
        'approvals.yml:7: custom_data.value: column "credit_limit" is not in the documentation of dbt\'s '
        "ref('fct_approvals')"
    ]


def test_types_and_names_are_compared_without_a_connection(folder: Path) -> None:
    write(
        folder,
        UPLOAD.replace("em: email", "em: marketing_consent").replace("column: credit_limit", "column: approved_at"),
    )

    assert errors(folder) == [
        'approvals.yml:6  user_data.em  column "marketing_consent" is boolean by the contract of dbt\'s '
        "ref('fct_approvals'), which is no e-mail addresses",
        'approvals.yml:7  custom_data.value  column "approved_at" is timestamp by the contract of dbt\'s '
        "ref('fct_approvals'), which is no number",
    ]  # fmt: skip
    write(folder, UPLOAD.replace("fct_approvals", "fct_aprovals"))
    assert errors(folder) == [
        "approvals.yml:3  source.dbt  ref('fct_aprovals') is not in the manifest; did you mean \"fct_approvals\"?"
    ]


def test_columns_of_a_lookup_are_compared_as_well(folder: Path) -> None:
    joined = "lookups: {leads: {dbt: ref('fct_approvals'), key: application_id}}\n"
    write(folder, UPLOAD.replace("em: email", "em: leads.emial") + joined)

    (problem,) = errors(folder)

    assert 'lookups.leads  column "emial" is not in the contract' in problem


def test_an_environment_has_the_manifest_of_another_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE_CAPI_ENVIRONMENT", "staging")

    assert "source.dbt  platform.dbt.manifest: there is no staging.json" in errors(folder)[0]


# ---------------------------------------------------------------------------------------------- ODCS

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: any
version: 1.0.0
status: active
schema:
  - name: approvals
    physicalName: marts.fct_approvals
    properties:
      - {name: id, physicalName: application_id, logicalType: string, physicalType: varchar(20), primaryKey: true}
      - {name: approved_at, logicalType: timestamp, physicalType: timestamp}
      - name: email
        logicalType: string
        quality: [{metric: nullValues, mustBeLessThan: 5, unit: percent}]
      - {name: contact, logicalType: integer}
      - {name: country_code, logicalType: string, enum: [{value: US}, {value: CA}]}
      - name: credit_limit
        logicalType: number
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 50000}
        quality: [{type: sql, query: SELECT 1, mustBe: 1}, {rule: nullCheck}]
    quality:
      - {metric: rowCount, mustBeBetween: [1, 100000]}
  - {name: other, properties: [{name: a, unique: true}]}
"""
EXPECT = [
    {"column": "application_id", "not_null": True},
    {"column": "credit_limit", "not_null": True},
    {"unique": "application_id"},
    {"column": "email", "not_null": True, "max_failed": "5%"},
    {"column": "country_code", "accepted": ["US", "CA"]},
    {"column": "credit_limit", "at_least": 0, "below": 50000},
    {"row_count": {"at_least": 1, "at_most": 100000}},
]


def contract(folder: Path, text: str = CONTRACT) -> tuple[str, str]:
    (folder / "a.odcs.yaml").write_text(text)
    return "--contract", str(folder / "a.odcs.yaml")


def test_a_contract_of_the_standard_is_compared_and_its_promises_are_offered_as_row_checks(folder: Path) -> None:
    done = call(folder, "check", "approvals", *contract(folder), "--json")

    found = json.loads(done.output)
    assert [one.partition(".yml:")[2] for one in found["warnings"]] == [
        '6: user_data.ph: column "contact" is integer by a.odcs.yaml (approvals): a number has lost the zeros at the '
        "beginning of phone numbers",
        '4: window.column: column "approved_at" may be empty by a.odcs.yaml (approvals); a row without it is invalid',
    ]
    assert found["expect"] == EXPECT

    shown = call(folder, "check", "approvals", *contract(folder)).output.partition("add to expect:\n")[2]
    assert yaml.safe_load(shown) == EXPECT
    write(folder, f"{UPLOAD}expect:\n{shown}")
    assert json.loads(call(folder, "check", "approvals", *contract(folder), "--json").output)["expect"] == []


def test_what_an_upload_reads_and_a_contract_does_not_promise_is_an_error(folder: Path) -> None:
    spoiled = CONTRACT.replace("name: email", "name: e_mail").replace(
        "physicalType: timestamp}", "physicalType: numeric}"
    )
    spoiled = spoiled.replace("varchar(20), primaryKey: true", "double, required: true")

    assert errors(folder, *contract(folder, spoiled)) == [
        'approvals.yml:6  user_data.em  column "email" is not in a.odcs.yaml (approvals); did you mean "e_mail"?',
        'approvals.yml:4  window.column  column "approved_at" is numeric by a.odcs.yaml (approvals), which is no time',
        'approvals.yml:5  event.id  column "application_id" is double by a.odcs.yaml (approvals): a float is no '
        "id, its digits change",
    ]


def test_ids_that_are_not_the_key_are_told(folder: Path) -> None:
    keyed = CONTRACT.replace("physicalType: varchar(20), primaryKey: true", "required: true").replace(
        "name: email\n", "name: email\n        unique: true\n"
    )

    assert any("rows are told apart by email in a.odcs.yaml" in one for one in check(folder, *contract(folder, keyed)))


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("a: [", (), "is no YAML mapping"),
        ("kind: DataContract\napiVersion: v2.2.2", (), "version 3; it has apiVersion v2.2.2"),
        ("openapi: 3.0.0", (), "is no data contract of the Open Data Contract Standard"),
        ("kind: DataContract\napiVersion: v3.0.2", (), "has no schema"),
        ("kind: DataContract\napiVersion: v3.0.2\nschema: [{name: a}]", (), "a has no properties"),
        (CONTRACT, ("--schema-object", "othr"), 'no object "othr" of its own; did you mean "other"?'),
        (CONTRACT.replace("fct_approvals", "x").replace("name: approvals", "name: y"), (), "one of y, other"),
    ],
)
def test_a_file_that_is_no_contract_is_named(folder: Path, text: str, arguments: tuple[str, ...], told: str) -> None:
    done = call(folder, "check", "approvals", *contract(folder, text), *arguments)

    assert isinstance(done.exception, ConfigError)
    assert told in str(done.exception)


def test_a_contract_is_about_one_upload(folder: Path) -> None:
    write(folder, name="second")

    assert "is about one upload" in str(call(folder, "check", *contract(folder)).exception)
    assert "belongs to --contract" in str(call(folder, "check", "--schema-object", "a").exception)


# ---------------------------------------------------------------------------------------------- exposures


def test_exposures_are_the_same_bytes_each_time_and_name_what_openlineage_names(folder: Path) -> None:
    """By name, by a query that names the table, and as a lookup; not what reads nothing of dbt's."""
    query = "SELECT * FROM marts.fct_leads_v2 WHERE created_at >= :since_utc AND created_at < :until_utc"
    leads = "lookups: {leads: {dbt: \"ref('fct_leads', v=1)\", key: lead_id, by: application_id}}\n"
    write(
        folder, UPLOAD.replace("{dbt: ref('fct_approvals')}", f"{{connection: warehouse, sql: '{query}'}}"), "by-query"
    )
    write(folder, UPLOAD.replace("em: email", "em: leads.email") + leads, "joined")
    write(folder, UPLOAD.replace("{dbt: ref('fct_approvals')}", "{path: a.csv}"), "apart")
    file = folder / "exposures.yml"

    first = call(folder, "dbt", "exposures").output
    call(folder, "dbt", "exposures", "--output", str(file))
    written = file.stat().st_mtime_ns
    done = call(folder, "dbt", "exposures", "--output", str(file))

    assert "3 exposures" in done.output
    assert (file.read_text(), file.stat().st_mtime_ns) == (first, written)
    found = {one["name"]: one for one in yaml.safe_load(first)["exposures"]}
    assert {name: one["depends_on"] for name, one in found.items()} == {
        "approvals": ["ref('fct_approvals')"],
        "by_query": ["ref('fct_leads', v=2)"],
        "joined": ["ref('fct_approvals')", "ref('fct_leads', v=1)"],
    }
    assert found["approvals"]["owner"] == {"name": "Growth", "email": "growth@example.com"}
    deployment = load_config(folder, environ={})
    from offline_capi.audit.lineage import trace_upload

    secrets = EnvironmentSecrets({"OFFLINE_CAPI_CONN_WAREHOUSE": f"duckdb:///{folder}/shop.duckdb"})
    emitted = trace_upload(deployment.uploads["approvals"], deployment, secrets)
    meta = found["approvals"]["config"]["meta"]["offline_capi"]
    assert meta["openlineage"]["outputs"] == [output.dataset._asdict() for output in emitted.outputs]
    assert meta["columns"]["contact"] == ["user_data.ph"]


def test_exposures_of_an_older_dbt_have_their_meta_where_it_looks(folder: Path) -> None:
    shutil.copy(PROJECT / "manifest_v9.json", folder / "manifest.json")

    (one,) = yaml.safe_load(call(folder, "dbt", "exposures").output)["exposures"]

    assert one["meta"]["offline_capi"]["upload"] == "approvals"
    assert "config" not in one


def test_two_uploads_that_dbt_could_not_tell_apart_are_refused(folder: Path) -> None:
    for name in ("a-b", "a_b"):
        write(folder, name=name)

    assert "would both be called a_b" in str(call(folder, "dbt", "exposures").exception)
