"""The command that takes over another tool's mapping."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, out, print_json, print_line
from offline_capi.errors import UsageError
from offline_capi.runtime.nearest import did_you_mean


@app.command("import")
def import_command(
    tool: Annotated[str, typer.Argument(help="drt, segment or hightouch.")],
    file: Annotated[Path, typer.Argument(help="Its mapping: a sync in YAML, or a subscription in JSON.")],
    name: Annotated[str | None, typer.Option(help="Name of the upload. Default: that of the file.")] = None,
    client: Annotated[
        str | None, typer.Option(help="Whose rows these are. Default: by the pixel, or the only one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an upload of that name.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write a first upload from another tool's mapping, with a TODO where meaning is lost."""
    from offline_capi.config import load_each
    from offline_capi.onboarding.folder import read_project, save, select_missing
    from offline_capi.onboarding.imports import TOOLS, import_mapping

    if tool not in TOOLS:
        raise UsageError(f'there is no import from "{tool}"{did_you_mean(tool, TOOLS) or "; " + ", ".join(TOOLS)}')
    upload = name or re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("_.-") or tool
    known = read_project(config, os.environ)
    found = import_mapping(tool, file, client)
    if client is None:
        owners = [one.name for one in known.clients.values() if found.pixel in one.pixels] or [*known.clients]
        owner = owners[0] if len(owners) == 1 else None
        found = import_mapping(tool, file, owner) if owner else found
    path = config / "uploads" / f"{upload}.yml"
    save(select_missing({path: found.render()}, force=force))
    _, errors = load_each(config, only=upload)
    problems = [problem for error in errors.values() for problem in error.problems]
    if as_json:
        print_json({"written": str(path), "todos": found.todos, "problems": [asdict(one) for one in problems]})
        return
    out.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
    for heading, lines in (("to do", found.todos), ("check finds", [str(one) for one in problems])):
        for line in lines:
            print_line(f"  {heading}: {line}")
    if not problems:
        out.print("  check finds no problems", highlight=False)
