"""Commands about the ledger itself."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, moment_of, opened, out, print_json
from offline_capi.errors import UsageError
from offline_capi.model import in_utc

ledger_app = typer.Typer(help="What was sent, and for how long that is remembered.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")


@ledger_app.command()
def purge(
    before: Annotated[str | None, typer.Option(help="A date or time in UTC. Default: 70 days ago.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Forget events that are too old to be sent again."""
    from offline_capi.ledger import forget_before

    with opened(config) as services:
        latest = forget_before(services.clock(), services.deployment.clients.values())
        moment = moment_of(before, UTC, "--before") if before else latest
        if moment > latest:
            raise UsageError(
                f"--before {moment:%Y-%m-%d}: events sent after {latest:%Y-%m-%d} could still be sent again, and would "
                "be if the ledger forgot them. Nothing was forgotten; name an earlier date"
            )
        forgotten = services.ledger.purge(moment)
    if as_json:
        print_json({"before": moment.isoformat(), "forgotten": forgotten})
    else:
        out.print(f"forgotten: {forgotten:,} events sent before {in_utc(moment)}", highlight=False)
