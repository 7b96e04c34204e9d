"""Commands about runs that have been."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    announce,
    find,
    find_clients,
    finish,
    moment_of,
    opened,
    opened_records,
    out,
    print_indented,
    print_json,
    progress,
    show,
)
from offline_capi.errors import UsageError
from offline_capi.model import format_utc
from offline_capi.storage.private_files import replace_file

if TYPE_CHECKING:
    from offline_capi.ledger import RunRecord, UnconfirmedRequest
    from offline_capi.storage.private_files import FileAccess


@app.command()
def status(
    run: Annotated[
        str | None, typer.Argument(help="Run id, or with --days an upload. Default: the last runs, or all uploads.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many runs.", min=1)] = 10,
    unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Instead: the requests of all runs without an answer.")
    ] = False,
    days: Annotated[
        bool, typer.Option("--days", help="Instead: the calendar of an upload (or of all): complete, open, closed.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="First day of the calendar. Default: 30 days ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Day after the last one of the calendar. Default: today.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the last runs, or one of them; with --days what is owed for each day."""
    if days:
        _status_days(run, since, until, config, as_json=as_json)
        return
    if unconfirmed:
        _print_unconfirmed_requests(run, config, as_json=as_json)
        return
    with opened_records(config) as services:
        runs = [services.ledger.runs.get(run)] if run else services.ledger.runs.list_newest(limit)
    if as_json:
        print_json({"runs": [record.to_json() for record in runs]})
    else:
        print_runs(runs)


def _status_days(upload: str | None, since: str | None, until: str | None, config: Path, *, as_json: bool) -> None:
    from offline_capi.pipeline.open_days import read_calendar
    from offline_capi.report import print_calendar

    with opened(config, upload) as services:
        now, deployment = services.clock(), services.deployment
        chosen = [find(deployment, upload)] if upload else list(deployment.uploads.values())
        calendars = []
        for one in chosen:
            zone = ZoneInfo(one.window.timezone)
            first, end = (
                moment_of(text, zone, option).date() if text else None
                for text, option in ((since, "--since"), (until, "--until"))
            )
            calendars.append(read_calendar(one, deployment, services.ledger, now, first=first, end=end))
    if as_json:
        print_json({"uploads": [calendar.to_json() for calendar in calendars]})
        return
    for calendar in calendars:
        print_calendar(calendar, out)


def _print_unconfirmed_requests(run: str | None, config: Path, *, as_json: bool) -> None:
    with opened_records(config) as services:
        now, only = services.clock(), services.ledger.runs.get(run).id if run else None
        doubts = [one for one in services.ledger.journal.find_unconfirmed(now) if only in (None, one.run_id)]
    if as_json:
        print_json({"requests": [one.to_json(now) for one in doubts]})
    else:
        print_doubts(doubts, now)


class Audience(StrEnum):
    """Whom a report is for; who runs the uploads gets it without ``--for``."""

    CLIENT = "client"


class Paper(StrEnum):
    """The paper of a PDF."""

    A4 = "a4"
    LETTER = "letter"


