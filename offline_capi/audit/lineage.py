"""Column-level lineage of an upload, as OpenLineage describes it: which columns become which fields of which pixel.

It comes from the configuration alone: no row is read, and nothing is connected to. Names of data sets follow
OpenLineage's naming; a connection is asked for its host and database, never for its user or password. Of a query,
names of tables and columns are told, and none of its text.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from offline_capi import __version__
from offline_capi.audit.reading import list_clients
from offline_capi.config import Client, Deployment, SecretResolver, Upload
from offline_capi.config.columns import find_lookup, list_lookup_columns
from offline_capi.mapping.lineage import FieldLineage, MappingLineage, trace_mapping
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import Fate
from offline_capi.pipeline import make_source_access
from offline_capi.report import RunReport, Status
from offline_capi.sources import open_source
from offline_capi.sources.lineage import SourceColumn

__all__ = ["PIXEL_SCHEME", "Dataset", "FieldInput", "PixelLineage", "UploadLineage", "name_dataset", "trace_upload"]

#: The scheme of a pixel's namespace: ``meta-capi://graph.facebook.com``.
PIXEL_SCHEME = "meta-capi"
JOB_NAMESPACE = "offline_capi"
PRODUCER = f"urn:offline-capi:{__version__}"
_SPEC = "https://openlineage.io/spec"

#: Databases by the scheme of their URIs: OpenLineage's port where the connection has none; names are dotted.
_PORTS = {
    "postgres": 5432,
    "mysql": 3306,
    "mssql": 1433,
    "redshift": 5439,
    "oracle": 1521,
    "trino": 8080,
    "clickhouse": 8123,
    "db2": 50000,
}
_WITHOUT_PORT = ("snowflake", "bigquery", "databricks")
_STORES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}


class Dataset(NamedTuple):
    """A data set by OpenLineage's two names."""

    namespace: str
    name: str


class FieldInput(NamedTuple):
    """A column that a field, or the choice of rows, depends on; ``use`` is OpenLineage's subtype."""

    dataset: Dataset
    column: str
    use: str
    masked: bool = False

    @property
    def is_direct(self) -> bool:
        return self.use in ("IDENTITY", "TRANSFORMATION", "AGGREGATION")


@dataclass(frozen=True, slots=True)
class PixelLineage:
    """What one client's pixel gets. Fields without an input are constants."""

    client: str
    dataset: Dataset
    fields: Mapping[str, tuple[FieldInput, ...]]


@dataclass(frozen=True, slots=True)
class UploadLineage:
    """``source`` stands for the rows as they are read: a file, a table, or the query. ``rows`` decides which go."""

    upload: str
    inputs: tuple[Dataset, ...]
    outputs: tuple[PixelLineage, ...]
    rows: tuple[FieldInput, ...]
    source: Dataset

    def make_job_event(self, at: datetime) -> dict[str, Any]:
        """What the configuration says: a JobEvent of OpenLineage."""
        return {
            "eventTime": at.isoformat(),
            "producer": PRODUCER,
            "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/JobEvent",
            "job": {"namespace": JOB_NAMESPACE, "name": self.upload},
            "inputs": [dataset._asdict() for dataset in self.inputs],
            "outputs": [self._render_output(output) for output in self.outputs],
        }

    def make_run_event(self, report: RunReport, upload: Upload) -> dict[str, Any]:
        """The same with what a run counted, and what its gates and row checks found: a RunEvent of OpenLineage."""
        sent = {name: fates.get(Fate.SENT, 0) for name, fates in report.by_client().items()}
        read: dict[str, Any] = {"inputStatistics": _make_facet("InputStatisticsInputDatasetFacet", "1-0-0")}
        read["inputStatistics"]["rowCount"] = report.tally.read
        if report.tally.gates is not None:
            assertions = _make_facet("DataQualityAssertionsDatasetFacet", "1-1-0")
            read["dataQualityAssertions"] = {**assertions, "assertions": list_assertions(report, upload)}
        inputs = [
            {**dataset._asdict(), **({"inputFacets": read} if dataset == self.source else {})}
            for dataset in dict.fromkeys((*self.inputs, self.source))
        ]
        statistics = _make_facet("OutputStatisticsOutputDatasetFacet", "1-0-2")
        outputs = [
            self._render_output(output)
            | {"outputFacets": {"outputStatistics": {**statistics, "rowCount": sent.get(output.client, 0)}}}
            for output in self.outputs
        ]
        window = {
            "nominalStartTime": report.window.since.isoformat(),
            "nominalEndTime": report.window.until.isoformat(),
        }
        return {
            **self.make_job_event(report.ended_at),
            "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "eventType": "FAIL" if report.status is Status.FAILED else "COMPLETE",
            "run": {
                "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PIXEL_SCHEME}:run:{report.run_id}")),
                "facets": {"nominalTime": {**_make_facet("NominalTimeRunFacet", "1-0-1"), **window}},
            },
            "inputs": inputs,
            "outputs": outputs,
        }

    def make_column_lineage(self, output: PixelLineage) -> dict[str, Any]:
        """The ColumnLineageDatasetFacet of a pixel."""
        return {
            **_make_facet("ColumnLineageDatasetFacet", "1-2-0"),
            "fields": {
                name: {"inputFields": [_render_input(one) for one in inputs]}
                for name, inputs in output.fields.items()
                if inputs
            },
            "dataset": [_render_input(one) for one in self.rows],
        }

    def _render_output(self, output: PixelLineage) -> dict[str, Any]:
        schema = {**_make_facet("SchemaDatasetFacet", "1-2-0"), "fields": [{"name": name} for name in output.fields]}
        return {
            **output.dataset._asdict(),
            "facets": {"schema": schema, "columnLineage": self.make_column_lineage(output)},
        }


