"""Settle what earlier runs of an upload owe, between two scheduled runs."""

from __future__ import annotations

from typing import Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.observability.alerting import send_alerts
from offline_capi.airflow_provider.observability.task_logging import log_report
from offline_capi.airflow_provider.operators.failures import raise_for_unsettled
from offline_capi.airflow_provider.operators.task_context import TaskLocation, open_upload, refuse_unknown_conf

__all__ = ["settle_one"]

_log = structlog.get_logger(__name__)


def settle_one(folder: str, upload: str) -> dict[str, int]:
    """Settle one upload, print the report of each run that this took; fail while any of it is still not delivered."""
    context: Any = get_current_context()
    context["upload"] = upload  # for map_index_template
    refuse_unknown_conf(context)
    from offline_capi.pipeline.settle import settle_upload

    with open_upload(TaskLocation(folder, upload)) as (one, services):
        settled = settle_upload(one, services, announce=_log.info)
        for report in settled.reports:
            send_alerts(report, services)
    for report in settled.reports:
        log_report(report)
    if not settled.touched:
        _log.info("nothing is open that another run could settle now")
    raise_for_unsettled(upload, settled)
    return {"runs": len(settled.reports)}
