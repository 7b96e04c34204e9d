"""Commands about the clients we send for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offline_capi.cli.app import CommandApp, app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    environment_secrets,
    err,
    find_clients,
    opened_records,
    out,
    print_indented,
    print_json,
    print_line,
    print_warnings,
)
from offline_capi.errors import OfflineCapiError, SourceError, UsageError
from offline_capi.model.recipients import get_client_name

if TYPE_CHECKING:
    from offline_capi.clients import ClientOverview, HealthReport
    from offline_capi.clients.authorize import Authorization, AuthorizationContext, Prerequisite
    from offline_capi.config import Client, Deployment, Secret
    from offline_capi.config.client import ClientTable, Method
    from offline_capi.runtime.console import Console
    from offline_capi.storage.private_files import FileAccess

clients_app = CommandApp(path="clients ", help="Who we send for.", no_args_is_help=True)
app.add_typer(clients_app, name="clients")

ClientArgument = Annotated[str, typer.Argument(help="Name of a client in clients.yml.")]
RevokeOption = Annotated[bool, typer.Option("--revoke/--keep", help="Revoke the token before, once the new one is in.")]
_MARKS = {"good": "green", "untested": "dim", "warning": "yellow", "stopped": "red", "paused": "dim"}
_STEPS = {"met": ("✓", "green"), "missing": ("✗", "red"), "by hand": ("?", "yellow")}


# ---------------------------------------------------------------------------------------------- looking


@clients_app.command("list")
def clients_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show how the clients stand: last test, last event accepted, token, days to its end, permissions, last error."""
    from offline_capi.clients import StatusBook, build_overviews
    from offline_capi.ledger import find_last_accepted

    with opened_records(config) as services:
        accepted, deployment = find_last_accepted(services.ledger), services.deployment
    book = StatusBook(deployment.platform.stage)
    found = build_overviews(deployment.recipients, environment_secrets(), book, datetime.now(UTC), accepted)
    if as_json:
        print_json({"clients": [standing.to_json() for standing in found]})
    else:
        print_overviews(found)


