"""The stages of a run, in the order in which ``run`` uses them; each takes batches and the run's context."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, date
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from offline_capi.clients import (
    StatusBook,
    end_run_refusal,
    find_stop,
    make_refusal_check,
    record_run_refusal,
)
from offline_capi.config import Deployment, SecretResolver
from offline_capi.config.checks import find_piece_problems, find_table_problems
from offline_capi.config.document import format_path
from offline_capi.config.paths import anchor_url
from offline_capi.config.secrets import resolve_catalog
from offline_capi.config.source import FileSource
from offline_capi.config.upload import Upload
from offline_capi.delivery import DeliveryPolicy, RetryPolicy, cut_requests, deliver, open_senders, resolve_token
from offline_capi.errors import ConfigError, SourceError
from offline_capi.events import copy_for_pixels, split_by_age
from offline_capi.guards.drift import DriftWatch
from offline_capi.guards.duplicates import SeenKeys, StoreRepeats
from offline_capi.guards.expectations import judge_expectations
from offline_capi.guards.frequent_values import FrequentValues, group_junk_by_client
from offline_capi.guards.quality_gates import can_stop, force_findings, judge_gates, list_trailing_days
from offline_capi.identity import HashCache, inspect_identity
from offline_capi.ledger import Journal, Rehearsal, begin_mark, load_mark, load_shapes, save_shapes
from offline_capi.mapping import (
    FirstRows,
    LookupTable,
    find_placement,
    list_columns_needed,
    list_table_columns,
    read_table,
)
from offline_capi.model import (
    BuiltEvents,
    EventBatch,
    Fate,
    GateFinding,
    Outcome,
    Reason,
    Request,
    SourceRows,
    TableChanges,
    Window,
)
from offline_capi.pipeline.context import RunContext
from offline_capi.pipeline.joining import JoinedPieces, prepare_pieces
from offline_capi.pipeline.open_days import find_max_age, read_earlier_runs
from offline_capi.pipeline.pieces import PIECE_ROWS, MapPieces
from offline_capi.pipeline.processes import WorkerPool, count_processes
from offline_capi.pipeline.recipe import (
    BATCH_ROWS,
    BATCH_ROWS_OF_LONG_RUN,
    BATCH_ROWS_OF_RUN,
    EVENT_ROWS_OF_LONG_RUN,
    EVENT_ROWS_OF_RUN,
    ROWS_OF_LONG_RUN,
    Recipe,
)
from offline_capi.pipeline.services import Services
from offline_capi.report import Books
from offline_capi.runtime.prefetch import prefetch_batches
from offline_capi.runtime.secret import fingerprint
from offline_capi.runtime.telemetry import trace_batches
from offline_capi.sources import SourceAccess, open_source
from offline_capi.sources.files import join_parts, read_part
from offline_capi.sources.spark_table import SparkTableReader

__all__ = [
    "check_clock",
    "count_events",
    "count_preparation",
    "defer_refused",
    "defer_stopped",
    "judge_before_sending",
    "judge_run",
    "learn_shapes",
    "make_source_access",
    "prepare_batches",
    "prepare_events",
    "prepare_run",
    "read_lookups",
    "read_rows",
    "send_events",
    "skip_decided",
    "split_expired",
]

#: Reasons for which the clock alone decides that a row is not sent.
CLOCK_REASONS = frozenset({Reason.TOO_OLD.value, Reason.FUTURE.value})
#: Meta does not drop such events (D:using-the-api).
TEST_NOTICE = (
    "sent with a test event code: Meta counts these events all the same, once if the real run follows within 48 hours; "
    "the ledger does not know them, so the real run sends all of them"
)
#: Batches that are prepared in this process before workers are started, which takes a second.
BATCHES_BEFORE_WORKERS = 3
#: Runs of one window that are looked at to find its last one.
RUNS_PER_DAY = 4


# ---------------------------------------------------------------------------------------------- before the first row


@contextmanager
def prepare_run(run: RunContext, *, keep_pieces: bool = False) -> Iterator[None]:
    """Everything that a run needs before its first row; what cannot be sent is written to the stage as it is found.

    Reads the upload's look-up tables and, with ``drop_frequent``, the whole source once. A plan writes nothing. With an
    engine that maps pieces, they are prepared when the block begins; ``keep_pieces`` leaves their files where it ends
    well.
    """
    services = run.services
    run.changes = _find_changes(run)
    run.recipe = _make_recipe(run)
    run.past = read_earlier_runs(
        run.upload, run.window, run.covered, services.ledger, services.stage, services.clock(),
        trigger=run.trigger, run_id=run.run_id or None, late_since=run.changes.oldest if run.changes else None,
    )  # fmt: skip
    known = {} if run.only is not None else load_shapes(services.ledger, run.upload.name)
    run.drift = DriftWatch(
        run.upload, services.deployment.clients, known, run_id=run.run_id or None,
        force=run.force_gates, active=run.only is None,
    )  # fmt: skip
    access = make_source_access(run.upload, services.deployment, services.secrets, run.changes)
    source = open_source(run.upload.source, access)
    absent = source.find_absent_files(run.window)
    open_with = partial(
        Books,
        run.on_progress,
        narrowed=run.is_narrowed,
        absent=absent,
        known_since=run.past.known.find,
        late_before=_find_first_day(run),
    )
    with ExitStack() as stack:
        engine = choose_engine(run)
        read = run.window.extend_back(run.upload.window.lookback)
        parts = source.cut(read, PIECE_ROWS, columns=list_columns_needed(run.upload)) if engine else None
        if engine and isinstance(source, SparkTableReader):
            engine = _map_table(engine, source, read, list_columns_needed(run.upload))
        if engine and (parts is not None or isinstance(source, SparkTableReader)):
            run.pieces = stack.enter_context(prepare_pieces(run, parts, engine, keep=keep_pieces))
        if run.run_id:
            rejects = stack.enter_context(services.stage.write_rejects(run.run_id))
            run.books = open_with(keep_rejects=rejects.write, keep_undelivered=rejects.write_undelivered)
        else:
            run.books = open_with()
        run.tally.notices += run.changes.notices if run.changes else ()
        yield


def _find_changes(run: RunContext) -> TableChanges | None:
    """What a daily run reads of a table besides its window; ``None``: it reads its window alone.

    A backfill or an older day that is settled reads none, and neither does a replay. Where the run may move the mark,
    the ledger knows from here on up to where it reads.
    """
    upload, services, now = run.upload, run.services, run.services.clock()
    if upload.source.incremental is None or run.trigger == "replay" or not run.window.reaches_last_day(now):
        return None
    oldest = (now - find_max_age(upload, services.deployment)).astimezone(ZoneInfo(upload.window.timezone))
    source = open_source(upload.source, make_source_access(upload, services.deployment, services.secrets))
    changes = source.find_changes(load_mark(services.ledger, upload.name), oldest)
    if changes is not None and run.run_id and run.covered is not None:
        services.ledger.runs.save_table_read(run.run_id, changes.read)
        if changes.read.mark is None:
            begin_mark(services.ledger, upload.name, changes.read, run_id=run.run_id, now=now)
    return changes


def _find_first_day(run: RunContext) -> date | None:
    """The first day that the window holds, where the run also reads rows of days before it."""
    return run.window.extend_back(run.upload.window.lookback).since.date() if run.changes else None


def _make_recipe(run: RunContext) -> Recipe:
    """All rows of the window count for frequent values, whichever of them the run is about."""
    upload, deployment = run.upload, run.services.deployment
    recipe = Recipe.of_upload(upload, run.window, deployment, lookups=read_lookups(upload, run.window, run.services))
    if not upload.drop_frequent:
        frequent: Mapping[str, Any] = {}
    else:
        shared, cache, firsts = FrequentValues(deployment.platform.frequent_value), HashCache(), FirstRows()
        for rows in read_rows(upload, run.window, run.services, changes=run.changes):
            mapped = recipe.map_batch(rows, firsts)
            shared.add(inspect_identity(mapped, **recipe.identity_settings, cache=cache), mapped.client)
        frequent = group_junk_by_client(shared.list_candidates())
    return Recipe.of_upload(
        upload,
        run.window,
        deployment,
        lookups=recipe.lookups,
        only_clients=run.clients,
        only_rows=run.only,
        frequent=frequent,
    )


def choose_engine(run: RunContext) -> MapPieces | None:
    """What maps the pieces of the run's window; ``None``: it is not cut.

    Raises ``ConfigError`` for an upload that cannot be prepared in pieces.
    """
    engine = run.map_pieces
    if engine is None and run.upload.engine.spark:
        from offline_capi.pipeline.spark import SparkEngine  # only who uses it has PySpark

        engine = SparkEngine(run.services.deployment.platform.spark, run.services.secrets)
    problems = [*(find_piece_problems(run.upload) if engine else ()), *find_table_problems(run.upload)]
    if sentences := [f"{format_path(path)} {why}" for path, why in problems]:
        raise ConfigError(f"{run.upload.name}: {'; '.join(sentences)}. Nothing was sent.")
    return engine


def _map_table(engine: MapPieces, source: SparkTableReader, window: Window, columns: Sequence[str] | None) -> MapPieces:
    """The engine over a table; ``choose_engine`` has seen that it is Spark."""
    from offline_capi.pipeline.spark import SparkEngine

    assert isinstance(engine, SparkEngine)  # noqa: S101  mypy
    frame, layout = source.open_frame(window, columns)
    return lambda task, _: engine.map_table(task, frame, layout)


def make_source_access(
    upload: Upload, deployment: Deployment, secrets: SecretResolver, changes: TableChanges | None = None
) -> SourceAccess:
    """What the upload's source needs besides its settings; its look-up tables need the same, and have no window."""
    catalogs = deployment.platform.iceberg_catalogs

    def open_session() -> Any:
        from offline_capi.pipeline.spark import open_session as open_with

        return open_with(deployment.platform.spark, secrets)

    return SourceAccess(
        zone=upload.window.timezone,
        connection_url=lambda name: anchor_url(
            secrets.connection_url(deployment.resolve_connection(name)).reveal(), deployment.project
        ),
        sql_folder=deployment.sql_folder,
        folder=deployment.project,
        environ=deployment.environ,
        catalog_properties=lambda name: resolve_catalog(catalogs.get(name, {}), secrets, deployment.project),
        dbt=deployment.platform.dbt,
        placement=find_placement(upload),
        changes=changes,
        open_session=open_session,
    )


