"""The whole story of a night, top to bottom: read this first.

``run_upload`` does it in one process, streaming. ``stage_upload``, ``send_staged`` and ``reconcile`` are the same story
in three tasks, for a scheduler that spreads clients over workers; hashed Parquet files and the ledger lie between them.
``replay_run`` takes up what a run did not send. ``plan_upload`` tells what would happen, ``preview`` shows the first
events as they would go out.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from offline_capi.clients import make_refusal_check
from offline_capi.config import Deployment, SecretResolver, database_url
from offline_capi.config.paths import anchored_url
from offline_capi.config.run_texts import fill_in
from offline_capi.config.settings import FileSource, Upload
from offline_capi.delivery import (
    ClockWitness,
    DeliveryPolicy,
    Rates,
    RetryPolicy,
    check_test_event_code,
    cut_requests,
    deliver,
    open_senders,
)
from offline_capi.errors import PartialLossError, SourceError, UsageError
from offline_capi.events import SeenKeys, StoreRepeats, build_events, for_every_pixel, split_by_age
from offline_capi.guards.drift import DriftWatch
from offline_capi.guards.frequent_values import FrequentValues, junk_by_client
from offline_capi.guards.quality_gates import can_stop, forced, judge_gates, trailing_days
from offline_capi.guards.quotas import Quotas
from offline_capi.identity import HashCache, hash_identity, inspect_identity
from offline_capi.ledger import Ledger, Rehearsal, RunRecord, keep_as_told, keep_shapes, shapes_of, traffic_of
from offline_capi.mapping import (
    FirstRows,
    LookupTable,
    columns_needed,
    columns_of_table,
    map_rows,
    read_table,
    rows_of,
    rows_wanted,
)
from offline_capi.meta.versions import version_warnings
from offline_capi.model import (
    AbsentFile,
    BuiltEvents,
    EventBatch,
    Fate,
    GateFinding,
    HashedRows,
    Reason,
    Request,
    SourceRows,
    Tally,
    WantedRows,
    Window,
    debts_of,
)
from offline_capi.pipeline.open_days import (
    Past,
    covered_window,
    events_stay_in_their_day,
    find_newly_closed_days,
    is_nightly,
    look_into_past,
    max_age_of,
)
from offline_capi.report import Books, RunReport, days_to_judge, make_report
from offline_capi.sources import absent_files, read_ahead, read_batches
from offline_capi.storage.staging import Stage, StagedEvents

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

#: Rows read, mapped and hashed at once: so many that a batch's own cost vanishes.
BATCH_ROWS = 32_768
#: Events built, staged and looked up at once: so few that their bodies stay small in memory.
EVENT_ROWS = 8_192

#: Why a row ends by the clock alone.
AGES = frozenset({Reason.TOO_OLD.value, Reason.FUTURE.value})

#: D:using-the-api: such events are not dropped.
TEST_NOTICE = (
    "sent with a test event code: Meta counts these events all the same, once if the real run follows within 48 hours; "
    "the ledger does not know them, so the real run sends all of them"
)
#: Runs of a window that are looked at to find its last one.
RUNS_A_DAY = 4

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
    witness: ClockWitness = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", Stage(self.deployment.platform.stage, self.deployment.platform.file_access))
        object.__setattr__(self, "witness", ClockWitness(self.deployment.platform.graph_url, self.clock))


@contextmanager
def open_services(
    deployment: Deployment, secrets: SecretResolver, *, clock: Callable[[], datetime] = _utc_now
) -> Iterator[Services]:
    """Open the ledger that the configuration names, and close it at the end."""
    url = database_url(deployment.platform.ledger, secrets, deployment.project)
    access = deployment.platform.file_access
    with Ledger(url.reveal(), clock=lambda: clock().timestamp(), access=access) as ledger:
        yield Services(deployment, secrets, ledger, clock)


# ---------------------------------------------------------------------------------------------- one process, streaming


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
    on_progress: OnProgress = _unheard,
) -> RunReport:
    """Send what the source holds for ``window`` and the ledger has not seen sent.

    Running it again sends nothing twice. Killed anywhere, it can be run again: what was under way is unconfirmed in the
    ledger and is settled first. Raises ``SourceError`` or ``LedgerError`` when it cannot go on; what was sent until
    then stays recorded. A loss of rows is not an exception here: look at ``RunReport.status``.

    With a ``test_event_code``, which only a manual run may have, everything goes out and nothing is remembered: the
    next run sends all of it. ``force_gates`` lets a run pass that a gate would stop. ``quotas`` are what is left of
    each client's limit, where this run shares them with others of the same night.
    """
    check_test_event_code(test_event_code, trigger)
    kind = "test" if test_event_code else trigger
    covered = covered_window(upload, window, kind, narrowed=bool(clients) or only is not None)
    past = past_of(upload, window, services, trigger=kind, covered=covered)
    since = covered.since if covered else None
    with services.ledger.running(upload.name, window, trigger=kind, now=services.clock, covered_since=since) as run:
        with services.stage.rejects(run.id) as rejects:
            chosen = select(upload, window, services, clients, only)
            books = Books(
                on_progress,
                rejects.write,
                rejects.write_undelivered,
                narrowed=chosen.narrowed,
                absent=chosen.absent,
                known_since=past.known.find,
            )
            drift = drift_watch(chosen, services, run_id=run.id, force=force_gates)
            books.tally.gates = judged_first(chosen, services, drift, force=force_gates)
            events = past.owed.watch(booked(by_a_right_clock(prepare(chosen, services, drift), services), books))
            fresh = unsent(drift.before_any(events), services, run.id, books, quotas=quotas)
            send(defer_stopped(fresh, books, drift), upload, services, run.id, books, test_event_code=test_event_code)
            books.tally.vanished = past.owed.unmet
            books.tally.gates = judged(chosen, services, books.tally, drift, force=force_gates)
            if not test_event_code:
                learn_shapes(drift, books.tally, services, run.id)
        return close_run(run, upload, services, books.tally)


def replay_run(
    run_id: str, services: Services, *, undelivered: bool = False, on_progress: OnProgress = _unheard
) -> RunReport:
    """Read the window of a run again, and send those of its rejects that became valid since; all else is left alone.

    Running the upload again would also send what has come into the window since, and everything under new business
    keys where a fix changed them: a replay takes only rows whose business key stands among the rejects of the run, or,
    where the source is a file, whose place does. The rows of a query have no place: a changed ``event.id`` finds none
    of them again. With ``undelivered`` it also takes events that were deferred, unconfirmed or rejected by Meta,
    even if nothing in them has changed. A second replay sends nothing.
    """
    past = services.ledger.run(run_id)
    upload = services.deployment.uploads.get(past.upload)
    if upload is None:
        raise UsageError(
            f"run {run_id} was of the upload {past.upload}, which is configured no more: put it back first"
        )
    by_place = isinstance(upload.source, FileSource)
    wanted = services.stage.wanted_rows(run_id, undelivered=undelivered, by_place=by_place)
    if not len(wanted.event_ids) and not wanted.places:
        raise UsageError(f"run {run_id} left nothing to replay; events that did not arrive need --undelivered")
    if undelivered:
        services.ledger.forget(services.stage.find_rejected_keys(run_id), refused=True)
    return run_upload(upload, past.window, services, trigger="replay", only=wanted, on_progress=on_progress)


def plan_upload(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    clients: Collection[str] = (),
    on_progress: OnProgress = _unheard,
) -> RunReport:
    """What ``run_upload`` would do now, to the row; nothing is sent and nothing is recorded."""
    chosen = select(upload, window, services, clients)
    past = past_of(upload, window, services, trigger="plan")
    started = services.clock()
    books = Books(on_progress, narrowed=chosen.narrowed, absent=chosen.absent, known_since=past.known.find)
    drift = drift_watch(chosen, services)
    books.tally.gates = judged_first(chosen, services, drift)
    events = booked(prepare(chosen, services, drift), books)
    for batch in defer_stopped(unsent(drift.before_any(events), services, None, books), books, drift):
        books.enter_events(batch, Fate.SENT)
    books.tally.gates = judged(chosen, services, books.tally, drift)
    books.tally.notices += version_notices(services)
    return make_report(
        run_id="plan",
        upload=upload.name,
        window=window,
        trigger="plan",
        started_at=started,
        ended_at=services.clock(),
        tally=books.tally,
        limits=upload.limits,
        days=days_to_judge(upload, window, oldest=started - max_age_of(upload, services.deployment)),
        planned=True,
        environment=services.deployment.environment,
        ledger=services.ledger.place,
        new_ledger=not services.ledger.runs(1),
    )


def preview(upload: Upload, window: Window, services: Services, *, limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` events exactly as they would go out, hashed; nothing is sent."""
    batches = prepare(select(upload, window, services), services)
    bodies = (body for batch in batches for body in batch.events.table.column("body").to_pylist())
    return [json.loads(body) for body in islice(bodies, limit)]


