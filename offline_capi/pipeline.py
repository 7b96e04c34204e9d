"""The whole story of a night, top to bottom: read this first.

``run_upload`` does it in one process, streaming. ``stage_upload``, ``send_staged`` and ``reconcile`` are the same story
in three tasks, for a scheduler that spreads clients over workers; hashed Parquet files and the ledger lie between them.
``plan_upload`` tells what would happen, ``preview`` shows the first events as they would go out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from offline_capi.config import Deployment, SecretResolver, database_url
from offline_capi.config.settings import FileSource, Upload
from offline_capi.delivery import Policy, cut_requests, deliver, open_senders
from offline_capi.errors import PartialLossError, UsageError
from offline_capi.events import SeenKeys, build_events
from offline_capi.identity import hash_identity
from offline_capi.ledger import Ledger, RunRecord
from offline_capi.mapping import columns_needed, map_rows, rows_of
from offline_capi.model import BuiltEvents, EventBatch, Fate, Reason, SourceRows, Tally, Window
from offline_capi.report import Books, RunReport, make_report
from offline_capi.sources import read_ahead, read_batches
from offline_capi.staging import Stage, StagedEvents

__all__ = [
    "Services",
    "begin_run",
    "open_services",
    "plan_upload",
    "preview",
    "reconcile",
    "report_of",
    "run_upload",
    "send_staged",
    "stage_upload",
]

#: Rows read, mapped and hashed at once: so many that a batch's own cost vanishes.
BATCH_ROWS = 32_768
#: Events built, staged and looked up at once: so few that their bodies stay small in memory.
EVENT_ROWS = 8_192

OnProgress = Callable[[Tally], None]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _unheard(_: Tally) -> None:
    """Progress that nobody listens to."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the stages need from outside; one a process."""

    deployment: Deployment
    secrets: SecretResolver
    ledger: Ledger
    clock: Callable[[], datetime] = _utc_now
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", Stage(self.deployment.platform.stage))


@contextmanager
def open_services(
    deployment: Deployment, secrets: SecretResolver, *, clock: Callable[[], datetime] = _utc_now
) -> Iterator[Services]:
    """Open the ledger that the configuration names, and close it at the end."""
    url = database_url(deployment.platform.ledger, secrets)
    with Ledger(url.reveal(), clock=lambda: clock().timestamp()) as ledger:
        yield Services(deployment, secrets, ledger, clock)


# ---------------------------------------------------------------------------------------------- one process, streaming


def run_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    trigger: str = "manual",
    clients: Collection[str] = (),
    on_progress: OnProgress = _unheard,
) -> RunReport:
    """Send what the source holds for ``window`` and the ledger has not seen sent.

    Running it again sends nothing twice. Killed anywhere, it can be run again: what was under way is in doubt in the
    ledger and is settled first. Raises ``SourceError`` or ``LedgerError`` when it cannot go on; what was sent until
    then stays recorded. A loss of rows is not an exception here: look at ``RunReport.status``.
    """
    running = services.ledger.running(upload.name, window, trigger=trigger, now=services.clock)
    with running as run, services.stage.rejects(run.id) as rejects:
        books = Books(on_progress, rejects.write)
        events = booked(prepare(upload, window, services, clients=clients), books)
        fresh = unsent(events, services, run.id, books)
        send(fresh, upload, services, run.id, books)
        return close_run(run, upload, services, books.tally)


def plan_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    clients: Collection[str] = (),
    on_progress: OnProgress = _unheard,
) -> RunReport:
    """What ``run_upload`` would do now, to the row; nothing is sent and nothing is recorded."""
    started, books = services.clock(), Books(on_progress)
    events = booked(prepare(upload, window, services, clients=clients), books)
    for batch in unsent(events, services, None, books):
        books.enter_events(batch, Fate.SENT)
    return make_report(
        run_id="plan",
        upload=upload.name,
        window=window,
        trigger="plan",
        started_at=started,
        ended_at=services.clock(),
        tally=books.tally,
        limits=upload.limits,
        planned=True,
    )