def trace_upload(upload: Upload, deployment: Deployment, secrets: SecretResolver) -> UploadLineage:
    """The lineage of an upload, for every client whose rows it may hold.

    Raises ``ConfigError`` where a connection is not known, ``SourceError`` where the query's file cannot be read.
    """
    mapped = trace_mapping(upload, by_window=not upload.source.selects_rows_itself)
    source = _trace_source(upload, mapped, deployment, secrets)
    rows = [*source.resolve_all(mapped.filters, "FILTER"), *source.rows]
    outputs = [
        PixelLineage(
            client.name,
            name_dataset(f"{PIXEL_SCHEME}://{urlsplit(deployment.platform.graph_url).netloc}/{client.pixel_id}"),
            {
                name: source.resolve_field(field, masked=_is_masked(name, field, client, upload, deployment))
                for name, field in mapped.fields.items()
            },
        )
        for one in list_clients(upload, deployment)
        for client in deployment.clients[one].list_recipients()
    ]
    return UploadLineage(
        upload.name, source.datasets, tuple(outputs), tuple(dict.fromkeys(rows)), name_dataset(source.whole)
    )


def list_assertions(report: RunReport, upload: Upload) -> list[dict[str, Any]]:
    """Gates and row checks of a run, one a client where it found something of one; figures and no values of rows."""
    found = report.tally.gates or ()
    asked = {name: gate.action for name, gate in upload.gates if name != "days" and gate.action != "off"}
    asked |= {f"expect {one.label}": one.action for one in upload.expect if one.action != "off"}
    failed = {name for finding in found for name in asked if _is_of_gate(finding.gate, name)}
    passed = [
        {"assertion": name, "success": True, "severity": _name_severity(action)}
        for name, action in asked.items()
        if name not in failed
    ]
    return [
        *passed,
        *(
            {
                "assertion": finding.gate,
                "success": False,
                "severity": _name_severity(finding.action),
                "actual": f"{finding.figure:g}",
                **({} if finding.usual is None else {"expected": f"{finding.usual:g}"}),
                **({} if finding.client is None else {"params": {"client": finding.client}}),
            }
            for finding in found
        ),
    ]


def _is_of_gate(finding: str, gate: str) -> bool:
    """A finding of ``value`` has its currency after it."""
    return finding == gate or (finding.partition(" ")[0] == gate and not gate.startswith("expect "))


def _name_severity(action: str) -> str:
    return "error" if action == "stop" else "warn"


