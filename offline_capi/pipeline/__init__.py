"""One run, from source to report: ``run`` is read first."""

from offline_capi.pipeline.run import (
    Services,
    begin_run,
    open_services,
    plan_upload,
    preview,
    reconcile,
    replay_run,
    report_of,
    run_upload,
    send_staged,
    stage_upload,
)

__all__ = [
    "Services",
    "begin_run",
    "open_services",
    "plan_upload",
    "preview",
    "reconcile",
    "replay_run",
    "report_of",
    "run_upload",
    "send_staged",
    "stage_upload",
]
