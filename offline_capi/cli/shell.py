"""What all commands share: options, the configuration they open, windows, printing, and how errors end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from offline_capi.errors import ConfigError, OfflineCapiError, UsageError
from offline_capi.model import Window, convert_to_zone, find_yesterday
from offline_capi.runtime.border import escape_in_json
from offline_capi.runtime.console import Console
from offline_capi.runtime.json_log import Level, is_log_json, log_json
from offline_capi.runtime.process import block_imports

if TYPE_CHECKING:
    from offline_capi.config import Deployment, Upload
    from offline_capi.model import Tally
    from offline_capi.pipeline import Services
    from offline_capi.pipeline.settle import NightlyResult, SettlementResult
    from offline_capi.report import Quality, RunReport

out, err = Console(), Console(stderr=True)

DEFAULT_CONFIG = Path("dags")

ConfigOption = Annotated[Path, typer.Option("--config", help="Folder that holds clients.yml and uploads/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _complete_upload(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell's completion: the files in uploads/."""
    uploads = Path(ctx.params.get("config") or DEFAULT_CONFIG) / "uploads"
    return sorted(path.stem for path in uploads.glob("*.y*ml") if path.stem.startswith(incomplete))


UploadArgument = Annotated[
    str, typer.Argument(help="Name of a file in uploads/, without .yml.", autocompletion=_complete_upload)
]
SinceOption = Annotated[
    str | None,
    typer.Option(help="Start, in the upload's zone: a date, a time, today, yesterday or -7d. Default: yesterday."),
]
UntilOption = Annotated[str | None, typer.Option(help="End, exclusive. Default: one day after --since.")]
ClientOption = Annotated[list[str] | None, typer.Option("--client", help="Only this client's rows; may be repeated.")]


# ---------------------------------------------------------------------------------------------- printing


#: Of the shapes that ``--json`` prints (docs/reference/json): it grows when a key is renamed or goes.
JSON_VERSION = 1


def print_json(data: Mapping[str, Any]) -> None:
    """An object of ``docs/reference/json``, with the version of its shape."""
    print_plain_json({"version": JSON_VERSION, **data})


def describe_problems(error: OfflineCapiError) -> list[dict[str, Any]]:
    """Each problem of a configuration by file, line, path and message; none for other errors."""
    return [asdict(problem) for problem in error.problems] if isinstance(error, ConfigError) else []


def print_plain_json(data: Any) -> None:
    """JSON as people read it, but for what a terminal obeys, hides or reorders: that is escaped, as JSON allows."""
    typer.echo(escape_in_json(json.dumps(data, indent=2, ensure_ascii=False), keep="\n"))


def print_indented(
    text: str, *, mark: str = "  ", style: str = "", mark_style: str | None = None, console: Console | None = None
) -> None:
    """Print ``text`` after ``mark``; on a terminal its further lines stand under its first.

    A pipe gets it in one line, however long, as ``grep`` wants it.
    """
    paper = console or out
    if not paper.is_terminal:
        paper.print(f"{mark}{text}", style=style, highlight=False, markup=False, soft_wrap=True)
        return
    table = Table.grid(padding=0)
    if mark:  # a column without a character would still be one wide
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    marks = [Text(mark, style=style if mark_style is None else mark_style)] if mark else []
    table.add_row(*marks, Text(text, style=style))
    paper.print(table)


_SIGN = re.compile(r" *(?:[✓✗!?…] |\d+\. )?")


def print_line(line: str, *, style: str = "", console: Console | None = None) -> None:
    """The same for a line that begins with blanks, a sign or a number: its further lines stand after those."""
    mark = _SIGN.match(line)[0]  # type: ignore[index]  # matches every text
    print_indented(line[len(mark) :], mark=mark, style=style, console=console)


def print_warnings(warnings: Iterable[str], console: Console = out) -> None:
    for words in warnings:
        if console is err and is_log_json():
            log_json("warning", words)
            continue
        print_indented(words, mark="! ", style="yellow", console=console)


def show(found: RunReport, as_json: bool, quality: Quality | None = None) -> None:
    from offline_capi.report import print_report

    if as_json:
        print_json(found.to_json() | ({"quality": quality.to_json()} if quality else {}))
    else:
        print_report(found, out, quality)


def finish(found: RunReport, as_json: bool) -> NoReturn:
    """Show the report of a run that was just made; only a complete one ends well."""
    show(found, as_json)
    log_run(found)
    sys.exit(0 if found.status == "complete" else 1)


