"""Where an upload's rows come from and which pixel they went to, for readers of Airflow's hook lineage.

OpenLineage's provider does, and so do plugins of catalogues. Without a reader nothing is looked up. A table is named as
Airflow names assets (``postgres://host:5432/database/schema/table``), files by their folder, a pixel by ours:
``meta-capi://graph.facebook.com/PIXEL``, with how many events it got and the columns that its fields come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from airflow.sdk import BaseHook
from airflow.sdk.lineage import NoOpCollector, get_hook_lineage_collector

from offline_capi.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.pipeline import Services

__all__ = ["convert_pixel_to_openlineage", "report_lineage"]

_log = structlog.get_logger(__name__)


def report_lineage(upload: Upload, services: Services, sent: Mapping[str, int]) -> None:
    """Tell what was read and where it went: ``sent`` is how many events each client's pixel got.

    It comes after the sending, and whatever cannot be named is left out rather than failing the task.
    """
    collector, reader = get_hook_lineage_collector(), BaseHook()
    if isinstance(collector, NoOpCollector):
        return
    from offline_capi.audit.lineage import PIXEL_SCHEME, trace_upload
    from offline_capi.pipeline import make_source_access
    from offline_capi.sources import open_source

    try:
        access = make_source_access(upload, services.deployment, services.secrets)
        for uri in open_source(upload.source, access).list_datasets():
            collector.add_input_asset(reader, uri=uri)
        traced = trace_upload(upload, services.deployment, services.secrets)
        columns = {output.client: traced.make_column_lineage(output) for output in traced.outputs}
        host = urlsplit(services.deployment.platform.graph_url).netloc
        for client, events in sent.items():
            uri = f"{PIXEL_SCHEME}://{host}/{services.deployment.recipients[client].pixel_id}"
            known = {"columnLineage": columns[client]} if client in columns else {}
            collector.add_output_asset(reader, uri=uri, asset_extra={"events": events, **known})
    # OSError: no file of the query here; ValueError: another provider refuses the form of its URI
    except (ConfigError, SourceError, OSError, ValueError) as error:
        _log.warning("lineage is incomplete", cause=type(error).__name__)


def convert_pixel_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001  as Airflow calls it
    """The pixel as OpenLineage names data, with its events and columns; Airflow finds this by the asset's scheme."""
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    uri, events, columns = urlsplit(asset.uri), asset.extra.get("events"), asset.extra.get("columnLineage")
    statistics: dict[str, Any] = {}
    if events is not None:
        statistics["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=events)
    facets = {"columnLineage": _build_column_lineage(columns)} if columns else {}
    return OutputDataset(f"{uri.scheme}://{uri.netloc}", uri.path.lstrip("/"), facets=facets, outputFacets=statistics)


def _build_column_lineage(columns: Mapping[str, Any]) -> Any:
    """The facet of ``audit.lineage`` by the classes of OpenLineage's client, as its provider wants it."""
    from openlineage.client.generated.column_lineage_dataset import (
        ColumnLineageDatasetFacet,
        Fields,
        InputField,
        Transformation,
    )

    def build_inputs(inputs: Sequence[Mapping[str, Any]]) -> list[InputField]:
        return [
            InputField(
                one["namespace"],
                one["name"],
                one["field"],
                [Transformation(**transformation) for transformation in one["transformations"]],
            )
            for one in inputs
        ]

    fields = {name: Fields(build_inputs(field["inputFields"])) for name, field in columns["fields"].items()}
    return ColumnLineageDatasetFacet(fields, build_inputs(columns["dataset"]))
