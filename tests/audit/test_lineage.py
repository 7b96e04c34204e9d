"""Column-level lineage of an upload: names as OpenLineage has them, masking, rows, and what a run adds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from openlineage.client import event_v2
from openlineage.client.generated import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    input_statistics_input_dataset,
    nominal_time_run,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.serde import Serde

from offline_capi.audit.lineage import Dataset, UploadLineage, name_dataset, trace_upload
from offline_capi.config import EnvironmentSecrets, load_config
from tests.audit.project import Project
from tests.support.night import Night
from tests.support.sandbox_server import Sandbox

QUERY = """
SELECT o.order_id, o.paid_at, lower(p.mail) AS email, p.phone, sum(o.total) AS total, count, p.person AS id
FROM orders o JOIN crm.people p ON p.id = o.person
WHERE o.paid_at >= :since AND o.paid_at < :until AND o.state <> 'canary'
GROUP BY 1, 2, 3, 4, 6, 7
"""
UPLOAD: dict[str, Any] = {
    "client": {"column": "shop", "map": {"a": "acme", "b": "bold"}},
    "source": {"connection": "warehouse", "sql": QUERY},
    "window": {"column": "paid_at"},
    "event": {"name": "Purchase", "id": "canary-{order_id}", "action_source": "physical_store"},
    "user_data": {"em": "email", "ph": {"coalesce": ["phone", "people.phone"]}, "external_id": "id"},
    "custom_data": {"value": "total", "currency": "USD", "num_items": "count"},
    "lookups": {"people": {"path": "/data/people.csv", "key": "no", "by": "id"}},
    "consent": {"column": "people.consent", "equals": "canary"},
}
URLS = {"OFFLINE_CAPI_CONN_WAREHOUSE": "postgresql+psycopg://canary:canary@db/shop"}


def trace(home: Path, changes: Mapping[str, Any], environ: Mapping[str, str] = URLS) -> UploadLineage:
    clients = {
        "acme": {"pixel_id": "1200000000000001", "token": {"env": "T"}},
        "bold": {"pixel_id": ["1200000000000002", "1200000000000003"], "token": {"env": "T"}},
        "other": {"pixel_id": "1200000000000004", "token": {"env": "T"}},
    }
    clients["bold"]["external_id"] = {"send": "raw"}
    (home / "uploads").mkdir(exist_ok=True)
    platform = {"python": ["hooks"]}
    (home / "clients.yml").write_text(yaml.safe_dump({"platform": platform, "clients": clients}))
    (home / "uploads/sales.yml").write_text(yaml.safe_dump({**UPLOAD, **changes}))
    deployment = load_config(home, environ=environ)
    return trace_upload(deployment.uploads["sales"], deployment, EnvironmentSecrets(environ))


def list_inputs(traced: UploadLineage, client: str, field: str) -> list[str]:
    output = next(one for one in traced.outputs if one.client == client)
    return [
        f"{one.dataset.name} {one.column} {one.use}{' masked' if one.masked else ''}" for one in output.fields[field]
    ]


def test_a_query_and_a_lookup_are_traced_to_their_columns(tmp_path: Path):
    traced = trace(tmp_path, {})

    assert traced.inputs == (
        Dataset("postgres://db:5432", "shop.public.orders"),
        Dataset("postgres://db:5432", "shop.crm.people"),
        Dataset("postgres://db:5432", "shop?query=sales"),
        Dataset("file", "/data/people.csv"),
    )
    found = {name: list_inputs(traced, "acme", name) for name in traced.outputs[0].fields}
    assert found == {
        "event_time": ["shop.public.orders paid_at TRANSFORMATION"],
        "event_id": ["shop.public.orders order_id TRANSFORMATION"],
        "event_name": [],
        "action_source": [],
        "user_data.em": ["shop.crm.people mail TRANSFORMATION masked"],
        "user_data.ph": [
            "shop.crm.people phone TRANSFORMATION masked",
            "/data/people.csv phone TRANSFORMATION masked",
        ],
        "user_data.external_id": ["shop.crm.people person TRANSFORMATION masked"],
        "custom_data.value": ["shop.public.orders total AGGREGATION"],
        "custom_data.currency": [],
        "custom_data.num_items": ["shop?query=sales count TRANSFORMATION"],
    }
    assert {f"{one.dataset.name} {one.column} {one.use}" for one in traced.rows} == {
        "shop?query=sales shop FILTER",
        "/data/people.csv consent FILTER",
        "/data/people.csv no JOIN",
        "shop.crm.people person JOIN",
        "shop.public.orders paid_at FILTER",
        "shop.public.orders state FILTER",
        "shop.public.orders person JOIN",
        "shop.crm.people id JOIN",
    }


def test_each_pixel_of_each_client_that_the_upload_may_hold_is_an_output_with_its_own_masking(tmp_path: Path):
    traced = trace(tmp_path, {})

    assert [(one.client, one.dataset.namespace, one.dataset.name) for one in traced.outputs] == [
        ("acme", "meta-capi://graph.facebook.com", "1200000000000001"),
        ("bold", "meta-capi://graph.facebook.com", "1200000000000002"),
        ("bold@1200000000000003", "meta-capi://graph.facebook.com", "1200000000000003"),
    ]
    assert list_inputs(traced, "acme", "user_data.external_id") == ["shop.crm.people person TRANSFORMATION masked"]
    assert list_inputs(traced, "bold", "user_data.external_id") == ["shop.crm.people person TRANSFORMATION"]


@pytest.mark.parametrize(
    ("profile", "masked"), [("meta", [True, False]), ("sdk", [False, False]), ("param_builder", [True, True])]
)
def test_an_id_is_masked_where_the_profile_hashes_it(tmp_path: Path, profile: str, masked: list[bool]):
    traced = trace(tmp_path, {"profile": profile})

    assert [traced.outputs[at].fields["user_data.external_id"][0].masked for at in (0, 1)] == masked


def test_files_are_their_folder_and_the_window_selects_their_rows(tmp_path: Path):
    changes = {"source": {"path": "s3://bucket/sales/*.csv"}, "lookups": {}, "consent": None, "client": "acme"}
    changes["user_data"] = {"em": "email", "client_user_agent": "agent"}

    traced = trace(tmp_path, changes)

    assert traced.inputs == (Dataset("s3://bucket", "sales"),)
    assert list_inputs(traced, "acme", "user_data.client_user_agent") == ["sales agent IDENTITY"]
    assert [(one.column, one.use) for one in traced.rows] == [("paid_at", "FILTER")]


def test_columns_of_a_hook_are_the_hooks_own(tmp_path: Path):
    traced = trace(tmp_path, {"transform": "hooks:clean"})

    assert Dataset("python://hooks", "clean") in traced.inputs
    assert list_inputs(traced, "acme", "user_data.em") == ["clean email TRANSFORMATION masked"]
    assert list_inputs(traced, "acme", "user_data.ph")[1] == "/data/people.csv phone TRANSFORMATION masked"


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("postgres://db/shop/public/orders", "postgres://db:5432", "shop.public.orders"),
        ("postgres://db:5433/shop/public/orders", "postgres://db:5433", "shop.public.orders"),
        ("mysql://db/shop/orders", "mysql://db:3306", "shop.orders"),
        ("mssql://db/shop/dbo/orders", "mssql://db:1433", "shop.dbo.orders"),
        ("snowflake://account/db/hr/people", "snowflake://account", "db.hr.people"),
        ("bigquery://project/shop/orders", "bigquery", "project.shop.orders"),
        ("file:///data/sales%20of/day.csv", "file", "/data/sales of/day.csv"),
        ("s3a://bucket/sales/day.csv", "s3://bucket", "sales/day.csv"),
        ("gs://bucket/sales", "gs://bucket", "sales"),
        ("abfss://box@store.dfs.core.windows.net/a/b", "abfss://box@store.dfs.core.windows.net", "a/b"),
        ("meta-capi://graph.facebook.com/12345", "meta-capi://graph.facebook.com", "12345"),
    ],
)
def test_data_sets_are_named_as_openlineage_does(uri: str, namespace: str, name: str):
    assert name_dataset(uri) == (namespace, name)


# ---------------------------------------------------------------------------------------------- OpenLineage's shape


#: Facet → its class in OpenLineage's own client, which refuses what its schema does not have.
FACETS = {
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
    "nominalTime": nominal_time_run.NominalTimeRunFacet,
}


def rebuild(event: dict[str, Any]) -> Any:
    """The same event through OpenLineage's own classes: an unknown or missing key, or another version, shows."""

    def facets(found: dict[str, Any]) -> dict[str, Any]:
        return {name: _rebuild_facet(name, facet) for name, facet in found.items()}

    def datasets(kind: Any, extra: str, found: list[dict[str, Any]]) -> list[Any]:
        return [
            kind(
                one.pop("namespace"),
                one.pop("name"),
                facets=facets(one.pop("facets", {})),
                **{extra: facets(one.pop(extra, {}))},
                **one,
            )
            for one in found
        ]

    event = json.loads(json.dumps(event))
    kind = event_v2.RunEvent if "run" in event else event_v2.JobEvent
    schema = event.pop("schemaURL")
    event["job"] = event_v2.Job(**event["job"])
    event["inputs"] = datasets(event_v2.InputDataset, "inputFacets", event["inputs"])
    event["outputs"] = datasets(event_v2.OutputDataset, "outputFacets", event["outputs"])
    if "run" in event:
        event["run"] = event_v2.Run(event["run"]["runId"], facets(event["run"]["facets"]))
        event["eventType"] = event_v2.RunState(event["eventType"])
    made = kind(**event)
    assert made.schemaURL == schema
    return Serde.to_dict(made)


