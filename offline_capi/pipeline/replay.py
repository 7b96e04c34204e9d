"""Send what a run could not send, once its rows or the mapping are fixed."""

from __future__ import annotations

from offline_capi.errors import UsageError
from offline_capi.model import Window
from offline_capi.pipeline.context import OnProgress, ignore_progress
from offline_capi.pipeline.open_days import find_max_age
from offline_capi.pipeline.run import run_upload
from offline_capi.pipeline.services import Services
from offline_capi.report import RunReport

__all__ = ["replay_run"]


def replay_run(
    run_id: str, services: Services, *, undelivered: bool = False, on_progress: OnProgress = ignore_progress
) -> RunReport:
    """Read the window of a run again, and send those of its rejects that became valid since; all else is left alone.

    Running the upload again would also send what has come into the window since, and everything under new business
    keys where a fix changed them: a replay takes only rows whose business key is among the rejects of the run, or,
    where the source is a file, whose place is. The rows of a query have no place: a changed ``event.id`` finds none
    of them again. With ``undelivered`` it also takes events that were deferred, unconfirmed or rejected by Meta,
    even if nothing in them has changed. A second replay sends nothing. Raises ``UsageError`` if nothing is left.
    """
    past = services.ledger.runs.get(run_id)
    upload = services.deployment.uploads.get(past.upload)
    if upload is None:
        raise UsageError(
            f"run {run_id} was of the upload {past.upload}, which is configured no more: put it back first"
        )
    by_place = upload.source.keeps_row_numbers
    wanted = services.stage.find_wanted_rows(run_id, undelivered=undelivered, by_place=by_place)
    if not len(wanted.event_ids) and not wanted.places:
        raise UsageError(f"run {run_id} left nothing to replay; events that did not arrive need --undelivered")
    if undelivered:
        services.ledger.journal.forget(services.stage.find_rejected_keys(run_id), rejected=True)
    window = past.window
    if upload.source.incremental is not None and past.table_read is not None:  # late rows of days before its window
        oldest = services.clock() - find_max_age(upload, services.deployment)
        window = Window(min(oldest.astimezone(window.since.tzinfo), window.since), window.until)
    return run_upload(upload, window, services, trigger="replay", only=wanted, on_progress=on_progress)
