"""One run, from source to report: ``run`` is read first.

Its names are imported when they are asked for: who prepares a piece loads neither the ledger nor what sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.pipeline.closing import find_report, record_failed_start, record_failure, record_plan
    from offline_capi.pipeline.context import RunContext
    from offline_capi.pipeline.plan import plan_upload, preview_upload
    from offline_capi.pipeline.recipe import (
        BATCH_ROWS,
        BATCH_ROWS_OF_RUN,
        EVENT_ROWS,
        EVENT_ROWS_OF_RUN,
        Recipe,
        select_by_row,
    )
    from offline_capi.pipeline.replay import replay_run
    from offline_capi.pipeline.run import run_upload
    from offline_capi.pipeline.services import Services, open_services
    from offline_capi.pipeline.stages import make_source_access, read_lookups, read_rows
    from offline_capi.pipeline.tasks import begin_run, reconcile, send_staged, stage_upload

__all__ = [
    "BATCH_ROWS",
    "BATCH_ROWS_OF_RUN",
    "EVENT_ROWS",
    "EVENT_ROWS_OF_RUN",
    "Recipe",
    "RunContext",
    "Services",
    "begin_run",
    "find_report",
    "make_source_access",
    "open_services",
    "plan_upload",
    "preview_upload",
    "read_lookups",
    "read_rows",
    "reconcile",
    "record_failed_start",
    "record_failure",
    "record_plan",
    "replay_run",
    "run_upload",
    "select_by_row",
    "send_staged",
    "stage_upload",
]

_NAMES = {
    "closing": ("find_report", "record_failed_start", "record_failure", "record_plan"),
    "context": ("RunContext",),
    "plan": ("plan_upload", "preview_upload"),
    "recipe": ("BATCH_ROWS", "BATCH_ROWS_OF_RUN", "EVENT_ROWS", "EVENT_ROWS_OF_RUN", "Recipe", "select_by_row"),
    "replay": ("replay_run",),
    "run": ("run_upload",),
    "services": ("Services", "open_services"),
    "stages": ("make_source_access", "read_lookups", "read_rows"),
    "tasks": ("begin_run", "reconcile", "send_staged", "stage_upload"),
}

__getattr__ = import_on_demand(__name__, {name: module for module, names in _NAMES.items() for name in names})