def log_run(found: RunReport) -> None:
    """The run's result as a record, where the log is JSON."""
    if is_log_json():
        level: Level = "error" if found.status == "failed" else "info" if found.status == "complete" else "warning"
        rows = {fate.value: number for fate, number in found.tally.count_by_fate().items()}
        named = {"run": found.run_id or None, "upload": found.upload, "window": str(found.window)}
        status = "planned" if found.planned else found.status.value
        counts = {"read": found.tally.read, "rows": rows, "requests": found.tally.requests, "tries": found.tally.tries}
        log_json(level, "run ended", **named, status=status, **counts, problems=list(found.problems))


def announce(sentence: str, *, level: Level = "info", **fields: Any) -> None:
    """Say it before the work begins, where it does not mix with what machines read; ``fields`` are for a JSON log."""
    if is_log_json():
        log_json(level, sentence, **fields)
    else:
        print_line(sentence, console=err)


def show_settled(upload: str, settled: SettlementResult, *, quiet: bool = False) -> None:
    """What became of the days that were open: the report of each, and what is still owed."""
    if not quiet:
        for report in settled.reports:
            show(report, as_json=False)
            out.print()
    for day, error in settled.failures.items():
        announce(
            f"{upload}: {day} stays open: {type(error).__name__}: {error}",
            level="warning", upload=upload, day=day.isoformat(), error=type(error).__name__,
        )  # fmt: skip
    for closed in settled.closed:
        sentence = f"{upload}: {closed.day} became too old for Meta with something owed ({closed.why})"
        announce(sentence, level="warning", upload=upload, day=closed.day.isoformat())
    if not (quiet or settled.reports or settled.failures or settled.closed):
        out.print(f"✓ {upload}: nothing is open that another run could settle now", highlight=False)


def finish_night(night: NightlyResult, as_json: bool) -> NoReturn:
    """Show a night that was just made, earlier days first; it ends well only if nothing is owed that can be settled."""
    if as_json:
        settled = night.settled.to_json() if night.settled.touched else {}
        print_json(night.report.to_json() | settled)
    elif night.settled.touched:
        show_settled(night.report.upload, night.settled)
    if not as_json:
        show(night.report, as_json)
    for report in (*night.settled.reports, night.report):
        log_run(report)
    sys.exit(0 if night.complete else 1)


@contextmanager
def progress(name: str, *, quiet: bool, total: int | None = None) -> Iterator[Callable[[Tally], None]]:
    """A bar with rows, events, rate and time left on a terminal; a line every few seconds without one."""
    from offline_capi.report import show_progress

    def say(sentence: str, **counts: float) -> None:
        fields: dict[str, Any] = {"upload": name, **counts}
        announce(sentence, **fields)

    with show_progress(name, err, say, quiet=quiet, total=total) as on_progress:
        yield on_progress


def fail(error: OfflineCapiError, code: int) -> NoReturn:
    if "--json" in sys.argv:
        problems = describe_problems(error)
        print_json({"error": type(error).__name__, "message": str(error), "problems": problems})
    if is_log_json():
        log_json("error", str(error), error=type(error).__name__, problems=describe_problems(error) or None)
        sys.exit(code)
    name, (first, *further) = type(error).__name__, str(error).split("\n")
    if err.is_terminal:
        err.print(Text.assemble((name, "bold red"), f": {first}"))
    else:
        print_indented(f"{name}: {first}", mark="", console=err)
    for line in further:
        print_line(line, console=err)
    sys.exit(code)


# ---------------------------------------------------------------------------------------------- what a command opens


def load(config: Path, upload: str | None = None) -> Deployment:
    """The configuration; with ``upload`` of that one alone, so that what is wrong with others does not stop it."""
    from offline_capi.config import load_config, load_one

    return load_config(config) if upload is None else load_one(config, upload)


@contextmanager
def opened(config: Path, upload: str | None = None) -> Iterator[Services]:
    """The configuration, as ``load`` has it, and its ledger, closed at the end."""
    with _opened(load(config, upload)) as services:
        yield services


@contextmanager
def opened_records(config: Path) -> Iterator[Services]:
    """The ledger and the clients, closed at the end; ``services.deployment`` has no upload."""
    from offline_capi.config import load_clients

    with _opened(load_clients(config)) as services:
        yield services


