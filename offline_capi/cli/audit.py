"""Commands that count what is in people's data, and never show it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from offline_capi.cli.app import CommandApp, app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ClientOption,
    ConfigOption,
    JsonOption,
    SinceOption,
    UntilOption,
    UploadArgument,
    find,
    find_clients,
    opened,
    opened_upload,
    out,
    print_indented,
    print_json,
    window_of,
)
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.audit import Coverage, ExternalIdCheck, Found, ProfileDiff
    from offline_capi.config import Upload
    from offline_capi.pipeline import Services

profile_app = CommandApp(path="profile ", help="How identity is normalised before it is hashed.", no_args_is_help=True)
external_id_app = CommandApp(
    path="external-id ", help="The id that joins server and browser events.", no_args_is_help=True
)
app.add_typer(profile_app, name="profile")
app.add_typer(external_id_app, name="external-id")


@app.command()
def coverage(
    upload: UploadArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    client: ClientOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell which keys are mapped, filled and usable, what is lost and why, and what could be mapped as well."""
    from offline_capi.audit import measure_coverage as cover

    with opened_upload(config, upload, since, until, client) as (services, one, window, clients):
        found = cover(one, window, services, clients=clients)
    print_json(found.to_json()) if as_json else print_coverage(found)


@profile_app.command("diff")
def profile_diff(
    upload: UploadArgument,
    to: Annotated[
        str, typer.Option("--to", help="The other profile: meta, sdk or param_builder, with @version or the newest.")
    ],
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Count how many of your own values would hash differently under another profile."""
    from offline_capi.audit import diff_profiles

    with opened_upload(config, upload, since, until) as (services, one, window, _):
        found = diff_profiles(one, window, services, to=to)
    print_json(found.to_json()) if as_json else print_diff(found)


@profile_app.command("conformance")
def profile_conformance(as_json: JsonOption = False) -> None:
    """Run the published examples of Meta's documentation and tools through every profile; exit 1 where one fails."""
    from offline_capi.audit import run_conformance

    found = run_conformance()
    if as_json:
        print_json({"profiles": [one.to_json() for one in found]})
    else:
        for one in found:
            mark, colour = ("✗", "red") if one.misses else ("✓", "green")
            counts = f"{one.passed:,} of {one.vectors:,} passed"
            out.print(Text.assemble((mark, colour), f" {one.version}  {counts}  ", (one.source, "dim")))
            for vector, got in one.misses:
                out.print(Text(f"    {vector.key} {vector.value!r} gave {got!r}, expected {vector.expected!r}"))
    if any(one.misses for one in found):
        raise typer.Exit(1)


@external_id_app.command("check")
def external_id_check(
    client: Annotated[str, typer.Argument(help="A client of clients.yml.")],
    browser: Annotated[Path, typer.Option("--browser", help="What the pixel sends: CSV, JSON, or request addresses.")],
    upload: Annotated[str | None, typer.Option("--upload", help="Only this upload's rows. Default: all.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell whether the server's ids equal the browser's, and what would make them equal. Exits 1 where they do not."""
    from offline_capi.audit import check_external_ids, read_browser_ids

    with opened(config) as services:
        find_clients(services.deployment, [client])
        uploads = [(one, window_of(one, since, until)) for one in list_uploads_to_check(client, upload, services)]
        found = check_external_ids(client, read_browser_ids(browser), uploads, services)
    print_json(found.to_json()) if as_json else print_check(found)
    sys.exit(0 if found.agrees else 1)


def list_uploads_to_check(client: str, upload: str | None, services: Services) -> list[Upload]:
    from offline_capi.audit import list_uploads_with_ids

    known = list_uploads_with_ids(client, services)
    chosen = known if upload is None else [one for one in known if one == find(services.deployment, upload)]
    if not chosen:
        raise UsageError(f"{upload or 'no upload'} maps external_id for {client}; map it under user_data first")
    return chosen


# ---------------------------------------------------------------------------------------------- printing


def print_coverage(found: Coverage) -> None:
    out.print(Text.assemble((f"{found.upload}  coverage", "bold"), f"  {found.window}\n  {found.rows:,} rows"))
    numbers, rows = ("filled", "usable", "distinct"), []
    for (key, column), one in found.columns.items():
        lost = ", ".join(f"{count:,} {cause.replace('_', ' ')}" for cause, count in one.dropped.most_common())
        for what, words in (("came_hashed", "came hashed"), ("rounded_15", "rounded to 15 digits by a spreadsheet?")):
            if one.noted[what]:
                lost = ", ".join(filter(None, (lost, f"({one.noted[what]:,} {words})")))
        shares = (_format_share(one.filled, found.rows), _format_share(one.usable, found.rows), f"{one.distinct:,}")
        rows.append((key, column, *shares, lost))
    _show(("key", "column", *numbers, "lost, and why"), rows, numbers)
    worth = [key for key in _MATCH_BEST if key in found.unmapped]
    if worth:
        others = len(found.unmapped) - len(worth)
        print_indented(
            f"not mapped, and most worth it where the source has them: {', '.join(worth)} ({others} more with --json)",
            style="dim",
        )
    _print_suggestions(found)
    _print_frequent(found)


#: Keys of which most sources have some, those first that match most (D:best-practices).
_MATCH_BEST = ("em", "ph", "external_id", "fn", "ln", "zp", "ct", "st", "country", "db", "ge", "fbc", "fbp")


def _print_suggestions(found: Coverage) -> None:
    rows = [(one.column, f"{one.key} (by {one.by})", f"{one.fits:.0%}", one.line) for one in found.suggestions]
    _show(("column", "looks like", "values fit", "add under user_data"), rows, ["values fit"])


def _print_frequent(found: Coverage) -> None:
    rows = [
        (one.key, _format_share(one.rows, round(one.rows / one.share)), f"{one.people:,}", one.sha256)
        for one in found.frequent
    ]
    _show(("key", "rows", "people", "one value, perhaps nobody's: SHA-256"), rows, ["people"])
    if found.frequent:
        listed = [f"    {key}: [{', '.join(hashes)}]" for key, hashes in found.junk_to_write.items()]
        lines = ["  If they are, write into the upload, and they are never sent:", "  junk:", *listed]
        out.print(Text("\n".join(lines)), soft_wrap=True)


def print_diff(found: ProfileDiff) -> None:
    now = ", ".join(found.now)
    versions, then = found.versions
    title = f"{found.upload}  profile {', '.join(versions)} → {then}"
    out.print(Text.assemble((title, "bold"), f"  {found.window}"))
    out.print(f"  {found.rows:,} rows; nothing is sent and nothing is changed", highlight=False)
    usable, only = ([f"{word} {profile}" for profile in (now, found.then)] for word in ("usable:", "only"))
    numbers, rows = ("filled", *usable, "equal", "different", *only), []
    for (key, column), one in found.columns.items():
        counts = (one.usable_now, one.usable_then, one.equal, one.different, one.only_now, one.only_then)
        rows.append((key, column, f"{one.filled:,}", *(f"{count:,}" for count in counts)))
    _show(("key", "column", *numbers), rows, numbers)


def print_check(found: ExternalIdCheck) -> None:
    mark = Text("✓ ids are equal", "bold green") if found.agrees else Text("✗ ids are not equal", "bold red")
    kinds = ", ".join(f"{count:,} look {_LOOKS[kind]}" for kind, count in found.browser_kinds.items())
    out.print(Text.assemble(mark, f"  {found.client}, {', '.join(found.uploads)}"))
    out.print(f"  browser: {found.browser_ids:,} ids ({kinds}); server: {found.server_ids:,}", highlight=False)
    if not found.found:
        out.print("  No id of the browser is the server's in any form known. Other people, other days, or another id?")
    for one in found.found:
        _print_found(one, found)
    if any(not one.now for one in found.found):
        out.print("  Small numbers may fit by chance: compare one person's id by hand before anything is changed.")


def _print_found(one: Found, check: ExternalIdCheck) -> None:
    browser, server = (100 * one.ids // whole for whole in (check.browser_ids, check.server_ids))
    shares = f"{browser}% of the browser's, {server}% of the server's"
    said = "equal as they are sent now" if one.now else f"equal if the server's were: {one.form}"
    out.print(Text(f"  {one.ids:,} ids ({shares}) are {said}"))
    for file, line in one.write.items():
        out.print(Text(f"    write into {file}:  {line}", style="yellow"))
    if one.remedy:
        out.print(Text(f"    {one.remedy}", style="yellow"))


_LOOKS = {
    "raw": "raw",
    "sha256": "like SHA-256",
    "sha256_in_capitals": "like SHA-256 in capitals",
    "sha1": "like SHA-1",
    "md5": "like MD5",
}


def _show(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> None:
    from offline_capi.report import plain_table, shown_tables

    for table in shown_tables(plain_table(headers, rows, numbers, unbroken=["key"])):
        out.print(table)


def _format_share(part: int, whole: int) -> str:
    """With its share in whole per cent, rounded down: 100% are all."""
    return f"{part:,} ({100 * part // whole}%)" if whole else f"{part:,}"
