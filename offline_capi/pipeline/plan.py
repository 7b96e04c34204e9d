"""What a run would do now: to the row, and without sending or recording anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

from offline_capi.clients import make_refusal_check
from offline_capi.config.upload import Upload
from offline_capi.delivery.breaker import Breaker, Stop
from offline_capi.delivery.senders import open_senders
from offline_capi.model import EventBatch, Fate, Window
from offline_capi.pipeline.closing import warn_of_versions
from offline_capi.pipeline.context import OnProgress, RunContext, Services, ignore_progress
from offline_capi.pipeline.open_days import find_max_age
from offline_capi.pipeline.stages import (
    count_preparation,
    defer_stopped,
    judge_before_sending,
    judge_run,
    open_books,
    prepare_batches,
    skip_settled,
)
from offline_capi.report import RunReport, days_to_judge, make_report

__all__ = ["plan_upload", "preview_upload"]


def plan_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    clients: Collection[str] = (),
    on_progress: OnProgress = ignore_progress,
    check_access: bool = True,
) -> RunReport:
    """What ``run_upload`` would do now, to the row; nothing is sent and nothing is recorded.

    Events of a client whose token is missing, or that is stopped, are deferred as they would be. Without
    ``check_access`` no token is looked up: for a mapping that is tried before there is one.
    """
    started = services.clock()
    run = RunContext(upload, window, services, trigger="plan", clients=clients, on_progress=on_progress)
    with open_books(run):
        judge_before_sending(run)
        events = count_preparation(prepare_batches(run), run.books)
        events = run.drift.before_any(events)
        events = skip_settled(events, run)
        with _watch_access(run) if check_access else nullcontext(lambda _: None) as find_stop:
            for batch in defer_stopped(events, run):
                _enter_planned(batch, run, find_stop)
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
    )


@contextmanager
def _watch_access(run: RunContext) -> Iterator[Callable[[str], Stop | None]]:
    """A function that says why nothing could be sent for a client, as delivery would find out."""
    services = run.services
    refusal = make_refusal_check(services.deployment.platform.stage)
    with open_senders(services.deployment, services.secrets, run.upload.delivery, refusal=refusal) as senders:
        yield Breaker(senders).find_stop


def _enter_planned(batch: EventBatch, run: RunContext, find_stop: Callable[[str], Stop | None]) -> None:
    """The events of each client as sent, or as deferred where nothing could be sent for it."""
    for (client,), own in batch.apart("client") if len(batch) else ():
        stop = find_stop(client)
        run.books.enter_events(own.events, Fate.DEFERRED if stop else Fate.SENT, stop.reason if stop else None)
        if stop and stop.explanation not in run.tally.notices:
            run.tally.notices.append(stop.explanation)


def preview_upload(
    upload: Upload, window: Window, services: Services, *, limit: int, clients: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The first ``limit`` events exactly as they would go out, hashed; nothing is sent."""
    run = RunContext(upload, window, services, trigger="plan", clients=clients)
    with open_books(run):
        bodies = (body for batch in prepare_batches(run) for body in batch.events.table.column("body").to_pylist())
        return [json.loads(body) for body in islice(bodies, limit)]