# ---------------------------------------------------------------------------------------------- three tasks


def stage_upload(
    upload: Upload,
    window: Window,
    services: Services,
    run_id: str,
    *,
    clients: Collection[str] = (),
    force_gates: bool = False,
) -> list[StagedEvents]:
    """First task: everything up to the ledger, written as hashed Parquet, one file a client.

    Where a gate stops the run there is nothing to send; ``reconcile`` then books what lies there as deferred.
    """
    chosen = select(upload, window, services, clients)
    past = past_of_run(run_id, upload, services, narrowed=chosen.narrowed)
    drift = drift_watch(chosen, services, run_id=run_id, force=force_gates)
    with services.stage.rejects(run_id) as rejects, services.stage.events(run_id) as staged:
        books = Books(
            keep_rejects=rejects.write,
            narrowed=chosen.narrowed,
            absent=chosen.absent,
            known_since=past.known.find,
        )
        for events in past.owed.watch(booked(by_a_right_clock(prepare(chosen, services, drift), services), books)):
            staged.write(events)
    books.tally.vanished = past.owed.unmet
    books.tally.gates = judged(chosen, services, books.tally, drift, force=force_gates)
    learn_shapes(drift, books.tally, services, run_id)
    services.ledger.save_part(run_id, "prepare", books.tally)
    return [unit for unit in staged.units if not books.tally.is_deferred(unit.client)]


