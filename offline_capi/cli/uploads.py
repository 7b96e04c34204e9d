"""Commands that look at an upload, and the one that sends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    environment_secrets,
    err,
    find,
    load,
    opened_upload,
    out,
    print_json,
    show,
    window_of,
)

if TYPE_CHECKING:
    from offline_capi.config import Upload
    from offline_capi.model import Tally, Window
    from offline_capi.pipeline import Services


@app.command()
def check(
    upload: Annotated[str | None, typer.Argument(help="Only this upload. Default: all.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    connect: Annotated[bool, typer.Option("--connect", help="Also look at the sources' columns.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Validate the configuration; all problems at once, each with file and line."""
    deployment = load(config)
    chosen = [find(deployment, upload)] if upload else list(deployment.uploads.values())
    if connect:
        from offline_capi.preflight import check_columns

        for one in chosen:
            check_columns(one, window_of(one, None, None), deployment, environment_secrets())
    names = [one.name for one in chosen]
    if as_json:
        print_json({"uploads": names, "clients": sorted(deployment.clients), "connected": connect, "problems": []})
    else:
        seen = " and their sources' columns" if connect else ""
        out.print(f"✓ {len(names)} uploads ({', '.join(names)}){seen}, {len(deployment.clients)} clients: no problems")


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
    limit: Annotated[int, typer.Option(help="How many events.", min=1)] = 3,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,  # noqa: ARG001  the events are JSON either way
) -> None:
    """Print the first events as JSON, exactly as they would go out; sends nothing."""
    from offline_capi import pipeline

    with opened_upload(config, upload, since, until) as (services, one, window, _):
        print_json(pipeline.preview(one, window, services, limit=limit))


@app.command("upload")
def upload_command(
    upload: UploadArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send the rows of a window. Running it again sends nothing twice."""
    from offline_capi.pipeline import run_upload

    with (
        opened_upload(config, upload, since, until, client) as (services, one, window, clients),
        progress(one, window, services, quiet=as_json) as on_progress,
    ):
        report = run_upload(one, window, services, clients=clients, on_progress=on_progress)
    show(report, as_json)
    sys.exit(0 if report.status == "complete" else 1)


@contextmanager
def progress(upload: Upload, window: Window, services: Services, *, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """A bar with rows, events, rate and time left on a terminal; a line every few seconds without one."""
    from offline_capi.preflight import rows_to_expect
    from offline_capi.report import show_progress

    total = rows_to_expect(upload, window, services) if err.is_terminal and not quiet else None
    with show_progress(upload.name, err, quiet=quiet, total=total) as on_progress:
        yield on_progress
