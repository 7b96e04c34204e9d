"""What Meta gives back of the events it got."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi.cli.clients import clients_app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    find_clients,
    opened,
    out,
    print_json,
    print_line,
    print_warnings,
)

if TYPE_CHECKING:
    from offline_capi.operations.quality import FetchResult


@clients_app.command("quality")
def clients_quality(
    client: Annotated[str | None, typer.Argument(help="Only this client; without it, all active ones.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Ask Meta what it got in the last seven days, keep it, and set it beside what was sent."""
    from offline_capi.operations.quality import pull_quality

    with opened(config) as services:
        names = find_clients(services.deployment, [client] if client else None)
        pulled = pull_quality(services, clients=names)
    if as_json:
        print_json(pulled.to_json())
    else:
        print_pulled(pulled)
    sys.exit(0 if pulled.complete else 1)


def print_pulled(pulled: FetchResult) -> None:
    from offline_capi.report import print_quality

    if pulled.quality:
        print_quality(pulled.quality, out)
    for one in pulled.unread:
        what = f"{one.kind} was not told" if one.kind else "nothing was asked"
        print_line(f"? {one.client}: {what}: {one.words}", style="yellow")
    print_warnings(pulled.warnings)