def send_staged(unit: StagedEvents, upload: Upload, services: Services, *, quotas: Quotas | None = None) -> Tally:
    """Second task, one client each: send one staged file; repeating it sends only what is missing."""
    books = Books()
    fresh = unsent(services.stage.read_events(unit, EVENT_ROWS), services, unit.run_id, books, quotas=quotas)
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
    past = past_of_run(run_id, upload, services, narrowed=True)  # what is owed was looked for when it was read
    with services.stage.rejects(run_id) as rejects:
        books = Books(keep_undelivered=rejects.write_undelivered, known_since=past.known.find)
        books.tally += parts.pop("prepare")
        why = defer_clients(parts.values())
        for events in unsent(services.stage.read_all_events(run_id), services, run_id, books, resend=False):
            fresh, expired = by_age(events, upload, services)
            books.enter_events(expired, Fate.EXPIRED, Reason.TOO_OLD)
            for (client,), own in fresh.apart("client") if len(fresh) else ():
                is_deferred = books.tally.is_deferred(client)
                reason = Reason.GATE_CLOSED if is_deferred else why.get(client, Reason.NOT_SENT)
                books.enter_events(own.events, Fate.DEFERRED, reason)
    books.enter_sending(Tally.total(parts.values()), traffic_of(run_id, services.ledger))
    return close_run(services.ledger.run(run_id), upload, services, books.tally)


def defer_clients(sent: Iterable[Tally]) -> dict[str, str]:
    """Why the tasks that sent held back what they did, mostly: of that, the ledger knows only that it never left."""
    rows: dict[str, Counter[str]] = {}
    for tally in sent:
        for count, number in tally.fates.items():
            if count.fate is Fate.DEFERRED and count.client and count.reason:
                rows.setdefault(count.client, Counter())[count.reason] += number
    return {client: reasons.most_common(1)[0][0] for client, reasons in rows.items()}


