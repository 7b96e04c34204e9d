"""The command that begins: from rows that nobody has described yet to the first night."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    describe_problems,
    environment_secrets,
    err,
    out,
    print_indented,
    print_json,
    window_of,
)
from offline_capi.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from offline_capi.config import Deployment
    from offline_capi.onboarding import Answers, Line, Origin, ProjectState, Proposal
    from offline_capi.report import RunReport

Ask = Callable[[str, str], str]
"""A question and its default → the answer."""


@app.command()
def init(
    source: Annotated[
        str | None, typer.Argument(help="A CSV, JSON lines or Parquet file, a folder or a pattern of such.")
    ] = None,
    connection: Annotated[
        str | None, typer.Option(help="Instead of a file: a database, with --table or --sql.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="A table or view, schema.table if need be.")] = None,
    sql: Annotated[Path | None, typer.Option(help="A file with your own query; it uses :since and :until.")] = None,
    delta: Annotated[str | None, typer.Option(help="Instead of a file: folder or URL of a Delta table.")] = None,
    iceberg: Annotated[
        str | None, typer.Option(help="Instead of a file: CATALOG:NAMESPACE.TABLE; clients.yml has the catalog.")
    ] = None,
    dbt: Annotated[
        str | None, typer.Option(help="Instead of a file: ref('model') or source('crm', 'orders') of dbt.")
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(help="With --dbt: its manifest.json, seen from the project folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the upload. Default: that of the file or table.")] = None,
    client: Annotated[str | None, typer.Option(help="Whose rows these are.")] = None,
    pixel: Annotated[str | None, typer.Option(help="The client's pixel or dataset id.")] = None,
    event: Annotated[str | None, typer.Option(help="Purchase, Lead, … or a name of your own.")] = None,
    action_source: Annotated[str | None, typer.Option(help="Where it happened: physical_store, …")] = None,
    timezone: Annotated[str | None, typer.Option(help="In which times without a zone are written.")] = None,
    country: Annotated[str | None, typer.Option(help="Two letters; completes phone numbers.")] = None,
    currency: Annotated[str | None, typer.Option(help="Of every row, where no column says it.")] = None,
    time: Annotated[str | None, typer.Option(help="The column that says when it happened.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The business key: a column or {template}.")] = None,
    value: Annotated[str | None, typer.Option(help="The column of the value.")] = None,
    external_id: Annotated[
        str | None, typer.Option(help="How the browser's pixel sends it: raw, sha256 or parameter_builder.")
    ] = None,
    keys: Annotated[list[str] | None, typer.Option("--map", help="KEY=COLUMN, such as em=contact; repeatable.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what is not clear becomes a TODO.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the upload's files, add to clients.yml.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Look at a table or file, and write client, upload and SQL for it, with the evidence; check and plan them."""
    from offline_capi import onboarding
    from offline_capi.onboarding.questions import validate_answer, validate_keys

    ask = _answer_default if yes or as_json else _ask_person
    known = onboarding.read_project(config, os.environ)
    tables = [one for one in (delta, iceberg, dbt) if one is not None]
    if tables and (len(tables) > 1 or source or (connection and dbt is None) or table or sql):
        raise UsageError("name one source: a file, --connection, --delta, --iceberg or --dbt. Nothing was written")
    if manifest and dbt is None:
        raise UsageError("--manifest belongs to --dbt. Nothing was written")
    if dbt is not None:
        origin = _inspect_dbt(dbt, manifest, connection, known)
    elif delta is not None:
        origin = onboarding.inspect_delta(delta, os.environ)
    elif iceberg is not None:
        origin = _inspect_iceberg(iceberg, known)
    else:
        origin = _inspect_source(source, connection, table, sql, ask)
    origin = onboarding.rebase_source(config, origin)
    said = {"pixel": pixel, "event": event, "action_source": action_source, "timezone": timezone, "country": country,
            "currency": currency, "time": time, "id": event_id, "value": value,
            "external_id": external_id}  # fmt: skip
    checked: dict[str, Any] = {key: validate_answer(key, text) for key, text in said.items()}
    validate_answer("client", client)
    seen: tuple[Line, ...] = ()
    if ask is _ask_person:  # what was found stands before what is asked about it
        first = onboarding.Answers(client=client or "client", **checked, keys=validate_keys(keys or []))
        found = onboarding.propose(origin, first, datetime.now(UTC))
        print_proposal(origin, found)
        seen = found.lines
    upload = _ask_name(name, origin, known, ask, force=force)
    answers = onboarding.Answers(client=_ask_client(client, known, ask), **checked, keys=validate_keys(keys or []))
    answers = _fill_in_from_client(_ask_pixel(answers, known, ask), known)
    answers, proposal = _ask_open_lines(origin, answers, known, ask)
    if ask is not _ask_person and not as_json:
        print_proposal(origin, proposal)
    elif ask is _ask_person:
        print_changes(proposal, seen)
        answers, proposal = _confirm_proposal(answers, proposal, origin, known, ask)
    files = onboarding.write_up(upload, proposal, origin, answers, known)
    files = onboarding.select_missing(files, force=force)
    if ask is _ask_person and not _ask_yes_or_no(
        f"Write {len(files)} files ({', '.join(map(str, files))})?", default=True
    ):
        raise UsageError("stopped. Nothing was written")
    onboarding.save(files)
    _finish(upload, proposal, answers, known, list(files), as_json=as_json)


