"""Commands about the ledger itself."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from offline_capi.cli.app import CommandApp, app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    moment_of,
    opened,
    opened_records,
    out,
    print_json,
)
from offline_capi.errors import UsageError
from offline_capi.model import format_utc

ledger_app = CommandApp(
    path="ledger ", help="What was sent, and for how long that is remembered.", no_args_is_help=True
)
app.add_typer(ledger_app, name="ledger")


@ledger_app.command()
def purge(
    before: Annotated[
        str | None, typer.Option(help="Of the ledger's events: a date or time in UTC. Default: retention.ledger ago.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Delete what is older than platform.retention says: staged files, rejects, reports, events of the ledger."""
    from offline_capi.privacy import purge_expired
    from offline_capi.privacy.retention import compute_ledger_cutoff

    with opened(config) as services:
        latest = compute_ledger_cutoff(services)
        moment = moment_of(before, UTC, "--before") if before else latest
        if moment > latest:
            raise UsageError(
                f"--before {moment:%Y-%m-%d}: events sent after {latest:%Y-%m-%d} could still be sent again, and would "
                "be if the ledger forgot them. Nothing was forgotten; name an earlier date"
            )
        purged = purge_expired(services, before=moment, dry_run=dry_run)
    if as_json:
        print_json(purged.to_json())
        return
    verb = "would be forgotten" if dry_run else "forgotten"
    out.print(f"{verb}: {purged.events:,} events sent before {format_utc(moment)}", highlight=False)
    out.print(
        f"{'would be deleted' if dry_run else 'deleted'}: {purged.staged_files:,} files of staged events, "
        f"{purged.reject_files:,} of rejects, {purged.leftover_files:,} left by killed processes, "
        f"{purged.reports:,} reports, {purged.read_back:,} figures of Meta, {purged.audit_log:,} entries of the log",
        highlight=False,
        soft_wrap=True,
    )


@ledger_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to: a name that ends in .parquet or .csv.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write every event that the ledger knows to a table, by its key, to be joined with your own."""
    from offline_capi.ledger.export import export_events

    with opened_records(config) as services:
        events = export_events(services.ledger, file, services.deployment.platform.file_access)
    if as_json:
        print_json({"file": str(file), "events": events})
    else:
        out.print(f"written: {events:,} events to {file}", highlight=False, markup=False, soft_wrap=True)


@ledger_app.command()
def key(
    pixel: Annotated[str, typer.Argument(help="The pixel's id.")],
    event_name: Annotated[str, typer.Argument(help="The event's name, such as Purchase.")],
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
) -> None:
    """Print the key under which the ledger knows an event: 32 hex digits."""
    from offline_capi.events.keys import make_event_key

    typer.echo(make_event_key(pixel, event_name, event_id).hex())