# ---------------------------------------------------------------------------------------------- the stages, chained


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a run is about: of an upload and a window, narrowed to some ``clients``, or to those of a replay.

    The others are left out as if they had not been read. ``frequent`` values, by client, key and SHA-256, are junk.
    ``absent`` are the files of the window that were not there before it was read. ``lookups`` are the upload's tables,
    **readable**.
    """

    upload: Upload
    window: Window
    clients: Collection[str] = ()
    only: WantedRows | None = None
    frequent: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    absent: Sequence[AbsentFile] = ()
    lookups: Mapping[str, LookupTable] = field(default_factory=dict, repr=False)

    @property
    def narrowed(self) -> bool:
        return bool(self.clients) or self.only is not None


def select(
    upload: Upload,
    window: Window,
    services: Services,
    clients: Collection[str] = (),
    only: WantedRows | None = None,
) -> Selection:
    """The rows of a run. Values that too many of the window's people share are found first, where the upload says so.

    All rows of the window count for that, whichever of them the run is about: a replay drops what the night dropped.
    """
    absent = absent_files(upload.source, window, **at_source(upload, services.deployment, services.secrets))
    tables = read_lookups(upload, window, services)
    shared, cache = FrequentValues(services.deployment.platform.frequent_value), HashCache()
    if upload.drop_frequent:
        how, firsts = identity_settings(upload, services.deployment), FirstRows()
        for rows in read(upload, window, services):
            mapped = map_rows(rows, upload, rows_window(upload, window), lookups=tables, firsts=firsts)
            shared.add(inspect_identity(mapped, **how, cache=cache), mapped.client)
    return Selection(upload, window, clients, only, junk_by_client(shared.candidates()), absent, tables)


def read_lookups(upload: Upload, window: Window, services: Services) -> dict[str, LookupTable]:
    """The tables that the upload joins, each read once; ``SourceError`` where one cannot be trusted."""
    how = at_source(upload, services.deployment, services.secrets)
    tables = {}
    for name, lookup in upload.lookups.items():
        batches = read_batches(lookup, window, **how, columns=columns_of_table(upload, name), batch_rows=BATCH_ROWS)
        try:
            tables[name] = read_table(name, lookup, batches, upload.window.timezone)
        except SourceError as error:  # it speaks of "source", which an upload has as well
            raise type(error)(f"lookups.{name}: {error}") from None
    return tables


def prepare(chosen: Selection, services: Services, drift: DriftWatch | None = None) -> Iterator[BuiltEvents]:
    """The rows mapped, hashed, built, checked and copied for further pixels; no two events are the same to a pixel.

    ``drift`` looks at the first of them.
    """
    upload, settings, seen, store_repeats = chosen.upload, services.deployment, SeenKeys(), StoreRepeats()
    cache, firsts = HashCache(), FirstRows()
    for rows in read(upload, chosen.window, services):
        for part in hashed(rows, chosen, settings, cache, firsts, drift).parts(EVENT_ROWS):
            built = build_events(
                part,
                clients=settings.clients,
                zone=upload.window.timezone,
                now=services.clock(),
                max_age=upload.max_age,
                max_bytes=upload.delivery.max_bytes,
                margin=settings.platform.age_margin,
                skew=settings.platform.clock_skew,
                exact_names=upload.event.name.exact,
                strict_website=upload.event.strict_website,
            )
            yield for_every_pixel(store_repeats.warned(seen.first_only(built)), settings.clients, seen)


def by_a_right_clock(batches: Iterable[BuiltEvents], services: Services) -> Iterator[BuiltEvents]:
    """The same; raises ``WrongClockError`` before any row is called too old, or too new, by a clock that is wrong."""
    for built in batches:
        if not AGES.isdisjoint(built.rejections.table.column("reason").unique().to_pylist()):
            services.witness.check()
        yield built


def hashed(
    rows: SourceRows,
    chosen: Selection,
    settings: Deployment,
    cache: HashCache,
    firsts: FirstRows,
    drift: DriftWatch | None = None,
) -> HashedRows:
    """The rows mapped and hashed; what is readable of them ends with this call."""
    upload = chosen.upload
    mapped = map_rows(rows, upload, rows_window(upload, chosen.window), lookups=chosen.lookups, firsts=firsts)
    if drift is not None:
        drift.look(rows, mapped)
    mapped = rows_wanted(rows_of(mapped, chosen.clients), chosen.only)
    how = identity_settings(upload, settings)
    return hash_identity(mapped, **how, junk_of=chosen.frequent, cache=cache)


def identity_settings(upload: Upload, deployment: Deployment) -> dict[str, Any]:
    """How an upload's rows are normalised and hashed, and what of them never is; see ``identity``."""
    return {
        "clients": deployment.clients,
        "profile": upload.profile,
        "default_profile": deployment.platform.profile,
        "junk": upload.junk,
    }


