"""The command line: parse, call, print, exit code. Everything it does can be called from Python as well.

Exit codes: 0 all well, 1 partial loss or failure, 2 usage or configuration.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from offline_capi import __version__
from offline_capi.errors import ConfigError, OfflineCapiError, UsageError
from offline_capi.model import Window
from offline_capi.process import set_up_process

if TYPE_CHECKING:
    from offline_capi.clients import Standing
    from offline_capi.config import Deployment, Upload
    from offline_capi.ledger import RunRecord
    from offline_capi.model import Tally
    from offline_capi.pipeline import Services
    from offline_capi.report import RunReport

app = typer.Typer(
    name="offline-capi",
    help="Send conversions that happened offline to Meta's Conversions API, nightly and in bulk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

ConfigOption = Annotated[Path, typer.Option("--config", help="Folder that holds clients.yml and uploads/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
UploadArgument = Annotated[str, typer.Argument(help="Name of a file in uploads/, without .yml.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Start: a date or time in the upload's zone. Default: yesterday.")
]
UntilOption = Annotated[str | None, typer.Option(help="End, exclusive. Default: one day after --since.")]
ClientOption = Annotated[list[str] | None, typer.Option("--client", help="Only this client's rows; may be repeated.")]

DEFAULT_CONFIG = Path("dags")


def main() -> NoReturn:
    """Run a command; every error a user can cause ends in one message and an exit code, never in a traceback."""
    set_up_process()
    try:
        app(standalone_mode=True)
    except ConfigError as error:
        _fail(error, 2)
    except OfflineCapiError as error:
        _fail(error, 1)
    except OSError as error:  # the ledger's folder, the stage, a report's file: all are places on this machine
        _fail(_unusable_place(error), 1)
    except KeyboardInterrupt:
        err.print("stopped. What was sent is recorded; running again is safe and sends only what is missing.")
        sys.exit(130)
    sys.exit(0)


def _unusable_place(error: OSError) -> OfflineCapiError:
    place = error.filename or "a file on this machine"
    return OfflineCapiError(
        f"{place} cannot be used: {error.strerror}. Everything sent is recorded; make room there, or name another "
        "place (--html, OFFLINE_CAPI_STAGE, OFFLINE_CAPI_LEDGER), then run again: it is safe and sends only what is "
        "missing."
    )


def _fail(error: OfflineCapiError, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": type(error).__name__, "message": str(error)})
    err.print(f"[bold red]{type(error).__name__}[/]: ", end="")
    err.print(str(error), markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


# ---------------------------------------------------------------------------------------------- what will happen


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

    with opened(config) as services:
        one = find(services.deployment, upload)
        clients = find_clients(services.deployment, client)
        report = plan_upload(one, window_of(one, since, until), services, clients=clients)
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

    with opened(config) as services:
        one = find(services.deployment, upload)
        print_json(pipeline.preview(one, window_of(one, since, until), services, limit=limit))


# ---------------------------------------------------------------------------------------------- doing it


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

    with opened(config) as services:
        one = find(services.deployment, upload)
        window, clients = window_of(one, since, until), find_clients(services.deployment, client)
        with progress(one, window, services, quiet=as_json) as on_progress:
            report = run_upload(one, window, services, clients=clients, on_progress=on_progress)
    show(report, as_json)
    sys.exit(0 if report.status == "complete" else 1)


# ---------------------------------------------------------------------------------------------- what happened


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="Run id. Default: the last runs.")] = None,
    limit: Annotated[int, typer.Option(help="How many runs.", min=1)] = 10,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the last runs, or one of them."""
    with opened(config) as services:
        runs = [services.ledger.run(run)] if run else services.ledger.runs(limit)
    if as_json:
        print_json([record.to_json() for record in runs])
    else:
        print_runs(runs)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Run id, or 'last'.")] = "last",
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as an HTML page.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print the report of a run."""
    from offline_capi.pipeline import report_of
    from offline_capi.report import render_html

    with opened(config) as services:
        found = report_of(run, services)
    if html:
        html.write_text(render_html(found), encoding="utf-8")
        err.print(f"written: {html}")
    if as_json or not html:
        show(found, as_json)


@app.command()
def explain(
    code: Annotated[int, typer.Argument(help="Meta's error code, such as 100.")],
    subcode: Annotated[int | None, typer.Argument(help="Its error_subcode, such as 2804003.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what one of Meta's error codes means, and what to do."""
    from offline_capi.delivery import explain as entry_of

    entry = entry_of(code, subcode)
    if as_json:
        print_json(entry._asdict())
    else:
        out.print(f"[bold]{code}{f'/{subcode}' if subcode else ''}[/]  {entry.means}", highlight=False)
        out.print(f"  at fault: {entry.scope}   we: {entry.action}   you: {entry.do}", highlight=False)
        out.print(f"  source: {entry.source}", style="dim", highlight=False)


