"""One run in one process, in the order in which it happens: read this first.

``stages`` has each step, ``recipe`` how a batch of rows becomes events, ``tasks`` the same run cut in three for a
scheduler, ``plan`` what a run would do, ``replay`` a run of the rows that an earlier one did not send, ``settle`` the
days that earlier runs left open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

from offline_capi.config.upload import Upload
from offline_capi.delivery import check_test_event_code
from offline_capi.guards.quotas import Quotas
from offline_capi.model import WantedRows, Window
from offline_capi.pipeline.closing import close_run, describe_failure
from offline_capi.pipeline.context import OnProgress, RunContext, ignore_progress
from offline_capi.pipeline.pieces import MapPieces
from offline_capi.pipeline.services import Services
from offline_capi.pipeline.stages import (
    defer_stopped,
    judge_before_sending,
    judge_run,
    learn_shapes,
    prepare_events,
    prepare_run,
    send_events,
    skip_decided,
)
from offline_capi.report import RunReport
from offline_capi.runtime.process import freeze_objects
from offline_capi.runtime.telemetry import trace_span

__all__ = ["run_upload"]


def run_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    trigger: str = "manual",
    clients: Collection[str] = (),
    only: WantedRows | None = None,
    test_event_code: str | None = None,
    force_gates: bool = False,
    quotas: Quotas | None = None,
    map_pieces: MapPieces | None = None,
    on_progress: OnProgress = ignore_progress,
) -> RunReport:
    """Send what the source holds for ``window`` and the ledger has not seen sent.

    Running it again sends nothing twice. Killed anywhere, it can be run again: what was under way is unconfirmed in the
    ledger and is settled first. Raises ``SourceError`` or ``LedgerError`` when it cannot go on; what was sent until
    then stays recorded. A loss of rows is not an exception here: look at ``RunReport.status``.

    With a ``test_event_code``, which only a manual run may have, everything goes out and nothing is remembered: the
    next run sends all of it. ``force_gates`` lets a run pass that a gate would stop. ``quotas`` are what is left of
    each client's limit, if this run shares them with others. ``map_pieces`` prepares the window in pieces, by an engine
    of one's own: see ``pieces``.
    """
    check_test_event_code(test_event_code, trigger)
    run = RunContext(
        upload,
        window,
        services,
        trigger="test" if test_event_code else trigger,
        clients=clients,
        only=only,
        test_event_code=test_event_code,
        force_gates=force_gates,
        shared_quotas=quotas,
        map_pieces=map_pieces,
        on_progress=on_progress,
    )
    with (
        freeze_objects(),
        _record_run(run),
        trace_span("offline_capi.run", upload=upload.name, trigger=run.trigger, run_id=run.run_id),
    ):
        with prepare_run(run):
            judge_before_sending(run)
            events = prepare_events(run)  # read, map, hash, build, check: batch by batch
            events = run.drift.hold_until_sampled(events)  # the first rows are compared with earlier runs
            events = skip_decided(events, run)  # the ledger knows what was sent
            events = defer_stopped(events, run)  # quality gates and drift
            send_events(events, run)  # claim in the ledger, POST, record the answer
            run.tally.vanished = run.past.owed.unmet  # owed by earlier runs, and no longer in the source
            run.tally.gates = judge_run(run, run.books)
            if not test_event_code:
                learn_shapes(run)
        return close_run(run)


@contextmanager
def _record_run(run: RunContext) -> Iterator[None]:
    """The run in the ledger from its first line on; one that ends in an error is marked as failed, with the message."""
    covered, services = run.covered, run.services
    with services.ledger.runs.track(
        run.upload.name,
        run.window,
        trigger=run.trigger,
        now=services.clock,
        covered_since=covered.since if covered else None,
        report_failure=partial(describe_failure, services=services),
    ) as record:
        run.run_id = record.id
        yield