# ---------------------------------------------------------------------------------------------- what is asked


def _answer_default(_: str, default: str) -> str:
    """The answer of nobody."""
    return default


def _wrap(question: str) -> str:
    """In lines of the terminal's width; a prompt that wraps by itself breaks within words."""
    return "\n".join(textwrap.wrap(question, max(min(out.width, 100) - 12, 40), subsequent_indent="  "))


def _ask_person(question: str, default: str) -> str:
    try:
        return str(typer.prompt(_wrap(question), default=default, show_default=bool(default)))
    except typer.Abort:
        raise UsageError(_NOBODY) from None


def _ask_yes_or_no(question: str, *, default: bool) -> bool:
    try:
        return typer.confirm(_wrap(question), default=default)
    except typer.Abort:
        raise UsageError(_NOBODY) from None


_NOBODY = "stopped, and nothing was written. Where nobody can answer, give --yes: what is not clear then becomes a TODO"


def _inspect_source(
    source: str | None, connection: str | None, table: str | None, sql: Path | None, ask: Ask
) -> Origin:
    from offline_capi import onboarding

    if connection is not None and source is None and table is not None and sql is None:
        return onboarding.inspect_table(connection, table, _get_connection_url)
    if connection is not None and source is None and sql is not None and table is None:
        return onboarding.inspect_query(connection, sql, _get_connection_url)
    if connection or table or sql:
        raise UsageError("name a file, or --connection with one of --table and --sql. Nothing was written")
    return onboarding.inspect_file(source or ask(_WHICH_FILE, "") or _refuse_no_file(), os.environ)


def _inspect_iceberg(name: str, known: ProjectState) -> Origin:
    from offline_capi import onboarding
    from offline_capi.config.paths import find_project_folder
    from offline_capi.config.secrets import resolve_catalog

    catalog, colon, table = name.partition(":")
    if not colon or not all(table.split(".")) or "." not in table:
        raise UsageError("--iceberg: write CATALOG:NAMESPACE.TABLE, such as lake:shop.sales. Nothing was written")
    if catalog not in known.catalogs:
        there = ", ".join(sorted(known.catalogs)) or "none"
        raise UsageError(
            f'--iceberg: "{catalog}" is not under platform.iceberg_catalogs of {known.folder / "clients.yml"}; there '
            f"are: {there}. Add it there with its type and uri. Nothing was written"
        )
    properties = resolve_catalog(known.catalogs[catalog], environment_secrets(), find_project_folder(known.folder))
    return onboarding.inspect_iceberg(catalog, table, lambda _: properties, os.environ)