def booked(batches: Iterable[BuiltEvents], books: Books) -> Iterator[EventBatch]:
    """The events of each batch; what ended before delivery is booked. The next batch is prepared meanwhile."""
    for built in read_ahead(iter(batches)):
        books.enter_built(built)
        yield from built.outgoing


def read(
    upload: Upload, window: Window, services: Services, *, ahead: bool = True, every_column: bool = False
) -> Iterator[SourceRows]:
    """The source's rows for the window and its look-back; read while others are worked on if ``ahead``.

    Only the columns that the upload names, unless ``every_column`` is asked for.
    """
    batches = read_batches(
        upload.source,
        window.looking_back(upload.window.lookback),
        **at_source(upload, services.deployment, services.secrets),
        columns=None if every_column else columns_needed(upload),
        batch_rows=BATCH_ROWS,
        apart=ahead,
    )
    return read_ahead(batches) if ahead else batches


def at_source(upload: Upload, deployment: Deployment, secrets: SecretResolver) -> dict[str, Any]:
    """What every look at an upload's source needs beside source and window; see ``sources``."""
    return {
        "zone": upload.window.timezone,
        "connection_url": lambda name: anchored_url(
            secrets.connection_url(deployment.connection(name)).reveal(), deployment.project
        ),
        "sql_folder": deployment.sql_folder,
        "folder": deployment.project,
        "environ": deployment.environ,
    }


def rows_window(upload: Upload, window: Window) -> Window | None:
    """The window by which rows are told apart; ``None`` where the query or the date in a path has done so."""
    placed_by_rows = isinstance(upload.source, FileSource) and not upload.source.dated
    return window.looking_back(upload.window.lookback) if placed_by_rows else None


def unsent(
    events: Iterable[EventBatch],
    services: Services,
    run_id: str | None,
    books: Books,
    *,
    resend: bool = True,
    quotas: Quotas | None = None,
) -> Iterator[EventBatch]:
    """Events that the ledger does not know as sent, refused, or under way in another run, up to their clients' limits.

    The others are booked, those above a limit as deferred; unconfirmed ones, too, unless they may go again
    (``resend``).
    """
    quotas = quotas or Quotas(services.deployment.recipients)
    for batch in events:
        known = services.ledger.known(batch, run_id=run_id, now=services.clock(), resend=resend)
        books.tally.changed += known.changed
        for fate, reason, settled in known.settled:
            books.enter_events(settled, fate, reason)
            quotas.note(settled, fate)
        fresh, above = quotas.take(known.fresh)
        books.enter_events(above, Fate.DEFERRED, Reason.OVER_LIMIT)
        yield fresh


def drift_watch(chosen: Selection, services: Services, *, run_id: str | None = None, force: bool = False) -> DriftWatch:
    """Whoever compares the run's first rows with those of the runs before. A replay passes."""
    upload, is_replay = chosen.upload, chosen.only is not None
    known = {} if is_replay else shapes_of(services.ledger, upload.name)
    return DriftWatch(upload, services.deployment.clients, known, run_id=run_id, force=force, active=not is_replay)