@contextmanager
def _opened(deployment: Deployment, *, with_pandas: bool = False) -> Iterator[Services]:
    from offline_capi.pipeline import open_services

    # PySpark needs it, and so may somebody's hook.
    if not with_pandas and not any(one.transform or one.engine.spark for one in deployment.uploads.values()):
        block_imports("pandas")
    with open_services(deployment, environment_secrets()) as services:
        yield services


@contextmanager
def opened_upload(
    config: Path,
    upload: str,
    since: str | None,
    until: str | None,
    client: list[str] | None = None,
    *,
    trigger: str | None = None,
    engine: str | None = None,
) -> Iterator[tuple[Services, Upload, Window, list[str]]]:
    """An upload with the window and the clients that the options name.

    ``engine`` will be chosen instead of the upload's own. With ``trigger``, a configuration that cannot be used is kept
    as a failed run, as any other fault of a night is.
    """
    try:
        deployment = load(config, upload)
    except ConfigError as error:
        if trigger and not isinstance(error, UsageError):
            _record_failed_start(config, upload, error, trigger)
        raise
    with _opened(deployment, with_pandas=engine == "spark") as services:
        one = find(services.deployment, upload)
        yield services, one, window_of(one, since, until), find_clients(services.deployment, client)


def _record_failed_start(config: Path, upload: str, error: ConfigError, trigger: str) -> None:
    """A failed run of yesterday, and an alert; nothing where the ledger is unknown too, or has not been used yet."""
    from offline_capi.operations.alerts import raise_failure
    from offline_capi.pipeline import record_failed_start

    with suppress(OfflineCapiError), opened_records(config) as services:  # the error that is told is the first one
        if trigger == "scheduled" or services.ledger.runs.list_newest(1):
            window = Window.of_day(find_yesterday("UTC", services.clock()), "UTC")
            run = record_failed_start(upload, window, error, services, trigger=trigger)
            raise_failure(upload, error, services, run=run)


def environment_secrets() -> Any:
    from offline_capi.config import EnvironmentSecrets

    return EnvironmentSecrets()


def find(deployment: Deployment, name: str) -> Upload:
    if name in deployment.uploads:
        return deployment.uploads[name]
    raise UsageError(f'no upload "{name}" in {deployment.folder / "uploads"}{_or_one_of(name, deployment.uploads)}')


def find_clients(deployment: Deployment, names: list[str] | None) -> list[str]:
    """The clients that were named; a name that nobody has would narrow a run to nothing and look like a success."""
    for name in names or ():
        if name not in deployment.clients:
            place = deployment.folder / "clients.yml"
            raise UsageError(f'no client "{name}" in {place}{_or_one_of(name, deployment.clients)}')
    return names or []


def _or_one_of(name: str, known: Iterable[str]) -> str:
    from offline_capi.runtime.nearest import did_you_mean

    return did_you_mean(name, known, otherwise=f"; one of: {', '.join(sorted(known))}")


def window_of(upload: Upload, since: str | None, until: str | None) -> Window:
    """The window that --since and --until name, in the upload's zone; yesterday where neither is given."""
    zone = ZoneInfo(upload.window.timezone)
    start = moment_of(since, zone, "--since") if since else _midnight(find_yesterday(zone.key, datetime.now(UTC)), zone)
    end = moment_of(until, zone, "--until") if until else start + timedelta(days=1)
    if start.astimezone(UTC) >= end.astimezone(UTC):  # of one zone, Python compares wall clocks
        raise UsageError(
            f"--since {start} is not before --until {end}. --until is the first moment that is left out: for one day, "
            "give the next day, or leave it out. Nothing was sent"
        )
    return Window(start, end)


_DAYS_AGO = re.compile(r"-(\d{1,4})d")


def moment_of(text: str, zone: tzinfo, option: str) -> datetime:
    """A date or time as an option names it, in ``zone`` where it names none: also today, yesterday and ``-7d``."""
    word = text.strip().lower()
    ago = 0 if word == "today" else 1 if word == "yesterday" else None
    if match := _DAYS_AGO.fullmatch(word):
        ago = int(match[1])
    if ago is not None:
        return datetime.combine(datetime.now(zone).date() - timedelta(days=ago), time(), zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f'{option} "{text}" is no day: write a date (2026-11-23), a time (2026-11-23T06:00), today, yesterday, or '
            "-7d for seven days ago. Nothing was sent"
        ) from None
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else convert_to_zone(moment, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