def _inspect_dbt(name: str, manifest: str | None, connection: str | None, known: ProjectState) -> Origin:
    """What the options say goes into a new ``clients.yml``; one that is there says it itself."""
    from offline_capi import onboarding
    from offline_capi.config.paths import find_project_folder

    said = {key: value for key, value in (("manifest", manifest), ("connection", connection)) if value}
    settings = known.dbt.model_copy(update=said)
    if known.clients_text is not None and settings != known.dbt:
        wanted = ", ".join(f"{key}: {value}" for key, value in said.items())
        raise UsageError(
            f"--manifest, --connection: {known.folder / 'clients.yml'} says where dbt's relations are; write there, "
            f"under platform: dbt: {{{wanted}}}, and run init again. Nothing was written"
        )
    if settings.connection is None:
        raise UsageError("--dbt: name the connection in which dbt builds: --connection NAME. Nothing was written")
    project = find_project_folder(known.folder)
    origin = onboarding.inspect_dbt(name, settings, _get_connection_url, os.environ, project)
    return replace(origin, platform={"dbt": {"manifest": settings.manifest, "connection": settings.connection}})


_WHICH_FILE = "Which file holds the rows? CSV, JSON lines or Parquet"


def _refuse_no_file() -> NoReturn:
    raise UsageError("name a file, or --connection with --table or --sql. Nothing was written")


def _get_connection_url(name: str) -> str:
    return str(environment_secrets().connection_url(name).reveal())


def _ask_name(name: str | None, origin: Origin, known: ProjectState, ask: Ask, *, force: bool) -> str:
    from offline_capi.onboarding.questions import validate_answer

    def check(answer: str) -> str:
        chosen = validate_answer("name", answer) or origin.name
        if chosen in known.uploads and not force:
            place = known.folder / "uploads"
            raise UsageError(
                f'there is an upload "{chosen}" in {place} already, and it is not touched. Give another name with '
                "--name, or replace it with --force. Nothing was written"
            )
        return chosen

    return check(name) if name else _ask_until_valid(ask, "Name of the upload", origin.name, check)


def _ask_until_valid(ask: Ask, question: str, default: str, check: Callable[[str], str]) -> str:
    while True:
        try:
            return check(ask(question, default))
        except UsageError as error:
            if ask is not _ask_person or str(error) == _NOBODY:
                raise
            _print_refusal(error)


def _print_refusal(error: UsageError) -> None:
    """Without what concerns flags alone: the question is asked again right away."""
    said = re.sub(r"^--[a-z-]+: |[.\s]*Nothing was written$", "", str(error))
    print_indented(said, style="yellow", console=err)


def _ask_client(client: str | None, known: ProjectState, ask: Ask) -> str:
    from offline_capi.onboarding.questions import validate_answer

    def check(answer: str) -> str:
        chosen = validate_answer("client", answer)
        if chosen is None:
            names = (
                f"; one of {', '.join(sorted(known.clients)[:10])}, or a new one"
                if known.clients
                else ", such as acme_bank"
            )
            raise UsageError(f"--client: say whose rows these are{names}. Nothing was written")
        return chosen

    only = next(iter(known.clients)) if len(known.clients) == 1 else ""
    question = "Whose rows are these? A name for the client, such as acme_bank"
    return check(client) if client else _ask_until_valid(ask, question, only, check)


def _ask_pixel(answers: Answers, known: ProjectState, ask: Ask) -> Answers:
    if answers.pixel or answers.client in known.clients:
        return answers
    return _ask_until_answered(answers, "pixel", "The client's pixel or dataset id", ask, lambda _: None)


def _fill_in_from_client(answers: Answers, known: ProjectState) -> Answers:
    """A client that is known already has a country; a zone of its own says nothing of this source."""
    client = known.clients.get(answers.client)
    return replace(answers, country=answers.country or (client.country if client else None))