def read_lookups(upload: Upload, window: Window, services: Services) -> dict[str, LookupTable]:
    """The tables that the upload joins, each read once. Raises ``SourceError`` if one cannot be trusted."""
    access, tables = make_source_access(upload, services.deployment, services.secrets), {}
    access = replace(access, placement=None)
    for name, lookup in upload.lookups.items():
        needed = list_table_columns(upload, name)
        batches = open_source(lookup, access).read(window, columns=needed, batch_rows=BATCH_ROWS)
        try:
            tables[name] = read_table(name, lookup, batches, upload.window.timezone)
        except SourceError as error:  # it speaks of "source", which an upload has as well
            raise type(error)(f"lookups.{name}: {error}") from None
    return tables


# ---------------------------------------------------------------------------------------------- from rows to events


def read_rows(
    upload: Upload,
    window: Window,
    services: Services,
    *,
    prefetch: bool = True,
    every_column: bool = False,
    changes: TableChanges | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[SourceRows]:
    """The source's rows for the window and its look-back; with ``prefetch``, the next batch is read meanwhile.

    ``changes`` adds the rows of a table that came late. A batch has ``batch_rows`` at most.

    Only the columns that the upload names, unless ``every_column`` is asked for.
    """
    access = make_source_access(upload, services.deployment, services.secrets, changes)
    batches = open_source(upload.source, access).read(
        window.extend_back(upload.window.lookback),
        columns=None if every_column else list_columns_needed(upload),
        batch_rows=batch_rows,
        in_subprocess=prefetch,
    )
    batches = prefetch_batches(batches, depth=0) if prefetch else batches
    return iter(trace_batches("read", batches, len))


def prepare_batches(run: RunContext) -> Iterator[BuiltEvents]:
    """The rows mapped, hashed, built and checked; copied for further pixels; repeats within the run left out.

    Of a run in pieces events come without their bodies: ``prepare_events`` reads these afterwards.
    """
    seen, store_repeats = SeenKeys(), StoreRepeats()
    if run.pieces is not None:
        _sample_drift(run, run.pieces)
        run.pieces.repeats.clear()
        for name, built in run.pieces.read_batches():
            unique = store_repeats.add_warnings(seen.reject_repeats(built))
            run.pieces.note_repeats(name, built, unique)
            yield unique
        return
    for built in _build_batches(run):
        copied = copy_for_pixels(built, run.recipe.clients)
        yield store_repeats.add_warnings(seen.reject_repeats(copied, by_client=True))


def _build_batches(run: RunContext) -> Iterator[BuiltEvents]:
    """The first batches here, the others in worker processes if the upload has any: small windows never start them.

    Drift looks at the first rows, which are readable: they are prepared here. ``filter: first_of`` and
    ``expect: unique`` need all rows in one order.
    """
    cache, firsts, clock = HashCache(), FirstRows(), run.services.clock
    in_order = any(one.first_of for one in run.upload.filter) or any(one.unique for one in run.upload.expect)
    processes = 0 if in_order else count_processes(run.upload.engine.processes)
    rows_at_once = BATCH_ROWS if processes else BATCH_ROWS_OF_RUN
    events_at_once = EVENT_ROWS_OF_RUN
    batches = iter(read_rows(run.upload, run.window, run.services, changes=run.changes, batch_rows=rows_at_once))
    rows_read = 0
    for number, batch in enumerate(batches, start=1):
        rows_read += len(batch)
        if rows_read >= ROWS_OF_LONG_RUN:
            rows_at_once, events_at_once = BATCH_ROWS_OF_LONG_RUN, EVENT_ROWS_OF_LONG_RUN
        for rows in batch.split(rows_at_once):
            yield from run.recipe.prepare_batch(
                rows, clock(), firsts=firsts, cache=cache, observe=run.drift.observe, event_rows=events_at_once
            )
        if processes and number >= BATCHES_BEFORE_WORKERS and not run.drift.is_sampling:
            with WorkerPool(run.recipe, processes) as workers:
                yield from workers.prepare(batches, clock)
            return


def _sample_drift(run: RunContext, joined: JoinedPieces) -> None:
    """Show drift the first rows of the window: readable ones, so they are read again, here."""
    source = run.upload.source
    if not isinstance(source, FileSource):
        rows = next(iter(read_rows(run.upload, run.window, run.services, prefetch=False)), None)
        if rows is not None and run.drift.is_sampling:
            run.drift.observe(rows, run.recipe.map_batch(rows))
        return
    chosen = (
        piece.part
        for piece, result in zip(joined.pieces, joined.results, strict=True)
        if result.rows["read"] or run.is_narrowed
    )
    for part in join_parts(chosen, BATCH_ROWS):  # one by one, a thousand small pieces took half a minute
        for rows in read_part(part, source, list_columns_needed(run.upload), BATCH_ROWS):
            if not run.drift.is_sampling:
                return
            run.drift.observe(rows, run.recipe.map_batch(rows))


def check_clock(batches: Iterable[BuiltEvents], services: Services) -> Iterator[BuiltEvents]:
    """The same; raises ``WrongClockError`` before any row counts as too old or too new by a clock that is wrong."""
    for built in batches:
        if not CLOCK_REASONS.isdisjoint(built.unsent.table.column("reason").unique().to_pylist()):
            services.witness.check()
        yield built


def count_preparation(batches: Iterable[BuiltEvents], books: Books) -> Iterator[EventBatch]:
    """The events of each batch; rows that ended before delivery are booked. The next batch is prepared meanwhile."""
    for built in prefetch_batches(iter(batches), depth=0):  # a batch is 20 MiB
        books.enter_built(built)
        yield from built.outgoing


def prepare_events(run: RunContext) -> Iterator[EventBatch]:
    """The run's events, those of one client in the order of the source."""
    events = count_events(run)
    if run.pieces is not None:
        deque(events, maxlen=0)  # which of them repeat others is known at the end
        return run.pieces.read_events()
    return events


def count_events(run: RunContext) -> Iterator[EventBatch]:
    """The run's events while they are counted; those that earlier runs owe are ticked off. See ``prepare_batches``."""
    batches = check_clock(trace_batches("prepare", prepare_batches(run), lambda built: len(built.events)), run.services)
    return run.past.owed.watch(count_preparation(batches, run.books))


# ---------------------------------------------------------------------------------------------- what may be sent


def judge_before_sending(run: RunContext) -> None:
    """Let the gates judge the whole run before its first request; the source is read once more for it.

    Not if no gate can stop the run, and not for a replay, which is no measure of a day.
    """
    if run.only is not None:
        run.tally.gates = ()
    elif can_stop(run.upload.gates, run.upload.expect):
        survey = Books(narrowed=run.is_narrowed, absent=run.tally.absent, late_before=_find_first_day(run))
        deque(count_preparation(prepare_batches(run), survey), maxlen=0)
        run.tally.gates = judge_run(run, survey)


def judge_run(run: RunContext, books: Books) -> tuple[GateFinding, ...]:
    """What drift and gates find in these books; what they found before holds."""
    if books.tally.gates is not None:
        return books.tally.gates
    gates, window = run.upload.gates, run.window
    records = run.services.ledger.runs.list_reported(run.upload.name, RUNS_PER_DAY * gates.days)
    past = list_trailing_days((record.report for record in records if record.report), window, gates.days)
    active = {name for name, client in run.services.deployment.clients.items() if client.active}
    findings = judge_gates(gates, books.tally, window, past, active)
    findings += judge_expectations(run.upload.expect, books.tally, window)
    return (*run.drift.findings, *(force_findings(findings) if run.force_gates else findings))


def skip_decided(events: Iterable[EventBatch], run: RunContext, *, resend: bool = True) -> Iterator[EventBatch]:
    """Events that the ledger does not know as sent, rejected by Meta or under way, up to their clients' limits.

    The others are booked with their fate, those above a limit as deferred; unconfirmed ones too unless they may be
    sent again (``resend``).
    """
    services = run.services
    for batch in events:
        known = services.ledger.journal.look_up(batch, run_id=run.run_id or None, now=services.clock(), resend=resend)
        run.tally.changed += known.changed
        for fate, reason, decided in known.decided:
            run.books.enter_events(decided, fate, reason)
            run.quotas.note(decided, fate)
        fresh, above = run.quotas.take(known.fresh)
        run.books.enter_events(above, Fate.DEFERRED, Reason.OVER_LIMIT)
        yield fresh


def defer_stopped(events: Iterable[EventBatch], run: RunContext) -> Iterator[EventBatch]:
    """The same events, except those that a gate or drift stops, of all clients or of one: they are deferred."""
    for batch in events:
        if run.drift.stops:
            run.books.enter_events(batch, Fate.DEFERRED, Reason.GATE_CLOSED)
        elif not any(finding.stops for finding in run.tally.gates or ()):
            yield batch
        else:
            for (client,), own in batch.partition_by("client") if len(batch) else ():
                if run.tally.is_deferred(client):
                    run.books.enter_events(own.events, Fate.DEFERRED, Reason.GATE_CLOSED)
                else:
                    yield own.events


# ---------------------------------------------------------------------------------------------- sending


def send_events(events: Iterable[EventBatch], run: RunContext) -> None:
    """Cut, claim, POST, record: each request is in the ledger before it leaves and when it has been answered.

    Test events are not: the ledger must not take them for sent.
    """
    services, settings = run.services, run.upload.delivery
    journal: Journal = Rehearsal() if run.test_event_code else services.ledger.journal
    run.tally.notices += [TEST_NOTICE] if run.test_event_code else []
    with (
        open_senders(
            services.deployment,
            services.secrets,
            settings,
            test_event_code=run.test_event_code,
            upload_tag=run.fill_upload_tag,
            refusal=make_refusal_check(services.deployment.platform.stage),
        ) as senders,
        journal.start_digests() as digest,
        closing(
            cut_requests(
                events,
                max_events=settings.max_events,
                max_bytes=settings.max_bytes,
                on_cut=lambda request: digest(run.books.count_ahead(request)),
            )
        ) as requests,
    ):
        delivery = deliver(
            _check_clock_before(requests, services),
            senders=senders,
            claim=partial(journal.claim, run.run_id),
            policy=DeliveryPolicy(
                RetryPolicy(settings.max_tries, settings.max_wait.total_seconds()),
                settings.concurrency,
                settings.in_flight,
            ),
            now=services.clock,
            split_by_age=partial(split_expired, run),
            together=journal.claim_together,
            on_idle=journal.keep_alive,
            record=journal.record,
            pace=services.ledger.pace,
            rates=run.rates,
        )
        with closing(delivery) as outcomes:
            record_access = make_access_recorder(services)
            for outcome in outcomes:
                run.books.enter_outcome(outcome)
                record_access(outcome)


def make_access_recorder(services: Services) -> Callable[[Outcome], None]:
    """Records in a client's status file that it was refused, and why, or that Meta accepts its events again.

    At the first outcome of each kind, so that every table, page and plan shows it while the run is still sending.
    """
    book, known = StatusBook(services.deployment.platform.stage), set[tuple[str, bool]]()

    def record_access(outcome: Outcome) -> None:
        client = outcome.request.client
        refused = outcome.fate is Fate.DEFERRED and outcome.reason == Reason.CLIENT_STOPPED
        if not (refused or outcome.fate is Fate.SENT) or (client, refused) in known:
            return
        before = book.read(client) if refused or (client, True) in known else book.read_listed(client)
        known.add((client, refused))
        if refused:
            words = outcome.explanation.removeprefix(f"{client}: ") or "sending stopped after an access fault"
            at = services.clock().astimezone(UTC).isoformat(timespec="seconds")
            after = record_run_refusal(before, _find_fingerprint(client, services)[0], words, at)
        else:
            after = end_run_refusal(before)
        if after != before:
            book.write(after)

    return record_access


def _find_fingerprint(recipient: str, services: Services) -> tuple[str | None, str]:
    """Of the token with which a recipient would be sent for, or why there is none."""
    try:
        return fingerprint(resolve_token(recipient, services.deployment.recipients, services.secrets)[1]), ""
    except ConfigError as error:
        return None, str(error)


def defer_refused(events: Iterable[EventBatch], run: RunContext) -> Iterator[EventBatch]:
    """The events that a run would send; those of clients that cannot be sent for are deferred, with the cause said."""
    book, causes = StatusBook(run.services.deployment.platform.stage), dict[str, str | None]()
    for batch in events:
        for (client,), own in batch.partition_by("client") if len(batch) else ():
            if client not in causes:
                token, problem = _find_fingerprint(client, run.services)
                causes[client] = problem or find_stop(book.read(client), token)
                run.tally.notices += [f"{client}: {causes[client]}"] if causes[client] else []
            if causes[client]:
                run.books.enter_events(own.events, Fate.DEFERRED, Reason.CLIENT_STOPPED)
            else:
                yield own.events


def _check_clock_before(requests: Iterable[Request], services: Services) -> Iterator[Request]:
    """The same requests; raises ``WrongClockError`` before the first if this machine's clock is wrong."""
    for request in requests:
        services.witness.check()
        yield request


def split_expired(run: RunContext, events: EventBatch) -> tuple[EventBatch, EventBatch]:
    """Events young enough for all tries of a request that would leave now, and those that have expired meanwhile."""
    services = run.services
    split = split_by_age(events, clients=services.deployment.recipients, now=services.clock(), margin=run.retry_reserve)
    if len(split[1]):
        services.witness.check()
    return split


def learn_shapes(run: RunContext) -> None:
    """Later runs know the shapes of this one, unless it was stopped or had no event that could be sent."""
    if run.tally.sendable and not run.tally.stopped:
        services = run.services
        save_shapes(services.ledger, run.upload.name, run.drift.found, run_id=run.run_id, now=services.clock())
