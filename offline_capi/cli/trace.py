"""What became of one event, and who did what: the commands for whoever is asked about it later."""

from __future__ import annotations

import sys
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ClientOption,
    ConfigOption,
    JsonOption,
    find_clients,
    moment_of,
    opened,
    opened_records,
    out,
    print_json,
    print_line,
    print_warnings,
)
from offline_capi.errors import UsageError
from offline_capi.model import format_utc
from offline_capi.runtime.border import shown

if TYPE_CHECKING:
    from offline_capi.operations.tracing import EventTrace, TracedDelivery, TracedRow

#: The fate that a request's state means for its events, in words.
_STATES = {
    "accepted": "sent",
    "rejected": "rejected by Meta",
    "unconfirmed": "unconfirmed: no answer came",
    "posting": "on its way, or unconfirmed",
    "released": "not sent; the next run may send it",
}


@app.command()
def trace(
    event_id: Annotated[str | None, typer.Argument(help="The event's id.")] = None,
    row: Annotated[str | None, typer.Option(help="Instead of an id: FILE:ROW, or ROW with --run.")] = None,
    run: Annotated[str | None, typer.Option(help="The run that read the row.")] = None,
    event_name: Annotated[list[str] | None, typer.Option("--event-name", help="A name that the YAML lacks.")] = None,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell what became of one event: request, answer, Meta's trace id, copies for further pixels, rejects."""
    from offline_capi.operations.tracing import find_event_ids_of_row, trace_event
    from offline_capi.pipeline.rereading import UnreadSource

    if (event_id is None) == (row is None):
        raise UsageError("trace: give the event's id, or --row FILE:ROW (or --row ROW --run RUN)")
    with opened(config) as services:
        clients = find_clients(services.deployment, client)
        ids, unread = [event_id or ""], list[UnreadSource]()
        if row is not None:
            origin, number = _place(row)
            ids, unread = find_event_ids_of_row(number, services, origin=origin, run_id=run)
        traces = [trace_event(one, services, clients=clients, names=event_name or ()) for one in ids]
    known = any(one.known for one in traces)
    if as_json:
        print_json({"events": [one.to_json() for one in traces], "unread": [one.to_json() for one in unread]})
    else:
        for one in traces:
            print_trace(one)
        if not traces:
            out.print("no row like that became an event that anything is known of", highlight=False)
        print_warnings(f"{one.upload}, {one.window} could not be read again: {one.why}" for one in unread)
    sys.exit(0 if known else 1)


def _place(text: str) -> tuple[str | None, int]:
    """``FILE:ROW`` or ``ROW``."""
    origin, _, number = text.rpartition(":")
    if not number.isascii() or not number.isdigit():
        raise UsageError(f'--row "{text}" is neither FILE:ROW (sales.csv:47) nor the number of a row')
    return origin or None, int(number)


def print_trace(trace: EventTrace) -> None:
    print_line(f"event {trace.event_id}")
    for sent in trace.deliveries:
        _print_delivery(sent)
    for row in trace.rows:
        _print_row(row)
    if not trace.known:
        print_line("  nothing is known of it: it was never sent, or under another name or client, or it is forgotten")
    if trace.remembered_since:
        print_line(f"  the ledger goes back to {format_utc(trace.remembered_since)}", style="dim")


def _print_delivery(sent: TracedDelivery) -> None:
    one = sent.delivery
    code = f" ({one.code}/{one.subcode})" if one.subcode else f" ({one.code})" if one.code else ""
    when = format_utc(one.answered_at or one.posted_at)
    print_line(f"  {_STATES[one.state]}{code}  {sent.event_name}  {one.client}  pixel {one.pixel}  {when}")
    tries = "1 try" if one.tries == 1 else f"{one.tries} tries"
    trace_id = f", Meta's trace id {one.trace_id}" if one.trace_id else ""
    of_run = f"run {one.run_id} of {one.upload or 'an upload that is forgotten'}, {sent.window or 'window forgotten'}"
    print_line(f"    {of_run}; request {one.request_id} of {one.events:,} events, {tries}{trace_id}", style="dim")
    if code:
        from offline_capi.meta.graph.error_table import explain

        entry = explain(one.code or 0, one.subcode)
        print_line(f"    {entry.means}; {entry.do}", style="dim")


def _print_row(row: TracedRow) -> None:
    what = f"{row.fate}: {row.reason}" if row.fate else "staged to be sent"
    where = f" ({row.field})" if row.field else ""
    print_line(
        f"  {what}{where}  {row.client or 'no client'}  {shown(row.origin, 200)}:{row.row}  {row.day or 'no day'}"
    )
    print_line(f"    run {row.run_id}, {row.file}", style="dim")


@app.command("log")
def log_command(
    since: Annotated[str | None, typer.Option(help="A date or time in UTC.")] = None,
    action: Annotated[str | None, typer.Option(help="Only these: erase, force_gates, replay, …")] = None,
    limit: Annotated[int, typer.Option(help="How many entries.", min=1)] = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List who erased, forced a gate, replayed, resent, authorised or deleted what was old; newest first."""
    from offline_capi.ledger import AuditAction, list_audit_entries
    from offline_capi.runtime.nearest import did_you_mean

    actions = [one.value for one in AuditAction]
    if action is not None and action not in actions:
        guess = did_you_mean(action, actions, otherwise=f"; one of: {', '.join(actions)}")
        raise UsageError(f'log: there is no action "{action}"{guess}')
    with opened_records(config) as services:
        start = moment_of(since, UTC, "--since") if since else None
        chosen = AuditAction(action) if action else None
        entries = list_audit_entries(services.ledger, since=start, action=chosen, limit=limit)
    if as_json:
        print_json({"entries": [entry.to_json() for entry in entries]})
        return
    for entry in entries:
        run = f"  run {entry.run_id}" if entry.run_id else ""
        print_line(f"{format_utc(entry.at)}  {entry.action}  {entry.subject}{run}  by {entry.who}")
        if entry.detail:
            print_line(f"  {', '.join(f'{name} {_shown(value)}' for name, value in entry.detail.items())}", style="dim")
    if not entries:
        out.print("no entries")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