def _ask_open_lines(origin: Origin, answers: Answers, known: ProjectState, ask: Ask) -> tuple[Answers, Proposal]:
    """Every open line asked about, in order; what is left empty stays a TODO."""
    from offline_capi.onboarding import Confidence, propose
    from offline_capi.onboarding.questions import ASKED_BY, EXTERNAL_ID

    now = datetime.now(UTC)
    proposal = propose(origin, answers, now)
    for place, name in ASKED_BY.items() if ask is _ask_person else ():
        line = next((line for line in proposal.list_lines(Confidence.OPEN) if line.place == place), None)
        if line is not None and not (place == "custom_data.currency" and line.columns):
            question = f"{place}: {_strip_todo(line.because)} (empty: later)"
            answers = _ask_until_answered(answers, name, question, ask, lambda said: propose(origin, said, now))
            proposal = propose(origin, answers, now)
    if proposal.needs_country and ask is _ask_person:
        answers = _ask_until_answered(
            answers, "country", "Country of phone numbers without one (empty: unknown)", ask, lambda _: None
        )
        proposal = propose(origin, answers, now)
    outcome = next((line for line in proposal.list_section("filter") if line.columns), None)
    if ask is _ask_person and outcome is not None and not proposal.export and answers.no_conversions is None:
        node: Any = outcome.node
        bad = node.get("not_equals", ())
        default = ", ".join([bad] if isinstance(bad, str) else bad) or "none"
        held = outcome.because.partition("; ")[0].partition(": keep")[0].removeprefix("it holds ")
        said = ask(
            f"{outcome.columns[0]} holds {held}. Which of these are no conversions, and are not to be sent? Words with "
            "commas between them, or none",
            default,
        )
        words = () if said.strip() == "none" else tuple(word.strip() for word in said.split(",") if word.strip())
        answers = replace(answers, no_conversions=words)
        proposal = propose(origin, answers, now)
    has_ids = any(line.key == "external_id" for line in proposal.list_lines(Confidence.TAKEN))
    if ask is _ask_person and has_ids and answers.external_id is None and answers.client not in known.clients:
        answers = _ask_until_answered(answers, "external_id", EXTERNAL_ID, ask, lambda _: None)
    return answers, proposal


def _ask_until_answered(
    answers: Answers, name: str, question: str, ask: Ask, attempt: Callable[[Answers], object]
) -> Answers:
    """Asked again until the answer is one."""
    from offline_capi.onboarding.questions import validate_answer

    while True:
        try:
            answer: Any = validate_answer(name, ask(question, ""))
            said = replace(answers, **{name: answer})
            attempt(said)
        except UsageError as error:
            if str(error) == _NOBODY:
                raise
            _print_refusal(error)
        else:
            return said


def _confirm_proposal(
    answers: Answers, proposal: Proposal, origin: Origin, known: ProjectState, ask: Ask
) -> tuple[Answers, Proposal]:
    """Nothing counts that the person did not take: all at once, or line by line, or after another answer."""
    from offline_capi.onboarding import Confidence, propose
    from offline_capi.onboarding.proposal import check_people
    from offline_capi.onboarding.questions import validate_keys

    while True:
        taken = ask(
            "Take what is proposed (unsure lines stay comments)? y, n for line by line, KEY=COLUMN for another column "
            "of user_data (em=contact), or what to answer again: " + ", ".join(_ANSWERED_AGAIN),
            "y",
        ).strip()
        if taken in _ANSWERED_AGAIN:
            before = proposal.lines
            answers = _ask_until_answered(
                answers, taken, f"{taken} (now: {getattr(answers, taken) or 'open'})", ask,
                lambda said: propose(origin, said, datetime.now(UTC)),
            )  # fmt: skip
            answers = _fill_in_from_client(answers, known)
            proposal = propose(origin, answers, datetime.now(UTC))
            print_changes(proposal, before)
        elif "=" in taken:
            try:
                said = replace(answers, keys={**answers.keys, **validate_keys([taken])})
                changed = propose(origin, said, datetime.now(UTC))
            except UsageError as error:
                _print_refusal(error)
            else:
                print_changes(changed, proposal.lines)
                answers, proposal = said, changed
        elif taken.lower() in ("y", "yes"):
            return answers, proposal
        elif taken.lower() in ("n", "no"):
            break
        else:
            print_indented(f'"{taken}" is no answer here', style="yellow", console=err)
    among = [
        line
        for line in proposal.list_lines(Confidence.TAKEN, Confidence.UNSURE)
        if line.columns and line.section != "client"
    ]
    decided = proposal.apply_decisions(
        lambda line: _ask_yes_or_no(
            f"  {', '.join(line.columns)} → {line.place}?", default=line.confidence is Confidence.TAKEN
        ),
        among,
    )
    check_people(decided.lines, origin.sample)
    return answers, decided