def preview(upload: Upload, window: Window, services: Services, *, limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` events exactly as they would go out, hashed; nothing is sent."""
    batches = prepare(upload, window, services)
    bodies = (body for batch in batches for body in batch.events.table.column("body").to_pylist())
    return [json.loads(body) for body in islice(bodies, limit)]


# ---------------------------------------------------------------------------------------------- three tasks


def stage_upload(
    upload: Upload, window: Window, services: Services, run_id: str, *, clients: Collection[str] = ()
) -> list[StagedEvents]:
    """First task: everything up to the ledger, written as hashed Parquet, one file a client."""
    with services.stage.rejects(run_id) as rejects, services.stage.events(run_id) as staged:
        books = Books(keep_rejects=rejects.write)
        for events in booked(prepare(upload, window, services, clients=clients), books):
            staged.write(events)
    services.ledger.save_part(run_id, "prepare", books.tally)
    return staged.units


def send_staged(unit: StagedEvents, upload: Upload, services: Services) -> Tally:
    """Second task, one client each: send one staged file; repeating it sends only what is missing."""
    books = Books()
    fresh = unsent(services.stage.read_events(unit, EVENT_ROWS), services, unit.run_id, books)
    send(fresh, upload, services, unit.run_id, books)
    services.ledger.save_part(unit.run_id, f"send {unit.client}", books.tally)
    return books.tally


def reconcile(run_id: str, upload: Upload, services: Services) -> RunReport:
    """Third task: close the run's books from what the ledger knows of every staged event, whatever the tasks said."""
    parts = services.ledger.parts(run_id)
    if "prepare" not in parts:
        raise PartialLossError(
            f"{upload.name}: run {run_id} was never prepared, so nothing was read or sent. Run again."
        )
    books = Books()
    books.tally += parts.pop("prepare")
    for events in services.stage.read_all_events(run_id, EVENT_ROWS):
        known = services.ledger.known(events, run_id=run_id, now=services.clock(), resend=False)
        book_settled(known.settled, books)
        books.enter_events(known.fresh, Fate.HELD, Reason.NOT_SENT)
    books.enter_sending(Tally.total(parts.values()), *services.ledger.requests_of(run_id))
    return close_run(services.ledger.run(run_id), upload, services, books.tally)


# ---------------------------------------------------------------------------------------------- the stages, chained


def prepare(
    upload: Upload, window: Window, services: Services, *, clients: Collection[str] = ()
) -> Iterator[BuiltEvents]:
    """Rows of the window, mapped, hashed, built and checked, batch by batch; no two events of it are the same.

    ``clients`` narrows the run to the rows of some clients; the others are left out as if they had not been read.
    """
    settings, seen = services.deployment, SeenKeys()
    for rows in read(upload, window, services):
        mapped = rows_of(map_rows(rows, upload, rows_window(upload, window)), clients)
        hashed = hash_identity(mapped, clients=settings.clients, profile=settings.platform.profile)
        for part in hashed.parts(EVENT_ROWS):
            built = build_events(
                part,
                clients=settings.clients,
                zone=upload.window.timezone,
                now=services.clock(),
                max_age=upload.max_age,
                max_bytes=upload.delivery.max_bytes,
            )
            yield seen.first_only(built)


def booked(batches: Iterable[BuiltEvents], books: Books) -> Iterator[EventBatch]:
    """The events of each batch; what ended before delivery is booked. The next batch is prepared meanwhile."""
    for built in read_ahead(iter(batches)):
        books.enter_built(built)
        yield built.events


def read(upload: Upload, window: Window, services: Services, *, ahead: bool = True) -> Iterator[SourceRows]:
    """The source's rows for the window and its look-back; read one batch ``ahead`` of the work."""
    batches = read_batches(
        upload.source,
        window.looking_back(upload.window.lookback),
        zone=upload.window.timezone,
        connection_url=lambda name: services.secrets.connection_url(name).reveal(),
        sql_folder=services.deployment.sql_folder,
        columns=columns_needed(upload),
        batch_rows=BATCH_ROWS,
    )
    return read_ahead(batches) if ahead else batches


def rows_window(upload: Upload, window: Window) -> Window | None:
    """The window by which rows are told apart; ``None`` where the query or the date in a path has done so."""
    placed_by_rows = isinstance(upload.source, FileSource) and not upload.source.dated
    return window.looking_back(upload.window.lookback) if placed_by_rows else None


def unsent(events: Iterable[EventBatch], services: Services, run_id: str | None, books: Books) -> Iterator[EventBatch]:
    """Events that the ledger does not know as sent, refused, or under way in another run; the others are booked."""
    for batch in events:
        known = services.ledger.known(batch, run_id=run_id, now=services.clock())
        book_settled(known.settled, books)
        yield known.fresh


def book_settled(settled: Iterable[tuple[Fate, str | None, EventBatch]], books: Books) -> None:
    """Events whose fate the ledger knows."""
    for fate, reason, events in settled:
        books.enter_events(events, fate, reason)


def send(events: Iterable[EventBatch], upload: Upload, services: Services, run_id: str, books: Books) -> None:
    """Cut, claim, POST, record: each request is in the ledger before it leaves and when it has been answered."""
    settings = upload.delivery
    policy = Policy(settings.max_tries, settings.max_wait.total_seconds(), settings.concurrency)
    requests = cut_requests(events, max_events=settings.max_events, max_bytes=settings.max_bytes)
    claim = partial(services.ledger.claim, run_id)
    with open_senders(services.deployment, services.secrets, settings) as senders:
        alive = services.ledger.stay_alive
        delivery = deliver(requests, senders=senders, claim=claim, policy=policy, now=services.clock, while_quiet=alive)
        with closing(delivery) as outcomes:
            for outcome in outcomes:
                services.ledger.record([outcome])
                books.enter_outcome(outcome)


# ---------------------------------------------------------------------------------------------- a run's two ends


def begin_run(upload: Upload, window: Window, services: Services, *, trigger: str = "manual") -> str:
    """The id of a new run, for tasks in several processes; ``reconcile`` closes it."""
    return services.ledger.begin_run(upload.name, window, trigger=trigger, now=services.clock())


def close_run(run: RunRecord, upload: Upload, services: Services, tally: Tally) -> RunReport:
    """Close the books: they balance, or ``BalanceError`` says by how much they do not."""
    ended = services.clock()
    report = make_report(
        run_id=run.id,
        upload=upload.name,
        window=run.window,
        trigger=run.trigger,
        started_at=run.started_at,
        ended_at=ended,
        tally=tally,
        limits=upload.limits,
    )
    services.ledger.finish_run(run.id, status=report.status.value, report=report.to_json(), now=ended)
    return report


def report_of(run_id: str, services: Services) -> RunReport:
    """The report of a run that has ended; ``last`` is the newest."""
    if run_id == "last":
        ended = [record for record in services.ledger.runs(100) if record.report]
        record = ended[0] if ended else None
    else:
        record = services.ledger.run(run_id)
    if record is None or record.report is None:
        raise UsageError(f'run "{run_id}" has no report yet; `offline-capi status` lists the runs and their states')
    return RunReport.from_json(record.report)