def learn_shapes(drift: DriftWatch, tally: Tally, services: Services, run_id: str) -> None:
    """From now on the shapes of this run are known, unless it was stopped, or had no event that could be sent."""
    if tally.sendable and not tally.stopped:
        keep_shapes(services.ledger, drift.upload.name, drift.found, run_id=run_id, now=services.clock())


def judged_first(
    chosen: Selection, services: Services, drift: DriftWatch, *, force: bool = False
) -> tuple[GateFinding, ...] | None:
    """What the gates say of the whole night before any of it is sent; ``None`` where none of them can stop it.

    The source is read for it, and once more to send: see ``gates``. A replay is not a night, and passes.
    """
    if chosen.only is not None:
        return ()
    if not can_stop(chosen.upload.gates):
        return None
    survey = Books(narrowed=chosen.narrowed, absent=chosen.absent)
    deque(booked(prepare(chosen, services, drift), survey), maxlen=0)
    return judged(chosen, services, survey.tally, drift, force=force)


def judged(
    chosen: Selection, services: Services, tally: Tally, drift: DriftWatch | None = None, *, force: bool = False
) -> tuple[GateFinding, ...]:
    """What the gates say of these books, and what has drifted; what was said of them before holds."""
    if tally.gates is not None:
        return tally.gates
    gates, name, window = chosen.upload.gates, chosen.upload.name, chosen.window
    past = (record.report for record in services.ledger.runs_of(name, RUNS_A_DAY * gates.days) if record.report)
    findings = judge_gates(gates, tally, window, trailing_days(past, window, gates.days))
    return (*(drift.findings if drift else ()), *(forced(findings) if force else findings))


def defer_stopped(events: Iterable[EventBatch], books: Books, drift: DriftWatch) -> Iterator[EventBatch]:
    """The same events, but for those that a gate or drift holds, of all or of a client: they are booked with that."""
    for batch in events:
        if drift.stops:
            books.enter_events(batch, Fate.DEFERRED, Reason.GATE_CLOSED)
            continue
        if not any(finding.stops for finding in books.tally.gates or ()):
            yield batch
            continue
        for (client,), own in batch.apart("client") if len(batch) else ():
            if books.tally.is_deferred(client):
                books.enter_events(own.events, Fate.DEFERRED, Reason.GATE_CLOSED)
            else:
                yield own.events


def send(
    events: Iterable[EventBatch],
    upload: Upload,
    services: Services,
    run_id: str,
    books: Books,
    *,
    test_event_code: str | None = None,
) -> None:
    """Cut, claim, POST, record: each request is in the ledger before it leaves and when it has been answered.

    Not so test events, which the ledger must not take for sent.
    """
    settings = upload.delivery
    ledger = Rehearsal() if test_event_code else services.ledger
    books.tally.notices += [TEST_NOTICE] if test_event_code else []
    retry = RetryPolicy(settings.max_tries, settings.max_wait.total_seconds())
    policy = DeliveryPolicy(retry, settings.concurrency, settings.in_flight)
    requests = ledger.digested(cut_requests(events, max_events=settings.max_events, max_bytes=settings.max_bytes))
    requests = after_a_look_at_the_clock(requests, services)
    claim = partial(ledger.claim, run_id)
    opened = open_senders(
        services.deployment,
        services.secrets,
        settings,
        test_event_code=test_event_code,
        upload_tag=tagging(services.ledger.run(run_id), upload, services),
        refusal=make_refusal_check(services.deployment.platform.stage),
    )
    with opened as senders:
        delivery = deliver(
            requests,
            senders=senders,
            claim=claim,
            policy=policy,
            now=services.clock,
            split_by_age=lambda events: by_age(events, upload, services),
            together=ledger.together,
            on_idle=ledger.stay_alive,
            pace=services.ledger,
            rates=rates_of(services.deployment),
        )
        with closing(delivery) as outcomes:
            for outcome in outcomes:
                ledger.record([outcome])
                books.enter_outcome(outcome)


