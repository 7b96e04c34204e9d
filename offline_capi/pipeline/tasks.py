"""A run in three tasks, for a scheduler that spreads clients over workers.

Hashed Parquet files and the ledger are all that the tasks share: ``stage_upload`` does everything up to the ledger,
``send_staged`` sends the events of one client, ``reconcile`` closes the books from what the ledger knows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable

from offline_capi.clients import StatusBook, find_stop
from offline_capi.config.upload import Upload
from offline_capi.errors import PartialLossError
from offline_capi.guards.quotas import Quotas
from offline_capi.ledger import count_traffic
from offline_capi.model import Fate, Reason, Tally, Window
from offline_capi.pipeline.closing import close_run
from offline_capi.pipeline.context import RunContext
from offline_capi.pipeline.joining import JoinedPieces
from offline_capi.pipeline.open_days import find_covered_window, read_earlier_runs
from offline_capi.pipeline.pieces import MapPieces
from offline_capi.pipeline.recipe import EVENT_ROWS
from offline_capi.pipeline.services import Services
from offline_capi.pipeline.stages import (
    count_events,
    judge_run,
    learn_shapes,
    prepare_events,
    prepare_run,
    send_events,
    skip_decided,
    split_expired,
)
from offline_capi.report import Books, RunReport
from offline_capi.runtime.telemetry import trace_span
from offline_capi.storage.staging import StagedEvents

__all__ = ["begin_run", "reconcile", "send_staged", "stage_upload"]


def begin_run(
    upload: Upload, window: Window, services: Services, *, trigger: str = "manual", narrowed: bool = False
) -> str:
    """The id of a new run; ``reconcile`` closes it."""
    covered = find_covered_window(upload, window, trigger, narrowed=narrowed)
    since = covered.since if covered else None
    return services.ledger.runs.begin(upload.name, window, trigger=trigger, now=services.clock(), covered_since=since)


def stage_upload(
    upload: Upload,
    window: Window,
    services: Services,
    run_id: str,
    *,
    clients: Collection[str] = (),
    force_gates: bool = False,
    map_pieces: MapPieces | None = None,
) -> list[StagedEvents]:
    """First task: everything up to the ledger, written as hashed Parquet, one file per client or per piece.

    If a gate stops the run there is nothing to send; ``reconcile`` then books what was staged as deferred.
    """
    trigger = services.ledger.runs.get(run_id).trigger
    run = RunContext(
        upload, window, services, trigger,
        clients=clients, force_gates=force_gates, run_id=run_id, map_pieces=map_pieces,
    )  # fmt: skip
    with (
        trace_span("offline_capi.run", upload=upload.name, trigger=trigger, run_id=run_id, task="prepare"),
        prepare_run(run, keep_pieces=True),
    ):
        units = _stage_clients(run) if run.pieces is None else _commit_pieces(run, run.pieces)
    run.tally.vanished = run.past.owed.unmet
    run.tally.gates = judge_run(run, run.books)
    learn_shapes(run)
    services.ledger.runs.save_part(run_id, "prepare", run.tally)
    return [unit for unit in units if not run.tally.is_deferred(unit.client)]


def _stage_clients(run: RunContext) -> list[StagedEvents]:
    stage = run.services.stage
    stage.remove(stage.manifest_path(run.run_id))  # of an earlier attempt with another engine
    with stage.write_events(run.run_id) as staged:
        for events in prepare_events(run):
            staged.write(events)
    return staged.units


def _commit_pieces(run: RunContext, joined: JoinedPieces) -> list[StagedEvents]:
    """Count what the pieces hold, and write last which files count and what they repeat."""
    stage = run.services.stage
    deque(count_events(run), maxlen=0)
    manifest = joined.manifest
    stage.commit_pieces(run.run_id, manifest)
    path = stage.manifest_path(run.run_id)
    return [StagedEvents(run.run_id, name, (path,), events) for name, events in manifest.count_events().items()]


def send_staged(unit: StagedEvents, upload: Upload, services: Services, *, quotas: Quotas | None = None) -> Tally:
    """Second task, per client: send one staged file. Repeating it sends only what is missing."""
    record = services.ledger.runs.get(unit.run_id)
    run = RunContext(upload, record.window, services, record.trigger, shared_quotas=quotas, run_id=unit.run_id)
    run.books = Books()
    with trace_span(
        "offline_capi.run",
        upload=upload.name,
        trigger=record.trigger,
        run_id=unit.run_id,
        task="upload",
        client=unit.client,
    ):
        send_events(skip_decided(services.stage.read_events(unit, EVENT_ROWS), run), run)
    services.ledger.runs.save_part(unit.run_id, f"send {unit.client}", run.tally)
    return run.tally


def reconcile(run_id: str, upload: Upload, services: Services) -> RunReport:
    """Third task: close the run's books from what the ledger knows of every staged event, whatever the tasks said.

    Raises ``PartialLossError`` if the first task never ended.
    """
    record, parts = services.ledger.runs.get(run_id), services.ledger.runs.load_parts(run_id)
    if "prepare" not in parts:
        raise PartialLossError(
            f"{upload.name}: run {run_id} was never prepared, so nothing was read or sent. Run again."
        )
    run = RunContext(upload, record.window, services, record.trigger, run_id=run_id)
    past = read_earlier_runs(  # what is owed was ticked off when it was read
        upload, record.window, None, services.ledger, services.stage, services.clock(),
        trigger=record.trigger, run_id=run_id, late_since=record.started_at if record.table_read else None,
    )  # fmt: skip
    with services.stage.write_rejects(run_id) as rejects:
        run.books = Books(keep_undelivered=rejects.write_undelivered, known_since=past.known.find)
        run.books.tally += parts.pop("prepare")
        reasons = find_deferral_reasons(parts.values())
        for events in skip_decided(services.stage.read_all_events(run_id), run, resend=False):
            fresh, expired = split_expired(run, events)
            run.books.enter_events(expired, Fate.EXPIRED, Reason.TOO_OLD)
            for (client,), own in fresh.partition_by("client") if len(fresh) else ():
                stopped = run.tally.is_deferred(client)
                reason = Reason.GATE_CLOSED if stopped else reasons.get(client) or _find_unsent_reason(client, services)
                run.books.enter_events(own.events, Fate.DEFERRED, reason)
    run.books.enter_sending(Tally.total(parts.values()), count_traffic(run_id, services.ledger))
    return close_run(run)


def _find_unsent_reason(client: str, services: Services) -> Reason:
    """Why a client's events never left where its sending task left no count: it was killed, or refused before."""
    status = StatusBook(services.deployment.platform.stage).read(client)
    return Reason.CLIENT_STOPPED if find_stop(status, status.fingerprint) else Reason.NOT_SENT


def find_deferral_reasons(sent: Iterable[Tally]) -> dict[str, str]:
    """By client, the main reason for which its sending task deferred events; the ledger only knows they never left."""
    rows: dict[str, Counter[str]] = {}
    for tally in sent:
        for count, number in tally.fates.items():
            if count.fate is Fate.DEFERRED and count.client and count.reason:
                rows.setdefault(count.client, Counter())[count.reason] += number
    return {client: reasons.most_common(1)[0][0] for client, reasons in rows.items()}
