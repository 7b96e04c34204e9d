"""The version of this program, and how Meta takes the versions of its API that are configured."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi import __version__
from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    environment_secrets,
    out,
    print_json,
    print_line,
    print_warnings,
)

if TYPE_CHECKING:
    from offline_capi.clients.versions import VersionCheck
    from offline_capi.config import Deployment

_MARKS = {"served": ("✓", "green"), "other": ("!", "yellow"), "refused": ("✗", "red"), "unclear": ("?", "yellow")}


@app.command()
def version(
    canary: Annotated[bool, typer.Option("--canary", help="Ask Meta whether it serves the Graph versions.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print the version and what computes SHA-256; with --canary, also how Meta takes the configured Graph versions."""
    if not canary:
        from offline_capi.runtime.sha256 import KERNEL

        if as_json:
            print_json({"offline_capi": __version__, "sha256": KERNEL})
        else:
            typer.echo(f"{__version__}\nSHA-256 by {KERNEL}")
        return
    from offline_capi.config import load_clients
    from offline_capi.meta.versions import version_warnings

    deployment = load_clients(config)
    checks, warnings = (
        _check_versions(deployment),
        version_warnings(deployment.platform.versions, datetime.now(UTC).date()),
    )
    if as_json:
        print_json({"offline_capi": __version__, "versions": [look.to_json() for look in checks], "warnings": warnings})
    else:
        print_version_checks(checks)
        print_warnings(warnings)
    sys.exit(0 if checks and all(look.verdict == "served" for look in checks) else 1)


def _check_versions(deployment: Deployment) -> tuple[VersionCheck, ...]:
    from offline_capi.clients.health import make_app_credentials
    from offline_capi.clients.versions import check_versions
    from offline_capi.meta.graph.client import GraphClient

    platform, secrets = deployment.platform, environment_secrets()
    with GraphClient(platform.graph_url, platform.versions) as graph:
        of_app = make_app_credentials(platform, secrets)
        return check_versions(graph, platform, secrets, deployment.clients.values(), app=of_app)


def print_version_checks(checks: tuple[VersionCheck, ...]) -> None:
    for look in checks:
        mark, colour = _MARKS[look.verdict]
        end = f"it ends on {look.ends}" if look.ends else "its end is not announced, or not in our table"
        line = f"{mark} {look.words} ({', '.join(look.families)}); {end}"
        print_line(line, style=colour)
    if not checks:
        out.print("? there is no token to ask with: no platform.app, and no client's token can be had", style="yellow")
