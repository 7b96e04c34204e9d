"""Where an upload's rows come from and which pixel they went to, for readers of Airflow's hook lineage.

OpenLineage's provider does, and so do plugins of catalogues. Without a reader nothing is looked up. A table is named as
Airflow names assets (``postgres://host:5432/database/schema/table``), files by their folder, a pixel by ours:
``meta-capi://graph.facebook.com/PIXEL``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

SCHEME = "meta-capi"

_log = structlog.get_logger(__name__)


def report_lineage(upload: Upload, services: Services, sent: Mapping[str, int]) -> None:
    """Tell what was read and where it went: ``sent`` is how many events each client's pixel got.

    It comes after the sending, and whatever cannot be named is left out rather than failing the task.
    """
    collector, reader = get_hook_lineage_collector(), BaseHook()
    if isinstance(collector, NoOpCollector):
        return
    from offline_capi.pipeline import make_source_access
    from offline_capi.sources import open_source

    try:
        access = make_source_access(upload, services.deployment, services.secrets)
        for uri in open_source(upload.source, access).list_datasets():
            collector.add_input_asset(reader, uri=uri)
        for uri, events in _list_pixel_uris(services, sent):
            collector.add_output_asset(reader, uri=uri, asset_extra={"events": events})
    # OSError: no file of the query here; ValueError: another provider refuses the form of its URI
    except (ConfigError, SourceError, OSError, ValueError) as error:
        _log.warning("lineage is incomplete", cause=type(error).__name__)


def convert_pixel_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001  as Airflow calls it
    """The pixel as OpenLineage names data, with how many events it got; Airflow finds this by the asset's scheme."""
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    uri, events = urlsplit(asset.uri), asset.extra.get("events")
    statistics: dict[str, Any] = {}
    if events is not None:
        statistics["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=events)
    return OutputDataset(f"{uri.scheme}://{uri.netloc}", uri.path.lstrip("/"), outputFacets=statistics)


def _list_pixel_uris(services: Services, sent: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    host = urlsplit(services.deployment.platform.graph_url).netloc
    for client, events in sent.items():
        yield f"{SCHEME}://{host}/{services.deployment.recipients[client].pixel_id}", events
