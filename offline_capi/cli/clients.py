"""Commands about the clients we send for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, environment_secrets, load, out, print_json

if TYPE_CHECKING:
    from offline_capi.clients import Standing

clients_app = typer.Typer(help="Who we send for.", no_args_is_help=True)
app.add_typer(clients_app, name="clients")


@clients_app.command("list")
def clients_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the clients, and whether their tokens can be had."""
    from offline_capi.clients import standings

    found = standings(load(config).clients, environment_secrets())
    if as_json:
        print_json([standing.to_json() for standing in found])
    else:
        print_clients(found)


def print_clients(found: list[Standing]) -> None:
    for one in found:
        mark = "[yellow]![/]" if one.problem or not one.active else "[green]✓[/]"
        token = one.problem or f"token {one.fingerprint} from {one.token_from}"
        out.print(f"{mark} {one.client}  pixel {one.pixel}{'' if one.active else '  paused'}", highlight=False)
        out.print(f"  {token}", style="dim", highlight=False, markup=False)