def name_dataset(uri: str) -> Dataset:
    """OpenLineage's namespace and name of what a URI of Airflow's assets names."""
    scheme, _, rest = uri.partition("://")
    place, _, path = rest.partition("/")
    if scheme == "file":
        return Dataset("file", unquote(f"/{path}"))
    if scheme == "bigquery":
        return Dataset("bigquery", ".".join((place, *path.split("/"))))
    if scheme in _PORTS or scheme in _WITHOUT_PORT:
        port = f":{_PORTS[scheme]}" if scheme in _PORTS and ":" not in place else ""
        return Dataset(f"{scheme}://{place}{port}", path.replace("/", "."))
    return Dataset(f"{_STORES.get(scheme, scheme)}://{place}", path)


# ---------------------------------------------------------------------------------------------- columns


@dataclass(frozen=True, slots=True)
class _Sources:
    """The source of an upload and its look-up tables: where each column that the mapping names comes from."""

    datasets: tuple[Dataset, ...]
    columns: Mapping[str, tuple[SourceColumn, ...]]
    rows: tuple[FieldInput, ...]
    whole: str

    def resolve_field(self, field: FieldLineage, *, masked: bool) -> tuple[FieldInput, ...]:
        use = "IDENTITY" if field.unchanged and not masked else "TRANSFORMATION"
        found = (
            one._replace(use=use if one.use == "IDENTITY" else one.use, masked=masked)
            for column in field.columns
            for one in self._resolve(column)
        )
        return tuple(dict.fromkeys(found))

    def resolve_all(self, columns: Iterable[str], use: str) -> Iterator[FieldInput]:
        for column in columns:
            yield from (one._replace(use=use) for one in self._resolve(column))

    def _resolve(self, column: str) -> Iterator[FieldInput]:
        for origin in self.columns[column]:
            yield FieldInput(name_dataset(origin.dataset), origin.column, origin.use)


def _trace_source(upload: Upload, mapped: MappingLineage, deployment: Deployment, secrets: SecretResolver) -> _Sources:
    access = make_source_access(upload, deployment, secrets)
    named = {*mapped.filters, *(name for field in mapped.fields.values() for name in field.columns)}
    keys = {name: lookup.by or lookup.key for name, lookup in upload.lookups.items()}
    own = sorted({*(name for name in named if not find_lookup(name, upload)), *keys.values()})
    read = open_source(upload.source, access).trace_columns(own, upload.name)
    datasets, columns, whole = [*read.datasets], dict(read.columns), read.whole
    if upload.transform is not None:  # what a hook makes of the columns is its own affair
        hook = f"python://{upload.transform.replace(':', '/')}"
        datasets, columns = [*datasets, hook], {name: (SourceColumn(hook, name, "IDENTITY"),) for name in own}
    rows = [*read.rows]
    for name, lookup in upload.lookups.items():
        wanted = sorted({*list_lookup_columns(upload, name), lookup.key})
        table = open_source(lookup, access).trace_columns(wanted, f"{upload.name}.{name}")
        datasets += table.datasets
        columns |= {f"{name}.{column}": table.columns[column] for column in wanted}
        joined = (*columns[keys[name]], *table.columns[lookup.key])
        rows += [*table.rows, *(use._replace(use="JOIN") for use in joined)]
    inputs = [FieldInput(name_dataset(use.dataset), use.column, use.use) for use in rows]
    return _Sources(tuple(dict.fromkeys(map(name_dataset, datasets))), columns, tuple(inputs), whole)


def _is_masked(name: str, field: FieldLineage, client: Client, upload: Upload, deployment: Deployment) -> bool:
    """Whether a field goes out hashed: nobody reads a value there."""
    facts = USER_DATA_KEYS.get(name.removeprefix("user_data.")) if name.startswith("user_data.") else None
    if facts is None or facts.hashing == "never":
        return False
    if facts.hashing == "always" or field.declared_hashed:
        return True
    profile = (upload.profile or client.profile or deployment.platform.profile).partition("@")[0]
    return profile == "param_builder" or (profile != "sdk" and client.external_id.send == "sha256")


# ---------------------------------------------------------------------------------------------- OpenLineage's shape


def _make_facet(kind: str, version: str) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{version}/{kind}.json#/$defs/{kind}"}


def _render_input(one: FieldInput) -> dict[str, Any]:
    transformation: dict[str, Any] = {"type": "DIRECT" if one.is_direct else "INDIRECT", "subtype": one.use}
    if one.is_direct:
        transformation["masking"] = one.masked
    return {**one.dataset._asdict(), "field": one.column, "transformations": [transformation]}