# ---------------------------------------------------------------------------------------------- around it


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8420,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run a local Graph API that validates as Meta does and shows what it was sent."""
    from offline_capi.sandbox import run_sandbox

    out.print(f"sandbox: http://{host}:{port} (page), graph_url for uploads; every token may write; Ctrl-C stops it")
    run_sandbox(host=host, port=port)


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


@app.command()
def schema(
    which: Annotated[str, typer.Argument(help="upload or clients.")] = "upload",
) -> None:
    """Print the JSON Schema of the YAML files, for editors."""
    from offline_capi.config import json_schema

    schemas = json_schema()
    if which not in schemas:
        raise UsageError(f'schema: "{which}" is unknown; one of: {", ".join(schemas)}')
    print_json(schemas[which])


@app.command()
def ddl() -> None:
    """Print the SQL of the ledger, for those who create tables by hand."""
    from offline_capi.ledger import ddl as ledger_ddl

    typer.echo(ledger_ddl())


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder for the warehouse, ledger and Airflow's database.")] = Path(
        ".demo"
    ),
) -> None:
    """Run a whole night on data_samples/ against the sandbox, through the real Airflow DAGs."""
    from offline_capi.demo import run_demo

    sys.exit(run_demo(home, out))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


# ---------------------------------------------------------------------------------------------- seams


def load(config: Path) -> Deployment:
    from offline_capi.config import load_config

    return load_config(config)


def find(deployment: Deployment, name: str) -> Upload:
    if name in deployment.uploads:
        return deployment.uploads[name]
    raise UsageError(f'no upload "{name}" in {deployment.folder / "uploads"}{_hint(name, deployment.uploads)}')


def find_clients(deployment: Deployment, names: list[str] | None) -> list[str]:
    """The clients of --client; a name that nobody has would narrow a run to nothing and look like a success."""
    for name in names or ():
        if name not in deployment.clients:
            place = deployment.folder / "clients.yml"
            raise UsageError(f'--client: no client "{name}" in {place}{_hint(name, deployment.clients)}')
    return names or []


def _hint(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else f"; one of: {', '.join(sorted(known))}"


def environment_secrets() -> Any:
    from offline_capi.config import EnvironmentSecrets

    return EnvironmentSecrets()


@contextmanager
def opened(config: Path) -> Iterator[Services]:
    """The configuration and its ledger, closed at the end."""
    from offline_capi.pipeline import open_services

    with open_services(load(config), environment_secrets()) as services:
        yield services


def window_of(upload: Upload, since: str | None, until: str | None) -> Window:
    """The window that --since and --until name, in the upload's zone; yesterday where neither is given."""
    zone = ZoneInfo(upload.window.timezone)
    yesterday = datetime.now(UTC).astimezone(zone).date() - timedelta(days=1)
    start = _moment(since, zone, "--since") if since else _midnight(yesterday, zone)
    end = _moment(until, zone, "--until") if until else start + timedelta(days=1)
    if start >= end:
        raise UsageError(f"--since {start} is not before --until {end}; the window is half-open")
    return Window(start, end)


def _moment(text: str, zone: ZoneInfo, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f'{option} "{text}" is neither a date (2026-11-23) nor a time (2026-11-23T06:00)') from None
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def show(found: RunReport, as_json: bool) -> None:
    from offline_capi.report import print_report

    if as_json:
        print_json(found.to_json())
    else:
        print_report(found, out)


def print_clients(found: list[Standing]) -> None:
    for one in found:
        mark = "[yellow]![/]" if one.problem or not one.active else "[green]✓[/]"
        token = one.problem or f"token {one.fingerprint} from {one.token_from}"
        out.print(f"{mark} {one.client}  pixel {one.pixel}{'' if one.active else '  paused'}", highlight=False)
        out.print(f"  {token}", style="dim", highlight=False, markup=False)


def print_runs(runs: list[RunRecord]) -> None:
    marks = {"complete": "[green]✓[/]", "partial": "[yellow]![/]", "failed": "[red]✗[/]", "running": "…"}
    for run in runs:
        out.print(f"{marks[run.status]} {run.id}  {run.upload}  {run.window}", highlight=False)
        out.print(f"  {run.balance or run.status}", style="dim", highlight=False)
    if not runs:
        out.print("no runs yet")


@contextmanager
def progress(upload: Upload, window: Window, services: Services, *, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """A bar with rows, events, rate and time left on a terminal; a line every few seconds without one."""
    from offline_capi.preflight import rows_to_expect
    from offline_capi.report import show_progress

    total = rows_to_expect(upload, window, services) if err.is_terminal and not quiet else None
    with show_progress(upload.name, err, quiet=quiet, total=total) as on_progress:
        yield on_progress


if __name__ == "__main__":
    main()
