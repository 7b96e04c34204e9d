"""What a run would do now: to the row, and without sending or recording anything."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import islice
from typing import Any

from offline_capi.config.upload import Engine, Upload
from offline_capi.model import Fate, Window
from offline_capi.pipeline.closing import warn_of_versions
from offline_capi.pipeline.context import OnProgress, RunContext, ignore_progress
from offline_capi.pipeline.open_days import find_max_age
from offline_capi.pipeline.pieces import MapPieces
from offline_capi.pipeline.services import Services
from offline_capi.pipeline.stages import (
    count_preparation,
    defer_refused,
    defer_stopped,
    judge_before_sending,
    judge_run,
    prepare_batches,
    prepare_run,
    skip_decided,
)
from offline_capi.report import RunReport, days_to_judge, make_report

__all__ = ["plan_upload", "preview_upload"]


def plan_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    clients: Collection[str] = (),
    check_access: bool = True,
    map_pieces: MapPieces | None = None,
    on_progress: OnProgress = ignore_progress,
) -> RunReport:
    """What ``run_upload`` would do now, to the row; nothing is sent and nothing is recorded.

    Without ``check_access`` no token is looked up: for a mapping that is tried before there is one.
    """
    started = services.clock()
    run = RunContext(
        upload, window, services, trigger="plan", clients=clients, map_pieces=map_pieces, on_progress=on_progress
    )
    with prepare_run(run):
        judge_before_sending(run)
        events = count_preparation(prepare_batches(run), run.books)
        events = run.drift.hold_until_sampled(events)
        events = skip_decided(events, run)
        events = defer_stopped(events, run)
        for batch in defer_refused(events, run) if check_access else events:
            run.books.enter_events(batch, Fate.SENT)
        run.tally.gates = judge_run(run, run.books)
    run.tally.notices += warn_of_versions(services)
    return make_report(
        run_id="plan",
        upload=upload.name,
        window=window,
        trigger=run.trigger,
        started_at=started,
        ended_at=services.clock(),
        tally=run.tally,
        limits=upload.limits,
        days=days_to_judge(upload, window, oldest=started - find_max_age(upload, services.deployment)),
        planned=True,
        environment=services.deployment.environment,
        ledger=services.ledger.place,
        new_ledger=not services.ledger.runs.list_newest(1),
        table_read=run.changes.read if run.changes else None,
    )


def preview_upload(
    upload: Upload, window: Window, services: Services, *, limit: int, clients: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The first ``limit`` events exactly as they would go out, hashed; nothing is sent."""
    here = upload.model_copy(update={"engine": Engine()})  # the first rows alone are read
    run = RunContext(here, window, services, trigger="plan", clients=clients)
    with prepare_run(run):
        bodies = (body for batch in prepare_batches(run) for body in batch.events.table.column("body").to_pylist())
        return [json.loads(body) for body in islice(bodies, limit)]