def _rebuild_facet(name: str, facet: dict[str, Any]) -> Any:
    producer, schema = facet.pop("_producer"), facet.pop("_schemaURL")
    if name == "columnLineage":
        lineage = column_lineage_dataset

        def inputs(found: list[dict[str, Any]]) -> list[Any]:
            return [
                lineage.InputField(
                    **{**one, "transformations": [lineage.Transformation(**step) for step in one["transformations"]]}
                )
                for one in found
            ]

        facet["fields"] = {
            key: lineage.Fields(**{**field, "inputFields": inputs(field["inputFields"])})
            for key, field in facet["fields"].items()
        }
        facet["dataset"] = inputs(facet["dataset"])
    elif name == "schema":
        facet["fields"] = [schema_dataset.SchemaDatasetFacetFields(**one) for one in facet["fields"]]
    elif name == "dataQualityAssertions":
        facet["assertions"] = [data_quality_assertions_dataset.Assertion(**one) for one in facet["assertions"]]
    made = FACETS[name](**facet, producer=producer)
    assert made._schemaURL == schema
    return made


def prune(value: Any) -> Any:
    """Without the empty lists and objects that OpenLineage's classes add."""
    if isinstance(value, dict):
        return {key: kept for key, one in value.items() if (kept := prune(one)) not in ({}, [])}
    return [prune(one) for one in value] if isinstance(value, list) else value


