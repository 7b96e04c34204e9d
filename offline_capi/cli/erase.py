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
)
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.erasing import Erased

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
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a person from ledger, staged files and rejects."""
    from offline_capi.erasing import Person, erase_person

    given = {"em": _values(em), "ph": _values(ph), "external_id": _values(external_id)}
    if not any((*given.values(), event_id)):
        raise UsageError("erase: name the person by --em, --ph or --external-id, or their events by --event-id")
    with opened(config) as services:
        clients = find_clients(services.deployment, client)
        identity = {key: values for key, values in given.items() if values}
        person = Person(identity, event_id or (), event_name or (), country, clients)
        erased = erase_person(person, services)
    if as_json:
        print_json(erased.to_json())
    else:
        print_erased(erased)
    sys.exit(0 if erased.complete else 1)


def _values(given: _Values) -> list[str]:
    return [sys.stdin.readline().rstrip("\r\n") if value == "-" else value for value in given or ()]


def print_erased(erased: Erased) -> None:
    out.print(
        f"erased: {erased.staged:,} staged events, {erased.rejects:,} rejects, {erased.ledger:,} events of the ledger",
        highlight=False,
    )
    notes = [
        "rejects and ledger hold business keys, not people: what was not found through staged files needs --event-id",
        "the source is yours: a row that still stands in it is read and sent again by the next run over its window",
    ]
    if erased.unreadable:
        notes.append(f"{erased.unreadable} half-written files cannot be read: erase again when no run is under way")
    if not erased.scrubbed:
        notes.append("another process held the ledger, whose file may keep old bytes: erase again when it is done")
    for note in notes:
        out.print(f"  {note}", style="dim", highlight=False, markup=False, soft_wrap=True)