def tagging(run: RunRecord, upload: Upload, services: Services) -> Callable[[str], str | None]:
    """By client, the ``upload_tag`` of a run. Events know nothing of it: it changes no key and no request's events."""
    template, zone = upload.delivery.upload_tag, ZoneInfo(upload.window.timezone)
    ends = {"since": run.window.since.astimezone(zone), "until": run.window.until.astimezone(zone)}
    names = {"upload": upload.name, "run": run.id, "environment": services.deployment.environment}
    return lambda client: fill_in(template, {**names, "client": client}, ends) if template else None


def rates_of(deployment: Deployment) -> Rates:
    """How many requests may leave a second, as the configuration says."""
    limits = {name: client.limits.requests_per_second for name, client in deployment.recipients.items()}
    return Rates({name: rate for name, rate in limits.items() if rate}, deployment.platform.requests_per_second)


def after_a_look_at_the_clock(requests: Iterable[Request], services: Services) -> Iterator[Request]:
    """The same; before the first of them, raises ``WrongClockError`` where this machine's clock is wrong."""
    for request in requests:
        services.witness.check()
        yield request


def by_age(events: EventBatch, upload: Upload, services: Services) -> tuple[EventBatch, EventBatch]:
    """Events young enough for all tries of a request that would leave now, and those that have expired meanwhile."""
    tries = upload.delivery.max_wait + upload.delivery.timeout
    split = split_by_age(events, clients=services.deployment.recipients, now=services.clock(), margin=tries)
    if len(split[1]):
        services.witness.check()
    return split


# ---------------------------------------------------------------------------------------------- a run's two ends


def begin_run(
    upload: Upload, window: Window, services: Services, *, trigger: str = "manual", narrowed: bool = False
) -> str:
    """The id of a new run, for tasks in several processes; ``reconcile`` closes it."""
    covered = covered_window(upload, window, trigger, narrowed=narrowed)
    since = covered.since if covered else None
    return services.ledger.begin_run(upload.name, window, trigger=trigger, now=services.clock(), covered_since=since)


def close_run(run: RunRecord, upload: Upload, services: Services, tally: Tally) -> RunReport:
    """Close the books: they balance, or ``BalanceError`` says by how much they do not."""
    ended = services.clock()
    tally.gates = judged(Selection(upload, run.window), services, tally)
    tally.notices += version_notices(services)
    nightly = is_nightly(run) and not tally.narrowed
    closed = find_newly_closed_days(upload, services.deployment, services.ledger, ended) if nightly else []
    tally.closed = {day.day.isoformat(): day.why for day in closed}
    report = make_report(
        run_id=run.id,
        upload=upload.name,
        window=run.window,
        trigger=run.trigger,
        started_at=run.started_at,
        ended_at=ended,
        tally=tally,
        limits=upload.limits,
        days=days_to_judge(upload, run.window, oldest=run.started_at - max_age_of(upload, services.deployment)),
        environment=services.deployment.environment,
        ledger=services.ledger.place,
        new_ledger=len(services.ledger.runs(2)) == 1,
    )
    debts = debts_of(tally, by_event_day=events_stay_in_their_day(upload))
    services.ledger.finish_run(run.id, status=report.status.value, report=report.to_json(), now=ended, debts=debts)
    keep_as_told(services.ledger, upload.name, closed, run_id=run.id, now=ended)
    return report


def past_of(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    trigger: str,
    covered: Window | None = None,
    run_id: str | None = None,
) -> Past:
    """What earlier runs of the upload left that a run of ``window`` meets."""
    now = services.clock()
    return look_into_past(upload, window, covered, services.ledger, services.stage, now, trigger=trigger, run_id=run_id)


def past_of_run(run_id: str, upload: Upload, services: Services, *, narrowed: bool) -> Past:
    """The same for a run whose tasks are processes of their own."""
    run = services.ledger.run(run_id)
    covered = covered_window(upload, run.window, run.trigger, narrowed=narrowed)
    return past_of(upload, run.window, services, trigger=run.trigger, covered=covered, run_id=run_id)


def version_notices(services: Services) -> list[str]:
    """Whether the version of the Graph API that events are sent in ends soon, or has ended."""
    return version_warnings(services.deployment.platform.versions, services.clock().date(), families=["events"])


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