@clients_app.command("test")
def clients_test(
    client: Annotated[str | None, typer.Argument(help="Only this client; without it, all active ones.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    probe: Annotated[bool, typer.Option("--probe", help="Store nothing: send an event that is too old.")] = False,
    test_event_code: Annotated[
        str | None, typer.Option(help="From Events Manager; counts at Meta all the same.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send one test event to a client's pixel, and keep how it went; its further pixels are tested with their codes."""
    from offline_capi.config import load_clients

    deployment = load_clients(config)
    names = [_find_recipient(deployment, client).name] if client else []
    codes = {} if probe else _choose_test_codes(deployment, names, test_event_code)
    _finish_look(_check_clients(deployment, names, codes), as_json)


@clients_app.command("health")
def clients_health(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Look at every token and pixel; tell what began and what ended since the last look. Stores nothing at Meta."""
    from offline_capi.config import load_clients
    from offline_capi.operations.alerts import alert_of_notice, make_notifier

    deployment = load_clients(config)
    tell = make_notifier(deployment.platform, environment_secrets())
    told = {"on_change": lambda change: tell(alert_of_notice(change))} if tell else {}
    _finish_look(_check_clients(deployment, [], {}, **told), as_json)


def _check_clients(deployment: Deployment, names: list[str], codes: dict[str, str], **told: Any) -> HealthReport:
    from offline_capi.clients import check_health

    return check_health(deployment, environment_secrets(), clients=names, test_codes=codes, **told)


def _choose_test_codes(deployment: Deployment, names: list[str], given: str | None) -> dict[str, str]:
    """Each pixel's own code. Further pixels that have none are probed, which stores nothing."""
    wanted = names or [name for name, client in deployment.clients.items() if client.active]
    if given and len(wanted) > 1:
        raise UsageError("--test-event-code belongs to one pixel: name its client as well")
    codes = {name: one.test.code for name, one in deployment.recipients.items() if one.test}
    codes |= {name: given for name in wanted if given}
    without = ", ".join(name for name in wanted if name not in codes)
    if without:
        raise UsageError(
            f"no test event code for {without}. Nothing was sent. Give --test-event-code, or test: {{code: …}} in "
            "clients.yml, from Events Manager, Test Events; or use --probe, which stores nothing"
        )
    return codes


def _find_recipient(deployment: Deployment, name: str) -> Client:
    """A client, or one of its further pixels under its own name, ``client@pixel``."""
    if name not in deployment.recipients:
        find_clients(deployment, [name])
    return deployment.recipients[name]


def _finish_look(found: HealthReport, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        print_health(found)
    sys.exit(0 if found.healthy else 1)


# ---------------------------------------------------------------------------------------------- the clients' table


@clients_app.command("pull")
def clients_pull(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Read the clients from their table; what is faulty in it leaves out its client, and nothing else."""
    from offline_capi.config.client_table import locate_pulled_file, read_previous_pull, select_valid_rows, write_pulled

    (table, access), path = _get_client_table(config), locate_pulled_file(config, os.environ)
    origin = table.sql if table.sql.endswith(".sql") else "the clients' query"
    pulled = select_valid_rows(_read_client_rows(table, config), origin, table, read_previous_pull(path))
    if not pulled.clients and not pulled.problems:
        raise SourceError("the clients' table has no row. Nothing was changed: the clients pulled before stay.")
    write_pulled(path, pulled, datetime.now(UTC), access)
    if as_json:
        print_json({"clients": len(pulled.clients), "problems": [asdict(problem) for problem in pulled.problems]})
    else:
        for problem in pulled.problems:
            print_line(f"✗ {problem}", style="red")
        print_line(
            f"{len(pulled.clients):,} clients pulled, {len(pulled.problems):,} problems; faulty ones are left out"
        )
    sys.exit(1 if pulled.problems else 0)


def _get_client_table(config: Path) -> tuple[ClientTable, FileAccess]:
    from offline_capi.config import load_each

    deployment, errors = load_each(config)
    if deployment.clients_from is not None:
        return deployment.clients_from, deployment.platform.file_access
    raise errors.get(
        "clients.yml",
        UsageError("clients.yml holds the clients itself: there is no table (connection and sql) to pull"),
    )


def _read_client_rows(table: ClientTable, config: Path) -> Iterator[dict[str, Any]]:
    from offline_capi.config.queries import find_sql_folder
    from offline_capi.config.source import SqlSource
    from offline_capi.model import Window
    from offline_capi.sources import SourceAccess, open_source

    secrets = environment_secrets()
    access = SourceAccess("UTC", lambda name: secrets.connection_url(name).reveal(), find_sql_folder(config))
    source = open_source(SqlSource(connection=table.connection, sql=table.sql), access)
    for rows in source.read(Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))):
        yield from rows.batch.to_pylist()


# ---------------------------------------------------------------------------------------------- authorising


@clients_app.command("authorize")
def clients_authorize(
    client: ClientArgument,
    method: Annotated[str, typer.Option(help="owned, fbe, token, shared or login.")],
    config: ConfigOption = DEFAULT_CONFIG,
    given: Annotated[
        str | None,
        typer.Option("--from", help="Where a token or code is: env:NAME, file:PATH, or - for standard input."),
    ] = None,
    revoke: RevokeOption = True,
    as_json: JsonOption = False,
) -> None:
    """Obtain a token for a client, test it and switch to it; what only a person can do is printed, numbered."""
    from offline_capi.clients.authorize import authorize, check_prerequisites

    way = _parse_method(method)
    with _open_context(config, given) as (deployment, context):
        chosen = _require_own_token(deployment, client)
        asked = [] if way == "token" or deployment.platform.app is None else check_prerequisites(context)
        found = authorize(chosen, way, context, revoke=revoke and _is_idle(config))
    _record_authorization(found, config)
    _finish_authorization(found, [one for one in asked if one.state == "missing"], as_json)


@clients_app.command("rotate")
def clients_rotate(
    client: ClientArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    revoke: RevokeOption = True,
    as_json: JsonOption = False,
) -> None:
    """Exchange a client's token for a new one without a gap: tested, switched, the old one revoked."""
    from offline_capi.clients.authorize import rotate

    with _open_context(config, None) as (deployment, context):
        found = rotate(_require_own_token(deployment, client), context, revoke=revoke and _is_idle(config))
    _record_authorization(found, config)
    _finish_authorization(found, [], as_json)


@clients_app.command("prerequisites")
def clients_prerequisites(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check what a platform needs before it may send for others, as far as Meta's API tells."""
    from offline_capi.clients.authorize import check_prerequisites

    with _open_context(config, None) as (_, context):
        found = check_prerequisites(context)
    if as_json:
        print_json({"prerequisites": [one.to_json() for one in found]})
    else:
        print_prerequisites(found)
    sys.exit(1 if any(one.state == "missing" for one in found) else 0)


@clients_app.command("store-key")
def clients_store_key() -> None:
    """Make a key for the encrypted token store: keep it where secrets are kept."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@contextmanager
def _open_context(config: Path, given: str | None) -> Iterator[tuple[Deployment, AuthorizationContext]]:
    from offline_capi.clients.authorize import AuthorizationContext
    from offline_capi.config import load_clients
    from offline_capi.meta.graph.client import GraphClient

    deployment, secrets = load_clients(config), environment_secrets()
    platform = deployment.platform
    with GraphClient(platform.graph_url, platform.versions) as graph:
        yield deployment, AuthorizationContext(platform, secrets, secrets.store, graph, given=_read_given_secret(given))
        print_warnings(graph.notices, err)


def _require_own_token(deployment: Deployment, name: str) -> Client:
    """Whom a token is for: not one pixel of a client, where the client's token serves others as well."""
    chosen = _find_recipient(deployment, name)
    if not deployment.has_own_token(name):
        owner = get_client_name(name)
        raise UsageError(f"{name} sends with the token of {owner}: name {owner}. Nothing was changed.")
    return chosen


def _parse_method(word: str) -> Method:
    from offline_capi.clients.authorize import TOKEN_SOURCES

    for method in TOKEN_SOURCES:
        if method == word:
            return method
    raise UsageError(f'--method "{word}" is unknown; one of: {", ".join(TOKEN_SOURCES)}')


def _read_given_secret(place: str | None) -> Secret | None:
    """A secret that a person brought; never an argument, for all users of a machine can read those."""
    from offline_capi.config import Secret, SecretRef

    if place is None:
        return None
    kind, _, where = place.partition(":")
    if place == "-":
        return Secret(sys.stdin.readline().strip())
    if kind not in ("env", "file") or not where:
        raise UsageError("--from names where the secret is, and is not the secret: env:NAME, file:PATH or -")
    found: Secret = environment_secrets().token(SecretRef.model_validate({kind: where}))
    return found


def _is_idle(config: Path) -> bool:
    """Whether the token before may be revoked now: a run under way goes on with the one that it began with."""
    with opened_records(config) as services:
        return not services.ledger.runs.list_unfinished()


def _record_authorization(found: Authorization, config: Path) -> None:
    """In the audit log, where a token was switched: it is, whether or not the ledger can be written."""
    from offline_capi.ledger import AuditAction, record_audit

    if not found.complete:
        return
    detail = {"method": found.method, "fingerprint": found.fingerprint}
    try:
        with opened_records(config) as services:
            record_audit(services.ledger, AuditAction.AUTHORIZE, found.client, now=services.clock(), detail=detail)
    except OfflineCapiError as error:
        print_warnings([f"the token is switched, but does not stand in the audit log: {error}"], err)


def _finish_authorization(found: Authorization, lacking: list[Prerequisite], as_json: bool) -> None:
    if as_json:
        print_json(found.to_json() | {"prerequisites": [one.to_json() for one in lacking]})
    else:
        print_prerequisites(lacking)
        print_authorization(found)
    sys.exit(0 if found.complete else 1)


# ---------------------------------------------------------------------------------------------- printing


#: Columns that the table of clients needs; on a narrower terminal each client has lines of its own.
_TABLE_WIDTH = 140


def _shorten_time(at: str | None) -> str:
    return (at or "never")[:16].replace("T", " ")


def print_overviews(found: list[ClientOverview]) -> None:
    from offline_capi.clients import find_hint
    from offline_capi.runtime.console import Console

    paper = out if out.is_terminal else Console(width=200)  # whoever reads a pipe wants whole names
    if paper.width < _TABLE_WIDTH:
        _print_overview_lines(found)
    else:
        _print_overview_table(found, paper)
    if hint := find_hint(found):
        print_indented(hint, mark="", style="dim")


def _print_overview_lines(found: list[ClientOverview]) -> None:
    from rich.markup import escape

    for one in found:
        out.print(f"{escape(one.client)}  {one.pixel}  [{_MARKS[one.state]}]{one.state}[/]", highlight=False)
        tested, accepted = (_shorten_time(at) for at in (one.tested_at, one.last_accepted_at))
        left = "" if one.days_left is None else f", {one.days_left} days left"
        missing = f"; missing: {', '.join(one.missing)}" if one.missing else ""
        token = " ".join(filter(None, (one.token_kind, one.token_from)))
        print_indented(f"last test {tested}, last accepted {accepted}; token {token}{left}{missing}", style="dim")
        if one.last_error:
            print_indented(one.last_error, mark="  ! ", style="red")


def _print_overview_table(found: list[ClientOverview], paper: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("client", "pixel", "state", "last test", "last accepted", "token", "days left", "missing", box=None)
    for one in found:
        state = f"[{_MARKS[one.state]}]{one.state}[/]"
        tested, accepted = (_shorten_time(at) for at in (one.tested_at, one.last_accepted_at))
        left = "" if one.days_left is None else str(one.days_left)
        access = (
            escape(" ".join(filter(None, (one.token_kind, one.token_from)))),
            left,
            escape(", ".join(one.missing)),
        )
        table.add_row(one.client, one.pixel, state, tested, accepted, *access)
    paper.print(table, highlight=False)
    for one in found:
        if one.last_error:
            print_indented(f"{one.client}: {one.last_error}", mark="! ")


def print_health(found: HealthReport) -> None:
    for status in found.statuses:
        if status.client in found.unclear:
            print_line(f"? {status.client}: {found.unclear[status.client]}", style="yellow")
        elif not status.faults and status.tested:
            trace = f" (trace {status.tested.trace_id})" if status.tested.trace_id else ""
            print_line(f"✓ {status.client}: {status.tested.words}{trace}", style="green")
        for fault in status.faults:
            print_line(
                f"{'✗' if fault.stops else '!'} {status.client}: {fault.words}",
                style="red" if fault.stops else "yellow",
            )
    for change in found.changes:
        if change.change == "ended":
            print_line(f"✓ {change.client}: ended: {_take_first_sentence(change.words)}", style="green")
    print_warnings([*found.warnings, *(look.words for look in found.versions if look.verdict == "refused")])


def print_prerequisites(found: list[Prerequisite]) -> None:

    for one in found:
        sign, style = _STEPS[one.state]
        print_line(f"{sign} {one.name}: {one.words}", style=style)


def print_authorization(found: Authorization) -> None:
    for step in found.done:
        print_line(f"✓ {step}", style="green")
    for number, step in enumerate(found.by_hand, start=1):
        print_line(f"{number}. {step}")


def _take_first_sentence(words: str) -> str:
    """Of a fault that has ended, what it was; what to do about it no longer matters."""
    return words.partition(". What now:")[0].removesuffix(".")
