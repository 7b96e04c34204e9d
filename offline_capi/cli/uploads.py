"""Commands that look at an upload, and the one that sends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ClientOption,
    ConfigOption,
    JsonOption,
    SinceOption,
    UntilOption,
    UploadArgument,
    announce,
    environment_secrets,
    err,
    find,
    finish,
    finish_night,
    load,
    opened,
    opened_upload,
    out,
    print_indented,
    print_json,
    print_line,
    print_plain_json,
    print_warnings,
    progress,
    show,
    show_settled,
    window_of,
)
from offline_capi.errors import OfflineCapiError, UsageError
from offline_capi.model import Fate
from offline_capi.runtime.nouns import count_noun

if TYPE_CHECKING:
    from offline_capi.config import Deployment, Upload
    from offline_capi.model import Tally, Window
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport


@app.command()
def check(
    upload: Annotated[str | None, typer.Argument(help="Only this upload. Default: all.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also look at the sources' columns, and at Spark's executors.")
    ] = False,
    contract: Annotated[
        Path | None,
        typer.Option(help="Also compare the upload with a contract of the Open Data Contract Standard, version 3."),
    ] = None,
    schema_object: Annotated[
        str | None, typer.Option(help="Which object of the contract, where it has several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Validate the configuration; all problems at once, each with file and line."""
    from offline_capi.config.columns import list_patterns
    from offline_capi.config.source import can_spread
    from offline_capi.meta.versions import version_warnings

    deployment = load(config, upload)
    chosen = [find(deployment, upload)] if upload else list(deployment.uploads.values())
    for one in chosen:
        if list_patterns(one):
            from offline_capi.operations.preflight import check_patterns  # loads Arrow, which most checks do without

            check_patterns(one, deployment)
    if connect:
        from offline_capi.operations.preflight import check_columns

        for one in chosen:
            check_columns(one, window_of(one, None, None), deployment, environment_secrets())
        if any(one.engine.spark for one in chosen):
            from offline_capi.pipeline.spark import check_executors

            platform = deployment.platform
            check_executors(platform.spark, environment_secrets(), platform.stage, platform.file_access)
    disagreeing = [words for one in chosen for words in _check_dbt(one, deployment)]
    expectations: list[dict[str, object]] = []
    if contract is not None:
        told, expectations = _check_contract(contract, schema_object, chosen, deployment)
        disagreeing += told
    elif schema_object is not None:
        raise UsageError("check: --schema-object belongs to --contract FILE")
    names, ids = [one.name for one in chosen], _describe_external_ids(deployment, chosen)
    warnings = version_warnings(deployment.platform.versions, datetime.now(UTC).date())
    warnings += disagreeing
    warnings += [
        f"{one.name}: engine: spark spreads files and Spark's tables alone; the rows of its source are prepared where"
        " the run is started"
        for one in chosen
        if one.engine.spark and not can_spread(one.source)
    ]
    if as_json:
        found = {"uploads": names, "clients": sorted(deployment.clients), "connected": connect}
        chosen_environment = {"environment": deployment.environment} if deployment.environment else {}
        suggested = {} if contract is None else {"expect": expectations}
        print_json(
            {**found, **chosen_environment, "problems": [], "warnings": warnings, "external_ids": ids, **suggested}
        )
    else:
        seen = " with the columns of each source" if connect else ""
        where = f", environment {deployment.environment}" if deployment.environment else ""
        clients = count_noun(len(deployment.clients), "client")
        counted = f"{count_noun(len(names), 'upload')} ({', '.join(names)}){seen}, {clients}"
        print_line(f"✓ {counted}{where}: no problems")
        for client, words in ids.items():
            print_indented(f"{client}: external_id goes out {words}", style="dim")
        print_warnings(warnings)
        if expectations:
            print_line("The contract also promises this of the rows; to have it checked in every run, add to expect:")
            for line in _format_expectations(expectations):
                out.print(line, markup=False, highlight=False, soft_wrap=True)


def _check_dbt(upload: Upload, deployment: Deployment) -> list[str]:
    """Warnings about an upload and the dbt relations that it reads or runs after; errors end the command."""
    from offline_capi.config.source import DbtSource

    reads = any(isinstance(node, DbtSource) for node in (upload.source, *upload.lookups.values()))
    if not reads and not deployment.list_awaited_models(upload):
        return []
    from offline_capi.audit.contract import check_dbt_contracts, raise_errors

    return raise_errors(check_dbt_contracts(upload, deployment, environment_secrets()), upload, deployment)


def _check_contract(
    file: Path, name: str | None, chosen: Sequence[Upload], deployment: Deployment
) -> tuple[list[str], list[dict[str, object]]]:
    """Warnings about an upload and a contract, and the row checks that it lacks; errors end the command."""
    from offline_capi.audit.contract import compare_with_contract, raise_errors, suggest_expectations
    from offline_capi.audit.odcs import read_data_contract

    if len(chosen) != 1:
        raise UsageError(f"check: --contract is about one upload; name it, such as {chosen[0].name if chosen else 'a'}")
    (upload,) = chosen
    contract, rules = read_data_contract(file, name, upload)
    warnings = raise_errors(compare_with_contract(upload, contract), upload, deployment)
    return warnings, suggest_expectations(upload, contract, rules)