class _PageFiles(NamedTuple):
    """Where a report is written as a page and as a PDF."""

    html: Path | None
    pdf: Path | None
    paper: Paper

    def __bool__(self) -> bool:
        return bool(self.html or self.pdf)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Run id, or 'last'.")] = "last",
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as an HTML page.")] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", help="Print it into a PDF, where there is a browser.")] = None,
    paper: Annotated[Paper, typer.Option("--paper", help="Of the PDF.")] = Paper.A4,
    client: Annotated[
        str | None, typer.Option(help="Of this client alone, to be given to it: nothing in it is of others.")
    ] = None,
    audience: Annotated[
        Audience | None,
        typer.Option("--for", help="With --client: its last 30 days or a month, in the words of a marketer."),
    ] = None,
    month: Annotated[str | None, typer.Option("--month", help="With --for client: a month, such as 2026-11.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print the report of a run, with what Meta counts of it; or of a client's last 30 days, for that client."""
    files = _PageFiles(html, pdf, paper)
    if audience is Audience.CLIENT:
        _report_for_client(run, client, month, files, config, as_json=as_json)
        return
    if month is not None:
        raise UsageError("report: --month goes with --client NAME --for client")
    from offline_capi.operations.quality import load_quality
    from offline_capi.pipeline import find_report
    from offline_capi.report import render_html

    with opened_records(config) as services:
        found = find_report(run, services)
        found = found.of_client(client) if client else found
        quality = load_quality(found, services, client=client)
        access = services.deployment.platform.file_access
    _write_pages(render_html(found, quality=quality) if files else "", files, access)
    if as_json or not files:
        show(found, as_json, quality)


def _report_for_client(
    run: str,
    client: str | None,
    month: str | None,
    files: _PageFiles,
    config: Path,
    *,
    as_json: bool,
) -> None:
    from offline_capi.operations.client_report import make_client_report
    from offline_capi.report.client_page import render_client_page
    from offline_capi.report.client_text import print_client_report

    if client is None:
        raise UsageError("report: --for client needs --client NAME")
    if run != "last":
        raise UsageError("report: --for client is about a month or the last 30 days, so it takes no run")
    with opened(config) as services:
        find_clients(services.deployment, [client])
        found = make_client_report(client, services, month=month)
        access = services.deployment.platform.file_access
    _write_pages(render_client_page(found) if files else "", files, access)
    if as_json:
        print_json(found.to_json())
    elif not files:
        print_client_report(found, out)


def _write_pages(page: str, files: _PageFiles, access: FileAccess) -> None:
    from offline_capi.report.pdf import print_to_pdf

    if files.html:
        with replace_file(files.html, access) as file:
            file.write(page.encode())
        announce(f"written: {files.html}")
    if files.pdf:
        printed = print_to_pdf(page, files.paper)
        with replace_file(files.pdf, access) as file:
            file.write(printed)
        announce(f"written: {files.pdf}")


@app.command()
def rejects(
    run: Annotated[str, typer.Argument(help="Run id, or 'last'.")] = "last",
    limit: Annotated[int, typer.Option(help="How many rows to list.", min=0)] = 10,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List why rows of a run were not sent, and what to do."""
    from offline_capi.report import print_rejects, reject_reasons, reject_rows

    with opened_records(config) as services:
        record = services.ledger.runs.get_newest() if run == "last" else services.ledger.runs.get(run)
        run_id = record.id
        table, files = services.stage.read_unsent(run_id)
    if as_json:
        reasons = [line.to_json() for line in reject_reasons(table)]
        print_json({"run": run_id, "files": files, "reasons": reasons, "rows": reject_rows(table, limit)})
        return
    if files and out.is_terminal:
        out.print(Text.assemble((record.upload, "bold"), f"  not sent in run {run_id}"))
    print_rejects(table, limit, out)
    for file in files:
        line = f"  all rows: {file}" if out.is_terminal else file  # a script takes the last line
        out.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    if not files and record.status == "failed":
        print_runs([record])
    elif not files:
        out.print(f"run {run_id}: no rejects", highlight=False)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="Run id, or 'last'.")],
    undelivered: Annotated[
        bool, typer.Option("--undelivered", help="Also events that were deferred, unconfirmed or rejected by Meta.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send what was invalid, once it is fixed; everything else is left alone."""
    from offline_capi.ledger import AuditAction, record_audit
    from offline_capi.pipeline import replay_run

    with opened(config) as services:
        past = services.ledger.runs.get_newest() if run == "last" else services.ledger.runs.get(run)
        detail = {"window": str(past.window), "undelivered": undelivered}
        record_audit(
            services.ledger, AuditAction.REPLAY, past.upload, now=services.clock(), detail=detail, run_id=past.id
        )
        with progress(past.upload, quiet=as_json) as on_progress:
            found = replay_run(past.id, services, undelivered=undelivered, on_progress=on_progress)
    finish(found, as_json)


def print_doubts(doubts: list[UnconfirmedRequest], now: datetime) -> None:
    for one in doubts:
        what = f"{one.run_id}  {one.upload}  {one.client}  pixel {one.pixel}  {one.events:,} events"
        out.print(f"? {what}  since {format_utc(one.since)}", highlight=False, markup=False)
        print_indented(one.next_step(now), style="dim")
    if not doubts:
        out.print("nothing is unconfirmed")


def print_runs(runs: list[RunRecord]) -> None:
    marks = {"complete": ("✓ ", "green"), "partial": ("! ", "yellow"), "failed": ("✗ ", "red"), "running": ("… ", "")}
    for run in runs:
        mark, mark_style = marks[run.status]
        print_indented(f"{run.id}  {run.upload}  {run.window}", mark=mark, mark_style=mark_style)
        if run.status == "failed" and run.report:
            print_indented(run.report["problems"][0], style="red")
        else:
            print_indented(run.balance or run.status, style="dim")
        if run.status == "partial":
            print_indented(run.problem, style="dim")
        if run.table_read:
            out.print(f"  {run.table_read.describe()}", style="dim", highlight=False)
    if not runs:
        out.print("no runs yet")