_ANSWERED_AGAIN = ("pixel", "event", "action_source", "timezone", "country", "currency", "time", "id", "value")


# ---------------------------------------------------------------------------------------------- what is shown


def print_proposal(origin: Origin, proposal: Proposal) -> None:
    from offline_capi.onboarding import Confidence
    from offline_capi.onboarding.proposal import NO_FIELD

    rows = f"{len(origin.sample):,} {'rows' if origin.sample.whole else 'first rows'}"
    out.print(Text.assemble((origin.name, "bold"), f"  {origin.described}"))
    out.print(f"  {rows} looked at, {len(origin.sample.columns)} columns; nothing is sent", highlight=False)
    if proposal.export:
        out.print(f"  recognised as {proposal.export}", highlight=False)
    lines = [line for line in proposal.lines if line.columns]
    _show("becomes", [line for line in lines if line.confidence is Confidence.TAKEN], "green")
    _show("unsure: becomes a comment", [line for line in lines if line.confidence is Confidence.UNSURE], "yellow")
    if proposal.aside:
        same = sum(why == NO_FIELD for why in proposal.aside.values())
        aside = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for header in ("column", "left aside, because"):
            aside.add_column(header, overflow="fold")
        for name, why in proposal.aside.items():
            aside.add_row(Text(name), Text(why, style="dim"))
        out.print(Padding(aside, (1, 0, 0, 2)))
        if same:
            print_indented(
                "--map KEY=COLUMN takes a column all the same, such as --map external_id=COLUMN", style="dim"
            )
    out.print()


def print_changes(proposal: Proposal, before: Sequence[Line]) -> None:
    """The lines that the answers have changed, or made."""
    from offline_capi.onboarding import Confidence

    changed = [line for line in proposal.lines if line not in before and line.confidence is not Confidence.OPEN]
    for line in changed:
        columns = f"{', '.join(line.columns)} → " if line.columns else ""
        node = "" if line.columns else f": {line.node}"
        changed_line = Text.assemble(columns, (line.place, "green"), f"{node}  {line.because}")
        out.print(Padding(changed_line, (0, 0, 0, 2)), highlight=False)


def _show(heading: str, lines: Sequence[Line], style: str) -> None:
    if not lines:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in ("column", heading, "because"):
        table.add_column(header, overflow="fold")
    for line in lines:
        table.add_row(Text("\n".join(line.columns)), Text(line.place, style=style), Text(line.because))
    out.print(Padding(table, (1, 0, 0, 2)))


# ---------------------------------------------------------------------------------------------- check, plan, and next


def _finish(
    upload: str, proposal: Proposal, answers: Answers, known: ProjectState, files: Sequence[Path], *, as_json: bool
) -> NoReturn:
    """Check and plan what was written; exits 2 while something of it waits for a person."""
    lines = [_describe_line(line) for line in proposal.lines]
    data = {"upload": upload, "client": answers.client, "first_night": proposal.first_night.isoformat(),
            "files": [str(path) for path in files], "lines": lines}  # fmt: skip
    if not as_json:
        out.print(Text.assemble(("✓ written", "bold green"), *(f"\n  {path}" for path in files)))
    try:
        report = _plan_first_night(upload, proposal, known)
    except ConfigError as error:
        if as_json:
            print_json({**data, "problems": describe_problems(error), "plan": None})
        else:
            print_open(error, proposal, upload, answers, known)
        sys.exit(2)
    if as_json:
        print_json({**data, "problems": [], "plan": report.to_json()})
    else:
        print_planned(report, upload, proposal, answers, known)
    sys.exit(0)


def _describe_line(line: Line) -> Mapping[str, object]:
    return {"place": line.place, "columns": line.columns, "node": line.node, "because": line.because,
            "confidence": line.confidence.value}  # fmt: skip


