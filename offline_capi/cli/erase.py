"""Remove a person from everything we keep."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ClientOption,
    ConfigOption,
    JsonOption,
    find_clients,
    opened,
    out,
    print_json,
    print_line,
    print_warnings,
)
from offline_capi.errors import UsageError
from offline_capi.model import format_utc

if TYPE_CHECKING:
    from offline_capi.privacy import Erased

_Values = list[str] | None
_HINT = "Readable; - reads it from standard input, so that it stands in no list of processes."


@app.command()
def erase(
    em: Annotated[_Values, typer.Option("--em", help=f"E-mail address. {_HINT}")] = None,
    ph: Annotated[_Values, typer.Option("--ph", help="Phone number.")] = None,
    external_id: Annotated[_Values, typer.Option("--external-id", help="The client's own id of the person.")] = None,
    event_id: Annotated[_Values, typer.Option("--event-id", help="An event of the person; may be repeated.")] = None,
    event_name: Annotated[_Values, typer.Option("--event-name", help="A name of events that the YAML lacks.")] = None,
    country: Annotated[str | None, typer.Option(help="Country of a national phone number, such as US.")] = None,
    no_source: Annotated[
        bool,
        typer.Option("--no-source", help="Do not read the uploads' sources again: quicker, and less can be found."),
    ] = False,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a person from everything that is kept, and say what that was; exit code 0 only where nothing is left."""
    from offline_capi.privacy import Person, erase_person

    given = {"em": _read_values(em), "ph": _read_values(ph), "external_id": _read_values(external_id)}
    if not any((*given.values(), event_id)):
        raise UsageError("erase: name the person by --em, --ph or --external-id, or their events by --event-id")
    with opened(config) as services:
        clients = find_clients(services.deployment, client)
        identity = {key: values for key, values in given.items() if values}
        person = Person(identity, event_id or (), event_name or (), country, clients)
        erased = erase_person(person, services, read_sources=not no_source)
    if as_json:
        print_json(erased.to_json())
    else:
        print_erased(erased)
    sys.exit(0 if erased.complete else 1)


def _read_values(given: _Values) -> list[str]:
    return [sys.stdin.readline().rstrip("\r\n") if value == "-" else value for value in given or ()]


def print_erased(erased: Erased) -> None:
    removed = f"{erased.staged:,} staged events, {erased.rejects:,} rejects, {erased.ledger:,} events of the ledger"
    out.print(f"erased: {removed}", highlight=False)
    looked = erased.looked_through
    notes = [
        f"looked through: {looked.staged_files:,} staged files, {looked.reject_files:,} of rejects, "
        f"{looked.ledger_events:,} events of the ledger, {looked.reports:,} reports and books of tasks, "
        f"{looked.client_statuses:,} clients' statuses, {looked.source_rows:,} rows of sources read again"
    ]
    if erased.documents:
        notes.append(f"written over in {erased.documents:,} reports, books or statuses, where it stood readable")
    if erased.remembered_since:
        since = erased.remembered_since
        notes.append(f"the ledger goes back to {format_utc(since)}: of what was sent before, nothing is kept")
    if gone := erased.forgotten:
        notes.append(
            f"before that, {gone.events:,} events of anybody were delivered to Meta ({format_utc(gone.first_at)} to "
            f"{format_utc(gone.last_at)}): only Meta can tell whether this person's are among them"
        )
    for one in erased.delivered:
        when = (
            format_utc(one.first_at) if one.events == 1 else f"{format_utc(one.first_at)} to {format_utc(one.last_at)}"
        )
        sure = "delivered to Meta" if one.certain else "perhaps delivered to Meta"
        notes.append(f"{sure}: {one.events:,} events of {one.client}, pixel {one.pixel}, {when}; ask Meta there")
    if erased.in_source:
        notes.append(
            f"{erased.in_source:,} rows still stand in the source: remove them there, or the next run over their "
            "window sends them again"
        )
    for note in notes:
        print_line(f"  {note}", style="dim")
    if erased.complete:
        out.print("complete: found nowhere any more", highlight=False)
    else:
        out.print("not complete:", highlight=False)
        print_warnings(erased.not_known)
