"""Between two nights: settle what earlier runs of an upload owe, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.alerting import tell_alerts
from offline_capi.airflow_provider.opening import Place, opened, refuse_unknown_conf
from offline_capi.airflow_provider.telling import log_report
from offline_capi.errors import PartialLossError

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport

__all__ = ["settle_one"]

_log = structlog.get_logger(__name__)


def settle_one(folder: str, upload: str) -> dict[str, int]:
    """Settle one upload, print the report of each run that this took; fail while any of it is still not delivered."""
    context: Any = get_current_context()
    context["upload"] = upload  # for map_index_template
    refuse_unknown_conf(context)
    with opened(Place(folder, upload)) as (one, services):
        reports = _settle(one, services)
        for report in reports:
            tell_alerts(report, services)
    for report in reports:
        log_report(report)
    if not reports:
        _log.info("nothing is open")
    left = [report for report in reports if report.problems]
    if left:
        named = "; ".join(f"run {report.run_id}: {', '.join(report.problems)}" for report in left)
        raise PartialLossError(f"{upload}: {named}. Repeating is safe and sends only what is missing.")
    return {"runs": len(reports)}


def _settle(upload: Upload, services: Services) -> Sequence[RunReport]:
    """The one call into the pipeline."""
    from offline_capi.pipeline import settle_upload  # type: ignore[attr-defined]  # the lead's

    reports: Sequence[RunReport] = settle_upload(upload, services)
    return reports