def _plan_first_night(upload: str, proposal: Proposal, known: ProjectState) -> RunReport:
    from offline_capi.operations.preflight import check_columns
    from offline_capi.pipeline import open_services, plan_upload

    deployment, secrets = _load_checked(upload, known), environment_secrets()
    one = deployment.uploads[upload]
    window = window_of(one, proposal.first_night.isoformat(), None)
    check_columns(one, window, deployment, secrets)
    with open_services(deployment, secrets) as services:
        return plan_upload(one, window, services, check_access=False)  # its token comes next


def _load_checked(upload: str, known: ProjectState) -> Deployment:
    """The upload with its client; every problem of the two, and none of other uploads."""
    from offline_capi.config import load_each

    deployment, errors = load_each(known.folder, only=upload)
    problems = [problem for error in errors.values() for problem in error.problems]
    if problems:
        raise ConfigError(f"{len(problems)} problems in {known.folder}", list(dict.fromkeys(problems)))
    return deployment


def print_open(error: ConfigError, proposal: Proposal, upload: str, answers: Answers, known: ProjectState) -> None:
    """What ``check`` reports, each with what is to be decided there."""
    from offline_capi.onboarding import Confidence
    from offline_capi.onboarding.writing import PIXEL

    todo = {line.place: line.because for line in proposal.list_lines(Confidence.OPEN)}
    todo[f"clients.{answers.client}.pixel_id"] = PIXEL
    waits = f"reported by `{_format_command('check', known, upload)}` until it is done"
    out.print()
    print_indented(f"left to you: {len(error.problems)}, {waits}", mark="! ", style="bold yellow")
    for problem in error.problems:
        words = next((because for place, because in todo.items() if problem.path.startswith(place)), problem.message)
        out.print(Text.assemble(f"  {problem.file}:{problem.line}  ", (problem.path, "bold")), soft_wrap=True)
        out.print(Padding(_strip_todo(words), (0, 0, 0, 6)), highlight=False, markup=False)
    out.print(
        "\nThen look at the first night:",
        Text(f"\n    {_format_command('plan', known, upload, proposal)}", style="cyan"),
    )


def _strip_todo(because: str) -> str:
    return because.removeprefix("TODO: ")


def print_planned(report: RunReport, upload: str, proposal: Proposal, answers: Answers, known: ProjectState) -> None:
    from offline_capi.report import print_report

    out.print(Text.assemble(("✓ checked", "bold green"), "  no problems, and the source has every column\n"))
    print_report(report, out)
    out.print(Text("\nNext", style="bold"))
    for what, command in _list_next_commands(upload, proposal, answers, known):
        width = out.width - 6 if out.is_terminal else len(command)
        lines = textwrap.wrap(command, width, break_long_words=False, break_on_hyphens=False)  # as a shell reads them
        out.print(Text.assemble(f"  {what}\n", (" \\\n".join(f"    {line}" for line in lines), "cyan")), soft_wrap=True)


def _list_next_commands(
    upload: str, proposal: Proposal, answers: Answers, known: ProjectState
) -> list[tuple[str, str]]:
    """A rehearsal keeps its own ledger: what the sandbox took must not count as sent when the night is in earnest."""
    from offline_capi.onboarding.writing import name_token_variable

    client = known.clients.get(answers.client)
    variable = client.token.env if client else name_token_variable(answers.client)
    night = _format_command("upload", known, upload, proposal)
    elsewhere = "OFFLINE_CAPI_GRAPH_URL=http://127.0.0.1:8420 OFFLINE_CAPI_LEDGER=sqlite:///rehearsal.db"
    return [
        ("A local Graph API, which takes any token and pixel", "offline-capi sandbox &"),
        ("The rehearsal", f"{elsewhere} {f'{variable}=any ' if variable else ''}{night}"),
        *(
            [("The token, from Events Manager, typed in unseen", f"read -rs {variable} && export {variable}")]
            if variable
            else []
        ),
        ("The first night; again, it sends nothing twice", night),
    ]


def _format_command(verb: str, known: ProjectState, upload: str, proposal: Proposal | None = None) -> str:
    folder = "" if known.folder == DEFAULT_CONFIG else f" --config {known.folder}"
    return f"offline-capi {verb} {upload}{f' --since {proposal.first_night}' if proposal else ''}{folder}"
