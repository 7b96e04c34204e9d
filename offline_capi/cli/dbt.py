"""Commands for dbt projects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from offline_capi.cli.app import CommandApp, app
from offline_capi.cli.shell import DEFAULT_CONFIG, ConfigOption, environment_secrets, load, print_line
from offline_capi.errors import OfflineCapiError

dbt_app = CommandApp(path="dbt ", help="What a dbt project knows of uploads.", no_args_is_help=True)
app.add_typer(dbt_app, name="dbt")


@dbt_app.command("exposures")
def dbt_exposures(
    output: Annotated[
        Path | None, typer.Option(help="The file to write, in a folder of dbt's models. Default: print it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write an exposure for each upload that reads what dbt builds; the same bytes until something changes."""
    from offline_capi.audit.exposures import write_exposures

    text = write_exposures(load(config), environment_secrets())
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        if not output.exists() or output.read_bytes() != text.encode():
            output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OfflineCapiError(f"{output} cannot be written: {error.strerror}. Nothing else was changed") from None
    print_line(f"✓ {output}: {text.count('  type: application')} exposures")