def _format_expectations(expectations: Sequence[dict[str, object]]) -> list[str]:
    """Items of ``expect`` as YAML, one a line."""
    import yaml

    width = 10_000
    return [
        f"  - {yaml.safe_dump(one, default_flow_style=True, sort_keys=False, width=width, allow_unicode=True).strip()}"
        for one in expectations
    ]


def _describe_external_ids(deployment: Deployment, uploads: Sequence[Upload]) -> dict[str, str]:
    """How each client's ids go out, of those that send any; `external-id check` compares them with a browser's."""
    from offline_capi.audit import describe_policy
    from offline_capi.audit.reading import list_clients

    words: dict[str, str] = {}
    for upload in uploads:
        for name in list_clients(upload, deployment) if "external_id" in upload.user_data else ():
            client = deployment.clients[name]
            profile = upload.profile or client.profile or deployment.platform.profile
            words[name] = describe_policy(client.external_id, profile)
    return words


@app.command()
def plan(
    upload: UploadArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell what an upload would do, per day and client; sends nothing."""
    from offline_capi.pipeline import plan_upload

    with opened_upload(config, upload, since, until, client) as (services, one, window, clients):
        report = plan_upload(one, window, services, clients=clients)
    show(report, as_json)


@app.command()
def preview(
    upload: UploadArgument,
    limit: Annotated[int, typer.Option(help="How many events, or rows.", min=1)] = 3,
    raw: Annotated[bool, typer.Option("--raw", help="Rows before the mapping, with people's data masked.")] = False,
    since: SinceOption = None,
    until: UntilOption = None,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print the first events as JSON, exactly as they would go out; sends nothing."""
    from offline_capi import pipeline

    if raw and client:
        raise UsageError("--raw shows rows before they belong to a client: leave out one of --raw and --client")
    with opened_upload(config, upload, since, until, client) as (services, one, window, clients):
        if raw:
            from offline_capi.operations.raw_preview import preview_raw

            rows = preview_raw(one, window, services, limit=limit)
            print_json({"rows": rows}) if as_json else print_plain_json(rows)
        else:
            events = pipeline.preview_upload(one, window, services, limit=limit, clients=clients)
            print_json({"events": events}) if as_json else print_plain_json(events)


@app.command("test")
def run_tests_command(
    upload: Annotated[str | None, typer.Argument(help="Only this upload. Default: all.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run the examples written in uploads (given these columns, expect this event); reads no source, sends nothing."""
    from offline_capi.operations.upload_tests import run_tests

    deployment = load(config, upload)
    chosen = [find(deployment, upload)] if upload else list(deployment.uploads.values())
    found = [result for one in chosen for result in run_tests(one, deployment)]
    if not found:
        raise UsageError(f"there are no tests under `tests:` in {', '.join(one.name for one in chosen) or 'no upload'}")
    failed = sum(not result.passed for result in found)
    if as_json:
        print_json({"passed": len(found) - failed, "failed": failed, "tests": [one.to_json() for one in found]})
    for result in () if as_json else found:
        out.print(f"{'✓' if result.passed else '✗'} {result.upload}: {result.name}", highlight=False, markup=False)
        lines = [] if result.passed else [result.place, *result.differences]
        for line in lines:
            print_line(f"    {line}")
    if not as_json:
        out.print(f"{len(found) - failed} passed, {failed} failed", highlight=False)
    sys.exit(1 if failed else 0)


@app.command("upload")
def upload_command(
    upload: UploadArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    client: ClientOption = None,
    test_event_code: Annotated[
        str | None, typer.Option(help="Show the events in Meta's Test Events tab; they count, the ledger forgets them.")
    ] = None,
    scheduled: Annotated[bool, typer.Option("--scheduled", help="Say that a scheduler calls, not a person.")] = False,
    force_gates: Annotated[
        bool, typer.Option("--force-gates", help="Let the run pass gates that would stop it.")
    ] = False,
    settle: Annotated[
        bool, typer.Option("--settle/--no-settle", help="Also take up the days that earlier runs left open.")
    ] = True,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where rows are prepared: local, processes or spark; see engine.")
    ] = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Worker processes that prepare rows; see engine.processes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: the same as `plan`.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send the rows of a window. Running it again sends nothing twice.

    A run that reaches up to yesterday first takes up the days that earlier runs left open.
    """
    if dry_run:
        if test_event_code or force_gates:
            raise UsageError("--dry-run sends nothing: leave out --test-event-code and --force-gates")
        plan(upload, since, until, client, config, as_json)
        return
    from offline_capi.ledger import AuditAction, record_audit
    from offline_capi.operations.alerts import alert_on_error
    from offline_capi.pipeline import run_upload
    from offline_capi.pipeline.settle import run_nightly

    trigger = "scheduled" if scheduled else "manual"
    opening = opened_upload(config, upload, since, until, client, trigger=trigger, engine=engine)
    with opening as (services, one, window, clients):
        one = set_engine(one, engine, processes)
        with_open_days = settle and not clients and not test_event_code and window.reaches_last_day(services.clock())
        total = estimate_total(one, window, services, quiet=as_json)
        counted: list[Tally] = []

        def note(tally: Tally) -> None:
            counted[:] = [tally]
            on_progress(tally)

        with (
            _report_interruption(one.name, counted),
            alert_on_error(one.name, services),
            progress(one.name, quiet=as_json, total=total) as on_progress,
        ):
            if not services.ledger.runs.list_newest(1):
                announce(f"! new ledger: {services.ledger.place}")
            if force_gates:  # before it runs: who forced a night stands in the log however it ends
                record_audit(
                    services.ledger,
                    AuditAction.FORCE_GATES,
                    one.name,
                    now=services.clock(),
                    detail={"window": str(window), **({"clients": clients} if clients else {})},
                )
            if with_open_days:
                night = run_nightly(
                    one,
                    window,
                    services,
                    trigger=trigger,
                    force_gates=force_gates,
                    announce=announce,
                    on_progress=note,
                )
                tell_alerts([*night.settled.reports, night.report], services)
            else:
                report = run_upload(
                    one,
                    window,
                    services,
                    trigger=trigger,
                    clients=clients,
                    test_event_code=test_event_code,
                    force_gates=force_gates,
                    on_progress=note,
                )
                tell_alerts([report], services)
            delete_expired(services)
    finish_night(night, as_json) if with_open_days else finish(report, as_json)


def set_engine(upload: Upload, name: str | None, processes: str | None) -> Upload:
    """The upload with another engine, or number of worker processes; ``UsageError`` if there is none of that name."""
    from offline_capi.config.upload import Engine, expand_engine

    if name is not None and processes is not None:
        raise UsageError("--engine and --processes exclude each other: leave out one of them")
    if name is None and processes is None:
        return upload
    try:
        number = processes if processes in (None, "auto") else int(processes)
        chosen = Engine.model_validate(expand_engine(name) if name is not None else {"processes": number})
    except ValueError:
        raise UsageError(
            f'--engine: "{name}" is none of local, processes and spark'
            if name is not None
            else f'--processes: "{processes}" is neither auto nor a number from 1 to 64'
        ) from None
    return upload.model_copy(update={"engine": chosen})


@contextmanager
def _report_interruption(upload: str, counted: Sequence[Tally]) -> Iterator[None]:
    """Ctrl-C ends an upload with what it sent until then, and that repeating is safe."""
    try:
        yield
    except KeyboardInterrupt:
        sent = counted[0].count(Fate.SENT) if counted else 0
        announce(
            f"{upload} stopped by hand: {sent:,} events were sent and are recorded. Requests under way are recorded as "
            "unconfirmed until the next run settles them. The same command again is safe: it sends what is missing.",
            level="warning",
            upload=upload,
            sent=sent,
        )
        sys.exit(130)


@app.command("settle")
def settle_command(
    upload: Annotated[str | None, typer.Argument(help="Only this upload. Default: all.")] = None,
    force_gates: Annotated[
        bool, typer.Option("--force-gates", help="Let days pass gates that would stop them.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Take up what earlier runs left open, oldest first, and nothing else: for a cron every few hours."""
    from offline_capi.ledger import AuditAction, record_audit
    from offline_capi.pipeline.settle import SettlementResult, settle_upload

    found: dict[str, SettlementResult] = {}
    with opened(config, upload) as services:
        uploads = services.deployment.uploads
        chosen = [find(services.deployment, upload)] if upload else list(uploads.values())
        for one in chosen:
            if force_gates:
                record_audit(services.ledger, AuditAction.FORCE_GATES, one.name, now=services.clock())
            found[one.name] = settle_upload(one, services, force_gates=force_gates, announce=announce)
            tell_alerts(found[one.name].reports, services)
    if as_json:
        print_json({"uploads": {name: settled.to_json() for name, settled in found.items()}})
    for name, settled in found.items():
        show_settled(name, settled, quiet=as_json)
    sys.exit(0 if all(settled.complete for settled in found.values()) else 1)


def tell_alerts(reports: Sequence[RunReport], services: Services) -> None:
    """Tell whoever the platform names; where that fails, say so: how the runs ended is not changed by it."""
    from offline_capi.operations.alerts import raise_alerts

    for report in reports:
        try:
            raise_alerts(report, services)
        except OfflineCapiError as error:
            print_warnings([str(error)], err)


def delete_expired(services: Services) -> None:
    """Once a day, what is older than ``platform.retention`` says; that it fails does not make the run another one."""
    from offline_capi.privacy import purge_if_due

    try:
        purge_if_due(services)
    except (OfflineCapiError, OSError) as error:
        words = error if isinstance(error, OfflineCapiError) else f"{error.filename or 'a file'}: {error.strerror}"
        print_warnings([f"what is older than platform.retention could not be deleted: {words}"], err)


def estimate_total(upload: Upload, window: Window, services: Services, *, quiet: bool) -> int | None:
    """About how many rows there will be, where a bar shows it."""
    from offline_capi.operations.preflight import estimate_rows

    return estimate_rows(upload, window, services) if err.is_terminal and not quiet else None
