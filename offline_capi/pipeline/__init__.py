"""One run, from source to report: ``run`` is read first."""

from offline_capi.pipeline.closing import find_report, record_failed_start, record_failure, record_plan
from offline_capi.pipeline.context import RunContext, Services, open_services
from offline_capi.pipeline.plan import plan_upload, preview_upload
from offline_capi.pipeline.recipe import BATCH_ROWS, EVENT_ROWS, Recipe, select_by_row
from offline_capi.pipeline.replay import replay_run
from offline_capi.pipeline.run import run_upload
from offline_capi.pipeline.stages import make_source_access, read_lookups, read_rows
from offline_capi.pipeline.tasks import begin_run, reconcile, send_staged, stage_upload

__all__ = [
    "BATCH_ROWS",
    "EVENT_ROWS",
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