def test_the_event_of_a_job_is_what_openlineages_own_classes_write(tmp_path: Path):
    event = trace(tmp_path, {}).make_job_event(datetime(2026, 11, 29, tzinfo=UTC))

    assert prune(rebuild(event)) == prune(event)
    (em,) = event["outputs"][0]["facets"]["columnLineage"]["fields"]["user_data.em"]["inputFields"]
    assert em == {
        "namespace": "postgres://db:5432",
        "name": "shop.crm.people",
        "field": "mail",
        "transformations": [{"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": True}],
    }
    rows = event["outputs"][0]["facets"]["columnLineage"]["dataset"]
    assert {one["transformations"][0]["type"] for one in rows} == {"INDIRECT"}
    assert "event_name" not in event["outputs"][0]["facets"]["columnLineage"]["fields"]


def test_p09_neither_a_secret_nor_a_literal_is_in_it(tmp_path: Path):
    assert "canary" not in json.dumps(trace(tmp_path, {}).make_job_event(datetime(2026, 11, 29, tzinfo=UTC)))


def test_a_run_adds_rows_events_and_what_its_gates_and_row_checks_found(tmp_path: Path, sandbox: Sandbox):
    night = Night(tmp_path, sandbox).fill()
    night.edit(
        "dags/uploads/credit_approvals.yml",
        ("limits:", 'expect: [{column: product, equals: ["no such"]}, {row_count: {at_least: 1}}]\nlimits:'),
    )
    report = night.send("credit_approvals")

    said = night.run("lineage", "credit_approvals", "--run", "last", "--json")

    assert said.code == 0, said.err
    event = json.loads(said.out)
    assert prune(rebuild(event)) == prune(event)
    assert event["eventType"] == "COMPLETE"
    (read,) = (one["inputFacets"] for one in event["inputs"] if one.get("inputFacets"))
    assert read["inputStatistics"]["rowCount"] == report.tally.read
    sent = [one["outputFacets"]["outputStatistics"]["rowCount"] for one in event["outputs"]]
    assert sent == [report.by_client()["acme_bank"]["sent"]]
    found = {one["assertion"]: one["success"] for one in read["dataQualityAssertions"]["assertions"]}
    assert found["expect row_count"] is True
    assert found["expect product accepted"] is False
    assert found["rows"] is True


def test_the_command_shows_it_in_eighty_columns(tmp_path: Path, sandbox: Sandbox):
    night = Night(tmp_path, sandbox)

    said = night.run("lineage", "store_purchases", env={"COLUMNS": "80"})

    assert said.code == 0, said.err
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert ["user_data.em", "email", "hashed"] in [line.split() for line in lines]
    assert ["consent", "filter"] in [line.split() for line in lines]
    assert ["nordic_outlet", "1200000000000003", f"meta-capi://{sandbox.url.removeprefix('http://')}"] in [
        line.split() for line in lines
    ]


def test_without_sqlglot_the_query_itself_is_the_data_set(tmp_path: Path):
    project = Project(tmp_path, {"em": "mail"}, [{"mail": "a@example.com"}])
    source = {"connection": "warehouse", "sql": "SELECT * FROM orders WHERE at >= :since AND at < :until"}
    project.upload["source"] = source
    project.save()
    code = (
        "import sys; sys.modules['sqlglot'] = None\n"
        "from pathlib import Path\n"
        "from offline_capi.audit.lineage import trace_upload\n"
        "from offline_capi.config import EnvironmentSecrets, load_config\n"
        f"found = load_config(Path({str(tmp_path)!r}))\n"
        "print(trace_upload(found.uploads['sales'], found, EnvironmentSecrets()).inputs[0].name)"
    )
    from tests.onboarding.beginner import Beginner

    said = Beginner(tmp_path, {**URLS}).shell(["python", "-c", code])

    assert said.out.strip() == "shop?query=sales", said.err
